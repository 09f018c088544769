"""Run a cell: one method at one target of one kind; and judge what comes of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinds import tree
from kinds.asked import QUESTIONS, Question
from kinds.kind import Kind, Outputs, exported
from onnxcam import Explainer, OnnxcamError, methods
from onnxcam.errors import InternalError
from onnxcam.model.model import load
from onnxcam.run.session import Session

RIGHT, REFUSED, WRONG, ALONE = "right", "refused", "WRONG", "not judged"
Array = np.ndarray[Any, Any]

CORE = ("class", "function")  # targets of every method
FULL = ("gradcam", "hirescam", "saliency", "lrp-epsilon", "rise")  # methods at every target

# How often a method runs the model where it says so: a map of a small network needs little.
FEW = {
    "masks": 12, "samples": 6, "steps": 4, "evaluations": 12, "designs": 4, "cells": 3,
    "regions": 4, "window": 0.3, "stride": 0.2,
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """What came of a method at a target of a kind.

    Attributes:
        kind: The kind's name.
        target: The target's.
        method: The method's.
        verdict: "right", "refused", "WRONG", or "not judged".
        why: Against what it was held, or the reason of a refusal, or what is wrong.
    """

    kind: str
    target: str
    method: str
    verdict: str
    why: str

    def as_dict(self) -> dict[str, str]:
        """Return what JSON can hold."""
        return asdict(self)


class Subject:
    """A kind's file, and torch's truth about it.

    Args:
        kind: The kind.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.model = load(exported(kind) if kind.file is None else kind.file)
        with torch.no_grad():
            self.outputs = kind.run(*kind.inputs.values())
            self.places = kind.scores(self.outputs)
        self.feeds = {
            name: _as(tensor, next(p.dtype for p in self.model.inputs if p.name == name))
            for name, tensor in kind.inputs.items()
        }
        self._twins: dict[str, Any] = {}
        self._slopes: dict[str, Any] = {}

    @cached_property
    def explained(self) -> Array:
        """The input that is explained."""
        return self.feeds[self.kind.explained]

    @cached_property
    def catalog(self) -> Any:
        """What is known of the file's layers."""
        given = dict(self.kind.options)
        how = {"device": "cpu", "threads": 1, "cache": False}
        return Explainer(self.model, "saliency", **how, **given).catalog

    @cached_property
    def others(self) -> dict[str, Array]:
        """What is fed beside it."""
        return {n: a for n, a in self.feeds.items() if n != self.kind.explained}

    def truth(self, question: Question) -> Tensor | None:
        """Return the target by torch; None where it makes no sense."""
        return question.truth(self.kind, self.outputs)

    def twin(self, question: Question) -> Any:
        """Return the file of the same network with the target as its only score."""
        if self.kind.file is not None:
            return load(tree.twin(question.name)) if tree.twin(question.name) else None
        if question.name not in self._twins:
            self._twins[question.name] = self._twin(question)
        return self._twins[question.name]

    def _twin(self, question: Question) -> Any:
        def score(y: Outputs) -> Tensor:
            return _value(question, self.kind, y)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = load(exported(self.kind, score))
            try:
                Session(made, device="cpu", threads=1)
            except OnnxcamError:  # what the score is made of does not go in half precision
                made = load(exported(self.kind, score, plain=True))
        return made

    def slopes(self, question: Question) -> dict[str, tuple[Array, Array]]:
        """Return values and gradients at the feature layer and at the input, [C, *space]."""
        if question.name not in self._slopes:
            self._slopes[question.name] = dict(self._found(question))
        found: dict[str, tuple[Array, Array]] = self._slopes[question.name]
        return found

    def _found(self, question: Question) -> Iterator[tuple[str, tuple[Array, Array]]]:
        kind = self.kind
        given = {n: t.clone() for n, t in kind.inputs.items()}
        x = given[kind.explained]
        if x.is_floating_point():
            x.requires_grad_()
        held: list[Tensor] = []

        def keep(module: Any, inputs: Any, output: Any) -> None:
            held.append(output[0] if isinstance(output, tuple) else output)
            held[-1].retain_grad()

        hook = None
        if kind.feature == "input":
            held.append(x)
        elif kind.feature:
            hook = kind.module.get_submodule(kind.feature).register_forward_hook(keep)
        value = _value(question, kind, kind.run(*given.values()))
        if hook is not None:
            hook.remove()
        value.sum().backward()
        if x.grad is not None:
            yield "input", (_plain(x), _plain(x.grad))
        if held and held[-1].grad is not None:
            yield "feature", (_plain(kind.grid(held[-1]))[0], _plain(kind.grid(held[-1].grad))[0])


def _value(question: Question, kind: Kind, y: Outputs) -> Tensor:
    value = question.truth(kind, y)
    assert value is not None
    return value


def _plain(tensor: Tensor) -> Array:
    return tensor.detach().double().numpy()


def _as(tensor: Tensor, dtype: Any) -> Array:
    return tensor.numpy().astype(dtype)


# ---- what methods are by their papers, from values a [C, *space] and gradients g


def _mean(g: Array) -> Array:
    return g.reshape(len(g), -1).mean(1).reshape(-1, *[1] * (g.ndim - 1))


def _xgrad(a: Array, g: Array) -> Array:
    total = a.reshape(len(a), -1).sum(1)
    share = np.divide((a * g).reshape(len(a), -1).sum(1), total, where=total != 0, out=0 * total)
    return np.tensordot(share, a, 1)


AT_FEATURE: Mapping[str, Callable[[Array, Array], Array]] = {
    "gradcam": lambda a, g: (_mean(g) * a).sum(0),
    "hirescam": lambda a, g: (a * g).sum(0),
    "layercam": lambda a, g: (np.maximum(g, 0) * a).sum(0),
    "gradcam-elementwise": lambda a, g: np.maximum(a * g, 0).sum(0),
    "xgradcam": _xgrad,
}
CAM = {"cam": lambda a, g: (_mean(g) * a).sum(0) * g[0].size}


def parameters(method: methods.Method) -> dict[str, Any]:
    """Return settings with which a method is quick, and explains the score itself."""
    found: dict[str, Any] = {p.name: FEW[p.name] for p in method.parameters if p.name in FEW}
    if any(p.name == "score" for p in method.parameters):
        found["score"] = "score"
    return found


def cells(
    subject: Subject, chosen: Sequence[str], questions: Sequence[Question] = QUESTIONS
) -> Iterator[Cell]:
    """Yield what comes of methods at targets of a kind."""
    for question in questions:
        target = question.target(subject.places)
        for name in chosen:
            verdict, why = _judged(subject, question, target, name)
            yield Cell(subject.kind.name, question.name, name, verdict, why)


def _judged(subject: Subject, question: Question, target: Any, name: str) -> tuple[str, str]:
    truth = subject.truth(question)
    found = _explained(subject.model, subject, name, target, subject.kind.options)
    if isinstance(found, str):
        verdict = WRONG if found.startswith("fault") else REFUSED
        return verdict, found
    if truth is None:
        return WRONG, "it answers what makes no sense"
    if not np.isfinite(found.raw_map).all():
        return WRONG, "the map is not finite"
    far = abs(found.score - float(truth.detach()[0]))
    if subject.kind.truth and far > subject.kind.exact * max(abs(found.score), 1):
        return WRONG, f"it is a score of {found.score:.4g}, not {float(truth.detach()[0]):.4g}"
    return _held(subject, question, name, found)


def _held(subject: Subject, question: Question, name: str, found: Any) -> tuple[str, str]:
    """Hold a map against torch's gradients, or against that of the twin."""
    kind, got = subject.kind, found.signed_map.astype(np.float64)
    layer = name in AT_FEATURE or name in CAM
    if kind.truth and (layer or name in ("saliency", "input-x-gradient")):
        slopes = subject.slopes(question)
        want = _by_definition(name, slopes, subject)
        if want is None or want.shape != got.shape:
            seen = None if want is None else want.shape
            return WRONG, f"a map of {got.shape}, where {seen} is expected"
        return _compared(got, want, kind.exact, "torch's gradients")
    twin_file = subject.twin(question)
    if twin_file is None:
        return RIGHT, "the score by hand"
    twin = _explained(
        twin_file, subject, name, 0, {"input": kind.explained, "reduction_layer": "score"},
        feature=None if found.feature_layer == kind.explained else found.feature_layer,
    )  # fmt: skip
    if isinstance(twin, str) and name == "cam":  # its head may not be CAM's any more
        near = _explained(
            subject.model, subject, "gradcam", question.target(subject.places), kind.options
        )
        if not isinstance(near, str):
            want = near.signed_map.astype(np.float64) * near.signed_map.size
            return _compared(got, want, kind.exact, "Grad-CAM times the number of positions")
    if isinstance(twin, str):
        return ALONE, f"the same network with this one score is refused: {twin}"
    return _compared(got, twin.signed_map.astype(np.float64), kind.exact, "a twin of one score")


def _by_definition(
    name: str, slopes: Mapping[str, tuple[Array, Array]], subject: Subject
) -> Array | None:
    if name in AT_FEATURE or name in CAM:
        pair = slopes.get("feature")
        return None if pair is None else {**AT_FEATURE, **CAM}[name](*pair)
    pair = slopes.get("input")
    if pair is None:
        return None
    x, g = pair
    each = g * x if name == "input-x-gradient" else np.abs(g)
    layout = subject.catalog.input_layout
    letters = layout.axes if layout is not None else ""
    drop = tuple(i for i, c in enumerate(letters) if c == "C")
    each = each.sum(drop) if name == "input-x-gradient" else (each.max(drop) if drop else each)
    return each[0] if "N" in letters or not letters else each


def _compared(got: Array, want: Array, exact: float, what: str) -> tuple[str, str]:
    if got.shape != want.shape:
        return WRONG, f"a map of {got.shape}, and {want.shape} of {what}"
    scale = float(np.abs(want).max()) or 1.0
    far = float(np.abs(got - want).max()) / scale
    if far > exact:
        return WRONG, f"off by {far:.2g} of its largest value, against {what}"
    return RIGHT, what


def _explained(
    model: Any,
    subject: Subject,
    name: str,
    target: Any,
    options: Mapping[str, Any],
    feature: str | None = None,
) -> Any:
    """Return an explanation, or the words of a refusal; of a fault of onnxcam beginning so."""
    method = methods.find(name)
    given = dict(options)
    if feature is not None and method.takes_feature:
        given["feature_layer"] = feature
    try:
        explainer = Explainer(
            model,
            name,
            device="cpu",
            threads=1,
            cache=False,
            parameters=parameters(method),
            **given,
        )
        return explainer(subject.explained, target, extra_inputs=subject.others or None)
    except InternalError as error:
        return f"fault: {error}"
    except OnnxcamError as error:
        return _reason(error)
    except Exception as error:  # noqa: BLE001 - what a table of faults is for
        return f"fault: {type(error).__name__}: {error}"


def _reason(error: OnnxcamError) -> str:
    if "ONNX Runtime failed" in str(error):
        return f"fault: a message that is handed on: {error}"
    if not error.message or not error.hint:
        return (
            f"fault: a refusal without a {'reason' if not error.message else 'next step'}: {error}"
        )
    return str(error)
