"""What is compared: plain inference with the explained model, or with the full input gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import onnx

from bench.build import BuildCost, build_cost, node_count
from bench.subjects import Feeds, Subject
from bench.timing import CLOCKS, Ratio, interleaved, milliseconds, ratio
from onnxcam import compose, methods
from onnxcam.analysis import layers
from onnxcam.autodiff import vjp_model
from onnxcam.errors import UsageError
from onnxcam.model.model import Port, load
from onnxcam.run.session import Device, Session


@dataclass(frozen=True)
class Settings:
    """How it is measured.

    Attributes:
        runs: Pairs of timed calls.
        warmup: Calls before.
        threads: Threads of ONNX Runtime, which do not spin.
        device: Where to run.
        clock: "wall" or "cpu" (the processor's time).
        seed: Of cotangents and of the bootstrap.
    """

    runs: int = 30
    warmup: int = 3
    threads: int = 1
    device: Device = "cpu"
    clock: str = "wall"
    seed: int = 0


@dataclass(frozen=True)
class Comparison:
    """What came out.

    Attributes:
        subject: Name of the model.
        what: What was compared with plain inference.
        detail: Names of the tensors that were chosen.
        provider: Where it ran.
        plain_ms: Median of plain inference.
        other_ms: Median of the other.
        ratio: other / plain.
        nodes: Nodes of the model as loaded, without constants.
        emitted: Nodes that were added.
        build: Cost of building; None where it was not measured.
        limit: The ratio must not exceed it; None: anything goes.
    """

    subject: str
    what: str
    detail: dict[str, str]
    provider: str
    plain_ms: float
    other_ms: float
    ratio: Ratio
    nodes: int
    emitted: int
    build: BuildCost | None = None
    limit: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the median keeps the limit."""
        return self.limit is None or self.ratio.median <= self.limit


def explained(
    subject: Subject,
    settings: Settings,
    *,
    method: str = "gradcam",
    classes: int = 1,
    feature_layer: str | None = None,
    upsampling: Literal["bicubic", "nearest", "none"] = "bicubic",
    limit: float | None = None,
) -> Comparison:
    """Compare the explained model, as `onnxcam convert` writes it, with the model as it is.

    Args:
        subject: The model.
        settings: How to measure.
        method: A graph method.
        classes: How many classes it explains at once; 1: the top class.
        feature_layer: Tensor that the map is made of; default onnxcam's own choice.
        upsampling: How the map comes to the input's size, in the graph.
        limit: See :class:`Comparison`.
    """
    catalog = layers.catalog(subject.model)
    chosen = methods.graph(method)
    feature = compose.default_feature(catalog, feature_layer, chosen)
    proto = compose.explain_graph(
        subject.model, catalog, chosen, feature=feature, upsampling=upsampling,
        targets=classes, default=None if classes == 1 else range(classes),
    ).proto  # fmt: skip
    detail = {"feature layer": feature.name, "reduction layer": catalog.reduction.name}
    what = method if classes == 1 else f"{method}, {classes} classes"
    return _compare(subject, settings, what, proto, subject.feeds, detail, None, limit)


def maps(subject: Subject, settings: Settings, names: Sequence[str]) -> Comparison:
    """Compare a model with the maps of several methods with one that has only the first's.

    Args:
        subject: The model.
        settings: How to measure.
        names: Graph methods.
    """
    catalog = layers.catalog(subject.model)
    chosen = [methods.find(name) for name in names]
    one, several = (
        compose.explain_graph(subject.model, catalog, found, upsampling="bicubic").proto
        for found in (chosen[:1], chosen)
    )
    with TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder) / "one.onnx"
        onnx.save(one, str(path))
        alone = Subject(subject.name, path, load(path), subject.feeds)
        what = f"{' + '.join(names)} / {names[0]}"
        return _compare(alone, settings, what, several, subject.feeds, {}, None, None)


def gradient(
    subject: Subject,
    settings: Settings,
    *,
    wrt: str | None = None,
    output: str | None = None,
    cost: bool = True,
    limit: float | None = None,
) -> Comparison:
    """Compare outputs and full gradient, of one call, with the model as it is.

    Args:
        subject: The model.
        settings: How to measure.
        wrt: Tensor to differentiate with respect to; default the first float input.
        output: Tensor that is differentiated; default the first float output.
        cost: Measure the building, too.
        limit: See :class:`Comparison`.
    """
    model = subject.model
    wrt = wrt or _first_float(model.inputs, "input")
    output = output or _first_float(model.outputs, "output")
    proto = vjp_model(model, [wrt], [output])
    feeds = {**subject.feeds, f"ct::{output}": _cotangent(subject, output, settings)}
    build = build_cost(subject.path, wrt, output) if cost else None
    detail = {"wrt": wrt, "output": output}
    return _compare(subject, settings, "gradient", proto, feeds, detail, build, limit)


def _compare(
    subject: Subject,
    settings: Settings,
    what: str,
    proto: onnx.ModelProto,
    feeds: Feeds,
    detail: dict[str, str],
    build: BuildCost | None,
    limit: float | None,
) -> Comparison:
    plain = _session(onnx.load(str(subject.path)), settings)
    other = _session(proto, settings)
    times = interleaved(
        _call(plain, subject.feeds), _call(other, feeds),
        runs=settings.runs, warmup=settings.warmup, clock=CLOCKS[settings.clock],
    )  # fmt: skip
    nodes = node_count(subject.model.proto)
    return Comparison(
        subject.name, what, detail, other.provider.name,
        milliseconds(times[0]), milliseconds(times[1]), ratio(*times, seed=settings.seed),
        nodes, node_count(proto) - nodes, build, limit,
    )  # fmt: skip


def _session(proto: onnx.ModelProto, settings: Settings) -> Session:
    return Session(proto, device=settings.device, threads=settings.threads)


def _call(session: Session, feeds: Feeds) -> Callable[[], Any]:
    return lambda: session.run(feeds)


def _cotangent(subject: Subject, output: str, settings: Settings) -> np.ndarray[Any, Any]:
    """Return normal random numbers in the shape of an output."""
    if output not in {p.name for p in subject.model.outputs}:
        raise UsageError(f"{output!r} is no output of the model", "`onnxcam layers` lists them")
    session = Session(subject.model.proto, device="cpu", threads=settings.threads)
    (y,) = session.run(subject.feeds, [output])
    random = np.random.default_rng(settings.seed)
    return random.standard_normal(y.shape).astype(y.dtype)


def _first_float(ports: tuple[Port, ...], kind: str) -> str:
    for port in ports:
        if port.dtype is not None and port.dtype.kind == "f":
            return port.name
    raise UsageError(f"the model has no float {kind}", "name a tensor")
