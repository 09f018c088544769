"""The process that does the work: `python -m onnxcam.audit.work.child FOLDER`.

What it shall do comes as lines of JSON on standard input; what it does it tells as lines of JSON on
standard output. It ends when its input does: nobody waits for it then. The files that it works on
may be a stranger's: its memory is bounded, and who asks it bounds its time.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from onnxcam.audit.data.packed import Samples
from onnxcam.audit.job import JOB, Job
from onnxcam.audit.store import Store
from onnxcam.audit.work import again
from onnxcam.audit.work.chunks import one_by_one, work_off
from onnxcam.audit.work.worker import Worker
from onnxcam.errors import OnnxcamError, told
from onnxcam.files import regular
from onnxcam.run.bounds import bound_memory

SAMPLES = "data/samples.jsonl"


def samples_in(folder: Path) -> Samples:
    """Return the samples of an audit, as they were listed when it began."""
    regular(folder / SAMPLES)
    with (folder / SAMPLES).open("rb") as lines:
        return Samples(lines)


def main() -> None:
    """Do what the lines on standard input say, one after the other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    asked: SimpleQueue[str] = SimpleQueue()
    Thread(target=_listen, args=(asked,), daemon=True).start()
    try:
        work = _Work(Path(sys.argv[1]))
        _tell(ready=True)
        while True:
            work.do(json.loads(asked.get()))
            _tell(finished=True)
    except Exception as error:  # noqa: BLE001 - the parent says it
        failed = error if isinstance(error, OnnxcamError) else told(error, "the audit fails")
        _tell(failed=[type(failed).__name__, failed.message, failed.hint])
    os._exit(0)  # taking sessions apart takes time


class _Work:
    """The models of an audit in memory, and what is asked of them.

    Args:
        folder: The audit's folder.
    """

    def __init__(self, folder: Path) -> None:
        job = self._job = Job.read(folder / JOB)
        bound_memory(str(job.options.get("device", "auto")))
        self._store = Store(folder, job.chunk)
        self._samples = samples_in(folder)
        self._worker = Worker(job)

    def do(self, asked: dict[str, Any]) -> None:
        """Work off chunks, or one chunk sample by sample without those that end the process."""
        if "again" in asked:
            _tell(found=again.looked(self._job, self._worker, self._samples, **asked["again"]))
            return
        if "careful" not in asked:
            work_off(
                self._worker, self._store, self._samples, asked["chunks"],
                begins=lambda n: _tell(chunk=n), beats=lambda: _tell(beat=True),
                done=lambda n, k: _tell(done=n, samples=k),
            )  # fmt: skip
            return
        number, poison = asked["careful"], {int(k): v for k, v in asked["poison"].items()}
        part = self._store.part(number, self._samples)
        rows = one_by_one(self._worker, part, poison, lambda k: _tell(sample=k))
        self._store.put(number, rows)
        _tell(done=number, samples=len(part))


def _tell(**said: Any) -> None:
    sys.stdout.write(json.dumps(said, default=float) + "\n")
    sys.stdout.flush()


def _listen(asked: SimpleQueue[str]) -> None:
    for line in sys.stdin:
        asked.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
