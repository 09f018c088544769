"""One exported file: what onnxcam says of it, against the network that it was made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from tables import verdicts
from tables.verdicts import REFUSED, RIGHT, WARNED, WRONG, one_line

import onnxcam
from onnxcam.autodiff import vjp_model
from onnxcam.errors import OnnxcamError
from survey.costs import measured
from survey.expert import Expert
from survey.tape import Array, Tape, relative

SCORE, GRADIENT, MAP, PLACE = 1e-3, 1e-3, 1e-3, 0.98


@dataclass
class Row:
    """What was found of one file.

    Attributes:
        library: Whose network.
        name: Of the network.
        exporter: Who wrote the file.
        verdict: "right", "refused", "warned", "WRONG" (and nothing was said) or "not made".
        kind: Of what is wrong: load, score, layers, gradient, layout, convert or raw.
        note: What it is, in words.
        feature: The default feature layer.
        module: The network's module that makes the same tensor.
        shape: Of the feature layer.
        score: Relative L2 distance of the scores from the network's.
        input_gradient: That of the gradient with respect to the input from float64 autograd.
        gradient: That of the gradient with respect to the feature layer.
        map: That of Grad-CAM from hooks on the module.
        cost: Explained / plain, processor time on one thread; None below ``SLOW`` seconds.
        said: What onnxcam warned of.
    """

    library: str
    name: str
    exporter: str
    verdict: str = RIGHT
    kind: str = ""
    note: str = ""
    feature: str = ""
    module: str = ""
    shape: list[int] = field(default_factory=list)
    score: float = math.nan
    input_gradient: float = math.nan
    gradient: float = math.nan
    map: float = math.nan
    cost: float | None = None
    milliseconds: float = math.nan
    said: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return verdicts.plain(asdict(self))


def examine(path: Path, tape: Tape, expert: Expert, row: Row, *, cost: bool = True) -> Row:
    """Fill in the row of a file.

    Args:
        path: The file.
        tape: What the network did with the input.
        expert: What somebody who knows the network expects.
        row: To fill in.
        cost: Measure what an explanation costs.
    """
    try:
        _examine(path, tape, expert, row, cost)
    except OnnxcamError as error:
        row.verdict, row.note = REFUSED, one_line(error)
    except Exception as error:  # noqa: BLE001  # that is what is looked for
        row.verdict, row.kind = WRONG, "raw"
        row.note = f"{type(error).__name__}: {one_line(error)}"
    row.note = row.note.replace(f"{path.parent}/", "")
    return row


def _examine(path: Path, tape: Tape, expert: Expert, row: Row, cost: bool) -> None:
    x = tape.x.detach().float().numpy()
    explain = onnxcam.Explainer(str(path), cache=False, threads=1, upsampling="none")
    catalog = explain.catalog
    row.feature = explain.feature.name if explain.feature else ""
    target = expert.target
    said = explain(x, target=target)
    row.said = [*said.diagnosis, *_warnings(catalog.feature_reason)]
    conversion = onnxcam.convert(
        str(path), target=target, expose=["feature", "gradient", "score"], upsampling="none",
        check=False,  # the file as people have it is checked below
    )  # fmt: skip
    outputs = _run(conversion.proto, {explain.input.name: x})
    _compare(outputs, said, tape, expert, row)
    slope = _input_gradient(path, explain, x, target)
    if slope is not None and tape.x.grad is not None:
        row.input_gradient = relative(slope, tape.x.grad.double().numpy())
        off, classes = row.input_gradient, len(outputs["onnxcam.score"][0])
        if off > GRADIENT and off > 2 * expert.rounding(classes)[0]:
            _blame(row, "gradient", f"of the input is {row.input_gradient:.2g} off")
    _converted(path, explain, x, target, said.raw_map, expert, row, cost)


def _compare(outputs: dict[str, Array], said: Any, tape: Tape, expert: Expert, row: Row) -> None:
    scores = outputs["onnxcam.score"][0]
    score, row.score = expert.score(scores)
    if score is None or row.score > SCORE:
        _blame(row, "score", f"its {scores.shape} scores are none of the network's")
        return
    tape.back(score)
    feature, gradient = outputs["onnxcam.feature"], outputs["onnxcam.gradient"][:, 0]
    row.shape = list(feature.shape)
    match = tape.find(feature, gradient)
    if match is None:
        _blame(row, "layers", "no tensor of the network has the feature layer's values")
        return
    row.module, row.gradient = match.entry.module, match.gradient
    kink: Callable[[], tuple[float, ...]] = cache(lambda: expert.rounding(len(scores), match))
    if row.gradient > GRADIENT and row.gradient > 2 * kink()[1]:
        _blame(row, "gradient", f"of the feature layer is {row.gradient:.2g} off")
    problem = expert.objection(match)
    if problem:
        _blame(row, "layers", problem)
    truth = expert.grad_cam(match)
    if truth is None:
        _blame(row, "layout", f"no map can be made of {tuple(match.entry.tensor.shape)}")
        return
    if said.raw_map.shape != truth.shape:
        _blame(row, "layout", f"a map of {said.raw_map.shape}, not {truth.shape}")
        return
    row.map = relative(said.raw_map, truth)
    if row.map > MAP and row.map > 2 * kink()[2]:
        _blame(row, "layout", f"the map is {row.map:.2g} off")


def _converted(
    path: Path, explain: Any, x: Array, target: int, raw: Array, expert: Expert, row: Row,
    cost: bool,
) -> None:  # fmt: skip
    conversion = onnxcam.convert(str(path), target=target, sample=x)
    feeds = {explain.input.name: x}
    plain, explained = _run(onnx.load(str(path)), feeds), _run(conversion.proto, feeds)
    for name, value in plain.items():
        off = relative(explained[name], value)
        if off > 1e-4:
            _blame(row, "convert", f"output {name!r} is {off:.2g} off")
    placed = explained["onnxcam.map"][0, 0]
    if placed.shape != expert.space:
        _blame(row, "layout", f"the placed map is {placed.shape}, the input {expert.space}")
    elif _likeness(placed, raw) < PLACE:
        _blame(row, "layout", f"the placed map is like the map by {_likeness(placed, raw):.2f}")
    if cost:
        one, two = _session(str(path)), _session(conversion.proto.SerializeToString())
        row.milliseconds, row.cost = measured(one, two, feeds)


def _input_gradient(path: Path, explain: Any, x: Array, target: int) -> Array | None:
    name, reduction = explain.input.name, explain.catalog.reduction
    model = vjp_model(onnx.load(str(path)), [name], [reduction.name])
    values = _run_named(model, {name: x}, reduction.name)
    ct = np.zeros_like(values)
    axis: list[Any] = [slice(None)] * ct.ndim
    axis[reduction.class_axis] = target
    ct[tuple(axis)] = 1
    found = _run(model, {name: x, f"ct::{reduction.name}": ct})
    return found[f"grad::{name}"]


def _run_named(model: onnx.ModelProto, feeds: dict[str, Array], name: str) -> Array:
    """Return a tensor of a gradient model, whose cotangent need not be right."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if all(o.name != name for o in copy.graph.output):
        copy.graph.output.append(onnx.ValueInfoProto(name=name))
    keep = [o for o in copy.graph.output if o.name == name]
    del copy.graph.output[:]
    copy.graph.output.extend(keep)
    kept = [i for i in copy.graph.input if not i.name.startswith("ct::")]
    inner = onnx.utils.Extractor(copy).extract_model([i.name for i in kept], [name])
    return _run(inner, feeds)[name]


def _session(model: str | bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _run(model: onnx.ModelProto, feeds: dict[str, Array]) -> dict[str, Array]:
    session = _session(model.SerializeToString())
    wanted = [o.name for o in session.get_outputs()]
    known = {i.name for i in session.get_inputs()}
    values = session.run(wanted, {k: v for k, v in feeds.items() if k in known})
    return dict(zip(wanted, values, strict=True))


def _likeness(placed: Array, raw: Array) -> float:
    """Return the correlation of a placed map with the raw one, laid over the input by torch."""
    mode = {1: "linear", 2: "bicubic", 3: "trilinear"}[raw.ndim]
    small = torch.from_numpy(np.asarray(raw, np.float32))[None, None]
    large = torch.nn.functional.interpolate(small, placed.shape, mode=mode).numpy()[0, 0]
    if not large.std() or not placed.std():
        return float(np.allclose(large, placed, atol=1e-5))
    return float(np.corrcoef(large.ravel(), placed.ravel())[0, 1])


def _warnings(reason: str) -> list[str]:
    words = ("nothing is known", "could not be read", "unread", "warning")
    return [reason] if any(w in reason for w in words) else []


def _blame(row: Row, kind: str, note: str) -> None:
    """Say what is wrong; the first thing counts, since others follow from it."""
    if row.verdict == RIGHT:
        told = any("all negative" not in s for s in row.said)  # that is no warning of a mistake
        row.verdict = WARNED if told else WRONG
        row.kind, row.note = kind, note
