"""The part of a model behind a feature layer, as small as what a method asks of it allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from onnxcam.analysis.layers import Candidate
from onnxcam.analysis.layout import Layout
from onnxcam.compose.narrow import last_linear, narrowed
from onnxcam.errors import UsageError
from onnxcam.graph import ir
from onnxcam.graph.emit import const_value, is_float
from onnxcam.methods import Method
from onnxcam.methods.needs import (
    ChannelScore,
    HeadProbability,
    HeadScore,
    Need,
    PlaceProbability,
    PlaceScore,
)
from onnxcam.model.draft import Draft
from onnxcam.model.model import Model
from onnxcam.model.tail import Tail, tail
from onnxcam.names import ANY_NUMBER, FEW, HELD, SCORE, TARGET

Pool: TypeAlias = Literal["", "mean", "sum", "max"]
_PROBABLE: frozenset[Need] = frozenset({HeadProbability, PlaceProbability})
_PLACES: frozenset[Need] = frozenset({PlaceScore, PlaceProbability})
ASKED: frozenset[Need] = frozenset({HeadScore, ChannelScore, *_PROBABLE, *_PLACES})
_POOLS: dict[str, Pool] = {
    "GlobalAveragePool": "mean", "GlobalMaxPool": "max", "ReduceMean": "mean",
    "ReduceSum": "sum", "ReduceMax": "max",
}  # fmt: skip


@dataclass(frozen=True)
class Start:
    """Where a head begins.

    Attributes:
        name: Name of the tensor: the feature layer, or its pool over space, where only channels
            are left out, or positions weighted before a mean or a sum over all of them.
        batch: Axis of the inputs in it.
        channel: Axis of the channels.
        pool: What it is of the feature layer, "" for itself.
    """

    name: str
    batch: int
    channel: int
    pool: Pool = ""


def headed(
    whole: Model, draft: Draft, method: Method, feature: Candidate, explained: str
) -> tuple[Model, Tail, Start]:
    """Return a model whose outputs feed its head, that, and where it begins.

    Where scores of classes are asked for and the last thing that makes them is linear, the head
    computes ``onnxcam.few`` [N, K], those of the classes ``onnxcam.target`` (int64 [K]), only.

    Args:
        whole: The model with what else is asked of it.
        draft: The same while it was made.
        method: A method that asks its head.
        feature: The feature layer.
        explained: Name of the output of ``whole`` that is explained.

    Raises:
        UsageError: The feature layer has no channels, or what is explained does not depend on it.
    """
    layout = _channelled(draft, feature)
    source, output, own = whole, explained, [] if explained == SCORE else [*_told(whole)]
    if explained == SCORE and _PROBABLE.isdisjoint(method.needs):
        source, output, own = _of_few(whole) or (source, output, own)
    head = tail(source, feature.name, output, own)
    start = _pooled(head, feature.name, layout, method)
    if start.pool:
        head = tail(source, start.name, output, own)
    shown = Draft(whole)
    fed = {port.name for port in whole.inputs} | {TARGET}
    for name in dict.fromkeys((feature.name, start.name, *head.inputs)):
        if name not in fed:
            shown.output(shown.tensor(name))
    return shown.finish(), head, start


def _told(whole: Model) -> list[str]:
    """Return the inputs that say what is explained."""
    given = {port.name for port in whole.light.graph.input}
    return [name for name in (TARGET, HELD) if name in given]


def _of_few(whole: Model) -> tuple[Model, str, list[str]] | None:
    """Return the model with the scores of some classes; None where they take as long as all."""
    draft = Draft(whole)
    nodes = last_linear(draft.tensor(SCORE))
    if not nodes:
        return None
    index = draft.input(TARGET, np.int64, [ANY_NUMBER])
    draft.output(narrowed(draft.op, nodes, index), FEW)
    return draft.finish(), FEW, [TARGET]


def _channelled(draft: Draft, feature: Candidate) -> Layout:
    """Return the axes of a feature layer, which can be changed channel by channel."""
    if not is_float(draft.tensor(feature.name)):
        raise UsageError(
            f"{feature.name!r} holds integers, of which no channel can be left out",
            "choose a `feature_layer` behind it, or another method",
        )
    if feature.layout is None or feature.layout.channel is None:
        raise UsageError(f"{feature.name!r} has no channels", "choose another `feature_layer`")
    if feature.layout.pieces:
        raise UsageError(
            f"part of the axes of {feature.name!r} lie beside the batch, where no channel can be "
            "left out",
            "choose another `feature_layer`, or `method='gradcam'`",
        )
    return feature.layout


def _pooled(head: Tail, name: str, layout: Layout, method: Method) -> Start:
    """Return the pool over space that alone uses a feature layer; else the layer itself.

    A channel that is 0 is 0 in its mean, sum or maximum over space, wherever these stand in the
    head; and a mean or sum over all positions is linear in their weights. What lies before need
    not run for every channel or position then.
    """
    batch, channel = layout.batch or 0, layout.channel or 0
    own = Start(name, batch, channel)
    if ChannelScore in method.needs:
        allowed: Callable[[Pool, set[int]], bool] = lambda _, axes: bool(axes)  # noqa: E731
    elif not _PLACES.isdisjoint(method.needs):
        every = {*range(len(layout.axes))} - {batch, channel}
        allowed = lambda pool, axes: pool in ("mean", "sum") and axes == every  # noqa: E731
    else:
        return own
    users = Draft(head.model).tensor(name).outputs
    if len(users) != 1 or [t.name for t in users[0].inputs].count(name) != 1:
        return own
    (node,) = users
    pool = _POOLS.get(node.op, "")
    if not pool or node.domain or node.inputs[0].name != name:
        return own
    axes = _axes(node, layout)
    if not axes <= {*layout.space} or not allowed(pool, axes):
        return own
    kept = node.op.startswith("Global") or node.attrs.get("keepdims", 1)
    batch, channel = (i if kept else i - sum(a < i for a in axes) for i in (batch, channel))
    return Start(str(node.outputs[0].name), batch, channel, pool)


def _axes(node: ir.Node, layout: Layout) -> set[int]:
    """Return the axes that a node reduces, where these stand in the file; else none."""
    rank = len(layout.axes)
    if node.op.startswith("Global"):
        return {*range(2, rank)} if (layout.batch or 0, layout.channel) == (0, 1) else set()
    axes = node.attrs.get("axes") if len(node.inputs) < 2 else const_value(node.inputs[1])
    return set() if axes is None else {int(a) % rank for a in axes}
