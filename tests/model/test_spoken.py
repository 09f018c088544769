"""Names that are no UTF-8: what ONNX Runtime runs is read, with other names inside."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from support import nets

from onnxcam import Explainer, ModelError, convert, load
from onnxcam.errors import json_text


def _spoilt(place: Path, old: bytes, new: bytes, model: onnx.ModelProto | None = None) -> Path:
    """Write a model with other bytes of the same length wherever a text stands."""
    data = (model or _named()).SerializeToString()
    assert len(old) == len(new) and old in data
    place.write_bytes(data.replace(old, new))
    return place


def _named() -> onnx.ModelProto:
    model = nets.cnn()
    relu = next(n for n in model.graph.node if n.op_type == "Relu")
    old = relu.output[0]
    for node in model.graph.node:
        node.input[:] = ["qqqq" if i == old else i for i in node.input]
        node.output[:] = ["qqqq" if o == old else o for o in node.output]
    relu.name, relu.doc_string = "rrrr", "dddd"
    model.metadata_props.add(key="kkkk", value="vvvv")
    return model


@pytest.mark.parametrize("text", [b"qqqq", b"rrrr", b"dddd", b"kkkk", b"vvvv"])
def test_what_is_no_utf8_is_read(text: bytes, tmp_path: Path) -> None:
    path = _spoilt(tmp_path / "m.onnx", text, b"\xff" + text[1:])
    model = load(path)
    assert any("UTF-8" in note for note in model.notes)
    x = np.random.default_rng(1).normal(size=(1, 2, 6, 6)).astype("f4")
    got, want = (Explainer(m, device="cpu", cache=False)(x) for m in (path, _named()))
    np.testing.assert_array_equal(got.map, want.map)
    json.loads(json_text(got.as_dict()))
    assert convert(path, tmp_path / "out.onnx").path is not None


def test_a_port_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    model = nets.cnn()
    x = model.graph.input[0].name
    model.graph.input[0].name = "pppp"
    model.graph.node[0].input[0] = "pppp"
    assert x != "pppp"
    with pytest.raises(ModelError, match="name of an input or output is no UTF-8"):
        load(_spoilt(tmp_path / "m.onnx", b"pppp", b"\xffppp", model))


def test_other_models_get_no_note() -> None:
    assert not any("UTF-8" in note for note in load(_named()).notes)
