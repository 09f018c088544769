"""The engine of many machines: Ray Data reads chunks, stateful actors explain them.

The scheduler, the retries and the transport are Ray's. What is handed round is a chunk of samples;
what comes back are its rows, which this process commits as the local engine does, so that the
records are the same and an audit that one engine began the other finishes. Workers read models and
data by the paths that this machine has: they need the same file system.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any, TypeAlias

import numpy as np

from onnxcam.audit.data import Sample
from onnxcam.audit.extras import needed
from onnxcam.audit.job import Job
from onnxcam.audit.store import Rows, Store
from onnxcam.audit.work.chunks import joined
from onnxcam.audit.work.worker import Worker
from onnxcam.errors import OnnxcamError, UsageError

Done: TypeAlias = Callable[[int], None]
_SPARE = 1  # slots that actors leave to the tasks that read: without any the job would hang
_STALLED = 600.0  # seconds without a chunk after which a job counts as hung


def run_ray(
    folder: Path, store: Store, samples: Sequence[Sample], done: Done, address: str | None,
    workers: int,
) -> None:  # fmt: skip
    """Work off all chunks that are missing, on a Ray cluster.

    Args:
        folder: The audit's folder, with its job.
        store: Its chunks.
        samples: Its samples.
        done: Told the number of samples of each chunk that is written.
        address: Of the cluster; None starts one here.
        workers: Actors, one slot each.

    Raises:
        UsageError: Ray is not installed, or the cluster has too few slots.
        OnnxcamError: The cluster stops working, or a chunk cannot be written.
    """
    ray = needed("ray", "the engine ray", "ray")
    data = needed("ray.data", "the engine ray", "ray")
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # the caller's bar says how far it is
    data.DataContext.get_current().enable_progress_bars = False
    own = not ray.is_initialized()
    if own:
        slots = None if address else workers + _SPARE
        ray.init(
            address=address, num_cpus=slots, include_dashboard=False, log_to_driver=False,
            configure_logging=False,
        )  # fmt: skip
    try:
        _check_slots(ray, workers)
        job = (folder / "job.json").read_text(encoding="utf-8")
        items = [
            _item(number, store.part(number, samples)) for number in store.missing(len(samples))
        ]
        results = data.from_items(items, override_num_blocks=len(items)).map_batches(
            _Actor, fn_constructor_args=(job,), batch_size=1, num_cpus=1,
            compute=data.ActorPoolStrategy(size=workers), max_restarts=-1, max_task_retries=-1,
        )  # fmt: skip
        _commit(results, store, done, len(items))
    finally:
        if own:
            ray.shutdown()


def _check_slots(ray: Any, workers: int) -> None:
    slots = int(ray.cluster_resources().get("CPU", 0))
    if slots < workers + _SPARE:
        raise UsageError(
            f"the cluster has {slots} slots, {workers} workers need {workers + _SPARE}",
            "ask for fewer `workers`: one slot is for reading",
        )


def _item(number: int, part: Sequence[Sample]) -> dict[str, Any]:
    return {"chunk": number, "samples": json.dumps([s.as_dict() for s in part])}


def _commit(results: Any, store: Store, done: Done, count: int) -> None:
    """Write chunks as they come; a job from which nothing comes any more ends in an error."""
    waiting: Queue[Any] = Queue()

    def iterate() -> None:
        try:
            for row in results.iter_rows():
                waiting.put(row)
        except Exception as error:  # noqa: BLE001 - handed on: Ray's own kinds, and an actor's
            waiting.put(error)
        waiting.put(None)

    Thread(target=iterate, daemon=True).start()
    while count:
        try:
            row = waiting.get(timeout=_STALLED)
        except Empty:
            row = TimeoutError(f"no chunk came for {_STALLED:.0f} s")
        if row is None or isinstance(row, Exception):
            said = " ".join(str(row or "it ended early").split())
            raise OnnxcamError(
                f"the cluster stopped before {count} chunks: {said}",
                "see Ray's logs; what is written stays, go on with `resume=True`",
            )
        store.put(int(row["chunk"]), _rows(json.loads(row["rows"])))
        done(int(row["count"]))
        count -= 1


def _rows(said: dict[str, Any]) -> Rows:
    maps = [{**m, "values": np.asarray(m["values"], np.float16)} for m in said["maps"]]
    return Rows(said["records"], said["pairs"], maps)


class _Actor:
    """Holds the models of an audit on one slot.

    Args:
        job: The audit's job, as JSON.
    """

    def __init__(self, job: str) -> None:
        self._worker = Worker(Job.parsed(job))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Explain chunks; return their rows as JSON."""
        found: dict[str, list[Any]] = {"chunk": [], "count": [], "rows": []}
        for number, text in zip(batch["chunk"], batch["samples"], strict=True):
            samples = [Sample.of(each) for each in json.loads(str(text))]
            rows = joined(iter([self._worker.rows([self._worker.ready(s) for s in samples])]))
            for row in rows.maps:
                row["values"] = [float(v) for v in row["values"]]
            found["chunk"].append(int(number))
            found["count"].append(len(samples))
            found["rows"].append(
                json.dumps({"records": rows.records, "pairs": rows.pairs, "maps": rows.maps},
                           default=_plain)
            )  # fmt: skip
        return found


def _plain(value: Any) -> Any:
    """Return a NumPy number as Python's."""
    return value.item()
