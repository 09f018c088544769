"""The engine of one machine: a child process works, and is replaced where a sample ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import onnxcam
from onnxcam import errors
from onnxcam.audit.data import Sample
from onnxcam.audit.job import JOB, Job
from onnxcam.audit.store import Store
from onnxcam.errors import ModelError, OnnxcamError
from onnxcam.run import crashed
from onnxcam.run.bounds import SECONDS, TIME

Done: TypeAlias = Callable[[int], None]


def run_local(folder: Path, store: Store, samples: Sequence[Sample], done: Done) -> None:
    """Work off all chunks that are missing.

    A child that dies is started again once, as whoever killed it may not come back; where it dies
    in the same chunk again, the samples of that are explained one by one, and one that ends the
    process becomes a record that says so.

    Args:
        folder: The audit's folder, with its job and its list of samples.
        store: Its chunks.
        samples: Its samples.
        done: Told the number of samples of each chunk that is written.

    Raises:
        OnnxcamError: The models cannot be used, or a chunk not be written.
    """
    died_in: int | None = None
    while missing := store.missing(len(samples)):
        at, ended = _run(folder, {"chunks": missing}, done)
        if ended is None:
            return
        if at is None:
            _remember(folder, ended)
            raise ModelError(
                f"the process that explains {_how(ended)}, as it loads the models",
                "explain one picture with each of them first",
            )
        if at == died_in:
            _careful(folder, at, done)
        died_in = at


def look_again(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Return what only the models can say, see :func:`onnxcam.audit.work.again.looked`.

    Raises:
        OnnxcamError: They cannot be used, or the process ends on them, twice.
    """
    for _ in range(2):
        found: list[dict[str, Any]] = []
        _, ended = _run(folder, {"again": {"count": count, "seed": seed}}, found=found.append)
        if found:
            return found[0]
    raise ModelError(
        f"the process that looks at the models again {_how(str(ended))}",
        "all records are kept: go on with `resume=True` and `trust=0`",
    )


def _how(ended: str) -> str:
    """Return in words what ended a process."""
    if ended in TIME:
        return f"comes to no end; {SECONDS} gives a step more seconds"
    if ended == "SIGKILL":
        return "was killed; memory may not hold what it needs"
    return f"ends ({ended})"


def _careful(folder: Path, chunk: int, done: Done) -> None:
    """Work off a chunk sample by sample, leaving out those that end the process."""
    poison: dict[int, str] = {}
    while True:
        at, ended = _run(folder, {"careful": chunk, "poison": poison}, done)
        if ended is None:
            return
        if at is None or at in poison:
            raise ModelError(f"the process that explains {_how(ended)}, again and again")
        poison[at] = f"the process that explains it {_how(ended)}"


def _remember(folder: Path, ended: str) -> None:
    """Let others know of models on which native code crashes."""
    if ended not in (*TIME, "SIGKILL") and ended.startswith("SIG"):
        crashed.remember(map(Path, Job.read(folder / JOB).models))


def _run(
    folder: Path,
    asked: dict[str, Any],
    done: Done = lambda _: None,
    found: Callable[[dict[str, Any]], None] = lambda _: None,
) -> tuple[int | None, str | None]:
    """Run a child to its end.

    Returns:
        The chunk (or sample) that it was at, None where it did not come so far; and how it ended,
        None where it did all that was asked.
    """
    at: int | None = None
    with _child(folder, asked) as child:
        assert child.stdout is not None
        for line in child.stdout:
            said = _parsed(line)
            at = said.get("chunk", said.get("sample", at))
            if "done" in said:
                done(said["samples"])
            if "found" in said:
                found(said["found"])
            if "failed" in said:
                kind, message, hint = said["failed"]
                raise getattr(errors, kind, OnnxcamError)(message, hint)
            if "finished" in said:
                return at, None
        code = child.wait()
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return at, name


@contextmanager
def _child(folder: Path, asked: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """Start a child; it is gone when the block ends."""
    here = str(Path(onnxcam.__file__).resolve().parents[1])
    path = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    child = subprocess.Popen(
        [sys.executable, "-m", "onnxcam.audit.work.child", str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    try:
        assert child.stdin is not None
        child.stdin.write(json.dumps(asked) + "\n")
        child.stdin.flush()
        yield child
    finally:
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                stream.close()


def _parsed(line: str) -> dict[str, Any]:
    """Return what a line says; native code may print other things between."""
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
