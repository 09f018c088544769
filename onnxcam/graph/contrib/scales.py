"""What integers stand for, in models that compute on quantised tensors (QOperator)."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from onnxcam.graph.contrib.definitions import lower, operands
from onnxcam.graph.contrib.quantized import real
from onnxcam.graph.emit import Emitter, Tensor, const_value, is_float, shape_of
from onnxcam.graph.ops import Trait, has


@dataclass(frozen=True)
class Scale:
    """Which reals integers stand for: (integer - zero) scale.

    Attributes:
        scale: A float tensor of one element.
        zero: A tensor of one element, in the dtype of the integers; None is 0.
    """

    scale: Tensor
    zero: Tensor | None

    def reals(self, op: Emitter, integers: Tensor) -> Tensor:
        """Return the reals that integers stand for."""
        zero = None if self.zero is None else _scalar(op, self.zero)
        return real(op, integers, _scalar(op, self.scale), zero)


def scale_of(tensor: Tensor) -> Scale | None:
    """Return the scale of what an operator on quantised tensors made, also when it was moved.

    None for other tensors. A QuantizeLinear is none of these operators: what it makes is mostly
    dequantised at once, and that is a tensor of reals.
    """
    while _is_picked(tensor):
        tensor = tensor.inputs[0].inputs[0]
    if not tensor.inputs or is_float(tensor):
        return None
    given = operands(tensor.inputs[0])
    return Scale(given["y_scale"], given.get("y_zero")) if "y_scale" in given else None


def cuts_at_zero(node: gs.Node) -> bool:
    """Tell whether a rounding is a ReLU too, as the quantiser fuses it: its range begins at 0.

    Args:
        node: A QuantizeLinear behind a linear operator, or one of the operators that round.
    """
    quantize = node.op == "QuantizeLinear"
    source = node.inputs[0].inputs[0] if quantize and node.inputs[0].inputs else node
    if not has(source, Trait.CONVOLUTION, Trait.PRODUCT, Trait.BIAS):
        return False
    given = dict(zip(("x", "y_scale", "y_zero"), node.inputs, strict=False))
    zero = (given if quantize else operands(node)).get("y_zero")
    value = None if zero is None else const_value(zero)
    lowest = {"uint8": 0, "int8": -128, "uint16": 0, "int16": -32768}
    return value is not None and value.size == 1 and lowest.get(value.dtype.name) == value.item()


def before_rounding(op: Emitter, integers: Tensor) -> Tensor | None:
    """Return the reals that integers are the rounding of.

    What an operator on quantised tensors rounds is computed once more, by its definition.

    Returns:
        The reals; None where nothing was rounded here.
    """
    made: Tensor | None = integers
    if scale_of(integers) is not None and not _is_picked(integers):
        made = lower(op, integers.inputs[0])[0]
    node = made.inputs[0] if made is not None and made.inputs else None
    return node.inputs[0] if node is not None and node.op == "QuantizeLinear" else None


def _is_picked(tensor: Tensor) -> bool:
    """Tell whether the elements of a tensor are those of another, and are no indices into it."""
    node = tensor.inputs[0] if tensor.inputs else None
    if node is None or not has(node, Trait.PICKS):
        return False
    return node.op == "Split" or tensor is node.outputs[0]


def _scalar(op: Emitter, x: Tensor) -> Tensor:
    return x if shape_of(x) == () else op.scalar(x)
