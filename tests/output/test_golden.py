"""Figures look as they did: held against pictures, as a person would see a difference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from skimage.metrics import structural_similarity
from support.golden_cases import CASES

FOLDER = Path(__file__).parent / "golden"
# Fonts and resampling differ by a shade between versions of Pillow: what is compared is blurred by
# a pixel, may differ by 1.5 of 255 in the mean and by 12 in a block of 16 x 16 pixels, and has to
# be as similar in structure as 0.985.
MEAN, BLOCK, SIMILAR, MOST_BYTES = 1.5, 12.0, 0.985, 300_000


def _differs(made: Image.Image, kept: Image.Image) -> str:
    """Return how two pictures differ for the eye, empty where they do not."""
    if made.size != kept.size:
        return f"{made.size} instead of {kept.size} pixels"
    a, b = (
        np.asarray(each.convert("RGB").filter(ImageFilter.GaussianBlur(1)), np.float64)
        for each in (made, kept)
    )
    off = np.abs(a - b).mean(axis=-1)
    ends = tuple(slice(0, n // 16 * 16) for n in off.shape)
    blocks = off[ends].reshape(off.shape[0] // 16, 16, off.shape[1] // 16, 16).mean(axis=(1, 3))
    alike = float(structural_similarity(a, b, channel_axis=-1, data_range=255))
    fine = off.mean() <= MEAN and blocks.max() <= BLOCK and alike >= SIMILAR
    return "" if fine else f"mean {off.mean():.2f}, block {blocks.max():.1f}, similar {alike:.4f}"


@pytest.mark.parametrize("name", CASES)
def test_a_figure_looks_as_it_did(name: str, tmp_path: Path) -> None:
    made = CASES[name]().convert("RGB")
    with Image.open(FOLDER / f"{name}.png") as kept:
        wrong = _differs(made, kept)
    if wrong:
        made.save(tmp_path / f"{name}.png")
    assert not wrong, f"{tmp_path}/{name}.png: {wrong}; meant? python tools/make_golden.py {name}"


def test_there_is_a_picture_for_every_case_and_all_are_small() -> None:
    files = list(FOLDER.glob("*.png"))
    assert {path.stem for path in files} == CASES.keys()
    assert sum(path.stat().st_size for path in files) < MOST_BYTES


def test_what_an_eye_would_see_is_seen() -> None:
    one = CASES["overlay"]().convert("RGB")
    moved = Image.new("RGB", one.size, "white")
    moved.paste(one, (6, 0))
    without = one.copy()
    ImageDraw.Draw(without).rectangle((0, 0, one.width, 36), fill="white")  # the title is missing
    other = Image.merge("RGB", one.split()[::-1])
    for wrong in (moved, without, other, one.resize((one.width, one.height + 9))):
        assert _differs(wrong, one)
    assert _differs(one, one) == ""
    noise = np.random.default_rng(0).integers(-1, 2, (*one.size[::-1], 3))
    shade = Image.fromarray(np.clip(np.asarray(one, int) + noise, 0, 255).astype("u1"))
    assert _differs(shade, one) == ""
