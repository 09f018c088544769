"""D-RISE: the equations of the paper in plain loops, over detector families; what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import detector_nets as dets
from support import nets
from targets.test_detectors import X, explainer, read, run

from onnxcam import Explainer, matlab
from onnxcam.errors import UsageError
from onnxcam.methods.perturb.rise import random_mask
from onnxcam.targets import Box, Detection

FEW = {"masks": 6, "cells": 4}


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    shared = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    return float(shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared))


def _oracle(family: str, proto: Any, x: np.ndarray, pick: Any, seed: int) -> np.ndarray:
    _, sure, boxes = read(family, run(proto, x))
    own = pick(sure)
    rng, total = np.random.default_rng(seed), np.zeros(x.shape[2:])
    for _ in range(FEW["masks"]):
        mask = random_mask(rng, x.shape[2:], FEW["cells"], 0.5)
        _, there, places = read(family, run(proto, x * mask.astype("f4")))
        best = 0.0
        for row in range(len(places)):
            cosine = there[row] @ sure[own]
            cosine /= np.linalg.norm(there[row]) * np.linalg.norm(sure[own])
            best = max(best, _iou(boxes[own], places[row]) * cosine * there[row].max())
        total += best * mask / 0.5 / FEW["masks"]
    return total


@pytest.mark.parametrize("family", sorted(dets.FAMILIES))
def test_it_is_the_papers_similarity(family: str) -> None:
    proto, x = dets.FAMILIES[family](), X[0]
    cases: list[tuple[Any, Any]] = [
        (Detection(1), lambda sure: sure[:, 1].argmax()),
        (Box(5), lambda sure: 5),
    ]
    for target, pick in cases:
        found = explainer(proto, "d-rise", parameters=FEW, seed=3, batch_size=4)(x, target)
        want = _oracle(family, proto, x, pick, 3)
        np.testing.assert_allclose(found.raw_map, want, rtol=1e-4, atol=1e-6)
        assert found.standard_error.max() > 0 and found.gradient == "not used"
        assert found.detection is not None


def test_a_box_that_nothing_hides_is_itself() -> None:
    """Without a mask s is 1 times how sure the model is: the mean map is that, evenly."""
    proto, x = dets.yolo8(), X[0]
    settings = {"masks": 2, "cells": 1, "keep": 0.999}
    found = explainer(proto, "d-rise", parameters=settings)(x, Detection(0))
    _, sure, _ = read("yolo8", run(proto, x))
    np.testing.assert_allclose(found.raw_map, sure[sure[:, 0].argmax()].max() / 0.999, rtol=1e-4)


def test_behind_a_suppression_rows_are_matched_anew() -> None:
    """Where a row is another box in each run: methods that hide parts of the input match them."""
    proto, x = dets.suppressed(joined=True), X[0]
    found = explainer(proto, "d-rise", parameters=FEW, seed=3)(x, Box(0))
    assert np.isfinite(found.raw_map).all() and 0 < found.raw_map.max() <= 2
    rise = explainer(proto, "rise", parameters={**FEW, "score": "score"}, seed=3)(x, Box(0))
    np.testing.assert_allclose(rise.raw_map, found.raw_map, rtol=1e-4, atol=1e-6)
    with pytest.raises(UsageError, match="another box in each"):
        explainer(proto, "ablation-cam")(x, Box(0))


def test_it_ends_early_and_its_seed_makes_the_map() -> None:
    proto, x = dets.yolo8(), X[0]
    first, again = (explainer(proto, "d-rise", parameters=FEW, seed=4)(x) for _ in range(2))
    np.testing.assert_array_equal(first.map, again.map)
    some = explainer(proto, "d-rise", parameters=FEW, budget=3, batch_size=1)(x)
    assert some.parameters["stopped"] and some.diagnosis


def test_a_classifier_has_no_boxes() -> None:
    with pytest.raises(UsageError, match="compares the boxes of a detector") as error:
        Explainer(nets.cnn(), "d-rise", device="cpu")(np.zeros((1, 2, 6, 6), "f4"))
    assert "rise" in str(error.value.hint)


def test_matlabs_name_runs_it() -> None:
    proto, x = dets.yolo8(), X[0]
    observed = x[0].transpose(1, 2, 0)
    got = matlab.d_rise(proto, observed, num_samples=4, mask_resolution=4, seed=2)
    want = explainer(proto, "d-rise", parameters={"masks": 4, "cells": 4}, seed=2)(x, Detection())
    np.testing.assert_allclose(np.squeeze(got), want.map, rtol=1e-4, atol=1e-6)
