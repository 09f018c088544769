"""Every method on the pictures of one model, measured."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from onnxcam import Explainer, methods
from onnxcam.metrics import BASELINES, Evidence, Sample, table
from sweep.store import HELD, METRICS, Store
from sweep.subjects import Boxed, digits, photographs, usable

# Cheap budgets: the table is to tell broken from sound, not to be the last word.
FEW: dict[str, dict[str, Any]] = {
    "rise": {"masks": 1000}, "lime": {"samples": 200}, "kernel-shap": {"samples": 200},
    "sobol": {"designs": 4, "cells": 7}, "hsic": {"samples": 200}, "ss-cam": {"samples": 1},
    "is-cam": {"steps": 1}, "aise": {"evaluations": 20}, "smoothgrad": {"samples": 12},
    "vargrad": {"samples": 12}, "smooth-gradcam++": {"samples": 12},
    "integrated-gradients": {"steps": 12}, "guided-integrated-gradients": {"steps": 12},
    "expected-gradients": {"samples": 12}, "xrai": {"steps": 12},
    "occlusion": {"stride": 0.12}, "sess": {"scales": 3}, "shapley-sampling": {"orders": 4},
    "squaregrad": {"samples": 12}, "blur-integrated-gradients": {"steps": 12},
    "conductance": {"steps": 12}, "internal-influence": {"steps": 12},
    "deeplift-shap": {"samples": 12}, "layer-deeplift-shap": {"samples": 12},
    "layer-expected-gradients": {"samples": 12}, "craft": {"concepts": 5, "designs": 16},
}  # fmt: skip
_BUDGETS = {"score-cam": 300, "ss-cam": 300, "is-cam": 300}  # a run for each channel
_STEPS = 10
_CURVES = {"steps": _STEPS, "batch_size": _STEPS + 1}
_OPTIONS = {"deletion": _CURVES, "insertion": _CURVES}


@dataclass(frozen=True, eq=False)
class Sweep:
    """The methods on one model.

    Attributes:
        model: Its name in the table.
        path: Its file.
        how: Options of the explainers.
        shared: Where the photographs are.
        store: Where the numbers go.
        until: Monotonic time behind which nothing more is begun.
    """

    model: str
    path: Path
    how: dict[str, Any]
    shared: Path
    store: Store
    until: float

    @cached_property
    def plain(self) -> Explainer[Any]:
        """What says what the model sees."""
        return Explainer(self.path, "gradcam", **self.how)

    def run(self, only: Sequence[str] | None, count: tuple[int, int], *, again: bool) -> bool:
        """Measure what is not there yet; tell whether all is done.

        Args:
            only: The methods; None for all.
            count: How many pictures, of any method and of those that are held to the baselines.
            again: Measure anew what is there.
        """
        names = [n for n in (*BASELINES, *methods.names()) if not only or n in only]
        if again:
            for name in names:
                self.store.row(self.model, name).clear()
        for name in names:
            row = self.store.row(self.model, name)
            if "error" in row:
                continue
            wanted = [f for f in self.seen[: count[name in HELD]] if f[0].name not in row]
            for spent in self._method(name, row, wanted):
                if spent:
                    return False
        return True

    @cached_property
    def seen(self) -> list[tuple[Boxed, int]]:
        """The inputs whose object the model sees, best first."""
        boxed = digits() if self.model == "digits-vit" else photographs(self.shared)
        return usable(self.plain, boxed)

    def _method(
        self, name: str, row: dict[str, Any], wanted: Sequence[tuple[Boxed, int]]
    ) -> Iterator[bool]:
        """Measure a method picture by picture; yield after each whether the time is spent."""
        if not wanted:
            return
        try:
            explain = self._explainer(name)
            for each, k in wanted:
                row[each.name] = self._numbers(name, explain, each, k)
                self.store.save()
                yield time.monotonic() > self.until
        except Exception as error:  # noqa: BLE001 - what cannot be explained says why in the table
            row.clear()
            row["error"] = f"{type(error).__name__}: {error}"[:300]
            self.store.save()
        print(self.model, name, len(row), row.get("error", ""), flush=True)

    def _explainer(self, name: str) -> Explainer[Any] | None:
        if name in BASELINES:
            return None
        settings, budget = FEW.get(name), _BUDGETS.get(name)
        return Explainer(self.path, name, parameters=settings, budget=budget, **self.how)

    def _numbers(
        self, name: str, explain: Explainer[Any] | None, each: Boxed, k: int
    ) -> list[float | None]:
        """Return the numbers of METRICS, and the processor's seconds of the map."""
        first = self.plain(each.picture, target=k)
        begin = time.process_time()
        map = BASELINES[name](first) if explain is None else explain(each.picture, target=k).map
        seconds = time.process_time() - begin
        made = Sample(map - max(map.min(), 0), first.tensor, first.layout, first.target)
        held = Evidence(self.plain.predict, each.mask(map.shape, first.box))
        found = table({name: made}, held, METRICS, baselines=False, options=_OPTIONS)[name]
        numbers = [round(float(found[m]), 4) for m in METRICS]
        return [*(n if np.isfinite(n) else None for n in numbers), round(seconds, 3)]
