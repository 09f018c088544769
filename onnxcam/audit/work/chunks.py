"""Chunks of an audit worked off in one process: decoded ahead, explained in batches, written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

from onnxcam.audit.data import Sample
from onnxcam.audit.records import Row
from onnxcam.audit.store import Rows, Store
from onnxcam.audit.work.ahead import Ahead
from onnxcam.audit.work.ready import Ready
from onnxcam.audit.work.worker import Worker

BATCH = 16  # samples in one run, and half of those that are decoded ahead


def work_off(
    worker: Worker,
    store: Store,
    samples: Sequence[Sample],
    chunks: Sequence[int],
    *,
    begins: Callable[[int], None] = lambda _: None,
    beats: Callable[[], None] = lambda: None,
    done: Callable[[int, int], None] = lambda *_: None,
) -> None:
    """Explain the samples of chunks and write each when it is whole.

    Args:
        worker: What explains them.
        store: Where the chunks go.
        samples: All samples of the audit.
        chunks: Numbers of the chunks.
        begins: Told a chunk's number when it is begun.
        beats: Called after every batch: whoever watches knows that it goes on.
        done: Told it, and the number of its samples, when it is written.

    Raises:
        OnnxcamError: A chunk cannot be written.
    """
    parts = {number: store.part(number, samples) for number in chunks}
    waiting = (sample for number in chunks for sample in parts[number])
    ready = iter(Ahead(worker.ready, waiting, 2 * BATCH))
    for number in chunks:
        begins(number)
        store.put(number, joined(_batches(worker, ready, len(parts[number]), beats)))
        done(number, len(parts[number]))


def _batches(
    worker: Worker, ready: Iterator[Ready], count: int, beats: Callable[[], None]
) -> Iterator[Rows]:
    while count > 0:
        batch = list(islice(ready, min(count, BATCH)))
        count -= len(batch)
        yield worker.rows(batch)
        beats()


def one_by_one(
    worker: Worker,
    samples: Sequence[Sample],
    poison: Mapping[int, str],
    begins: Callable[[int], None],
) -> Rows:
    """Explain samples each by itself, where one of them ends the process.

    Args:
        worker: What explains them.
        samples: The samples of a chunk.
        poison: Which of them do, and how; they become records with that reason.
        begins: Told a sample's place in the chunk before it is touched.
    """

    def each() -> Iterator[Rows]:
        for k, sample in enumerate(samples):
            if k in poison:
                yield worker.failed(sample, poison[k])
            else:
                begins(k)
                yield worker.rows([worker.ready(sample)])

    return joined(each())


def joined(parts: Iterator[Rows]) -> Rows:
    """Return several rows as one."""
    records: list[Row] = []
    pairs: list[Row] = []
    maps: list[Row] = []
    for part in parts:
        records += part.records
        pairs += part.pairs
        maps += part.maps
    return Rows(records, pairs, maps)
