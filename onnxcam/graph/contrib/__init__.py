"""Operators from outside the standard set, each defined once in standard operators.

ONNX Runtime's optimiser and quantiser write operators of the domain ``com.microsoft`` that onnx
knows nothing about. Each file here defines some of them (and some quantised, classical and
withdrawn ones): a function that emits the operator again from standard ones. The definition is
what shape inference and the gradient go by; the forward node itself stays in the model.
"""

from onnxcam.graph.contrib.definitions import MICROSOFT, defined, is_defined, lower
from onnxcam.graph.contrib.scales import Scale, before_rounding, cuts_at_zero, scale_of

__all__ = [
    "MICROSOFT",
    "Scale",
    "before_rounding",
    "cuts_at_zero",
    "defined",
    "is_defined",
    "lower",
    "scale_of",
]
