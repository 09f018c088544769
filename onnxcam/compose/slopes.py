"""The scores of a model and the gradients of a target: what all maps of a plan share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from onnxcam.analysis.layers import Reduction
from onnxcam.analysis.layers.path import ancestors
from onnxcam.autodiff.engine import overridden, vjp
from onnxcam.autodiff.replay import Replay
from onnxcam.autodiff.view import Overrides
from onnxcam.compose.places import Place, place_of
from onnxcam.compose.plan import Plan, input_layer
from onnxcam.compose.regions import fixed
from onnxcam.compose.single import in_single
from onnxcam.compose.unrounded import unrounded
from onnxcam.errors import UsageError
from onnxcam.graph.emit import Dim, Emitter, Tensor, shape_of
from onnxcam.methods import GraphMethod
from onnxcam.methods.needs import Input
from onnxcam.methods.registry import Axes
from onnxcam.model.draft import Draft
from onnxcam.names import ANY_NUMBER, TARGET
from onnxcam.targets.classes import class_scores, classes_only
from onnxcam.targets.found import found, nothing
from onnxcam.targets.target import Outputs


class Slopes:
    """The scores of a model, and gradients of its target, each written once.

    Args:
        draft: The model.
        plan: What is explained.

    Attributes:
        op: Emitter of the graph.
        tensor: The reduction layer, in float32 where the plan says so.
        score: The scores [N, C], as the model computes them.
        shown: What the class of a target is read off: the same.
        outputs: What the target is made of: the same before their final rounding, in float32
            where the plan says so.
    """

    def __init__(self, draft: Draft, plan: Plan) -> None:
        self.op, self.plan, self._draft = draft.op, plan, draft
        self._reduction = plan.catalog.reduction
        self.tensor = draft.tensor(self._reduction.name)
        self._named: Callable[[str], Tensor] | None = draft.tensor
        self.shown = self._outputs(self.tensor)
        self.score = self.shown.scores
        whole = unrounded(self.op, self.tensor)
        self.outputs = self.shown if whole is self.tensor else self._outputs(whole)
        self._rules: dict[tuple[str, str], Overrides] = {}  # by method, and the layer it is told
        self._wanted: list[tuple[Overrides, list[Tensor]]] = []
        self._written: dict[tuple[Emitter, int, int, int], Tensor | None] = {}

    def to_single(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Compute the scores once more in float32 from these tensors on; return their twins."""
        detector = self.plan.detector
        if detector is not None and not (detector.single and detector.rows is None):
            raise UsageError(
                "`fp16_safe` explains one tensor with scores, and these boxes are of several",
                "leave it out, or name the scores as `reduction_layer` and explain a class",
            )
        self.tensor, twins = in_single(self.op, self.outputs.tensor, tensors)
        if self.tensor is not self.outputs.tensor:
            self._named = None
        self.outputs = self._outputs(self.tensor)
        return twins

    def _outputs(self, tensor: Tensor) -> Outputs:
        scores = class_scores(self.op, tensor, self._reduction)
        plan, draft = self.plan, self._draft
        layout, shape = plan.catalog.input_layout, shape_of(draft.tensor(plan.catalog.input))
        known = layout is not None and shape is not None and len(shape) == len(layout.axes)
        size = layout.extents(shape) if known else ()  # type: ignore[union-attr, arg-type]
        boxes = None
        if plan.detector is not None:
            anything = objectness(draft, self._reduction) if plan.detector.single else None
            boxes = found(draft, plan.detector, tensor, anything, plan.decoding)
            if not plan.detector.single:
                scores = self.op.ReduceMax(boxes.scores, axes=[2], keepdims=0)
        return Outputs(scores, tensor, self._reduction, self._named, boxes, size)

    def want(self, method: GraphMethod, wrt: Tensor, settings: Mapping[str, Any]) -> None:
        """Say that a method will ask for a gradient: those with one rule book are written at once.

        Args:
            method: The method.
            wrt: What it differentiates with respect to.
            settings: Values of its parameters, and what else its overrides are told.

        Raises:
            UsageError: The method changes the gradient of operators that are not there.
        """
        key = method.name, settings.get("layer", "")
        rules = self._rules.setdefault(key, method.backward(**settings))
        asked = [o for o in rules.items if o.what and rules.must in ("", o.what)]
        told = not rules or (rules.complete and not rules.must)
        only = replace(rules, items=tuple(asked)) if rules.must else rules
        if not told and not overridden(self.op, [self.outputs.scores], [wrt], only):
            changed = " or ".join(dict.fromkeys(o.what for o in asked))
            plain = "input-x-gradient" if Input in method.needs else "saliency"
            raise UsageError(
                f"{method.name} changes the gradient of {changed}, but there is none between "
                f"{wrt.name!r} and {self.tensor.name!r}",
                f"use `method={plain!r}`, which is the gradient as it is",
            )
        tensors = self._sharing(rules)
        if all(t is not wrt for t in tensors):
            tensors.append(wrt)

    def at(
        self, op: Emitter, index: Tensor, source: Tensor, x: Tensor, wrt: Tensor | None = None
    ) -> Tensor:
        """Return the gradient of the target where another value takes the place of a tensor.

        Args:
            op: Emitter of the graph or of a subgraph.
            index: The class of each input, int64 [N].
            source: The tensor.
            x: The value, of its shape and dtype.
            wrt: What is differentiated with respect to, as the value makes it where it depends on
                that; None for the value.

        Raises:
            UsageError: The score does not depend on the tensor.
            UnsupportedOp: No gradient between the two, or what lies there is run but once.
        """
        replay, outputs = Replay([(source, x)]), self.outputs
        tensor = replay.twin(op, outputs.tensor)
        found, named = outputs.boxes, outputs.named
        there = replace(
            outputs,
            scores=class_scores(op, tensor, self._reduction),
            tensor=tensor,
            boxes=found and replace(found, scores=replay.twin(op, found.scores)),
            # Which box it is, which pixels: that was settled by the input as it is.
            held=self.plan.target.choice(op, outputs, index),
            named=None if named is None else lambda name: replay.twin(op, named(name)),
        )
        wrt = x if wrt is None else replay.twin(op, wrt)
        (slope,) = vjp(op, self.plan.target.cotangents(op, there, index), [wrt])
        return self.dependent(slope, source)

    def of_other_inputs(
        self, index: Tensor, place: Place, op: Emitter,
        change: Callable[[Emitter, Tensor, Axes], Tensor],
    ) -> Tensor:  # fmt: skip
        """Return the gradient at a layer where the input is another one.

        Args:
            index: The class of each input, int64 [N].
            place: The layer.
            op: Emitter of the graph or of a subgraph.
            change: Returns another input from the input and its axes.
        """
        given = place_of(self._draft, input_layer(self.plan.catalog))
        x = change(op, given.patches(op, given.tensor), given.axes)
        other = op.typed(given.unpatched(op, x), given.source)
        found = self.at(op, index, given.source, other, place.source)
        return place.patches(op, place.gradient(op, found))

    def curvature(self, op: Emitter, index: Tensor, method: GraphMethod, place: Place) -> Tensor:
        """Return H A: the derivative of the gradient at a layer A along A, in its own axes."""
        slope = self.of(op, index, method, place.source)
        (found,) = vjp(op, [(slope, op.cast(place.tensor, slope))], [place.source])
        if found is None:  # of a score that is linear in the layer
            return op.zeros_like(place.tensor)
        return place.gradient(op, place.gradient(op, found))

    def dependent(self, slope: Tensor | None, wrt: Tensor) -> Tensor:
        """Return a gradient; raise a UsageError where there is none."""
        if slope is not None:
            return slope
        said = f"the score {self.tensor.name!r} does not depend on {wrt.name!r}"
        if any(t is wrt for t in ancestors(self.tensor)):
            raise UsageError(
                f"{said} but by steps (ArgMax, comparisons, rounding), which have no gradient",
                "name a `reduction_layer` before them, or hide parts, as `method='rise'` does",
            )
        raise UsageError(
            said, "`onnxcam.analysis.layers.catalog(model)` lists the layers that it depends on"
        )

    def _sharing(self, rules: Overrides) -> list[Tensor]:
        """Return what is differentiated under the same rules."""
        for other, tensors in self._wanted:
            if other is rules or not (other or rules):
                return tensors
        self._wanted.append((rules, []))
        return self._wanted[-1][1]

    def of(
        self, op: Emitter, index: Tensor, method: GraphMethod, wrt: Tensor, layer: str = ""
    ) -> Tensor:
        """Return the gradient of the target with respect to a tensor.

        Args:
            op: Emitter of the graph or of a subgraph.
            index: The class of each input, int64 [N].
            method: The method that it is for; its rules are in force.
            wrt: The tensor; one that was wanted.
            layer: The layer that its rules were told of; "" for none.

        Raises:
            UsageError: The score does not depend on the tensor.
            UnsupportedOp: No gradient between the two.
        """
        rules = self._rules[method.name, layer]
        tensors = self._sharing(rules)
        key = (op, id(index), id(tensors), id(wrt))
        if key not in self._written:
            pairs = self.plan.target.cotangents(op, self.outputs, index)
            own = rules if self.plan.detector is None else fixed(rules)
            found = vjp(op, pairs, tensors, overrides=own)
            for tensor, gradient in zip(tensors, found, strict=True):
                self._written[op, id(index), id(tensors), id(tensor)] = gradient
        return self.dependent(self._written[key], wrt)


def objectness(draft: Draft, reduction: Reduction) -> Tensor | None:
    """Return the probability that there is anything at a position, where a detector says it."""
    best = reduction.best
    if best is not None and best.first:
        whole, row = draft.tensor(best.classes), best.first
        return draft.op.Slice(whole, starts=[row - 1], ends=[row], axes=[best.class_axis])
    return None if best is None or best.objectness is None else draft.tensor(best.objectness)


def chosen_classes(draft: Draft, outputs: Outputs, plan: Plan) -> Tensor:
    """Add the input with the targets; return the class (or row) of each, int64 [N, K]."""
    kept = None if plan.required else np.asarray(plan.default, np.int64)
    shape: list[Dim] = [plan.targets or ANY_NUMBER]
    if plan.each:
        shape, kept = [None, *shape], None if kept is None else kept[None]
    wanted = draft.input(TARGET, np.int64, shape, kept)
    op = draft.op
    with op.scope("target"):
        top = plan.target.top(op, outputs)
        if top is None:
            top = top_class(draft, outputs.scores, plan.catalog.reduction)
        found = op.Where(op.Less(wanted, 0), top, wanted)
        if plan.each:
            found.shape = [(shape_of(top) or (None,))[0], shape[1]]
        return found


def top_class(draft: Draft, score: Tensor, reduction: Reduction) -> Tensor:
    """Return the class that the model says for each input, int64 [N, 1].

    It is the one with the highest score; a detector's is that of its best finding, which is the
    highest probability at any position, not in the sum over all of them. Where one class stands
    for nothing (:func:`onnxcam.targets.found.nothing`), it is not found.

    Args:
        draft: The model.
        score: The scores [N, C].
        reduction: What is known of them.
    """
    op, best = draft.op, reduction.best
    if best is None:
        return op.ArgMax(score, axis=1, keepdims=1)
    found = classes_only(op, draft.tensor(best.classes), reduction)
    if best.background:
        found = op.Softmax(found, axis=best.class_axis)
    anything = objectness(draft, reduction)
    if anything is not None:
        found = op.Mul(found, anything)
    rank = len(shape_of(found) or ())
    own = [best.batch_axis, best.class_axis]
    found = op.Transpose(found, perm=[*own, *(i for i in range(rank) if i not in own)])
    positions = list(range(2, rank))
    highest = op.ReduceMax(found, axes=positions, keepdims=0) if positions else found
    if best.background:
        often = op.ReduceSum(found, axes=positions, keepdims=0)
        highest = op.Sub(highest, op.Mul(nothing(op, often, best.nothing), 2))
    return op.ArgMax(highest, axis=1, keepdims=1)
