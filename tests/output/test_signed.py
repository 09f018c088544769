"""Whether a map is drawn on a signed scale is said once, by its method."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support import nets

import onnxcam
from onnxcam import methods
from onnxcam.output import render
from onnxcam.output.explanation import Explanation
from onnxcam.output.render.colour import colormap

SIZE = 6
PICTURE = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)


OF_OTHERS = {"legrad", "d-rise", "feature-permutation"}  # transformers, detectors, many inputs


@pytest.fixture(params=sorted(set(methods.names()) - OF_OTHERS))
def method(request: pytest.FixtureRequest) -> methods.Method:
    return methods.find(request.param)


def _explained(name: str, **options: object) -> Explanation:
    proto = nets.cnn(channels=3)
    found = onnxcam.Explainer(proto, name, device="cpu", preprocess="unit", **options)(PICTURE)
    assert isinstance(found, Explanation)
    return found


def test_an_explanation_is_signed_as_its_method_is(method: methods.Method) -> None:
    found = _explained(method.name)
    assert found.signed is method.signed
    assert found.as_dict()["signed"] is method.signed


def test_overlay_and_figure_are_drawn_on_one_scale(method: methods.Method) -> None:
    found = _explained(method.name)
    drawn = found.overlay()  # as the port of a converted file: to the largest value
    np.testing.assert_array_equal(
        drawn, render.overlay(PICTURE, found.map, box=found.box, signed=method.signed)
    )
    clip = None if method.style == "overlay" else 99  # noise has outliers
    bare = {"title": "", "subtitle": "", "colorbar": False, "layout": "overlay", "size": 64}
    bare |= {"style": "overlay", "clip": clip, "note": ""}
    figure = render.figure(PICTURE, found.map, box=found.box, signed=method.signed, **bare)
    np.testing.assert_array_equal(found.figure(**bare), figure)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", sorted(set(methods.names("graph")) - OF_OTHERS), indirect=True)
def test_the_file_draws_on_the_scale_of_its_method(method: methods.Method) -> None:
    made = onnxcam.convert(
        nets.cnn(channels=3), method=method.name, preprocess="unit", overlay=True, check=False
    )
    assert made.explained.model.metadata["onnxcam.signed"] == str(method.signed).lower()
    weights = [np.asarray(value) for value in _tables(made.proto)]
    of_file = [w for w in weights if w.shape == colormap("ember").shape]
    want = colormap("bluered" if method.signed else "ember")
    assert len(of_file) == 1
    np.testing.assert_array_equal(of_file[0], want)


def _tables(proto: object) -> list[np.ndarray]:
    from onnx import numpy_helper

    return [numpy_helper.to_array(t) for t in proto.graph.initializer]  # type: ignore[attr-defined]


@pytest.mark.parametrize("signed", [False, True])
def test_values_do_not_decide(signed: bool) -> None:
    """A signed map without a negative value stays signed, an unsigned one with some does not."""
    found = replace(_explained("cam"), signed=signed)
    lowest = float(found.raw_map.min())
    for shift in (abs(lowest) + 1, -abs(lowest) - 1):
        moved = replace(found, map=found.map + shift, raw_map=found.raw_map + shift)
        want = render.overlay(PICTURE, moved.map, box=moved.box, signed=signed)
        np.testing.assert_array_equal(moved.overlay(), want)
        other = render.overlay(PICTURE, moved.map, box=moved.box, signed=not signed)
        np.testing.assert_array_equal(moved.overlay(signed=not signed), other)
        assert np.abs(want.astype(int) - other).max() > 0


def test_a_signal_and_a_volume_follow_too() -> None:
    found = replace(_explained("cam"), picture=None, signed=True)
    line = np.linspace(1, 2, 9, dtype=np.float32)  # no value below 0
    signal = replace(found, map=line, raw_map=line, tensor=np.zeros((1, 9), "f4"), layout="CT")
    bare = {"title": "", "subtitle": "", "note": ""}
    want = render.figure_1d(np.zeros((1, 9), "f4"), line, signed=True, **bare)
    np.testing.assert_array_equal(signal.figure(**bare), want)  # type: ignore[arg-type]
    cube = np.linspace(1, 2, 27, dtype=np.float32).reshape(3, 3, 3)
    tensor = np.zeros((1, 3, 3, 3), "f4")
    volume = replace(found, map=cube, raw_map=cube, tensor=tensor, layout="CDHW")
    want = render.figure_3d(tensor[0], cube, signed=True, peak=True, **bare)
    np.testing.assert_array_equal(volume.figure(**bare), want)  # type: ignore[arg-type]
