"""The overlay in the graph is the one that Python draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from support import nets

import onnxcam
from onnxcam.compose import Drawing
from onnxcam.compose.overlay import drawn
from onnxcam.errors import UsageError
from onnxcam.inputs import InputSpec
from onnxcam.model.draft import Draft
from onnxcam.model.model import load
from onnxcam.output.render import overlay
from onnxcam.output.render.colour import colormap
from onnxcam.run.session import Session

PICTURES = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3)).astype(np.uint8)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _maps() -> np.ndarray:
    """Two inputs with three targets each; the odd ones: all negative, zero, not finite."""
    maps = np.random.default_rng(1).normal(size=(2, 3, 5, 7)).astype("f4")
    maps[0, 1] = -np.abs(maps[0, 1])
    maps[0, 2] = 0
    maps[1, 0, 1, 2], maps[1, 0, 3, 3] = np.nan, np.inf
    maps[1, 1] *= 1e-30
    return maps


def _drawn(x: np.ndarray, maps: np.ndarray, how: Drawing) -> np.ndarray:
    proto = nets.model(
        [helper.make_node("Identity", ["x"], ["y"])],
        {"x": list(x.shape), "map": list(maps.shape)},
        {"y": list(x.shape)},
    )
    draft = Draft(load(proto))
    draft.output(drawn(draft.op, draft.tensor("x"), draft.tensor("map"), how), "result")
    session = Session(draft.finish(), device="cpu", threads=1)
    return session.run({"x": x, "map": maps}, ["result"])[0]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("layout", "channels"),
    [("NCHW", "RGB"), ("NHWC", "BGR"), ("NCWH", "RGB"), ("NHWC", "GRAY"), ("NHW", "GRAY")],
)
def test_the_graph_draws_as_python_does(layout: str, channels: str, signed: bool) -> None:
    grey = channels == "GRAY"
    pictures = PICTURES[..., :1].repeat(3, -1) if grey else PICTURES
    pixels = pictures[..., :1] if grey else pictures[..., :: -1 if channels == "BGR" else 1]
    mean, std = ((0.5,), (0.25,)) if grey else (MEAN, STD)
    values = ((pixels / 255 - mean) / std).astype("f4")
    axes = "NHWC" if "C" in layout else "NHW"
    x = np.einsum(f"{axes}->{layout}", values if "C" in layout else values[..., 0])
    table = colormap("bluered" if signed else "ember")
    how = Drawing(layout, channels, 1 / 255, mean, std, table, signed)
    maps = _maps()
    found = _drawn(np.ascontiguousarray(x), maps, how)
    assert found.dtype == np.uint8 and found.shape == (2, 3, 5, 7, 3)
    for n, k in np.ndindex(2, 3):
        want = overlay(pictures[n], maps[n, k], signed=signed)
        off = np.abs(found[n, k].astype(int) - want)
        assert off.max() <= 4 and off.mean() <= 0.1, "the neighbour in the colour map, now and then"


def _file(path: Path) -> Path:
    path.write_bytes(nets.cnn(channels=3, batch="N").SerializeToString())
    return path


SPEC = InputSpec(channels="BGR", scale=1 / 255, mean=MEAN, std=STD)


@pytest.mark.parametrize("options", [{}, {"upsampling": "none"}, {"normalize": "minmax"}])
@pytest.mark.parametrize("method", ["gradcam", "input-x-gradient"])
def test_the_file_returns_the_overlay_of_explain(
    method: str, options: dict[str, Any], tmp_path: Path
) -> None:
    made = onnxcam.convert(
        _file(tmp_path / "m.onnx"), method=method, target=[1, None], overlay=True,
        preprocess=SPEC, **options,
    )  # fmt: skip
    explain = onnxcam.Explainer(tmp_path / "m.onnx", method, device="cpu", preprocess=SPEC)
    pictures = np.random.default_rng(3).integers(0, 256, (2, 6, 6, 3)).astype(np.uint8)
    want = explain(list(pictures), [1, None])
    session = Session(made.explained.model, device="cpu", threads=1)
    x = np.stack([found[0].tensor for found in want])
    (result,) = session.run({"x": x}, ["onnxcam.overlay"])
    assert result.shape == (2, 2, 6, 6, 3)
    for n, k in np.ndindex(2, 2):
        expected = want[n][k].overlay()
        off = np.abs(result[n, k].astype(int) - expected)
        assert off.max() <= 4 and off.mean() <= 0.1


def test_a_real_photograph_looks_as_in_python(zoo: Path) -> None:
    """On the picture that the input is: cut out and scaled, blue before red."""
    made = onnxcam.convert(zoo / "squeezenet1.1.onnx", overlay=True, check=False)
    found = onnxcam.Explainer(zoo / "squeezenet1.1.onnx", device="cpu", threads=1)
    explanation = found(zoo / "chelsea.png")
    session = Session(made.explained.model, device="cpu", threads=1)
    feeds = {found.input.name: explanation.tensor[None]}
    ((result,),) = session.run(feeds, ["onnxcam.overlay"])[0]
    mean = np.array(found.spec.mean)[:, None, None]
    picture = np.moveaxis(np.rint(explanation.tensor + mean), 0, -1)[..., ::-1].astype(np.uint8)
    off = np.abs(result.astype(int) - overlay(picture, explanation.map))
    assert off.max() <= 4 and off.mean() <= 0.02
    assert np.abs(result.astype(int) - picture).mean() > 10, "the map is to be seen"


@pytest.mark.parametrize(
    ("preprocess", "words"),
    [(None, "nothing says how a picture becomes.*`preprocess="), ("none", "is no picture.*Leave")],
)
def test_an_input_that_is_no_picture_has_no_overlay(
    preprocess: Any, words: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=words):
        onnxcam.convert(
            _file(tmp_path / "m.onnx"), tmp_path / "o.onnx", overlay=True, preprocess=preprocess
        )
    assert not (tmp_path / "o.onnx").exists()


def test_a_sound_has_no_overlay(zoo: Path) -> None:
    with pytest.raises(UsageError, match="no overlay: the model's input is no picture"):
        onnxcam.convert(zoo / "japanese_vowels.onnx", overlay=True)
