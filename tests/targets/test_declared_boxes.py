"""Decodings that a file leaves to its user and that are declared: read, held, refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from support import detector_nets as dets

from onnxcam import Explainer, convert
from onnxcam.analysis.detectors.anchors import read_anchors
from onnxcam.errors import UsageError
from onnxcam.inputs import InputSpec
from onnxcam.targets import Box, Detection

Array = np.ndarray
X = np.random.default_rng(0).normal(size=(2, 1, 3, dets.SIDE, dets.SIDE)).astype("f4")
CELLS, SIDE = dets.CELLS, dets.SIDE
PAIRS = [[[6.0, 8.0], [9.0, 5.0]], [[14.0, 12.0], [10.0, 20.0]]]  # of a cell, for each scale
SIGMOID: Callable[[Array], Array] = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731


def raw(anchors: int = 1, numbers: int = 4) -> onnx.ModelProto:
    """Heads as their convolutions leave them: logits, and numbers that are nearly nothing."""
    twin = dets.Twin(21, anchors=anchors)
    for name, channels in (("cls", dets.CLASSES), ("reg", numbers)):
        twin.add("Identity", [twin.joined(name, channels)], f"{name}s")
    for level in (0, 1):
        twin.weights[f"reg{level}.w"] *= 0.3
        twin.weights[f"reg{level}.b"] *= 0.3
    a = CELLS * anchors
    return twin.model({"clss": ["N", a, dets.CLASSES], "regs": ["N", a, numbers]})


def cells(anchors: int = 1) -> tuple[Array, Array, Array]:
    """Middle x, y [A, 2], stride [A, 1] and anchor w, h [A, 2] of every position."""
    middle, stride = dets.points()
    which = [0] * 64 + [1] * 16
    pairs = np.concatenate([np.array(PAIRS[w])[:anchors] for w in which])
    return (
        np.repeat(middle[:, :2].astype(float), anchors, 0),
        np.repeat(stride.astype(float), anchors, 0), pairs,
    )  # fmt: skip


def around(middle: Array, size: Array) -> Array:
    return np.concatenate([middle - size / 2, middle + size / 2], 1)


def run(proto: onnx.ModelProto, x: Array) -> tuple[Array, Array]:
    import onnxruntime as ort

    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    cls, reg = session.run(["clss", "regs"], {"x": x})
    return cls[0].astype(float), reg[0].astype(float)


def priors() -> Array:
    middle, _, pairs = cells(2)
    return np.concatenate([middle, pairs], 1)


def _deltas(t: Array) -> Array:
    middle, _, wide = cells(2)
    return around(middle + 0.1 * t[:, :2] * wide, wide * np.exp(0.2 * t[:, 2:]))


def _yolov3(t: Array) -> Array:
    middle, step, wide = cells(2)
    return around(middle - step / 2 + SIGMOID(t[:, :2]) * step, wide * np.exp(t[:, 2:]))


def _yolov5(t: Array) -> Array:
    middle, step, wide = cells(2)
    place = (2 * SIGMOID(t[:, :2]) - 0.5) * step + middle - step / 2
    return around(place, (2 * SIGMOID(t[:, 2:])) ** 2 * wide)


def _yolox(t: Array) -> Array:
    middle, step, _ = cells()
    return around(middle - step / 2 + t[:, :2] * step, np.exp(t[:, 2:]) * step)


def _fastest(t: Array) -> Array:
    middle, step, _ = cells()
    return around(middle - step / 2 + np.tanh(t[:, :2]) * step, SIGMOID(t[:, 2:]) * SIDE)


def _mtcnn(t: Array) -> Array:
    middle, _, wide = cells(2)
    return around(middle, wide) + t * np.concatenate([wide, wide], 1)


def _fcos(t: Array) -> Array:
    middle, step, _ = cells()
    return np.concatenate([middle, middle], 1) + np.exp(t) * step * np.array([-1, -1, 1, 1])


def _nanodet(t: Array) -> Array:
    middle, step, _ = cells()
    power = np.exp(t.reshape(-1, 4, 8))
    mean = (power / power.sum(2, keepdims=True)) @ np.arange(8)
    return np.concatenate([middle, middle], 1) + mean * step * np.array([-1, -1, 1, 1])


WAYS: dict[str, tuple[dict[str, Any], Callable[[Array], Array], int]] = {
    "ssd, a file": ({"format": "deltas", "anchors": "priors.npy", "variances": [0.1, 0.2]},
                    _deltas, 2),
    "ssd, by cells": ({"format": "deltas", "anchors": PAIRS, "variances": [0.1, 0.1, 0.2, 0.2]},
                      _deltas, 2),
    "ssd, edges in parts": ({"format": "deltas", "anchors": "edges.csv", "anchor_format": "xyxy",
                             "variances": ["0.1", "0.1", "0.2", "0.2"]}, _deltas, 2),
    "yolov3": ({"format": "yolov3", "anchors": [[6, 8, 9, 5], [14, 12, 10, 20]]}, _yolov3, 2),
    "yolov5": ({"format": "yolov5", "anchors": [[6, 8, 9, 5], [14, 12, 10, 20]]}, _yolov5, 2),
    "yolox": ({"format": "yolox"}, _yolox, 1),
    "fastestdet": ({"format": "fastestdet"}, _fastest, 1),
    "mtcnn": ({"format": "edge-deltas", "anchors": PAIRS}, _mtcnn, 2),
    "fcos": ({"format": "ltrb", "unit": "cells", "activation": "exp"}, _fcos, 1),
    "nanodet": ({"format": "ltrb", "unit": "cells", "bins": 8}, _nanodet, 1),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    np.save(tmp_path / "priors.npy", priors())
    edges = around(priors()[:, :2], priors()[:, 2:]) / SIDE
    np.savetxt(tmp_path / "edges.csv", edges, delimiter=",")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _with(said: dict[str, Any]) -> dict[str, Any]:
    return {"scores": "clss", "boxes": "regs", "final": "Sigmoid", **said}


@pytest.mark.parametrize("name", WAYS)
def test_a_declared_decoding_is_the_familys(name: str, folder: Path) -> None:
    said, decode, anchors = WAYS[name]
    proto = raw(anchors, 4 * said.get("bins", 1))
    explain = Explainer(proto, device="cpu", threads=1, cache=False, detector=_with(said))
    (planned,) = explain.maps_of(Detection())
    assert [c.name for c in planned.layers] == ["p3", "p4"]
    for x in X:
        logits, numbers = run(proto, x)
        boxes, sure = decode(numbers), SIGMOID(logits)
        row, cls = (int(i) for i in np.unravel_index(sure.argmax(), sure.shape))
        one = explain(x, Detection())
        assert (one.detection.row, one.detection.target) == (row, cls)
        np.testing.assert_allclose(one.detection.box, boxes[row], rtol=1e-3, atol=1e-2)
        other = int(np.argsort(sure.max(1))[-7])
        shared = np.array([_iou(b, boxes[other]) for b in boxes]) * sure.max(1)
        found = explain(x, Box(box=boxes[other])).detection
        assert shared[found.row] >= shared.max() - 1e-4
        assert one.score == pytest.approx(logits[row, cls], rel=1e-3)


@pytest.mark.parametrize("name", ["ssd, a file", "yolov5", "nanodet", "fastestdet"])
def test_a_file_decodes_alike(name: str, folder: Path) -> None:
    import onnxruntime as ort

    said, _, anchors = WAYS[name]
    proto = raw(anchors, 4 * said.get("bins", 1))
    place = Box(box=(4, 6, 20, 24))
    made = convert(proto, target=place, detector=_with(said), sample=X[0])
    assert made.check is not None and made.check.problems == ()
    session = ort.InferenceSession(made.proto.SerializeToString())
    (map,) = session.run(["onnxcam.map"], {"x": X[0]})
    one = Explainer(proto, device="cpu", threads=1, cache=False, detector=_with(said))(X[0], place)
    np.testing.assert_allclose(map[0, 0], one.map, rtol=1e-3, atol=1e-5)


def test_sizes_and_ratios_make_anchors_as_torchvision_does(folder: Path) -> None:
    from onnxcam.analysis.detectors.anchors import anchored, generated
    from onnxcam.analysis.detectors.coding import Coding
    from onnxcam.analysis.detectors.records import Scale

    made = anchored(
        Coding(generated([[16, 32], [64, 80]], [0.5, 1.0], 0.0)),
        (Scale((2, 2), 4, None), Scale((1, 1), 4, None)), (32, 32), 20,
    )  # fmt: skip
    assert made is not None
    # torchvision: of a ratio height / width every size, the middle in the corner of the cell
    np.testing.assert_allclose(made[0], [0, 0, 16 * 2**0.5, 16 / 2**0.5])
    np.testing.assert_allclose(made[1], [0, 0, 32 * 2**0.5, 32 / 2**0.5])
    np.testing.assert_allclose(made[4], [16, 0, 16 * 2**0.5, 16 / 2**0.5])
    np.testing.assert_allclose(made[-1], [0, 0, 80, 80])


def test_heads_whose_axis_holds_the_boxes_of_a_cell() -> None:
    """[N, boxes * C, h, w] of each scale, as RetinaNet's convolutions leave it."""
    twin, outputs = dets.Twin(22, anchors=2), {}
    for level, stride in enumerate(dets.STRIDES):
        side = SIDE // stride
        for name, rows in (("cls", 3), ("reg", 4)):
            twin.add("Identity", [twin.scale(level, name, rows)], f"{name}_{level}")
            outputs[f"{name}_{level}"] = ["N", 2 * rows, side, side]
        twin.weights[f"reg{level}.w"] *= 0.3
    proto = twin.model(outputs)
    said = {"scores": ["cls_0", "cls_1"], "boxes": ["reg_0", "reg_1"], "each": 2,
            "final": "Sigmoid", "format": "deltas", "anchors": PAIRS}  # fmt: skip
    explain = Explainer(proto, device="cpu", threads=1, cache=False, detector=said)
    one = explain(X[0], Detection())
    import onnxruntime as ort

    session = ort.InferenceSession(proto.SerializeToString())
    found = dict(zip(outputs, session.run(list(outputs), {"x": X[0]}), strict=True))

    def flat(name: str, rows: int) -> Array:
        parts = [found[f"{name}_{i}"][0].reshape(2, rows, -1).transpose(2, 0, 1) for i in (0, 1)]
        return np.concatenate([p.reshape(-1, rows) for p in parts]).astype(float)

    logits, numbers = flat("cls", 3), flat("reg", 4)
    row, cls = (int(i) for i in np.unravel_index(logits.argmax(), logits.shape))
    middle, _, wide = cells(2)
    boxes = around(middle + numbers[:, :2] * wide, wide * np.exp(numbers[:, 2:]))
    assert (one.detection.row, one.detection.target) == (row, cls)
    np.testing.assert_allclose(one.detection.box, boxes[row], rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"format": "deltas"}, "counted from anchors, and `detector` gives none"),
        ({"format": "deltas", "anchors": priors()[:9]}, r"gives 9 anchors \(\[9, 4\]\), .*160"),
        ({"format": "deltas", "anchors": PAIRS[:1]}, r"for 1 scales, .* 2 \(8 x 8, 4 x 4\)"),
        ({"format": "deltas", "anchors": [PAIRS[0][:1], PAIRS[1]]}, r"8\*8\*1 \+ 4\*4\*2"),
        ({"format": "deltas", "anchors": "nowhere.npy"}, "no anchors can be read"),
        ({"format": "deltas", "anchors": "nowhere"}, "no tensor of that name"),
        ({"format": "deltas", "anchors": [["a", "b"]]}, "which are none"),
        ({"format": "deltas", "anchors": -priors()}, "do not lie in the input, 32 x 32"),
        ({"format": "deltas", "anchors": PAIRS, "variances": [1, 2, 3]}, "variances"),
        ({"format": "deltas", "anchors": PAIRS, "order": [0, 1, 1, 2]}, "order"),
        ({"format": "ltrb", "activation": "cosh"}, "the activation 'cosh'"),
        ({"format": "ltrb", "bins": 8}, r"row 31 of axis 2 of 'regs'"),
        ({"format": "xyxy", "unit": "pixels"}, r"do not lie along the grid \(8 x 8, 4 x 4\)"),
        ({"format": "cxcywh", "unit": "normalised"}, "do not lie along the grid"),
        ({"format": "deltas", "anchors": PAIRS, "each": 2}, "has 2 boxes"),
    ],
)  # fmt: skip
def test_what_does_not_fit_grid_or_run_is_refused(said: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        explain = Explainer(raw(2), device="cpu", threads=1, cache=False, detector=_with(said))
        explain(X[0], Detection())


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.npy", b"", "is empty"),
        ("a.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', ", "(damaged|array)"),
        ("a.json", b"[[1, 2", "is not JSON"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.txt", b"\xff\xfe1 2 3 4", "not text in UTF-8"),
        ("a.csv", b"1,2,3,four", "four"),
    ],
)
def test_a_damaged_file_of_anchors_is_refused(
    folder: Path, name: str, data: bytes, said: str
) -> None:
    (folder / name).write_bytes(data)
    with pytest.raises(UsageError, match=f"no anchors can be read.*{said}"):
        read_anchors(str(folder / name), "cxcywh", 0.5)


def test_a_pipe_of_anchors_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "a.txt")
    with pytest.raises(UsageError, match="no anchors can be read"):
        read_anchors(folder / "a.txt", "cxcywh", 0.5)


def test_it_is_declared_beside_the_model_and_from_the_shell(folder: Path) -> None:
    from onnxcam.cli.wanted import declared

    onnx.save(raw(2), folder / "net.onnx")
    toml = """[detector]
scores = "clss"
boxes = "regs"
final = "Sigmoid"
format = "deltas"
anchors = "priors.npy"
variances = [0.1, 0.1, 0.2, 0.2]
"""
    (folder / "net.toml").write_text(toml)
    pairs = ["scores=clss", "boxes=regs", "final=Sigmoid", "format=deltas", "anchors=priors.npy",
             "variances=0.1,0.1,0.2,0.2"]  # fmt: skip
    beside = Explainer(folder / "net.onnx", device="cpu", threads=1, cache=False)
    shell = Explainer(raw(2), device="cpu", threads=1, cache=False, detector=declared(pairs))
    one, other = beside(X[0], Detection()), shell(X[0], Detection())
    assert one.detection == other.detection and one.detection.box is not None
    assert declared([f"anchors={PAIRS}", "anchor_point=0.5", "each=2"]) == {
        "anchors": PAIRS, "anchor_point": 0.5, "each": 2,
    }  # fmt: skip
    (folder / "net.toml").write_text(toml.replace("priors.npy", "../priors.npy"))
    with pytest.raises(UsageError, match="outside the folder"):
        Explainer(folder / "net.onnx", cache=False)(X[0], Detection())
    assert InputSpec(detector=(("variances", (0.1, 0.2)),)).detector == (("variances", (0.1, 0.2)),)


def test_softmax_that_is_declared_has_a_class_for_nothing() -> None:
    """DETR's logits: with `final` the class for nothing, the last one here, is no finding."""
    proto = dets.detr()
    explain = Explainer(proto, device="cpu", threads=1, cache=False, detector={"final": "Softmax"})
    one = explain(X[0], Detection())
    assert one.detection is not None and one.detection.probability < 1
    assert not any("highest class may be" in d for d in one.diagnosis)


def _iou(a: Array, b: Array) -> float:
    shared = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    return float(shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared))
