"""Faults and gaps of the products that onnxcam works with, and what it does instead.

A workaround stands under the name of its quirk: `works_around` marks the function that applies
it. tests/graph/test_quirks.py shows every fault in the product at hand, and fails where it is gone
there: then the quirk may go, and the workaround with it. docs/quirks.md lists them. (What
onnxruntime-training cannot do is in autodiff/ort_training/, for the one version that it takes.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from onnxcam.graph.ops import Trait, has

_Function = TypeVar("_Function", bound=Callable[..., Any])
_ORT, _ONNX, _OPENVINO = "ONNX Runtime", "onnx", "OpenVINO"
_UP_TO_NOW = "1.17.0 to 1.32.0"


@dataclass(frozen=True)
class Quirk:
    """A fault or a gap of a product.

    Attributes:
        name: What it is called, here and in its test.
        product: Who has it.
        versions: Those in which it was seen: the oldest that was tried to the newest.
        fault: What goes wrong.
        instead: What is done instead.
    """

    name: str
    product: str
    versions: str
    fault: str
    instead: str


def works_around(*quirks: Quirk) -> Callable[[_Function], _Function]:
    """Mark a function as one that is the way it is for some quirks; it stays what it is."""
    assert quirks, "a mark says what it is for"
    return lambda function: function


# ---- ONNX Runtime: what crashes, fails or is wrong

CAPTURED_DEQUANTIZE = Quirk(
    "CAPTURED_DEQUANTIZE", _ORT, _UP_TO_NOW,
    "The process aborts where a subgraph captures a DequantizeLinear's output that was reshaped: "
    "the passes that give every consumer a DequantizeLinear of its own, or move it past a reshape, "
    "look for explicit inputs only.",
    "A Sum of one before the subgraph: a copy that no pass removes.",
)  # fmt: skip
EMPTY_EXPAND = Quirk(
    "EMPTY_EXPAND", _ORT, _UP_TO_NOW,
    "An Expand from a dimension of 1 to no elements is dropped; the single element stays.",
    "No gradient flows to what is empty.",
)  # fmt: skip
EMPTY_BIAS = Quirk(
    "EMPTY_BIAS", _ORT, _UP_TO_NOW,
    "The process dies of a LayerNormalization behind an Add whose bias is omitted by an empty "
    "name: the two are fused, with a bias.",
    "Inputs that are omitted at the end of a node are not written.",
)  # fmt: skip
NORM_WITHOUT_BIAS = Quirk(
    "NORM_WITHOUT_BIAS", _ORT, "1.17.0, not in 1.20.0",
    "The process aborts where an Add is fused with a LayerNormalization that has no bias and whose "
    "deviation is used.",
    "Every LayerNormalization that is written has a bias, of zeros if need be.",
)  # fmt: skip
BFLOAT16_SIZE = Quirk(
    "BFLOAT16_SIZE", _ORT, _UP_TO_NOW,
    "There is no Size of bfloat16.",
    "Elements are counted by the product of the shape.",
)  # fmt: skip
HALF_SCATTER = Quirk(
    "HALF_SCATTER", _ORT, _UP_TO_NOW,
    "On the CPU no scatter adds in half precision.",
    "It adds in float32.",
)  # fmt: skip
HALF_ROUNDING = Quirk(
    "HALF_ROUNDING", _ORT, _UP_TO_NOW,
    "Most of half precision is computed in float32 on the CPU, and a cast to float16 that a cast "
    "back follows is dropped. So of one tensor each consumer may see the rounded or the unrounded "
    "value, and x == y fails for x and their maximum y.",
    "What has to compare runs once more in float32, on inputs that are cast once.",
)  # fmt: skip
COPIED_AXIS = Quirk(
    "COPIED_AXIS", _ORT, _UP_TO_NOW,
    "A Resize whose result has the shape of its input copies it, also where its scales are not 1 "
    "and it should sample between the values.",
    "The matrix of such an axis is read beside a second axis that grows from one to two.",
)  # fmt: skip
DOUBLE_RESIZE = Quirk(
    "DOUBLE_RESIZE", _ORT, _UP_TO_NOW,
    "There is no Resize of doubles.",
    "Maxima of pools over blocks in double precision take another way.",
)  # fmt: skip
SIGNED_WITHOUT_ZERO = Quirk(
    "SIGNED_WITHOUT_ZERO", _ORT, _UP_TO_NOW,
    "The optimiser takes an omitted zero point for one of uint8, also where what is dequantised "
    "is not.",
    "Every DequantizeLinear that is written has its zero point.",
)  # fmt: skip
UNPOOLED_SHAPE = Quirk(
    "UNPOOLED_SHAPE", _ORT, _UP_TO_NOW,
    "MaxUnpool counts its indices in the output shape that is given; the specification counts "
    "them in the shape that it would have without.",
    "The operator itself is asked where it puts the numbers 1, 2, ...",
)  # fmt: skip
PADDED_POOLS = Quirk(
    "PADDED_POOLS", f"{_ONNX}, {_ORT}", "1.23.2, 1.31.1 to 1.32.0; models below opset 22",
    "Shape inference counts a last window of `ceil_mode` that starts in the end padding or behind "
    "it. The kernels leave it out, but plan their buffers by the wrong shape. (Those of 1.20.0 "
    "have it, and fill it.)",
    "Such a pool gets the end paddings with which the windows are counted right.",
)  # fmt: skip

SHARED_REALS = Quirk(
    "SHARED_REALS", _ORT, "1.20.1 to 1.32.0",
    "An operator between DequantizeLinear and QuantizeLinear runs on integers only where nobody "
    "else reads the reals between. Read elsewhere too, it is computed in float32, and what lies "
    "near the middle of two steps is rounded to the other one: close classes change places.",
    "What a gradient reads there is computed once more, beside the model's own nodes.",
)  # fmt: skip

MOVED_INT8 = Quirk(
    "MOVED_INT8", _ORT, "1.32.0; models from opset 21 on",
    "A model does not load where a DequantizeLinear of int8 is followed by a Reshape, Transpose, "
    "Slice, Squeeze, Unsqueeze or MaxPool: it is moved behind, with a zero point of uint8.",
    "A Sum of one between the two.",
)  # fmt: skip

DILATED_POOLS = Quirk(
    "DILATED_POOLS", _ORT, "1.32.0",
    "With auto_pad SAME a pool is padded as if its taps lay side by side: with dilations its "
    "output is smaller than the specification says.",
    "The pads are written out, as the runtime has them.",
)  # fmt: skip

# ---- ONNX Runtime: what is slow

SLOW_CUBIC = Quirk(
    "SLOW_CUBIC", _ORT, "1.32.0",
    "A cubic Resize takes two hundred times as long as the matrix products that are the same.",
    "Maps are enlarged by matrix products; Resize makes the matrices where a size is not known.",
)  # fmt: skip
SLOW_LAST_AXIS = Quirk(
    "SLOW_LAST_AXIS", _ORT, "1.32.0",
    "Arithmetic that broadcasts three numbers along the last axis takes twenty to thirty-five "
    "times as long as along the first of an image.",
    "Colours are planes until last.",
)  # fmt: skip
SLOW_INDICES = Quirk(
    "SLOW_INDICES", _ORT, "1.32.0",
    "A MaxPool that gives its Indices takes eight to thirty times as long.",
    "Small windows are taken apart tap by tap; windows that tile the input are spread by Resize.",
)  # fmt: skip

# ---- onnx: shape inference, version converter, reference evaluator, inliner

STFT_SIDES = Quirk(
    "STFT_SIDES", _ONNX, "1.23.2",
    "Shape inference takes an STFT that does not say `onesided` for two-sided; the default is one.",
    "That it is one-sided is written out.",
)  # fmt: skip
ATTENTION_SIZE = Quirk(
    "ATTENTION_SIZE", _ONNX, "1.23.2",
    "Shape inference gives the output of an Attention of unknown hidden size a dimension of 0.",
    "A dimension of 0 that an Attention has made is not known.",
)  # fmt: skip
OPEN_SHAPES = Quirk(
    "OPEN_SHAPES", _ONNX, "1.23.2",
    "Shape inference says nothing of GroupNormalization and MeanVarianceNormalization, whose "
    "outputs are like their first input.",
    "They are given its shape.",
)  # fmt: skip
LARGE_SLOPES = Quirk(
    "LARGE_SLOPES", _ONNX, "1.23.2",
    "Shape inference gives a PRelu the shape of its input, also where its slope is larger; ONNX "
    "Runtime broadcasts either to the other.",
    "The input is expanded before.",
)  # fmt: skip
SHRINKING_CONV_TRANSPOSE = Quirk(
    "SHRINKING_CONV_TRANSPOSE", _ONNX, "1.23.2",
    "Shape inference gives a ConvTranspose whose `output_shape` is smaller than its input no axes "
    "of space.",
    "Its output shape is written out as pads.",
)  # fmt: skip
OPEN_RANKS = Quirk(
    "OPEN_RANKS", _ONNX, "1.19.1 to 1.23.2",
    "Before opset 14 shape inference leaves the rank of a Reshape to a computed shape open.",
    "The length of the shape is the rank.",
)  # fmt: skip
NEGATIVE_SLICE = Quirk(
    "NEGATIVE_SLICE", _ONNX, "1.23.2",
    "Shape inference aborts the process at a Slice of a size below zero, as a kernel larger than "
    "its input leaves.",
    "Shapes are inferred without Slices first, and a model with such a size is refused.",
)  # fmt: skip
CONVERTED_NAMES = Quirk(
    "CONVERTED_NAMES", _ONNX, "1.23.2",
    "The version converter names an output anew where it puts an operator in another's place, save "
    "where that is an output of the graph.",
    "Such tensors are outputs of the graph for the time being.",
)  # fmt: skip
ADDED_NAMES = Quirk(
    "ADDED_NAMES", _ONNX, "1.23.2",
    "The version converter gives what it adds to several subgraphs the same names.",
    "What is added gets names of its own.",
)  # fmt: skip
LISTED_WEIGHTS = Quirk(
    "LISTED_WEIGHTS", _ONNX, "1.23.2",
    "The version converter refuses a file of an IR version below 4 that does not list its weights "
    "as inputs, as ONNX Runtime saves such files.",
    "They are listed for it.",
)  # fmt: skip
EVALUATED_DEPTH = Quirk(
    "EVALUATED_DEPTH", _ONNX, "1.23.2",
    "The reference evaluator takes no OneHot whose depth is a vector of one.",
    "The depth is a scalar.",
)  # fmt: skip
INLINED_OMISSIONS = Quirk(
    "INLINED_OMISSIONS", _ONNX, "1.23.2",
    "The inliner fails on the definition of an operator whose optional inputs are omitted.",
    "Definitions are written node by node.",
)  # fmt: skip

# ---- OpenVINO

EMPTY_GEMM = Quirk(
    "EMPTY_GEMM", _OPENVINO, "2026.4.1",
    "A Gemm whose C is omitted by an empty name is refused.",
    "Inputs that are omitted at the end of a node are not written.",
)  # fmt: skip
PACKED_SQUARE = Quirk(
    "PACKED_SQUARE", _OPENVINO, "2026.4.1, CPU, float32",
    "A constant is packed once for all products of one shape: the transpose of a square matrix is "
    "taken for the matrix itself.",
    "A square constant is folded as a stack of one, which is packed apart.",
)  # fmt: skip
PACKED_KERNEL = Quirk(
    "PACKED_KERNEL", _OPENVINO, "2026.4.1, CPU, float32",
    "A constant is packed once for all its users: what was packed for a Conv is taken for the "
    "weight of the ConvTranspose that goes back through it.",
    "The weight is folded to another constant of the same values.",
)  # fmt: skip


def listed() -> list[Quirk]:
    """Return all quirks, in the order in which they stand here."""
    return [value for value in globals().values() if isinstance(value, Quirk)]


def is_dequantised(tensor: Any) -> bool:
    """Tell whether a tensor is a DequantizeLinear's output, or only picked from one."""
    while tensor.inputs and has(tensor.inputs[0], Trait.PICKS):
        tensor = tensor.inputs[0].inputs[0]
    return bool(tensor.inputs) and has(tensor.inputs[0], Trait.DEQUANTISES)


_MOVED = {"Reshape", "Transpose", "Slice", "Squeeze", "Unsqueeze", "MaxPool"}


def moves_int8(op_type: str, inputs: Any, opset: int) -> bool:
    """Tell whether a node that is to be written would have :data:`MOVED_INT8`."""
    if opset < 21 or op_type not in _MOVED or not inputs[0].inputs:
        return False
    node = inputs[0].inputs[0]
    return has(node, Trait.DEQUANTISES) and node.inputs[0].dtype == "int8"
