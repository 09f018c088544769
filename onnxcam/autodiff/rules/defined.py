"""Operators without a rule that ONNX defines by others: their definition is differentiated."""

from onnxcam.autodiff.expand import expanded, is_defined
from onnxcam.autodiff.registry import fallback

fallback(is_defined)(expanded)
