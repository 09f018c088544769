"""Other runtimes, each in the environment that tools/envs.py makes for it, driven from here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import envs
import numpy as np

from bench.timing import Ratio, milliseconds, ratio
from onnxcam.errors import UsageError

WORKER = Path(__file__).with_name("runtime_worker.py")
# name: (what the worker calls it, the environment; None: this one)
RUNTIMES: dict[str, tuple[str, str | None]] = {
    "onnxruntime": ("onnxruntime", None),
    "ort-oldest": ("onnxruntime", "ort-oldest"),
    "reference": ("reference", None),
    "openvino": ("openvino", "openvino"),
}
_SECONDS = 600


@dataclass(frozen=True)
class Paired:
    """How long two models took in one runtime, in turns.

    Attributes:
        plain_ms: Median of the first.
        other_ms: Median of the second.
        ratio: second / first, with its interval.
    """

    plain_ms: float
    other_ms: float
    ratio: Ratio


def interpreter(runtime: str) -> Path:
    """Return the Python that has a runtime.

    Raises:
        UsageError: Its environment is not there.
    """
    environment = RUNTIMES[runtime][1]
    python = Path(sys.executable) if environment is None else envs.interpreter(environment)
    if not python.is_file():
        raise UsageError(
            f"{runtime} needs a Python environment of its own; {python} is not there",
            f"make it with `python tools/envs.py {environment}`",
        )
    return python


def run(runtime: str, jobs: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Run models; see runtime_worker.py for the jobs and the answers.

    Raises:
        UsageError: The runtime is not there.
        RuntimeError: The process failed; its last line says why.
    """
    found: list[dict[str, Any]] = _ask("run", runtime, list(jobs))
    return found


def paired(
    runtime: str,
    plain: Path,
    other: Path,
    feeds: Mapping[str, np.ndarray[Any, Any]],
    *,
    runs: int = 30,
    warmup: int = 3,
    clock: str = "wall",
    seed: int = 0,
) -> Paired:
    """Time two models with the same inputs in one process, in interleaved pairs, on one thread.

    Args:
        runtime: One of RUNTIMES.
        plain: ONNX file.
        other: ONNX file, such as ``plain`` explained.
        feeds: Inputs of both by name.
        runs: Pairs.
        warmup: Calls of each before.
        clock: "wall" or "cpu" (the processor's time).
        seed: Of the bootstrap.

    Raises:
        UsageError: The runtime is not there.
        RuntimeError: The process failed; its last line says why.
    """
    with TemporaryDirectory(prefix="bench-") as folder:
        place = Path(folder) / "feeds.npz"
        np.savez(place, **dict(feeds))  # type: ignore[arg-type]
        job = {"plain": str(plain), "other": str(other), "feeds": str(place)}
        times = _ask("time", runtime, {**job, "runs": runs, "warmup": warmup, "clock": clock})
    first, second = np.array(times["plain"]), np.array(times["other"])
    return Paired(milliseconds(first), milliseconds(second), ratio(first, second, seed=seed))


def _ask(command: str, runtime: str, job: Any) -> Any:
    done = subprocess.run(
        [str(interpreter(runtime)), str(WORKER), command, RUNTIMES[runtime][0]],
        input=json.dumps(job), capture_output=True, text=True, check=False, timeout=_SECONDS,
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"{runtime} failed: {last}")
    return json.loads(done.stdout.strip().splitlines()[-1])
