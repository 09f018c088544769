"""A map lies where its pixels came from, whatever the graph does with them before its layers.

A bright block is put into the input of a net whose only convolution looks at single pixels: the map
is positive there and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from support import nets

import onnxcam
from onnxcam.run.session import Session


@dataclass(frozen=True)
class Kind:
    """A way in which a graph takes its input.

    Attributes:
        shape: The input's.
        moves: Operators before the convolution: name, attributes, value of a second input.
        place: Where the bright block lies in the input.
        kernel: Of the convolution.
        axes: The axes whose mean is taken behind it.
        after: What the pooled tensor is reshaped to, and the axes whose mean is taken then.
        map: The axes of the input that the map has; None where ``extent`` says its shape.
        extent: The map's shape, where the input is flattened.
    """

    shape: list[Any]
    moves: list[tuple[str, dict[str, Any], Any]]
    place: tuple[Any, ...]
    kernel: tuple[int, ...] = (1, 1)
    axes: list[int] = field(default_factory=lambda: [2, 3])
    after: tuple[list[int], list[int]] | None = None
    map: tuple[int, ...] | None = (2, 3)
    extent: tuple[int, ...] = ()


def _turn(*perm: int) -> tuple[str, dict[str, Any], Any]:
    return "Transpose", {"perm": list(perm)}, None


def _cut(*shape: int) -> tuple[str, dict[str, Any], Any]:
    return "Reshape", {}, np.array(shape)


BLOCK = (..., slice(4, 8), slice(8, 16))
PLANES = np.zeros((1, 2, 8, 24), "f4")
KINDS = {
    "plain": Kind(["N", 3, 8, 24], [], BLOCK),
    "channels last": Kind(
        ["N", 8, 24, 3], [_turn(0, 3, 1, 2)], (..., slice(4, 8), slice(8, 16), slice(None)),
        map=(1, 2),
    ),
    "swapped": Kind(["N", 3, 8, 24], [_turn(0, 1, 3, 2)], BLOCK),
    "swapped and last": Kind(
        ["N", 8, 24, 3], [_turn(0, 3, 2, 1)], (..., slice(4, 8), slice(8, 16), slice(None)),
        map=(1, 2),
    ),
    "with planes": Kind([1, 3, 8, 24], [("Concat", {"axis": 1}, PLANES)], BLOCK),
    "cells as channels": Kind(
        ["N", 3, 8, 24],
        [_cut(0, 3, 2, 4, 6, 4), _turn(0, 3, 5, 1, 2, 4), _cut(0, 48, 2, 6)],
        BLOCK,
    ),
    "cells as channels, fixed": Kind(
        [1, 3, 8, 24],
        [_cut(1, 3, 2, 4, 6, 4), _turn(0, 1, 3, 5, 2, 4), _cut(1, 48, 2, 6)],
        BLOCK,
    ),
    "flat": Kind(["N", 192], [_cut(-1, 1, 8, 24)], BLOCK, map=None, extent=(8, 24)),
    "flat colours": Kind(["N", 576], [_cut(-1, 3, 8, 24)], BLOCK, map=None, extent=(8, 24)),
    "flat colours last": Kind(
        ["N", 576], [_cut(-1, 8, 24, 3), _turn(0, 3, 1, 2)],
        (slice(None), slice(4, 8), slice(8, 16)), map=None, extent=(8, 24),
    ),
    "flat patches": Kind(
        ["N", 576], [_cut(-1, 3, 2, 4, 6, 4), _turn(0, 2, 4, 1, 3, 5), _cut(-1, 3, 4, 4)],
        BLOCK, (4, 4), after=([-1, 12, 5], [1]), map=None, extent=(8, 24),
    ),
    "frames": Kind(
        ["N", 5, 3, 8, 24], [_cut(-1, 3, 8, 24)], (slice(None), slice(1, 3), *BLOCK),
        after=([-1, 5, 5], [1]), map=(1, 3, 4),
    ),
    "frames, one clip": Kind(
        [1, 5, 3, 8, 24], [_cut(5, 3, 8, 24)], (slice(None), slice(1, 3), *BLOCK),
        after=([1, 5, 5], [1]), map=(1, 3, 4),
    ),
    "grey frames": Kind(
        ["N", 5, 8, 24], [_cut(-1, 1, 8, 24)], BLOCK, after=([-1, 5, 5], [1]),
    ),
    "tiles": Kind(
        ["N", 3, 8, 24], [_cut(0, 3, 2, 4, 3, 8), _turn(0, 2, 4, 1, 3, 5), _cut(-1, 3, 4, 8)],
        BLOCK, after=([-1, 6, 5], [1]),
    ),
    "tiles, pooled": Kind(
        ["N", 3, 8, 24],
        [_cut(0, 3, 2, 4, 3, 8), _turn(0, 2, 4, 1, 3, 5), _cut(-1, 3, 4, 8),
         ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}, None)],
        BLOCK, after=([-1, 6, 5], [1]),
    ),
    "patches": Kind(
        ["N", 3, 8, 24], [_cut(0, 3, 2, 4, 6, 4), _turn(0, 2, 4, 1, 3, 5), _cut(-1, 3, 4, 4)],
        BLOCK, (4, 4), after=([-1, 12, 5], [1]),
    ),
    "channels one by one": Kind(
        ["N", 3, 24], [_cut(-1, 1, 24)], (..., slice(8, 16)), (1,), [2],
        after=([-1, 15], []), map=(2,),
    ),
    "a signal as a picture": Kind(
        ["N", 24], [_cut(-1, 1, 24, 1)], (..., slice(8, 16)), map=(1,),
    ),
    "a signal as a row": Kind(
        ["N", 1, 24], [("Unsqueeze", {}, np.array([2]))], (..., slice(8, 16)), map=(2,),
    ),
    "no batch": Kind([3, 8, 24], [("Unsqueeze", {}, np.array([0]))], BLOCK, map=(1, 2)),
    "a batch taken off": Kind(
        [1, 3, 8, 24], [("Gather", {"axis": 0}, np.array(0)), ("Unsqueeze", {}, np.array([0]))],
        BLOCK,
    ),
}  # fmt: skip


def _model(kind: Kind) -> Any:
    rng = np.random.default_rng(0)
    nodes, weights, last = [], {}, "x"
    for i, (op, attributes, value) in enumerate(kind.moves):
        inputs = [last] if value is None else [last, f"v{i}"]
        weights.update({} if value is None else {f"v{i}": value})
        last = f"t{i}"
        nodes.append(helper.make_node(op, inputs, [last], **attributes))
    channels = _channels(kind)
    weights["k"] = rng.uniform(0.5, 1, (5, channels, *kind.kernel)).astype("f4")
    weights["pool"] = np.array(kind.axes)
    nodes += [
        helper.make_node("Conv", [last, "k"], ["z"], strides=list(kind.kernel)),
        helper.make_node("Relu", ["z"], ["a"]),
        helper.make_node("ReduceMean", ["a", "pool"], ["p"], keepdims=0),
    ]
    last = "p"
    if kind.after is not None:
        weights.update({"shape": np.array(kind.after[0]), "rest": np.array(kind.after[1])})
        nodes.append(helper.make_node("Reshape", ["p", "shape"], ["r"]))
        last = "r"
        if kind.after[1]:
            nodes.append(helper.make_node("ReduceMean", ["r", "rest"], ["m"], keepdims=0))
            last = "m"
    rows = 15 if kind.after is not None and not kind.after[1] else 5
    weights["w"] = rng.uniform(0.5, 1, (rows, 2)).astype("f4")
    nodes.append(helper.make_node("MatMul", [last, "w"], ["y"]))
    batch = kind.shape[0] if kind.shape[0] in ("N", 1) else 1
    return nets.model(nodes, {"x": kind.shape}, {"y": [batch, 2]}, weights)


def _channels(kind: Kind) -> int:
    shape = next((v for op, _, v in reversed(kind.moves) if op == "Reshape"), None)
    if shape is not None and kind.moves[-1][0] == "Transpose":
        return int(shape[kind.moves[-1][1]["perm"][1]])
    if shape is not None:
        return int(shape[1])
    turn = next((a["perm"] for op, a, _ in kind.moves if op == "Transpose"), None)
    if turn is not None:
        return int(kind.shape[turn[1]])
    if any(op == "Concat" for op, _, _ in kind.moves):
        return 5
    return int(kind.shape[0] if len(kind.shape) == 3 and kind.shape[0] != "N" else kind.shape[1])


@pytest.mark.parametrize("name", KINDS)
def test_the_map_is_where_the_block_is(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    shape = [1 if d == "N" else d for d in kind.shape]
    picture = np.zeros([1, *kind.extent] if kind.map is None else shape, "f4")
    if kind.map is None and shape[1] == 576:
        last = name.endswith("last")
        picture = np.zeros([1, *kind.extent, 3] if last else [1, 3, *kind.extent], "f4")
    picture[kind.place] = 1
    model = _model(kind)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    x = picture.reshape(shape)
    found = onnxcam.Explainer(str(path), upsampling="nearest", cache=False)(x, target=0)
    keep = kind.map
    if keep is None:
        keep = (1, 2) if picture.ndim == 3 or picture.shape[-1] == 3 else (2, 3)
    rest = tuple(i for i in range(picture.ndim) if i not in keep)
    bright = picture.max(rest) > 0
    assert found.map.shape == bright.shape
    np.testing.assert_array_equal(found.map > 0, bright)
    out = tmp_path / "out.onnx"
    onnxcam.convert(str(path), str(out), upsampling="nearest", target=0)
    (map_,) = Session(onnxcam.load(str(out))).run({"x": x}, ["onnxcam.map"])
    np.testing.assert_allclose(map_[0, 0], found.map, rtol=1e-4, atol=1e-7)
