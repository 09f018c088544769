"""What a model may ask for, counted before anything is made of it.

A file of a kilobyte can call functions that become a thousand million nodes, name a range of as
many numbers, or loop without an end. What is counted here is what a model says with constants; what
is more than a job needs is refused, with the name of the variable that allows it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from onnxcam.errors import ModelError, UsageError, plain
from onnxcam.graph.emit.walks import STANDARD_DOMAINS, bodies_of

NODES, ELEMENTS, TURNS = "ONNXCAM_NODES", "ONNXCAM_ELEMENTS", "ONNXCAM_TURNS"
_MOST = {NODES: 1_000_000, ELEMENTS: 2**28, TURNS: 1_000_000_000}
_DEPTH = 40  # graphs in graphs; protobuf reads a hundred messages in messages, three for each
_FEW = 16  # elements of a constant that is a size

_SHAPES = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1}  # which input says how much is made
_ASKING = {"Range", *_SHAPES, "If", "Loop", "Scan", "SequenceMap"}  # the others make what they get

Constants = Mapping[str, np.ndarray[Any, Any]]
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
    _values(proto.graph, {})
    for function in proto.functions:
        _values(function, {})


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


def _values(graph: GraphProto | FunctionProto, outer: Constants) -> None:
    asking = [node for node in graph.node if node.op_type in _ASKING]
    if not asking:
        return
    constants = {**outer, **_constants(graph)}
    for node in asking:
        if node.domain in STANDARD_DOMAINS:
            wanted = _elements(node, constants)
            if wanted > _most(ELEMENTS):
                name = plain(node.name or (node.output[0] if node.output else ""), 80)
                raise _refused(f"{wanted:,} elements at node {name!r} ({node.op_type})", ELEMENTS)
            turns = _turns(node, constants) if node.op_type == "Loop" else 0
            if turns > _most(TURNS):
                name = plain(node.name or (node.output[0] if node.output else ""), 80)
                raise _refused(f"{turns:,} turns of the loop {name!r}, with no end before", TURNS)
        for body in bodies_of(node):
            _values(body, constants)


def _constants(graph: GraphProto | FunctionProto) -> dict[str, np.ndarray[Any, Any]]:
    tensors = [] if isinstance(graph, FunctionProto) else [(t.name, t) for t in graph.initializer]
    for node in graph.node:
        if node.op_type == "Constant" and node.output:
            tensors += [(node.output[0], a.t) for a in node.attribute if a.HasField("t")]
    found = {}
    for name, tensor in tensors:
        if math.prod(tensor.dims) <= _FEW and tensor.data_location != TensorProto.EXTERNAL:
            try:
                found[name] = numpy_helper.to_array(tensor)
            except (ValueError, TypeError, KeyError, RuntimeError):
                continue  # nonsense, which the checker refuses
    return found


def _elements(node: NodeProto, constants: Constants) -> int:
    """Return how many elements a node makes of constants; 0 where that is not known."""
    given = [constants.get(name) for name in node.input]
    if node.op_type == "Range" and len(given) == 3:
        numbers = [_number(v) for v in given]
        if None in numbers or not numbers[2]:
            return 0
        start, end, step = (float(v or 0) for v in numbers)
        length = (end - start) / step
        return max(math.ceil(length), 0) if math.isfinite(length) else 2**62
    place = _SHAPES.get(node.op_type)
    if place is None or len(given) <= place:
        return 0
    value = given[place]
    if value is None or value.dtype.kind not in "iu" or value.size == 0 or (value < 0).any():
        return 0
    return math.prod(int(v) for v in value.ravel())


def _number(value: np.ndarray[Any, Any] | None) -> float | None:
    if value is None or value.size != 1 or value.dtype.kind not in "iuf":
        return None
    return float(value.ravel()[0])


def _turns(node: NodeProto, constants: Constants) -> int:
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
    if ends and (goes_on in constants or goes_on in _constants(body)):
        held = constants.get(goes_on, _constants(body).get(goes_on))
        ends = held is None or not bool(np.all(held))
    if ends or (maker is not None and maker.op_type != "Constant"):
        return 0
    first = constants.get(node.input[1]) if len(node.input) > 1 else None
    if first is not None and not bool(np.all(first)):
        return 0
    if limit is None:
        return 2**63 - 1 if not (node.input and node.input[0]) else 0
    return int(limit)
