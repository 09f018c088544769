"""Make the colour maps of the figures: onnxcam/output/render/colourmaps.png, a row for each.

python tools/make_colours.py            # writes the file
python tools/make_colours.py --check    # exit 1 when it is not up to date

The sequential and diverging colour maps run by a few sRGB anchors of our own in equal CIELAB
steps, so that equal steps of the value look like equal steps of colour.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
from PIL import Image
from skimage.color import lab2rgb, rgb2lab

from onnxcam.output.render.colour import COLORMAPS, STEPS, TABLES
from onnxcam.output.upsample import upsample

ANCHORS = {
    "ember": ("06041c", "39105f", "8a1a6a", "cf3b4b", "f3812a", "f9c644", "fcfbd0"),
    "marine": ("2d0a52", "3d3f8a", "31708e", "2ba084", "6cc764", "f2e738"),
    "blush": ("ffffff", "ffe3ad", "fba55c", "e2552f", "9a1022"),
    "gray": ("000000", "ffffff"),
}
DIVERGING = {"bluered": (("f5f5f3", "7aaede", "1c4a9e"), ("f5f5f3", "f0977a", "a3182b"))}


def tables() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return all colour maps, uint8 sRGB [maps, STEPS, 3], in the order of COLORMAPS."""
    return np.rint(255 * np.stack([_table(name) for name in COLORMAPS])).astype(np.uint8)


def _table(name: str) -> np.ndarray[Any, Any]:
    if name in ANCHORS:
        return _even_path(ANCHORS[name], STEPS)
    if name in DIVERGING:
        below, above = (_even_path(half, STEPS // 2 + 1) for half in DIVERGING[name])
        return np.concatenate([below[::-1], above[1:]])
    # jet, by the usual trapezoids: each channel rises and falls over a quarter of the range.
    distance = np.abs(4 * np.linspace(0, 1, STEPS)[:, None] - np.array([3, 2, 1]))
    return np.clip(1.5 - distance, 0, 1)


def _even_path(anchors: tuple[str, ...], steps: int) -> np.ndarray[Any, Any]:
    """Return sRGB in [0, 1], [steps, 3]: equal CIELAB steps on a smooth path by the anchors."""
    lab = rgb2lab(np.array([list(bytes.fromhex(anchor)) for anchor in anchors]) / 255)
    # One more anchor beyond each end, cut off again, lets the cubic run straight to the ends.
    ends = 2 * lab[[0, -1]] - lab[[1, -2]]
    padded = np.concatenate([ends[:1], lab, ends[1:]])
    fine = upsample(padded.T, (256 * len(padded),)).T[384:-384].astype(np.float64)
    fine[0], fine[-1] = lab[0], lab[-1]
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(fine, axis=0), axis=1))])
    at = np.linspace(0, way[-1], steps)
    even = np.stack([np.interp(at, way, channel) for channel in fine.T], axis=1)
    return np.clip(lab2rgb(even), 0, 1)


def main() -> None:
    """Write the file, or hold it against what would be written."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only look whether it is up to date")
    made = tables()
    if parser.parse_args().check:
        sys.exit(int(not np.array_equal(np.asarray(Image.open(TABLES)), made)))
    Image.fromarray(made).save(TABLES, optimize=True)


if __name__ == "__main__":
    main()
