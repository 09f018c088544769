"""The table of exporters and forms, on a network of one convolution."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, numpy_helper

pytest.importorskip("torch")
pytest.importorskip("scipy")

from forms import page, rewritten
from forms.catalogue import FORMS, Form
from forms.check import Cell, cell, reference
from forms.shares import Parts, cam, channel_axis, contrast
from forms.sources import NotMadeError, Source
from tables.store import Rows

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "forms.py"
X = np.random.default_rng(0).normal(size=(1, 3, 6, 8)).astype(np.float32)
BY_NAME = {form.name: form for form in FORMS}


def _model() -> ModelProto:
    random = np.random.default_rng(1)
    model = onnx.parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        net (float[1, 3, 6, 8] input) => (float[1, 5] output) {
            a = Conv <pads = [1, 1, 1, 1]> (input, w, c)
            b = Relu(a)
            p = GlobalAveragePool(b)
            f = Flatten(p)
            output = Gemm <transB = 1> (f, v, d)
        }
        """
    )
    for name, shape in {"w": (4, 3, 3, 3), "c": (4,), "v": (5, 4), "d": (5,)}.items():
        values = random.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    return model


def _run(model: ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    port = next(i.name for i in session.get_inputs())
    return session.run(None, {port: x})[0]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    path = tmp_path / "net.onnx"
    onnx.save(_model(), path)
    return Source("own", "net", path, {"input": X})


@pytest.mark.parametrize(
    "edit",
    [
        rewritten.batch_minus_one, rewritten.dynamic_batch, rewritten.no_shapes,
        rewritten.constants, rewritten.weights_as_inputs, rewritten.functions,
        rewritten.odd_names, rewritten.unsorted, lambda m: rewritten.at_opset(m, 20),
    ],
)  # fmt: skip
def test_a_form_computes_the_same(edit) -> None:
    assert np.allclose(_run(edit(_model()), X), _run(_model(), X), rtol=1e-6, atol=1e-6)


def test_a_form_without_a_batch_computes_the_same() -> None:
    assert np.array_equal(_run(rewritten.without_batch(_model()), X[0]), _run(_model(), X)[0])


def test_forms_are_what_they_are_called() -> None:
    model = rewritten.unsorted(_model())
    assert [n.op_type for n in model.graph.node] != [n.op_type for n in _model().graph.node]
    assert not rewritten.constants(_model()).graph.initializer
    assert len(rewritten.weights_as_inputs(_model()).graph.input) == 5
    assert rewritten.functions(_model()).functions
    assert onnx.printer.to_text(rewritten.odd_names(_model())).count("é") > 5


@pytest.mark.parametrize("name", ["float", "odd names", "local functions", "external data"])
def test_a_form_that_is_read_right_is_called_right(
    source: Source, tmp_path: Path, name: str
) -> None:
    found = cell(source, BY_NAME[name], reference(source), tmp_path)
    assert found.verdict == "right", found.note
    assert found.map < 1e-6


def test_another_layer_order_or_map_is_wrong(source: Source, tmp_path: Path) -> None:
    def other(_: Source, path: Path) -> None:
        model = _model()
        values = numpy_helper.to_array(model.graph.initializer[0])[::-1].copy()
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(values, "w"))
        onnx.save(model, path)

    found = cell(source, Form("other", "int8", other), reference(source), tmp_path)
    assert found.verdict == "WRONG"
    assert "layer" in found.note


def test_what_cannot_be_made_says_why(source: Source, tmp_path: Path) -> None:
    truth = reference(source)
    assert cell(source, BY_NAME["batch 8"], truth, tmp_path).verdict == "not made"

    def never(_: Source, __: Path) -> None:
        raise NotMadeError("there is none")

    found = cell(source, Form("none", "float", never), truth, tmp_path)
    assert (found.verdict, found.note) == ("not made", "there is none")


def test_results_and_page(tmp_path: Path) -> None:
    results = Rows(tmp_path / "forms.json", ("exporter", "network", "form"), ["onnx", "no such"])
    results.add(Cell("torch script", "ViT", "float", map=0.0).as_dict())
    results.add(Cell("tflite", "ViT", "float", verdict="refused", note="because").as_dict())
    results.lacks("skl2onnx, ViT", "it has none")
    results.lacks("tflite, ViT", "no environment")
    results.lacks("tflite, ViT", "")
    text = page.text_of(json.loads((tmp_path / "forms.json").read_text()))
    assert "2 files: 1 right (50.0 %), 1 refused" in text
    assert "| float | same | **refused** |" in text
    assert "- skl2onnx, ViT: it has none." in text
    assert "no environment" not in text


def test_the_page_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, TOOL, "page", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_tool_says_how_it_is_used() -> None:
    done = subprocess.run(
        [sys.executable, TOOL, "--help"], capture_output=True, text=True, check=True
    )
    assert "exporter" in done.stdout


def test_a_tool_that_writes_another_function_has_not_made_the_form(
    source: Source, tmp_path: Path
) -> None:
    """As onnxslim does with a padding that it folds into a convolution."""

    def other(_: Source, path: Path) -> None:
        model = _model()
        values = numpy_helper.to_array(model.graph.initializer[0]) * np.float32(1.1)
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(values, "w"))
        onnx.save(model, path)

    found = cell(source, Form("other", "float", other), reference(source), tmp_path)
    assert found.verdict == "not made"
    assert "something else" in found.note


def test_a_map_owes_its_distance_to_feature_layer_or_gradient() -> None:
    random = np.random.default_rng(3)
    feature, gradient = random.normal(size=(2, 1, 4, 3, 5))
    weights = gradient.mean((2, 3), keepdims=True)
    signed = (weights * feature).sum(1)[0]
    assert channel_axis(Parts(feature, gradient), signed) == 1
    assert np.allclose(cam(feature, gradient, 1, signed.shape), signed)
    last = [np.moveaxis(t, 1, -1) for t in (feature, gradient)]
    assert channel_axis(Parts(*last), signed) == 3
    assert channel_axis(Parts(feature, gradient), signed[::-1]) is None
    assert contrast(np.full((3, 5), 2.0)) == 0
    assert contrast(np.array([1.0, 3.0])) == 0.5


def test_tokens_have_their_class_tokens_left_out() -> None:
    random = np.random.default_rng(4)
    feature, gradient = random.normal(size=(2, 1, 1 + 6, 8))
    patches, slopes = feature[0, 1:], gradient[0, 1:]
    signed = (patches * slopes.mean(0)).sum(1).reshape(2, 3)
    assert channel_axis(Parts(feature, gradient), signed) == 2
