"""Explanation methods, one file each, found by their decorators."""

from onnxcam.methods.registry import GraphMethod, find, graph_method, names

__all__ = ["GraphMethod", "find", "graph_method", "names"]
