"""Fuzzers: files that are damaged in every way, and what onnxcam makes of them."""
