"""ONNX Runtime's own operators: the gradient of their definitions in standard operators."""

from __future__ import annotations

from typing import Any

from onnxcam.autodiff.engine import vjp as differentiate
from onnxcam.autodiff.registry import NodeView, nondiff, refuse, vjp
from onnxcam.errors import UnsupportedOp
from onnxcam.graph.contrib import MICROSOFT, defined, lower
from onnxcam.graph.contrib.ml import ML
from onnxcam.graph.emit import Emitter, Tensor, shape_of


def by_definition(op: Emitter, node: NodeView, *dys: Tensor | None) -> list[Tensor | None]:
    """Emit the definition from the node's inputs and differentiate that."""
    try:
        ys = lower(op, node.raw)
    except UnsupportedOp as error:
        raise UnsupportedOp(
            f"no gradient for {node.domain}::{node.op_type}, node {node.name!r}: {error.message}",
            error.hint or "choose a feature layer behind this node",
        ) from None
    return through(op, node, ys, dys)


def through(op: Emitter, node: NodeView, ys: list[Tensor | None], dys: Any) -> list[Tensor | None]:
    """Return the gradients of a node's inputs from its outputs as emitted anew from them.

    Args:
        op: Emitter.
        node: The node.
        ys: Its outputs, emitted from its inputs; None where one is not given.
        dys: Their cotangents.

    Raises:
        UnsupportedOp: An output with a cotangent is not given.
    """
    inputs = node.raw.inputs
    pairs = []
    for y, dy in zip(ys, dys, strict=True):
        if dy is None:
            continue
        if y is None:
            raise UnsupportedOp(
                f"no gradient for one of the outputs of {node.op_type}, node {node.name!r}",
                "choose another output, or a feature layer behind this node",
            )
        pairs.append((y, op.typed(dy, y)))
    place = {id(x): i for i, x in reversed(list(enumerate(inputs))) if node.wants(i)}
    grads: list[Tensor | None] = [None] * len(inputs)
    wrt, inner = [inputs[i] for i in place.values()], node.overrides.inside(node)
    found = differentiate(op, pairs, wrt, overrides=inner, stops=inputs)
    for i, dx in zip(place.values(), found, strict=True):
        grads[i] = dx
    return grads


_OWN_RULE = {(MICROSOFT, "QuantizeLinear"), (MICROSOFT, "DequantizeLinear")}
for _domain, _name, _ in defined():
    if (_domain, _name) not in _OWN_RULE:
        vjp(_name, domain=_domain)(by_definition)


@vjp("Inverse", domain=MICROSOFT)
def inverse(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = -y^T dy y^T."""
    y = node.outputs[0]
    rank = len(shape_of(dy) or ())
    y_t = op.Transpose(y, perm=[*range(rank - 2), rank - 1, rank - 2])
    return op.Neg(op.MatMul(y_t, op.MatMul(dy, y_t)))


nondiff(
    "IsAllFinite", "MurmurHash3", "NGramHashMapping", "NGramRepeatBlock", "BifurcationDetector",
    "Range", "Tokenizer", "VarlenNGramHashMapping",
    domain=MICROSOFT, why="the output does not change with small changes of the input",
)  # fmt: skip
refuse("EPContext", domain=MICROSOFT, why="it holds a compiled network: take the original model")
refuse(
    "BeamSearch", "GreedySearch", "Sampling", "WhisperBeamSearch",
    domain=MICROSOFT, why="it generates text step by step: explain the decoder inside it",
)  # fmt: skip
refuse("MoE", "QMoE", domain=MICROSOFT, why="the choice of experts has no gradient")
_STEPS = "its output is a step function of its input: its gradient says nothing"
refuse("TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor", domain=ML, why=_STEPS)
refuse("SVMClassifier", domain=ML, why="its scores are votes: its gradient says nothing")
nondiff(
    "Binarizer", "CastMap", "CategoryMapper", "DictVectorizer", "LabelEncoder", "OneHotEncoder",
    domain=ML, why="the output does not change with small changes of the input",
)  # fmt: skip
refuse("ZipMap", domain=ML, why="its output is no tensor: explain its input, the scores")
