"""ONNX Runtime, and the models that are kept for it."""
