"""What methods cost that run a model many times, held against what is promised of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench.comparisons import Settings
from bench.subjects import export
from bench.timing import CLOCKS, Ratio, interleaved, milliseconds, ratio
from onnxcam import Explainer
from onnxcam.targets import Score

F = "plain inference at its best batch"


@dataclass(frozen=True)
class Promise:
    """A method and the most that it may cost.

    Attributes:
        arch: The network.
        method: The method.
        most: Of `unit`.
        settings: Parameters of the method.
        runs: How many runs the cost is shared among; 1 for the whole map.
        budget: The most runs; None for all.
        unit: "F", or another method whose time is the unit (for each of `units`).
        units: How often.
    """

    arch: str
    method: str
    most: float
    settings: dict[str, Any] = field(default_factory=dict)
    runs: int = 1
    budget: int | None = None
    unit: str = "F"
    units: int = 1


PROMISES = (
    Promise("resnet50", "ablation-cam", 3),
    Promise("mobilenet_v2", "ablation-cam", 7),
    Promise("resnet50", "recipro-cam", 1.3),
    Promise("mobilenet_v2", "recipro-cam", 1.3),
    Promise("resnet50", "rise", 1.1, {"masks": 32}, 33),
    Promise("mobilenet_v2", "rise", 1.1, {"masks": 64}, 65),
    Promise("resnet50", "score-cam", 1.1, {}, 33, 32),
    Promise("mobilenet_v2", "score-cam", 1.1, {}, 65, 64),
    Promise("resnet50", "occlusion", 1.1, {"stride": 0.2}, 26),
    Promise("mobilenet_v2", "kernel-shap", 1.1, {"samples": 64}, 65),
    Promise("mobilenet_v2", "integrated-gradients", 1, {"steps": 16}, unit="saliency", units=16),
    Promise("resnet50", "lrp-epsilon", 1.1, unit="saliency"),
)


@dataclass(frozen=True)
class Cost:
    """What came out.

    Attributes:
        promise: What was promised.
        unit_ms: Median of the unit.
        ms: Median of the map.
        ratio: What is promised about: the map's time by units and runs.
    """

    promise: Promise
    unit_ms: float
    ms: float
    ratio: Ratio

    @property
    def passed(self) -> bool:
        """Whether the promise is kept."""
        return self.ratio.median <= self.promise.most


def costs(settings: Settings, only: Sequence[str] = ()) -> Iterator[Cost]:
    """Measure every promise, network by network."""
    for arch in dict.fromkeys(p.arch for p in PROMISES):
        with TemporaryDirectory(prefix="bench-") as folder:
            path = export(arch, Path(folder), exporter="torchscript")
            for promise in PROMISES:
                if promise.arch == arch and (not only or promise.method in only):
                    yield _cost(path, promise, settings)


def _cost(path: Path, promise: Promise, settings: Settings) -> Cost:
    x = np.random.default_rng(settings.seed).standard_normal((1, 3, 224, 224)).astype("f4")
    clock = CLOCKS[settings.clock]
    call = _map(path, promise.method, promise.settings, promise.budget, settings, x)
    units = [_map(path, promise.unit, {}, None, settings, x)] if promise.unit != "F" else [
        _plain(path, settings, np.repeat(x, n, 0)) for n in (1, 4, 8)
    ]  # fmt: skip
    times = interleaved(*units, call, runs=settings.runs, warmup=settings.warmup, clock=clock)
    each = times[:-1] if promise.unit != "F" else times[:-1] / np.array([[1], [4], [8]])
    unit = each[np.median(each, 1).argmin()]
    found = ratio(unit * promise.runs * promise.units, times[-1], seed=settings.seed)
    return Cost(promise, milliseconds(unit), milliseconds(times[-1]), found)


def _explainer(path: Path, method: str, parameters: Any, budget: Any, settings: Settings) -> Any:
    return Explainer(
        path, method, parameters=parameters, budget=budget, threads=settings.threads,
        device=settings.device, upsampling="none", cache=False,
    )  # fmt: skip


def _map(path: Path, method: str, parameters: Any, budget: Any, settings: Settings, x: Any) -> Any:
    explain = _explainer(path, method, parameters, budget, settings)
    made = explain._engine.of(Score())[0]
    if hasattr(made, "estimate"):
        return lambda: made.estimate(x, [0], {})
    return lambda: explain(x, target=0)


def _plain(path: Path, settings: Settings, batch: Any) -> Any:
    predict = _explainer(path, "gradcam", None, None, settings).predict
    session, name = predict._session, predict.catalog.input
    return lambda: session.run({name: batch})


def page(found: Sequence[Cost], circumstances: str) -> str:
    """Return docs/method-costs.md."""
    lines = [
        "# What methods cost that run a model many times",
        "",
        "Written by `tools/bench.py methods`: medians of paired calls, one thread. F is plain",
        "inference at its best batch (1, 4 or 8, per input); the interval is a bootstrap's, 95 %.",
        "Where a promise is about a run or a channel, the map's time is divided by their number.",
        "",
        f"{circumstances}",
        "",
        "| network | method | promise | unit, ms | map, ms | measured | kept |",
        "|---|---|---|---|---|---|---|",
    ]
    for cost in found:
        p = cost.promise
        per = " a run" if p.runs > 1 else ""
        unit = "F" if p.unit == "F" else f"{p.units} x {p.unit}" if p.units > 1 else p.unit
        chosen = " ".join(f"{k}={v}" for k, v in p.settings.items())
        named = f"`{p.method}` {chosen}".strip()
        lines.append(
            f"| {p.arch} | {named} | <= {p.most:g} {unit}{per} | {cost.unit_ms:.1f} | "
            f"{cost.ms:.0f} | {cost.ratio.median:.2f} ({cost.ratio.low:.2f} .. "
            f"{cost.ratio.high:.2f}) | {'yes' if cost.passed else '**no**'} |"
        )
    return "\n".join(lines) + "\n"
