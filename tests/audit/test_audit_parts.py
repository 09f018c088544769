"""Parts of the audit by themselves: labels, strategies, divergence, drift, the log, a crash."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from support.audits import colour_net, damaged, saved, squares

from onnxcam.audit.compare.tensors import divergence, matches
from onnxcam.audit.data import Sample
from onnxcam.audit.drifting import ranked, stability_index
from onnxcam.audit.log import RunLog
from onnxcam.audit.store import Rows, Store
from onnxcam.audit.truth import Truth
from onnxcam.audit.work.ahead import Ahead
from onnxcam.errors import OnnxcamError
from onnxcam.inputs import Prepared
from onnxcam.model.model import load


@pytest.mark.parametrize(
    ("label", "classes"),
    [
        ("crane", {0, 3}), ("Egyptian_cat", {1}), ("egyptian cat", {1}), ("2", {2}), ("7", set()),
        ("n02124075_Egyptian_cat", {1}), ("dog", set()), (None, set()), ("-1", set()),
    ],
)  # fmt: skip
def test_a_label_means_classes(label: str | None, classes: set[int]) -> None:
    assert Truth(["crane", "Egyptian cat", "tabby", "crane"], 4)(label) == classes


def test_two_kinds_of_maps_are_two_strategies() -> None:
    pytest.importorskip("sklearn")
    from onnxcam.audit.strategies import grid, strategies

    rng = np.random.default_rng(0)
    maps, ids, rows = [], [], []
    for k in range(30):
        m = 0.05 * rng.random((12, 12))
        corner = k % 3 == 0
        m[slice(0, 3) if corner else slice(5, 8), slice(0, 3) if corner else slice(5, 8)] += 1
        made = grid(m)
        assert made is not None
        maps.append(made)
        ids.append(str(k))
        rows.append({"border_share": 0.5, "corner_share": float(corner), "correct": True})
    found = strategies(np.stack(maps), ids, rows)
    assert [c["count"] for c in found] == [20, 10]
    assert {int(i) % 3 for i in found[1]["members"]} == {0}
    alike = strategies(np.stack(maps[1::3]), ids[1::3], rows[1::3])
    assert len(alike) == 1


def _prepared(count: int = 2) -> list[Prepared]:
    rng = np.random.default_rng(0)
    tensors = (rng.random((1, 3, 16, 16), np.float32) for _ in range(count))
    return [Prepared(t, None, None, "array") for t in tensors]


def _between(proto: onnx.ModelProto, other: onnx.ModelProto) -> tuple[str | None, str]:
    inputs = [(p, p) for p in _prepared()]
    found = divergence(load(proto), load(other), inputs, ("x", "x"))
    return None if found.first is None else found.steps[found.first].model, found.words


@pytest.mark.parametrize(
    ("weight", "factor", "tensor", "words"),
    [
        ("w", 3.0, "conv1", "times 3"),
        ("v", 0.5, "conv2", "times 0.5"),
        ("v", 0.0, "conv2", "is 0"),
        ("fc", -1.0, "logits", "times -1"),
        ("fc", 1.0, None, "no tensor"),
    ],
)
def test_the_damaged_layer_is_named(
    weight: str, factor: float, tensor: str | None, words: str
) -> None:
    name, said = _between(damaged(colour_net(), weight, factor), colour_net())
    assert name == tensor and words in said


def _renamed(proto: onnx.ModelProto) -> onnx.ModelProto:
    found = onnx.ModelProto()
    found.CopyFrom(proto)
    graph = found.graph
    kept = {"x", *(t.name for t in graph.initializer)}
    for node in graph.node:
        node.input[:] = [n if n in kept else f"other/{n}" for n in node.input]
        node.output[:] = [f"other/{n}" for n in node.output]
    for value in (*graph.output, *graph.value_info):
        value.name = f"other/{value.name}"
    return found


def test_tensors_of_other_names_are_matched_by_their_values() -> None:
    name, said = _between(damaged(colour_net(), "v", 0.5), _renamed(colour_net()))
    assert name == "conv2" and "other/conv2" in said and "times 0.5" in said


def test_channels_last_is_matched_with_channels_first() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((1, 4, 5, 6), np.float32), rng.random((1, 4, 5, 6), np.float32)
    found = matches({"p": [a], "q": [b]}, {"r": [a.transpose(0, 2, 3, 1)], "s": [b]})
    assert found == [("p", "r", "values"), ("q", "s", "values")]


def test_a_quantised_tensor_counts_as_it_is_rounded() -> None:
    def net(quantised: bool) -> onnx.ModelProto:
        value = helper.make_tensor_value_info
        nodes = [helper.make_node("Mul", ["x", "two"], ["y"])]
        if not quantised:
            nodes.append(helper.make_node("Clip", ["y", "low", "high"], ["c"]))
        else:
            nodes[0].output[0] = "c"  # as builders leave the name to what the clip was folded into
            nodes += [
                helper.make_node("QuantizeLinear", ["c", "s", "z"], ["q"]),
                helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            ]
        nodes.append(helper.make_node("Neg", ["d" if quantised else "c"], ["n"]))
        given = {
            "two": np.float32(2), "low": np.float32(0), "high": np.float32(1),
            "s": np.float32(1 / 255), "z": np.uint8(0),
        }  # fmt: skip
        tensors = [numpy_helper.from_array(np.array(v), k) for k, v in given.items()]
        graph = helper.make_graph(
            nodes, "g", [value("x", 1, [1, 3, 16, 16])], [value("n", 1, [1, 3, 16, 16])], tensors
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
        return onnx.shape_inference.infer_shapes(made)

    inputs = [(p, p) for p in _prepared(1)]
    found = divergence(load(net(True)), load(net(False)), inputs, ("x", "x"))
    assert min(s.sqnr for s in found.steps) > 45


def test_drift_is_none_of_the_same_and_large_of_another() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=4000), rng.normal(size=4000)
    assert stability_index(a.tolist(), b.tolist()) < 0.01
    assert stability_index(a.tolist(), (b + 1).tolist()) > 0.25
    p = np.full(10, 0.1)
    q = np.bincount(np.searchsorted(np.quantile(a, np.arange(1, 10) / 10), b + 1, "right"))
    q = np.maximum(q, 0.5) / np.maximum(q, 0.5).sum()
    want = ((q - p) * np.log(q / p)).sum()
    assert stability_index(a.tolist(), (b + 1).tolist()) == pytest.approx(want, rel=1e-2)


def test_an_order_that_is_kept_ranks_1() -> None:
    a = np.array([3.0, 2, 1, 0])
    assert ranked(a, a * 5 + 1) == 1
    discount = 1 / np.log2([2, 3, 4, 5])
    want = (a[::-1] @ discount) / (a @ discount)
    assert ranked(a, -a) == pytest.approx(want)


def test_the_log_is_a_chain_and_a_cut_line_is_dropped(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.add("started", policy_sha256="1")
    with (tmp_path / "run.jsonl").open("ab") as file:
        file.write(b'{"time": "cut')
    assert "cut off" in str(log.problem())
    log.add("resumed")
    assert log.problem() is None and [e["event"] for e in log.entries()] == ["started", "resumed"]
    text = (tmp_path / "run.jsonl").read_text()
    (tmp_path / "run.jsonl").write_text(text.replace('"1"', '"2"'))
    assert "line 2" in str(log.problem())


def test_what_is_decoded_ahead_comes_in_order_and_errors_where_they_are() -> None:
    assert list(Ahead(lambda x: x * x, range(100), 3)) == [x * x for x in range(100)]
    found = iter(Ahead(lambda x: 1 // x, [1, 0, 1], 3))
    assert next(found) == 1
    with pytest.raises(ZeroDivisionError):
        next(found)
    first = iter(Ahead(lambda x: x, iter(range(10**9)), 2))
    assert next(first) == 0
    first.close()  # type: ignore[attr-defined]  # the thread ends with it


def test_a_sample_that_ends_the_process_is_a_record(tmp_path: Path) -> None:
    from onnxcam.audit.job import Job
    from onnxcam.audit.work.chunks import one_by_one
    from onnxcam.audit.work.worker import Worker

    data = squares(tmp_path / "data", 3)
    saved(colour_net(), tmp_path / "net.onnx")
    samples = [Sample(p.name, p) for p in sorted(data.rglob("*.png"))]
    touched: list[int] = []
    worker = Worker(Job((str(tmp_path / "net.onnx"),)))
    rows = one_by_one(worker, samples, {1: "the runtime crashes on it (SIGSEGV)"}, touched.append)
    assert touched == [0, 2]
    assert [r["error"] for r in rows.records] == [None, "the runtime crashes on it (SIGSEGV)", None]
    assert json.dumps(rows.records[1]["id"]) == f'"{samples[1].id}"'


def test_a_full_disk_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OnnxcamError, match="No space left.*Make room.*resume"):
        Store(tmp_path, 4).put(0, Rows([]))
    monkeypatch.undo()
    assert Store(tmp_path, 4).missing(4) == [0]
    assert list((tmp_path / "records").iterdir()) == []
