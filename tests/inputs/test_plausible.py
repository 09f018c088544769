"""Recipes that mix numbers for pixels of 0 to 1 with such for 0 to 255 are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxcam.errors import UsageError
from onnxcam.inputs import PRESETS, InputSpec, ModelInput, prepare, resolve

INPUT = ModelInput("x", (1, 3, 8, 8), np.dtype("f4"), "NCHW")
UNIT = 1 / 255


def _resolved(spec: InputSpec | str | Path) -> InputSpec:
    return resolve(INPUT, model_path=None, metadata={}, option=spec)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (InputSpec(mean=(0.5,), std=(0.5,)), "subtracts a mean of 0.5 from pixels of 0 to 255"),
        (InputSpec(mean=(0.485, 0.456, 0.406)), "subtracts a mean of 0.485 from pixels of 0"),
        (InputSpec(scale=UNIT, mean=(103.9, 116.8, 123.7)), "a mean of 103.9 from pixels of 0 to"),
        (InputSpec(mean=(124.0,), std=(0.229,)), "divides pixels of 0 to 255 by 0.229"),
        (InputSpec(scale=UNIT, std=(255.0,)), "all pictures become the same"),
        (InputSpec(scale=1e-6), "all pictures become the same"),
        (InputSpec(scale=UNIT, std=(-0.5,)), "divides by -0.5"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(spec: InputSpec, words: str) -> None:
    with pytest.raises(UsageError, match="says|subtracts|divides|makes") as caught:
        _resolved(spec)
    assert words in caught.value.message
    assert caught.value.hint


def test_a_std_of_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="std"):
        InputSpec(std=(0.0,))


@pytest.mark.parametrize(
    "spec",
    [
        *(name for name in PRESETS if name != "none"),
        InputSpec(scale=UNIT, mean=(0.5,), std=(0.5,)),
        InputSpec(mean=(127.5,), std=(127.5,)),
        InputSpec(mean=(127.0,), std=(128.0,)),
        InputSpec(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
        InputSpec(channels="BGR", mean=(103.53, 116.28, 123.675)),
        InputSpec(scale=2 / 255, mean=(1.0,)),
        InputSpec(scale=-UNIT, mean=(-1.0,)),
        InputSpec(std=(255.0,)),
        InputSpec(scale=UNIT, mean=(0.5,), std=(1.0,)),
        InputSpec(scale=257.0),
    ],
)
def test_what_networks_are_trained_with_is_taken(spec: InputSpec | str) -> None:
    assert _resolved(spec).described


def test_what_was_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "net.toml").write_text("scale = 0.00392156862745098\nmean = 0.5\nstd = 0.5\n")
    spec = _resolved(tmp_path / "net.toml")
    prepared = prepare(np.zeros((8, 8, 3), np.uint8), spec, INPUT)
    assert "RGB, (x * 0.00392157 - 0.5) / 0.5" in prepared.recipe
    assert "net.toml" in prepared.recipe
    assert not prepare(np.zeros((1, 3, 8, 8), "f4"), spec, INPUT).recipe
