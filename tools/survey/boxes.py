"""A file of a detector: the map of its surest box, against hooks on the network it is made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from tables import verdicts
from tables.verdicts import REFUSED, RIGHT, WARNED, WRONG, one_line
from torch import Tensor, nn

import onnxcam
from onnxcam.errors import OnnxcamError
from onnxcam.targets import Box, Detection
from survey.tape import Array, Tape, record, relative

SCORE, MAP, PLACE = 1e-3, 1e-3, 1e-2
OVERLAP = 0.99  # of the library's own box and the one that is drawn
GUESSED = "a detector without a last function"  # of what makes probabilities of DETR's logits


@dataclass
class Found:
    """What was found of one file.

    A file holds what a network computes, not where its code cuts gradients off (``detach``), so
    the maps are compared with the network whose gradients pass everywhere: the derivative of what
    is computed. ``own`` and ``own_gradcam`` say how far those of the network as it is lie off that.

    Attributes:
        library: Whose network.
        name: Of the network.
        exporter: Who wrote the file.
        verdict: "right", "refused", "warned", "WRONG" (and nothing was said) or "not made".
        note: What is wrong, in words.
        layers: The feature layers, by the modules of the network.
        score: Relative distance of the box's score from the network's.
        map: Relative L2 distance of the default map from that of hooks on these modules.
        gradcam: The same of Grad-CAM, at its own default layer.
        kink: What noise of 1e-6 does to the network's own gradient, where a map is over 1e-3 off.
        detached: How many tensors the network's code detaches on the way.
        own: As ``map``, of the network with these; None where it has none.
        own_gradcam: As ``gradcam``, of the network with these.
        box: Whether the box is drawn where the library has it; "" where it has none to compare.
        said: What onnxcam warned of.
    """

    library: str
    name: str
    exporter: str
    verdict: str = RIGHT
    note: str = ""
    layers: list[str] = field(default_factory=list)
    score: float = math.nan
    map: float = math.nan
    gradcam: float = math.nan
    kink: float = math.nan
    detached: int = 0
    own: float = math.nan
    own_gradcam: float = math.nan
    box: str = ""
    said: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return verdicts.plain(asdict(self))


@dataclass(frozen=True)
class Reading:
    """How to read what a network returns.

    Attributes:
        score: Returns the score (a probability or a logit) of a row and a class.
        box: Returns left, top, right and bottom of a row in pixels; None where it says none.
    """

    score: Callable[[Any, int, int], Tensor]
    box: Callable[[Any, int], Array] | None = None


def examine(path: Path, net: nn.Module, x: Tensor, reading: Reading, row: Found) -> Found:
    """Fill in the row of a file."""
    try:
        _examine(path, net, x, reading, row)
    except OnnxcamError as error:
        row.verdict, row.note = REFUSED, one_line(error)
    except Exception as error:  # noqa: BLE001  # that is what is looked for
        row.verdict, row.note = WRONG, f"{type(error).__name__}: {one_line(error)}"
    row.note = row.note.replace(f"{path.parent}/", "")
    return row


def _examine(path: Path, net: nn.Module, x: Tensor, reading: Reading, row: Found) -> None:
    explain = onnxcam.Explainer(str(path), cache=False, threads=1, device="cpu")
    given = x.detach().float().numpy()
    said = explain(given, Detection())
    row.said = [*said.diagnosis]
    if explain(given, Box(said.detection.row)).detection.row != said.detection.row:
        _blame(row, "a box by its row is another one")
    other = onnxcam.Explainer(str(path), "gradcam", cache=False, threads=1, device="cpu")
    mean = other(given, Box(said.detection.row))
    shown = {
        "map": (explain.maps_of(Detection())[0], said.raw_map),
        "gradcam": (other.maps_of(Box(0))[0], mean.raw_map),
    }
    names = [c.name for planned, _ in shown.values() for c in planned.layers]
    values = _values(path, given, names, explain.input.name)
    tape = _recorded(net, x, attached=True)
    score = _score(tape.output, said, reading)
    if score is None:
        _blame(row, f"its score {said.score:.4g} is none of the network's")
        return
    row.score = abs(float(score.detach()) - said.score) / max(abs(said.score), 1e-6)
    tape.back(score)
    for name, (planned, raw) in shown.items():
        truth = _hooked(tape, planned, values, given.shape[2:], row)
        if truth is None:
            return
        setattr(row, name, relative(raw, truth))
    worst = max(row.map, row.gradcam)
    if worst > MAP:
        row.kink = _kink(net, x, reading, said, tape)
        if worst > 2 * row.kink:
            _blame(row, f"a map is {worst:.2g} off")
    row.detached = tape.detached
    if row.detached:
        _own(net, x, reading, said, shown, values, row)
    if reading.box is not None:
        _boxed(said, reading.box(tape.output, said.detection.row), row)


def _own(
    net: nn.Module, x: Tensor, reading: Reading, said: Any, shown: dict[str, Any],
    values: dict[str, Array], row: Found,
) -> None:  # fmt: skip
    """Compare with the network as it is, which detaches some tensors."""
    tape = _recorded(net, x)
    score = _score(tape.output, said, reading)
    assert score is not None  # it is the same number
    tape.back(score)
    for name, (planned, raw) in shown.items():
        truth = _hooked(tape, planned, values, tuple(x.shape[2:]), row)
        if truth is not None:
            setattr(row, {"map": "own", "gradcam": "own_gradcam"}[name], relative(raw, truth))


def _hooked(
    tape: Tape, planned: Any, values: dict[str, Array], size: tuple[int, ...], row: Found
) -> Array | None:
    """Return a map of the network's own activations and gradients; None where it has no such."""
    total: Array = np.zeros(size)
    for layer in planned.layers:
        match = tape.find(values[layer.name])
        if match is None:
            _blame(row, f"no tensor of the network has the values of {layer.name!r}")
            return None
        row.layers += [match.entry.module] if match.entry.module not in row.layers else []
        way = _WAYS[planned.method.name]
        part = np.maximum(_share(match.entry.tensor, match.order, layer.layout, way), 0)
        total = total + _large(part, total.shape) if planned.fuse else part
    return total


def _boxed(said: Any, own: Array, row: Found) -> None:
    """Compare the box that is drawn with the library's own."""
    drawn = said.detection.box
    if drawn is None:
        row.box = "none"
        return
    off = np.abs(np.array(drawn) - own).max() / max(np.abs(own).max(), 1)
    row.box = "same" if off <= PLACE else "other"
    if off > PLACE:
        _blame(row, f"the box is drawn at {[round(v) for v in drawn]}, not at {own.round()}")


def _recorded(net: nn.Module, x: Tensor, attached: bool = False) -> Tape:
    try:
        return record(net.double(), x.double(), attached)
    except (RuntimeError, TypeError, ValueError):
        return record(net.float(), x.float(), attached)


def _score(output: Any, said: Any, reading: Reading) -> Tensor | None:
    """Return the network's score of the box: as it returns it, or the logit of that."""
    p = reading.score(output, said.detection.row, said.detection.target)
    near = [p]
    if 0 < float(p.detach()) < 1:
        near.append(torch.log(p / (1 - p)))
    found = min(near, key=lambda s: abs(float(s.detach()) - said.score))
    off = abs(float(found.detach()) - said.score)
    return found if off <= SCORE * max(1.0, abs(said.score)) else None


def _share(
    tensor: Tensor, order: tuple[int, ...], layout: Any, way: Callable[[Array, Array], Array]
) -> Array:
    """Return the map [h, w] of one grid of a layer.

    Args:
        tensor: The network's, with its gradient.
        order: Its axes in the file's order.
        layout: What these are.
        way: Makes a map [...] of activations and gradients, both [..., C].
    """
    grad = tensor.grad if tensor.grad is not None else torch.zeros_like(tensor)
    both = [t.detach().permute(order).double().numpy()[0] for t in (tensor, grad)]
    a, g = (np.moveaxis(v, layout.channel - 1, -1) for v in both)
    if not layout.grid:
        map = way(a, g)
        return map if layout.axes.index("H") < layout.axes.index("W") else map.T
    cells = slice(layout.prefix or 0, (layout.prefix or 0) + layout.cells)
    return way(a[cells], g[cells]).reshape(layout.grid)


def _hirescam(a: Array, g: Array) -> Array:
    """Return A dy/dA summed over the channels."""
    return np.asarray((a * g).sum(-1))


def _gradcam(a: Array, g: Array) -> Array:
    """Return A summed over the channels, each weighed by its mean dy/dA."""
    return np.asarray(a @ g.mean(tuple(range(g.ndim - 1))))


_WAYS = {"hirescam": _hirescam, "gradcam": _gradcam}


def _large(share: Array, size: tuple[int, ...]) -> Array:
    small = torch.from_numpy(np.ascontiguousarray(share))[None, None]
    return np.asarray(torch.nn.functional.interpolate(small, size, mode="bilinear")[0, 0].numpy())


def _kink(net: nn.Module, x: Tensor, reading: Reading, said: Any, tape: Tape) -> float:
    """Return how far noise of 1e-6 moves the gradient of the input in torch itself."""
    truth, offs = tape.x.grad, [0.0]
    if truth is None:
        return 0.0
    for seed in range(3):
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
        other = _recorded(net, x + 1e-6 * noise, attached=True)
        score = _score(other.output, said, reading)
        if score is not None:
            other.back(score)
            grad = other.x.grad
            pair = [g.double().numpy() for g in (grad, truth) if g is not None]
            offs += [relative(*pair)] if len(pair) == 2 else []
    return max(offs)


def _values(path: Path, x: Array, names: list[str], input_name: str) -> dict[str, Array]:
    proto = onnx.load(str(path))
    have = {o.name for o in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in {*names} - have)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    wanted = [*dict.fromkeys(names)]
    return dict(zip(wanted, session.run(wanted, {input_name: x}), strict=True))


def _blame(row: Found, note: str) -> None:
    """Say what is wrong; the first thing counts, since others follow from it."""
    if row.verdict == RIGHT:
        told = [s for s in row.said if "no finding" not in s and GUESSED not in s]
        row.verdict, row.note = (WARNED if told else WRONG), note


def flat(output: Any) -> Iterator[Tensor]:
    """Yield the tensors that a network returns."""
    if isinstance(output, Tensor):
        yield output
    elif output is not None:
        for each in output.values() if isinstance(output, dict) else output:
            yield from flat(each)
