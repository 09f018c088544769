"""Surgery: read a model's graph, write nodes behind it, get a new model. The old one stays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import onnx
import onnx_graphsurgeon as gs
from onnx import ModelProto, helper, numpy_helper

from onnxcam.errors import UsageError, suggestion
from onnxcam.graph.bodies import captured, needed
from onnxcam.graph.emit import Emitter, Tensor, imported, value_info
from onnxcam.graph.units import apart
from onnxcam.model.model import Model
from onnxcam.model.passes.opsets import opsets
from onnxcam.model.weights import Weights


class Draft:
    """A new model in the making: the old one's graph to read, an emitter to add to it.

    The nodes, weights, inputs and outputs of the old model are taken over byte for byte; what
    the emitter wrote and a new output needs is appended to them.

    Attributes:
        graph: The model as an onnx-graphsurgeon graph. Read it; write through ``op``.
        op: The emitter.
    """

    def __init__(self, model: Model | ModelProto) -> None:
        self._source = model if isinstance(model, Model) else Model(model, Weights(), "")
        self._light = self._source.light
        self.graph = imported(self._light)
        self._own = list(self.graph.nodes)
        self._source.weights.deferred(_constants(self.graph.nodes), self._light)
        self.op = Emitter(self.graph, opsets(self._light))
        self._named = dict(self.graph.tensors())
        for tensor in [*self.graph.inputs, *self.graph.outputs]:
            self._named.setdefault(tensor.name, tensor)
        for tensor in _constants(self.graph.nodes):  # a weight may be used in a subgraph alone
            self._named.setdefault(tensor.name, tensor)
        for weight in self._light.graph.initializer:  # or nowhere
            dtype = helper.tensor_dtype_to_np_dtype(weight.data_type)
            unused = gs.Variable(weight.name, dtype, list(weight.dims))
            self._named.setdefault(weight.name, unused)
        self._inputs: list[tuple[Tensor, Any]] = []
        self._outputs: list[Tensor] = []

    def tensor(self, name: str) -> Tensor:
        """Return a tensor of the model by its name.

        Raises:
            UsageError: There is none of this name; close names are in the hint.
        """
        if name not in self._named:
            raise UsageError(f"the model has no tensor {name!r}", suggestion(name, self._named))
        return self._named[name]

    def input(
        self,
        name: str,
        dtype: Any,
        shape: Sequence[Any] | None,
        default: Any = None,
        *,
        sequence: bool = False,
    ) -> Tensor:
        """Add an input; with ``default`` (an array) callers need not feed it."""
        self._claim(name)
        kind = "sequence_type" if sequence else "tensor_type"
        tensor = gs.Variable(name, dtype, None if shape is None else list(shape), kind)
        self._inputs.append((tensor, default))
        return tensor

    def output(self, tensor: Tensor, name: str | None = None) -> None:
        """Make a tensor an output, under its own name or (copied) under another."""
        if name is not None and name != tensor.name:
            self._claim(name)
            tensor = self.op.named(tensor, name)
        self._outputs.append(tensor)

    def build(self, metadata: dict[str, str] | None = None) -> ModelProto:
        """Return the new model, weights and all; see :meth:`finish`."""
        return self._source.weights.attach(self.finish(metadata).light)

    def finish(self, metadata: dict[str, str] | None = None) -> Model:
        """Return the new model; it shares the weights of the old one.

        Args:
            metadata: Entries to add to ``metadata_props``; same keys are replaced.
        """
        proto = ModelProto()
        proto.CopyFrom(self._light)
        graph = proto.graph
        present = {v.name for v in graph.output}
        added = [t for t in self._outputs if t.name not in present]
        nodes = needed(self.op.nodes, self._outputs)
        nodes = apart(self.op, self._own, self.graph.outputs, nodes)
        graph.node.extend(self.op.written(n) for n in nodes)
        own = {t.name for t in graph.initializer}
        for constant in _constants(nodes):
            if constant.name not in own:
                own.add(constant.name)
                graph.initializer.append(numpy_helper.from_array(constant.values, constant.name))
        for tensor, default in self._inputs:
            graph.input.append(value_info(tensor))
            if default is not None:
                graph.initializer.append(numpy_helper.from_array(default, tensor.name))
        graph.output.extend(value_info(t) for t in added)
        _set_metadata(proto, metadata or {})
        source = self._source
        return Model(proto, source.weights, source.digest, libraries=source.libraries)

    def _claim(self, name: str) -> None:
        if name in self._named or not self.op.reserve(name):
            raise UsageError(
                f"the model already has a tensor {name!r}",
                "it seems to be explained already: start from the original model",
            )


def expose(model: Model, names: Iterable[str]) -> ModelProto:
    """Return :func:`exposed` with the weights in it."""
    made = exposed(model, names)
    return made.weights.attach(made.light)


def exposed(model: Model, names: Iterable[str]) -> Model:
    """Return the model with these tensors as extra outputs, the old outputs first.

    Args:
        model: The model.
        names: Tensors of its main graph; what is an output already stays one.
    """
    draft = Draft(model)
    for name in names:
        draft.output(draft.tensor(name))
    return draft.finish()


def cut(model: Model, outputs: Sequence[str]) -> ModelProto:
    """Return the part of the model that computes these tensors, with them as its outputs.

    Args:
        model: The model.
        outputs: Names of tensors of the main graph.
    """
    draft = Draft(model)
    wanted = [draft.tensor(name) for name in outputs]
    made = {t.name for n in needed(draft.graph.nodes, wanted) for t in n.outputs if t.name}
    proto = model.proto
    graph = proto.graph
    kept = [n for n in graph.node if made.intersection(n.output)]
    del graph.node[:], graph.output[:]
    graph.node.extend(kept)
    graph.output.extend(value_info(t) for t in wanted)
    return proto


def _constants(nodes: Iterable[gs.Node]) -> Iterator[gs.Constant]:
    for node in nodes:
        yield from (t for t in node.inputs if isinstance(t, gs.Constant))
        for value in node.attrs.values():
            if isinstance(value, gs.Graph):
                yield from (t for t in captured(value) if isinstance(t, gs.Constant))


def _set_metadata(proto: ModelProto, metadata: dict[str, str]) -> None:
    kept = [p for p in proto.metadata_props if p.key not in metadata]
    entries = [*kept, *(onnx.StringStringEntryProto(key=k, value=v) for k, v in metadata.items())]
    del proto.metadata_props[:]
    proto.metadata_props.extend(entries)
