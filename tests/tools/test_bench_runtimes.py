"""What the benchmark measures of other runtimes and of the Python around the session."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from bench import comparisons, limits, runtimes
from bench.overhead import overhead
from onnx import helper
from support import nets

from onnxcam.errors import UsageError
from onnxcam.inputs import description
from onnxcam.run import results

MODELS = Path(__file__).resolve().parents[2] / "models"
X = np.random.default_rng(0).normal(size=(1, 2, 6, 6)).astype("f4")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(nets.cnn(), str(path))
    return path


def _slow(function: Any, seconds: float) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        time.sleep(seconds)
        return function(*args, **kwargs)

    return call


@pytest.mark.parametrize("part", ["prepare", "upsample"])
def test_the_overhead_is_what_neither_the_session_nor_the_preprocessing_takes(
    part: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = description if part == "prepare" else results
    monkeypatch.setattr(module, part, _slow(getattr(module, part), 0.02))
    found = overhead(model, X, runs=5, warmup=1)
    slow, quick = found.prepare_ms, found.rest_ms
    if part == "upsample":
        slow, quick = quick, slow
    assert slow >= 20 > quick
    assert found.passed == (part == "prepare" and quick <= 1)
    assert found.total_ms >= 20 + found.run_ms
    low, high = found.interval
    assert low <= found.rest_ms <= high


def test_a_warm_explanation_keeps_its_promise() -> None:
    found = overhead(MODELS / "squeezenet1.1.onnx", MODELS / "chelsea.png", runs=15)
    assert found.rest_ms < 5  # 1 ms on a machine at rest; this one is busy with other tests


def test_two_models_are_compared_in_another_process(model: Path, tmp_path: Path) -> None:
    other = nets.cnn()
    nodes = [
        helper.make_node("Expand", ["x", "many"], ["large"]),
        helper.make_node("Sin", ["large"], ["sin"]),
        helper.make_node("ReduceSum", ["sin"], ["more"], keepdims=0),
    ]
    other.graph.node.extend(nodes)
    other.graph.initializer.append(
        onnx.numpy_helper.from_array(np.array([4000, 2, 6, 6], np.int64), "many")
    )
    other.graph.output.append(helper.make_tensor_value_info("more", 1, []))
    onnx.save(other, str(tmp_path / "other.onnx"))
    found = runtimes.paired(
        "onnxruntime", model, tmp_path / "other.onnx", {"x": X}, runs=6, warmup=1
    )
    assert found.other_ms > found.plain_ms > 0 and found.ratio.low > 1
    with pytest.raises(RuntimeError, match="onnxruntime failed: .*nowhere.onnx"):
        runtimes.paired("onnxruntime", tmp_path / "nowhere.onnx", model, {"x": X})


@pytest.mark.parametrize("group", ["openvino", "overhead"])
def test_promises_outside_the_session_are_checked(
    group: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "export", lambda *args, **options: model)
    monkeypatch.setitem(runtimes.RUNTIMES, "openvino", ("onnxruntime", None))  # that is at hand
    (case,) = [c for c in limits.CASES if c.group == group and c.arch == "mobilenet_v2"]
    settings = comparisons.Settings(runs=4, warmup=1, clock="cpu")
    (check,) = limits.checks([case], settings)
    assert (check.group, check.limit) == (group, 1.05 if group == "openvino" else 1.0)
    assert check.interval is not None
    assert check.interval[0] <= check.value <= check.interval[1]
    assert check.passed == (check.value <= check.limit)


def test_a_promise_about_a_runtime_that_is_missing_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONNXCAM_OPENVINO_PYTHON", str(tmp_path / "python"))
    assert limits.chosen(["overhead"], [], [])
    with pytest.raises(UsageError, match="openvino needs a Python environment"):
        limits.chosen([], [], [])


def test_an_environment_that_is_missing_says_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONNXCAM_OPENVINO_PYTHON", str(tmp_path / "python"))
    with pytest.raises(UsageError, match="python is not there. Make it with `python tools/envs.py"):
        runtimes.interpreter("openvino")
