"""Explain any ONNX model with nothing but ONNX Runtime."""

__version__ = "0.1.0.dev0"
