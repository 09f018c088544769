"""Models of several inputs: which is explained, what is fed to the others, what its axes mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from onnx import ModelProto, parser, save
from support.runtime import run

from onnxcam import Explainer, convert
from onnxcam.analysis.layers.formats import letters
from onnxcam.cli import main
from onnxcam.errors import InputError, UsageError

RNG = np.random.default_rng(5)
LEFT, RIGHT = (RNG.standard_normal((12, 3, 6, 8)).astype("f4") for _ in range(2))
HEAD = '<ir_version: 8, opset_import: ["" : 20]>\n'
PAIR = """g (float[N,3,6,8] left, float[N,3,6,8] right) => (float[N,2] y)
  <int64[2] space = {2, 3}, float[3,2] w = {1, -2, 3, 4, 5, -6},
   float[3,3,1,1] i = {1, 0, 0, 0, 1, 0, 0, 0, 1}> {
  l = Conv (left, i)
  r = Conv (right, i)
  A = Relu (l)
  B = Relu (r)
  a = ReduceMean <keepdims = 0> (A, space)
  b = ReduceMean <keepdims = 0> (B, space)
  ab = Mul (a, b)
  y = MatMul (ab, w)
}"""
# A state that comes back, for the next call, and one that only goes in.
STATE = """g (float[N,4] x, float[N,4] h, float[1] gain) => (float[N,2] y, float[N,4] next)
  <float[4,2] w = {1, -2, 3, 4, 5, -6, 7, 8}> {
  s = Add (x, h)
  next = Tanh (s)
  z = Mul (next, gain)
  y = MatMul (z, w)
}"""


def _model(text: str) -> ModelProto:
    return parser.parse_model(HEAD + text)


def _explained(text: str = PAIR, **options: Any) -> Explainer[Any]:
    chosen = {"device": "cpu", "threads": 1, "upsampling": "none", "cache": False, **options}
    return Explainer(_model(text), **chosen)


def _cam(own: np.ndarray, other: np.ndarray, target: int) -> np.ndarray:
    """Grad-CAM of relu(own): the weights are those of the class times the other's means."""
    w = np.array([[1, -2], [3, 4], [5, -6]], "f4")[:, target]
    weights = w * np.maximum(other, 0).mean((1, 2)) / own[0].size
    return np.maximum(np.tensordot(weights, np.maximum(own, 0), 1), 0)


def _close(got: np.ndarray, want: np.ndarray) -> None:
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 4, 12])
def test_rows_of_another_input_go_with_their_inputs(count: int) -> None:
    explain = _explained(feature_layer="A")
    lists = explain([x[None] for x in LEFT[:count]], 0, extra_inputs={"right": RIGHT[:count]})
    array = explain(LEFT[:count], 0, extra_inputs={"right": RIGHT[:count]})
    both = zip(lists, array if count > 1 else [array], strict=True)
    for n, (one, other) in enumerate(both):
        _close(one.map, _cam(LEFT[n], RIGHT[n], 0))
        np.testing.assert_array_equal(one.map, other.map)


def test_one_row_is_for_all() -> None:
    found = _explained(feature_layer="A")(
        [x[None] for x in LEFT], 1, extra_inputs={"right": RIGHT[:1]}
    )
    for n, each in enumerate(found):
        _close(each.map, _cam(LEFT[n], RIGHT[0], 1))


def test_sampling_methods_get_their_rows_too() -> None:
    explain = _explained(method="ablation-cam", feature_layer="A")
    found = explain([x[None] for x in LEFT[:2]], 1, extra_inputs={"right": RIGHT[:2]})
    alone = explain(LEFT[1:2], 1, extra_inputs={"right": RIGHT[1:2]})
    np.testing.assert_array_equal(found[1].map, alone.map)


def test_a_layer_of_the_other_input_is_laid_over_that() -> None:
    found = _explained(feature_layer="B")(LEFT[:1], 1, extra_inputs={"right": RIGHT[:1]})
    _close(found.map, _cam(RIGHT[0], LEFT[0], 1))


def test_the_input_is_named() -> None:
    explain = _explained(input="right")
    assert explain.catalog.input == explain.input.name == "right"
    _close(explain(RIGHT[:1], 1, extra_inputs={"left": LEFT[:1]}).map, _cam(RIGHT[0], LEFT[0], 1))
    made = convert(_model(PAIR), input="right", upsampling="none", target=1).proto
    got = run(made, {"left": LEFT[:1], "right": RIGHT[:1]}, ["onnxcam.map"])["onnxcam.map"]
    _close(got[0, 0], _cam(RIGHT[0], LEFT[0], 1))


@pytest.mark.parametrize(
    ("options", "extra", "message"),
    [
        ({"input": "rihgt"}, {}, "depends on no input 'rihgt'.*right"),
        ({}, {}, "more inputs: 'right'.*extra_inputs"),
        ({}, {"wrong": RIGHT[:1]}, "no input 'wrong'"),
        ({}, {"right": RIGHT[:3]}, "'right' holds 3 rows, and 'left' 1"),
        ({"feature_layer": "B"}, {}, "laid over 'right', which is not given"),
    ],
)
def test_what_cannot_be_fed_is_refused(options: Any, extra: Any, message: str) -> None:
    with pytest.raises((UsageError, InputError), match=f"(?s){message}"):
        _explained(**options)(LEFT[:1], 0, extra_inputs=extra)


def test_states_are_zero_and_said_so() -> None:
    x, gain = RNG.standard_normal((1, 4)).astype("f4"), np.array([2], "f4")
    explain = _explained(STATE, method="saliency", reduction_layer="y", input_format="BT")
    found = explain(x, 0, extra_inputs={"gain": gain})
    given = explain(x, 0, extra_inputs={"gain": gain, "h": np.zeros((1, 4), "f4")})
    np.testing.assert_array_equal(found.map, given.map)
    assert found.parameters["zeros"] == "h" and "zeros" not in given.parameters
    with pytest.raises(InputError, match="'gain'"):
        explain(x, 0)


@pytest.mark.parametrize(
    ("format", "want"),
    [
        ("BTC", "NWC"), ("CT", "CW"), ("SSCB", "HWCN"), ("SSSCB", "DHWCN"), ("NHWC", "NHWC"),
        ("bcs", "NCW"), ("SSCTB", "HWCDN"), ("TSSCB", "DHWCN"), ("SC", "WC"),
    ],
)  # fmt: skip
def test_formats(format: str, want: str) -> None:
    assert letters(format, "input_format") == want


@pytest.mark.parametrize("format", ["", "BC", "BXC", "SSSSC", "SHC", "HHC", "BBS"])
def test_what_is_no_format_is_refused(format: str) -> None:
    with pytest.raises(UsageError, match="format"):
        letters(format, "input_format")


MATRIX = """g (float[N,5,4] x) => (float[N,2] y) <float[20,2] w> {
  a = Sigmoid (x)
  f = Flatten (a)
  y = MatMul (f, w)
}"""


@pytest.mark.parametrize(("format", "axis"), [("BTC", 1), ("BCT", 0), ("NCW", 0)])
def test_a_format_says_what_the_graph_does_not(format: str, axis: int) -> None:
    w = np.arange(40, dtype="f4").reshape(20, 2) - 20
    proto = _model(
        MATRIX.replace("float[20,2] w", f"float[20,2] w = {{{', '.join(map(str, w.ravel()))}}}")
    )
    x = RNG.standard_normal((1, 5, 4)).astype("f4")
    found = Explainer(proto, "saliency", input_format=format, cache=False)(x, 0)
    s = 1 / (1 + np.exp(-x[0].astype("f8")))
    _close(found.map, np.abs(s * (1 - s) * w[:, 0].reshape(5, 4)).max(axis))
    layer = Explainer(
        proto, "layercam", feature_layer="a", feature_format=format, cache=False, upsampling="none"
    )
    want = np.maximum((np.maximum(w[:, 0].reshape(5, 4), 0) * s).sum(axis), 0)
    _close(layer(x, 0).map, want)


def test_a_format_fits_the_tensor() -> None:
    with pytest.raises(UsageError, match="4 axes, and 'left' has 4|3 axes, and 'left' has 4"):
        _explained(input_format="BTC")
    with pytest.raises(UsageError, match="feature_layer"):
        _explained(feature_format="BTC")


def test_the_shell_feeds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(_model(PAIR), "pair.onnx")
    np.savez("both.npz", left=LEFT[:1], right=RIGHT[:1])
    np.save("left.npy", LEFT[:1])
    np.save("right.npy", RIGHT[:1])
    common = ["explain", "pair.onnx", "--target", "1", "--upsampling", "none", "--no-cache"]
    for words, own, other in (
        (["both.npz", "-o", "a.npz"], LEFT, RIGHT),
        (["both.npz", "--input", "right", "-o", "b.npz"], RIGHT, LEFT),
        (["left.npy", "--feed", "right=right.npy", "-o", "c.npz"], LEFT, RIGHT),
        (["right.npy", "--input", "right", "--feed", "left=both.npz", "-o", "d.npz"], RIGHT, LEFT),
    ):
        result = CliRunner().invoke(main, [*common, *words])
        assert result.exit_code == 0, result.output
        with np.load(words[-1]) as held:
            _close(held["map"], _cam(own[0], other[0], 1))
    for feed, message in (("right", "no NAME=FILE"), ("right=no.npy", "does not exist")):
        result = CliRunner().invoke(main, [*common, "left.npy", "--feed", feed])
        assert result.exit_code and message in result.output


INTEGERS = """g ({dtype}[N,1,4,4] x) => (float[N,2] y) <float[16,2] w> {{
  r = Cast <to = 1> (x)
  a = Relu (r)
  f = Flatten (a)
  y = MatMul (f, w)
}}"""


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32"])
def test_integers_are_explained_behind_their_cast(dtype: str) -> None:
    w = np.arange(32, dtype="f4").reshape(16, 2) - 9
    text = INTEGERS.format(dtype=dtype).replace(
        "float[16,2] w", f"float[16,2] w = {{{', '.join(map(str, w.ravel()))}}}"
    )
    x = np.arange(16, dtype=dtype).reshape(1, 1, 4, 4)
    explain = _explained(text, method="input-x-gradient", input_format="NCHW")
    _close(explain(x, 1).map, (w[:, 1] * np.arange(16)).reshape(4, 4))
