"""Twins of detector families: their heads' arithmetic on a trunk of two small convolutions.

A head is a convolution of 1 x 1, so that by hand the share of a cell in the score of one of its
boxes is that score without its bias, and the share of any other cell is nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from support import nets

Node = helper.make_node
SIDE = 32
STRIDES = (4, 8)  # of the two scales: grids of 8 x 8 and 4 x 4
CLASSES = 3
NAMES = ["person", "bicycle", "car"]
CELLS = sum((SIDE // s) ** 2 for s in STRIDES)


def points() -> np.ndarray:
    """The middle of every cell twice, and its stride, [A, 4] and [A, 1]."""
    found, steps = [], []
    for stride in STRIDES:
        y, x = np.mgrid[: SIDE // stride, : SIDE // stride].reshape(2, -1) + 0.5
        found.append(np.stack([x, y, x, y], 1) * stride)
        steps.append(np.full((len(x), 1), stride))
    return np.concatenate(found).astype("f4"), np.concatenate(steps).astype("f4")


class Twin:
    """A detector in the making: nodes, weights and outputs.

    Args:
        seed: Of its weights.
        anchors: Boxes of a cell.
    """

    def __init__(self, seed: int = 0, anchors: int = 1) -> None:
        self.rng, self.anchors = np.random.default_rng(seed), anchors
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}
        self.conv("x", "c3", 3, 6, 3, stride=STRIDES[0])
        self.add("Relu", ["c3"], "p3")
        self.conv("p3", "c4", 6, 8, 3, stride=2)
        self.add("Relu", ["c4"], "p4")

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(Node(op, inputs, [output], name=output, **attributes))
        return output

    def const(self, name: str, value: Any) -> str:
        self.weights[name] = np.asarray(value)
        return name

    def conv(self, x: str, y: str, before: int, after: int, size: int, stride: int = 1) -> str:
        scale = 1 / np.sqrt(before * size * size)
        w = self.rng.normal(size=(after, before, size, size)) * scale * 1.5
        self.const(f"{y}.w", w.astype("f4"))
        self.const(f"{y}.b", self.rng.normal(size=after).astype("f4") * 0.3)
        pads = [size // 2] * 4
        return self.add(
            "Conv", [x, f"{y}.w", f"{y}.b"], y, strides=[stride] * 2, pads=pads
        )  # fmt: skip

    def scale(self, level: int, name: str, channels: int) -> str:
        """A head's convolution at a scale: [N, anchors * channels, h, w]."""
        layer, width = (("p3", 6), ("p4", 8))[level]
        return self.conv(layer, f"{name}{level}", width, self.anchors * channels, 1)

    def rows(self, tensor: str, channels: int) -> str:
        """[N, anchors * channels, h, w] as [N, h * w * anchors, channels]."""
        turned = self.add("Transpose", [tensor], f"{tensor}.t", perm=[0, 2, 3, 1])
        shape = self.const(f"{tensor}.s", np.array([0, -1, channels]))
        return self.add("Reshape", [turned, shape], f"{tensor}.r")

    def joined(self, name: str, channels: int) -> str:
        """Both scales, one behind the other: [N, A, channels]."""
        parts = [self.rows(self.scale(i, name, channels), channels) for i in (0, 1)]
        return self.add("Concat", parts, name, axis=1)

    def decoded(self, raw: str, form: str, unit: str) -> str:
        """Boxes of raw numbers [N, A, 4]: distances that are powers, from the cells' middles."""
        middle, step = points()
        middle, step = (np.repeat(v, self.anchors, axis=0)[None] for v in (middle, step))
        self.const("middle", middle), self.const("signed", step * np.array([-1, -1, 1, 1], "f4"))
        self.const("small", np.float32(0.3))
        power = self.add("Exp", [self.add("Mul", [raw, "small"], f"{raw}.z")], f"{raw}.e")
        apart = self.add("Mul", [power, "signed"], f"{raw}.m")
        boxes = self.add("Add", [apart, "middle"], f"{raw}.xyxy")
        if form == "cxcywh":
            matrix = np.array([[0.5, 0, -1, 0], [0, 0.5, 0, -1], [0.5, 0, 1, 0], [0, 0.5, 0, 1]])
            self.const("turn", matrix.astype("f4"))
            boxes = self.add("MatMul", [boxes, "turn"], f"{raw}.c")
        if unit == "normalised":
            self.const("side", np.float32(SIDE))
            boxes = self.add("Div", [boxes, "side"], f"{raw}.n")
        return boxes

    def model(self, outputs: dict[str, Any], batch: Any = "N") -> onnx.ModelProto:
        made = nets.model(
            self.nodes, {"x": [batch, 3, SIDE, SIDE]}, outputs, self.weights
        )  # fmt: skip
        entry = made.metadata_props.add()
        entry.key, entry.value = "names", str(dict(enumerate(NAMES)))
        return made


def retinanet(form: str = "xyxy", unit: str = "pixels") -> onnx.ModelProto:
    """RetinaNet, FCOS: a Sigmoid for each class, boxes in another output."""
    twin = Twin(1)
    twin.add("Sigmoid", [twin.joined("cls", CLASSES)], "scores")
    twin.add("Identity", [twin.decoded(twin.joined("reg", 4), form, unit)], "boxes")
    return twin.model({"scores": ["N", CELLS, CLASSES], "boxes": ["N", CELLS, 4]})


def ssd() -> onnx.ModelProto:
    """SSD, UltraFace: a Softmax with a class for nothing, the first; two boxes a cell."""
    twin = Twin(2, anchors=2)
    twin.add("Softmax", [twin.joined("cls", CLASSES + 1)], "scores", axis=2)
    for level in (0, 1):  # mostly nothing
        twin.weights[f"cls{level}.b"][[0, CLASSES + 1]] += 3
    twin.add("Identity", [twin.decoded(twin.joined("reg", 4), "xyxy", "normalised")], "boxes")
    return twin.model({"scores": ["N", 2 * CELLS, CLASSES + 1], "boxes": ["N", 2 * CELLS, 4]})


def yolo8() -> onnx.ModelProto:
    """YOLOv8, v11, v12: [N, 4 + C, A], centre, width and height in pixels."""
    twin = Twin(3)
    boxes = twin.decoded(twin.joined("reg", 4), "cxcywh", "pixels")
    probable = twin.add("Sigmoid", [twin.joined("cls", CLASSES)], "p")
    parts = [twin.add("Transpose", [t], f"{t}.T", perm=[0, 2, 1]) for t in (boxes, probable)]
    twin.add("Concat", parts, "y", axis=1)
    return twin.model({"y": ["N", 4 + CLASSES, CELLS]})


def oriented(nested: bool) -> onnx.ModelProto:
    """YOLOv8-OBB: an angle behind the classes that is made of a Sigmoid, and is no probability."""
    twin = Twin(3)
    boxes = twin.decoded(twin.joined("reg", 4), "cxcywh", "pixels")
    probable = twin.add("Sigmoid", [twin.joined("cls", CLASSES)], "p")
    turn = twin.add("Sigmoid", [twin.joined("rot", 1)], "t")
    twin.const("quarter", np.float32(0.25)), twin.const("pi", np.float32(np.pi))
    angle = twin.add("Mul", [twin.add("Sub", [turn, "quarter"], "t0"), "pi"], "angle")
    parts = [twin.add("Transpose", [t], f"{t}.T", perm=[0, 2, 1]) for t in (boxes, probable, angle)]
    if nested:
        parts = [twin.add("Concat", parts[:2], "inner", axis=1), parts[2]]
    twin.add("Concat", parts, "y", axis=1)
    return twin.model({"y": ["N", 5 + CLASSES, CELLS]})


def queries(twin: Twin, tokens: str, count: int = 9) -> onnx.ModelProto:
    """Queries that look at all tokens; a Softmax's logits with a class for nothing, and boxes."""
    twin.const("q", twin.rng.normal(size=(1, count, 8)).astype("f4"))
    keys = twin.add("Transpose", [tokens], "keys", perm=[0, 2, 1])
    looks = twin.add("Softmax", [twin.add("MatMul", ["q", keys], "qk")], "looks", axis=2)
    seen = twin.add("MatMul", [looks, tokens], "seen")
    for name, size in (("cls", CLASSES + 1), ("reg", 4)):
        twin.const(f"{name}.w", twin.rng.normal(size=(8, size)).astype("f4"))
        twin.add("MatMul", [seen, f"{name}.w"], name)
    twin.add("Identity", ["cls"], "logits")
    twin.add("Sigmoid", ["reg"], "pred_boxes")
    return twin.model({"logits": ["N", count, CLASSES + 1], "pred_boxes": ["N", count, 4]})


def pyramid_detr() -> onnx.ModelProto:
    """RT-DETR: the tokens of both maps, one behind the other, and queries that look at them all."""
    twin = Twin(11)
    twin.conv("p3", "wide", 6, 8, 1)
    parts = [twin.rows("wide", 8), twin.rows("p4", 8)]
    tokens = twin.add("Concat", parts, "tokens", axis=1)
    return queries(twin, tokens)


def yolo5() -> onnx.ModelProto:
    """YOLOX: [N, A, 5 + C], the box, whether there is anything, the classes."""
    twin = Twin(4)
    boxes = twin.decoded(twin.joined("reg", 4), "cxcywh", "pixels")
    there = twin.add("Sigmoid", [twin.joined("obj", 1)], "o")
    probable = twin.add("Sigmoid", [twin.joined("cls", CLASSES)], "p")
    twin.add("Concat", [boxes, there, probable], "y", axis=2)
    return twin.model({"y": ["N", CELLS, 5 + CLASSES]})


def nanodet() -> onnx.ModelProto:
    """NanoDet: scores and distances of each scale apart, [N, C, h, w] and [N, 4, h, w]."""
    twin, outputs = Twin(5), {}
    for level, stride in enumerate(STRIDES):
        side = SIDE // stride
        twin.add("Sigmoid", [twin.scale(level, "cls", CLASSES)], f"scores{level}")
        twin.add("Exp", [twin.scale(level, "reg", 4)], f"distances{level}")
        outputs |= {f"scores{level}": ["N", CLASSES, side, side],
                    f"distances{level}": ["N", 4, side, side]}  # fmt: skip
    return twin.model(outputs)


def blazeface() -> onnx.ModelProto:
    """BlazeFace: raw logits of one class and offsets of each scale apart; two boxes a cell."""
    twin, outputs = Twin(6, anchors=2), {}
    for level, stride in enumerate(STRIDES):
        count = 2 * (SIDE // stride) ** 2
        for name, channels in (("face", 1), ("place", 16)):
            made = twin.rows(twin.scale(level, name, channels), channels)
            twin.add("Identity", [made], f"{name}s{level}")
            outputs[f"{name}s{level}"] = [1, count, channels]
    return twin.model(outputs, batch=1)


def detr() -> onnx.ModelProto:
    """DETR: queries that look at all of the picture, a Softmax with a class for nothing, last."""
    twin = Twin(7)
    return queries(twin, twin.rows("p4", 8))


def suppressed(joined: bool) -> onnx.ModelProto:
    """Any with its suppression inside: boxes [R, 4], scores [R], classes [R], or [R, 6] of them."""
    twin = Twin(8)
    boxes = twin.decoded(twin.joined("reg", 4), "xyxy", "pixels")
    probable = twin.add("Sigmoid", [twin.joined("cls", CLASSES)], "p")
    turned = twin.add("Transpose", [probable], "pt", perm=[0, 2, 1])
    for name, value in (("most", 20), ("same", np.float32(0.45)), ("least", np.float32(0.5))):
        twin.const(name, np.array([value], np.int64 if name == "most" else np.float32))
    kept = twin.add("NonMaxSuppression", [boxes, turned, "most", "same", "least"], "kept")
    columns = {}
    for name, column in (("cls", 1), ("row", 2)):
        twin.const(f"col.{name}", np.array(column))
        columns[name] = twin.add("Gather", [kept, f"col.{name}"], f"kept.{name}", axis=1)
    twin.const("zero", np.array([0]))
    twin.const("m1", np.array([-1]))
    own = twin.add("Squeeze", [boxes, "zero"], "all")
    twin.add("Gather", [own, columns["row"]], "boxes", axis=0)
    flat = twin.add("Squeeze", [probable, "zero"], "flat")
    pair = [twin.add("Unsqueeze", [columns[n], "m1"], f"{n}.u") for n in ("row", "cls")]
    both = twin.add("Concat", pair, "both", axis=1)
    twin.add("GatherND", [flat, both], "scores")
    if not joined:
        twin.add("Identity", [columns["cls"]], "labels")
        made = twin.model({"boxes": ["R", 4], "scores": ["R"]}, batch=1)
        made.graph.output.append(
            helper.make_tensor_value_info("labels", TensorProto.INT64, ["R"])
        )  # fmt: skip
        return made
    number = twin.add("Cast", [columns["cls"]], "number", to=TensorProto.FLOAT)
    last = [twin.add("Unsqueeze", [t, "m1"], f"{t}.c") for t in ("scores", number)]
    twin.add("Concat", ["boxes", *last], "y", axis=1)
    return twin.model({"y": ["R", 6]}, batch=1)


def proposals(cut: bool) -> onnx.ModelProto:
    """torchvision's: the surest of all cells, then suppression in a branch; rows are all it says.

    Args:
        cut: Score what is cut out of both maps at the boxes, as a detector of two stages does;
            else the cells themselves.
    """
    twin = Twin(9)
    boxes = twin.decoded(twin.joined("reg", 4), "xyxy", "pixels")
    sure = twin.add("Sigmoid", [twin.joined("cls", CLASSES)], "p")
    twin.const("flat", np.array([-1])), twin.const("most", np.array([12]))
    twin.const("m1", np.array([-1])), twin.const("zero", np.array([0]))
    twin.const("count", np.array(CLASSES))
    twin.add("Reshape", [sure, "flat"], "all")
    twin.nodes.append(Node("TopK", ["all", "most"], ["top", "place"]))
    twin.add("Div", ["place", "count"], "cell"), twin.add("Mod", ["place", "count"], "class")
    twin.add("Gather", [twin.add("Squeeze", [boxes, "zero"], "b"), "cell"], "near", axis=0)
    score = "top"
    if cut:
        twin.const("one", np.zeros(12, np.int64))
        cuts = [
            twin.add("RoiAlign", [f"p{level}", "near", "one"], f"cut{level}", output_height=2,
                     output_width=2, spatial_scale=1 / STRIDES[level - 3], sampling_ratio=2,
                     coordinate_transformation_mode="half_pixel")
            for level in (3, 4)
        ]  # fmt: skip
        twin.const("mix.w", twin.rng.normal(size=(14, 1)).astype("f4"))
        twin.const("space", np.array([2, 3]))
        means = [twin.add("ReduceMean", [t, "space"], f"{t}.m", keepdims=0) for t in cuts]
        mixed = twin.add("MatMul", [twin.add("Concat", means, "m", axis=1), "mix.w"], "mixed")
        score = twin.add("Sigmoid", [twin.add("Reshape", [mixed, "flat"], "second")], "again")
    branch = [
        Node("Unsqueeze", ["near", "zero"], ["nb"]), Node("Unsqueeze", [score, "z2"], ["ns"]),
        Node("NonMaxSuppression", ["nb", "ns", "k", "same"], ["three"]),
        Node("Gather", ["three", "two"], ["kept"], axis=1),
    ]  # fmt: skip
    for name, value in (("z2", [0, 1]), ("k", [20]), ("two", 2)):
        twin.const(name, np.array(value))
    twin.const("same", np.array([0.45], "f4"))
    shown = helper.make_tensor_value_info("kept", TensorProto.INT64, [None])
    empty = helper.make_node("Slice", ["place", "zero", "zero"], ["kept"])
    twin.add("Size", ["place"], "size"), twin.add("Cast", ["size"], "any", to=TensorProto.BOOL)
    twin.nodes.append(Node(
        "If", ["any"], ["keep"],
        then_branch=helper.make_graph(branch, "some", [], [shown]),
        else_branch=helper.make_graph([empty], "none", [], [shown]),
    ))  # fmt: skip
    for source, name in (("near", "boxes"), ("class", "labels"), (score, "scores")):
        twin.add("Gather", [source, "keep"], name, axis=0)
    made = twin.model({"boxes": ["R", 4], "scores": ["R"]}, batch=1)
    labels = helper.make_tensor_value_info("labels", TensorProto.INT64, ["R"])
    made.graph.output.insert(1, labels)
    return made


FAMILIES: dict[str, Callable[[], onnx.ModelProto]] = {
    "retinanet": retinanet, "ssd": ssd, "yolo8": yolo8, "yolo5": yolo5,
}  # fmt: skip
