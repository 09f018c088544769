"""The process that does the work: `python -m onnxcam.audit.work.child FOLDER`.

What it shall do comes as one line of JSON on standard input; what it does it tells as lines of
JSON on standard output. It ends when its input does: nobody waits for it then. The files that it
works on may be a stranger's: its memory is bounded, and the time of each step.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

from onnxcam.audit.data import Sample
from onnxcam.audit.job import JOB, Job
from onnxcam.audit.store import Store
from onnxcam.audit.work import again
from onnxcam.audit.work.chunks import one_by_one, work_off
from onnxcam.audit.work.worker import Worker
from onnxcam.errors import OnnxcamError, told
from onnxcam.run.bounds import bound_steps, step

SAMPLES = "data/samples.jsonl"


def samples_in(folder: Path) -> list[Sample]:
    """Return the samples of an audit, as they were listed when it began."""
    return list(each_sample(folder))


def each_sample(folder: Path) -> Iterator[Sample]:
    """Yield them one by one."""
    with (folder / SAMPLES).open(encoding="utf-8") as lines:
        for line in lines:
            yield Sample.of(json.loads(line))


def main() -> None:
    """Do what the one line on standard input says."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    asked = json.loads(sys.stdin.readline())
    Thread(target=_end_with_input, daemon=True).start()
    try:
        _work(Path(sys.argv[1]), asked)
    except Exception as error:  # noqa: BLE001 - the parent says it
        failed = error if isinstance(error, OnnxcamError) else told(error, "the audit fails")
        _tell(failed=[type(failed).__name__, failed.message, failed.hint])
    sys.stdout.flush()
    os._exit(0)  # taking sessions apart takes time


def _work(folder: Path, asked: dict[str, Any]) -> None:
    job = Job.read(folder / JOB)
    bound_steps(str(job.options.get("device", "auto")))
    store = Store(folder, job.chunk)
    samples = samples_in(folder)
    worker = Worker(job)
    _tell(ready=True)
    if "again" in asked:
        _tell(found=again.looked(job, worker, samples, **asked["again"]))
    elif "careful" in asked:
        number, poison = asked["careful"], {int(k): v for k, v in asked["poison"].items()}
        part = store.part(number, samples)
        store.put(number, one_by_one(worker, part, poison, lambda k: _tell(sample=k)))
        _tell(done=number, samples=len(part))
    else:
        work_off(
            worker, store, samples, asked["chunks"],
            begins=lambda n: _tell(chunk=n), done=lambda n, k: _tell(done=n, samples=k),
        )  # fmt: skip
    _tell(finished=True)


def _tell(**said: Any) -> None:
    step()
    sys.stdout.write(json.dumps(said, default=float) + "\n")
    sys.stdout.flush()


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
