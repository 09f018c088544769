"""Passes: each takes a model and returns another."""
