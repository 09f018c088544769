"""Figures, slices and signals: the pixels are where they should be, whatever is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from onnxcam.errors import InputError, UsageError
from onnxcam.output.render import draw, figure, figure_1d, figure_3d, overlay
from onnxcam.output.render.colour import colormap, colours
from onnxcam.output.render.draw import (
    ALARM,
    GAP,
    INK,
    MARGIN,
    MUTED,
    SMALL_SIZE,
    colour_bar,
    face,
    plain,
    wrap,
)
from onnxcam.output.render.signals import _round_step

Pixels = NDArray[Any]
PICTURE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
MAP = np.random.default_rng(1).standard_normal((7, 7))
FLOATS: Any = PICTURE / 255
GRID: Any = "grid"  # no such layout
BARE: dict[str, Any] = {"title": "", "colorbar": False}


def pixels(image: Image.Image) -> Pixels:
    """Return a figure without its margin, and see that this is paper."""
    array = np.asarray(image)
    inside = array[MARGIN:-MARGIN, MARGIN:-MARGIN]
    frame = array.copy()
    frame[MARGIN:-MARGIN, MARGIN:-MARGIN] = 255
    assert (frame == 255).all()
    return inside


def has(colour: tuple[int, int, int], array: Pixels) -> bool:
    return bool((array == colour).all(axis=-1).any())


@pytest.mark.parametrize(
    "options", [{}, {"signed": True}, {"box": (10, 5, 50, 45)}, {"alpha": 0.9}]
)
def test_a_figure_shows_the_picture_and_its_overlay(options: dict[str, Any]) -> None:
    result = pixels(figure(PICTURE, MAP, size=80, **BARE, **options))
    np.testing.assert_array_equal(result[:, :80], PICTURE)
    np.testing.assert_array_equal(result[:, 80 + GAP : 160 + GAP], overlay(PICTURE, MAP, **options))
    alone = pixels(figure(PICTURE, MAP, size=80, layout="overlay", **BARE, **options))
    np.testing.assert_array_equal(alone, overlay(PICTURE, MAP, **options))


def test_wide_pictures_stand_above_their_overlays() -> None:
    wide = PICTURE[:40]
    result = pixels(figure(wide, MAP, size=80, **BARE))
    np.testing.assert_array_equal(result[:40, :80], wide)
    np.testing.assert_array_equal(result[40 + GAP :, :80], overlay(wide, MAP))


@pytest.mark.parametrize(
    ("shape", "panel"),
    [
        ((16, 16), (480, 480)),
        ((1, 1), (480, 480)),
        ((3000, 4500), (320, 480)),
        ((40, 400), (48, 480)),
        ((400, 40), (480, 48)),
        ((1, 3000), (1, 480)),
    ],
)
def test_pictures_of_any_shape_are_scaled_to_the_figure(
    shape: tuple[int, int], panel: tuple[int, int]
) -> None:
    picture = np.full((*shape, 3), (10, 200, 90), np.uint8)
    result = pixels(figure(picture, MAP, alpha=0, layout="overlay", **BARE))
    assert result.shape[0] == panel[0]
    assert (result[:, : panel[1]] == (10, 200, 90)).all()
    full = figure(picture, MAP, title="tabby cat 93 %", subtitle="LayerCAM at layer4")
    assert full.width >= draw.MARGIN * 2 + 360  # room for a title
    assert has(INK, pixels(full))


def test_a_box_is_scaled_with_its_picture() -> None:
    picture = np.full((100, 100, 3), 100, np.uint8)
    result = pixels(
        figure(
            picture, np.ones((1, 1)), box=(50, 25, 75, 100), alpha=1, colormap="gray",
            layout="overlay", size=400, **BARE,
        )
    )  # fmt: skip
    white = np.argwhere((result[:, :400] == 255).all(axis=-1))
    assert white.min(axis=0).tolist() == [100, 200]
    assert white.max(axis=0).tolist() == [399, 299]


def test_a_box_on_a_picture_of_one_row_is_not_scaled_away() -> None:
    picture = np.full((1, 3000, 3), 100, np.uint8)
    result = figure(
        picture, np.ones((1, 1)), box=(0, 0, 3000, 1), alpha=0, layout="overlay", **BARE
    )
    assert (pixels(result) == 100).all()


@pytest.mark.parametrize(("width", "numbers"), [(300, 3), (97, 2)])
def test_numbers_of_a_narrow_colour_bar_do_not_touch(width: int, numbers: int) -> None:
    """Below narrow pictures the one in the middle ran into the one at the end: it is left out."""
    below = np.asarray(colour_bar("ember", (0.0, 9.57e-6), width))[17:]
    dark = np.flatnonzero((below < 200).any(2).any(0))
    gaps = np.flatnonzero(np.diff(dark) > 5)
    assert len(gaps) == numbers - 1
    last = width - face("9.57e-06", SMALL_SIZE).getlength("9.57e-06")
    assert abs(dark[gaps[-1] + 1] - last) <= 2


def test_a_colour_bar_runs_from_end_to_end_and_names_its_limits() -> None:
    bar = np.asarray(colour_bar("ember", (0.0, 2.0), 300))
    np.testing.assert_array_equal(bar[5, 1:-1], colormap("ember")[np.arange(1, 299) * 256 // 299])
    labels = bar[16:]
    other = np.asarray(colour_bar("ember", (0.0, 3.0), 300))[16:]
    np.testing.assert_array_equal(labels[:, :100], other[:, :100])  # both begin at 0
    assert (labels[:, 200:] != other[:, 200:]).any()
    flat = np.asarray(colour_bar("ember", (0.0, 0.0), 300))[16:]
    np.testing.assert_array_equal(flat[:, :100], labels[:, :100])
    assert (flat[:, 100:] == 255).all()


def test_the_raw_range_is_written_even_where_the_scale_hides_it() -> None:
    low, lower = (
        pixels(figure(PICTURE, np.array([[least, 1.0]]), title="", layout="overlay", size=80))
        for least in (-1.0, -7.0)
    )
    bar = slice(60 + GAP, 60 + GAP + 30)
    np.testing.assert_array_equal(low[bar], lower[bar])
    assert (low[bar.stop :] != lower[bar.stop :]).any()


def test_values_that_are_not_finite_are_counted_in_red() -> None:
    spoilt = MAP.copy()
    spoilt[0, 0] = np.nan
    assert has(ALARM, pixels(figure(PICTURE, spoilt, **BARE)))
    assert not has(ALARM, pixels(figure(PICTURE, MAP, **BARE)))
    every = np.full((3, 3), np.nan)
    shown = pixels(figure(PICTURE, every, title="nothing", layout="overlay", size=80, alpha=0))
    assert has(ALARM, shown)


def test_wrap_breaks_at_spaces_and_elides_the_rest() -> None:
    font = face("", 14)
    width = int(font.getlength("tabby cat"))
    assert wrap("tabby cat", font, width, 2) == ["tabby cat"]
    assert wrap("tabby cat in a box", font, width, 3) == ["tabby cat", "in a box"]
    first, last = wrap("tabby cat in a box on a mat", font, width, 2)
    assert first == "tabby cat"
    assert last.endswith("…")
    assert font.getlength(last) <= width
    assert wrap("conv" * 9, font, width, 9)[0].startswith("conv")
    assert "".join(wrap("conv" * 9, font, width, 9)) == "conv" * 9
    assert wrap("  ", font, width, 2) == []


@settings(max_examples=60, deadline=None)
@given(text=st.text(), width=st.integers(30, 300), lines=st.integers(1, 3))
def test_wrapped_lines_fit_and_lose_nothing_but_the_end(text: str, width: int, lines: int) -> None:
    font = face("", 14)
    text = plain(text)
    wrapped = wrap(text, font, width, lines)
    assert len(wrapped) <= lines
    assert all(font.getlength(line) <= width for line in wrapped)
    kept = "".join(wrapped).replace(" ", "")
    whole = text.replace(" ", "")
    assert kept == whole or (kept.endswith("…") and whole.startswith(kept[:-1]))


@pytest.mark.parametrize("fonts", [(), ("no-such-font.ttf",), draw.SYSTEM_FONTS])
def test_no_letters_crash_a_figure(monkeypatch: pytest.MonkeyPatch, fonts: tuple[str, ...]) -> None:
    monkeypatch.setattr(draw, "SYSTEM_FONTS", fonts)
    title = "猫 Kätzchen قط\n\t\x00 \ud800 🐈 e\u0301"
    shown = pixels(figure(PICTURE, MAP, title=title, subtitle=title, layout="overlay", size=80))
    plain_one = pixels(figure(PICTURE, MAP, title="", layout="overlay", size=80))
    assert has(INK, shown[: len(shown) - len(plain_one)])


def test_a_system_font_steps_in_for_missing_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    carried = face("Katze", 14)

    class Complete:
        def getmask(self, text: str) -> bytes:
            return text.encode()

    monkeypatch.setattr(draw, "_system", lambda name, size: Complete() if name == "b" else None)
    monkeypatch.setattr(draw, "SYSTEM_FONTS", ("a", "b"))
    assert face("Katze", 14) is carried
    assert isinstance(face("Kätzchen", 14), Complete)


def test_slices_are_spread_evenly_and_share_one_scale() -> None:
    volume = np.arange(8, dtype=np.uint8)[:, None, None] * np.full((20, 20), 30, np.uint8)
    result = pixels(figure_3d(volume, np.ones((1, 1, 1)), slices=4, alpha=0, size=100, **BARE))
    tiles = [result[y, x] for y in (60, 60 + len(result) // 2) for x in (50, 160)]
    assert [tile.tolist() for tile in tiles] == [[30 * z] * 3 for z in (1, 3, 5, 7)]
    deep = np.array([0.0, 0, 0, 0, 2, 2, 4, 4])[:, None, None]
    shown = pixels(figure_3d(volume, deep, slices=4, alpha=1, colormap="gray", size=100, **BARE))
    levels = [int(shown[y, x, 0]) for y in (60, 60 + len(shown) // 2) for x in (50, 160)]
    half = int(colours(np.array(0.5), "gray")[0])
    assert levels == [0, 0, half, 255]


def test_volumes_come_as_floats_or_in_colour() -> None:
    volume = np.array([-1000.0, 0.0, 1000.0])[:, None, None] * np.ones((3, 20, 20))
    map = np.ones((2, 2, 2))
    result = pixels(figure_3d(volume, map, slices=99, alpha=0, size=100, **BARE))
    assert [int(result[60, 50, 0]), int(result[60, 160, 0])] == [0, 128]
    colour = np.full((1, 20, 20, 3), (1, 2, 3), np.uint8)
    one = pixels(figure_3d(colour, map, alpha=0, size=100, **BARE))
    assert one[60, 50].tolist() == [1, 2, 3]


def lane(image: Image.Image, size: int) -> Pixels:
    """Return the one lane of a bare plot."""
    return pixels(image)[:160, :size]


def test_a_signal_lies_over_the_colours_of_its_map() -> None:
    signal = np.full(1000, 5.0)
    signal[400:600] = np.nan
    map = np.array([0.0, 0.0, 0.0, 3.0, 3.0, 3.0])
    shown = lane(figure_1d(signal, map, alpha=1, colormap="gray", size=400, **BARE), 400)
    assert (shown[10, :100] == 0).all()
    assert (shown[10, 300:] == 255).all()
    line = np.abs(shown[80].astype(int) - INK[0]).max(axis=-1) < 30  # a constant: half-way up
    assert line[:158].all()
    assert line[242:].all()
    np.testing.assert_array_equal(shown[80, 162:238], shown[10, 162:238])  # the gap


def test_the_background_is_white_where_the_map_is_zero() -> None:
    for signed in (False, True):
        shown = lane(figure_1d(np.zeros(9), np.zeros(4), signed=signed, size=300, **BARE), 300)
        assert shown[5].min() >= 245


def test_each_channel_has_its_lane_scale_and_label() -> None:
    ramp = np.linspace(-1, 1, 200)
    shown = pixels(
        figure_1d(
            np.stack([ramp, -1e6 * ramp]), np.zeros(3), channels=["I", "II"], size=300, **BARE
        )
    )
    plot = shown[:, -300:]
    dark = plot.max(axis=-1) < 120
    up, down = dark[:160], dark[161:320]
    assert up[16:20, -4:].any()  # a tenth below the lane's top
    assert up[140:146, :4].any()
    assert down[15:19, :4].any()
    assert down[139:145, -4:].any()
    assert (shown[60:100, :60] < 255).any()
    assert (shown[220:260, :60] < 255).any()


def test_odd_signals_are_drawn() -> None:
    for signal in (np.zeros(1), np.full((2, 5), np.nan), np.array([np.inf, 1, np.nan, 2])):
        assert figure_1d(signal, np.array([np.nan, 1.0]), title="odd", rate=100.0).width > 960


@pytest.mark.parametrize("rate", [None, 100.0])
def test_the_time_axis_counts_samples_or_seconds(rate: float | None) -> None:
    # 200 samples on 400 columns, a tick every 50: that is every half second.
    shown = pixels(figure_1d(np.zeros(200), np.zeros(2), rate=rate, size=400, **BARE))
    ticks = np.flatnonzero((shown[162] == MUTED).all(axis=-1))
    assert ticks.tolist() == [1, 101, 201, 301]


@pytest.mark.parametrize(
    ("least", "step"), [(0.9, 1), (1, 1), (1.1, 2), (3, 5), (6, 10), (0.03, 0.05), (1500, 2000)]
)
def test_ticks_are_round(least: float, step: float) -> None:
    assert _round_step(least) == pytest.approx(step)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: figure(PICTURE, MAP, title="", layout=GRID), UsageError, "layout 'grid'"),
        (lambda: figure(PICTURE, MAP, title="", size=3), UsageError, "size 3"),
        (lambda: figure(FLOATS, MAP, title=""), InputError, "float64"),
        (lambda: figure(PICTURE, MAP[0], title=""), InputError, "does not fit on a picture"),
        (lambda: figure(PICTURE, MAP, title="", colormap="hotter"), UsageError, "map 'hotter'"),
        (lambda: figure_3d(PICTURE, MAP, title=""), InputError, "does not fit a volume"),
        (lambda: figure_3d(MAP, MAP, title=""), InputError, "volume of shape"),
        (lambda: figure_3d(PICTURE, MAP[None], title="", slices=0), UsageError, "0 slices"),
        (lambda: figure_1d(np.ones((1, 2, 3)), MAP[0], title=""), InputError, "signal of dtype"),
        (lambda: figure_1d(np.ones(0), MAP[0], title=""), InputError, "signal of dtype"),
        (lambda: figure_1d(np.ones(9), MAP, title=""), InputError, "does not fit a signal"),
        (lambda: figure_1d(np.ones(9), MAP[0], title="", size=9), UsageError, "9 wide"),
        (lambda: figure_1d(np.ones(9), MAP[0], title="", rate=0.0), UsageError, "rate of 0.0"),
        (lambda: figure_1d(np.ones(9), MAP[0], title="", alpha=2), UsageError, "alpha 2"),
        (
            lambda: figure_1d(np.ones(9), MAP[0], title="", channels=["a", "b"]),
            UsageError,
            "2 channel names for 1",
        ),
    ],
)
def test_what_cannot_be_drawn_is_said(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
