"""Several methods on one input: their maps, what each measures, and whether they agree."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxcam.errors import UsageError, json_text
from onnxcam.files import write_whole
from onnxcam.metrics.agreement import rank_agreement
from onnxcam.metrics.measures import Evidence, table
from onnxcam.metrics.registry import Array, find
from onnxcam.output import render
from onnxcam.output.explanation import Explanation

USUAL = ("deletion", "insertion", "sparseness")
_STEPS = 20  # of a curve: enough for two digits


@dataclass(frozen=True, eq=False)
class Comparison:
    """Maps of one input by several methods.

    Attributes:
        explanations: By the name of the map.
        measures: For each of them, and then for the baselines that know nothing of the model, the
            numbers by the name of the metric.
        agreement: Spearman's rank correlation of every two maps, float64 [M, M]; nan for a
            constant map.
    """

    explanations: Mapping[str, Explanation]
    measures: Mapping[str, Mapping[str, float]]
    agreement: Array

    @property
    def names(self) -> list[str]:
        """Of the maps."""
        return list(self.explanations)

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        said = {name: e.as_dict() for name, e in self.explanations.items()}
        return {
            "explanations": said,
            "metrics": {
                name: {"kind": find(name).kind, "better": find(name).better}
                for name in next(iter(self.measures.values()), {})
            },
            "measures": {n: _numbers(row) for n, row in self.measures.items()},
            "agreement": {
                a: _numbers(dict(zip(self.names, row, strict=True)))
                for a, row in zip(self.names, self.agreement, strict=True)
            },
        }

    def figure(self, **options: Any) -> render.Figure:
        """Return a PIL image: the maps with their numbers, and how far they agree.

        A map without a sign is drawn from its lowest value to its highest: what differs is seen.

        Args:
            options: As for :meth:`onnxcam.Explanation.figure`: colormap, alpha, size.
        """
        tiles = [self._tile(name, e, options) for name, e in self.explanations.items()]
        across = min(len(tiles), 3)
        rows = [
            render.stack(tiles[k : k + across], margin=0, across=True)
            for k in range(0, len(tiles), across)
        ]
        title = "Agreement of the maps: rank correlation, 1 the same order of places, 0 none"
        told = render.matrix(self.agreement, self.names, title=title)
        return render.stack([*rows, told], margin=0)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the comparison: a figure (.png) or the numbers (.json).

        Raises:
            UsageError: The ending is another one.
            OnnxcamError: The file cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() == ".png":
            render.save_png(self.figure(), path)
        elif path.suffix.lower() == ".json":
            write_whole(path, json_text(self.as_dict()).encode())
        else:
            raise UsageError(f"{path}: a comparison is no {path.suffix} file", "use .png or .json")

    def _tile(self, name: str, explanation: Explanation, options: Mapping[str, Any]) -> Any:
        numbers = [f"{m} {v:.3f}{_against(self.measures, m, v)}"
                   for m, v in self.measures[name].items()]  # fmt: skip
        warnings = [f"Warning: {each}" for each in explanation.diagnosis]
        lines = "\n".join([explanation.title, *numbers, *warnings])
        flat: dict[str, Any] = {}
        if explanation.map.ndim == 2:
            flat = {"layout": "overlay", "size": 300}
        if not explanation.signed and np.isfinite(explanation.map).all():
            flat["limits"] = float(explanation.map.min()), float(explanation.map.max())
        return explanation.figure(**{"title": name, "subtitle": lines, **flat, **options})


def compare(
    explainer: Any,
    x: Any,
    target: Any = None,
    *,
    mask: Array | None = None,
    metrics: Sequence[str] | None = None,
    steps: int = _STEPS,
) -> Comparison:
    """Compare the maps of an explainer that has several methods.

    Args:
        explainer: An :class:`onnxcam.Explainer` of several methods, whose maps are at the input's
            size.
        x: One input.
        target: One target: the class that the numbers are of.
        mask: Where a person says that the object is, bool of the map's shape; without it nothing
            is said of localisation.
        metrics: Names; None takes deletion, insertion and sparseness, and with a mask the pointing
            game and energy.
        steps: Of the curves of deletion and insertion.

    Raises:
        UsageError: A metric is unknown or needs what is not there, or an input has no axes of
            space.
        OnnxcamError: The input cannot be explained.
    """
    found = explainer(x, target)
    if isinstance(found, list):
        raise UsageError("one input and one target can be compared", "give one of each")
    maps = found if isinstance(found, dict) else {found.method: found}
    first = next(iter(maps.values()))
    chosen = list(metrics or (*USUAL, *(("pointing-game", "energy") if mask is not None else ())))
    if first.target < 0 and metrics is None:  # no class: nothing to predict
        chosen = [n for n in chosen if "predict" not in find(n).needs]
    batch = {"batch_size": explainer.batch_size, "steps": steps}
    options = {"deletion": batch, "insertion": batch}
    numbers = table(maps, Evidence(explainer.predict, mask), chosen, options=options)
    return Comparison(maps, numbers, rank_agreement([e.map for e in maps.values()]))


def _against(rows: Mapping[str, Mapping[str, float]], metric: str, value: float) -> str:
    """Return in words which baselines a number does not beat."""
    from onnxcam.metrics.baselines import BASELINES

    sign = 1 if find(metric).better == "higher" else -1
    names = [n for n in BASELINES if n in rows and not sign * value > sign * rows[n][metric]]
    if not names or find(metric).kind not in ("faithfulness", "localisation"):
        return ""
    return f" (no better than {', '.join(names)})"


def _numbers(row: Mapping[str, float]) -> dict[str, float | None]:
    return {k: float(v) if np.isfinite(v) else None for k, v in row.items()}
