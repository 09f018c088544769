"""Gradients of ONNX graphs, written as ordinary ONNX nodes."""

from onnxcam.autodiff.api import vjp_model
from onnxcam.autodiff.engine import vjp

__all__ = ["vjp", "vjp_model"]
