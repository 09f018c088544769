"""Time one tool, in the environment of that tool.

    python worker.py REQUEST.json

The request says what and with what (see :class:`Request`); the answer is written to the file that
it names. Needs NumPy, ONNX Runtime and the tool, not onnxcam.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from bench.timing import CLOCKS, interleaved

Call = Callable[[], Any]
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Request:
    """What a worker is asked for.

    Attributes:
        module: Module that knows the tool.
        peer: Name of its function, which takes this request and returns :class:`Calls`.
        arch: Network of tools/architectures; weights come from a fixed seed.
        model: Its ONNX file.
        explained: The file that onnxcam made of it.
        input: NPY file of an input [1, ...].
        target: The class that is explained.
        runs: Timed rounds.
        warmup: Rounds before.
        plain_calls: Calls of plain inference in a round: what counts is their mean.
        threads: Threads of every framework.
        clock: "wall" or "cpu".
        packages: Packages whose versions are asked for.
        answer: Where the JSON goes; the map goes beside it, as NPY.
    """

    module: str
    peer: str
    arch: str
    model: str
    explained: str
    input: str
    target: int
    runs: int
    warmup: int
    plain_calls: int
    threads: int
    clock: str
    packages: list[str]
    answer: str

    @property
    def x(self) -> Array:
        """The input."""
        found: Array = np.load(self.input)
        return found


@dataclass(frozen=True)
class Calls:
    """What is timed.

    Attributes:
        explain: Predicts and explains; returns the map.
        plain: Plain inference in the tool's own framework; None where that is ONNX Runtime.
    """

    explain: Call
    plain: Call | None = None


def runtime_call(path: str, request: Request) -> Callable[[], list[Array]]:
    """Return a call of an ONNX file in ONNX Runtime, threads pinned."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = request.threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feeds = {session.get_inputs()[0].name: request.x}
    return lambda: list(session.run(None, feeds))


def answer(request: Request) -> dict[str, Any]:
    """Return the times of each call, in seconds, and the versions."""
    module = importlib.import_module(f"bench.peers.{request.module}")
    calls: Calls = getattr(module, request.peer.replace("-", "_"))(request)
    timed = {"plain": _repeated(runtime_call(request.model, request), request.plain_calls)}
    if calls.plain is not None:
        timed["own"] = calls.plain
    timed["explain"] = calls.explain
    times = interleaved(
        *timed.values(), runs=request.runs, warmup=request.warmup, clock=CLOCKS[request.clock]
    )
    if request.warmup:
        np.save(Path(request.answer).with_suffix(".npy"), np.asarray(calls.explain()))
    times[0] /= request.plain_calls
    return {
        "times": {name: row.tolist() for name, row in zip(timed, times, strict=True)},
        "versions": dict(filter(None, map(_version, request.packages))),
    }


def _repeated(call: Call, times: int) -> Call:
    call()  # the first one sets things up

    def run() -> None:
        for _ in range(times):
            call()

    return run


def _version(package: str) -> tuple[str, str] | None:
    try:
        return package, version(package)
    except PackageNotFoundError:
        return None


def main(path: str) -> None:
    """Answer a request."""
    request = Request(**json.loads(Path(path).read_text()))
    Path(request.answer).write_text(json.dumps(answer(request)))


if __name__ == "__main__":
    main(sys.argv[1])
