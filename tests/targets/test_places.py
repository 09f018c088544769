"""Targets of positions: pixels of a class and detections, each against the chain rule by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper
from support import nets

from onnxcam import Explainer, convert
from onnxcam.cli import main
from onnxcam.errors import UsageError
from onnxcam.targets import Box, Detection, Region, Target

Node = helper.make_node
RNG = np.random.default_rng(4)
W = RNG.normal(size=(4, 2, 3, 3)).astype("f4")
ROWS = {"cls": 3, "box": 4, "obj": 1}
HEADS = {n: RNG.normal(size=(c, 4, 1, 1)).astype("f4") for n, c in ROWS.items()}
X = RNG.normal(size=(3, 2, 5, 6)).astype("f4")


def _net(
    nodes: list[onnx.NodeProto], shape: list[Any], heads: list[str], **more: Any
) -> onnx.ModelProto:
    """A convolution, and heads of one by one on it."""
    body = [Node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]), Node("Relu", ["c"], ["relu"])]
    body += [Node("Conv", ["relu", f"w_{n}"], [n]) for n in heads]
    weights = {"w": W, **{f"w_{n}": HEADS[n] for n in heads}, **more}
    return nets.model([*body, *nodes], {"x": ["N", 2, 5, 6]}, {"y": shape}, weights)


def _segmentation(last: bool = False) -> onnx.ModelProto:
    if last:
        turned = [
            Node("Transpose", ["cls"], ["t"], perm=[0, 2, 3, 1]),
            Node("Softmax", ["t"], ["y"], axis=3),
        ]
        return _net(turned, ["N", 5, 6, 3], ["cls"])
    return _net([Node("Softmax", ["cls"], ["y"], axis=1)], ["N", 3, 5, 6], ["cls"])


def _detector(objectness: bool, rows: bool = False) -> onnx.ModelProto:
    """[N, 4 (+ 1) + C, H, W], or with the positions in rows [N, A, 4 (+ 1) + C]."""
    heads = ["box", *(["obj"] if objectness else []), "cls"]
    nodes = [Node("Sigmoid", [n], [f"p_{n}"]) for n in heads if n != "box"]
    names = ["box" if n == "box" else f"p_{n}" for n in heads]
    count = 7 + objectness
    if not rows:
        return _net([*nodes, Node("Concat", names, ["y"], axis=1)], ["N", count, 5, 6], heads)
    nodes += [
        Node("Concat", names, ["j"], axis=1), Node("Reshape", ["j", "s"], ["f"]),
        Node("Transpose", ["f"], ["y"], perm=[0, 2, 1]),
    ]  # fmt: skip
    return _net(nodes, ["N", 30, count], heads, s=np.array([0, count, -1]))


def _by_hand(x: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The layer [4, H, W] and what the heads make of it, [C, H, W] each."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    layer = np.maximum(np.einsum("chwij,kcij->khw", windows, W), 0)
    return layer, {n: np.einsum("khw,ck->chw", layer, w[:, :, 0, 0]) for n, w in HEADS.items()}


def _map(layer: np.ndarray, cls: int, chosen: np.ndarray) -> np.ndarray:
    """Grad-CAM where the target is the sum of a class's scores at some positions."""
    weights = HEADS["cls"][cls, :, 0, 0] * chosen.sum() / chosen.size
    return np.einsum("k,khw->hw", weights, layer)


def _explainer(proto: onnx.ModelProto) -> Any:
    return Explainer(proto, "gradcam", device="cpu", threads=1, cache=False, feature_layer="relu")


@pytest.mark.parametrize("last", [False, True])
def test_the_pixels_of_a_class(last: bool) -> None:
    explain = _explainer(_segmentation(last))
    for x, found in zip(X, explain(list(X[:, None]), target=Region(1)), strict=True):
        layer, heads = _by_hand(x)
        own = heads["cls"].argmax(0) == 1
        np.testing.assert_allclose(found.signed_map, _map(layer, 1, own), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.score, heads["cls"][1][own].sum(), rtol=1e-4)
        assert found.target == 1 and found.title.startswith("class 1 score over its pixels")


def test_a_mask() -> None:
    mask = np.zeros((5, 6), np.uint8)
    mask[1:3, 2:6] = 255
    layer, heads = _by_hand(X[0])
    found = _explainer(_segmentation())(X[:1], target=Region(2, mask))
    np.testing.assert_allclose(found.signed_map, _map(layer, 2, mask > 0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.score, heads["cls"][2][mask > 0].sum(), rtol=1e-4)
    with pytest.raises(UsageError, match=r"mask is \[6, 5\], the positions.*\[5, 6\]"):
        _explainer(_segmentation())(X[:1], target=Region(2, mask.T))
    with pytest.raises(UsageError, match="mask is empty"):
        Region(2, mask * 0)
    with pytest.raises(UsageError, match="no region 'seen'"):
        Region(2, "seen")


def _best(heads: dict[str, np.ndarray], cls: int | None, objectness: bool) -> tuple[int, int]:
    """The class and the position of the best finding."""
    sure = 1 / (1 + np.exp(-heads["cls"].astype(np.float64)))
    sure = sure * (1 / (1 + np.exp(-heads["obj"])) if objectness else 1)
    cls = int(sure.max((1, 2)).argmax()) if cls is None else cls
    return cls, int(sure[cls].argmax())


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("objectness", [False, True])
@pytest.mark.parametrize("cls", [None, 0, 2])
def test_the_best_detection(objectness: bool, rows: bool, cls: int | None) -> None:
    explain = _explainer(_detector(objectness, rows))
    for x, found in zip(X, explain(list(X[:, None]), target=Detection(cls)), strict=True):
        layer, heads = _by_hand(x)
        own, place = _best(heads, cls, objectness)
        chosen = np.arange(30).reshape(5, 6) == place
        assert found.target == own
        np.testing.assert_allclose(found.score, heads["cls"][own].flat[place], rtol=1e-4)
        np.testing.assert_allclose(found.signed_map, _map(layer, own, chosen), rtol=1e-4, atol=1e-6)


def test_a_box_by_its_number() -> None:
    layer, heads = _by_hand(X[0])
    for proto in (_detector(True, rows=True), _detector(False)):
        found = _explainer(proto)(X[:1], target=[Box(7), Box(29)])
        for number, one in zip((7, 29), found, strict=True):
            own = int(heads["cls"].reshape(3, -1)[:, number].argmax())
            chosen = np.arange(30).reshape(5, 6) == number
            want = _map(layer, own, chosen)
            np.testing.assert_allclose(one.signed_map, want, rtol=1e-4, atol=1e-6)
            assert one.target == -1 and f"box {number}" in one.title
        with pytest.raises(UsageError, match="no box 30.*from 0 to 29"):
            _explainer(proto)(X[:1], target=Box(30))
    with pytest.raises(UsageError, match="no box -1"):
        Box(-1)


def _name(target: Target) -> str:
    return type(target).__name__


@pytest.mark.parametrize("target", [Region(0), Detection(0), Box(0)], ids=_name)
def test_models_without_positions_have_none_of_these(target: Target) -> None:
    with pytest.raises(UsageError, match="have no positions"):
        Explainer(nets.cnn(), device="cpu", threads=1, cache=False)(
            np.ones((1, 2, 6, 6), "f4"), target=target
        )


@pytest.mark.parametrize("target", [Region(1), Detection(), Box(3)], ids=_name)
def test_they_are_written_into_files(target: Target) -> None:
    for proto in (_detector(True), _segmentation(last=True)):
        made = convert(proto, target=target, feature_layer="relu")
        assert made.check is not None and made.check.problems == ()


def test_the_shell_has_them(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(_detector(True), "m.onnx")
    np.save("x.npy", X[:1])
    region = ["--quantity", "region", "--target", "1"]
    for options in (["--quantity", "detection"], region, ["--box", "4"]):
        line = ["explain", "m.onnx", "x.npy", "-o", "o.npz", "--no-cache", *options]
        result = CliRunner().invoke(main, line)
        assert result.exit_code == 0, result.output
    result = CliRunner().invoke(main, [*line, "--target", "1"])
    assert result.exit_code == 2 and "--box names what is explained" in result.output


def _turned() -> onnx.ModelProto:
    """FastestDet: the classes' Softmax is taken of [N, W, H, C], and turned back."""
    nodes = [
        Node("Transpose", ["cls"], ["t"], perm=[0, 3, 2, 1]),
        Node("Softmax", ["t"], ["p"], axis=3),
        Node("Transpose", ["p"], ["q"], perm=[0, 3, 2, 1]),
        Node("Sigmoid", ["obj"], ["o"]),
        Node("Concat", ["o", "box", "q"], ["y"], axis=1),
    ]
    return _net(nodes, ["N", 8, 5, 6], ["obj", "box", "cls"])


@pytest.mark.parametrize("row", [1, 7, 28])
def test_positions_that_are_counted_by_columns_on_the_way(row: int) -> None:
    layer, heads = _by_hand(X[0])
    explain = _explainer(_turned())
    found = explain(X[:1], Box(row))
    power = np.exp(heads["cls"].reshape(3, -1))
    sure = power / power.sum(0) / (1 + np.exp(-heads["obj"].reshape(-1)))
    own = int(sure[:, row].argmax())
    chosen = np.arange(30).reshape(5, 6) == row
    np.testing.assert_allclose(found.signed_map, _map(layer, own, chosen), rtol=1e-4, atol=1e-6)
    best = explain(X[:1], Detection(own))
    assert best.detection.row == sure[own].argmax()
    np.testing.assert_allclose(best.score, heads["cls"][own].flat[sure[own].argmax()], rtol=1e-4)
    mask = np.zeros((5, 6), bool)
    mask[1:3, 4:] = True
    region = explain(X[:1], Region(1, mask))
    np.testing.assert_allclose(region.signed_map, _map(layer, 1, mask), rtol=1e-4, atol=1e-6)
