"""The arguments of a node: which are attributes, which inputs, and of what dtype."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx.defs import OpSchema

from onnxcam.errors import UnsupportedOp
from onnxcam.graph import quirks
from onnxcam.graph.emit.tensors import Tensor, Value
from onnxcam.graph.ops import Trait, traits_of


@quirks.works_around(quirks.EMPTY_BIAS, quirks.EMPTY_GEMM)
def assign(
    schema: OpSchema, inputs: list[Value], named: Mapping[str, Any]
) -> tuple[list[Value], dict[str, Any]]:
    """Sort keywords into attributes and inputs as this version of the operator has them.

    Raises:
        UnsupportedOp: Only a newer version of the operator can be used like this.
    """
    attributes: dict[str, Any] = {}
    positions = {formal.name: i for i, formal in enumerate(schema.inputs)}
    for name, value in named.items():
        if value is None:
            continue
        if name in schema.attributes:
            if isinstance(value, gs.Variable):
                raise _too_old(schema, f"computed {name!r}")
            wants_tensor = schema.attributes[name].type == OpSchema.AttrType.TENSOR
            plain = isinstance(value, gs.Constant) and not wants_tensor
            attributes[name] = value.values.tolist() if plain else value
        elif name in positions:
            place = positions[name]
            inputs += [None] * (place + 1 - len(inputs))
            inputs[place] = value
        elif _is_known(schema, name):
            raise _too_old(schema, repr(name))
        else:
            raise TypeError(f"{schema.name}-{schema.since_version} has no {name!r}")
    while len(inputs) > schema.min_input and inputs[-1] is None:
        inputs.pop()
    if len(inputs) > schema.max_input:  # an input that is an attribute in this opset
        raise _too_old(schema, f"{len(inputs)} inputs")
    return inputs, attributes


def _is_known(schema: OpSchema, name: str) -> bool:
    """Tell whether the newest version of the operator has an attribute or input of this name."""
    newest = onnx.defs.get_schema(schema.name, schema.domain)
    return name in newest.attributes or any(i.name == name for i in newest.inputs)


def _too_old(schema: OpSchema, what: str) -> UnsupportedOp:
    return UnsupportedOp(
        f"{schema.name} of opset {schema.since_version} has no {what}, but the gradient needs it",
        "raise the model to a newer opset with onnx.version_converter",
    )


def formal_of(schema: OpSchema, index: int) -> OpSchema.FormalParameter:
    """Return the formal parameter of an input; a variadic one repeats."""
    return schema.inputs[min(index, len(schema.inputs) - 1)]


def literal_dtype(
    schema: OpSchema, formal: OpSchema.FormalParameter, known: Mapping[str, np.dtype[Any]]
) -> np.dtype[Any]:
    """Return the dtype of a Python number at this place, as the schema asks for it."""
    if formal.type_str in known:
        return known[formal.type_str]
    allowed = set(formal.types)
    if "tensor(float)" not in allowed:
        return np.dtype(np.int64 if "tensor(int64)" in allowed else np.bool_)
    floats = [d for d in known.values() if d.kind == "f" or d.name == "bfloat16"]
    return floats[0] if floats else np.dtype(np.float32)


def has_body(attributes: Mapping[str, Any]) -> bool:
    """Tell whether a node with these attributes has a subgraph."""
    return any(isinstance(a, gs.Graph) for a in attributes.values())


def node_key(
    op_type: str,
    domain: str,
    tensors: Sequence[Tensor | None],
    attributes: Mapping[str, Any],
    outputs: int,
) -> Any:
    """Return what makes two nodes the same, None for a node that is never the same again."""
    if Trait.RANDOM in traits_of(domain, op_type):
        return None
    frozen = []
    for name, value in sorted(attributes.items()):
        if isinstance(value, gs.Graph):
            return None
        array = value.values if isinstance(value, gs.Constant) else np.asarray(value)
        frozen.append((name, array.dtype.str, array.shape, array.tobytes()))
    return op_type, domain, tuple(map(id, tensors)), tuple(frozen), outputs
