"""Weights apart from the graph: read around, written around, never changed on the way."""

from __future__ import annotations

import hashlib
import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from support import nets

from onnxcam.errors import ModelError
from onnxcam.model import mapping, stream, wire
from onnxcam.model.draft import Draft
from onnxcam.model.mapping import mapped, release
from onnxcam.model.model import load
from onnxcam.model.stream import digest, parse, write
from onnxcam.model.weights import detached, in_files, is_light
from onnxcam.run.session import Session


def _big(dtype: int = TensorProto.FLOAT, rows: int = 200) -> onnx.ModelProto:
    """y = x + sum(w): a model with one weight of some size and one that is small."""
    values = np.random.default_rng(0).normal(size=(rows, 20)) * 3
    w = numpy_helper.from_array(values.astype(helper.tensor_dtype_to_np_dtype(dtype)), "w")
    w.doc_string = "a weight"
    nodes = [
        helper.make_node("Cast", ["w"], ["wf"], to=1),
        helper.make_node("ReduceSum", ["wf"], ["s"], keepdims=0),
        helper.make_node("Add", ["x", "s"], ["t"]),
        helper.make_node("Add", ["t", "b"], ["y"]),
    ]
    infos = [helper.make_tensor_value_info(n, 1, [1]) for n in "xy"]
    graph = helper.make_graph(
        nodes, "g", infos[:1], infos[1:], [w, numpy_helper.from_array(np.ones(1, "f4"), "b")]
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    helper.set_model_props(proto, {"key": "value"})
    return proto


def _same(a: onnx.ModelProto, b: onnx.ModelProto) -> bool:
    """Equal up to the order of the initializers."""
    a, b = (onnx.ModelProto.FromString(m.SerializeToString()) for m in (a, b))
    for model in (a, b):
        ordered = sorted(model.graph.initializer, key=lambda t: t.name)
        copies = [TensorProto.FromString(t.SerializeToString()) for t in ordered]
        del model.graph.initializer[:]
        model.graph.initializer.extend(copies)
    return a.SerializeToString(deterministic=True) == b.SerializeToString(deterministic=True)


@pytest.mark.parametrize("how", ["parse", "detach"])
@pytest.mark.parametrize("size", [200, 3])
def test_apart_and_together_again(how: str, size: int) -> None:
    proto = _big(rows=size)
    data = proto.SerializeToString()
    light, weights = parse(data, "m") if how == "parse" else detached(proto)
    assert ("w" in weights) == (size == 200)
    assert [t.name for t in light.graph.initializer if is_light(t)] == list(weights)
    assert light.ByteSize() < 2500
    assert _same(weights.attached(light), proto)
    out = io.BytesIO()
    write(light, weights, out)
    assert _same(onnx.ModelProto.FromString(out.getvalue()), proto)


@pytest.mark.parametrize(
    "dtype",
    [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT8,
     TensorProto.DOUBLE, TensorProto.FLOAT8E4M3FN, TensorProto.INT4],
)  # fmt: skip
def test_values_are_read_as_onnx_reads_them(dtype: int) -> None:
    proto = _big(dtype, rows=1000)
    light, weights = parse(proto.SerializeToString(), "m")
    (tensor,) = [t for t in light.graph.initializer if t.name == "w"]
    want = numpy_helper.to_array(next(t for t in proto.graph.initializer if t.name == "w"))
    got = weights.array(tensor)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got.view(np.uint8), want.view(np.uint8))


def test_constants_of_a_draft_find_their_values() -> None:
    proto = _big()
    constant = Draft(load(proto)).tensor("w")
    assert constant.shape == (200, 20) or list(constant.shape) == [200, 20]
    want = numpy_helper.to_array(proto.graph.initializer[0])
    np.testing.assert_array_equal(constant.values, want)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_model_or_an_error(data: bytes) -> None:
    try:
        light, _ = parse(data, "junk")
    except ModelError as error:
        assert "junk" in str(error)
    else:
        assert isinstance(light, onnx.ModelProto)


@given(st.integers(0, 400))
def test_truncated_files_are_errors_or_smaller_models(cut: int) -> None:
    data = _big(rows=30).SerializeToString()
    try:
        light, weights = parse(data[: len(data) - cut], "m")
    except ModelError:
        return
    assert weights.attached(light).ByteSize() <= len(data)


@given(st.integers(1, 2**29 - 1), st.integers(0, 2**40))
def test_headers_are_read_back(number: int, length: int) -> None:
    data = wire.header(number, length)
    with pytest.raises(ModelError) if length else _nothing():
        list(wire.fields(memoryview(data), 0, len(data)))


class _nothing:  # noqa: N801 - a context that expects no error
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def test_loading_and_drafting_copy_no_weights(tmp_path: Path) -> None:
    """64 MB of weights; a copy of them anywhere would show."""
    rng = np.random.default_rng(0)
    proto = nets.cnn()
    big = numpy_helper.from_array(rng.normal(size=(2048, 8192)).astype("f4"), "huge")
    proto.graph.initializer.append(big)
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    size = path.stat().st_size
    del proto, big
    tracemalloc.start()
    draft = Draft(load(path))
    draft.output(draft.op.Neg(draft.tensor("relu")), "negative")
    with (tmp_path / "out.onnx").open("wb") as file:
        finished = draft.finish()
        write(finished.light, finished.weights, file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.1 * size
    onnx.checker.check_model(tmp_path / "out.onnx")
    assert mapped(tmp_path / "out.onnx")[:1] != b""


@pytest.fixture(autouse=True)
def _all_are_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small files be mapped, too: large ones take long."""
    monkeypatch.setattr(mapping, "PRIVATE", 0)


def test_a_released_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(_big(rows=5000).SerializeToString())
    data = mapped(path)
    weight = parse(data, "it")[1]["w"]
    first = weight.tobytes()
    release(weight)
    assert weight.tobytes() == first
    assert digest(data) == digest(path.read_bytes())


def test_weights_in_files_are_found_there(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(_big(), path)
    model = load(path)
    placed = in_files(model.light, model.weights)
    assert placed is not None
    light, folder = placed
    (tensor,) = [t for t in light.graph.initializer if t.name == "w"]
    said = {e.key: e.value for e in tensor.external_data}
    content = (folder / said["location"]).read_bytes()
    start = int(said["offset"])
    assert content[start : start + int(said["length"])] == model.weights["w"].tobytes()
    assert is_light(next(t for t in model.light.graph.initializer if t.name == "w"))  # the old one


def test_a_file_that_another_has_taken_the_place_of_is_not_named(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(_big(), path)
    model = load(path)
    onnx.save(_big(rows=300), tmp_path / "other.onnx")
    (tmp_path / "other.onnx").replace(path)
    assert model.weights.place("w") is None
    assert in_files(model.light, model.weights) is None
    assert in_files(*detached(_big())) is None


@pytest.mark.parametrize("source", ["file", "link", "external", "bytes", "bfloat16"])
def test_a_sparing_session_answers_the_same(source: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(
        _big(TensorProto.BFLOAT16 if source == "bfloat16" else TensorProto.FLOAT),
        path,
        save_as_external_data=source == "external",
        location="weights.bin" if source == "external" else None,
    )
    if source == "link":
        (tmp_path / "deep").mkdir()
        path = path.rename(tmp_path / "deep" / "blob")
        (tmp_path / "link.onnx").symlink_to(path)
        path = tmp_path / "link.onnx"
    model = load(path.read_bytes() if source == "bytes" else path)
    feeds = {"x": np.ones(1, np.float32)}
    for optimise in (False, True):
        plain, sparing = (
            Session(model, device="cpu", optimise=optimise, sparing=s).run(feeds)
            for s in (False, True)
        )
        np.testing.assert_array_equal(plain[0], sparing[0])


def test_a_large_file_is_hashed_when_somebody_asks(tmp_path: Path, monkeypatch: Any) -> None:
    large, small = tmp_path / "large.onnx", tmp_path / "small.onnx"
    onnx.save(_big(rows=60_000), large)
    onnx.save(_big(), small)
    wanted = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in (large, small)}
    hashed: list[int] = []
    monkeypatch.setattr(stream, "digest", lambda data: hashed.append(len(data)) or digest(data))
    models = {path: load(path) for path in (large, small)}
    assert hashed == [small.stat().st_size]
    drawn = Draft(models[large]).finish()
    assert hashed == [small.stat().st_size]
    assert {path: model.sha256 for path, model in models.items()} == wanted
    assert drawn.sha256 == wanted[large]
    assert len(hashed) == 2  # and once only
