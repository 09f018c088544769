"""Loading: what comes in is checked, raised and never changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from support import nets

from onnxcam import Explainer, convert
from onnxcam.errors import ModelError
from onnxcam.model.model import load
from onnxcam.run.session import Session


def _bytes(proto: onnx.ModelProto) -> bytes:
    return proto.SerializeToString(deterministic=True)


def test_a_proto_stays_as_it_was() -> None:
    proto = nets.cnn()
    before = _bytes(proto)
    loaded = load(proto)
    assert _bytes(proto) == before
    assert loaded.proto is not proto


def test_path_bytes_and_proto_are_the_same_model(tmp_path: Path) -> None:
    proto = nets.cnn()
    path = tmp_path / "m.onnx"
    path.write_bytes(_bytes(proto))
    by_path, by_bytes = load(path), load(_bytes(proto))
    assert by_path.sha256 == by_bytes.sha256
    assert _bytes(by_path.proto) == _bytes(by_bytes.proto) == _bytes(load(proto).proto)
    assert path.read_bytes() == _bytes(proto)


def test_inputs_and_outputs_are_described() -> None:
    loaded = load(nets.cnn())
    assert [(p.name, p.dtype, p.shape) for p in loaded.inputs] == [
        ("x", np.float32, ("N", 2, 6, 6))
    ]
    assert loaded.outputs[0].shape == ("N", 3)


def _old(opset: int, ir_version: int) -> onnx.ModelProto:
    """A model of an old opset: BatchNormalization, Dropout and Softmax as they were then."""
    rng = np.random.default_rng(0)
    names = ["scale", "bias", "mean", "var"]
    weights = {n: rng.uniform(0.5, 1.5, 3).astype("f4") for n in names}
    nodes = [
        helper.make_node("BatchNormalization", ["x", *names], ["bn"]),
        helper.make_node("Dropout", ["bn"], ["drop"]),
        helper.make_node("Softmax", ["drop"], ["y"], axis=1),
    ]
    inputs: dict[str, list[int]] = {"x": [2, 3, 4, 5]}
    if ir_version < 4:
        inputs |= {n: [3] for n in names}
    return nets.model(
        nodes, inputs, {"y": [2, 3, 4, 5]}, weights, opset=opset, ir_version=ir_version
    )


@pytest.mark.parametrize(("opset", "ir_version"), [(7, 3), (9, 3), (9, 4), (12, 7)])
def test_old_models_are_raised_and_compute_the_same(opset: int, ir_version: int) -> None:
    proto = _old(opset, ir_version)
    loaded = load(proto)
    assert loaded.opset == 20
    assert [p.name for p in loaded.inputs] == ["x"]
    assert any(f"from opset {opset} to 20" in note for note in loaded.notes)
    x = np.random.default_rng(1).normal(size=(2, 3, 4, 5)).astype("f4")
    feeds = {"x": x}
    (got,) = Session(loaded.proto, optimise=False).run(feeds)
    # numpy, by the definition of Softmax before opset 13: over everything behind the axis
    w = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    shape = (1, 3, 1, 1)
    normed = (x - w["mean"].reshape(shape)) / np.sqrt(w["var"].reshape(shape) + 1e-5)
    z = (normed * w["scale"].reshape(shape) + w["bias"].reshape(shape)).reshape(2, -1)
    e = np.exp(z - z.max(1, keepdims=True))
    np.testing.assert_allclose(got.reshape(2, -1), e / e.sum(1, keepdims=True), rtol=1e-5)


def test_attributes_without_a_meaning_do_not_outlive_their_opset() -> None:
    """The converter leaves the value of a Pad that repeats the edge."""
    pads = [helper.make_node("Pad", ["x"], [y], mode="edge", pads=[1, 0], value=0.4) for y in "ab"]
    one, other = (
        helper.make_graph([pad], "g", [], [helper.make_tensor_value_info(name, 1, [4])])
        for pad, name in zip(pads, "ab", strict=True)
    )
    nodes = [
        helper.make_node("If", ["c"], ["p"], then_branch=one, else_branch=other),
        helper.make_node("Pad", ["x"], ["q"], mode="edge", pads=[1, 0], value=0.4),
        helper.make_node("Mul", ["p", "q"], ["y"]),
    ]
    proto = nets.model(nodes, {"x": [3]}, {"y": [4]}, {"c": np.array(True)}, opset=7, ir_version=6)
    loaded = load(proto)
    assert loaded.opset == 20
    (y,) = Session(loaded.proto, optimise=False).run({"x": np.array([1, 2, 3], "f4")})
    assert y.tolist() == [1, 1, 4, 9]


def test_newer_models_are_kept() -> None:
    proto = nets.cnn()
    proto.opset_import[0].version = 22
    assert load(proto).opset == 22


def test_a_model_the_converter_cannot_raise_is_kept_with_a_note() -> None:
    """Upsample-7 with sizes known only at run time has no converter... but still runs."""
    nodes = [helper.make_node("ScatterElements", ["x", "i", "x"], ["y"])]
    proto = nets.model(
        nodes, {"x": [1, 3]}, {"y": [1, 3]}, {"i": np.array([[2, 1, 0]])}, opset=11, ir_version=6
    )
    proto.opset_import[0].version = 11
    loaded = load(proto)
    assert loaded.opset == 20 or any("kept at opset 11" in n for n in loaded.notes)


def test_functions_are_inlined() -> None:
    function = helper.make_function(
        "local", "Double", ["a"], ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 20)],
    )  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("Double", ["x"], ["y"], domain="local")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
    )
    proto = helper.make_model(
        graph,
        functions=[function],
        opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("local", 1)],
        ir_version=9,
    )
    loaded = load(proto)
    assert [n.op_type for n in loaded.proto.graph.node] == ["Add"]
    assert not loaded.proto.functions
    x = np.ones((1, 2), "f4")
    np.testing.assert_array_equal(Session(loaded.proto).run({"x": x})[0], 2 * x)


def _external(folder: Path, location: str = "w.data") -> Path:
    path = folder / "m.onnx"
    onnx.save_model(
        nets.cnn(channels=8), path, save_as_external_data=True, location=location, size_threshold=64
    )
    return path


def test_external_data_is_read(tmp_path: Path) -> None:
    loaded = load(_external(tmp_path))
    plain = load(nets.cnn(channels=8))
    assert {t.name: t.raw_data for t in loaded.proto.graph.initializer} == {
        t.name: t.raw_data for t in plain.proto.graph.initializer
    }


def test_missing_external_data_is_named(tmp_path: Path) -> None:
    path = _external(tmp_path)
    (tmp_path / "w.data").unlink()
    with pytest.raises(ModelError, match=r"w\.data.*missing"):
        load(path)


def test_truncated_external_data_is_an_error(tmp_path: Path) -> None:
    path = _external(tmp_path)
    (tmp_path / "w.data").write_bytes(b"\0" * 8)
    with pytest.raises(ModelError, match=r"w\.data"):
        load(path)


@pytest.mark.parametrize("location", ["../secret.data", "/etc/passwd", "a/../../secret.data"])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.data").write_bytes(b"\0" * 4096)
    proto = onnx.load(_external(folder), load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path = folder / "evil.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="outside the model's folder"):
        load(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"this is no model, only some text", "not an ONNX model"),
        (_bytes(nets.cnn())[:-40], "not an ONNX model, or truncated"),
        (b"\x08\x09", "no ONNX model"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=words) as caught:
        load(path)
    assert str(path) in str(caught.value) or "bytes" in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        load(tmp_path / "nothing.onnx")
    with pytest.raises(ModelError, match="is a folder"):
        load(tmp_path)


def test_an_invalid_graph_is_refused() -> None:
    proto = nets.cnn()
    proto.graph.node[1].input[0] = "nowhere"
    with pytest.raises(ModelError, match="not a valid ONNX model"):
        load(proto)


def test_every_shared_model_loads_and_computes_the_same(shared_models: Path) -> None:
    """Bit for bit with optimisations off; the fp16 Caffe2 file's Softmax changes its kernel."""
    rng = np.random.default_rng(0)
    for path in sorted(shared_models.glob("*.onnx")):
        loaded = load(path)
        feeds = {}
        for port in loaded.inputs:
            shape = [
                d if isinstance(d, int) else 48 if d in ("M1", "M2") else 1 for d in port.shape
            ]
            if path.name.startswith("silero") and port.name == "input":
                shape = [1, 576]
            value = rng.normal(size=shape) if port.dtype.kind == "f" else np.full(shape, 16000)
            feeds[port.name] = value.astype(port.dtype)
        want = Session(onnx.load(path), device="cpu", optimise=False).run(feeds)
        got = Session(loaded.proto, device="cpu", optimise=False).run(feeds)
        for a, b in zip(got, want, strict=True):
            if "fp16" in path.name:
                np.testing.assert_allclose(a, b, atol=1e-3)
            else:
                np.testing.assert_array_equal(a, b, err_msg=path.name)


def test_a_file_in_the_format_of_onnx_runtime_is_refused_with_a_way_out(tmp_path: Path) -> None:
    model, own, back = (tmp_path / name for name in ("m.onnx", "m.ort", "back.onnx"))
    onnx.save(nets.cnn(), model)
    for source, target, kind in ((model, own, "ORT"), (own, back, "ONNX")):
        if kind == "ONNX":
            with pytest.raises(ModelError, match=r"own format.*save_model_format=ONNX"):
                load(own)
        options = ort.SessionOptions()
        options.optimized_model_filepath = str(target)
        options.add_session_config_entry("session.save_model_format", kind)
        ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    assert load(back).outputs[0].shape is not None


@pytest.mark.parametrize("layout", ["CHW", "HWC"])
def test_a_model_without_a_batch_is_explained_and_converted(layout: str) -> None:
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(4, 3, 3, 3)), "head": rng.normal(size=(4, 5)), "zero": np.array([0])
    }  # fmt: skip
    first = "u" if layout == "CHW" else "t"
    nodes = [
        helper.make_node("Unsqueeze", ["x", "zero"], [first]),
        *([helper.make_node("Transpose", ["t"], ["u"], perm=[0, 3, 1, 2])] * (layout == "HWC")),
        helper.make_node("Conv", ["u", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "head"], ["g"]),
        helper.make_node("Squeeze", ["g", "zero"], ["y"]),
    ]
    arrays = {k: v if v.dtype.kind == "i" else v.astype("f4") for k, v in weights.items()}
    shape = [3, 8, 8] if layout == "CHW" else [8, 8, 3]
    proto = nets.model(nodes, {"x": shape}, {"y": [5]}, arrays)
    x = rng.normal(size=shape).astype("f4")
    found = Explainer(proto, cache=False)(x)
    (y,) = Session(proto, device="cpu").run({"x": x})
    np.testing.assert_allclose(found.scores, y, rtol=1e-5)
    assert found.map.shape == (8, 8)
    made = convert(proto)
    assert made.check is not None and not made.check.problems
    (got,) = Session(made.proto, device="cpu").run({"x": x}, ["onnxcam.map"])
    np.testing.assert_allclose(got[0, 0], found.map, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "before",
    [
        'q = Conv (x, w)',
        'q = MaxPool <kernel_shape=[9,9]> (x)',
        'q = AveragePool <kernel_shape=[9,9]> (x)',
        'q = ConvTranspose <pads=[9,9,9,9]> (x, t)',
        'q = Pad (x, pads)',
        'r, q = Split <axis=2> (x, parts)',
    ],
    ids=lambda text: text.split(" = ")[1].split(" ")[0],
)  # fmt: skip
def test_sizes_below_zero_end_in_a_line_not_in_the_process(before: str) -> None:
    text = f"""<ir_version: 8, opset_import: ["": 17]> g (float[1,3,5,5] x) => (float[A,B,C,D] y)
      <int64[1] s = {{1}}, int64[1] e = {{2}}, int64[1] a = {{2}}, int64[2] parts = {{9, -4}},
       int64[8] pads = {{0,0,-9,0,0,0,0,0}}> {{ {before} y = Slice (q, s, e, a) }}"""
    proto = onnx.parser.parse_model(text)
    for name, shape in {"w": (2, 3, 9, 9), "t": (3, 2, 1, 1)}.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(shape, "f4"), name))
    with pytest.raises(ModelError, match=r"leave -\d+ elements along an axis of 'q'"):
        load(proto)
