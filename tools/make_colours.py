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

# Every eighth colour of matplotlib's, which are in the public domain (CC0).
SAMPLED = {
    "viridis": (
        "440154 470d60 48186a 482374 472d7b 453781 424086 3e4989 3b528b 375b8d 33638d "
        "2f6b8e 2c728e 297a8e 26828e 23898e 21918c 1f988b 1fa088 22a785 28ae80 32b67a "
        "3fbc73 4ec36b 5ec962 70cf57 84d44b 98d83e addc30 c2df23 d8e219 ece51b fde725"
    ),
    "inferno": (
        "000004 040312 0b0724 150b37 210c4a 2f0a5b 3d0965 4a0c6b 57106e 64156e 71196e "
        "7d1e6d 8a226a 972766 a32c61 b0315b bc3754 c73e4c d24644 db503b e45a31 eb6628 "
        "f1731d f68013 f98e09 fb9d07 fcac11 fbbc21 f9cb35 f5db4c f2ea69 f3f68a fcffa4"
    ),
    "cividis": (
        "00224e 00285b 002e6a 053371 1a386f 273e6e 32436d 3b496c 434e6c 4b546c 535a6d "
        "5a5f6e 61656f 686a71 6f7073 767676 7d7c78 848279 8c8878 938e78 9b9476 a39a74 "
        "aba072 b4a76f bcae6c c4b468 cdbb63 d5c25e dec958 e7d150 f0d846 f9e03a fee838"
    ),
    "turbo": (
        "30123b 392a73 4040a2 4456c7 466be3 4680f6 4294ff 37a8fa 28bceb 1ccdd8 18ddc2 "
        "1fe9af 32f298 4ef97d 6dfe62 8bff4b a4fc3c b9f635 cdec34 dfdf37 eecf3a f8be39 "
        "fdac34 fe962b fb7e21 f46617 eb500e df3f08 d02f05 be2102 a91601 920b01 7a0403"
    ),
}


def tables() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return all colour maps, uint8 sRGB [maps, STEPS, 3], in the order of COLORMAPS."""
    return np.rint(255 * np.stack([_table(name) for name in COLORMAPS])).astype(np.uint8)


def _table(name: str) -> np.ndarray[Any, Any]:
    if name in ANCHORS:
        return _even_path(ANCHORS[name], STEPS)
    if name in DIVERGING:
        below, above = (_even_path(half, STEPS // 2 + 1) for half in DIVERGING[name])
        return np.concatenate([below[::-1], above[1:]])
    if name in SAMPLED:
        rows = np.array([list(bytes.fromhex(c)) for c in SAMPLED[name].split()]) / 255
        at = np.linspace(0, 1, STEPS), np.linspace(0, 1, len(rows))
        return np.stack([np.interp(*at, channel) for channel in rows.T], axis=1)
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
