"""Detectors: which tensors hold scores and boxes, of which scales, and what suppression left.

It is found out when a box is asked for, not before: what is no detector pays nothing for it. How
the four numbers of a box are meant is not in the graph's shapes: a caller says it, or a run of the
model shows it (:mod:`onnxcam.run.detections`).
"""

from onnxcam.analysis.detectors.find import detector
from onnxcam.analysis.detectors.records import (
    FORMS,
    UNITS,
    Boxes,
    Column,
    Detector,
    Head,
    Rows,
    Scale,
)

__all__ = [
    "FORMS",
    "UNITS",
    "Boxes",
    "Column",
    "Detector",
    "Head",
    "Rows",
    "Scale",
    "detector",
]
