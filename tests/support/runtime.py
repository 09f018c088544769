"""ONNX Runtime for the tests: one model, one run, one thread, its errors as an answer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, TensorProto
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

ort.set_default_logger_severity(4)
# The newest opset is under development for longer than its operators take to settle.
os.environ.setdefault("ALLOW_RELEASED_ONNX_OPSET_ONLY", "0")

RUNTIME_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


def run(
    model: ModelProto, feeds: Mapping[str, Any], outputs: Sequence[str] | None = None
) -> dict[str, Any]:
    """Run a model in ONNX Runtime on one thread; returns its outputs by name."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    data = model.SerializeToString()
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = list(outputs or [o.name for o in session.get_outputs()])
    given = {i.name for i in session.get_inputs()}
    values = session.run(names, {k: v for k, v in feeds.items() if k in given})
    return dict(zip(names, values, strict=True))


def load_error(model: ModelProto) -> str:
    """Return why ONNX Runtime cannot load a model, "" where it can."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except RUNTIME_ERRORS as error:
        return str(error)
    return ""


def runtime_refuses(model: ModelProto, feeds: Mapping[str, Any]) -> str:
    """Return why ONNX Runtime cannot run a model (no kernel, opset too new), "" where it can."""
    if any(getattr(v, "dtype", np.dtype(bool)).isbuiltin != 1 for v in feeds.values()):
        return "its dtype is none of NumPy's own"
    if any(o.type.tensor_type.elem_type == TensorProto.BFLOAT16 for o in model.graph.output):
        return "NumPy has no bfloat16 for its output"
    try:
        run(model, feeds)
    except RUNTIME_ERRORS as error:
        return str(error)
    return ""
