"""Small models for the gallery of kinds of input: a table, a volume, a regression.

The table's is trained on Fisher's irises, the volume's filters are set by hand: both are made in a
moment, and are no more than what a picture needs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnxcam import Explainer, Explanation

MODELS = Path(__file__).resolve().parents[1] / "models"
FEATURES = ("sepal length", "sepal width", "petal length", "petal width")


def digits() -> list[Explanation]:
    """Return how far four digits are turned, and what that is read off."""
    explain = Explainer(MODELS / "digit_rotation.onnx", threads=1)
    return [explain(MODELS / "samples" / f"digit_{k}.png") for k in (1, 3, 4, 7)]


def flower() -> Explanation:
    """Return what makes a network take a row of measures for one of three irises."""
    from sklearn.datasets import load_iris
    from sklearn.neural_network import MLPClassifier

    x, y = load_iris(return_X_y=True)
    net = MLPClassifier((16,), max_iter=2000, random_state=0).fit(x, y)
    (w1, w2), (b1, b2) = net.coefs_, net.intercepts_
    model = _model(
        [
            helper.make_node("Gemm", ["x", "w1", "b1"], ["hidden"]),
            helper.make_node("Relu", ["hidden"], ["relu"]),
            helper.make_node("Gemm", ["relu", "w2", "b2"], ["logits"]),
        ],
        {"w1": w1, "b1": b1, "w2": w2, "b2": b2}, ["N", 4], ["N", 3],
    )  # fmt: skip
    labels = ["setosa", "versicolor", "virginica"]
    explain = Explainer(model, "kernel-shap", labels=labels, threads=1, cache=False)
    return explain(x[100].astype(np.float32))


def ball() -> Explanation:
    """Return where a network with a blob for a filter finds a ball in a noisy volume."""
    at = np.mgrid[0:24, 0:24, 0:24] - np.array([9, 14, 11])[:, None, None, None]
    ball = ((at**2).sum(axis=0) < 20).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 0.15, ball.shape).astype(np.float32)
    kernel = np.mgrid[-3:4, -3:4, -3:4]
    blob = np.exp(-(kernel**2).sum(axis=0) / 8.0)
    filters = 30 * np.stack([blob - blob.mean(), 0 * blob])[:, None]
    floor = np.array([-90.0, 1.0])  # what noise alone reaches; what speaks against a ball
    model = _model(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["conv"], pads=[3] * 6, strides=[2, 2, 2]),
            helper.make_node("Relu", ["conv"], ["relu"]),
            helper.make_node("GlobalAveragePool", ["relu"], ["pool"]),
            helper.make_node("Flatten", ["pool"], ["logits"]),
        ],
        {"w": filters, "b": floor}, ["N", 1, 24, 24, 24], ["N", 2],
    )  # fmt: skip
    explain = Explainer(model, "layercam", labels=["a ball", "none"], threads=1, cache=False)
    return explain((ball + noise)[None, None], target="a ball")


def _model(
    nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], shape: list[object],
    scores: list[object],
) -> onnx.ModelProto:  # fmt: skip
    graph = helper.make_graph(
        nodes, "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, scores)],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
