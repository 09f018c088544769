"""How good an explanation is, in numbers: one file a metric, found by its decorator."""

from onnxcam.metrics.registry import Metric, find, metric, names

__all__ = ["Metric", "find", "metric", "names"]
