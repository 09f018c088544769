"""Boxes of detectors of many families: found, read, explained, against the chain rule by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from support import detector_nets as dets

from onnxcam import Explainer, convert
from onnxcam.errors import InputError, UsageError
from onnxcam.targets import Box, Detection, Detections

X = np.random.default_rng(0).normal(size=(2, 1, 3, dets.SIDE, dets.SIDE)).astype("f4")
TURN = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]])


def run(proto: onnx.ModelProto, x: np.ndarray) -> dict[str, np.ndarray]:
    """Every output and every float between, by name."""
    whole = onnx.ModelProto()
    whole.CopyFrom(proto)
    have = {o.name for o in whole.graph.output}
    whole.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(t)
        for node in whole.graph.node for t in node.output if t not in have
    )  # fmt: skip
    session = ort.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": x}), strict=True))


def explainer(proto: onnx.ModelProto, *args: Any, **options: Any) -> Any:
    return Explainer(proto, *args, device="cpu", threads=1, cache=False, **options)


def read(family: str, found: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits [A, C], how sure [A, C], boxes [A, 4] in pixels, by the family's own arithmetic."""
    logits, raw = (found[n][0].astype(np.float64) for n in ("cls", "reg"))
    sure = 1 / (1 + np.exp(-logits))
    middle, step = dets.points()
    if family == "ssd":
        power = np.exp(logits)
        sure = power / power.sum(1, keepdims=True)
        sure[:, 0] = 0  # the class for nothing
        middle, step = np.repeat(middle, 2, 0), np.repeat(step, 2, 0)
    if family == "yolo5":
        sure = sure / (1 + np.exp(-found["obj"][0]))
    return logits, sure, middle + np.exp(0.3 * raw) * step * np.array([-1, -1, 1, 1])


@pytest.mark.parametrize("family", sorted(dets.FAMILIES))
def test_a_box_is_found_and_its_map_is_its_cell(family: str) -> None:
    proto = dets.FAMILIES[family]()
    explain = explainer(proto, "hirescam", feature_layer=["p3", "p4"])
    for x in X:
        found = run(proto, x)
        logits, sure, boxes = read(family, found)
        row, cls = (int(i) for i in np.unravel_index(sure.argmax(), sure.shape))
        for target in (Detection(), Detection(cls), Box(row)):
            maps = explain(x, target)
            own = row // (2 if family == "ssd" else 1)
            level = int(own >= 64)
            one = maps[f"hirescam.p{3 + level}"]
            seen = one.detection
            assert (seen.row, seen.target) == (row, cls)
            np.testing.assert_allclose(seen.box, boxes[row], rtol=1e-4, atol=1e-3)
            np.testing.assert_allclose(seen.probability, sure[row, cls], rtol=1e-4)
            np.testing.assert_allclose(one.score, logits[row, cls], rtol=1e-3, atol=1e-4)
            anchor = (row % 2) * 4 if family == "ssd" else 0
            bias = {w.name: onnx.numpy_helper.to_array(w) for w in proto.graph.initializer}
            share = logits[row, cls] - bias[f"cls{level}.b"][anchor + cls]
            want = np.zeros((8, 4)[level] ** 2)
            want[own - 64 * level] = share
            np.testing.assert_allclose(one.signed_map.ravel(), want, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("family", sorted(dets.FAMILIES))
def test_by_default_the_scales_are_fused_and_the_layers_those_of_the_heads(family: str) -> None:
    explain = explainer(dets.FAMILIES[family]())
    (planned,) = explain.maps_of(Detection())
    assert [c.name for c in planned.layers] == ["p3", "p4"]
    assert planned.method.name == "hirescam" and planned.fuse == "sum"
    one = explain(X[0], Detection())
    assert one.raw_map.shape == one.map.shape == (dets.SIDE, dets.SIDE)
    assert one.parameters["fuse"] == "sum" and one.feature_layer == "p3 + p4"
    assert explain(X[0]).method == "gradcam"  # a class is no box


@pytest.mark.parametrize("form", ["xyxy", "cxcywh"])
@pytest.mark.parametrize("unit", ["pixels", "normalised"])
def test_how_boxes_are_written_is_read_off_a_run(form: str, unit: str) -> None:
    proto = dets.retinanet(form, unit)
    _, sure, boxes = read("retinanet", run(proto, X[0]))
    one = explainer(proto)(X[0], Detection(1))
    np.testing.assert_allclose(one.detection.box, boxes[sure[:, 1].argmax()], rtol=1e-4, atol=1e-3)
    seen = explainer(proto, detector={"format": form, "unit": unit})(X[0], Detection(1))
    assert seen.detection == one.detection


def _kept(sure: np.ndarray, boxes: np.ndarray, over: float) -> list[int]:
    """Suppression as everybody writes it."""
    best, cls = sure.max(1), sure.argmax(1)
    left: list[int] = []
    for row in np.argsort(-best):
        if best[row] < over:
            break
        same = [r for r in left if cls[r] == cls[row] and _iou(boxes[r], boxes[row]) > 0.45]
        left += [] if same else [int(row)]
    return left


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    shared = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    return float(shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared))


@pytest.mark.parametrize("family", sorted(dets.FAMILIES))
def test_every_sure_box_is_a_finding(family: str) -> None:
    proto = dets.FAMILIES[family]()
    explain = explainer(proto)
    several = explain(list(X), Detections(over=0.5))
    for x, found in zip(X, several, strict=True):
        _, sure, boxes = read(family, run(proto, x))
        rows = [e.detection.row for e in found]
        assert sorted(rows) == sorted(_kept(sure, boxes, 0.5))
        assert (np.diff(sure[rows].max(1)) < 1e-5).all()  # the surest first
        for each in found[:: max(len(found) // 3, 1)]:
            alone = explain(x, Box(each.detection.row))
            np.testing.assert_allclose(each.map, alone.map, rtol=1e-4, atol=1e-5)
            assert each.label == alone.label
    assert explain(X[0], Detections(over=1.0)) == []
    assert explain(list(X), [Detections(over=1.0), Detections(1, over=1.0)]) == [[[], []]] * 2


def test_a_box_by_its_place() -> None:
    proto = dets.yolo8()
    explain = explainer(proto)
    _, sure, boxes = read("yolo8", run(proto, X[0]))
    cars = np.flatnonzero(sure.argmax(1) == 2)
    row = int(cars[sure[cars, 2].argsort()[-4]])
    near = boxes[row] + np.array([-0.3, 0.2, 0.1, 0.3])
    overlap = np.array([_iou(b, near) for b in boxes])
    want = int((overlap * sure.max(1)).argmax())
    assert explain(X[0], Box(box=near)).detection.row == want
    car = int(np.where(sure.argmax(1) == 2, overlap * sure.max(1), 0).argmax())
    assert explain(X[0], Box(box=near, cls="car")).detection.row == car
    with pytest.raises(InputError, match=r"no box is at 900, 900, 950, 950; .*box \d+: "):
        explain(X[0], Box(box=(900, 900, 950, 950)))
    with pytest.raises(UsageError, match=r"no box \[3, 2, 1, 4\]"):
        Box(box=(3, 2, 1, 4))
    with pytest.raises(UsageError, match="by its number, or by a place"):
        Box()


def test_many_targets_of_many_inputs_equal_single_calls() -> None:
    explain = explainer(dets.yolo5())
    targets = [Box(3), Detection("car"), None, Box(70), Box(box=(2, 2, 20, 20)), Detection()]
    together = explain(list(X), targets)
    each = explain(list(X), [targets[:2], targets[2:4]])
    for n, x in enumerate(X):
        alone = [explain(x, target) for target in targets]
        for one, other in zip(together[n], alone, strict=True):
            np.testing.assert_allclose(one.map, other.map, rtol=1e-4, atol=1e-5)
            assert one.detection is None or one.detection.row == other.detection.row
        for one, other in zip(each[n], alone[2 * n : 2 * n + 2], strict=True):
            np.testing.assert_allclose(one.map, other.map, rtol=1e-4, atol=1e-5)


def test_scales_that_are_outputs_of_their_own() -> None:
    proto = dets.nanodet()
    said = {"boxes": ["distances0", "distances1"], "scores": ["cls0", "cls1"], "format": "ltrb",
            "unit": "cells", "axis": 1}  # fmt: skip
    for declared in (None, said):
        explain = explainer(proto, "hirescam", detector=declared)
        assert [c.name for c in explain.maps_of(Detection())[0].layers] == ["p3", "p4"]
        found = run(proto, X[1])
        logits = np.concatenate([found[f"cls{i}"][0].reshape(3, -1) for i in (0, 1)], 1)
        one = explain(X[1], Detection(2))
        row = int(logits[2].argmax())
        assert one.detection.row == row and one.target == 2 and len(one.scores) == 3
        np.testing.assert_allclose(one.score, logits[2, row], rtol=1e-4)
        if declared is None:  # distances are no box: nothing is drawn, nothing is guessed
            assert one.detection.box is None
            with pytest.raises(UsageError, match="by its place, and how this model writes"):
                explain(X[1], Box(box=(1, 2, 3, 4)))
            continue
        middle, step = dets.points()
        raw = np.concatenate([found[f"distances{i}"][0].reshape(4, -1) for i in (0, 1)], 1)[:, row]
        want = middle[row] + raw * step[row] * np.array([-1, -1, 1, 1])
        np.testing.assert_allclose(one.detection.box, want, rtol=1e-4)


def test_a_layer_before_another_head_than_the_first_can_be_named() -> None:
    """p4's head is not before the first head's scores: a box of it is explained there."""
    proto = dets.nanodet()
    for node in proto.graph.node:  # a rectifier of the second head alone
        if node.output[0] == "cls1":
            node.input[0] = "own"
    proto.graph.node.insert(4, onnx.helper.make_node("Relu", ["p4"], ["own"]))
    explain = explainer(proto, "hirescam", feature_layer="own")
    found = run(proto, X[0])
    one = explain(X[0], Box(64 + 5))
    bias = {w.name: onnx.numpy_helper.to_array(w) for w in proto.graph.initializer}["cls1.b"]
    want = np.zeros(16)
    want[5] = found["cls1"][0].reshape(3, -1)[one.detection.target, 5] - bias[one.detection.target]
    np.testing.assert_allclose(one.signed_map.ravel(), want, rtol=1e-3, atol=1e-4)
    with pytest.raises(UsageError, match="no feature layer 'own' on the path"):
        explain(X[0], 1)  # the class is of the first head
    with pytest.raises(UsageError, match="no feature layer 'nowhere'"):
        explainer(proto, feature_layer="nowhere")


def test_raw_heads_of_one_class() -> None:
    proto = dets.blazeface()
    explain = explainer(proto, detector={"format": "cxcywh-offset", "unit": "pixels"})
    assert [c.name for c in explain.maps_of(Detection())[0].layers] == ["p3", "p4"]
    found = run(proto, X[0])
    logits = np.concatenate([found[f"faces{i}"][0, :, 0] for i in (0, 1)])
    places = np.concatenate([found[f"places{i}"][0, :, :4] for i in (0, 1)])
    row = int(logits.argmax())
    for target in (Detection(), Detection(0), Box(row)):
        one = explain(X[0], target)
        assert one.detection.row == row and one.detection.target == 0
        np.testing.assert_allclose(one.score, logits[row], rtol=1e-4)
        middle = np.repeat(dets.points()[0], 2, axis=0)[row]
        np.testing.assert_allclose(one.detection.box, middle + places[row] @ TURN, rtol=1e-3)


def test_queries_of_a_transformer() -> None:
    proto = dets.detr()
    explain = explainer(proto)
    found = run(proto, X[0])
    power = np.exp(found["cls"][0])
    sure = power / power.sum(1, keepdims=True)
    sure[:, sure.sum(0).argmax()] = 0
    row, cls = (int(i) for i in np.unravel_index(sure.argmax(), sure.shape))
    one = explain(X[0], Detection(cls))
    assert (one.detection.row, one.detection.target) == (row, cls)
    want = found["pred_boxes"][0, row] @ TURN * dets.SIDE
    np.testing.assert_allclose(one.detection.box, want, rtol=1e-4, atol=1e-4)
    assert one.map.any()


def test_tokens_of_several_maps_are_their_scales() -> None:
    """80 tokens are 8 x 8 and 4 x 4, not 8 x 8 before 16 class tokens; drawn where each lies."""
    proto = dets.pyramid_detr()
    explain = explainer(proto, "hirescam")
    feature = explain.catalog.feature
    assert feature.name == "tokens" and feature.layout.more == ((4, 4),)
    assert "8 x 8 and 4 x 4" in explain.catalog.feature_reason
    found = run(proto, X[0])
    tokens, looks = (found[n][0].astype(np.float64) for n in ("tokens", "looks"))
    weights = {w.name: onnx.numpy_helper.to_array(w) for w in proto.graph.initializer}
    for row, one in ((2, explain(X[0], Box(2))), (5, explain(X[0], Box(5)))):
        w, q, a = weights["cls.w"][:, one.detection.target], weights["q"][0, row], looks[row]
        slope = a[:, None] * w + (a * (tokens @ w - a @ tokens @ w))[:, None] * q
        share = (slope * tokens).sum(1)
        want = sum(
            _linear(np.maximum(s, 0).reshape(n, n)) for s, n in ((share[:64], 8), (share[64:], 4))
        )
        np.testing.assert_allclose(one.raw_map, want, rtol=1e-3, atol=1e-5)
        assert one.feature_layer == "tokens" and one.parameters["fuse"] == "sum"
    made = convert(proto, target=Box(2), method="gradcam")
    assert made.check is not None and made.check.problems == ()
    with pytest.raises(UsageError, match="one behind the other, of which score-cam makes no map"):
        explainer(proto, "score-cam")


@pytest.mark.parametrize("nested", [False, True])
def test_an_angle_of_a_sigmoid_is_no_class(nested: bool) -> None:
    proto = dets.oriented(nested)
    explain = explainer(proto)
    found = run(proto, X[0])
    row, cls = (int(i) for i in np.unravel_index(found["p"][0].argmax(), (dets.CELLS, 3)))
    one = explain(X[0], Detection())
    assert (one.detection.row, one.detection.target) == (row, cls)
    np.testing.assert_allclose(one.detection.probability, found["p"][0, row, cls], rtol=1e-4)
    np.testing.assert_allclose(one.score, found["cls"][0, row, cls], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("joined", [False, True])
def test_the_rows_behind_a_models_own_suppression(joined: bool) -> None:
    proto = dets.suppressed(joined)
    explain = explainer(proto, "hirescam", feature_layer=["p3", "p4"])
    found = run(proto, X[0])
    kept = found["kept"]
    assert len(kept) > 2
    maps = explain(X[0], Detections(over=0.0))
    assert len(maps) == len(kept)
    bias = {w.name: onnx.numpy_helper.to_array(w) for w in proto.graph.initializer}
    for r in (0, len(kept) - 1):
        _, cls, anchor = kept[r]
        level = int(anchor >= 64)
        one = explain(X[0], Box(r))[f"hirescam.p{3 + level}"]
        np.testing.assert_allclose(one.detection.box, found["boxes"][r], rtol=1e-4, atol=1e-3)
        assert one.detection.target == cls and one.label == dets.NAMES[cls]
        p = found["p"][0, anchor, cls]
        np.testing.assert_allclose(one.score, p, rtol=1e-4)
        want = np.zeros((8, 4)[level] ** 2)
        share = found["cls"][0, anchor, cls] - bias[f"cls{level}.b"][cls]
        want[anchor - 64 * level] = share * p * (1 - p)
        np.testing.assert_allclose(one.signed_map.ravel(), want, rtol=1e-3, atol=1e-5)
    with pytest.raises(UsageError, match=rf"no box {len(kept)}: the model says {len(kept)}"):
        explain(X[0], Box(len(kept)))
    none = 0 * X[0] - 40  # a picture without a finding is an answer
    if not len(run(proto, none)["kept"]):
        assert explain(none, Detections()) == []


@pytest.mark.parametrize("cut", [False, True])
def test_rows_are_all_that_a_detector_of_proposals_says(cut: bool) -> None:
    """Suppression in a branch, scores that are picked: the boxes are not taken for classes."""
    proto = dets.proposals(cut)
    explain = explainer(proto, "hirescam")
    (planned,) = explain.maps_of(Detection())
    assert [c.name for c in planned.layers] == ["p3", "p4"] and planned.fuse == "sum"
    found = run(proto, X[0])
    boxes, scores, labels = (found[n] for n in ("boxes", "scores", "labels"))
    maps = explain(X[0], Detections(over=0.0))
    assert [e.detection.row for e in maps] == list(np.argsort(-scores, kind="stable"))
    row = int(scores.argmax())
    for target in (Detection(), Detection(int(labels[row])), Box(row), Box(box=boxes[row])):
        one = explain(X[0], target)
        assert (one.detection.row, one.detection.target) == (row, labels[row])
        np.testing.assert_allclose(one.detection.box, boxes[row], rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(one.score, scores[row], rtol=1e-4)
        assert one.label == dets.NAMES[labels[row]]
    apart = explainer(proto, "hirescam", feature_layer=["p3", "p4"])(X[0], Box(row))
    if not cut:  # by hand: the cell that the row was picked from
        bias = {w.name: onnx.numpy_helper.to_array(w) for w in proto.graph.initializer}
        cell = int(found["cell"][np.flatnonzero(found["top"] == scores[row])[0]])
        level, p = int(cell >= 64), float(scores[row])
        share = found["cls"][0, cell, labels[row]] - bias[f"cls{level}.b"][labels[row]]
        want = np.zeros((8, 4)[level] ** 2)
        want[cell - 64 * level] = share * p * (1 - p)
        signed = apart[f"hirescam.p{3 + level}"].signed_map
        np.testing.assert_allclose(signed.ravel(), want, rtol=1e-3, atol=1e-5)
    else:  # what lies far from the box has no share
        left, top, right, bottom = boxes[row] / dets.STRIDES[0]
        y, x = np.nonzero(apart["hirescam.p3"].signed_map)
        assert len(x) and x.min() >= left - 1.5 and x.max() <= right + 1
        assert y.min() >= top - 1.5 and y.max() <= bottom + 1
    made = convert(proto, target=Detection())
    assert made.check is not None and made.check.problems == ()
    absent = next(c for c in range(4) if c not in labels)
    with pytest.raises((InputError, UsageError), match="finds nothing of class|out of range"):
        explain(X[0], Detection(absent))


@pytest.mark.parametrize("make", [dets.yolo8, dets.ssd, dets.nanodet])
@pytest.mark.parametrize("target", [Detection(1), Box(7)], ids=["detection", "box"])
def test_files_explain_boxes(make: Callable[[], onnx.ModelProto], target: Any) -> None:
    proto = make()
    made = convert(proto, target=target)
    assert made.check is not None and made.check.problems == ()
    session = ort.InferenceSession(made.proto.SerializeToString())
    names = ["onnxcam.map", "onnxcam.class"]
    map, cls = session.run(names, {"x": X[0]})
    said = made.explained.model.metadata["onnxcam.quantity"]
    assert said == ("score of box 7" if isinstance(target, Box) else "best detection")
    one = explainer(proto)(X[0], target)
    np.testing.assert_allclose(map[0, 0], one.map, rtol=1e-3, atol=1e-5)
    assert cls[0, 0] == one.detection.target


def test_a_file_finds_a_box_by_its_place() -> None:
    proto = dets.yolo8()
    place = Box(box=(4, 4, 20, 18))
    made = convert(proto, target=place, fuse="max", method="layercam")
    assert made.check is not None and made.check.problems == ()
    session = ort.InferenceSession(made.proto.SerializeToString())
    explain = explainer(proto, "layercam", fuse="max")
    for x in X:
        map, cls = session.run(["onnxcam.map", "onnxcam.class"], {"x": x})
        one = explain(x, place)
        np.testing.assert_allclose(map[0, 0], one.map, rtol=1e-3, atol=1e-5)
        assert cls[0, 0] == one.detection.target
    with pytest.raises(UsageError, match="how many boxes are sure differs"):
        convert(proto, target=Detections())


@pytest.mark.parametrize("fuse", ["sum", "mean", "max", "product"])
def test_maps_are_fused_as_it_is_said(fuse: str) -> None:
    proto = dets.yolo8()
    apart = explainer(proto, "layercam", feature_layer=["p3", "p4"], upsampling="none")
    fused = explainer(proto, "layercam", feature_layer=["p3", "p4"], fuse=fuse)
    for target in (Box(70), 1):
        maps = [_linear(e.raw_map) for e in apart(X[0], target).values()]
        scaled = maps if fuse == "sum" else [m / (m.max() or 1) for m in maps]
        made = {"sum": sum(scaled), "mean": sum(scaled) / 2, "max": np.maximum(*scaled)}
        want = {**made, "product": scaled[0] * scaled[1]}[fuse]
        np.testing.assert_allclose(fused(X[0], target).raw_map, want, rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="`fuse` makes one map of several layers"):
        explainer(proto, feature_layer="p3", fuse=fuse)


def _linear(map: np.ndarray) -> np.ndarray:
    """A map at the input's size, interpolated linearly between the middles of its cells."""
    out = map
    for axis in (0, 1):
        n = out.shape[axis]
        at = (np.arange(dets.SIDE) + 0.5) * n / dets.SIDE - 0.5
        low = np.clip(np.floor(at).astype(int), 0, n - 1)
        high = np.clip(low + 1, 0, n - 1)
        part = np.clip(at - low, 0, 1).reshape((-1, 1) if axis == 0 else (1, -1))
        out = out.take(low, axis) * (1 - part) + out.take(high, axis) * part
    return out


def test_what_is_declared_wrongly_is_refused() -> None:
    proto = dets.nanodet()
    for said, match in (
        ({"form": "ltrb"}, "`detector` has no 'form'"),
        ({"format": "polar"}, "the format 'polar'"),
        ({"scores": ["cls0", "cls1"], "boxes": "distances0"}, "2 tensors with scores and 1"),
        ({"boxes": "nowhere"}, "no tensor 'nowhere'"),
        ({"scores": "cls0", "axis": 9}, r"axis 9, and 'cls0' is"),
        ({"scores": "cls0", "classes": 80}, r"row 79 of axis 1 of 'cls0'"),
    ):
        with pytest.raises(UsageError, match=match):
            explainer(proto, detector=said)(X[0], Detection(0))


def test_a_box_is_framed() -> None:
    picture = np.full((64, 48, 3), 90, np.uint8)
    toml = {"scale": 1 / 255, "channels": "RGB"}
    from onnxcam.inputs import InputSpec

    explain = explainer(dets.yolo8(), preprocess=InputSpec(**toml))
    one = explain(picture, Detection())
    left, top, right, bottom = one.detection.box
    assert one.as_dict()["detection"]["box"] == [left, top, right, bottom]
    assert one.title.startswith(f"{one.label} ") and "best detection" in one.title
    from dataclasses import replace

    plain = replace(one, detection=replace(one.detection, box=None))
    assert (one.overlay() != plain.overlay()).any()
    assert one.figure().size == plain.figure().size
