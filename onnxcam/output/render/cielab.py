"""CIELAB, where equal distances look about equal, from sRGB and back.

Observer of 2 degrees, white of D65; the constants are those that the field's software shares.

References:
    IEC 61966-2-1:1999 (sRGB); CIE 15:2004 (CIELAB).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_XYZ_OF_RGB = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])
_SLOPE, _OFFSET = 7.787, 16 / 116  # of the line that stands for the cube root near black
_DARK = 0.008856


def from_rgb(rgb: Floats) -> Floats:
    """Return L*, a*, b* [..., 3] of sRGB [..., 3] in 0 to 1."""
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = linear @ _XYZ_OF_RGB.T / _WHITE
    x, y, z = np.moveaxis(np.where(xyz > _DARK, np.cbrt(xyz), _SLOPE * xyz + _OFFSET), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def to_rgb(lab: Floats) -> Floats:
    """Return sRGB [..., 3] of L*, a*, b* [..., 3]; what the screen cannot show is cut to 0 to 1."""
    lightness, a, b = np.moveaxis(lab, -1, 0)
    y = (lightness + 16) / 116
    roots = np.stack([y + a / 500, y, np.maximum(y - b / 200, 0)], axis=-1)
    xyz = np.where(roots > np.cbrt(_DARK), roots**3, (roots - _OFFSET) / _SLOPE) * _WHITE
    linear = np.maximum(xyz @ np.linalg.inv(_XYZ_OF_RGB).T, 0)
    rgb: Floats = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, linear * 12.92)
    return rgb.clip(0, 1)
