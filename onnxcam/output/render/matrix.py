"""A square of numbers between things of one kind, such as how far maps agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from onnxcam.output.render.colour import colours
from onnxcam.output.render.draw import INK, PAPER, SMALL_SIZE, TEXT_SIZE, face, stack, text_block

_CELL = 52  # pixels of a cell's width, which a number of three digits needs
_HEIGHT = 30


def matrix(values: NDArray[Any], names: Sequence[str], *, title: str) -> Image.Image:
    """Draw numbers between -1 and 1 with their colours, a row and a column for each name.

    Args:
        values: float [M, M]; what is not finite is left empty.
        names: Of the rows, and of the columns, which are numbered.
        title: What the numbers are.
    """
    labels = [f"{i}  {name}" for i, name in enumerate(names, 1)]
    font = face(" ".join(labels), SMALL_SIZE)
    left = round(max(font.getlength(label) for label in labels)) + 10
    block = Image.new("RGB", (left + _CELL * len(names), _HEIGHT * (len(names) + 1)), PAPER)
    draw = ImageDraw.Draw(block)
    with np.errstate(invalid="ignore"):
        shades = colours(np.nan_to_num(values) / 2 + 0.5, "bluered")
    for i, label in enumerate(labels):
        middle = _HEIGHT * (i + 1) + _HEIGHT // 2
        draw.text((0, middle), label, fill=INK, font=font, anchor="lm")
        top = (left + _CELL * i + _CELL // 2, _HEIGHT // 2)
        draw.text(top, str(i + 1), fill=INK, font=font, anchor="mm")
        for j in range(len(names)):
            x, y = left + _CELL * j, _HEIGHT * (i + 1)
            if not np.isfinite(values[i, j]):
                continue
            shade = tuple(int(v) for v in shades[i, j])
            draw.rectangle((x, y, x + _CELL - 2, y + _HEIGHT - 2), fill=shade)
            ink = INK if sum(shade) > 380 else PAPER
            text = f"{values[i, j]:.2f}".replace("-0.00", "0.00")
            draw.text((x + _CELL // 2, middle), text, fill=ink, font=font, anchor="mm")
    return stack([text_block(title, TEXT_SIZE, block.width + 200, lines=2), block], margin=12)
