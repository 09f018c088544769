"""What a model may ask for, counted before anything is made of it.

A file of a kilobyte can call functions that become a thousand million nodes, name a range of as
many numbers, or loop without an end. What is counted here is what a model says with constants; what
is more than a job needs is refused, with the name of the variable that allows it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto

from onnxcam.errors import ModelError, UsageError, plain
from onnxcam.graph.emit.walks import STANDARD_DOMAINS, bodies_of, every_graph
from onnxcam.model.passes.amount_rules import LEAST, MAKERS, PICKERS, Value
from onnxcam.model.passes.amounts import Known

NODES, ELEMENTS, TURNS = "ONNXCAM_NODES", "ONNXCAM_ELEMENTS", "ONNXCAM_TURNS"
_MOST = {NODES: 1_000_000, ELEMENTS: 2**28, TURNS: 1_000_000}
_DEPTH = 40  # graphs in graphs; protobuf reads a hundred messages in messages, three for each
_NAME = 100_000  # characters of a name
_JOINS = 12  # nodes that join: with fewer of them a file does not become thousands of itself
_LONG = (TensorProto.INT64, TensorProto.UINT64, TensorProto.DOUBLE)
_SIZED = MAKERS.keys() | PICKERS
_GRAPHS = frozenset(("If", "Loop", "Scan", "SequenceMap"))
_ASKING = ((MAKERS.keys() | LEAST.keys()) - {"Concat", "Gather"}) | _GRAPHS

_Key = tuple[str, str]


def within(proto: ModelProto) -> None:
    """Check that a model asks for no more than the budgets.

    Args:
        proto: A light model as it was read.

    Raises:
        ModelError: It does; or its functions call themselves.
        UsageError: The environment names a budget that is no number.
    """
    functions = {(f.domain, f.name): f for f in proto.functions}
    _count(proto, functions)
    _names(proto)
    asked(proto)
    for function in proto.functions:
        _values(function, None)


def asked(proto: ModelProto) -> None:
    """Check how much the constants of a graph ask for, once more when functions are written out.

    Raises:
        ModelError: More than the budgets.
    """
    _values(proto.graph, None)


def _most(name: str) -> int:
    given = os.environ.get(name, str(_MOST[name]))
    if not given.isdecimal():
        raise UsageError(f"{name}={given!r} is no number", f"write {_MOST[name]}")
    return int(given)


def _refused(what: str, variable: str) -> ModelError:
    return ModelError(
        f"the model asks for {what}, more than the {_most(variable):,} that it may",
        f"if that is right, name more in {variable}",
    )


# ---- how many nodes there are when the functions are inlined


def _count(proto: ModelProto, functions: Mapping[_Key, FunctionProto]) -> None:
    if not functions:  # what is written out is as long as the file
        return
    sizes: dict[_Key, int] = {}
    for key in functions:
        _size_of(key, functions, sizes)
    total = _sum(proto.graph.node, sizes)
    if total > _most(NODES):
        raise _refused(f"{total:,} nodes", NODES)


def _size_of(start: _Key, functions: Mapping[_Key, FunctionProto], sizes: dict[_Key, int]) -> None:
    """Find out how many nodes a function becomes, those that it calls first."""
    stack, waiting = [start], set[_Key]()
    while stack:
        key = stack[-1]
        called = {k for k in _called(functions[key].node) if k in functions and k not in sizes}
        if key in sizes or not called:
            sizes.setdefault(key, _sum(functions[key].node, sizes))
            waiting.discard(key)
            stack.pop()
            continue
        waiting.add(key)
        if called & waiting:
            raise ModelError(
                f"the function {plain(key[1], 80)!r} calls itself", "export the model again"
            )
        stack.extend(called)


def _called(nodes: Iterable[NodeProto]) -> set[_Key]:
    return {(n.domain, n.op_type) for n in _every(nodes)}


def _sum(nodes: Iterable[NodeProto], sizes: Mapping[_Key, int]) -> int:
    return sum(sizes.get((n.domain, n.op_type), 1) for n in _every(nodes))


def _every(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Yield nodes and those of their bodies, however deep, without recursion.

    Raises:
        ModelError: They are nested too deeply.
    """
    stack = [iter(nodes)]
    while stack:
        if len(stack) > _DEPTH:
            raise ModelError("the model's graphs are nested too deeply", "export it again")
        node = next(stack[-1], None)
        if node is None:
            stack.pop()
            continue
        yield node
        bodies = [n for body in bodies_of(node) for n in body.node]
        if bodies:
            stack.append(iter(bodies))


# ---- how large the values are that constants ask for


def _names(proto: ModelProto) -> None:
    for graph in every_graph(proto.graph):
        ports = (*graph.input, *graph.output, *graph.initializer)
        made = (name for node in graph.node for name in (*node.output, node.name, node.op_type))
        longest = max(map(len, (*made, *(port.name for port in ports))), default=0)
        if longest > _NAME:
            raise ModelError(
                f"a name in the model has {longest:,} characters, more than the {_NAME:,} that "
                "one may have",
                "export the model again",
            )


def is_asking(graph: GraphProto | FunctionProto) -> bool:
    """Tell whether anything in a graph makes more than it is given, by numbers alone."""
    ops = [node.op_type for node in graph.node]
    return not _ASKING.isdisjoint(ops) or ops.count("Concat") + ops.count("Gather") > _JOINS


def _values(graph: GraphProto | FunctionProto, outer: Known | None, turns: int = 1) -> None:
    if not is_asking(graph):
        return
    known = Known(graph, outer)
    for node in graph.node:
        if node.domain not in STANDARD_DOMAINS:
            again = 1
        else:
            within_elements(_elements(node, known), f"node {_named(node)}", _width(node, known))
            again = _turns(node, known.values) if node.op_type == "Loop" else _steps(node, known)
            if again > 1 and turns * again > _most(TURNS):
                what = f"{turns * again:,} turns of the loop {_named(node)}, with no end before"
                raise _refused(what, TURNS)
        for body in bodies_of(node):
            _values(body, known, turns * max(again, 1))


def inferred_within(graph: GraphProto) -> None:
    """Check what constants make of tensors that a network computes, by their inferred sizes.

    Args:
        graph: A graph with the sizes that onnx inferred.

    Raises:
        ModelError: More than the budget.
    """
    if not is_asking(graph):
        return
    found = {info.name: info.type.tensor_type.shape.dim for info in graph.value_info}
    for node in graph.node:
        if node.op_type in _SIZED and node.output:
            dims = found.get(node.output[0], ())
            within_elements(math.prod(d.dim_value or 1 for d in dims), f"node {_named(node)}")


def within_elements(wanted: int, where: str, width: int = 1) -> None:
    """Check how many elements something has.

    Args:
        wanted: How many.
        where: What has them, in words.
        width: Bytes of each in four bytes: 2 counts each twice.

    Raises:
        ModelError: More than the budget.
    """
    if wanted * width > _most(ELEMENTS):
        each = ", of eight bytes and so counted twice" if width > 1 else ""
        raise _refused(f"{wanted:,} elements at {where}{each}", ELEMENTS)


def _named(node: NodeProto) -> str:
    name = plain(node.name or (node.output[0] if node.output else ""), 80)
    return f"{name!r} ({node.op_type})"


def _elements(node: NodeProto, known: Known) -> int:
    """Return how many elements a node makes of constants, at least; 0 where that is not known."""
    if not node.output:
        return 0
    made = math.prod(known.dims.get(node.output[0], (0,))) if node.op_type in MAKERS else 0
    return max(made, known.least.get(node.output[0], 0))


def _width(node: NodeProto, known: Known) -> int:
    """Return 2 of numbers of eight bytes, as places are, where that is known; else 1."""
    if node.op_type == "ConstantOfShape":
        return 2 if any(a.t.data_type in _LONG for a in node.attribute) else 1
    first = known.values.get(node.input[0]) if node.op_type == "Range" and node.input else None
    return 2 if first is not None and first.dtype.kind == "i" and first.dtype.itemsize > 4 else 1


def _steps(node: NodeProto, known: Known) -> int:
    """Return how many steps a Scan takes; 0 where that is not known."""
    if node.op_type != "Scan" or not node.input:
        return 0
    return known.dims.get(node.input[-1], (0,))[0] if known.dims.get(node.input[-1]) else 0


def _number(value: Value | None) -> float | None:
    if value is None or value.size != 1 or value.dtype.kind not in "iuf":
        return None
    return float(value.ravel()[0])


def _turns(node: NodeProto, constants: Mapping[str, Value]) -> int:
    """Return how often a loop runs that nothing ends before; 0 where that is not known."""
    limit = _number(constants.get(node.input[0])) if node.input else None
    body = next(bodies_of(node), None)
    if body is None or not body.output or len(body.input) < 2:
        return 0
    goes_on, passed = body.output[0].name, {body.input[1].name}
    makers = {name: n for n in body.node for name in n.output}
    while goes_on in makers and makers[goes_on].op_type == "Identity":
        goes_on = makers[goes_on].input[0]
    ends = goes_on not in passed
    maker = makers.get(goes_on)
    own = Known(body).values if ends else {}
    if ends and (goes_on in constants or goes_on in own):
        held = constants.get(goes_on, own.get(goes_on))
        ends = held is None or not bool(np.all(held))
    if ends or (maker is not None and maker.op_type != "Constant"):
        return 0
    first = constants.get(node.input[1]) if len(node.input) > 1 else None
    if first is not None and not bool(np.all(first)):
        return 0
    if limit is None:
        return 2**63 - 1 if not (node.input and node.input[0]) else 0
    return int(limit)
