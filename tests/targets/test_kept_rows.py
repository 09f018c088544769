"""Rows behind a model's suppression in every order that libraries write, and boxes of queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto
from support import detector_nets as dets

from onnxcam import Explainer, convert
from onnxcam.errors import InputError, UsageError
from onnxcam.targets import Box, Detection, Detections, Margin, Sum

X = np.random.default_rng(0).normal(size=(2, 1, 3, dets.SIDE, dets.SIDE)).astype("f4")
TURN = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]])


def explainer(proto: onnx.ModelProto, method: Any = None, **options: Any) -> Any:
    return Explainer(proto, method, device="cpu", threads=1, cache=False, **options)


def run(proto: onnx.ModelProto, x: np.ndarray, names: list[str]) -> list[np.ndarray]:
    whole = onnx.ModelProto()
    whole.CopyFrom(proto)
    have = {o.name for o in whole.graph.output}
    whole.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(n) for n in names if n not in have
    )
    session = ort.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(names, {"x": x})


def suppressed(
    form: str = "xyxy", unit: str = "pixels", least: float = 0.9, seed: int = 8
) -> dets.Twin:
    """What is kept as tensors: `box` [R, 4] as written, `score`, `class`, `input` [R, 1]."""
    twin = dets.Twin(seed)
    boxes = twin.decoded(twin.joined("reg", 4), form, unit)
    twin.add("Sigmoid", [twin.joined("cls", dets.CLASSES)], "p")
    twin.add("Transpose", ["p"], "turned", perm=[0, 2, 1])
    for name, value in (("same", 0.45), ("least", least)):
        twin.const(name, np.array([value], "f4"))
    for name, number in (("most", [20]), ("zero", [0]), ("m1", [-1]), ("two", [2])):
        twin.const(name, np.array(number))
    twin.add("NonMaxSuppression", [boxes, "turned", "most", "same", "least"], "kept",
             center_point_box=int(form == "cxcywh"))  # fmt: skip
    for i, name in enumerate(("n", "c", "r")):
        twin.const(f"at.{name}", np.array([i]))
        twin.add("Gather", ["kept", f"at.{name}"], f"kept.{name}", axis=1)
    for name, source in (("class", "kept.c"), ("input", "kept.n")):
        twin.add("Cast", [source], name, to=TensorProto.FLOAT)
    twin.add("Squeeze", ["kept.r", "m1"], "rows")
    twin.add("Gather", [twin.add("Squeeze", [boxes, "zero"], "all"), "rows"], "box", axis=0)
    twin.add("Squeeze", ["p", "zero"], "flat")
    twin.add("Concat", ["kept.r", "kept.c"], "both", axis=1)
    twin.add("Unsqueeze", [twin.add("GatherND", ["flat", "both"], "probable"), "m1"], "score")
    twin.const("root", np.float32(0.5))
    twin.add("Pow", ["score", "root"], "anything")
    return twin


def rows(twin: dets.Twin, columns: list[str], flat: bool = False) -> onnx.ModelProto:
    width = sum(4 if c == "box" else 1 for c in columns)
    if not flat:
        twin.add("Concat", columns, "y", axis=1)
        return twin.model({"y": ["R", width]}, batch=1)
    twin.const("front", np.array([0, 1]))
    twin.add("Unsqueeze", [twin.add("Concat", columns, "joined", axis=1), "front"], "y")
    return twin.model({"y": [1, 1, "R", width]}, batch=1)


ORDERS: dict[str, tuple[list[str], bool]] = {
    "ultralytics": (["box", "score", "class"], False),
    "paddle": (["class", "score", "box"], False),
    "yolov7": (["input", "box", "class", "score"], False),
    "openvino": (["input", "class", "score", "box"], True),
    "yolox": (["box", "anything", "anything", "class"], False),  # their product is the score
    "instances": (["box", "score", "class", "mask"], False),
}


@pytest.mark.parametrize("family", ORDERS)
def test_columns_are_read_off_the_graph(family: str) -> None:
    columns, flat = ORDERS[family]
    twin = suppressed(unit="normalised" if flat else "pixels")
    if "mask" in columns:
        twin.const("many", np.array([1, 9]))
        twin.add("Tile", ["score", "many"], "mask")
    proto = rows(twin, columns, flat)
    if "mask" in columns:
        proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 15
    explain = explainer(proto)
    box, score, cls = run(proto, X[0], ["box", "score", "class"])
    assert len(score) > 4
    for row in (0, len(score) - 1):
        one = explain(X[0], Box(row))
        assert (one.detection.row, one.detection.target) == (row, int(cls[row, 0]))
        np.testing.assert_allclose(one.detection.probability, score[row, 0], rtol=1e-4)
        np.testing.assert_allclose(one.score, score[row, 0], rtol=1e-4)
        want = box[row] * (dets.SIDE if flat else 1)
        np.testing.assert_allclose(one.detection.box, want, rtol=1e-4, atol=1e-3)
    best = int(score[:, 0].argmax())
    assert explain(X[0], Detections(over=0.0))[0].detection.row == best


def test_an_order_that_no_graph_shows_is_held_against_a_run_or_said() -> None:
    twin = suppressed()
    twin.add("Concat", ["class", "score", "box"], "joined", axis=1)
    twin.const("eye", np.eye(6, dtype="f4"))
    twin.add("MatMul", ["joined", "eye"], "y")  # nothing is read through it
    proto = twin.model({"y": ["R", 6]}, batch=1)
    with pytest.raises(UsageError, match=r"read as box, score, class the rows of 'y' have .*colum"):
        explainer(proto)(X[0], Box(0))
    said = explainer(proto, detector={"columns": ["class", "score", "box"]})(X[0], Box(1))
    box, cls = run(proto, X[0], ["box", "class"])
    np.testing.assert_allclose(said.detection.box, box[1], rtol=1e-4, atol=1e-3)
    assert said.detection.target == int(cls[1, 0])
    for wrong in ("class,score", "class,score,box,box", "class,score,place"):
        with pytest.raises(UsageError, match="says columns .* has 6"):
            explainer(proto, detector={"columns": wrong})(X[0], Box(0))


def test_rows_that_are_not_understood_are_no_boxes_by_number() -> None:
    """Box and all classes of what is kept: its row is none of the model's positions."""
    twin = suppressed()
    twin.add("Gather", ["flat", "rows"], "each", axis=0)
    twin.add("Concat", ["box", "each"], "y", axis=1)
    proto = twin.model({"y": ["R", 4 + dets.CLASSES]}, batch=1)
    explain = explainer(proto)
    with pytest.raises(UsageError, match="what the rows of 'y' are, .*is not known"):
        explain(X[0], Box(0))
    assert explain(X[0], Detection(2)).score > 0  # a class is asked for by position


def test_rows_that_are_filled_up_with_zeros_say_nothing_of_the_unit() -> None:
    """Ultralytics' `nms=True`: 300 rows, of which a few are findings, in pixels."""
    twin = suppressed(least=0.995)
    twin.add("Concat", ["box", "score", "class"], "few", axis=1)
    twin.const("fill", np.zeros((300, 6), "f4")), twin.const("end", np.array([300]))
    twin.add("Concat", ["few", "fill"], "long", axis=0)
    twin.add("Unsqueeze", [twin.add("Slice", ["long", "zero", "end", "zero"], "cut"), "zero"], "y")
    proto = twin.model({"y": [1, 300, 6]}, batch=1)
    box, score = run(proto, X[0], ["box", "score"])
    assert 0 < len(score) < 30
    explain = explainer(proto)
    best = int(score[:, 0].argmax())
    for target in (Detection(), Box(best), Box(box=box[best])):
        one = explain(X[0], target)
        np.testing.assert_allclose(one.detection.box, box[best], rtol=1e-4, atol=1e-3)
    assert len(explain(X[0], Detections(over=0.5))) == len(score)
    assert any("no finding" in d for d in explain(X[0], Box(299)).diagnosis)


def test_suppression_says_whether_boxes_are_corners() -> None:
    """Centres and sizes of large boxes look like corners; how suppression takes them tells."""
    twin = suppressed("cxcywh", least=0.5)
    for level in (0, 1):  # every box far larger than the input
        twin.weights[f"reg{level}.w"] *= 0.1
        twin.weights[f"reg{level}.b"] = np.zeros(4, "f4") + 9
    proto = rows(twin, ["box", "score", "class"])
    box, score = run(proto, X[0], ["box", "score"])
    assert (box[:, 2:] >= box[:, :2]).all()
    best = int(score[:, 0].argmax())
    one = explainer(proto)(X[0], Box(best))
    np.testing.assert_allclose(one.detection.box, box[best] @ TURN, rtol=1e-4, atol=1e-3)


CORNER = np.array([[1, 0, -1, 0], [0, 1, 0, -1], [0, 0, 1, 0], [0, 0, 0, 1]], "f4")


@pytest.mark.parametrize("unit", ["pixels", "normalised"])
def test_left_top_width_and_height_are_no_centre(unit: str) -> None:
    """Behind suppression: the boxes that it took tell. At positions: the cells do."""
    twin = suppressed(unit=unit, least=0.995)
    twin.const("corner", CORNER)
    twin.add("MatMul", ["box", "corner"], "apart")
    proto = rows(twin, ["apart", "score", "class"])
    box, score = run(proto, X[0], ["box", "score"])
    for row in range(len(score)):
        one = explainer(proto)(X[0], Box(row))
        want = box[row] * (1 if unit == "pixels" else dets.SIDE)
        np.testing.assert_allclose(one.detection.box, want, rtol=1e-3, atol=1e-3)
        if row:
            break
    twin = dets.Twin(3)
    twin.const("corner", CORNER)
    boxes = twin.add("MatMul", [twin.decoded(twin.joined("reg", 4), "xyxy", unit), "corner"], "b")
    twin.add("Sigmoid", [twin.joined("cls", dets.CLASSES)], "p")
    twin.add("Concat", [boxes, "p"], "y", axis=2)
    proto = twin.model({"y": ["N", dets.CELLS, 4 + dets.CLASSES]})
    (y,) = run(proto, X[0], ["y"])
    row = int(y[0, :, 4:].max(1).argmax())
    want = y[0, row, :4] @ np.linalg.inv(CORNER) * (1 if unit == "pixels" else dets.SIDE)
    one = explainer(proto)(X[0], Detection())
    assert one.detection.row == row
    np.testing.assert_allclose(one.detection.box, want, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["logits", "picked", "refined"])
def test_boxes_joined_to_their_classes_are_none(kind: str) -> None:
    """Logits beside boxes; rows that a TopK picked; RT-DETR, whose boxes are of a Sigmoid too."""
    twin = dets.Twin(3)
    boxes = twin.decoded(twin.joined("reg", 4), "cxcywh", "normalised")
    scores, count = twin.joined("cls", dets.CLASSES), dets.CELLS
    if kind != "logits":
        scores = twin.add("Sigmoid", [scores], "p")
    if kind == "refined":
        for name, value in (("one", 1.0), ("low", 0.02), ("high", 0.98)):
            twin.const(name, np.float32(value))
        twin.add("Clip", [boxes, "low", "high"], "in")
        odds = twin.add("Div", ["in", twin.add("Sub", ["one", "in"], "rest")], "odds")
        more = twin.add("Add", ["reg.z", twin.add("Log", [odds], "log")], "more")
        boxes = twin.add("Sigmoid", [more], "refined")
    if kind == "picked":
        count = 20
        for name, numbers in (("last", [2]), ("k", [20]), ("m1", [-1])):
            twin.const(name, np.array(numbers))
        twin.add("ReduceMax", ["p", "last"], "best", keepdims=0)
        twin.nodes.append(dets.Node("TopK", ["best", "k"], ["top", "place"], axis=1))
        twin.add("Unsqueeze", ["place", "m1"], "at")
        for name, width in (("b", 4), ("c", dets.CLASSES)):
            twin.const(f"{name}.wide", np.array([1, 1, width]))
            twin.add("Tile", ["at", f"{name}.wide"], f"{name}.at")
        boxes = twin.add("GatherElements", [boxes, "b.at"], "boxes", axis=1)
        scores = twin.add("GatherElements", ["p", "c.at"], "scores", axis=1)
    twin.add("Concat", [boxes, scores], "y", axis=2)
    proto = twin.model({"y": ["N", count, 4 + dets.CLASSES]})
    (y,) = run(proto, X[0], ["y"])
    row, cls = (int(i) for i in np.unravel_index(y[0, :, 4:].argmax(), (count, dets.CLASSES)))
    explain = explainer(proto)
    for target in (Detection(), Box(row)):
        one = explain(X[0], target)
        assert (one.detection.row, one.detection.target) == (row, cls)
        assert one.label == dets.NAMES[cls]
        want = y[0, row, :4] @ TURN * dets.SIDE
        np.testing.assert_allclose(one.detection.box, want, rtol=1e-3, atol=1e-3)
    assert explain(X[0]).target == cls
    assert any("without a last function" in d for d in one.diagnosis) == (kind == "logits")


def queries(count: int, corners: bool, bias: np.ndarray | None = None) -> onnx.ModelProto:
    """DETR with its last function inside: a Sigmoid of each class, or a Softmax with nothing."""
    twin, softmax = dets.Twin(7), bias is not None
    twin.const("q", 2 * twin.rng.normal(size=(1, count, 8)).astype("f4"))
    tokens = twin.rows("p4", 8)
    twin.add("Transpose", [tokens], "keys", perm=[0, 2, 1])
    looks = twin.add("Softmax", [twin.add("MatMul", ["q", "keys"], "qk")], "looks", axis=2)
    seen = twin.add("MatMul", [looks, tokens], "seen")
    classes = dets.CLASSES + softmax
    for name, size in (("cls", classes), ("reg", 4)):
        twin.const(f"{name}.w", twin.rng.normal(size=(8, size)).astype("f4"))
        twin.add("MatMul", [seen, f"{name}.w"], name)
    twin.const("bias", np.zeros(classes, "f4") if bias is None else bias.astype("f4"))
    twin.add("Add", ["cls", "bias"], "biased")
    options = {"axis": 2} if softmax else {}
    twin.add("Softmax" if softmax else "Sigmoid", ["biased"], "logits", **options)
    place = twin.add("Sigmoid", ["reg"], "centred")
    if corners:
        twin.const("turn", TURN.astype("f4"))
        place = twin.add("MatMul", ["centred", "turn"], "edges")
    twin.add("Identity", [place], "pred_boxes")
    return twin.model({"logits": ["N", count, classes], "pred_boxes": ["N", count, 4]})


@pytest.mark.parametrize(("count", "corners"), [(5, False), (20, False), (5, True), (20, True)])
def test_boxes_of_a_few_queries_are_right_or_not_drawn(count: int, corners: bool) -> None:
    proto = queries(count, corners)
    logits, centred = run(proto, X[0], ["logits", "centred"])
    row = int(logits[0].max(1).argmax())
    one = explainer(proto)(X[0], Detection())
    assert one.detection.row == row
    if one.detection.box is None:
        assert corners and count < 16  # their order may be chance
        one = explainer(proto, detector={"format": "xyxy", "unit": "normalised"})(X[0], Box(row))
    want = centred[0, row] @ TURN * dets.SIDE
    np.testing.assert_allclose(one.detection.box, want, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("crowd", [0, 1])
def test_a_crowd_is_not_taken_for_nothing(crowd: int) -> None:
    """Most queries find one class: that of nothing is DETR's last all the same."""
    proto = queries(9, False, 3 * np.eye(4)[crowd])
    (logits,) = run(proto, X[0], ["logits"])
    assert logits[0].sum(0).argmax() == crowd
    chance = logits[0, :, :3]
    row, cls = (int(i) for i in np.unravel_index(chance.argmax(), chance.shape))
    explain = explainer(proto)
    one = explain(X[0], Detection())
    assert (one.detection.row, one.detection.target) == (row, cls)
    np.testing.assert_allclose(one.detection.probability, chance[row, cls], rtol=1e-4)
    with pytest.raises(InputError, match="class 3 stands for nothing"):
        explain(X[0], Detection(3))
    first = explainer(proto, detector={"nothing": 0})(X[0], Detection())
    assert first.detection.target != 0
    with pytest.raises(UsageError, match="class 4 stands for nothing, and there are 4"):
        explainer(proto, detector={"nothing": 4})(X[0], Detection())


@pytest.mark.parametrize("place", [0, -1])
def test_the_class_for_nothing_is_the_first_or_the_last(place: int) -> None:
    """SSD whose middle class is said at most positions: it is none of nothing."""
    proto = dets.ssd()
    for weight in proto.graph.initializer:
        if weight.name in ("cls0.b", "cls1.b"):
            value = np.tile([0, 5, 0, 0] + 4 * np.eye(4)[place], 2)
            weight.CopyFrom(onnx.numpy_helper.from_array(value.astype("f4"), weight.name))
    (scores,) = run(proto, X[0], ["scores"])
    assert scores[0].sum(0).argmax() == 1
    one = explainer(proto)(X[0], Detection())
    sure = np.delete(scores[0], place, 1)
    row, cls = (int(i) for i in np.unravel_index(sure.argmax(), sure.shape))
    assert (one.detection.row, one.detection.target) == (row, cls + (place == 0))


@pytest.mark.parametrize("label", ["Background", "__background__", "no object", "nothing"])
def test_a_label_says_which_class_is_nothing(label: str) -> None:
    """In a picture full of findings the class for nothing is not the one said at most places."""
    proto = dets.ssd()
    for weight in proto.graph.initializer:
        if weight.name in ("cls0.b", "cls1.b"):
            value = np.tile([0, 0, 0, 5], 2)
            weight.CopyFrom(onnx.numpy_helper.from_array(value.astype("f4"), weight.name))
    explain = explainer(proto, labels=[label, "cat", "dog", "bird"])
    assert explain(X[0], Detection("bird")).detection.label == "bird"
    assert {f.detection.label for f in explain(X[0], Detections("bird"))} == {"bird"}
    with pytest.raises(InputError, match="class 0 stands for nothing"):
        explain(X[0], Detection(0))


def test_files_write_the_same_rows() -> None:
    make: Callable[[], onnx.ModelProto] = lambda: rows(suppressed(), ["class", "score", "box"])  # noqa: E731
    proto = make()
    made = convert(proto, target=Box(1))
    assert made.check is not None and made.check.problems == ()
    session = ort.InferenceSession(made.proto.SerializeToString())
    map, cls = session.run(["onnxcam.map", "onnxcam.class"], {"x": X[0]})
    one = explainer(proto)(X[0], Box(1))
    np.testing.assert_allclose(map[0, 0], one.map, rtol=1e-3, atol=1e-5)
    assert cls[0, 0] == one.detection.target


@pytest.mark.parametrize("method", ["gradcam", "saliency", "layercam", "lrp-epsilon"])
def test_a_file_says_that_no_box_is_at_a_place(method: str) -> None:
    """Its class is -1, and no map is drawn, for one that is there beside it is."""
    explain = explainer(dets.yolo8())
    here = Box(box=explain(X[0], Detection()).detection.box)
    for place, nothing in ((Box(box=(900, 900, 950, 950)), True), (here, False)):
        made = convert(dets.yolo8(), target=place, method=method, expose=["signed"])
        assert made.check is not None and made.check.problems == ()
        session = ort.InferenceSession(made.proto.SerializeToString())
        names = ["onnxcam.class", "onnxcam.map", "onnxcam.signed"]
        cls, map, signed = session.run(names, {"x": X[0]})
        assert (cls.tolist() == [[-1]]) is nothing
        assert (not map.any() and not signed.any()) is nothing


@pytest.mark.parametrize("target", [Box(3), Detection(), Sum(), Margin(1, 0)], ids=repr)
def test_a_file_of_gradients_is_held_against_its_own_target(target: Any) -> None:
    """The check took a one in the class's place for every target, and refused all but classes."""
    made = convert(dets.yolo8(), target=target, method="gradient", wrt=["x"])
    assert made.check is not None and made.check.problems == ()
    session = ort.InferenceSession(made.proto.SerializeToString())
    (slope,) = session.run(["grad::x"], {"x": X[0]})
    one = explainer(dets.yolo8(), "saliency", upsampling="none")(X[0], target)
    np.testing.assert_allclose(np.abs(slope[0]).max(0), one.map, rtol=1e-3, atol=1e-5)


def test_a_gradient_of_a_box_that_is_not_there_is_zero() -> None:
    for place in ((900, 900, 950, 950), explainer(dets.yolo8())(X[0], Detection()).detection.box):
        made = convert(dets.yolo8(), target=Box(box=place), method="gradient", wrt=["x"])
        session = ort.InferenceSession(made.proto.SerializeToString())
        cls, slope = session.run(["onnxcam.class", "grad::x"], {"x": X[0]})
        assert bool(slope.any()) is bool(cls[0, 0] >= 0) is (place[0] != 900)


def test_a_box_that_hardly_is_at_a_place_is_said() -> None:
    explain = explainer(dets.yolo8())
    left, top, right, bottom = explain(X[0], Detection()).detection.box
    wide = Box(box=(left, top, left + 2.5 * (right - left), bottom))
    said = explain(X[0], wide)
    assert any("overlaps the place that is asked for by" in d for d in said.diagnosis)
    same = explain(X[0], Box(box=(left, top, right, bottom)))
    assert not any("overlaps the place" in d for d in same.diagnosis)


def test_boxes_in_whole_numbers_are_read_before_they_are_rounded() -> None:
    """An int8 model whose one output holds boxes and classes in steps of its own."""
    proto = dets.yolo8()
    (y,) = run(proto, X[0], ["y"])
    proto.graph.node[-1].output[0] = "whole"
    step = np.float32((y.max() - min(y.min(), 0)) / 255)
    for name, value in (("step", step), ("zero", np.uint8(round(-min(y.min(), 0) / step)))):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value), name))
    node = onnx.helper.make_node("QuantizeLinear", ["whole", "step", "zero"], ["y"])
    proto.graph.node.append(node)
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8
    one = explainer(proto)(X[0], Detection())
    want = y[0, :4, one.detection.row] @ TURN
    np.testing.assert_allclose(one.detection.box, want, rtol=1e-3, atol=1e-3)


def test_rows_whose_suppression_knows_one_score_have_their_own_classes() -> None:
    """Ultralytics' `nms=True`: suppression takes the highest score, the class is a column."""
    twin = dets.Twin(8)
    boxes = twin.decoded(twin.joined("reg", 4), "xyxy", "pixels")
    twin.add("Sigmoid", [twin.joined("cls", dets.CLASSES)], "p")
    for name, value in (("same", 0.45), ("least", 0.9)):
        twin.const(name, np.array([value], "f4"))
    for name, number in (("most", [20]), ("zero", [0]), ("m1", [-1]), ("two", [2]), ("one", [1])):
        twin.const(name, np.array(number))
    twin.add("ReduceMax", ["p", "two"], "best", keepdims=0)
    twin.add("ArgMax", ["p"], "which", axis=2, keepdims=0)
    scores = twin.add("Unsqueeze", ["best", "one"], "scores")
    twin.add("NonMaxSuppression", [boxes, scores, "most", "same", "least"], "kept")
    twin.add("Squeeze", [twin.add("Gather", ["kept", "two"], "r", axis=1), "m1"], "rows")
    for source, name in ((boxes, "box"), ("best", "score"), ("which", "class")):
        flat = twin.add("Squeeze", [source, "zero"], f"{name}.0")
        twin.add("Gather", [flat, "rows"], f"{name}.k", axis=0)
    twin.add("Cast", ["class.k"], "class.f", to=TensorProto.FLOAT)
    columns = [twin.add("Unsqueeze", [f"{n}", "m1"], f"{n}.u") for n in ("score.k", "class.f")]
    twin.add("Concat", ["box.k", *columns], "y", axis=1)
    proto = twin.model({"y": ["R", 6]}, batch=1)
    explain = explainer(proto)
    (y,) = run(proto, X[0], ["y"])
    for cls in sorted({int(c) for c in y[:, 5]}):
        own = np.flatnonzero(y[:, 5] == cls)
        row = int(own[y[own, 4].argmax()])
        one = explain(X[0], Detection(cls))
        assert (one.detection.row, one.label) == (row, dets.NAMES[cls])
        np.testing.assert_allclose(one.detection.box, y[row, :4], rtol=1e-4, atol=1e-3)
    assert len(explain.maps_of(Detection())[0].layers) == 2
    twin.weights["least"] = np.array([1.5], "f4")
    none = explainer(twin.model({"y": ["R", 6]}, batch=1))
    assert none(X[0], Detections()) == []


@pytest.mark.parametrize("flat", [True, False])
def test_raw_heads_of_several_scales_are_refused_until_declared(flat: bool) -> None:
    """[N, anchors * (5 + C), h, w], and [N, anchors, h, w, 5 + C], without the last layer."""
    twin, outputs, width = dets.Twin(4, anchors=2), {}, 5 + dets.CLASSES
    for level, stride in enumerate(dets.STRIDES):
        side, made = dets.SIDE // stride, twin.scale(level, "h", width)
        shape: list[Any] = ["N", 2 * width, side, side]
        if not flat:
            twin.const(f"s{level}", np.array([0, 2, width, side, side]))
            apart = twin.add("Reshape", [made, f"s{level}"], f"r{level}")
            made = twin.add("Transpose", [apart], f"t{level}", perm=[0, 1, 3, 4, 2])
            shape = ["N", 2, side, side, width]
        twin.add("Identity", [made], f"out{level}")
        outputs[f"out{level}"] = shape
    proto = twin.model(outputs)
    for target in (Detection(), Box(0), Detections()):
        with pytest.raises(UsageError, match="'out0', 'out1' are alike but for their grids"):
            explainer(proto)(X[0], target)
    names = ["out0", "out1"]
    said = {"scores": names, "boxes": names, "format": "yolov5", "first_class": 5, "anything": 4,
            "anchors": [[9, 9, 5, 8], [16, 20, 24, 12]], "final": "Sigmoid"}  # fmt: skip
    more = {"axis": 1, "each": 2} if flat else {}
    one = explainer(proto, detector={**said, **more})(X[0], Detection())
    assert 0 <= one.detection.target < dets.CLASSES
