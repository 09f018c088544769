"""Forms that leave the mathematics as it is: names, order, weights, functions, batch, opset."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

from forms.sources import NotMadeError


def batch_minus_one(model: ModelProto) -> ModelProto:
    """Write a batch of -1, as some converters do."""
    for port in [*model.graph.input, *model.graph.output]:
        dims = port.type.tensor_type.shape.dim
        if dims:
            dims[0].Clear()
            dims[0].dim_value = -1
    return model


def dynamic_batch(model: ModelProto) -> ModelProto:
    """Open the batch, and forget what shapes are said between."""
    for port in [*model.graph.input, *model.graph.output]:
        dims = port.type.tensor_type.shape.dim
        if dims:
            dims[0].Clear()
            dims[0].dim_param = "N"
    del model.graph.value_info[:]
    return model


def no_shapes(model: ModelProto) -> ModelProto:
    """Leave out the shape of the output and of everything between."""
    for port in model.graph.output:
        port.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    model.graph.name = ""
    return model


def without_batch(model: ModelProto) -> ModelProto:
    """Let the model take and return one picture, by an Unsqueeze and a Squeeze."""
    opset = _opset(model)
    graph, weights = model.graph, {t.name for t in model.graph.initializer}
    port = next(i for i in graph.input if i.name not in weights)
    out = graph.output[0]
    axes, extra = ([], {"axes": [0]}) if opset < 13 else (["form.axes"], {})
    if opset >= 13:
        graph.initializer.append(helper.make_tensor("form.axes", TensorProto.INT64, [1], [0]))
    inner, result = "form.batched", "form.result"
    for node in graph.node:
        node.input[:] = [inner if n == port.name else n for n in node.input]
        node.output[:] = [result if n == out.name else n for n in node.output]
    head = helper.make_node("Unsqueeze", [port.name, *axes], [inner], **extra)
    graph.node.insert(0, head)
    graph.node.append(helper.make_node("Squeeze", [result, *axes], [out.name], **extra))
    for each in (port, out):
        dims = each.type.tensor_type.shape.dim
        kept = [d for d in dims][1:]
        del each.type.tensor_type.shape.dim[:]
        each.type.tensor_type.shape.dim.extend(kept)
    del graph.value_info[:]
    return model


def constants(model: ModelProto) -> ModelProto:
    """Write every weight as a Constant node."""
    made = [
        helper.make_node("Constant", [], [t.name], value=t, name=f"constant_{i}")
        for i, t in enumerate(model.graph.initializer)
    ]
    ports = [
        i for i in model.graph.input if i.name not in {t.name for t in model.graph.initializer}
    ]
    nodes = [*made, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:], model.graph.input[:]
    model.graph.input.extend(ports)
    model.graph.node.extend(nodes)
    return model


def weights_as_inputs(model: ModelProto) -> ModelProto:
    """List every weight among the inputs, as IR version 3 demands, before the picture."""
    known = {i.name for i in model.graph.input}
    ports = list(model.graph.input)
    del model.graph.input[:]
    for t in model.graph.initializer:
        if t.name not in known:
            shape = list(t.dims)
            model.graph.input.append(helper.make_tensor_value_info(t.name, t.data_type, shape))
    model.graph.input.extend(ports)
    return model


def functions(model: ModelProto) -> ModelProto:
    """Wrap every third node into a local function of its own."""
    domain, wrapped = "form.local", 0
    for i, node in enumerate(model.graph.node):
        plain = node.domain in ("", "ai.onnx") and not _has_graphs(node)
        if i % 3 or not plain or node.op_type == "Constant" or "" in (*node.input, *node.output):
            continue
        inner = NodeProto()
        inner.CopyFrom(node)
        inner.input[:] = [f"x{k}" for k in range(len(node.input))]
        inner.output[:] = [f"y{k}" for k in range(len(node.output))]
        name = f"{node.op_type}_{i}"
        model.functions.append(
            helper.make_function(
                domain, name, list(inner.input), list(inner.output), [inner],
                [helper.make_opsetid("", _opset(model))],
            )
        )  # fmt: skip
        node.op_type, node.domain = name, domain
        del node.attribute[:]
        wrapped += 1
    if not wrapped:
        raise NotMadeError("no node can be wrapped")
    model.opset_import.append(helper.make_opsetid(domain, 1))
    model.ir_version = max(model.ir_version, 8)
    return model


def odd_names(model: ModelProto) -> ModelProto:
    """Give every tensor within a name with spaces, slashes, accents and colons."""
    graph, weights = model.graph, {t.name for t in model.graph.initializer}
    ports = {i.name for i in graph.input if i.name not in weights} | {o.name for o in graph.output}
    made = {n for node in graph.node for n in node.output} | weights
    order = sorted(made - ports - {""})
    names = {
        n: f"é {i}/gra d::{i}:0%s" + ("x" * 200 if i % 7 == 0 else "") for i, n in enumerate(order)
    }
    for node in _all_nodes(graph):
        node.input[:] = [names.get(n, n) for n in node.input]
        node.output[:] = [names.get(n, n) for n in node.output]
        node.name = ""
    for t in [*graph.initializer, *graph.input]:
        t.name = names.get(t.name, t.name)
    del graph.value_info[:]
    return model


def unsorted(model: ModelProto) -> ModelProto:
    """Write the nodes in any order."""
    nodes = list(model.graph.node)
    random.Random(0).shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def at_opset(model: ModelProto, number: int) -> ModelProto:
    """Let onnx's converter bring a model to an opset."""
    if any(
        o.domain not in ("", "ai.onnx") for o in model.opset_import if _is_used(model, o.domain)
    ):
        raise NotMadeError("onnx's converter takes standard operators only")
    try:
        return onnx.version_converter.convert_version(model, number)
    except Exception as error:  # noqa: BLE001  # another library's
        said = re.sub(r"^\S+: ", "", " ".join(str(error).split()))
        raise NotMadeError(f"onnx's converter: {said[:120]}") from None


def external_data(model: ModelProto, path: Path) -> None:
    """Write the weights into a second file."""
    onnx.save(
        model, str(path), save_as_external_data=True, location=path.name + ".data",
        size_threshold=1024,
    )  # fmt: skip


def _is_used(model: ModelProto, domain: str) -> bool:
    return any(n.domain == domain for n in model.graph.node)


def _opset(model: ModelProto) -> int:
    return next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))


def _has_graphs(node: NodeProto) -> bool:
    return any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute)


def _all_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _all_nodes(attribute.g)
