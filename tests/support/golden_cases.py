"""Figures whose looks are held: small, of numbers made here, one for each thing that is drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from onnxcam.output import render

_Y, _X = np.mgrid[0:48, 0:72] / 48
PICTURE = np.stack([160 * _X / 1.5 + 60, 200 * _Y + 30, 90 + 60 * np.sin(9 * _X)], -1).astype("u1")
PICTURE[12:36, 20:44] = (230, 190, 60)
PEAK = np.exp(-((np.mgrid[0:7, 0:9] - np.array([3, 4])[:, None, None]) ** 2).sum(0) / 4.0)
SIGNED = np.cos(np.mgrid[0:48, 0:72][1] / 6) * np.exp(-((_Y - 0.5) ** 2) * 9)
RELIEF = np.stack([SIGNED, SIGNED * 0.5, -SIGNED])
MARKS = [((20, 12, 44, 36), "box 3")]
TIME = np.arange(120)
SIGNAL = np.stack([np.sin(TIME / 5), np.cos(TIME / 9), np.sin(TIME / 3) * (TIME > 60)])
VOLUME = np.add.outer(np.arange(8), np.add.outer(np.arange(12), np.arange(12)))
BLOB = np.exp(-((np.mgrid[0:8, 0:12, 0:12] - 5) ** 2).sum(0) / 8.0)
FEATURES = np.array([5.1, 3.5, 1.4, 0.2, 7.0])
WORTH = np.array([0.4, -0.9, 0.1, 0.05, 0.6])


def _figure(map: Any, **how: Any) -> Image.Image:
    texts = {"title": "a box 93 %", "subtitle": "gradcam at relu5"}
    return render.figure(PICTURE, map, size=110, **texts, **how)


def _panels(scale: Any) -> Image.Image:
    panels = [
        render.Panel(PICTURE, title="the input", lines=("72 x 48 pixels",)),
        render.Panel(PICTURE, PEAK, "gradcam", ("at relu5",)),
        render.Panel(PICTURE, 3 * PEAK, "layercam", warnings=("Warning: a warning",)),
    ]
    return render.figure_panels(panels, title="a box", scale=scale, size=90)


CASES: dict[str, Callable[[], Image.Image]] = {
    "overlay": lambda: _figure(PEAK),
    "overlay-in-a-box": lambda: _figure(PEAK, box=(12, 6, 60, 42), marks=MARKS),
    "overlay-signed": lambda: _figure(SIGNED, signed=True),
    "squares": lambda: _figure(PEAK, smooth=False, layout="overlay"),
    "heat": lambda: _figure(abs(SIGNED), style="heat", colormap="gray", clip=99.0),
    "heat-signed": lambda: _figure(SIGNED, style="heat", signed=True),
    "relief": lambda: _figure(SIGNED, style="relief", relief=RELIEF, signed=True),
    "side": lambda: _figure(PEAK, style="side"),
    "contour": lambda: _figure(PEAK, style="contour"),
    "panels-own": lambda: _panels("own"),
    "panels-one": lambda: _panels("one"),
    "signal": lambda: render.figure_1d(SIGNAL, TIME % 40 / 40, title="speaker 3", size=300),
    "volume": lambda: render.figure_3d(VOLUME, BLOB, title="a blob", slices=4, peak=True, size=70),
    "table": lambda: render.figure_bars(
        FEATURES, WORTH, title="setosa", signed=True, error=abs(WORTH) / 6, size=480
    ),
    "agreement": lambda: render.matrix(
        np.array([[1, 0.4, -0.2], [0.4, 1, 0.1], [-0.2, 0.1, 1]]), ["a", "b", "c"], title="agree"
    ),
}  # fmt: skip
