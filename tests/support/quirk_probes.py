"""How a fault of a product is shown: tiny models, run where a crash does no harm."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import onnx
import pytest
from bench import runtimes
from onnx import ModelProto, parser
from onnx.reference import ReferenceEvaluator

from onnxcam.errors import UsageError
from onnxcam.graph import quirks
from onnxcam.run.session import Session

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]


def model_of(text: str, opset: int = 20, ir: int = 9) -> ModelProto:
    """Return a model as onnx's text format has it, from the inputs of its graph on."""
    return parser.parse_model(f'<ir_version: {ir}, opset_import: ["": {opset}]>\ng {text}')


def normal(*shape: int) -> Array:
    """Return float32 values of a shape, always the same for one."""
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


def run_alone(
    folder: Path, model: ModelProto, feeds: Arrays, runtime: str = "onnxruntime"
) -> dict[str, Array] | str:
    """Run a model in a process of its own; returns its outputs, or what went wrong."""
    try:
        runtimes.interpreter(runtime)
    except UsageError as error:
        if os.environ.get("ONNXCAM_REQUIRE_RUNTIMES"):
            raise
        pytest.skip(str(error))
    onnx.save(model, folder / "model.onnx")
    np.savez(folder / "feeds.npz", **feeds)  # type: ignore[arg-type]
    job = {"model": str(folder / "model.onnx"), "feeds": str(folder / "feeds.npz"),
           "result": str(folder / "result.npz")}  # fmt: skip
    try:
        (answer,) = runtimes.run(runtime, [job])
    except RuntimeError as error:
        return f"died: {error}"
    return str(answer["error"]) or dict(np.load(job["result"]))


def needed(quirk: quirks.Quirk, shows: object) -> None:
    """Fail where the fault of a quirk does not show any more."""
    assert shows, f"{quirk.product} no longer needs {quirk.name}: the quirk may go ({quirk.fault})"


def truth(model: ModelProto, feeds: Arrays) -> list[Any]:
    """Return the outputs as onnx's own evaluator has them."""
    return list(ReferenceEvaluator(model).run(None, dict(feeds)))


def far(a: Any, b: Any) -> bool:
    """Tell whether two arrays differ, by more than rounding."""
    return a.shape != b.shape or not np.allclose(a, b, rtol=1e-3, atol=1e-3)


def seconds(model: ModelProto, feeds: Arrays, runs: int = 5) -> float:
    """Return the least of the processor's times that a model took, on one thread."""
    session = Session(model, device="cpu", threads=1)
    times = []
    for _ in range(runs):
        before = process_time()
        session.run(feeds)
        times.append(process_time() - before)
    return min(times)
