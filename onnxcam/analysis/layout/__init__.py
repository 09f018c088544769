"""Which axis of a tensor is batch, channel, space or token, read off the graph itself.

A layout is a string with one letter per axis: ``N`` batch, ``C`` channel, ``D H W`` space (a
sequence has only ``W``), ``T`` tokens (space flattened into one axis), ``?`` unknown. Operators
that fix the meaning of their axes (convolutions, pools, look-ups of words) are the anchors; from
them the letters spread forwards and backwards through operators that keep, permute, join, cut or
drop axes. In between an axis is a product of atoms, so that what was cut and joined is found again.
"""

from onnxcam.analysis.layout.known import Known, known, opened, sized
from onnxcam.analysis.layout.records import SPACE, Layout, spatial_shape
from onnxcam.analysis.layout.spread import layouts

__all__ = ["SPACE", "Known", "Layout", "known", "layouts", "opened", "sized", "spatial_shape"]
