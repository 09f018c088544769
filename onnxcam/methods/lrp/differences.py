"""DeepLIFT's rules: gradients of differences from a reference, which flows beside the input."""

from __future__ import annotations

from typing import Any

from onnxcam.autodiff.overrides import own_rule
from onnxcam.autodiff.replay import Replay
from onnxcam.autodiff.route import topological
from onnxcam.autodiff.view import NodeView, Override, Overrides
from onnxcam.errors import UnsupportedOp
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.graph.ops import Trait, has
from onnxcam.methods.lrp import layers, rules

_SAME = 1e-10  # a difference below is none: Captum's
_LINEAR = ("Add", "Sub", "Mul", "Div", "Neg", "Sum", "Mean", "Dropout", "Identity", "Cast")
_LARGEST = ("MaxPool", "GlobalMaxPool", "ReduceMax")
_PRODUCTS = ("Mul", "MatMul", "Gemm", "Einsum")
_CHOICES = ("Max", "Min", "TopK", "Where", "Div")


class Differences:
    """Rules that hand multipliers on: how much of a difference in y one in x makes.

    Args:
        baseline: The value of every number of the reference, which the model runs on as well.
        replay: Knows what takes the place of the input, where the reference is no such value.
    """

    def __init__(self, baseline: float = 0.0, replay: Replay | None = None) -> None:
        self._baseline = baseline
        self._replay, self._started = replay or Replay(), replay is not None

    def overrides(self) -> Overrides:
        """Return which node hands its multipliers on by which rule; the rest has its gradient."""
        return Overrides(
            (
                Override(_is_largest, self.largest_rule, what="maxima"),
                Override(self._bends, self.rescale_rule, what="activations"),
                Override(_is_product, self.product_rule, what="products"),
                Override(lambda node: not _is_linear(node), refusal),
            ),
            complete=True,
        )

    def reference(self, op: Emitter, node: NodeView, tensor: Tensor) -> Tensor:
        """Return what a tensor is where the input is the reference."""
        if id(tensor) in node.asked and not self._started:
            self._start(op, tensor)
        for source in () if self._started else topological([tensor], set(node.asked)):
            for t in source.inputs:
                if id(t) in node.asked:
                    self._start(op, t)
        return self._replay.twin(op, tensor)

    def _start(self, op: Emitter, x: Tensor) -> None:
        if not self._replay.knows(x):
            self._replay.learn(x, op.Add(op.zeros_like(x), self._baseline))
        self._started = True

    def rescale_rule(self, op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
        """m_x = m_y (y - y0) / (x - x0); the gradient where x is x0.

        Shrikumar et al., Learning Important Features Through Propagating Activation Differences,
        ICML 2017, section 3.5.2 (the rescale rule).
        """
        (i,) = node.route.moving(node.raw)
        share = op.Mul(dy, self._difference(op, node, node.outputs[0]))
        return self._divided(op, node, i, dy, share)

    def largest_rule(self, op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
        """m_x (x - x0) = m_y (t - y0) at the largest x and m_y (y - t) at the largest x0.

        t is the larger one of y and y0, as in Captum; the paper has no rule for it.
        """
        y = node.outputs[0]
        y0 = self.reference(op, node, y)
        top = op.Max(y, y0)
        (i,) = node.route.moving(node.raw)
        here = own_rule(op, node, op.Mul(dy, op.Sub(top, y0)))[i]
        there = self._at_reference(op, node, op.Mul(dy, op.Sub(y, top)))[i]
        return self._divided(op, node, i, dy, op.Add(here, there))

    def product_rule(self, op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
        """m_a = m_y (b + b0) / 2 and m_b = m_y (a + a0) / 2, for y = a b: all of the difference.

        The paper has no rule for it; each factor has the mean of what it has first and last.
        """
        half = op.Mul(dy, 0.5)
        pairs = zip(own_rule(op, node, half), self._at_reference(op, node, half), strict=True)
        return [None if a is None or b is None else op.Add(a, b) for a, b in pairs]

    def _bends(self, node: NodeView) -> bool:
        if len(node.route.moving(node.raw)) != 1 or not has(node, Trait.ELEMENTWISE):
            return False
        return node.op_type not in _LINEAR or (
            node.op_type == "Div" and node.route.moving(node.raw) == [1]
        )

    def _difference(self, op: Emitter, node: NodeView, tensor: Tensor) -> Tensor:
        difference: Tensor = op.Sub(tensor, self.reference(op, node, tensor))
        return difference

    def _divided(
        self, op: Emitter, node: NodeView, i: int, dy: Tensor, share: Tensor
    ) -> list[Tensor | None]:
        """Return a share over the difference of an input, where that is none the gradient."""
        away = self._difference(op, node, node.inputs[i])
        none = op.Less(op.Abs(away), rules.stable(away, _SAME))
        slope = own_rule(op, node, dy)[i]
        assert slope is not None, "it moves"
        ratio = op.Div(op.cast(share, away), op.Where(none, 1, away))
        dx = op.Where(none, slope, op.cast(ratio, slope))
        return [dx if k == i else None for k in range(len(node.inputs))]

    def _at_reference(self, op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
        """Return the gradients of a node where the input is the reference."""
        twin = node.beside(self.reference(op, node, node.outputs[0]).inputs[0])
        twin.wanted_as(node)
        return own_rule(op, twin, dy)


def refusal(op: Emitter, node: NodeView, *dys: Tensor | None) -> Any:
    """Refuse what no rule is for.

    Raises:
        UnsupportedOp: Always.
    """
    raise UnsupportedOp(
        f"DeepLIFT has no rule for {node.domain or 'ai.onnx'}::{node.op_type}, node {node.name!r}",
        "use the method integrated-gradients, which follows the function as it is",
    )


def _is_largest(node: NodeView) -> bool:
    return node.op_type in _LARGEST and node.route.moving(node.raw) == [0]


def _is_product(node: NodeView) -> bool:
    factors = [i for i in node.route.moving(node.raw) if i < 2 or node.op_type == "Einsum"]
    return not node.domain and node.op_type in _PRODUCTS and len(factors) == 2


def _is_linear(node: NodeView) -> bool:
    moving = node.route.moving(node.raw)
    if node.op_type in _CHOICES and moving != [0]:
        return False
    return layers.keeps(node) and not has(node, Trait.HAS_BODY)
