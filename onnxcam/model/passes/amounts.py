"""How much a graph makes of constants: small numbers computed, sizes that they determine.

Nothing here runs a model or asks for more memory than a few numbers: it is what is known *before*
onnx or a runtime makes what a file asks for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import FunctionProto, GraphProto, NodeProto, TensorProto, numpy_helper

from onnxcam.graph.emit.walks import STANDARD_DOMAINS
from onnxcam.model.passes.amount_rules import ENDLESS, LEAST, SIZES, VALUES, Dims, Seen, Value

_FEW = 16  # elements of a constant that is a size
_WRONG = (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, AttributeError)
# What onnx follows numbers through.
_FOLLOWED = frozenset("Add Cast Concat Gather Mul Slice Squeeze Sub Unsqueeze".split())


class Known:
    """What is known of the tensors of a graph.

    Args:
        graph: A graph, or the body of a function.
        outer: What is known where it stands; None for nothing.
        fed: Whether the sizes that its inputs declare count, too.

    Attributes:
        values: Small constants by name, and what follows from them.
        dims: Sizes by name, where numbers in the file determine them.
        least: Elements that there are at least, by name.
        followed: Numbers in rows that onnx would follow one by one.
    """

    def __init__(
        self,
        graph: GraphProto | FunctionProto,
        outer: Known | None = None,
        *,
        fed: bool = False,
    ) -> None:
        self.values: dict[str, Value] = {} if outer is None else dict(outer.values)
        self.dims: dict[str, Dims] = {} if outer is None else dict(outer.dims)
        self.least: dict[str, int] = {}
        self.followed = 0
        if isinstance(graph, GraphProto):
            for info in graph.input if fed else ():
                self._take_input(info)
            for tensor in graph.initializer:
                self._take(tensor.name, tensor)
        for node in graph.node:
            if node.domain in STANDARD_DOMAINS and node.output:
                self._follow(node)

    def _take_input(self, info: Any) -> None:
        sizes = tuple(d.dim_value for d in info.type.tensor_type.shape.dim)
        if sizes and min(sizes) > 0:
            self.dims[info.name] = sizes

    def _take(self, name: str, tensor: TensorProto) -> None:
        self.dims[name] = tuple(tensor.dims)
        if math.prod(tensor.dims) <= _FEW and tensor.data_location != TensorProto.EXTERNAL:
            try:
                value = numpy_helper.to_array(tensor)
            except _WRONG:
                return  # nonsense, which the checker refuses
            if value.dtype.kind in "iufb":
                self.values[name] = value

    def _follow(self, node: NodeProto) -> None:
        """Note what a node makes, where it is known."""
        name = node.output[0]
        if node.op_type == "Constant":
            self._constant(name, node)
            return
        compute, size = VALUES.get(node.op_type), SIZES.get(node.op_type)
        least = LEAST.get(node.op_type)
        if compute is None and size is None and least is None:
            return
        seen = Seen(node, self.values, self.dims)
        if least is not None:
            self.least[name] = _tried(least, seen) or 0
        if node.op_type in _FOLLOWED:
            rows = (seen.dims(k) or () for k in range(seen.inputs))
            self.followed += sum(dims[0] for dims in rows if len(dims) == 1)
        value = _tried(compute, seen)
        dims: Dims | None = _tried(size, seen) if value is None else np.shape(value)
        if value is not None and np.size(value) <= _FEW:
            self.values[name] = np.asarray(value)
        if dims is not None and all(n >= 0 for n in dims):
            self.dims[name] = tuple(min(int(n), ENDLESS) for n in dims)

    def _constant(self, name: str, node: NodeProto) -> None:
        for each in node.attribute:
            if each.HasField("t"):
                self._take(name, each.t)
            elif each.name in ("value_int", "value_float"):
                self._say(name, np.array(each.i if each.name == "value_int" else each.f))
            elif each.name in ("value_ints", "value_floats"):
                self._say(name, np.array(each.ints or each.floats))

    def _say(self, name: str, value: Value) -> None:
        self.dims[name] = value.shape
        if value.size <= _FEW:
            self.values[name] = value


def _tried(rule: Callable[[Seen], Any] | None, seen: Seen) -> Any:
    """Return what a rule says; None where there is none, or too little is known for it."""
    try:
        with np.errstate(all="ignore"):
            return None if rule is None else rule(seen)
    except _WRONG:
        return None
