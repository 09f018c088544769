"""Gradients through If, Loop, Scan and sequences."""
