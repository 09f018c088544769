"""A small audit: a net on coloured squares, its twin, and data for both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from PIL import Image

from support.nets import model

SIZE = 16
SPEC = """layout = "NCHW"
size = [16, 16]
resize = "stretch"
channels = "RGB"
scale = 0.00392156862745098
mean = [0.0, 0.0, 0.0]
std = [1.0, 1.0, 1.0]
labels = ["red", "green", "blue"]
"""


def colour_net() -> onnx.ModelProto:
    """Says which colour a square in a grey picture has: a channel a colour, pooled."""
    w = np.full((3, 3, 3, 3), -0.05, np.float32)
    for k in range(3):
        w[k, k] = 0.1
    v = np.zeros((3, 3, 1, 1), np.float32)
    v[range(3), range(3)] = 2
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv1"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv1"], ["relu1"], name="relu1"),
        helper.make_node("Conv", ["relu1", "v"], ["conv2"], name="conv2"),
        helper.make_node("Relu", ["conv2"], ["relu2"], name="relu2"),
        helper.make_node("GlobalAveragePool", ["relu2"], ["pool"], name="pool"),
        helper.make_node("Flatten", ["pool"], ["flat"], name="flat"),
        helper.make_node("Gemm", ["flat", "fc"], ["logits"], name="fc"),
    ]
    fc = (np.eye(3) * 40).astype(np.float32)
    made = model(
        nodes, {"x": ["N", 3, SIZE, SIZE]}, {"logits": ["N", 3]}, {"w": w, "v": v, "fc": fc}
    )
    return onnx.shape_inference.infer_shapes(made)


def damaged(proto: onnx.ModelProto, name: str, factor: float) -> onnx.ModelProto:
    """Return a model with one weight multiplied."""
    found = onnx.ModelProto()
    found.CopyFrom(proto)
    for tensor in found.graph.initializer:
        if tensor.name == name:
            values = numpy_helper.to_array(tensor) * np.float32(factor)
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))
    return found


def saved(proto: onnx.ModelProto, place: Path) -> Path:
    """Write a model with its description beside it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, place)
    place.with_suffix(".toml").write_text(SPEC)
    return place


def squares(folder: Path, count: int = 12, seed: int = 0) -> Path:
    """Write pictures of coloured squares on grey, a folder for each colour."""
    rng = np.random.default_rng(seed)
    for k in range(count):
        name = ("red", "green", "blue")[k % 3]
        picture = np.full((SIZE, SIZE, 3), 90, np.uint8)
        y, x = rng.integers(2, 9, 2)
        picture[y : y + 5, x : x + 5] = 0
        picture[y : y + 5, x : x + 5, k % 3] = rng.integers(180, 256)
        place = folder / name / f"{k:03d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(place)
    return folder


POLICY = """name = "test"
minimum = {minimum}
[[limit]]
measure = "accuracy"
min = 0.7
[[limit]]
measure = "failures"
max = 0.3
"""


def of_a_damaged_twin(folder: Path, count: int, weight: str, factor: float, trust: int) -> Path:
    """Audit the net with one weight multiplied against itself; return the audit's folder."""
    from onnxcam.audit import run

    squares(folder / "data", count)
    saved(colour_net(), folder / "net.onnx")
    saved(damaged(colour_net(), weight, factor), folder / "twin.onnx")
    run(
        folder / "twin.onnx", folder / "data", folder / "o", baseline=folder / "net.onnx",
        engine="here", trust=trust,
    )  # fmt: skip
    return folder / "o"
