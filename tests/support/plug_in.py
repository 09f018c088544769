"""A package that adds to onnxcam: two operators of its own and a method, a file for each group.

``tests/graph/test_registry.py`` cuts it at the marks and installs the files as ``leaf.rules`` and
so on.
"""

# ruff: noqa: E402
# ---- rules
from typing import Any

from onnxcam.autodiff.registry import vjp


@vjp("Twist", domain="leaf")
def twist(op: Any, node: Any, dy: Any) -> Any:
    """dx = 3 x^2 dy."""
    return op.Mul(dy, op.Mul(op.Mul(node.inputs[0], node.inputs[0]), 3))


# ---- definitions
from typing import Any

from onnxcam.graph.contrib.definitions import define


@define("Turn", domain="leaf")
def turn(op: Any, x: Any) -> Any:
    """y = sin(x)."""
    return op.Sin(x)


# ---- traits
from onnxcam.graph.ops import Trait, describe

describe("Twist", "Turn", domain="leaf", traits=[Trait.ELEMENTWISE])

# ---- methods
from typing import Any

from onnxcam.methods import graph_method
from onnxcam.methods.needs import Activation


@graph_method("leafcam", needs=(Activation,), cite="nobody")
def leafcam(op: Any, a: Any, axes: Any) -> Any:
    """L = relu(sum_k A_k)."""
    return op.ReduceSum(a, axes=[axes.channel], keepdims=1)
