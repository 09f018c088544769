"""A file in, a checked Model; a file out."""
