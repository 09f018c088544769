"""Maps of sequences with a value for each channel: how they are drawn, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper
from PIL import Image
from support import nets

from onnxcam import Explainer
from onnxcam.cli import main
from onnxcam.errors import InputError
from onnxcam.output.render import figure_1d
from onnxcam.output.render.draw import MARGIN

SAMPLES, CHANNELS = 60, 3


def _net() -> onnx.ModelProto:
    """y = mean of relu(x_1) - mean of relu(x_2): channel 0 counts for nothing."""
    weights = {
        "k": np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]], "f4")[..., None],
        "w": np.array([[1], [-1], [0]], "f4"),
    }
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"]),
        helper.make_node("Relu", ["c"], ["a"]),
        helper.make_node("GlobalAveragePool", ["a"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    return nets.model(nodes, {"x": ["N", CHANNELS, SAMPLES]}, {"y": ["N", 1]}, weights)


def _signal() -> np.ndarray:
    x = np.zeros((1, CHANNELS, SAMPLES), "f4")
    x[0, 1, 10:20] = x[0, 2, 40:50] = 1
    x[0, 0, 25:35] = 5
    return x


def _found(name: str, **parameters: Any) -> Any:
    explain: Any = Explainer(_net(), name, parameters=parameters, device="cpu", threads=1)
    return explain(_signal(), 0)


def _lanes(drawn: Image.Image, top: int = 0) -> np.ndarray:
    """Return the colours of each lane just below its upper border, [channels, 960, 3]."""
    plot = np.asarray(drawn)[:, -MARGIN - 960 : -MARGIN].astype(int)
    rows = [top + 160 * lane + 4 for lane in range(CHANNELS)]
    return plot[rows]


def _top(drawn: Image.Image) -> int:
    """Return the row at which the lanes begin: the first with a border between two below it."""
    plain = np.asarray(drawn)[:, -MARGIN - 5].astype(int).sum(-1)
    return int(np.flatnonzero(plain < 765)[0])


def test_each_lane_has_the_colours_of_its_own_values() -> None:
    relief = np.zeros((CHANNELS, SAMPLES))
    relief[1, 10:20], relief[2, 40:50] = 2, -2
    drawn = figure_1d(_signal()[0], relief.sum(0), title="", relief=relief, smooth=False)
    lanes = _lanes(drawn, _top(drawn))
    red, blue = lanes[..., 0] - lanes[..., 2] > 60, lanes[..., 2] - lanes[..., 0] > 60
    assert not red[0].any() and not blue[0].any() and not blue[1].any() and not red[2].any()
    for found, (first, last) in ((red[1], (10, 20)), (blue[2], (40, 50))):
        places = np.flatnonzero(found)
        assert abs(places.min() - 16 * first) <= 1 and abs(places.max() + 1 - 16 * last) <= 1


@pytest.mark.parametrize("name", ["input-x-gradient", "integrated-gradients", "smoothgrad"])
def test_methods_with_a_value_for_each_channel_show_them(name: str) -> None:
    found = _found(name)
    assert found.per_channel.shape == (CHANNELS, SAMPLES)
    drawn, together = found.figure(), found.figure(style="overlay")
    assert drawn.size[0] == together.size[0]
    lanes, one = _lanes(drawn, _top(drawn)), _lanes(together, _top(together))
    assert (one[0] == one[1]).all() and (one[0] == one[2]).all()
    assert (lanes[0] != lanes[1]).any() and (lanes[1] != lanes[2]).any()
    assert np.ptp(lanes[0], axis=0).max() < 30, "a channel that counts for nothing"


def test_windows_over_channels_are_seen_channel_by_channel() -> None:
    found = _found("occlusion", window=[1, 10], stride=[1, 10])
    lanes = _lanes(found.figure(), _top(found.figure()))
    assert np.ptp(lanes[0], axis=0).max() == 0 and np.ptp(lanes[1], axis=0).max() > 60
    assert _found("occlusion", window=10, stride=10).per_channel is None


def test_channels_of_a_layer_are_not_those_of_the_input() -> None:
    """Also where there are as many of them."""
    found = _found("conductance", steps=4)
    assert found.relief.shape == (CHANNELS, SAMPLES) and found.at_layer
    assert found.per_channel is None
    lanes = _lanes(found.figure(), _top(found.figure()))
    assert (lanes[0] == lanes[1]).all()


def test_a_relief_that_does_not_fit_is_refused() -> None:
    for wrong in (np.zeros((2, 9)), np.zeros(9)):
        with pytest.raises(InputError, match="does not fit 3 channels"):
            figure_1d(_signal()[0], np.zeros(9), title="", relief=wrong)


def test_the_shell_names_channels_and_seconds(tmp_path: Path) -> None:
    onnx.save(_net(), str(tmp_path / "m.onnx"))
    np.save(tmp_path / "x.npy", _signal())
    call = ["explain", str(tmp_path / "m.onnx"), str(tmp_path / "x.npy"), "--method",
            "input-x-gradient", "--target", "0", "-o", str(tmp_path / "x.png")]  # fmt: skip
    result = CliRunner().invoke(main, [*call, "--channels", "Fz, Cz, Pz", "--rate", "20"])
    assert result.exit_code == 0, result.output
    first = np.asarray(Image.open(tmp_path / "x.png"))
    assert CliRunner().invoke(main, call).exit_code == 0
    assert (np.asarray(Image.open(tmp_path / "x.png")) != first).any()
    result = CliRunner().invoke(main, [*call, "--channels", "Fz,Cz"])
    assert result.exit_code and "2 channel names for 3 channels" in result.output
