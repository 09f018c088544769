"""Ready policies, as they are given to `--policy` by their names."""
