"""What onnxruntime-training gets to see: the part of a model that a gradient passes, made fit.

Only the nodes between ``wrt`` and the outputs are sent. What else they use (weights, masks,
shapes) becomes an input of the sent model, each use one of its own, so no weight is copied. The
tensors have short names of their own (``t12``): the builder's ``<name>_grad`` cannot collide, and
is read without doubt on the way back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnx import ModelProto

from onnxcam.autodiff.engine import path
from onnxcam.autodiff.ort_training.parcel import Parcel
from onnxcam.autodiff.ort_training.rewrites import REWRITES
from onnxcam.graph.emit import (
    Emitter,
    Tensor,
)


@dataclass(frozen=True)
class Prepared:
    """A part of a model in the form that onnxruntime-training takes.

    Attributes:
        proto: The part, at the opset of the whole.
        wrt: Sent names of the tensors to differentiate with respect to, in the order asked;
            None where no output depends on one.
        seeds: The cotangents of the sent outputs, by sent name.
        tensors: The tensors of the whole, by sent name.
        uses: How many gradients must flow to a tensor, by sent name.
    """

    proto: ModelProto
    wrt: list[str | None]
    seeds: dict[str, Tensor]
    tensors: dict[str, Tensor]
    uses: Mapping[str, int]


def prepare(
    op: Emitter, outputs: Sequence[tuple[Tensor, Tensor]], wrt: Sequence[Tensor]
) -> Prepared | None:
    """Return the part of a model that a gradient passes, or None where there is none.

    Args:
        op: Emitter of the graph; what replaces an operator is written into it.
        outputs: Pairs of a tensor and its cotangent (same shape and dtype).
        wrt: Tensors to differentiate with respect to.

    Raises:
        UnsupportedOp: onnxruntime-training would be silently wrong for an operator.
    """
    nodes, carrying = path(op, [y for y, _ in outputs], wrt)
    parcel = Parcel(op, carrying, REWRITES)
    names = [parcel.carry(x).name if id(x) in carrying else None for x in wrt]
    for node in nodes:
        parcel.send(node)
    for y, cotangent in outputs:
        if id(y) in carrying:
            parcel.leaf(y, cotangent)
    found = [name if name and parcel.uses[name] else None for name in names]
    if not any(found):
        return None
    return Prepared(parcel.proto(), found, parcel.seeds, parcel.tensors, parcel.uses)
