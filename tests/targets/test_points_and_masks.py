"""Key points and masks: each against the chain rule by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper
from support import detector_nets as dets
from support import nets

from onnxcam import Explainer
from onnxcam.cli import main
from onnxcam.errors import UsageError
from onnxcam.targets import Keypoint, Region

Node = helper.make_node
RNG = np.random.default_rng(9)
W = RNG.normal(size=(4, 2, 3, 3)).astype("f4")
HEAD = RNG.normal(size=(3, 4, 1, 1)).astype("f4")
LINE = RNG.normal(size=(4, 6)).astype("f4")
X = RNG.normal(size=(1, 2, 8, 12)).astype("f4")


def _trunk(*nodes: onnx.NodeProto, y: list[Any], **weights: np.ndarray) -> onnx.ModelProto:
    """A convolution of stride 2 and what comes behind it."""
    body = [
        Node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        Node("Relu", ["c"], ["relu"]),
    ]
    return nets.model([*body, *nodes], {"x": ["N", 2, 8, 12]}, {"y": y}, {"w": W, **weights})


def _heatmaps() -> onnx.ModelProto:
    return _trunk(Node("Conv", ["relu", "h"], ["y"]), y=["N", 3, 4, 6], h=HEAD)


def _coordinates(flat: bool) -> onnx.ModelProto:
    nodes = [
        Node("GlobalAveragePool", ["relu"], ["p"]), Node("Flatten", ["p"], ["f"]),
        Node("MatMul", ["f", "l"], ["y" if flat else "z"]),
    ]  # fmt: skip
    if flat:
        return _trunk(*nodes, y=["N", 6], l=LINE)
    last = Node("Reshape", ["z", "s"], ["y"])
    return _trunk(*nodes, last, y=["N", 3, 2], l=LINE, s=np.array([0, 3, 2]))


def _layer(x: np.ndarray) -> np.ndarray:
    padded = np.pad(x[0], ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))[:, ::2, ::2]
    return np.maximum(np.einsum("chwij,kcij->khw", windows, W), 0)


def _explain(proto: onnx.ModelProto, target: Any) -> Any:
    explainer = Explainer(
        proto, "hirescam", feature_layer="relu", device="cpu", threads=1, cache=False
    )
    return explainer(X, target)


@pytest.mark.parametrize("point", [0, 2])
def test_the_peak_of_a_heatmap(point: int) -> None:
    layer = _layer(X)
    map = np.einsum("khw,k->hw", layer, HEAD[point, :, 0, 0])
    found = _explain(_heatmaps(), Keypoint(point))
    want = np.where(map == map.max(), map, 0)  # a convolution of 1 x 1: the cell itself
    np.testing.assert_allclose(found.score, map.max(), rtol=1e-4)
    np.testing.assert_allclose(found.signed_map, want, rtol=1e-4, atol=1e-5)
    assert f"key point {point}" in found.title


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("along", [None, "x", "y"])
def test_coordinates_of_a_point(flat: bool, along: Any) -> None:
    layer = _layer(X)
    columns = {"x": [2], "y": [3], None: [2, 3]}[along]
    weights = LINE[:, columns].sum(1) / layer[0].size
    found = _explain(_coordinates(flat), Keypoint(1, along))
    np.testing.assert_allclose(
        found.signed_map, np.einsum("khw,k->hw", layer, weights), rtol=1e-4, atol=1e-5
    )


def test_points_that_are_not_there() -> None:
    for proto, target, match in (
        (_heatmaps(), Keypoint(3), "no key point 3: 'y' has 3"),
        (_heatmaps(), Keypoint(0, "x"), "heatmaps, which have a peak"),
        (_coordinates(True), Keypoint(3), "no key point 3: 'y' has 3"),
        (nets.cnn(channels=2), Keypoint(0), "are no key points"),
    ):
        with pytest.raises(UsageError, match=match):
            explainer = Explainer(proto, device="cpu", threads=1, cache=False)
            explainer(X if proto.graph.input[0].type.tensor_type.shape.dim[2].dim_value == 8
                      else X[..., :6, :6], target)  # fmt: skip
    with pytest.raises(UsageError, match="no key point -1"):
        Keypoint(-1)


def test_a_mask_of_the_inputs_size_is_read_at_the_cells() -> None:
    mask = np.zeros((8, 12), bool)
    mask[2:6, 3:9] = True
    coarse = mask[1::2, 1::2]  # the middles of cells of 2 x 2
    for own in (mask, coarse):
        found = _explain(_heatmaps(), Region(1, own))
        map = np.einsum("khw,k->hw", _layer(X), HEAD[1, :, 0, 0])
        np.testing.assert_allclose(found.signed_map, map * coarse, rtol=1e-4, atol=1e-5)
    one = np.zeros((8, 12), bool)
    one[4, 6] = True  # no middle of a cell: the cell that it touches
    found = _explain(_heatmaps(), Region(1, one))
    assert np.flatnonzero(found.signed_map).tolist() in ([2 * 6 + 3], [])
    with pytest.raises(UsageError, match=r"mask is \[5, 5\], .*\[4, 6\], the input \[8, 12\]"):
        _explain(_heatmaps(), Region(1, np.ones((5, 5))))


def test_the_shell_finds_boxes(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(dets.yolo8(), "m.onnx")
    np.save("x.npy", np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype("f4"))
    start = ["explain", "m.onnx", "x.npy", "--no-cache"]
    for options, code, said in (
        (["--quantity", "detections", "--over", "0.999", "-o", "."], 0, "x.hirescam.box"),
        (["--quantity", "detections", "--over", "1"], 0, "x.npy: no detection"),
        (["--box", "2,2,20,20", "-o", "a.png"], 0, "score of box"),
        (["--box", "900,900,950,950"], 1, "no box is at 900, 900, 950, 950"),
        (["--box", "80"], 2, "there is no box 80: the model says 80"),
        (["--box", "high"], 2, "no row, and no place"),
        (["--over", "0.5"], 2, "--over is for boxes"),
        (["--detector", "unit"], 2, "no KEY=VALUE"),
        (["--detector", "unit=miles", "--box", "1"], 2, "says the unit 'miles'"),
        (["--box", "7", "--fuse", "max", "--method", "layercam"], 0, "layercam at p3 + p4"),
        (["--quantity", "keypoint"], 2, "Name it by its number"),
    ):  # fmt: skip
        result = CliRunner().invoke(main, [*start, *options])
        assert result.exit_code == code and said in result.output, (options, result.output)
    listed = CliRunner().invoke(main, ["layers", "m.onnx"]).output
    assert "y, rows 0 to 3 of axis 1" in listed and "8 x 8 at p3, 4 x 4 at p4" in listed


def test_what_a_file_beside_the_model_declares(tmp_path: Any) -> None:
    onnx.save(dets.nanodet(), tmp_path / "m.onnx")
    (tmp_path / "m.toml").write_text(
        '[detector]\nscores = ["cls0", "cls1"]\nboxes = ["distances0", "distances1"]\n'
        'format = "ltrb"\nunit = "cells"\naxis = 1\n'
    )
    from onnxcam.targets import Detection

    explain = Explainer(tmp_path / "m.onnx", device="cpu", threads=1, cache=False)
    x = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype("f4")
    assert explain(x, Detection(1)).detection.box is not None
    (tmp_path / "m.toml").write_text("[detector]\nunit = 1.5\n")
    with pytest.raises(UsageError, match="says the unit 1.5"):
        Explainer(tmp_path / "m.onnx", device="cpu", cache=False)(x, Detection(1))
    (tmp_path / "m.toml").write_text("[detector]\nunit = true\n")
    with pytest.raises(UsageError, match="detector = .* is wrong"):
        Explainer(tmp_path / "m.onnx", device="cpu", cache=False)(x, Detection(1))
