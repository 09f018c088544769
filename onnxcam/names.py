"""The names of what onnxcam adds to a model: ports, and keys of its metadata."""

from __future__ import annotations

PREFIX = "onnxcam."
TARGET, MAP, CLASS = "onnxcam.target", "onnxcam.map", "onnxcam.class"
SIGNED, SCORE, STEEPEST = "onnxcam.signed", "onnxcam.score", "onnxcam.steepest"
REST = "onnxcam.rest"  # of the gradient, when it is averaged over the positions: 1 where all agree
FEATURE, GRADIENT, OVERLAY = "onnxcam.feature", "onnxcam.gradient", "onnxcam.overlay"
MAPS = "onnxcam.maps"  # of methods that put maps of others together
BASELINE = "onnxcam.baseline"  # an input that stands for nothing, beside the one explained
OTHER = "onnxcam.other"  # the feature layer of that input
SLOPES = "onnxcam.slopes"  # the gradient at the feature layer, in its order of a map
COTANGENT = "onnxcam.cotangent"  # where the first stretch of a model ends, see compose/affine.py
VALUE = "onnxcam.value"
CHOICE = "onnxcam.choice"  # what a target chose in an input, as the pixels of a region
HELD = "onnxcam.held"  # the same of the explained input, where others are run
FEW = "onnxcam.few"  # the scores of some classes, which the target names
RELIEF = "onnxcam.relief"  # of methods on the input: the signed values that a map is made of
ANY_NUMBER = "onnxcam.K"
DIAGNOSTIC = (SIGNED, SCORE, STEEPEST, REST)
