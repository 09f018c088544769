"""Arrays of the Python array API standard that write nodes: a function of them becomes a graph.

A function that is written against the standard (https://data-apis.org/array-api) asks its
arguments for their namespace and calls that. Here the arguments are tensors of a graph, and what
the namespace's functions do is to emit: nothing is computed, so nothing can be asked that only a
value would tell.
"""

from onnxcam.targets.traced.arrays import TracedArray, refused
from onnxcam.targets.traced.namespace import Namespace

__all__ = ["Namespace", "TracedArray", "refused"]
