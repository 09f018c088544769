"""The two-minute form of an audit: two models on a few pictures, nothing written but one figure."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from onnxcam.audit.compare.diverging import divergence_of
from onnxcam.audit.data import Sample
from onnxcam.audit.data.places import below
from onnxcam.audit.job import Explaining, Job, Place, split
from onnxcam.audit.records import Row
from onnxcam.audit.results import pair_order
from onnxcam.audit.work.worker import Worker
from onnxcam.errors import UsageError, bounded, plain
from onnxcam.output.render import save_png

_SHOWN = 4  # of the worst pictures, in the figure


@dataclass(frozen=True)
class Difference:
    """What changed between two models.

    Attributes:
        pairs: A row an input, the worst first; see `onnxcam.audit.records.PAIRS`.
        errors: Inputs that could not be explained, and why.
        divergence: Where along their tensors the models diverge, in words.
        figure: The worst inputs side by side; None where none was asked for.
    """

    pairs: tuple[Row, ...]
    errors: tuple[tuple[str, str], ...]
    divergence: str
    figure: Path | None

    @property
    def changed(self) -> int:
        """Inputs whose prediction or explanation changed."""
        return sum(bool(p["flipped"] or p["explanation_flip"]) for p in self.pairs)

    @property
    def exit_code(self) -> int:
        """0 where nothing changed, 3 where something did, 1 where nothing could be compared."""
        return 1 if not self.pairs else 3 if self.changed or self.errors else 0

    @property
    def lines(self) -> list[str]:
        """What changed, in words: a line an input and two for the whole."""
        said = [_line(p) for p in self.pairs]
        said += [f"{name}: {why}" for name, why in self.errors]
        flips = sum(bool(p["flipped"]) for p in self.pairs)
        means = [p["spearman"] for p in self.pairs if p["spearman"] is not None]
        mean = f", mean rank correlation of the maps {np.mean(means):.3f}" if means else ""
        said.append(
            f"{len(self.pairs)} inputs: {flips} predictions changed, {self.changed - flips} "
            f"explanations changed while the prediction stayed{mean}"
        )
        said.append(f"where the models diverge: {self.divergence}")
        return [*said, f"written: {self.figure}"] if self.figure else said

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        found = asdict(self)
        return {**found, "figure": self.figure and str(self.figure), "changed": self.changed}


@bounded("the models cannot be compared")
def diff(
    old: Place,
    new: Place,
    inputs: Sequence[Place],
    *,
    method: str = "gradcam",
    output: Place | None = None,
    **options: Unpack[Explaining],
) -> Difference:
    """Compare two models on a few inputs.

    Args:
        old: The model that is held against.
        new: The model that is looked at.
        inputs: Pictures, arrays, or folders of them.
        method: Name of a method.
        output: A .png for the worst inputs side by side; None writes none.
        options: See :class:`onnxcam.audit.job.Explaining`; the baseline is ``old``.

    Raises:
        OnnxcamError: Of the kind that fits: a model or nothing of the inputs can be used.
    """
    files = [
        p for place in map(Path, inputs) for p in (below(place) if place.is_dir() else [place])
    ]
    if not files:
        raise UsageError("no input is given", "name pictures, or a folder of them")
    given, theirs = split(options)
    job = Job(
        (os.fspath(new), os.fspath(old)), (method,), options=given, baseline_options=theirs,
        keep_maps=False,
    )  # fmt: skip
    worker = Worker(job)
    samples = [Sample(plain(f), f) for f in files]
    pairs: list[Row] = []
    errors: list[tuple[str, str]] = []
    for sample in samples:
        rows = worker.rows([worker.ready(sample)])
        pairs += rows.pairs
        failed = [r["error"] for r in rows.records if r["error"] is not None]
        errors += [(sample.id, failed[0])] if failed else []
    pairs.sort(key=pair_order)
    found = divergence_of(worker, samples)
    figure = None
    if output is not None and pairs:
        figure = Path(output)
        by_id = {s.id: s for s in samples}
        save_png(_figure(worker, [(by_id[p["id"]], p) for p in pairs[:_SHOWN]], method), figure)
    return Difference(tuple(pairs), tuple(errors), found["words"] if found else "", figure)


def _line(pair: Row) -> str:
    before, after = (pair[f"{m}_label"] or pair[f"{m}_class"] for m in ("baseline", "model"))
    said = f"{before} -> {after}" if pair["flipped"] else f"{after}"
    kind = "the explanation changed" if pair["explanation_flip"] else ""
    maps = "" if pair["spearman"] is None else f"rank correlation {pair['spearman']:.3f}"
    parts = [said, kind, maps, pair["note"] or ""]
    return f"{pair['id']}: {', '.join(part for part in parts if part)}"


def _figure(worker: Worker, cases: Sequence[tuple[Sample, Row]], method: str) -> Any:
    """Return inputs in rows: the picture with the old model's map and with the new one's."""
    rows = []
    for sample, pair in cases:
        ready = worker.ready(sample)
        cells = []
        for subject, index in zip(
            worker.subjects[::-1], (pair["baseline_class"], pair["compared_class"]), strict=True
        ):
            picture = subject.overlay(ready, method, index)
            if picture is not None:
                cells.append(picture)
        if len(cells) == 2:
            rows.append(_side_by_side(cells))
    if not rows:
        raise UsageError("no input is a picture", "leave `output` out")
    width = max(r.shape[1] for r in rows)
    padded = [
        np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0)), constant_values=255) for r in rows
    ]
    return np.concatenate(padded, 0)


def _side_by_side(pictures: Sequence[Any]) -> Any:
    """Return pictures of any height in a row, white below the lower ones."""
    height = max(p.shape[0] for p in pictures)
    parts = [
        np.pad(p, ((0, height - p.shape[0]), (0, 4), (0, 0)), constant_values=255) for p in pictures
    ]
    return np.concatenate(parts, 1)
