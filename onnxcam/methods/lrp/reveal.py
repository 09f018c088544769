"""DeepLIFT's rule reveal-cancel: what pulls a unit up and what pulls it down have shares apart."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from onnxcam.autodiff.view import NodeView, Override, Overrides
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.lrp.differences import Differences
from onnxcam.methods.lrp.layers import closes, layer, opens_convolution
from onnxcam.methods.lrp.rules import back, handed_on, merged, product

WHAT = "linear layers with a ReLU behind"


class Revealed(Differences):
    """Rules as of :class:`Differences`, with reveal-cancel at linear layers that end in a ReLU.

    Args:
        baseline: The value of every number of the reference.
        dense: Whether it holds for dense layers only, and convolutions have the rescale rule.
    """

    def __init__(self, baseline: float, *, dense: bool) -> None:
        super().__init__(baseline)
        self._dense = dense

    def overrides(self) -> Overrides:
        """Return which node hands its multipliers on by which rule."""
        plain = super().overrides()
        own = (
            Override(self._opens, self.reveal_rule, what=WHAT),
            Override(self._follows, handed_on, what=WHAT),
        )
        return Overrides((*own, *plain.items), complete=True, must=WHAT)

    def reveal_rule(self, op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
        """m_i = sum_j w_ij m_j+ where w_ij (x_i - b_i) > 0, w_ij m_j- where it is below 0.

        With p and n the positive and the negative part of z - z0, f the ReLU, m+ = m_y y+ / p and
        m- = m_y y- / n: y+ = (f(z0 + p) - f(z0) + f(z0 + p + n) - f(z0 + n)) / 2, and y- with p
        and n exchanged. Where x_i = b_i it is half of both. Shrikumar et al., Learning Important
        Features Through Propagating Activation Differences, ICML 2017, sections 3.5.1 and 3.5.3.
        """
        nodes = layer(node)
        last = node.beside(nodes[-1])
        (moving,) = node.route.moving(nodes[-1])
        weight = merged(op, node, nodes)[0] if node.op_type == "Conv" else node.inputs[1]
        up = op.Relu(weight)
        down = op.Sub(weight, up)
        x, start = node.inputs[0], self.reference(op, last, last.inputs[moving])
        away = op.Sub(x, self.reference(op, node, x))
        above, below = op.Relu(away), op.Min(away, 0)

        def sums(*pairs: tuple[Tensor, Tensor]) -> Tensor:
            total: Tensor = reduce(op.Add, [product(op, node, part, w) for part, w in pairs])
            return total

        p, n = sums((above, up), (below, down)), sums((above, down), (below, up))

        def bent(*parts: Tensor) -> Any:
            given: list[Any] = list(last.inputs)
            given[moving] = reduce(op.Add, parts, start)
            return last.emit_forward(op, given)

        none, whole, only_p, only_n = bent(), bent(p, n), bent(p), bent(n)
        rise = op.Add(op.Sub(only_p, none), op.Sub(whole, only_n))
        fall = op.Add(op.Sub(only_n, none), op.Sub(whole, only_p))
        rising, falling = (
            op.Mul(dy, _ratio(op, op.Mul(change, 0.5), part))
            for change, part in ((rise, p), (fall, n))
        )
        if_above = back(op, node, (up, rising), (down, falling))
        if_below = back(op, node, (down, rising), (up, falling))
        middle = op.Mul(op.Add(if_above, if_below), 0.5)
        dx = op.Where(op.Greater(away, 0), if_above, op.Where(op.Less(away, 0), if_below, middle))
        return [dx, *[None] * (len(node.inputs) - 1)]

    def _opens(self, node: NodeView) -> bool:
        nodes = layer(node)
        if len(nodes) < 2 or nodes[0] is not node.raw or not closes(node, nodes[-1]):
            return False
        if node.route.moving(node.raw) != [0]:
            return False
        if node.op_type == "Conv":
            return not self._dense and opens_convolution(node)
        shifts = all(n.op in ("Add", "Sub") for n in nodes[1:-1])  # which a difference has not
        against = [n for n in nodes[1:-1] if n.op == "Sub" and node.route.moving(n) != [0]]
        return node.op_type in ("Gemm", "MatMul") and shifts and not against

    def _follows(self, node: NodeView) -> bool:
        nodes = layer(node)
        return len(nodes) > 1 and nodes[0] is not node.raw and self._opens(node.beside(nodes[0]))


def _ratio(op: Emitter, above: Tensor, below: Tensor) -> Tensor:
    """Return above / below, 0 where below is 0: then nothing goes that way."""
    ratio: Tensor = op.Div(above, op.Where(op.Equal(below, 0), np.inf, below))
    return ratio
