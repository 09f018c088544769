"""What methods cost that run a model many times, held against what is promised of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench import method_peers, store
from bench.comparisons import Settings
from bench.subjects import export
from bench.timing import CLOCKS, Ratio, interleaved, milliseconds, ratio
from onnxcam import Explainer
from onnxcam.targets import Score

F = "plain inference at its best batch"
_LONG, _FEWEST = (
    120.0,
    5,
)  # seconds that the pairs of a row may take, and how many there are at least
_LAST_STAGE = {"resnet50": 2048, "mobilenet_v2": 1280}  # channels


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


_GRADIENT: dict[str, Any] = {"unit": "saliency"}
PROMISES = (
    Promise("resnet50", "ablation-cam", 3),
    Promise("resnet50", "recipro-cam", 1.3),
    Promise("resnet50", "rise", 1.1, {"masks": 32}, 33),
    Promise("resnet50", "score-cam", 1.1, {}, 33, 32),
    Promise("resnet50", "occlusion", 1.1, {"stride": 0.2}, 26),
    Promise("resnet50", "integrated-gradients", 1, {"steps": 50}, unit="saliency", units=50),
    Promise("resnet50", "lrp-epsilon", 1.1, **_GRADIENT),
    Promise("resnet50", "attnlrp", 1.1, **_GRADIENT),
    Promise("resnet50", "libragrad", 1.1, **_GRADIENT),
    Promise("mobilenet_v2", "ablation-cam", 7),
    Promise("mobilenet_v2", "recipro-cam", 1.3),
    Promise("mobilenet_v2", "rise", 1.1, {"masks": 64}, 65),
    Promise("mobilenet_v2", "score-cam", 1.1, {}, 65, 64),
    Promise("mobilenet_v2", "kernel-shap", 1.1, {"samples": 1000}, 1001),
    Promise("mobilenet_v2", "integrated-gradients", 1, {"steps": 50}, unit="saliency", units=50),
    Promise("mobilenet_v2", "lrp-epsilon", 1.1, **_GRADIENT),
    Promise("mobilenet_v2", "attnlrp", 1.1, **_GRADIENT),
    Promise("mobilenet_v2", "libragrad", 1.1, **_GRADIENT),
    Promise("deit_s", "attnlrp", 1.1, **_GRADIENT),
    Promise("deit_s", "libragrad", 1.1, **_GRADIENT),
)


@dataclass(frozen=True)
class Cost:
    """What came out.

    Attributes:
        promise: What was promised.
        unit_ms: Median of the unit.
        ms: Median of the map.
        ratio: What is promised about: the map's time by units and runs.
        peer: Another tool that has the method; "" without one.
        peer_ms: Its time for as much.
    """

    promise: Promise
    unit_ms: float
    ms: float
    ratio: Ratio
    peer: str = ""
    peer_ms: float = float("nan")

    @property
    def passed(self) -> bool:
        """Whether the promise is kept."""
        return self.ratio.median <= self.promise.most


def costs(
    settings: Settings, only: Sequence[str] = (), archs: Sequence[str] = ()
) -> Iterator[Cost]:
    """Measure every promise, network by network, or those of some methods and networks."""
    for arch in dict.fromkeys(p.arch for p in PROMISES if not archs or p.arch in archs):
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
    pairs, warmup = _pairs([*units, call], settings)
    times = interleaved(*units, call, runs=pairs, warmup=warmup, clock=clock)
    each = times[:-1] if promise.unit != "F" else times[:-1] / np.array([[1], [4], [8]])
    unit = each[np.median(each, 1).argmin()]
    found = ratio(unit * promise.runs * promise.units, times[-1], seed=settings.seed)
    own = Cost(promise, milliseconds(unit), milliseconds(times[-1]), found)
    return replace(own, **_peer(promise, settings, x))


def _pairs(calls: Sequence[Callable[[], Any]], settings: Settings) -> tuple[int, int]:
    """Return how many pairs are measured, and how many run before: fewer of what takes long."""
    begin = time.perf_counter()
    for call in calls:
        call()
    fitting = max(_FEWEST, int(_LONG / (time.perf_counter() - begin)))
    return min(settings.runs, fitting), 0 if fitting < settings.runs else settings.warmup


def _peer(promise: Promise, settings: Settings, x: Any) -> dict[str, Any]:
    """Return what another tool takes for as much; nothing where none has the method.

    Ablation-CAM of all channels takes minutes there: it is measured on 64, and counted up.
    """
    runs = 65 if promise.method == "ablation-cam" else promise.runs
    asked = promise.arch, promise.method, promise.settings, runs
    try:
        found = method_peers.peer(*asked, x)
    except LookupError:
        return {}
    if found is None:
        return {}
    seconds = method_peers.seconds(found[1], CLOCKS[settings.clock], min(settings.runs, 2))
    share = _LAST_STAGE[promise.arch] / 64 if promise.method == "ablation-cam" else 1
    return {"peer": found[0], "peer_ms": 1000 * seconds * share}


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


def said(cost: Cost) -> str:
    """Return a cost in a line."""
    p, ratio = cost.promise, cost.ratio
    beside = f", {cost.ms / cost.peer_ms:.2f} of {cost.peer}'s time" if cost.peer else ""
    return (
        f"{p.arch} {p.method}: {ratio.median:.2f} ({ratio.low:.2f} .. {ratio.high:.2f}), "
        f"promised {p.most:g}{beside}{'' if cost.passed else ': NOT KEPT'}"
    )


def keep(path: Path, cost: Cost, circumstances: dict[str, Any]) -> None:
    """Write a cost into a JSON file, so that the page may be measured piece by piece."""
    row = {"arch": cost.promise.arch, "method": cost.promise.method, **asdict(cost)}
    store.update(path, "methods", circumstances, [row], key=("arch", "method"))


def kept(path: Path) -> list[Cost]:
    """Return the costs of a JSON file, in the order of the promises."""
    rows = json.loads(path.read_text())["methods"]["results"]
    found = {
        (row["arch"], row["method"]): Cost(
            Promise(**row["promise"]), row["unit_ms"], row["ms"], Ratio(**row["ratio"]),
            row["peer"], row["peer_ms"],
        )
        for row in rows
    }  # fmt: skip
    return [found[p.arch, p.method] for p in PROMISES if (p.arch, p.method) in found]


def page(found: Sequence[Cost], circumstances: str) -> str:
    """Return docs/method-costs.md."""
    lines = [
        "# What methods cost",
        "",
        "Written by `tools/bench.py methods`: medians of paired calls, one thread (30 pairs, or",
        "as many as take two minutes, five at the least). F is plain inference at its best batch",
        "(1, 4 or 8, per input), an input gradient the method `saliency`; the interval is a",
        "bootstrap's, 95 %. Where a promise is about a run or a channel, the map's time is divided",
        "by their number. Beside it stands what another tool takes for as much with torch on the",
        "same weights, and how long ours takes of that (of pytorch-grad-cam's Ablation-CAM 64",
        "channels are measured and counted up).",
        "",
        f"{circumstances}",
        "",
        "| network | method | promise | unit, ms | map, ms | measured | kept | another tool, ms |",
        "|---|---|---|---|---|---|---|---|",
        *map(_line, found),
        "",
        *_MEMORY,
    ]
    return "\n".join(lines) + "\n"


def _line(cost: Cost) -> str:
    p = cost.promise
    per = " a run" if p.runs > 1 else ""
    unit = "input gradient" if p.unit == "saliency" else p.unit
    unit = f"{p.units} {unit}s" if p.units > 1 else unit
    chosen = " ".join(f"{k}={v}" for k, v in p.settings.items())
    named = f"`{p.method}` {chosen}".strip()
    other = f"{cost.peer} {cost.peer_ms:.0f} ({cost.ms / cost.peer_ms:.2f})" if cost.peer else ""
    most = f"<= {p.most:g} {unit}" if p.units == 1 else f"<= {unit}"
    return (
        f"| {p.arch} | {named} | {most}{per} | {cost.unit_ms:.1f} | "
        f"{cost.ms:.0f} | {cost.ratio.median:.2f} ({cost.ratio.low:.2f} .. "
        f"{cost.ratio.high:.2f}) | {'yes' if cost.passed else '**no**'} | {other} |"
    )


_MEMORY = (
    "MobileNetV2's Recipro-CAM is missed: a run of a single input is 1.06 F already (F is at the",
    "best batch), the 49 rows of the last product, at the processor's peak, are 0.20, and what",
    "Python does about both is 0.2, a millisecond and a half. Its lrp-epsilon was 1.06 to 1.13 in",
    "ten runs: a ReLU6 that saturates needs the value before it, and the convolution is no longer",
    "fused with it; such nodes run as soon as they can, while these values are in the cache.",
    "",
    "Integrated gradients are below 50 input gradients, though they also run the input and the",
    "baseline for what is missed of the score: of large inputs on a CPU each step is run behind",
    "the model's first affine stretch (here the first convolution), and the mean gradient comes",
    "through it once. The same network without its gradient, for the scores, is held beside that.",
    "",
    "Memory does not grow with the number of runs: a batch of inputs is drawn, run and forgotten",
    "(at most `batch_size`, 8 unless it is said; on a CPU no more than 2 MB of inputs for each of",
    "its threads, and inputs of a quarter of a megabyte and more go one by one where a gradient",
    "is computed). A head runs on copies of the feature layer of 16 MB together, or on 8 of them.",
    "A stretch is left out where it ends in at most six times as many numbers as the input has,",
    "and the weights, which are then held twice, are at most 256 MB",
    "(`tests/compose/test_headed.py`, `tests/run/test_sampler.py`, `tests/run/test_straight.py`,",
    "`tests/run/test_together.py`).",
)
