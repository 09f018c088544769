"""The benchmark: its arithmetic with a clock of ours, and both commands on small models."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from support import nets

ROOT = Path(__file__).resolve().parents[2]

from bench import build, subjects, timing  # noqa: E402

from onnxcam.autodiff import vjp_model  # noqa: E402
from onnxcam.errors import UsageError  # noqa: E402


class Clock:
    """A clock that only moves when a timed function says so."""

    def __init__(self) -> None:
        self.now, self.calls = 0.0, []

    def work(self, name: str, seconds: Callable[[int], float]) -> Callable[[], None]:
        def run() -> None:
            self.now += seconds(self.calls.count(name))
            self.calls.append(name)

        return run


def test_pairs_alternate_and_warm_up_is_not_timed() -> None:
    clock = Clock()
    plain, other = clock.work("a", lambda i: 1.0 + i), clock.work("b", lambda i: 10.0 + i)
    a, b = timing.interleaved(plain, other, runs=4, warmup=2, clock=lambda: clock.now)
    assert "".join(clock.calls) == "abab" + "ab" + "ba" + "ab" + "ba"
    np.testing.assert_allclose(a, [3, 4, 5, 6])
    np.testing.assert_allclose(b, [12, 13, 14, 15])


def test_ratio_is_the_median_over_the_pairs_and_not_the_ratio_of_medians() -> None:
    plain, other = np.array([1.0, 10.0, 100.0]), np.array([300.0, 20.0, 200.0])
    found = timing.ratio(plain, other)
    assert found.median == 2.0  # the medians' ratio would be 20
    assert (found.low, found.high) == (2.0, 300.0)


def test_interval_holds_the_true_ratio_and_narrows_with_the_runs() -> None:
    random = np.random.default_rng(3)
    widths, held = {20: [], 320: []}, []
    for runs in [20, 320] * 50:
        plain = random.gamma(20, size=runs)
        found = timing.ratio(plain, plain * random.normal(2.5, 0.4, runs))
        held.append(found.low <= 2.5 <= found.high)
        widths[runs].append(found.high - found.low)
    assert 0.88 <= np.mean(held) < 1  # of 95 % intervals
    assert np.mean(widths[20]) / np.mean(widths[320]) == pytest.approx(4, rel=0.2)


def test_nodes_of_subgraphs_count_and_constants_do_not() -> None:
    constant = onnx.helper.make_node("Constant", [], ["c"], value_float=1.0)
    neg = onnx.helper.make_node("Neg", ["x"], ["y"])
    body = onnx.helper.make_graph(
        [constant, neg], "b", [], [onnx.helper.make_empty_tensor_value_info("y")]
    )
    branch = onnx.helper.make_node("If", ["x"], ["z"], then_branch=body, else_branch=body)
    graph = onnx.helper.make_graph([constant, neg, branch], "g", [], [])
    assert build.node_count(onnx.helper.make_model(graph)) == 4


def test_cost_of_a_build_is_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    weights = {"w": np.ones((1000, 50_000), "f4"), "v": np.ones((50_000, 2), "f4")}
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["h"]),
        onnx.helper.make_node("MatMul", ["h", "v"], ["y"]),
    ]
    onnx.save(nets.model(nodes, {"x": ["N", 1000]}, {"y": ["N", 2]}, weights), str(path))
    cost = build.build_cost(path, "x", "y")
    assert cost.file_bytes == path.stat().st_size > 200_000_000
    assert cost.load_s > 0 and cost.build_s > 0
    assert 1 < cost.peak_per_file < 2.5  # the new model, and a weight on its way into it


def test_cost_says_why_a_build_failed(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(nets.cnn(), str(path))
    with pytest.raises(RuntimeError, match="no tensor 'nowhere'"):
        build.build_cost(path, "nowhere", "logits")


@pytest.mark.parametrize(("batch", "dims", "shape"), [(1, {}, (1, 3, 7)), (4, {"T": 9}, (4, 3, 9))])
def test_inputs_take_batch_and_named_dimensions(
    tmp_path: Path, batch: int, dims: dict[str, int], shape: tuple[int, ...]
) -> None:
    path = tmp_path / "net.onnx"
    relu = onnx.helper.make_node("Relu", ["x"], ["y"])
    width = "T" if dims else 7
    onnx.save(nets.model([relu], {"x": ["N", 3, width]}, {"y": ["N", 3, width]}), str(path))
    subject = subjects.from_file(path, batch=batch, dims=dims)
    assert subject.feeds["x"].shape == shape
    assert subject.feeds["x"].std() > 0.5
    with pytest.raises(UsageError, match="--dim S=224"):
        onnx.save(nets.model([relu], {"x": ["N", "S"]}, {"y": ["N", "S"]}), str(path))
        subjects.from_file(path, batch=batch, dims=dims)


def _bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "bench.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _result(path: Path) -> dict[str, Any]:
    written = json.loads(path.read_text())
    assert written["machine"]["cores"] > 0
    assert written["versions"]["onnx"] == onnx.__version__
    (row,) = written["results"]
    return {**row, "runs": written["settings"]["runs"]}


def test_gradient_command(tmp_path: Path) -> None:
    model, out = tmp_path / "net.onnx", tmp_path / "out.json"
    onnx.save(nets.cnn(size=24), str(model))
    done = _bench("gradient", str(model), "--runs", "5", "--json", str(out), "--batch", "2")
    assert done.returncode == 0, done.stderr
    row = _result(out)
    emitted = len(vjp_model(onnx.load(str(model)), ["x"], ["logits"]).graph.node) - 5
    assert (row["nodes"], row["emitted"], row["runs"]) == (5, emitted, 5)
    assert row["detail"] == {"wrt": "x", "output": "logits"}
    assert row["ratio"]["low"] <= row["ratio"]["median"] <= row["ratio"]["high"]
    assert row["ratio"]["median"] > 1
    assert row["build"]["file_bytes"] == model.stat().st_size
    assert "net.onnx" in done.stdout and f"{row['ratio']['median']:.3f}" in done.stdout


def test_gradcam_command_and_its_limit(tmp_path: Path) -> None:
    model, out = tmp_path / "net.onnx", tmp_path / "out.json"
    onnx.save(nets.cnn(size=24), str(model))
    arguments = ("gradcam", str(model), "--runs", "5", "--json", str(out))
    done = _bench(*arguments, "--limit", "0.001")
    assert done.returncode == 1, done.stderr
    row = _result(out)
    assert not row["passed"] and row["detail"]["feature layer"] == "relu"
    assert _bench(*arguments, "--limit", "1000").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gradient"], "Give a MODEL or --arch"),
        (["gradient", "--arch", "alexnet"], "Choose one of convnext, deit_s"),
        (["gradcam", "nowhere.onnx"], "no such file"),
        (["gradcam", "x.onnx", "--dim", "T"], "Write NAME=NUMBER"),
        (["limits", "--only", "gradient", "--batch", "8"], "no promise is about that"),
    ],
)
def test_errors_are_one_line(arguments: list[str], message: str) -> None:
    done = _bench(*arguments)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.exhaustive
@pytest.mark.parametrize("exporter", subjects.EXPORTERS)
def test_an_architecture_is_exported_on_the_spot(tmp_path: Path, exporter: str) -> None:
    out = tmp_path / "out.json"
    done = _bench(
        "gradient", "--arch", "shufflenet", "--exporter", exporter, "--runs", "2", "--json",
        str(out), "--batch", "3", "--no-cost",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    row = _result(out)
    assert row["subject"] == f"shufflenet ({exporter})" and row["build"] is None
