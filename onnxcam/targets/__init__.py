"""What is explained: a scalar of the outputs."""
