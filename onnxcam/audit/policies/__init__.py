"""Ready policies: they are found by their names."""
