"""A kind's file and what is asked of it, shared by all its cells."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinds.asked import Question
from kinds.files import in_half
from kinds.kind import Kind, Outputs, exported
from kinds.references import Reference
from kinds.rules import Rounded
from onnxcam import Explainer, OnnxcamError, methods
from onnxcam.errors import InternalError
from onnxcam.model.model import load
from onnxcam.run.session import Session
from onnxcam.targets import Score

Array = np.ndarray[Any, Any]
HOW: Mapping[str, Any] = {"device": "cpu", "threads": 1, "cache": False}

DRAWS = 8
# How often a method runs the model where it says so: a map of a small network needs little.
FEW = {
    "masks": 12, "samples": 6, "steps": 4, "evaluations": 12, "designs": 4, "cells": 3,
    "regions": 4, "window": 0.3, "stride": 0.2, "concepts": 2, "orders": 3,
}  # fmt: skip


def parameters(method: methods.Method) -> dict[str, Any]:
    """Return settings with which a method is quick, and explains the score itself."""
    found: dict[str, Any] = {p.name: FEW[p.name] for p in method.parameters if p.name in FEW}
    if any(p.name == "score" for p in method.parameters):
        found["score"] = "score"
    return found


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
        dtypes = {port.name: port.dtype for port in self.model.inputs}
        self.feeds = {n: t.numpy().astype(dtypes[n]) for n, t in kind.inputs.items()}
        self._ways: dict[str, Any] = {}
        self._references: dict[tuple[str, int], Reference] = {}
        self._twins: dict[str, Any] = {}
        self._families: dict[str, tuple[str, ...]] = {}
        self._shared: dict[tuple[str, tuple[str, ...]], Any] = {}

    @cached_property
    def explained(self) -> Array:
        """The input that is explained."""
        return self.feeds[self.kind.explained]

    @cached_property
    def others(self) -> dict[str, Array]:
        """What is fed beside it."""
        return {n: a for n, a in self.feeds.items() if n != self.kind.explained}

    @cached_property
    def _first(self) -> Any:
        """An explainer; those of other methods share its model and its catalogue of layers."""
        for name in ("gradcam", "saliency", "occlusion"):
            try:
                return Explainer(self.model, name, **HOW, **self.kind.options)
            except OnnxcamError:
                continue
        raise AssertionError(f"nothing explains {self.kind.name}")

    def explainer(self, name: str) -> Any:
        """Return an explainer of a method, or the words of its refusal; it is made once.

        What the method refuses of this network whatever is asked, it refuses here.
        """
        if name not in self._ways:
            self._ways[name] = said(lambda: self._made(name))
        return self._ways[name]

    def _made(self, name: str) -> Any:
        found = self._first.by([name], parameters(methods.find(name)))
        found._engine.of(Score())  # as the constructor of an explainer does
        return found

    def explained_by(self, name: str, question: Question) -> Any:
        """Return explanations, or the words of a refusal; of a fault of onnxcam beginning so.

        Methods that may share a graph are run in one, as a list of methods is; where that is
        refused, as one of them may be, each is run alone.
        """
        explainer = self.explainer(name)
        if isinstance(explainer, str):
            return explainer
        own = self._family(name)
        if own:
            if (question.name, own) not in self._shared:
                self._shared[question.name, own] = self._together(own, question)
            if not isinstance(self._shared[question.name, own], str):
                return [maps[name] for maps in self._shared[question.name, own]]
        found = said(lambda: self._answer(explainer, question))
        return found if isinstance(found, str) else [next(iter(e.values())) for e in found]

    def _together(self, names: tuple[str, ...], question: Question) -> Any:
        given: dict[str, Any] = {}
        for name in names:
            given.update(parameters(methods.find(name)))
        return said(lambda: self._answer(self._first.by(names, given), question))

    def _answer(self, explainer: Any, question: Question) -> list[Any]:
        target = question.target(self.kind, self.outputs)
        found = explainer(self.explained, target, extra_inputs=self.others or None)
        return found if isinstance(found, list) else [found]

    def _family(self, name: str) -> tuple[str, ...]:
        """Return the methods that share a graph with one: those with, or without, own rules."""
        if name not in self._families:
            graph = [n for n in methods.names() if methods.find(n).kind == "graph"]
            graph = [n for n in graph if not isinstance(self.explainer(n), str)]
            for rules in (True, False):
                own = tuple(n for n in graph if _has_rules(n) == rules)
                self._families.update(dict.fromkeys(own, own if len(own) > 1 else ()))
            self._families.setdefault(name, ())
        return self._families[name]

    def reference(self, question: Question, name: str, draw: int = -1) -> tuple[Array, str] | None:
        """Return torch's map of a target and what it is; what maps share is computed once.

        Args:
            question: The target.
            name: The method.
            draw: Number of a draw of other roundings, in which it is to be computed; -1: none.
        """
        method = methods.find(name)
        key = (question.name, draw)
        if key not in self._references:
            kind = self.kind
            asked = question.fixed(kind, self.outputs)

            def value(y: Outputs) -> Tensor:
                found = asked(kind, y)
                assert found is not None, "what makes no sense has no map"
                return found

            row = None if question.row is None else question.row(kind, self.outputs)
            self._references[key] = Reference(kind, value, row)
        return self._references[key].map(name, parameters(method))

    def otherwise(self, question: Question, name: str) -> Iterator[Array]:
        """Yield torch's map of a method where values are rounded otherwise, again and again."""
        for draw in range(DRAWS):
            with Rounded(self.kind.rounding, draw, half=self.kind.change is in_half):
                found = self.reference(question, name, draw)
            assert found is not None, "asked where there is a reference"
            yield found[0]

    def moved(self) -> Iterator[Array]:
        """Yield the explained input, each number a little beside itself, again and again."""
        x, moves = self.explained, self.explained.dtype.kind == "f"
        for draw in range(DRAWS if moves else 0):
            noise = np.random.default_rng(draw).uniform(-1, 1, x.shape)
            yield (x + self.kind.rounding * np.abs(x).max() * noise).astype(x.dtype)

    def twin(self, question: Question) -> Any:
        """Return the file of the same network with the target as its only score."""
        if question.name not in self._twins:
            self._twins[question.name] = self._twin(question)
        return self._twins[question.name]

    def _twin(self, question: Question) -> Any:
        asked = question.fixed(self.kind, self.outputs)

        def score(y: Outputs) -> Tensor:
            found = asked(self.kind, y)
            assert found is not None, "what makes no sense has no twin"
            return found

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = load(exported(self.kind, score))
            try:
                Session(made, device="cpu", threads=1)
            except OnnxcamError:  # what the score is made of does not go in half precision
                made = load(exported(self.kind, score, plain=True))
        return made


def _has_rules(name: str) -> bool:
    overrides = getattr(methods.find(name), "overrides", None)
    return callable(overrides) or bool(getattr(overrides, "items", ()))


def said(run: Any) -> Any:
    """Return what a call returns, or the words of its refusal."""
    try:
        return run()
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
        missing = "reason" if not error.message else "next step"
        return f"fault: a refusal without a {missing}: {error}"
    return str(error)
