"""What ONNX Runtime takes and onnx's checker does not, written as the checker wants it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, ValueInfoProto, helper

from onnxcam.errors import ModelError
from onnxcam.graph.emit import proto_shape
from onnxcam.graph.emit.walks import STANDARD_DOMAINS, bodies_of, every_graph, every_node
from onnxcam.model.passes.grouped import regrouped
from onnxcam.model.weights import twice

_GRAPH_NAME = "graph"  # of one that has none


def mended(proto: ModelProto) -> list[str]:
    """Write a model, in place, as onnx wants it; what it computes stays.

    Nodes come in an order that can be run, and the graph gets a name. Of metadata and operator sets
    that come twice the last one counts, as in ONNX Runtime; weights must be the same. A size below
    zero is not known. What is said of a weight that is an input too is what the weight is.

    Args:
        proto: The model as it was read.

    Returns:
        What was changed, in words.

    Raises:
        ModelError: A weight has another shape than the input of its name, or other values than
            another of its name.
    """
    changed = {
        "nodes put into an order that can be run": _sorted(proto),
        "the graph named, it had no name": not proto.graph.name,
        "weights that come twice dropped": _once(proto.graph.initializer),
        "metadata of the same key dropped, but for the last": _last_of(proto.metadata_props),
        "sizes below zero taken for unknown ones": _opened(every_graph(proto.graph)),
        "descriptions of inputs and outputs beside their own dropped": _described_once(proto.graph),
        "inputs that are weights given the shapes of these": _settled(proto.graph),
        "operators of ai.onnx written without the name of their domain": _standard(proto),
        "GroupNormalization with a scale a group written as normalised groups": regrouped(proto),
    }
    proto.graph.name = proto.graph.name or _GRAPH_NAME
    return [what for what, done in changed.items() if done]


# ---- the order of nodes


def _sorted(proto: ModelProto) -> bool:
    """Put the nodes of all graphs and functions into an order that can be run, in place."""
    parts: list[GraphProto | FunctionProto] = list(every_graph(proto.graph))
    for function in proto.functions:
        bodies = (body for node in function.node for body in bodies_of(node))
        parts += [function, *(part for body in bodies for part in every_graph(body))]
    return any([_sort(part) for part in reversed(parts)])  # the inner first: nodes are copied


def _sort(graph: GraphProto | FunctionProto) -> bool:
    """Sort the nodes of a graph, in place, where one stands before what it uses."""
    makers = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    needs = [[makers[n] for n in _uses(node) if n in makers] for node in graph.node]
    if all(maker < i for i, its in enumerate(needs) for maker in its):
        return False
    order = _order(needs)
    if len(order) < len(needs):  # a circle: the checker says so
        return False
    nodes = [_copy(graph.node[i]) for i in order]
    del graph.node[:]
    graph.node.extend(nodes)
    return True


def _order(needs: Sequence[Sequence[int]]) -> list[int]:
    """Return an order in which each comes after what it needs, otherwise as they stand.

    What lies on a circle, or behind one, is left out.
    """
    state = [0] * len(needs)  # 1 is on the way to being placed, 2 is placed
    order: list[int] = []
    for start in range(len(needs)):
        stack = [start]
        while stack:
            i = stack[-1]
            if state[i] == 0:
                state[i] = 1
                stack.extend(j for j in reversed(needs[i]) if state[j] == 0)
                continue
            stack.pop()
            if state[i] == 1 and all(state[j] == 2 for j in needs[i]):
                state[i] = 2
                order.append(i)
    return order


def _uses(node: NodeProto) -> Iterator[str]:
    """Yield the names of what a node and its bodies read, those from inside the bodies too."""
    yield from node.input
    for body in bodies_of(node):
        for part in every_graph(body):
            yield from (v.name for v in part.output)
            for inner in part.node:
                yield from inner.input


def _copy(node: NodeProto) -> NodeProto:
    out = NodeProto()
    out.CopyFrom(node)
    return out


# ---- names, types and domains


def _once(weights: Any) -> bool:
    """Keep one of equal weights of one name, in place."""
    seen: dict[str, bytes] = {}
    for tensor in weights if len({t.name for t in weights}) < len(weights) else ():
        said = tensor.SerializeToString(deterministic=True)
        if seen.setdefault(tensor.name, said) != said:
            raise twice(tensor.name)
    return _last_of(weights)


def _last_of(items: Any) -> bool:
    """Keep the last of items (weights, metadata) of one name, in place."""
    last = {
        getattr(item, "name", "") or getattr(item, "key", ""): i for i, item in enumerate(items)
    }
    extra = (
        [i for i in range(len(items)) if i not in set(last.values())]
        if len(last) < len(items)
        else []
    )
    for i in reversed(extra):
        del items[i]
    return bool(extra)


def _opened(graphs: Iterable[GraphProto]) -> bool:
    """Clear the sizes below zero that a model declares, in place."""
    negative = [
        dim
        for graph in graphs
        for info in (*graph.input, *graph.value_info, *graph.output)
        for dim in info.type.tensor_type.shape.dim
        if dim.dim_value < 0
    ]
    for dim in negative:
        dim.Clear()
    return bool(negative)


def _described_once(graph: GraphProto) -> bool:
    """Drop what is said of inputs, outputs and weights among the tensors between them, in place.

    Tools that cast the ends of a graph, or all but some weights, leave such entries behind, of
    what was there before.
    """
    ends = {v.name for v in (*graph.input, *graph.output, *graph.initializer)}
    extra = [i for i, info in enumerate(graph.value_info) if info.name in ends]
    for i in reversed(extra):
        del graph.value_info[i]
    return bool(extra)


def _settled(graph: GraphProto) -> bool:
    """Give inputs that are weights the type and shape of the weight, in place."""
    inputs = {v.name: v for v in graph.input}
    changed = False
    for tensor in graph.initializer:
        info = inputs.get(tensor.name)
        shape = None if info is None else proto_shape(info.type)
        if info is None or shape == list(tensor.dims):
            continue
        if shape is not None and not _agree(shape, tensor.dims):
            raise ModelError(
                f"the weight {tensor.name!r} has shape {list(tensor.dims)}, but the input of its "
                f"name has {shape}",
                "export it again; ONNX Runtime refuses it too",
            )
        info.CopyFrom(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        changed = True
    return changed


def _agree(declared: Sequence[Any], dims: Sequence[int]) -> bool:
    pairs = zip(declared, dims, strict=False)
    return len(declared) == len(dims) and all(a == b or not isinstance(a, int) for a, b in pairs)


def _standard(proto: ModelProto) -> bool:
    """Call the standard domain by its empty name, in place, and import it once."""
    imports = [o for o in proto.opset_import if o.domain in STANDARD_DOMAINS]
    named = [n for n in every_node(proto.graph) if n.domain == "ai.onnx"]
    if len(imports) < 2 and not named:
        return False
    for node in named:
        node.domain = ""
    for extra in imports[:-1]:
        proto.opset_import.remove(extra)
    imports[-1].domain = ""
    return True


# ---- what the checker wants of ports, and runtimes do not


def stated(infos: Iterable[ValueInfoProto]) -> None:
    """Give inputs or outputs without a type or shape one, in place, for the checker alone."""
    for info in infos:
        if info.type.WhichOneof("value") is None:
            info.type.tensor_type.elem_type = 1
        if info.type.HasField("tensor_type"):
            info.type.tensor_type.shape.SetInParent()
