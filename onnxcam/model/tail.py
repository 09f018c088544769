"""The part of a model that lies behind a tensor, as a model of its own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from onnx import ModelProto

from onnxcam.errors import UsageError
from onnxcam.graph.bodies import captures, needed
from onnxcam.graph.emit import value_info
from onnxcam.model.draft import Draft
from onnxcam.model.model import Model


@dataclass(frozen=True)
class Tail:
    """What lies between a tensor and an output.

    Attributes:
        model: The part, with the tensor as its first input.
        inputs: Names of its other inputs: tensors and inputs of the whole that it also uses, as
            those of a connection that goes round the tensor.
    """

    model: Model
    inputs: tuple[str, ...]


def tail(model: Model, source: str, output: str, own: Collection[str] = ()) -> Tail:
    """Return the part of a model that computes an output from a tensor.

    What depends on no input of the model, as a computed constant, is a part of it too.

    Args:
        model: The model; its weights are shared.
        source: Name of the tensor.
        output: Name of the output.
        own: Names of inputs of the model that the part takes as they are: what depends on them is
            computed in it, rather than fed to it.

    Raises:
        UsageError: There is no such tensor, or the output does not depend on it.
    """
    draft = Draft(model)
    ends = [draft.tensor(output)]
    nodes = needed(list(draft.graph.nodes), ends)
    behind, varying = {source, *own}, {port.name for port in model.inputs} - {source, *own}
    kept, fixed, used = [], [], {}
    for node in nodes:
        made = {t.name for t in node.outputs if t.name} - {source}
        uses = [t.name for t in [*node.inputs, *captures(node)] if t.name]
        if not behind.isdisjoint(uses):
            behind |= made
            kept.append(node)
            used.update(dict.fromkeys(uses))
        elif not varying.isdisjoint(uses):
            varying |= made
        else:
            fixed.append(node)
    if not _reaches(kept, source, output):
        raise UsageError(
            f"{output!r} does not depend on {draft.tensor(source).name!r}",
            "`onnxcam.analysis.layers.catalog(model)` lists the layers that it depends on",
        )
    others = tuple(name for name in used if name in varying or name in own)
    inputs = [draft.tensor(name) for name in (source, *others)]
    return Tail(_part(model, needed([*fixed, *kept], ends), inputs, ends), others)


def _reaches(nodes: list[Any], source: str, output: str) -> bool:
    """Tell whether an output depends on a tensor through these nodes, in their order."""
    found = {source}
    for node in nodes:
        if not found.isdisjoint(t.name for t in [*node.inputs, *captures(node)]):
            found.update(t.name for t in node.outputs if t.name)
    return output in found


def _part(model: Model, nodes: list[Any], inputs: list[Any], outputs: list[Any]) -> Model:
    """Return a model of some of the nodes of another, as they stand in its file."""
    made = {t.name for node in nodes for t in node.outputs if t.name}
    used = {t.name for node in nodes for t in [*node.inputs, *captures(node)]}
    fed = {t.name for t in inputs}
    proto = ModelProto()
    proto.CopyFrom(model.light)
    graph = proto.graph
    said = {port.name: port for port in model.light.graph.input}  # not the size of a default
    graph.ClearField("input")
    graph.ClearField("output")
    graph.input.extend(said[t.name] if t.name in said else value_info(t) for t in inputs)
    graph.output.extend(value_info(t) for t in outputs)
    _keep(graph.node, [n for n in graph.node if made.intersection(n.output)])
    _keep(graph.initializer, [t for t in graph.initializer if t.name in used - fed])
    _keep(graph.value_info, [v for v in graph.value_info if v.name in made - fed])
    return Model(proto, model.weights, model.digest, libraries=model.libraries)


def _keep(items: Any, kept: list[Any]) -> None:
    del items[:]
    items.extend(kept)
