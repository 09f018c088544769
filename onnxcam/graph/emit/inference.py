"""What ONNX infers of tensors as they are written: dtypes and shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx
import onnx_graphsurgeon as gs
from onnx import TypeProto, helper, numpy_helper

from onnxcam.graph import quirks
from onnxcam.graph.emit.arguments import has_body
from onnxcam.graph.emit.protos import node_proto, stamp, type_proto
from onnxcam.graph.emit.tensors import Tensor, dtype_of, is_sequence, shape_of, static_shape
from onnxcam.graph.ops import Trait, has

_INFERENCE_DATA_LIMIT = 64  # elements: shapes, axes and pads are smaller, weights are not


class Inference:
    """Infers node by node, and keeps the types that it has met."""

    def __init__(self, opsets: Mapping[str, int]) -> None:
        self._opsets = opsets
        self._imports = [helper.make_opsetid(d, v) for d, v in opsets.items()]
        self._types: dict[int, TypeProto] = {}
        self._keep: list[Tensor | gs.Node] = []  # ids are keys: what has one is not collected
        self._protos: dict[int, onnx.NodeProto] = {}

    @quirks.works_around(quirks.OPEN_SHAPES, quirks.ATTENTION_SIZE)
    def infer(self, node: gs.Node) -> None:
        """Stamp the dtypes and shapes that ONNX infers on the outputs of a node.

        Raises:
            onnx.shape_inference.InferenceError: The node does not fit its inputs.
        """
        domain = node.domain or ""
        opset = self._opsets.get(domain, 1)
        if not onnx.defs.has(node.op, opset, domain) or has_body(node.attrs):
            return
        proto = self._protos[id(node)] = node_proto(node)
        self._keep.append(node)
        types, data = {}, {}
        for tensor in node.inputs:
            if not tensor.name:
                continue
            types[tensor.name] = self._of(tensor)
            if isinstance(tensor, gs.Constant) and _is_small(tensor):
                data[tensor.name] = numpy_helper.from_array(tensor.values, tensor.name)
        try:
            inferred = onnx.shape_inference.infer_node_outputs(
                onnx.defs.get_schema(node.op, opset, domain),
                proto,
                types,
                data,
                opset_imports=self._imports,
                ir_version=onnx.IR_VERSION,
            )
        except ValueError:  # an input comes from an operator that onnx does not know
            return
        for tensor in node.outputs:
            kind = inferred.get(tensor.name)
            if kind is not None:
                self._types[id(tensor)] = kind
                stamp(tensor, kind)
        if has(node, Trait.UNINFERRED):
            self.learn(node.outputs[0], node.inputs[0])
        if node.op == "Attention":
            for tensor in node.outputs:
                tensor.shape = [d or None for d in tensor.shape or ()] or None
                self.forget(tensor)
        self._rank(node)

    def written(self, node: gs.Node) -> onnx.NodeProto:
        """Return a node as ONNX writes it: as it was inferred, if its tensors kept their names."""
        proto = self._protos.get(id(node))
        if proto is None or proto.output != [t.name for t in node.outputs]:
            return node_proto(node)
        same = proto.input == [t.name for t in node.inputs]
        return proto if same else node_proto(node)

    @quirks.works_around(quirks.OPEN_RANKS)
    def _rank(self, node: gs.Node) -> None:
        """Stamp the rank on what has a computed shape of known length."""
        y = node.outputs[0]
        if node.op not in ("Reshape", "Expand", "ConstantOfShape") or y.shape is not None:
            return
        length = (shape_of(node.inputs[-1]) or (None,))[0]
        ranks = [length] if isinstance(length, int) else []
        if node.op == "Expand":
            shape = shape_of(node.inputs[0])
            ranks = [*ranks, len(shape)] if ranks and shape is not None else []
        if ranks and dtype_of(y) is not None:
            y.shape = [None] * max(ranks)
            self.forget(y)

    def typed(self, tensor: Tensor, like: Tensor) -> Tensor:
        """Stamp the shape of ``like`` on a tensor whose own inferred shape says less."""
        if isinstance(tensor, gs.Variable) and static_shape(tensor) is None:
            known = shape_of(like)
            if known is not None:
                tensor.shape = list(known)
                self.forget(tensor)
        return tensor

    def learn(self, tensor: Tensor, like: Tensor) -> Tensor:
        """Add to a tensor's type what is known of an equal tensor's; symbols are not taken over."""
        if not isinstance(tensor, gs.Variable) or isinstance(like, gs.Constant):
            return tensor
        if dtype_of(tensor) is None:
            tensor.dtype, tensor.type = like.dtype, like.type
        known = [d if isinstance(d, int) else None for d in shape_of(like) or ()]
        if tensor.shape is None and like.shape is not None:
            tensor.shape = known
        elif tensor.shape is not None and len(tensor.shape) == len(known):
            pairs = zip(tensor.shape, known, strict=True)
            tensor.shape = [k if k is not None and not isinstance(d, int) else d for d, k in pairs]
        self.forget(tensor)
        return tensor

    def forget(self, tensor: Tensor) -> None:
        """Read a tensor's type anew: it was changed."""
        self._types.pop(id(tensor), None)

    def _of(self, tensor: Tensor) -> TypeProto:
        types = self._types
        if id(tensor) not in types:
            unknown = dtype_of(tensor) is None and not is_sequence(tensor)
            types[id(tensor)] = TypeProto() if unknown else type_proto(tensor)
            self._keep.append(tensor)
        return types[id(tensor)]


def _is_small(tensor: Tensor) -> bool:
    """Tell whether a constant may be a shape, axes or pads, whose values tell shapes."""
    return math.prod(static_shape(tensor) or (0,)) <= _INFERENCE_DATA_LIMIT
