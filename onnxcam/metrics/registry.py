"""The table of metrics. A metric is one file in this folder with a decorated function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar, get_args

import numpy as np

from onnxcam.errors import UsageError
from onnxcam.graph.registry import Registry, Source

Array: TypeAlias = np.ndarray[Any, Any]
Predict: TypeAlias = Callable[[Array], Array]
"""Inputs [N, ...] like an explanation's tensor -> scores [N, C], best probabilities."""
Explain: TypeAlias = Callable[[Array], Array]
"""One input like an explanation's tensor -> the map of the same method and class, [*space]."""
Kind: TypeAlias = Literal[
    "faithfulness", "localisation", "robustness", "complexity", "composite", "sanity"
]
Needed: TypeAlias = Literal["predict", "mask", "explain", "randomised"]
F = TypeVar("F", bound=Callable[..., float])

KINDS: dict[str, str] = {
    "faithfulness": "does the map show what moves this model's score?",
    "localisation": "does the map lie where a person says that the object is?",
    "robustness": "does the map stay when the input hardly changes?",
    "complexity": "is the map about few places?",
    "composite": "several of these but localisation, by a formula of somebody's",
    "sanity": "does the map depend on the model at all?",
}
_NEEDED: dict[str, tuple[Needed, ...]] = {
    "faithfulness": ("predict",),
    "localisation": ("mask",),
    "robustness": ("explain",),
    "complexity": (),
    "composite": ("predict", "explain"),
    "sanity": ("randomised",),
}
_METRICS: Registry[str, Metric] = Registry("metrics", Source("onnxcam.metrics", "onnxcam.metrics"))


@dataclass(frozen=True)
class Metric:
    """A number for one explanation.

    Attributes:
        name: What users type.
        kind: What is asked, see :data:`KINDS`. "faithfulness" is held against the model,
            "localisation" against a mask, bool of the map's shape. A model that looks beside the
            object has faithful maps that are localised badly: numbers of the two kinds are never
            mixed.
        measure: Gives the number: ``measure(explanation, *needs, **options)``.
        needs: What it takes beside the explanation, in this order: "predict", inputs [N, ...] ->
            scores [N, C]; "mask", bool of the map's shape; "explain", one input -> the map that
            the same method makes of it; "randomised", maps of randomised models.
        better: Which numbers are good: "higher" or "lower".
        cite: Where it comes from.
        summary: One line.
    """

    name: str
    kind: Kind
    measure: Callable[..., float]
    needs: tuple[Needed, ...]
    better: Literal["higher", "lower"]
    cite: str
    summary: str


def metric(
    name: str,
    *,
    kind: Kind,
    better: Literal["higher", "lower"],
    cite: str,
    needs: tuple[Needed, ...] | None = None,
) -> Callable[[F], F]:
    """Enter a metric; see :class:`Metric` for the arguments.

    Raises:
        ValueError: There is no such kind, or the name is taken.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"{name!r} cannot be of the kind {kind!r}: see Metric")

    def enter(measure: F) -> F:
        summary = (measure.__doc__ or "").strip().partition("\n")[0]
        held = _NEEDED[kind] if needs is None else needs
        _METRICS.enter(name, Metric(name, kind, measure, held, better, cite, summary))
        return measure

    return enter


def names(kind: Kind | None = None) -> tuple[str, ...]:
    """Return the names of all metrics, or of those of one kind, sorted."""
    return tuple(sorted(name for name, found in _METRICS.items() if kind in (None, found.kind)))


def find(name: str) -> Metric:
    """Return a metric by its name.

    Raises:
        UsageError: There is none of this name.
    """
    found = _METRICS.get(name)
    if found is None:
        known = ", ".join(sorted(each for each, _ in _METRICS.items()))
        raise UsageError(f"no metric {name!r}", f"choose one of {known}")
    return found
