"""Gradient rules, one small function each, grouped by what the operators do."""
