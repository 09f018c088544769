"""Saliency maps to look at: overlays and figures, drawn with NumPy and Pillow alone.

This is the only place that normalises a map. `normalise` says what becomes of constant, zero,
negative and non-finite maps; the figures write the raw values beside their colours.
"""

from onnxcam.output.render.blend import Blending, Box, overlay
from onnxcam.output.render.colour import COLORMAPS, Limits, Mode, normalise, value_range
from onnxcam.output.render.draw import stack
from onnxcam.output.render.figures import Drawing, Figure, figure, figure_3d
from onnxcam.output.render.files import jpeg, save_png
from onnxcam.output.render.matrix import matrix
from onnxcam.output.render.signals import figure_1d

__all__ = [
    "COLORMAPS",
    "Blending",
    "Box",
    "Drawing",
    "Figure",
    "Limits",
    "Mode",
    "figure",
    "figure_1d",
    "figure_3d",
    "jpeg",
    "matrix",
    "normalise",
    "overlay",
    "save_png",
    "stack",
    "value_range",
]
