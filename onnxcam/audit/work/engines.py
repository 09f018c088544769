"""The engines of an audit, and what of it is left to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from onnxcam.audit.data import Sample
from onnxcam.audit.job import Job
from onnxcam.audit.store import Store
from onnxcam.audit.work.chunks import work_off
from onnxcam.audit.work.local import Child
from onnxcam.audit.work.ray_engine import PLACE, run_ray
from onnxcam.audit.work.worker import Worker
from onnxcam.errors import UsageError

Engine: TypeAlias = Literal["local", "here", "ray"]
Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True)
class Asked:
    """How an audit is worked off; none of it changes a record.

    Attributes:
        engine: "local", "here" or "ray".
        address: Of a Ray cluster; None starts one here.
        workers: Of the ray engine.
        timeout: Seconds without a sign of life after which a process counts as hung.
    """

    engine: Engine
    address: str | None
    workers: int
    timeout: float


def work(
    folder: Path, job: Job, samples: Sequence[Sample], asked: Asked, progress: Progress
) -> None:
    """Work off what is missing, and tell how far it is.

    Args:
        folder: The audit's folder.
        job: The audit.
        samples: Its samples.
        asked: How.
        progress: Told how many samples are done, of how many.

    Raises:
        OnnxcamError: The models cannot be used, or a chunk not be written.
    """
    if asked.engine not in ("local", "here", "ray"):
        raise UsageError(f"no engine {asked.engine!r}", "choose local or ray")
    store, count = Store(folder, job.chunk), len(samples)
    missing = store.missing(count)
    at = count - sum(len(store.part(n, samples)) for n in missing)
    progress(at, count)

    def done(more: int) -> None:
        nonlocal at
        at += more
        progress(at, count)

    if missing and asked.engine == "here":
        work_off(Worker(job), store, samples, missing, done=lambda _, k: done(k))
    elif missing and asked.engine == "local":
        with Child(folder, asked.timeout) as child:
            child.work(missing, done)
    elif missing:
        run_ray(folder, store, samples, done, asked.address, asked.workers, asked.timeout)
    shutil.rmtree(folder / PLACE, ignore_errors=True)  # also what another engine left
