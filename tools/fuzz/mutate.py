"""Damage to models and files: of their structure, and of their bytes."""

from __future__ import annotations

import random
from collections.abc import Callable

import onnx
from onnx import ModelProto, NodeProto, TensorProto

_NUMBERS = (-1, 0, 1, 2, 7, 2**31 - 1, -(2**31), 2**40, 2**62)
_TEXTS = ("", "x", "a\x1b]0;t\x07", "\u202egpj", "n" * 2000, "../../etc/passwd", "[/]", "Relu")


def of_bytes(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with a few changed, cut out, doubled or cut off."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        if not found:
            break
        at, size = rng.randrange(len(found)), rng.randint(1, 16)
        match rng.randrange(5):
            case 0:
                found[at] = rng.randrange(256)
            case 1:
                found[at] ^= 1 << rng.randrange(8)
            case 2:
                del found[at : at + size]
            case 3:
                found[at:at] = found[at : at + size]
            case _:
                if rng.random() < 0.2:
                    del found[at:]
    return bytes(found)


def of_structure(data: bytes, rng: random.Random) -> bytes:
    """Return a model in which a few names, sizes, types or attributes are others."""
    model = ModelProto.FromString(data)
    for _ in range(rng.randint(1, 3)):
        rng.choice(_CHANGES)(model, rng)
    return bytes(model.SerializeToString())


def _node(model: ModelProto, rng: random.Random) -> NodeProto:
    return rng.choice(model.graph.node) if model.graph.node else model.graph.node.add()


def _tensor(model: ModelProto, rng: random.Random) -> TensorProto:
    tensors = model.graph.initializer
    return rng.choice(tensors) if tensors else tensors.add()


def _names(model: ModelProto) -> list[str]:
    return [n for node in model.graph.node for n in (*node.input, *node.output)] or [""]


def _rewire(model: ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    side = rng.choice([node.input, node.output])
    if side and rng.random() < 0.8:
        side[rng.randrange(len(side))] = rng.choice([*_names(model), *_TEXTS])
    else:
        side.append(rng.choice(_names(model)))


def _operator(model: ModelProto, rng: random.Random) -> None:
    schemas = onnx.defs.get_all_schemas()
    _node(model, rng).op_type = rng.choice(schemas).name


def _attribute(model: ModelProto, rng: random.Random) -> None:
    attributes = _node(model, rng).attribute
    if not attributes:
        return
    attribute = rng.choice(attributes)
    match rng.randrange(4):
        case 0:
            attribute.i = rng.choice(_NUMBERS)
        case 1 if attribute.ints:
            attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(_NUMBERS)
        case 2:
            attribute.type = rng.randrange(1, 15)  # type: ignore[assignment]
        case _:
            attributes.remove(attribute)


def _dims(model: ModelProto, rng: random.Random) -> None:
    tensor = _tensor(model, rng)
    if tensor.dims and rng.random() < 0.7:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(_NUMBERS)
    else:
        tensor.dims.append(rng.choice(_NUMBERS))


def _type(model: ModelProto, rng: random.Random) -> None:
    _tensor(model, rng).data_type = rng.randrange(25)


def _port(model: ModelProto, rng: random.Random) -> None:
    port = rng.choice([*model.graph.input, *model.graph.output])
    dims = port.type.tensor_type.shape.dim
    if dims and rng.random() < 0.6:
        dims[rng.randrange(len(dims))].dim_value = rng.choice(_NUMBERS)
    elif rng.random() < 0.5:
        dims.add().dim_value = rng.choice(_NUMBERS)
    else:
        port.type.tensor_type.elem_type = rng.randrange(25)


def _drop(model: ModelProto, rng: random.Random) -> None:
    part = rng.choice([model.graph.node, model.graph.initializer, model.graph.value_info])
    if part:
        del part[rng.randrange(len(part))]


def _double(model: ModelProto, rng: random.Random) -> None:
    part = rng.choice([model.graph.node, model.graph.initializer, model.graph.output])
    if part:
        part.add().CopyFrom(rng.choice(part))


def _opset(model: ModelProto, rng: random.Random) -> None:
    if model.opset_import:
        model.opset_import[0].version = rng.choice([0, 1, 6, 7, 11, 13, 17, 22, 99, 2**40])


def _text(model: ModelProto, rng: random.Random) -> None:
    node, text = _node(model, rng), rng.choice(_TEXTS)
    match rng.randrange(3):
        case 0:
            node.name = text
        case 1:
            node.domain = text
        case _:
            key = rng.choice(["names", "onnxcam.input.size", text])
            model.metadata_props.add(key=key, value=text)


_CHANGES: list[Callable[[ModelProto, random.Random], None]] = [
    _rewire, _operator, _attribute, _dims, _type, _port, _drop, _double, _opset, _text,
]  # fmt: skip
