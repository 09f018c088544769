"""The function in which a classifier ends, by what is computed, whatever it is written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from onnxcam.graph import ir
from onnxcam.graph.emit import Tensor, const_value
from onnxcam.graph.ops import Trait, has

LOGARITHM = "LogSoftmax"


@dataclass(frozen=True)
class Final:
    """The last function of a classifier.

    Attributes:
        name: "Softmax", "LogSoftmax", "Sigmoid", or "LogSigmoid".
        tensor: The logits that it takes.
        axis: The axis along which its values sum to one; None for a function of one element.
    """

    name: str
    tensor: Tensor
    axis: int | None = None

    @property
    def kind(self) -> str:
        """Which of three functions makes probabilities of the logits."""
        return "Sigmoid" if self.name == "LogSigmoid" else self.name


def final_of(tensor: Tensor) -> Final | None:
    """Return the function of logits that a tensor is, None where it is none."""
    node = made_by(tensor)
    if node is None:
        return None
    if has(node, Trait.PROBABILITIES):
        name = str(node.op).removeprefix("QLinear")
        axis = None if has(node, Trait.ELEMENTWISE) else int(node.attrs.get("axis", -1))
        return Final(name, node.inputs[0], axis)
    read = _WRITTEN_OUT.get(node.op)
    return None if read is None else read(node)


def made_by(tensor: Tensor) -> ir.Node | None:
    """Return the node that makes a tensor; None for inputs and weights."""
    return tensor.inputs[0] if tensor.inputs else None


def plain(tensor: Tensor) -> Tensor:
    """Return a tensor without what only copies, rounds or repeats its elements in place."""
    node = made_by(tensor)
    while node is not None and (has(node, Trait.SAME) or node.op in ("Unsqueeze", "Expand")):
        tensor = node.inputs[0]
        node = made_by(tensor)
    return tensor


def is_number(tensor: Tensor, *numbers: float) -> bool:
    """Tell whether a tensor is one of some constants, everywhere."""
    value = const_value(plain(tensor))
    if value is None or not value.size or value.dtype.kind not in "fiu":
        return False
    return any(bool((abs(value.astype(float) - n) < 1e-6).all()) for n in numbers)


def axes_of(node: ir.Node) -> tuple[int, ...] | None:
    """Return the axes that a reduction names; None where it names none, or computes them."""
    given = node.attrs.get("axes")
    if given is None and len(node.inputs) > 1:
        given = const_value(node.inputs[1])
    return None if given is None else tuple(int(a) for a in np.ravel(given))


# ---- what a function is written out in


def _of_reciprocal(node: ir.Node) -> Final | None:
    """1 / (1 + exp(-x)); x may also be the logarithm's: exp(x) / (1 + exp(x)), exp(x) / sum."""
    quotient = quotient_of(node)
    if quotient is None:
        return None
    above, below = quotient
    return _sigmoid(above, below) or _softmax(above, below)


def _sigmoid(above: Tensor | None, below: Tensor) -> Final | None:
    node = _made(below, "Add")
    power = None if node is None else _other(node, 1)
    exponential = None if power is None else _made(power, "Exp")
    if power is None or exponential is None:
        return None
    if above is None:
        negative = _negated(exponential.inputs[0])
        return None if negative is None else Final("Sigmoid", negative)
    return Final("Sigmoid", exponential.inputs[0]) if plain(above) is plain(power) else None


def _softmax(above: Tensor | None, below: Tensor) -> Final | None:
    power = None if above is None else _made(above, "Exp")
    total = _sum(below)
    if above is None or power is None or total is None:
        return None
    if plain(total[0]) is not plain(above):
        return None
    return Final("Softmax", _unshifted(power.inputs[0]), total[1])


def _of_exponential(node: ir.Node) -> Final | None:
    return _renamed(node.inputs[0], {LOGARITHM: "Softmax", "LogSigmoid": "Sigmoid"})


def _of_logarithm(node: ir.Node) -> Final | None:
    source = unfloored(node.inputs[0])
    return _renamed(source, {"Softmax": LOGARITHM, "Sigmoid": "LogSigmoid"})


def _renamed(tensor: Tensor, names: Mapping[str, str]) -> Final | None:
    node = made_by(plain(tensor))
    if node is None or node.op in ("Exp", "Log"):  # of each other: a chain without an end
        return None
    found = final_of(plain(tensor))
    return replace(found, name=names[found.name]) if found and found.name in names else None


def _of_difference(node: ir.Node) -> Final | None:
    """X - log(sum(exp(x)))."""
    left, right = node.inputs
    log = made_by(plain(right))
    if log is not None and log.op == "ReduceLogSumExp":
        whole, axes = log.inputs[0], axes_of(log)
    elif log is not None and log.op == "Log":
        total = _sum(log.inputs[0])
        power = None if total is None else _made(total[0], "Exp")
        if total is None or power is None:
            return None
        whole, axes = power.inputs[0], (total[1],)
    else:
        return None
    if axes is None or len(axes) != 1 or plain(whole) is not plain(left):
        return None
    return Final(LOGARITHM, _unshifted(left), axes[0])


def _of_negative(node: ir.Node) -> Final | None:
    """-softplus(-x), the logarithm of a Sigmoid."""
    soft = _made(node.inputs[0], "Softplus")
    source = None if soft is None else _negated(soft.inputs[0])
    return None if source is None else Final("LogSigmoid", source)


def _of_tanh(node: ir.Node) -> Final | None:
    """(1 + tanh(x / 2)) / 2, as half a sum or as a sum of halves."""
    inner, beside = ("Add", 1.0) if node.op == "Mul" else ("Mul", 0.5)
    rest = _other(node, 0.5)
    made = None if rest is None else _made(rest, inner)
    curve = None if made is None else _other(made, beside)
    tanh = None if curve is None else _made(curve, "Tanh")
    half = None if tanh is None else made_by(plain(tanh.inputs[0]))
    if half is None or half.op not in ("Mul", "Div"):
        return None
    source = _other(half, 0.5 if half.op == "Mul" else 2)
    return None if source is None else Final("Sigmoid", source)


def _of_scaled(node: ir.Node) -> Final | None:
    """exp(x) scaled to a sum of one."""
    power = _made(node.inputs[0], "Exp")
    if power is None or int(node.attrs.get("p", 2)) != 1:
        return None
    return Final("Softmax", _unshifted(power.inputs[0]), int(node.attrs.get("axis", -1)))


def _of_product(node: ir.Node) -> Final | None:
    return _of_reciprocal(node) or _of_tanh(node)


_WRITTEN_OUT = {
    "Div": _of_reciprocal,
    "Reciprocal": _of_reciprocal,
    "Pow": _of_reciprocal,
    "LpNormalization": _of_scaled,
    "Mul": _of_product,
    "Add": _of_tanh,
    "Exp": _of_exponential,
    "Log": _of_logarithm,
    "Sub": _of_difference,
    "Neg": _of_negative,
}


def quotient_of(node: ir.Node) -> tuple[Tensor | None, Tensor] | None:
    """Return what is divided (None for 1) and by what."""
    if node.op == "Reciprocal":
        return None, plain(node.inputs[0])
    if node.op == "Pow":
        return (None, plain(node.inputs[0])) if is_number(node.inputs[1], -1) else None
    if node.op == "Div":
        above, below = node.inputs
        return (None if is_number(above, 1) else plain(above)), plain(below)
    if node.op == "Mul":
        for above, other in (node.inputs, node.inputs[::-1]):
            inverse = made_by(plain(other))
            quotient = quotient_of(inverse) if inverse is not None and inverse.op != "Mul" else None
            if quotient is not None and quotient[0] is None:
                return plain(above), quotient[1]
    return None


def _sum(tensor: Tensor) -> tuple[Tensor, int] | None:
    """Return what is summed and along which one axis; a floor under the sum changes nothing."""
    tensor = unfloored(tensor)
    node = made_by(tensor)
    if node is None or node.op not in ("ReduceSum", "ReduceL1"):
        return None
    axes = axes_of(node)
    return (node.inputs[0], axes[0]) if axes is not None and len(axes) == 1 else None


def unfloored(tensor: Tensor) -> Tensor:
    """Return a tensor without the small number that keeps a division from failing."""
    tensor = plain(tensor)
    node = made_by(tensor)
    while node is not None and node.op in ("Add", "Max", "Clip"):
        data = [t for t in node.inputs if t.name and const_value(t) is None]
        if len(data) != 1:
            break
        tensor = plain(data[0])
        node = made_by(tensor)
    return tensor


def _unshifted(tensor: Tensor) -> Tensor:
    """Return a tensor from which its largest element was taken."""
    node = made_by(plain(tensor))
    if node is None or node.op != "Sub":
        return tensor
    largest = made_by(plain(node.inputs[1]))
    own = largest is not None and largest.op == "ReduceMax"
    if own and largest is not None and plain(largest.inputs[0]) is plain(node.inputs[0]):
        return node.inputs[0]
    return tensor


def _negated(tensor: Tensor) -> Tensor | None:
    node = made_by(plain(tensor))
    if node is None:
        return None
    if node.op == "Neg":
        return node.inputs[0]
    if node.op == "Mul":
        return _other(node, -1)
    return node.inputs[1] if node.op == "Sub" and is_number(node.inputs[0], 0) else None


def _made(tensor: Tensor, op: str) -> ir.Node | None:
    node = made_by(plain(tensor))
    return node if node is not None and node.op == op else None


def _other(node: ir.Node, number: float) -> Tensor | None:
    """Return the operand of a node beside a number."""
    if len(node.inputs) != 2:
        return None
    left, right = node.inputs
    if is_number(right, number):
        return left
    return right if is_number(left, number) and node.op != "Div" else None
