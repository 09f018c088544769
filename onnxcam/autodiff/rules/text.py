"""Operators on text, which has no derivative, and the optimisers of ONNX's training preview."""

from __future__ import annotations

from onnxcam.autodiff.registry import nondiff, refuse

nondiff(
    "RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit",
    why="text has no derivative",
)  # fmt: skip
nondiff("TfIdfVectorizer", why="the output counts words: it is piecewise constant")
refuse(
    "Adagrad", "Adam", "Gradient", "Momentum",
    domain="ai.onnx.preview.training",
    why="it is a step of a training: take the model for inference",
)  # fmt: skip
