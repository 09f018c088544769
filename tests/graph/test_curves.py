"""What spelled-out activations and normalisations are: told by what they compute."""

from __future__ import annotations

import onnx
import onnx_graphsurgeon as gs
import pytest
from support.curve_texts import (
    ACTIVATIONS,
    CONSTANTS,
    NEITHER,
    NO_NORMALISATIONS,
    NORMALISATIONS,
    RECTIFIERS,
)

from onnxcam.graph.curves import activation, normalisation, rectifier


def _tensors(text: str) -> dict[str, gs.Tensor]:
    proto = onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["" : 20]> g (float[1,8,6,6] x, float[8,8,1,1] w) '
        f"=> (float[1,8,6,6] y) <{CONSTANTS}> {{ {text} }}"
    )
    return dict(gs.import_onnx(proto).tensors())


@pytest.mark.parametrize("name", RECTIFIERS)
def test_rectifiers(name: str) -> None:
    tensors = _tensors(RECTIFIERS[name])
    found = rectifier(tensors["y"])
    assert found is not None
    assert found.source.name in ("x", "m")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    tensors = _tensors(ACTIVATIONS[name])
    assert activation(tensors["y"]) is not None
    assert (rectifier(tensors["y"]) is not None) == (name in RECTIFIERS)


@pytest.mark.parametrize("name", NEITHER)
def test_what_is_no_activation(name: str) -> None:
    tensors = _tensors(NEITHER[name])
    assert activation(tensors["y"]) is None
    assert rectifier(tensors["y"]) is None


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_normalisations(name: str) -> None:
    assert normalisation(_tensors(NORMALISATIONS[name])["y"]) is not None


@pytest.mark.parametrize("name", NO_NORMALISATIONS)
def test_what_is_no_normalisation(name: str) -> None:
    assert normalisation(_tensors(NO_NORMALISATIONS[name])["y"]) is None


def test_a_residual_sum_behind_a_rectifier_is_another_tensor() -> None:
    tensors = _tensors("r = Relu(x) z = Conv(r, w) s = Add(z, r) y = Max(s, zero)")
    found = rectifier(tensors["y"])
    assert found is not None
    assert found.source is tensors["s"]
    assert activation(tensors["s"]) is None
