"""Saliency maps to look at: overlays and figures, drawn with NumPy and Pillow alone.

This is the only place that normalises a map. `normalise` says what becomes of constant, zero,
negative and non-finite maps; the figures write the raw values beside their colours.
"""

from onnxcam.output.render.bars import figure_bars
from onnxcam.output.render.blend import Blending, Box, Mark, overlay
from onnxcam.output.render.colour import COLORMAPS, Limits, Mode, normalise, value_range
from onnxcam.output.render.draw import stack
from onnxcam.output.render.figures import (
    Drawing,
    Figure,
    below_each_other,
    figure,
    image,
)
from onnxcam.output.render.files import FORMATS, jpeg, png_bytes, save_image, save_png
from onnxcam.output.render.matrix import matrix
from onnxcam.output.render.panels import SCALES, Panel, Scale, figure_panels
from onnxcam.output.render.signals import figure_1d
from onnxcam.output.render.styles import STYLES, Style, painted
from onnxcam.output.render.volumes import figure_3d

__all__ = [
    "COLORMAPS",
    "FORMATS",
    "SCALES",
    "STYLES",
    "Blending",
    "Box",
    "Drawing",
    "Figure",
    "Limits",
    "Mark",
    "Mode",
    "Panel",
    "Scale",
    "Style",
    "below_each_other",
    "figure",
    "figure_1d",
    "figure_3d",
    "figure_bars",
    "figure_panels",
    "image",
    "jpeg",
    "matrix",
    "normalise",
    "overlay",
    "painted",
    "png_bytes",
    "save_image",
    "save_png",
    "stack",
    "value_range",
]
