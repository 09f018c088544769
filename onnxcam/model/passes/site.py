"""Where a node is raised: what is known of its tensors, and how constants are added."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import onnx.shape_inference
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from onnxcam.graph.emit import Dim, proto_shape
from onnxcam.graph.emit.walks import every_graph, standard_opset
from onnxcam.model.passes.inference import inferred

Nodes: TypeAlias = "list[NodeProto] | None"
Step: TypeAlias = "Callable[[NodeProto, Site], Nodes]"
_STEPS: dict[tuple[str, int], Step] = {}


class Unraisable(Exception):  # noqa: N818 - a reason, caught where the model is raised
    """There is no node of the newer opset that does what this one does; the reason."""


def step(names: str, version: int) -> Callable[[Step], Step]:
    """Enter what the nodes of some operators become at a version of them.

    The function changes the node in place and returns None, or returns the nodes of that version
    that take its place.

    Args:
        names: Operator types, with blanks between.
        version: The opset that changed the operators.
    """

    def enter(function: Step) -> Step:
        for name in names.split():
            assert (name, version) not in _STEPS, f"two steps of {name} to {version}"
            _STEPS[name, version] = function
        return function

    return enter


def step_of(op_type: str, version: int) -> Step | None:
    """Return the step of an operator to a version, None where nothing is to do."""
    return _STEPS.get((op_type, version))


class Site:
    """A model whose nodes are raised: types to read, constants to add.

    Attributes:
        added: The constants that were added.
    """

    def __init__(self, proto: ModelProto) -> None:
        self._proto = proto
        self.added: list[TensorProto] = []
        self._same: dict[Any, str] = {}
        self._taken = set(_names(proto))

    def const(self, values: Any, dtype: Any = np.int64) -> str:
        """Return the name of a constant; equal ones are added once."""
        array = np.asarray(values, dtype)
        key = (array.dtype, array.shape, array.tobytes())
        if key not in self._same:
            self._same[key] = self.fresh("onnxcam/raised/const")
            self.added.append(numpy_helper.from_array(array, self._same[key]))
        return self._same[key]

    def fresh(self, stem: str) -> str:
        """Return a name that nothing in the model has."""
        name, number = stem, 0
        while name in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name)
        return name

    def shape(self, name: str) -> list[Dim] | None:
        """Return the shape of a tensor, None where its rank is not known."""
        return self._types.get(name, (None, None))[1]

    def rank(self, name: str) -> int:
        """Return the rank of a tensor.

        Raises:
            Unraisable: It is not known.
        """
        shape = self.shape(name)
        if shape is None:
            raise Unraisable(f"the rank of {name!r} is not known")
        return len(shape)

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the element type of a tensor.

        Raises:
            Unraisable: It is not known.
        """
        number = self._types.get(name, (None, None))[0] or self._followed(name)
        if not number:
            raise Unraisable(f"the type of {name!r} is not known")
        return np.dtype(helper.tensor_dtype_to_np_dtype(number))

    def _followed(self, name: str, far: int = 500) -> int | None:
        """Return the type of a tensor whose node, by its schema, keeps that of an input.

        Where a node contradicts itself, onnx infers nothing of what comes behind.
        """
        node = self._makers.get(name)
        if node is None or not far or not onnx.defs.has(node.op_type, self._opset, node.domain):
            return None
        if node.op_type in ("Cast", "Constant"):
            return next(
                (a.i or a.t.data_type for a in node.attribute if a.name in ("to", "value")), None
            )
        if node.op_type == "If":
            result = node.attribute[0].g.output[list(node.output).index(name)]
            return result.type.tensor_type.elem_type or self._followed(result.name, far - 1)
        schema = onnx.defs.get_schema(node.op_type, self._opset, node.domain)
        place = min(list(node.output).index(name), len(schema.outputs) - 1)
        for formal, given in zip(schema.inputs, node.input, strict=False):
            if given and formal.type_str == schema.outputs[place].type_str:
                return self._types.get(given, (None, None))[0] or self._followed(given, far - 1)
        return None

    @cached_property
    def _makers(self) -> dict[str, NodeProto]:
        nodes = (n for g in every_graph(self._proto.graph) for n in g.node)
        return {name: node for node in nodes for name in node.output if name}

    @cached_property
    def _opset(self) -> int:
        return standard_opset(self._proto)

    def value(self, name: str) -> np.ndarray[Any, Any] | None:
        """Return the value of a small constant, None for anything else."""
        own = {t.name: t for t in self.added}
        tensor = own.get(name, self._constants.get(name))
        return None if tensor is None else numpy_helper.to_array(tensor)

    def is_read(self, name: str) -> bool:
        """Tell whether anything uses a tensor."""
        return bool(name) and name in self._read

    @cached_property
    def _types(self) -> dict[str, tuple[int | None, list[Dim] | None]]:
        """Types by name; those of a name that several graphs use are not known."""
        try:
            proto = inferred(self._proto)
        except onnx.shape_inference.InferenceError:
            proto = self._proto
        found: dict[str, tuple[int | None, list[Dim] | None]] = {}
        for graph in every_graph(proto.graph):
            for tensor in graph.initializer:
                found[tensor.name] = tensor.data_type, list(tensor.dims)
            for info in (*graph.input, *graph.value_info, *graph.output):
                kind = info.type.tensor_type.elem_type or None, proto_shape(info.type)
                if found.setdefault(info.name, kind) != kind and graph is not proto.graph:
                    found[info.name] = None, None
        return found

    @cached_property
    def _constants(self) -> dict[str, TensorProto]:
        graphs = list(every_graph(self._proto.graph))
        held = {t.name: t for g in graphs for t in g.initializer if not t.external_data}
        for node in (n for g in graphs for n in g.node if n.op_type == "Constant"):
            held.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
        return held

    @cached_property
    def _read(self) -> set[str]:
        graphs = list(every_graph(self._proto.graph))
        return {n for g in graphs for node in g.node for n in node.input} | {
            v.name for g in graphs for v in g.output
        }


def _names(proto: ModelProto) -> Iterator[str]:
    for graph in every_graph(proto.graph):
        yield from (v.name for v in (*graph.input, *graph.initializer, *graph.value_info))
        for node in graph.node:
            yield from node.output


def pop(node: NodeProto, name: str, default: Any = None) -> Any:
    """Take an attribute from a node, in place, and return its value."""
    for attribute in node.attribute:
        if attribute.name == name:
            value = helper.get_attribute_value(attribute)
            node.attribute.remove(attribute)
            return value
    return default


def put(node: NodeProto, **attributes: Any) -> None:
    """Give a node attributes, in place of those of the same name."""
    for name, value in attributes.items():
        pop(node, name)
        node.attribute.append(helper.make_attribute(name, value))


def take(node: NodeProto, inputs: Iterable[str]) -> None:
    """Give a node other inputs, in place; those omitted at the end are not written."""
    names = list(inputs)
    while names and not names[-1]:
        names.pop()
    node.input[:] = names


def keep_outputs(node: NodeProto, count: int, site: Site, why: str) -> None:
    """Drop all but the first outputs of a node, in place.

    Raises:
        Unraisable: One of them is used.
    """
    if any(site.is_read(name) for name in node.output[count:]):
        raise Unraisable(why)
    node.output[:] = node.output[:count]
