"""What a warm explanation takes in Python beside ONNX Runtime's run and the preprocessing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from bench.timing import milliseconds
from onnxcam import Explainer
from onnxcam.inputs import description as module
from onnxcam.run.runner import Runner
from onnxcam.targets import Score

Clock: TypeAlias = Callable[[], float]
LIMIT_MS = 1.0


@dataclass(frozen=True)
class Overhead:
    """Where the time of an explanation goes, medians over the calls in milliseconds.

    Attributes:
        total_ms: The whole call.
        run_ms: ONNX Runtime, with the copies in and out.
        prepare_ms: From the picture to the input tensor.
        rest_ms: What is left: Python's own, the map's enlargement, the diagnosis.
        interval: Bootstrap interval of 95 % of ``rest_ms``.
    """

    total_ms: float
    run_ms: float
    prepare_ms: float
    rest_ms: float
    interval: tuple[float, float]

    @property
    def passed(self) -> bool:
        """Whether the rest keeps the limit."""
        return self.rest_ms <= LIMIT_MS


def overhead(
    model: Path,
    image: Any,
    *,
    runs: int = 50,
    warmup: int = 5,
    threads: int = 1,
    clock: Clock = time.perf_counter,
    seed: int = 0,
) -> Overhead:
    """Measure explanations of one input by a warm explainer; each call is taken apart.

    Args:
        model: ONNX file.
        image: What the explainer is called with: a path, a picture, a ready array.
        runs: Timed calls.
        warmup: Calls before.
        threads: Threads of ONNX Runtime.
        clock: Returns seconds.
        seed: Of the bootstrap.
    """
    explain = Explainer(model, device="cpu", threads=threads)
    (runner,) = explain._engine.of(Score())
    assert isinstance(runner, Runner)
    session = runner.session
    times = np.empty((3, runs))
    with _timed(session, "run", clock) as run, _timed(module, "prepare", clock) as prepare:
        for i in range(-warmup, runs):
            run.clear(), prepare.clear()
            begin = clock()
            explain(image)
            total = clock() - begin
            if i >= 0:
                times[:, i] = total, sum(run), sum(prepare)
    rest = times[0] - times[1] - times[2]
    total_ms, run_ms, prepare_ms = (milliseconds(row) for row in times)
    return Overhead(total_ms, run_ms, prepare_ms, milliseconds(rest), _interval(rest, seed))


@contextmanager
def _timed(owner: Any, name: str, clock: Clock) -> Iterator[list[float]]:
    """Take the seconds of every call of a function while the block runs."""
    function: Callable[..., Any] = getattr(owner, name)
    seconds: list[float] = []

    def call(*args: Any, **kwargs: Any) -> Any:
        begin = clock()
        try:
            return function(*args, **kwargs)
        finally:
            seconds.append(clock() - begin)

    with mock.patch.object(owner, name, call):
        yield seconds


def _interval(values: NDArray[np.float64], seed: int) -> tuple[float, float]:
    draws = np.random.default_rng(seed).integers(0, len(values), (2000, len(values)))
    low, high = np.quantile(np.median(values[draws], axis=1), [0.025, 0.975]) * 1000
    return float(low), float(high)
