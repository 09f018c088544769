"""Where the nodes of a model would run on a processor that is not here: by tables of kernels."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, NodeProto

from onnxcam.errors import UsageError

_TABLES = Path(__file__).with_name("providers")
_OWN = ("", "ai.onnx")
_NO_KERNEL = ("Constant",)  # folded when the model is loaded
_OLDEST = 7  # opset that a hint goes down to


@dataclass(frozen=True)
class Provider:
    """What a provider of ONNX Runtime has kernels for, as its makers say.

    Attributes:
        title: Its name in words.
        source: The document that says so.
        of: Of when that is.
        kernels: The types that each operator is taken for; None for every type but texts.
        places: The input whose type counts, where it is not the first.
        until: The newest version of an operator that is taken, where ONNX has a newer one.
        gaps: Versions that are not taken though older and newer ones are.
        newest: The newest version of any operator that is taken, None for no limit.
    """

    title: str
    source: str
    of: str
    kernels: Mapping[str, frozenset[str] | None]
    places: Mapping[str, int]
    until: Mapping[str, int]
    gaps: Mapping[str, list[int]]
    newest: int | None

    def has(self, node: NodeProto, dtype: str | None, opset: int | None = None) -> bool:
        """Tell whether there is a kernel for a node.

        Args:
            node: The node. Of other domains than ONNX's own nothing is said: they pass.
            dtype: Type of its input that counts, None where that is not known.
            opset: Of the model, None asks for no version.
        """
        name = node.op_type
        if node.domain not in _OWN or name in _NO_KERNEL:
            return True
        types = self.kernels.get(name, frozenset())
        if types is not None and not (dtype in types if dtype is not None else bool(types)):
            return False
        return dtype != "string" and (opset is None or self._takes(name, _version(name, opset)))

    def _takes(self, operator: str, version: int) -> bool:
        newest = self.until.get(operator, self.newest)
        return (newest is None or version <= newest) and version not in self.gaps.get(operator, [])

    def opset_for(self, operators: set[str], below: int) -> int | None:
        """Return the newest opset below one at which all of some operators are taken, or None."""
        known = {name for name in operators if name in self.kernels}
        fits = range(below - 1, _OLDEST - 1, -1)
        taken = (n for n in fits if all(self._takes(o, _version(o, n)) for o in known))
        return next(taken, None) if known == operators else None


@dataclass(frozen=True)
class Fallen:
    """What a provider has no kernel for.

    Attributes:
        nodes: "ReduceProd of int64", and how many nodes that are.
        opset: An opset at which a kernel is there for all of it, where there is one.
    """

    nodes: dict[str, int] = field(default_factory=dict)
    opset: int | None = None


@cache
def providers() -> dict[str, Provider]:
    """Return the providers of which there is a table, by their names."""
    return {path.stem: _read(path) for path in sorted(_TABLES.glob("*.toml"))}


def _read(path: Path) -> Provider:
    said = tomllib.loads(path.read_text(encoding="utf-8"))
    groups, found = said["groups"], dict[str, frozenset[str] | None]()
    for types, names in said["kernels"].items():
        taken = [t for word in types.split() for t in groups.get(word, [word])]
        for name in names.split():
            found[name] = None if types == "all" else frozenset(taken)
    places, until, gaps = (said.get(key, {}) for key in ("inputs", "until", "gaps"))
    about = said["title"], said["source"], said["of"]
    return Provider(*about, found, places, until, gaps, said.get("newest"))


@cache
def _version(operator: str, opset: int) -> int:
    """Return since when an operator is what it is at an opset; the opset where nobody knows it."""
    try:
        return int(onnx.defs.get_schema(operator, opset, "").since_version)
    except onnx.defs.SchemaError:
        return opset


def on_cpu(model: ModelProto, prefix: str = "", provider: str = "cuda") -> dict[str, int]:
    """Return what a provider has no kernel for, "ReduceProd of int64", and how many nodes that are.

    ONNX Runtime puts those on the CPU, and copies between. What only computes with shapes it keeps
    there anyway; that does not count.

    Args:
        model: A model, with the types of its tensors or not.
        prefix: Of the names of the nodes that count; "" for all.
        provider: "cuda", "tensorrt", "directml", "coreml" or "webgpu".

    Raises:
        UsageError: There is no table of the provider.
    """
    if provider not in providers():
        raise UsageError(f"there is no table of {provider}", f"take {', '.join(providers())}")
    return fallen(model, prefix)[provider].nodes


def fallen(model: ModelProto, prefix: str = "") -> dict[str, Fallen]:
    """Return what each provider has no kernel for; see :func:`on_cpu`."""
    try:
        known = onnx.shape_inference.infer_shapes(model)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        known = model  # types of what it declares are better than nothing
    opset = next((i.version for i in model.opset_import if i.domain in _OWN), None)
    nodes = [n for n in _nodes(known.graph, {}) if n[0].name.startswith(prefix)]
    return {name: _fallen(provider, nodes, opset) for name, provider in providers().items()}


_Typed = tuple[NodeProto, tuple[str | None, ...]]  # a node and the types of its inputs


def _fallen(provider: Provider, nodes: list[_Typed], opset: int | None) -> Fallen:
    found: Counter[str] = Counter()
    too_new = set[str]()
    lasting = False
    for node, types in nodes:
        place = provider.places.get(node.op_type, 0)
        dtype = types[place] if place < len(types) else None
        if provider.has(node, dtype, opset):
            continue
        found[f"{node.op_type} of {dtype or 'any type'}"] += 1
        too_new.add(node.op_type)
        lasting = lasting or not provider.has(node, dtype)
    every = {node.op_type for node, _ in nodes if node.domain in _OWN} & set(provider.kernels)
    hint = None if lasting or not found or opset is None else provider.opset_for(every, opset)
    return Fallen(dict(found), hint)


def _nodes(graph: GraphProto, outer: dict[str, str]) -> Iterator[_Typed]:
    """Yield the nodes of a graph and its subgraphs with the types of their inputs."""
    types, shapes = {**outer, **_types(graph)}, {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in ("Shape", "Size", "Constant") or all(
            n in shapes for n in node.input if n
        ):
            shapes.update(node.output)
            continue
        yield node, tuple(types.get(name) for name in node.input)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _nodes(inner, types)


def _types(graph: GraphProto) -> dict[str, str]:
    """Return the types of a graph's tensors by their names, as the tables name them."""
    kinds = {
        value.name: value.type.tensor_type.elem_type
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    kinds.update({tensor.name: tensor.data_type for tensor in graph.initializer})
    names = onnx.TensorProto.DataType
    spelt = {"FLOAT": "float32", "DOUBLE": "float64"}
    return {
        name: spelt.get(names.Name(kind), names.Name(kind).lower())
        for name, kind in kinds.items()
        if kind
    }
