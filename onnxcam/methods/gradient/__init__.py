"""Methods on the gradient of the input."""
