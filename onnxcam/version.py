"""The version of onnxcam."""

__version__ = "0.1.0.dev0"
