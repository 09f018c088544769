"""Explanation methods, one file each, found by their decorators."""

from onnxcam.methods.registry import (
    GraphMethod,
    Method,
    SampledMethod,
    convertible,
    find,
    graph,
    graph_method,
    names,
    sampled_method,
)

__all__ = [
    "GraphMethod",
    "Method",
    "SampledMethod",
    "convertible",
    "find",
    "graph",
    "graph_method",
    "names",
    "sampled_method",
]
