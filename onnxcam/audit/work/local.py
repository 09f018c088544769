"""The engine of one machine: a child process works, and is replaced where a sample ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, TypeAlias

import onnxcam
from onnxcam import errors
from onnxcam.audit.job import JOB, Job
from onnxcam.errors import ModelError, OnnxcamError
from onnxcam.run import crashed

Done: TypeAlias = Callable[[int], None]
Beats: TypeAlias = Callable[[], None]
LOADING = 600.0  # seconds at least in which models may be loaded


class Child:
    """The process that explains samples, as long as it is wanted.

    A child that dies is started again once, as whoever killed it may not come back; where it dies
    in the same chunk again, or hangs, the samples of that are explained one by one, and one that
    ends the process becomes a record that says so.

    Args:
        folder: The audit's folder, with its job and its list of samples.
        timeout: Seconds without a sign of life after which it counts as hung.
    """

    def __init__(self, folder: Path, timeout: float) -> None:
        self._folder, self._timeout = folder, timeout
        self._process: subprocess.Popen[str] | None = None
        self._lines: SimpleQueue[str | None] = SimpleQueue()

    def __enter__(self) -> Child:
        """Start nothing yet: that is done when something is asked."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        self.end()

    def work(self, chunks: Sequence[int], done: Done, beats: Beats = lambda: None) -> None:
        """Work off chunks.

        Args:
            chunks: Their numbers.
            done: Told the number of samples of each chunk that is written.
            beats: Called at every sign of life.

        Raises:
            OnnxcamError: The models cannot be used, or a chunk not be written.
        """
        died_in: int | None = None
        left = list(chunks)
        while left:
            at, ended = self._ask({"chunks": left}, left, done, beats)
            if ended is None:
                return
            if at is None:
                _remember(self._folder, ended)
                raise ModelError(
                    f"the process that explains ends as it loads the models ({ended})",
                    "explain one picture with each of them first",
                )
            if at in left and (at == died_in or ended == self._hung):
                self._careful(at, done, beats)
                left.remove(at)
            died_in = at

    def look(self, count: int, seed: int, beats: Beats = lambda: None) -> dict[str, Any]:
        """Return what only the models can say, see :func:`onnxcam.audit.work.again.looked`.

        Raises:
            OnnxcamError: They cannot be used, or the process ends on them, twice.
        """
        for _ in range(2):
            found: list[dict[str, Any]] = []
            asked = {"again": {"count": count, "seed": seed}}
            _, ended = self._ask(asked, [], lambda _: None, beats, found.append)
            if found:
                return found[0]
        raise ModelError(
            f"the process that looks at the models again ends ({ended})",
            "all records are kept: go on with `resume=True` and `trust=0`",
        )

    def end(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):  # what was not written to it yet is nobody's any more
                    stream.close()

    @property
    def _hung(self) -> str:
        return f"nothing for {self._timeout:g} s"

    def _careful(self, chunk: int, done: Done, beats: Beats) -> None:
        """Work off a chunk sample by sample, leaving out those that end the process."""
        poison: dict[int, str] = {}
        while True:
            at, ended = self._ask({"careful": chunk, "poison": poison}, [chunk], done, beats)
            if ended is None:
                return
            if at is None or at in poison:
                raise ModelError(f"the process that explains ends again and again ({ended})")
            poison[at] = self._reason(ended)

    def _reason(self, ended: str) -> str:
        """Return what a record says of a sample that ended the process."""
        if ended == self._hung:
            return f"it takes more than {self._timeout:g} s: the runtime hangs on it"
        if ended == "SIGKILL":
            return "the process that explains it is killed (SIGKILL), as where memory runs out"
        return f"the runtime crashes on it ({ended})"

    def _ask(
        self,
        asked: dict[str, Any],
        left: list[int],
        done: Done,
        beats: Beats,
        found: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> tuple[int | None, str | None]:
        """Ask something of the process, and wait until it is done or the process at its end.

        Returns:
            The chunk (or sample) that it was at, None where it did not come so far; and how it
            ended, None where it did all that was asked.
        """
        at: int | None = None
        limit = self._timeout if self._process else max(self._timeout, LOADING)
        with suppress(BrokenPipeError):  # that it is at its end is seen below
            self._say(json.dumps(asked) + "\n")
        while True:
            try:
                line = self._lines.get(timeout=limit)
            except Empty:
                self.end()
                return at, self._hung
            if line is None:
                return at, self._ended()
            beats()
            said, limit = _parsed(line), self._timeout
            at = said.get("chunk", said.get("sample", at))
            if "done" in said:
                if "chunks" in asked and said["done"] in left:
                    left.remove(said["done"])
                done(said["samples"])
            if "found" in said:
                found(said["found"])
            if "failed" in said:
                kind, message, hint = said["failed"]
                raise getattr(errors, kind, OnnxcamError)(message, hint)
            if "finished" in said:
                return at, None

    def _say(self, line: str) -> None:
        """Write a line to the process, which is started where there is none."""
        if self._process is None:
            here = str(Path(onnxcam.__file__).resolve().parents[1])
            path = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
            self._process = subprocess.Popen(
                [sys.executable, "-m", "onnxcam.audit.work.child", str(self._folder)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
                env={**os.environ, "PYTHONPATH": path},
            )  # fmt: skip
            self._lines = SimpleQueue()
            Thread(target=_read, args=(self._process, self._lines), daemon=True).start()
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def _ended(self) -> str:
        """Return how the process ended."""
        assert self._process is not None
        code = self._process.wait()
        self.end()
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def look_again(folder: Path, timeout: float, count: int, seed: int) -> dict[str, Any]:
    """Return what only the models of an audit can say; see :meth:`Child.look`."""
    with Child(folder, max(timeout, LOADING) * (1 + count)) as child:  # it gives no sign meanwhile
        return child.look(count, seed)


def _remember(folder: Path, ended: str) -> None:
    """Let others know of models on which native code crashes."""
    if ended.startswith("SIG") and ended != "SIGKILL":
        crashed.remember(map(Path, Job.read(folder / JOB).models))


def _read(process: subprocess.Popen[str], lines: SimpleQueue[str | None]) -> None:
    """Hand on what a process says; None at its end."""
    assert process.stdout is not None
    with suppress(OSError, ValueError):  # it was ended, and its pipe closed
        for line in process.stdout:
            lines.put(line)
    lines.put(None)


def _parsed(line: str) -> dict[str, Any]:
    """Return what a line says; native code may print other things between."""
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
