"""What methods run that run a model many times: all of it, its gradient, or its head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import numpy_helper

from onnxcam.analysis.layers import Candidate, Catalog
from onnxcam.analysis.layout import sized
from onnxcam.autodiff.api import provenance
from onnxcam.autodiff.engine import vjp
from onnxcam.compose.places import Place, place_of
from onnxcam.compose.plan import Plan, input_layer
from onnxcam.compose.slopes import Slopes, chosen_classes, top_class
from onnxcam.errors import UsageError
from onnxcam.graph.emit import Emitter, Tensor, is_float
from onnxcam.methods import Method
from onnxcam.methods.needs import (
    Activation,
    ChannelScore,
    FeatureAndGradient,
    FeatureGradient,
    HeadProbability,
    HeadScore,
    InputGradient,
)
from onnxcam.model.draft import Draft
from onnxcam.model.model import Model
from onnxcam.model.tail import Tail, tail
from onnxcam.names import CLASS, FEATURE, GRADIENT, SCORE, SLOPES, TARGET, VALUE
from onnxcam.targets import Score, Target
from onnxcam.targets.target import scalar

if TYPE_CHECKING:
    from onnxcam.analysis.detectors import Detector


@dataclass(frozen=True)
class Parts:
    """What a method runs.

    Attributes:
        whole: The model with the outputs ``onnxcam.score`` [N, C] and ``onnxcam.class`` (int64
            [N, 1], the class that it says), and what the method needs: the
            gradient of the sum of a class's scores ``onnxcam.gradient``, float32 in the axes of
            the input, with the class in ``onnxcam.target`` (int64 [1]); the feature layer
            ``onnxcam.feature`` and the gradient there ``onnxcam.slopes``, float32 [N, C, *space].
        head: The part from the feature layer to ``onnxcam.score``; None where it is not needed.
            The feature layer and its other inputs are outputs of ``whole``.
        start: Name of the tensor that the head begins at: the feature layer, or its pool over
            space where only channels are left out, for that makes no difference.
        gradient: "exact" or "straight-through (operators)"; "not used" where it is not.
    """

    whole: Model
    head: Tail | None
    gradient: str
    start: str = ""


def parts(
    model: Model,
    catalog: Catalog,
    method: Method,
    feature: Candidate,
    target: Target | None = None,
    detector: Detector | None = None,
) -> Parts:
    """Return what a method runs.

    Args:
        model: The model.
        catalog: Its layers.
        method: A method that runs the model many times.
        feature: The feature layer; the input for methods on the input.
        target: What is explained; None for the score of a class. Any other becomes the output
            ``onnxcam.value``, float32 [N], of the class ``onnxcam.target``.
        detector: Where the model says what it finds, for targets that are boxes; else None.

    Raises:
        UsageError: The axes of what the map is made of are not known, it holds integers where
            a gradient is needed, or the score does not depend on it.
        UnsupportedOp: No gradient between the score and the input.
    """
    draft = sized(model)
    plan = Plan(catalog, (), target or Score(), detector=detector)
    op, scores = draft.op, Slopes(draft, plan)
    draft.output(op.cast(scores.score, np.float32), SCORE)
    draft.output(top_class(draft, scores.score, catalog.reduction), CLASS)
    explained, index = SCORE, None
    at_layer = bool({FeatureGradient, FeatureAndGradient} & {*method.needs})
    slopes = at_layer or InputGradient in method.needs
    if slopes or not isinstance(plan.target, Score):
        index = op.Squeeze(chosen_classes(draft, scores.shown, plan), axes=[1])
    if index is not None and not isinstance(plan.target, Score):
        value = scalar(plan.target, plan.target.emit(op, scores.outputs, index), scores.outputs)
        draft.output(op.cast(value, np.float32), VALUE)
        explained = VALUE
    if InputGradient in method.needs and index is not None:
        source = place_of(draft, input_layer(catalog))
        slope = source.gradient(op, _gradient(scores, source.source, index))
        draft.output(op.cast(slope, np.float32), GRADIENT)
    if Activation in method.needs:
        place = place_of(draft, feature)
        draft.output(_features(op, place, place.tensor), FEATURE)
    if at_layer and index is not None:
        place = place_of(draft, feature)
        slope = place.gradient(op, _gradient(scores, place.source, index))
        draft.output(_features(op, place, slope), SLOPES)
    whole = draft.finish()
    said = provenance(op) if method.uses_gradient else "not used"
    if not {HeadScore, HeadProbability, ChannelScore} & {*method.needs}:
        return Parts(whole, None, said)
    return _headed(whole, draft, method, feature, explained, said)


def _headed(
    whole: Model, draft: Draft, method: Method, feature: Candidate, explained: str, said: str
) -> Parts:
    """Return a model with the part of it behind a feature layer, which runs for each channel."""
    own = [TARGET] if explained == VALUE else []
    start = _channelled(draft, feature)
    head = tail(whole, start, explained, own)
    if ChannelScore in method.needs:
        start = _pooled(head, start, feature)
        head = tail(whole, start, explained, own)
    shown = Draft(whole)
    fed = {port.name for port in whole.inputs}
    for name in (start, *head.inputs):
        if name not in fed:
            shown.output(shown.tensor(name))
    return Parts(shown.finish(), head, said, start)


def _pooled(head: Tail, name: str, feature: Candidate) -> str:
    """Return the pool over space that alone uses a feature layer; else the layer's own name.

    A channel that is 0 is 0 in its mean, sum or maximum over space, wherever these stand in the
    head: what lies before need not run for every channel.
    """
    channel = None if feature.layout is None else feature.layout.channel
    users = [node for node in head.model.light.graph.node if name in node.input]
    if len(users) != 1 or users[0].input[0] != name or list(users[0].input).count(name) != 1:
        return name
    node = users[0]
    if node.op_type in ("GlobalAveragePool", "GlobalMaxPool"):
        return str(node.output[0]) if channel == 1 else name
    if node.op_type not in ("ReduceMean", "ReduceSum", "ReduceMax") or feature.layout is None:
        return name
    axes = _axes(head, node)
    rank = len(feature.layout.axes)
    keeps = next((a.i for a in node.attribute if a.name == "keepdims"), 1)
    space = axes is not None and {a % rank for a in axes} <= {*feature.layout.space}
    before = axes is None or any(a % rank < (channel or 0) for a in axes)
    return str(node.output[0]) if space and axes and (keeps or not before) else name


def _axes(head: Tail, node: Any) -> list[int] | None:
    """Return the axes that a node reduces, where these stand in the file."""
    if len(node.input) < 2:
        return next((list(a.ints) for a in node.attribute if a.name == "axes"), None)
    graph = head.model.light.graph
    found = next((t for t in graph.initializer if t.name == node.input[1]), None)
    return None if found is None else [int(a) for a in numpy_helper.to_array(found)]


def _channelled(draft: Draft, feature: Candidate) -> str:
    """Return the name of a feature layer that can be changed channel by channel."""
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
    return feature.name


def _features(op: Emitter, place: Place, value: Tensor) -> Tensor:
    return op.cast(place.as_features(op, place.patches(op, value)), np.float32)


def _gradient(scores: Slopes, wrt: Tensor, index: Tensor) -> Tensor:
    """Return the gradient of what is explained of a class."""
    op, plan = scores.op, scores.plan
    (slope,) = vjp(op, plan.target.cotangents(op, scores.outputs, index), [wrt])
    if slope is None:
        raise UsageError(
            f"the score {plan.catalog.reduction.name!r} does not depend on {wrt.name!r}",
            "name another `reduction_layer`",
        )
    return slope
