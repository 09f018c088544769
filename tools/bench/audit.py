"""What an audit costs: beside plain inference, in its records, in its memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from bench.comparisons import Settings
from bench.timing import CLOCKS, Ratio, interleaved, ratio
from onnxcam.audit.data import Sample
from onnxcam.audit.data.places import below
from onnxcam.audit.job import Job
from onnxcam.audit.store import Store
from onnxcam.audit.work.chunks import BATCH, joined
from onnxcam.audit.work.worker import Worker
from onnxcam.run.session import Session

ROOT = Path(__file__).resolve().parents[2]
MODEL, PICTURES = ROOT / "models" / "mobilenetv2.onnx", ROOT / "models"
_FEW, _MANY = 1000, 20_000  # samples between which memory must not grow
_FLAT = 1.10
RUN = """
import resource, sys
from onnxcam.audit import run
run(sys.argv[1], sys.argv[2], sys.argv[3], engine="here", trust=0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@dataclass(frozen=True)
class Figure:
    """One figure, and what was promised.

    Attributes:
        what: What it is of.
        value: The figure.
        low: Lower end of its interval.
        high: Upper end.
        limit: The promise.
    """

    what: str
    value: float
    low: float
    high: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the promise is kept."""
        return self.value <= self.limit


def figures(settings: Settings, *, memory: bool) -> Iterator[Figure]:
    """Measure an audit of MobileNetV2 on the photographs in models/.

    Args:
        settings: Of the timing.
        memory: Whether memory is measured too, which takes minutes.
    """
    with TemporaryDirectory(prefix="bench-") as folder:
        yield from _times(settings, Path(folder))
        if memory:
            yield _memory(Path(folder))


def _times(settings: Settings, folder: Path) -> Iterator[Figure]:
    options = {"batch_size": BATCH, "threads": settings.threads, "device": settings.device}
    job = Job((str(MODEL),), options=options)
    one, two = Worker(job), Worker(replace(job, methods=("gradcam", "hirescam")))
    files = [p for p in below(PICTURES) if p.suffix != ".npy" and p.parent == PICTURES]
    samples = [Sample(f"{k}", files[k % len(files)]) for k in range(BATCH)]
    ready = [one.ready(s) for s in samples]
    (subject,) = one.subjects
    model = subject.explainer.model
    plain = Session(model, device=settings.device, threads=settings.threads)
    tensors = [p.tensor for p in (r.input_of("model") for r in ready) if hasattr(p, "tensor")]
    feeds = {model.inputs[0].name: np.concatenate(tensors)}
    times_a_chunk = job.chunk // BATCH
    chunk, store = joined(iter([one.rows(ready)] * times_a_chunk)), Store(folder, job.chunk)
    numbers = iter(range(10**6))
    times = interleaved(
        lambda: plain.run(feeds), lambda: one.rows(ready), lambda: two.rows(ready),
        lambda: store.put(next(numbers), chunk), runs=settings.runs, warmup=settings.warmup,
        clock=CLOCKS[settings.clock],
    )  # fmt: skip
    yield _figure("one method, of plain inference", ratio(times[0], times[1]), 1.15)
    more = ratio(times[0], times[0] + times[2] - times[1])
    yield _figure("the second method, of plain inference", _less(more), 0.10)
    written = ratio(times[1] * times_a_chunk, times[3])
    yield _figure("writing records, of the audit", written, 0.02)


def _less(found: Ratio) -> Ratio:
    return Ratio(found.median - 1, found.low - 1, found.high - 1)


def _figure(what: str, found: Ratio, limit: float) -> Figure:
    return Figure(what, found.median, found.low, found.high, limit)


def _memory(folder: Path) -> Figure:
    """Return the memory of an audit of 20,000 small pictures, of that of 1,000."""
    model = ROOT / "models" / "digit_rotation.onnx"
    peaks = []
    for count in (_FEW, _MANY):
        data = folder / f"{count}"
        rng = np.random.default_rng(0)
        for k in range(count):
            place = data / f"{k % 10}" / f"{k:06d}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (28, 28), np.uint8)).save(place)
        command = [sys.executable, "-c", RUN, str(model), str(data), str(folder / f"o{count}")]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks.append(float(done.stdout.split()[-1]))
    found = peaks[1] / peaks[0]
    return Figure(f"memory, {_MANY:,} samples of {_FEW:,}", found, found, found, _FLAT)


def shown(found: Any) -> str:
    """Return a figure as one line."""
    interval = "" if found.low == found.high else f" ({found.low:.3f} to {found.high:.3f})"
    kept = "kept" if found.passed else "NOT KEPT"
    return f"{found.what}: {found.value:.3f}{interval}, at most {found.limit:g}: {kept}"
