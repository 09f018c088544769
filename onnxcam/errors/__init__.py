"""The errors that onnxcam raises, the place where others become them, and texts made plain."""

from onnxcam.errors.boundary import bounded, told, unwritten
from onnxcam.errors.kinds import (
    InputError,
    InternalError,
    ModelError,
    NoDescriptionError,
    OnnxcamError,
    UnsupportedOp,
    UsageError,
    meant,
    suggestion,
)
from onnxcam.errors.text import file_name, json_text, plain, shortened

__all__ = [
    "InputError",
    "InternalError",
    "ModelError",
    "NoDescriptionError",
    "OnnxcamError",
    "UnsupportedOp",
    "UsageError",
    "bounded",
    "file_name",
    "json_text",
    "meant",
    "plain",
    "shortened",
    "suggestion",
    "told",
    "unwritten",
]
