"""What methods run that run a model many times: all of it, its gradient, or its head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from onnxcam.analysis.layers import Candidate, Catalog
from onnxcam.analysis.layout import sized
from onnxcam.autodiff.api import provenance
from onnxcam.autodiff.engine import vjp
from onnxcam.autodiff.replay import Replay
from onnxcam.compose.affine import Halves, halves, last_affine, shown
from onnxcam.compose.headed import ASKED, Start, headed
from onnxcam.compose.places import Place, place_of
from onnxcam.compose.plan import MapPlan, Plan, input_layer
from onnxcam.compose.references import multipliers
from onnxcam.compose.slopes import Slopes, chosen_classes, top_class
from onnxcam.errors import UsageError
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, shape_of
from onnxcam.methods import Method
from onnxcam.methods.needs import (
    Activation,
    FeatureAndGradient,
    FeatureGradient,
    InputGradient,
    LayerOf,
    Maps,
    Multipliers,
    MultipliersAtLayer,
    Straight,
)
from onnxcam.methods.parameters import Setting
from onnxcam.methods.tunnel import Tunnelled
from onnxcam.model.draft import Draft
from onnxcam.model.model import Model
from onnxcam.model.tail import Tail
from onnxcam.names import (
    BASELINE,
    CHOICE,
    CLASS,
    FEATURE,
    GRADIENT,
    HELD,
    MAPS,
    OTHER,
    RELIEF,
    SCORE,
    SLOPES,
    VALUE,
)
from onnxcam.targets import Score, Target
from onnxcam.targets.positions import rank_of
from onnxcam.targets.target import Outputs, scalar

if TYPE_CHECKING:
    from onnxcam.analysis.detectors import Detector


_AT_LAYER = frozenset((FeatureGradient, FeatureAndGradient, MultipliersAtLayer))
_SHOWN = frozenset((Activation, LayerOf))
_AT_INPUT = frozenset((InputGradient, Multipliers, Straight))
_OF_CLASS = frozenset((*_AT_LAYER, *_AT_INPUT, Maps))


@dataclass(frozen=True)
class Parts:
    """What a method runs.

    Attributes:
        whole: The model with the outputs ``onnxcam.score`` [N, C] and ``onnxcam.class`` (int64
            [N, 1], the class that it says), and what the method needs: the
            gradient of the sum of a class's scores ``onnxcam.gradient``, float32 in the axes of
            the input, with the class in ``onnxcam.target`` (int64 [1]), or the multipliers there
            against the input ``onnxcam.baseline``; the maps of a method ``onnxcam.maps``
            [N, 1 + C, *space], see :mod:`onnxcam.methods.tunnel`; the feature layer
            ``onnxcam.feature``, that of the other input ``onnxcam.other``, and the gradient there
            or the multipliers ``onnxcam.slopes``, float32 [N, C, *space].
        head: The part behind the feature layer, to ``onnxcam.score``, or to those of some classes,
            ``onnxcam.few``; None where it is not needed. What it takes are outputs of ``whole``.
        start: Where the head begins; None where there is none.
        gradient: "exact" or "straight-through (operators)"; "not used" where it is not.
        halves: What the gradient is made by, where that is not ``whole``: then this has no
            gradient, and outputs with what they take.
    """

    whole: Model
    head: Tail | None
    gradient: str
    start: Start | None = None
    halves: Halves | None = None


def parts(
    model: Model,
    catalog: Catalog,
    method: Method,
    feature: Candidate,
    target: Target | None = None,
    detector: Detector | None = None,
    settings: Mapping[str, Setting] | None = None,
    *,
    split: bool = False,
) -> Parts:
    """Return what a method runs.

    Args:
        model: The model.
        catalog: Its layers.
        method: A method that runs the model many times.
        feature: The feature layer; the input for methods on the input.
        target: What is explained; None for the score of a class. Any other becomes the output
            ``onnxcam.value``, float32 [N], of the class ``onnxcam.target``; what it chooses in an
            input is the output ``onnxcam.choice`` and, of the explained one, the input
            ``onnxcam.held``.
        detector: Where the model says what it finds, for targets that are boxes; else None.
        settings: Values of the method's parameters, where it puts maps of another one together.
        split: Whether gradients may be taken in two halves, which run one input at a time.

    Raises:
        UsageError: The axes of what the map is made of are not known, it holds integers where
            a gradient is needed, or the score does not depend on it.
        UnsupportedOp: No gradient between the score and the input.
    """
    draft = sized(model)
    exposed = frozenset((RELIEF,))
    plan = Plan(catalog, (), target or Score(), detector=detector, expose=exposed)
    op, scores = draft.op, Slopes(draft, plan)
    draft.output(op.cast(scores.score, np.float32), SCORE)
    draft.output(top_class(draft, scores.score, catalog.reduction), CLASS)
    explained, index = SCORE, None
    if not _OF_CLASS.isdisjoint(method.needs) or not isinstance(plan.target, Score):
        index = op.Squeeze(chosen_classes(draft, scores.shown, plan), axes=[1])
        explained = _valued(draft, scores, index)
    at = _turn(draft, scores) if split and Straight in method.needs else None
    if at is not None and index is not None:
        return _in_halves(draft, scores, index, at) or parts(
            model, catalog, method, feature, target, detector, settings
        )
    _write(draft, scores, method, feature, index)
    if isinstance(method, Tunnelled) and index is not None:
        draft.output(_maps(draft, scores, method, feature, index, settings or {}), MAPS)
    whole = draft.finish()
    said = provenance(op) if method.uses_gradient else "not used"
    if ASKED.isdisjoint(method.needs):
        return Parts(whole, None, said)
    shown, head, start = headed(whole, draft, method, feature, explained)
    return Parts(shown, head, said, start)


def _write(
    draft: Draft, scores: Slopes, method: Method, feature: Candidate, index: Tensor | None
) -> None:
    """Write the outputs that a method needs of the whole model, beside maps."""
    op = draft.op
    if index is not None and not _AT_INPUT.isdisjoint(method.needs):
        source = place_of(draft, input_layer(scores.plan.catalog))
        against = Multipliers in method.needs
        of = partial(_against, _other(draft, scores)) if against else _gradient
        slope = source.gradient(op, of(scores, source.source, index))
        draft.output(op.cast(slope, np.float32), GRADIENT)
    if not _SHOWN.isdisjoint(method.needs):
        place = place_of(draft, feature)
        draft.output(_features(op, place, place.tensor), FEATURE)
    if index is not None and not _AT_LAYER.isdisjoint(method.needs):
        place = place_of(draft, feature)
        of = _gradient
        if MultipliersAtLayer in method.needs:
            other = _other(draft, scores)
            draft.output(_features(op, place, other.twin(op, place.tensor)), OTHER)
            of = partial(_against, other)
        slope = place.gradient(op, of(scores, place.source, index))
        draft.output(_features(op, place, slope), SLOPES)


def _turn(draft: Draft, scores: Slopes) -> Tensor | None:
    """Return where the first stretch of a model ends that is affine; None where it has none."""
    catalog = scores.plan.catalog
    x = draft.tensor(catalog.input)
    return last_affine(draft.graph.nodes, x, draft.tensor(catalog.reduction.name))


def _in_halves(draft: Draft, scores: Slopes, index: Tensor, at: Tensor) -> Parts | None:
    """Return a model in two halves; None where it does not come apart there."""
    whole, place = draft.finish(), place_of(draft, input_layer(scores.plan.catalog))
    cut = halves(draft, place, at, _gradient(scores, at, index))
    if cut is None:
        return None
    return Parts(shown(whole, cut.shown), None, provenance(draft.op), halves=cut)


def _valued(draft: Draft, scores: Slopes, index: Tensor) -> str:
    """Return the name of the output that is explained; a target's value is written."""
    target = scores.plan.target
    if isinstance(target, Score):
        return SCORE
    scores.outputs = _holding(draft, target, scores.outputs, index)
    value = scalar(target, target.emit(draft.op, scores.outputs, index), scores.outputs)
    draft.output(draft.op.cast(value, np.float32), VALUE)
    return VALUE


def _holding(draft: Draft, target: Target, outputs: Outputs, index: Tensor) -> Outputs:
    """Return outputs with the choice of another input: what the target chooses is fed."""
    found = target.choice(draft.op, outputs, index)
    if found is None:
        return outputs
    draft.output(found, CHOICE)
    kind, rank = dtype_of(found) or np.dtype(np.int64), rank_of(found)
    free = [f"{HELD}.{i}" for i in range(rank)]  # a size without a name is that of the default
    held = draft.input(HELD, kind, free, np.zeros([1] * rank, kind))
    return replace(outputs, held=held)


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


def _other(draft: Draft, scores: Slopes) -> Replay:
    """Return what the model computes of another input, which is fed beside the one explained."""
    x = draft.tensor(scores.plan.catalog.input)
    return Replay([(x, draft.input(BASELINE, dtype_of(x), shape_of(x)))])


def _against(other: Replay, scores: Slopes, wrt: Tensor, index: Tensor) -> Tensor:
    """Return DeepLIFT's multipliers of a tensor, against another input."""
    return multipliers(scores, scores.op, index, other, wrt)


def _maps(
    draft: Draft,
    scores: Slopes,
    method: Tunnelled,
    feature: Candidate,
    index: Tensor,
    settings: Mapping[str, Setting],
) -> Tensor:
    """Return the maps that are put together."""
    from onnxcam.compose.mapped import mapped  # late: few methods need it

    own = {p.name: settings.get(p.name, p.default) for p in method.one.parameters}
    return mapped(draft, scores, MapPlan(method.one, feature, settings=own), index)
