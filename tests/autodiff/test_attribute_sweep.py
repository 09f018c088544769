"""Operators of any attributes and sizes: right as ONNX Runtime has them, or refused in our words.

What ONNX Runtime does not run may be refused or not; no raw error of onnx, NumPy or an assertion
reaches a user for either.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, helper
from support.attribute_models import KINDS, Subject, subject
from support.runtime import RUNTIME_ERRORS

from onnxcam.autodiff import vjp_model
from onnxcam.errors import InternalError, OnnxcamError

RAW = ("InferenceError", "Traceback", "assert", "onnxcam/y/")
STEP = 1 / 64
# What ONNX Runtime runs and is refused, with the words that say why.
REFUSED = ("stride above the window", "keeps the aspect of", "leave nothing in a tensor")


def _session(model: ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    providers = ["CPUExecutionProvider"]
    return ort.InferenceSession(model.SerializeToString(), options, providers=providers)


def _checked(seed: int) -> None:
    drawn = subject(seed)
    try:
        session = _session(drawn.model)
        y = session.run(None, {"x": drawn.x})[0]
    except RUNTIME_ERRORS:
        session, y = None, None
    try:
        gradient = vjp_model(drawn.model, ["x"], ["y"])
    except OnnxcamError as error:
        said = str(error)
        assert not isinstance(error, InternalError), said
        assert not any(word in said for word in RAW), said
        assert y is None or any(word in said for word in REFUSED), said
        return
    if session is None or y is None or not y.size or not np.isfinite(y).all():
        return
    if not _is_copied(drawn, y):
        _hold(drawn, session, _session(gradient), y)


def _is_copied(drawn: Subject, y: Any) -> bool:
    """Tell whether ONNX Runtime copies a crop that is resized to the size of its input."""
    said = {a.name: helper.get_attribute_value(a) for a in drawn.model.graph.node[1].attribute}
    crops = said.get("coordinate_transformation_mode") == b"tf_crop_and_resize"
    return crops and y.shape == drawn.x.shape


def _hold(drawn: Subject, session: Any, gradient: Any, y: Any) -> None:
    """Hold value and gradient against those of ONNX Runtime, along two directions."""
    rng = np.random.default_rng(1)
    ct = rng.standard_normal(y.shape).astype("f4")
    value, slope = gradient.run(["y", "grad::x"], {"x": drawn.x, "ct::y": ct})
    np.testing.assert_allclose(value, y, rtol=1e-4, atol=1e-4)
    for _ in range(2):
        along = rng.standard_normal(drawn.x.shape).astype("f4")
        if drawn.op in ("MaxPool", "LpPool"):  # no step over a tie
            along = np.sign(along)
        up, down = (
            session.run(None, {"x": drawn.x + sign * np.float32(STEP) * along})[0].astype(
                np.float64
            )
            for sign in (1, -1)
        )
        finite = float(((up - down) / (2 * STEP) * ct).sum())
        exact = float((slope.astype(np.float64) * along).sum())
        size = max(1.0, abs(finite), float(np.linalg.norm(slope.astype(np.float64))))
        assert abs(finite - exact) <= 0.03 * size, (drawn.op, finite, exact)


@pytest.mark.parametrize("first", range(0, 150, 15))
def test_operators_of_any_attributes(first: int) -> None:
    for seed in range(first, first + 15):
        _checked(seed)


@pytest.mark.exhaustive
@pytest.mark.parametrize("first", range(1000, 1800, 100))
def test_more_operators_of_any_attributes(first: int) -> None:
    for seed in range(first, first + 100):
        _checked(seed)


def test_all_operators_are_drawn() -> None:
    assert {subject(seed).op for seed in range(150)} == set(KINDS)
