"""What explaining costs for the files of some folders: the real models that are at hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.comparisons import Settings, explained
from bench.subjects import from_file
from bench.timing import Ratio
from onnxcam.analysis import layers
from onnxcam.errors import OnnxcamError
from onnxcam.model.model import Model, load

LEAST_MS = 1.0  # of a shorter run the calls of nodes are measured, whatever they do
LIMIT, LIMIT_OF_SIGNALS = 1.05, 1.2
_EXTENT = 224  # of a dimension that the file leaves open


@dataclass(frozen=True)
class FileCost:
    """What explaining costs for a file.

    Attributes:
        subject: Name of the file.
        plain_ms: Median of plain inference.
        ratio: Explained / plain; None where there is no explanation.
        limit: It must not exceed it; None for a file that is too small to be measured.
        emitted: Nodes that were added.
        problem: Why there is no explanation.
    """

    subject: str
    plain_ms: float | None
    ratio: Ratio | None
    limit: float | None
    emitted: int | None
    problem: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the limit is kept; where there is nothing to keep, it is."""
        return self.limit is None or self.ratio is None or self.ratio.median <= self.limit


def costs(folders: Sequence[Path], settings: Settings) -> Iterator[FileCost]:
    """Yield what explaining costs for every ONNX file of the folders.

    Args:
        folders: Folders or files; what a file leaves open of its input is set to 1 input and to
            224 samples.
        settings: How to measure.
    """
    for place in folders:
        for path in sorted(place.glob("*.onnx")) if place.is_dir() else [place]:
            try:
                yield _cost(path, settings)
            except OnnxcamError as error:
                said = " ".join(str(error).split())[:200]
                yield FileCost(path.name, None, None, None, None, said)


def _cost(path: Path, settings: Settings) -> FileCost:
    model = load(path)
    subject = from_file(path, batch=1, dims=_open(model), seed=settings.seed)
    found = explained(subject, settings)
    limit = LIMIT_OF_SIGNALS if _is_signal(model) else LIMIT
    return FileCost(
        path.name, found.plain_ms, found.ratio, limit if found.plain_ms > LEAST_MS else None,
        found.emitted,
    )  # fmt: skip


def _open(model: Model) -> dict[str, int]:
    """Return sizes for the dimensions that the inputs leave open: 1 for those of the batch."""
    shapes = [port.shape or () for port in model.inputs]
    batch = {shape[0] for shape in shapes if shape} | {"N", "batch", "batch_size"}
    names = {d for shape in shapes for d in shape[1:] if isinstance(d, str)}
    return {name: 1 if name in batch else _EXTENT for name in names}


def _is_signal(model: Model) -> bool:
    """Tell whether the input has one axis of space or time."""
    source = layers.catalog(model).input
    return len(next(p.shape or () for p in model.inputs if p.name == source)) < 4
