"""What the project promises of its speed and size, and the check of each promise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import comparisons, runtimes
from bench.build import convert_cost
from bench.comparisons import Comparison, Settings
from bench.overhead import LIMIT_MS, overhead
from bench.subjects import Subject, export, from_file
from bench.timing import CLOCKS
from onnxcam.conversion import convert

TIME, NODES = "time / F", "nodes added / nodes"
BUILD, MEMORY = "seconds to build", "memory / file"
CHECKED = "memory with the check / file"
OVERHEAD = "ms beside session and preprocessing"
GROUPS = ("explained", "maps", "gradient", "convert", "openvino", "overhead")
_OTHER_METHODS = ("layercam", "hirescam", "gradcam++", "xgradcam")


@dataclass(frozen=True)
class Case:
    """A promise.

    Attributes:
        group: One of :data:`GROUPS`.
        arch: A network of tools/architectures.
        limits: The most that each quantity may be.
        method: Graph method, for "explained".
        classes: Classes explained at once: the top one, or the first so many.
        batches: Inputs per call.
    """

    group: str
    arch: str
    limits: dict[str, float]
    method: str = "gradcam"
    classes: int = 1
    batches: tuple[int, ...] = (1, 8)


@dataclass(frozen=True)
class Check:
    """A quantity that was measured, and its limit.

    Attributes:
        group: One of :data:`GROUPS`.
        subject: Name of the network.
        what: What was compared with plain inference, or done.
        batch: Inputs per call.
        quantity: :data:`TIME` and so on.
        value: The quantity; of :data:`TIME` the median ratio to plain inference F.
        limit: It must not exceed it.
        interval: Bootstrap interval of 95 %; None for what is counted.
        plain_ms: Median of plain inference; None where it does not matter.
    """

    group: str
    subject: str
    what: str
    batch: int
    quantity: str
    value: float
    limit: float
    interval: tuple[float, float] | None = None
    plain_ms: float | None = None

    @property
    def passed(self) -> bool:
        """Whether it keeps the limit."""
        return self.value <= self.limit


CASES = (
    *(Case("explained", arch, {TIME: limit}) for arch, limit in {
        "resnet50": 1.02, "efficientnet_b0": 1.02, "densenet121": 1.02, "mobilenet_v2": 1.03,
        "deit_s": 1.06, "vit_b": 1.06,
    }.items()),
    *(Case("explained", arch, {TIME: 1.05}, method)
      for arch in ("resnet50", "mobilenet_v2") for method in _OTHER_METHODS),
    Case("explained", "resnet50", {TIME: 1.05}, classes=10),
    Case("maps", "resnet50", {TIME: 1.02}),
    *(Case("gradient", arch, {TIME: limit, NODES: 4, **build}, batches=(1,))
      for arch, limit, build in (
          ("resnet50", 2.4, {BUILD: 2.0}), ("mobilenet_v2", 3.2, {}), ("efficientnet_b0", 3.5, {}),
          ("deit_s", 2.8, {}), ("vgg16", 2.6, {BUILD: 5.0, MEMORY: 2.5}),
      )),
    Case("convert", "vgg16", {MEMORY: 1.3, CHECKED: 2.2}, batches=(1,)),
    *(Case("openvino", arch, {TIME: 1.05}, batches=(1,))
      for arch in ("resnet50", "efficientnet_b0", "densenet121", "mobilenet_v2", "deit_s")),
    Case("overhead", "mobilenet_v2", {OVERHEAD: LIMIT_MS}, batches=(1,)),
)  # fmt: skip


def chosen(groups: Sequence[str], archs: Sequence[str], batches: Sequence[int]) -> list[Case]:
    """Return the cases of these groups, networks and batches; of all where none is named.

    Raises:
        UsageError: One of them needs an environment that is not there.
    """
    found = []
    for case in CASES:
        kept = tuple(b for b in case.batches if not batches or b in batches)
        if kept and case.group in (groups or GROUPS) and (not archs or case.arch in archs):
            found.append(Case(case.group, case.arch, case.limits, case.method, case.classes, kept))
    if any(case.group == "openvino" for case in found):
        runtimes.interpreter("openvino")
    return found


def checks(cases: Sequence[Case], settings: Settings) -> Iterator[Check]:
    """Yield what comes out, network by network; each is exported once."""
    for arch in dict.fromkeys(case.arch for case in cases):
        with TemporaryDirectory(prefix="bench-") as folder:
            path = export(arch, Path(folder), exporter="dynamo")
            for case in cases:
                if case.arch == arch:
                    for batch in case.batches:
                        yield from _checks(case, path, batch, settings)


def _checks(case: Case, path: Path, batch: int, settings: Settings) -> Iterator[Check]:
    if case.group == "convert":
        for what, quantity in (("convert --no-check", MEMORY), ("convert", CHECKED)):
            cost = convert_cost(path, check=quantity == CHECKED).peak_per_file
            yield Check("convert", case.arch, what, batch, quantity, cost, case.limits[quantity])
        return
    subject = from_file(path, batch=batch, dims={}, seed=settings.seed, name=case.arch)
    if case.group in _ELSEWHERE:
        yield _ELSEWHERE[case.group](case, subject, settings)
        return
    found = _compared(case, subject, settings)
    values = {TIME: found.ratio.median, NODES: found.emitted / found.nodes}
    if found.build is not None:
        values |= {BUILD: found.build.build_s, MEMORY: found.build.peak_per_file}
    for quantity, limit in case.limits.items():
        timed = quantity == TIME
        yield Check(
            case.group, case.arch, found.what, batch, quantity, values[quantity], limit,
            (found.ratio.low, found.ratio.high) if timed else None,
            found.plain_ms if timed else None,
        )  # fmt: skip


def _compared(case: Case, subject: Subject, settings: Settings) -> Comparison:
    if case.group == "gradient":
        cost = bool({BUILD, MEMORY} & case.limits.keys())
        return comparisons.gradient(subject, settings, cost=cost)
    if case.group == "maps":
        return comparisons.maps(subject, settings, (case.method, "layercam"))
    return comparisons.explained(subject, settings, method=case.method, classes=case.classes)


def _in_openvino(case: Case, subject: Subject, settings: Settings) -> Check:
    """Compare the explained file with the plain one in OpenVINO."""
    with TemporaryDirectory(prefix="bench-") as folder:
        explained = Path(folder) / "explained.onnx"
        convert(subject.path, explained, check=False)
        found = runtimes.paired(
            "openvino", subject.path, explained, subject.feeds,
            runs=settings.runs, warmup=settings.warmup, clock=settings.clock, seed=settings.seed,
        )  # fmt: skip
    (batch,) = case.batches
    return Check(
        case.group, case.arch, "explained model in OpenVINO", batch, TIME, found.ratio.median,
        case.limits[TIME], (found.ratio.low, found.ratio.high), found.plain_ms,
    )  # fmt: skip


def _beside_session(case: Case, subject: Subject, settings: Settings) -> Check:
    """Measure what Python takes in a warm explanation of one ready array."""
    (x,) = subject.feeds.values()
    found = overhead(
        subject.path, x, runs=settings.runs, warmup=settings.warmup, threads=settings.threads,
        clock=CLOCKS[settings.clock], seed=settings.seed,
    )  # fmt: skip
    (batch,) = case.batches
    return Check(
        case.group, case.arch, "warm onnxcam explain", batch, OVERHEAD, found.rest_ms,
        case.limits[OVERHEAD], found.interval,
    )  # fmt: skip


_ELSEWHERE = {"openvino": _in_openvino, "overhead": _beside_session}
