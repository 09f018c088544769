"""The engine of many machines: Ray Data reads chunks, stateful actors explain them.

The scheduler, the retries and the transport are Ray's, and so is the checkpoint: a chunk that is
written is entered by its content, and no worker that dies and no run that goes on does it again.
An actor holds the child process of the local engine, which writes the chunk: so the records are the
same, a sample that ends the process is a record here too, and an audit that one engine began the
other finishes. Models, data and the audit's folder lie on a file system that all machines see.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any, TypeAlias

from onnxcam.audit.data import Sample
from onnxcam.audit.evidence import file_hash
from onnxcam.audit.extras import needed
from onnxcam.audit.store import Store
from onnxcam.audit.work.local import LOADING, Child
from onnxcam.errors import OnnxcamError, UsageError, json_text

Done: TypeAlias = Callable[[int], None]
PLACE = "ray"  # of the list of chunks and the checkpoint, while it works
CHECKPOINT = "checkpoint"
_SPARE = 2  # slots that actors leave to what reads and writes: without any the job would hang
_PATIENCE = 2  # times the timeout of an actor's child, whose hanging the actor itself sees
_LOOK = 0.5  # seconds between looks at what is written


def run_ray(
    folder: Path, store: Store, samples: Sequence[Sample], done: Done, address: str | None,
    workers: int, timeout: float,
) -> None:  # fmt: skip
    """Work off all chunks that are missing, on a Ray cluster.

    Args:
        folder: The audit's folder, with its job.
        store: Its chunks.
        samples: Its samples.
        done: Told the number of samples of each chunk that is written.
        address: Of the cluster; None starts one here.
        workers: Actors, one slot each.
        timeout: Seconds without a sign of life after which a sample, and the job, count as hung.

    Raises:
        UsageError: Ray is not installed, or the cluster has too few slots.
        OnnxcamError: The cluster stops working, or a chunk cannot be written.
    """
    ray = needed("ray", "the engine ray", "ray")
    data = needed("ray.data", "the engine ray", "ray")
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # the caller's bar says how far it is
    place = folder.absolute() / PLACE
    own = not ray.is_initialized()
    if own:
        _start(ray, address, workers)
    try:
        _check_slots(ray, workers)
        _listed(place, store, samples)
        _watched(lambda: _job(data, place, workers, timeout), place, store, samples, done, timeout)
    finally:
        if own:
            ray.shutdown()


def _start(ray: Any, address: str | None, workers: int) -> None:
    """Join a cluster, or start one here."""
    try:
        ray.init(
            address=address, num_cpus=None if address else workers + _SPARE,
            include_dashboard=False, log_to_driver=False, configure_logging=False,
        )  # fmt: skip
    except Exception as error:  # noqa: BLE001 - Ray's own kinds
        ray.shutdown()
        raise OnnxcamError(
            f"Ray cannot be reached or started: {' '.join(str(error).split())}",
            "see its logs, or work with the `engine` local",
        ) from None


def _check_slots(ray: Any, workers: int) -> None:
    slots = int(ray.cluster_resources().get("CPU", 0))
    if slots < workers + _SPARE:
        raise UsageError(
            f"the cluster has {slots} slots, {workers} workers need {workers + _SPARE}",
            f"ask for fewer `workers`: {_SPARE} slots are for reading and writing",
        )


def _listed(place: Path, store: Store, samples: Sequence[Sample]) -> None:
    """Write the chunks that are missing as a table that Ray reads."""
    pa = needed("pyarrow", "the records of an audit")
    from pyarrow import parquet

    missing = store.missing(len(samples))
    keys = [_key(number, store.part(number, samples)) for number in missing]
    (place / "chunks").mkdir(parents=True, exist_ok=True)
    parquet.write_table(
        pa.table({"content": keys, "chunk": list(missing)}), place / "chunks" / "0.parquet"
    )


def _key(number: int, part: Sequence[Sample]) -> str:
    """Return the hash of a chunk's content: what is said of its samples, and their files."""
    found = hashlib.sha256(f"{number}\n".encode())
    for sample in part:
        found.update(json_text(sample.as_dict(), None).encode())
        found.update(_content(sample.file).encode())
    return found.hexdigest()


@lru_cache(maxsize=8)
def _content(file: Path) -> str:
    """Return a file's hash; "" of one that is not there, whose record will say so."""
    return file_hash(file) if file.is_file() else ""


def _job(data: Any, place: Path, workers: int, timeout: float) -> None:
    """Hand the chunks to actors, and wait until all are written."""
    from ray.data.checkpoint import CheckpointConfig

    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.checkpoint_config = CheckpointConfig("content", str(place / CHECKPOINT))
    try:
        # That a chunk may be entered twice is no harm: it is written whole, in its own place.
        warnings.filterwarnings("ignore", "Checkpointing with non-file datasink")
        chunks = data.read_parquet(str(place / "chunks")).repartition(target_num_rows_per_block=1)
        explained = chunks.map_batches(
            _Actor, fn_constructor_args=(str(place), timeout), batch_size=1, num_cpus=1,
            compute=data.ActorPoolStrategy(size=workers),  # it restarts actors that die
        )  # fmt: skip
        explained.write_datasink(_sink(data))
    finally:
        context.checkpoint_config = None


def _sink(data: Any) -> Any:
    """Return what Ray enters chunks in its checkpoint behind: they are written where they arise."""

    class Written(data.Datasink):  # type: ignore[misc]
        def write(self, blocks: Iterable[Any], ctx: Any) -> int:
            return sum(block.num_rows for block in blocks)

    return Written()


def _watched(
    job: Callable[[], None], place: Path, store: Store, samples: Sequence[Sample], done: Done,
    timeout: float,
) -> None:  # fmt: skip
    """Run a job and tell what is written; one without a sign of life ends in an error."""
    ended: Queue[Exception | None] = Queue()

    def run() -> None:
        try:
            job()
            ended.put(None)
        except Exception as error:  # noqa: BLE001 - handed on: Ray's own kinds, and an actor's
            ended.put(error)

    most = max(_PATIENCE * timeout, LOADING)
    left, seen, since = store.missing(len(samples)), 0.0, time.monotonic()
    Thread(target=run, daemon=True).start()
    while True:
        try:
            failed, over = ended.get(timeout=_LOOK), True
        except Empty:
            failed, over = None, False
        there = store.missing(len(samples))
        for number in left:
            if number not in there:
                done(len(store.part(number, samples)))
        latest = _latest(place)
        if there != left or latest > seen:
            left, seen, since = there, latest, time.monotonic()
        if over and not there:
            return
        if over and failed is None:
            failed = RuntimeError("it ended early")
            shutil.rmtree(place / CHECKPOINT, ignore_errors=True)  # it says more than is there
        if not over and time.monotonic() - since > most:
            failed = TimeoutError(f"no sign of life for {most:g} s")
        if failed is not None:
            raise OnnxcamError(
                f"the cluster stopped before {len(there)} chunks: {' '.join(str(failed).split())}",
                "see Ray's logs; what is written stays, go on with `resume=True`",
            )


def _latest(place: Path) -> float:
    """Return when an actor last showed a sign of life."""
    return max((p.stat().st_mtime for p in place.glob("beat-*")), default=0.0)


class _Actor:
    """Holds a child process with the models of an audit, on one slot.

    Args:
        place: The folder of Ray's files in the audit's.
        timeout: Of the child.
    """

    def __init__(self, place: str, timeout: float) -> None:
        import ray

        self._child = Child(Path(place).parent, timeout)
        self._beat = Path(place) / f"beat-{ray.get_runtime_context().get_actor_id()}"

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Work off chunks; return them, for Ray to enter."""
        self._beat.touch()
        self._child.work([int(n) for n in batch["chunk"]], lambda _: None, self._beat.touch)
        return batch
