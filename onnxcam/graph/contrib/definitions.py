"""The table of definitions: ``@define("BiasGelu")`` on a function that emits BiasGelu."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxcam.errors import UnsupportedOp
from onnxcam.graph.emit import Emitter, Tensor, shape_of
from onnxcam.graph.registry import Registry, Source

MICROSOFT = "com.microsoft"
Build: TypeAlias = Callable[..., Any]
B = TypeVar("B", bound=Build)


@dataclass(frozen=True)
class Definition:
    """How an operator is written in standard ones.

    Attributes:
        build: ``build(op, *inputs, **attributes)`` -> its outputs, None where one is not defined.
        rounds: It rounds floats on the way, which a gradient passes straight through.
    """

    build: Build
    rounds: bool


_TABLE: Registry[tuple[str, str], Definition] = Registry(
    "definitions", Source("onnxcam.graph.contrib", "onnxcam.definitions")
)


def define(*names: str, domain: str = MICROSOFT, rounds: bool = False) -> Callable[[B], B]:
    """Enter a definition for one or more operators.

    The positional parameters of the function are the operator's inputs in their order, its
    keyword parameters are the attributes in snake case with their defaults (``transA`` is
    ``trans_a``). An attribute that is no parameter makes the node unsupported.

    Args:
        names: Operator types.
        domain: Operator domain.
        rounds: The operator rounds floats on the way.
    """

    def enter(build: B) -> B:
        for name in names:
            _TABLE.enter((domain, name), Definition(build, rounds), build.__module__)
        return build

    return enter


def defined() -> Iterator[tuple[str, str, Definition]]:
    """Yield domain, operator type and definition of every operator that has one."""
    for (domain, name), definition in _TABLE.items():
        yield domain, name, definition


def extended() -> bool:
    """Tell whether there are definitions that are not onnxcam's own."""
    return _TABLE.extended


def is_defined(domain: str | None, op_type: str) -> bool:
    """Tell whether an operator has a definition."""
    return _TABLE.get((domain or "", op_type)) is not None


def lower(op: Emitter, node: gs.Node) -> list[Tensor | None]:
    """Emit a node's definition from the node's inputs.

    Args:
        op: Emitter of the node's graph.
        node: A node whose operator has a definition.

    Returns:
        One tensor per output of the node, None where the definition does not give it.

    Raises:
        UnsupportedOp: The node has an attribute or a combination of inputs that the definition
            does not cover.
    """
    definition = _TABLE.get((node.domain or "", node.op))
    assert definition is not None, f"{node.op} has no definition"
    build = definition.build
    inputs = [t if t.name else None for t in node.inputs]
    attributes = {_snake(name): _plain(value) for name, value in node.attrs.items()}
    try:
        bound = inspect.signature(build).bind(op, *inputs, **attributes)
    except TypeError as error:
        raise UnsupportedOp(f"{node.op} as used by node {node.name!r}: {error}") from None
    made = build(*bound.args, **bound.kwargs)
    outputs = list(made) if isinstance(made, tuple) else [made]
    return (outputs + [None] * len(node.outputs))[: len(node.outputs)]


def operands(node: gs.Node) -> dict[str, Tensor]:
    """Return the inputs of a node by their names in its definition; {} where it has none."""
    definition = _TABLE.get((node.domain or "", node.op))
    if definition is None:
        return {}
    _, *names = inspect.signature(definition.build).parameters
    pairs = zip(names, node.inputs, strict=False)
    return {name: tensor for name, tensor in pairs if tensor.name}


def rank_of(x: Tensor) -> int:
    """Return the rank of a tensor.

    Raises:
        UnsupportedOp: It is not known.
    """
    shape = shape_of(x)
    if shape is None:
        raise UnsupportedOp(
            f"the rank of {x.name!r} is not known", "give the model's inputs a shape and a rank"
        )
    return len(shape)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _plain(value: Any) -> Any:
    return np.asarray(value.values) if isinstance(value, gs.Constant) else value
