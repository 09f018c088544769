"""Methods that hide parts of the input, of a box that suppression gives another row each time."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from support import detector_nets as dets
from targets.test_detectors import X, explainer, run

from onnxcam.errors import UsageError
from onnxcam.targets import Box, Detection

HIDING: dict[str, dict[str, Any]] = {
    "occlusion": {"window": 8, "stride": 8},
    "rise": {"masks": 8, "cells": 4},
    "lime": {"samples": 20},
    "kernel-shap": {"samples": 20},
}


def _alike(proto: onnx.ModelProto, x: np.ndarray, box: np.ndarray, cls: int) -> float:
    """D-RISE's measure of rows that have one class each: IoU, the same class, how sure."""
    found = run(proto, x)
    rows = zip(found["boxes"], found["scores"], found["labels"], strict=True)
    return max((_iou(b, box) * s for b, s, c in rows if c == cls), default=0.0)


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    shared = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    return float(shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared))


@pytest.mark.parametrize("kind", ["suppressed", "proposals"])
def test_occlusion_is_the_loss_of_similarity(kind: str) -> None:
    proto = dets.suppressed(False) if kind == "suppressed" else dets.proposals(False)
    found, x = run(proto, X[0]), X[0]
    box, cls = found["boxes"][1], int(found["labels"][1])
    one = explainer(proto, "occlusion", parameters=HIDING["occlusion"])(x, Box(1))
    whole = _alike(proto, x, box, cls)
    want = np.zeros((4, 4))
    for i in range(4):
        for j in range(4):
            hidden = x.copy()
            hidden[..., 8 * i : 8 * i + 8, 8 * j : 8 * j + 8] = 0
            want[i, j] = whole - _alike(proto, hidden, box, cls)
    side = one.signed_map.shape[0] // 4
    got = one.signed_map[side // 2 :: side, side // 2 :: side]
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)
    assert one.detection.row == 1 and one.parameters["scores"] == "similarity of boxes"


@pytest.mark.parametrize("method", HIDING)
def test_they_explain_a_row_and_the_best_of_proposals(method: str) -> None:
    for proto, target in ((dets.suppressed(True), Box(0)), (dets.proposals(True), Detection())):
        one = explainer(proto, method, parameters=HIDING[method], seed=1)(X[0], target)
        assert one.detection is not None and one.map.any()


def test_what_asks_behind_a_layer_is_refused_with_what_serves() -> None:
    with pytest.raises(UsageError, match=r"another box in each run.*d-rise"):
        explainer(dets.suppressed(True), "ablation-cam")(X[0], Box(0))
