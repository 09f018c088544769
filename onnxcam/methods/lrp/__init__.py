"""Methods that propagate relevance: gradients with other rules, times the input."""
