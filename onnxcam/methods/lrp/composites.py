"""Composites: which layers hand their relevance on by which rule."""

from __future__ import annotations

from typing import Any

from onnxcam.autodiff.view import Override, Overrides, Predicate
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import channel_sum
from onnxcam.methods.lrp import first as at_input
from onnxcam.methods.lrp import layers, lrp_epsilon, rules
from onnxcam.methods.registry import Axes


def of_convolutions(
    rule: Any,
    values: dict[str, float],
    *,
    epsilon: float,
    where: Predicate | None = None,
    first: str = "same",
    low: float = 0.0,
    high: float = 0.0,
) -> Overrides:
    """Return the composite of a rule for convolutions, and the epsilon rule for the rest.

    Args:
        rule: The rule, of :mod:`onnxcam.methods.lrp.rules`.
        values: What it takes besides epsilon.
        epsilon: What is added to the size of what is divided by.
        where: Which convolutions it is for; None for all.
        first: Rule of the layers at the input, see :func:`onnxcam.methods.lrp.first.overrides`.
        low: Smallest value of the input, for zbox.
        high: Largest.
    """
    given = {**values, "epsilon": epsilon}
    return Overrides(
        (
            *at_input.overrides(first, low=low, high=high, epsilon=epsilon),
            Override(layers.opens_convolution, rule, given, where, "convolutions"),
            Override(layers.follows_convolution, rules.handed_on, where=where),
            *lrp_epsilon.composite(epsilon).items,
        )
    )


def as_map(op: Emitter, x: Tensor, r: Tensor, axes: Axes, first: str = "same") -> Tensor:
    """Return the relevance summed over the channels.

    Args:
        op: Emitter.
        x: The input.
        r: Its modified gradient; the relevance itself by the rules for the first layers.
        axes: Its axes.
        first: Rule of the layers at the input.
    """
    return channel_sum(op, op.Mul(x, r) if first == "same" else r, axes)
