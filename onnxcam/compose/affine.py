"""A model cut in two where the first stretch behind its input ends that is affine.

Normalisation, padding, patches, the first convolution: z = A x + b. Along a straight way in x also
z goes straight, and the gradient at x is A^T times that at z: a mean of gradients along the way can
be taken at z, and A^T be applied once, to the mean (integrated gradients).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from onnxcam.autodiff.engine import vjp
from onnxcam.compose.places import Place
from onnxcam.graph import ir
from onnxcam.graph.bodies import captures, needed
from onnxcam.graph.emit import Tensor, dtype_of, shape_of
from onnxcam.graph.ops import Trait, data_inputs, has
from onnxcam.model.draft import Draft
from onnxcam.model.model import Model
from onnxcam.model.tail import Tail, tail
from onnxcam.names import COTANGENT, GRADIENT, HELD, SLOPES, TARGET

_LARGEST = 6  # times as many numbers as the input has: steps handle them, one after another
_WORTH = (Trait.CONVOLUTION, Trait.PRODUCT)  # one of them, or nothing is saved
_BILINEAR = {"Mul", "MatMul", "Gemm"}


@dataclass(frozen=True)
class Halves:
    """A model cut in two.

    Attributes:
        at: Name of the tensor where the first stretch ends.
        before: From ``onnxcam.cotangent``, a cotangent of it, to ``onnxcam.gradient``, float32 in
            the axes of the input.
        behind: From it to its gradient ``onnxcam.slopes``, float32.
    """

    at: str
    before: Tail
    behind: Tail

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what both take beside what is said anew in each run, none of it moved by x."""
        own = {COTANGENT, TARGET, HELD}
        named = (*self.before.inputs, *self.behind.inputs)
        return tuple(dict.fromkeys(name for name in named if name not in own))

    @property
    def shown(self) -> tuple[str, ...]:
        """Names of what the halves take of the whole model."""
        return (self.at, *self.inputs)


def last_affine(nodes: Sequence[ir.Node], x: Tensor, score: Tensor) -> Tensor | None:
    """Return the last tensor that is affine in the input, and all that the score has of it.

    Args:
        nodes: Those of the model, in order.
        x: The input.
        score: What is explained.

    Returns:
        A tensor of the input's dtype with at most six times as many numbers, behind a convolution
        or a product; None where there is none, or sizes (but the batch) are not known.
    """
    kind, room = dtype_of(x), _size(x)
    if kind not in (np.float32, np.float64) or not room:
        return None
    way = needed(list(nodes), [score])
    users = Counter(id(t) for node in way for t in _values(node))
    moved, open_, last, worth = {id(x): x}, {id(x)}, None, False
    for node in way:
        read = [t for t in _values(node) if id(t) in moved]
        if not read:
            continue
        if not _is_affine(node, read):
            break  # what comes behind is made of it
        worth |= has(node, *_WORTH)
        users.subtract(id(t) for t in read)
        open_ -= {id(t) for t in read if not users[id(t)]}
        moved |= {id(t): t for t in node.outputs}
        open_ |= {id(t) for t in node.outputs if users[id(t)]}
        (only,) = open_ if len(open_) == 1 else (None,)
        tensor = None if only is None else moved[only]
        if tensor is not None and worth and dtype_of(tensor) == kind:
            last = tensor if 0 < _size(tensor) <= _LARGEST * room else last
    return last


def _values(node: ir.Node) -> list[Tensor]:
    """Return the tensors whose numbers a node reads."""
    return [] if has(node, Trait.READS_SHAPE) else [*node.inputs, *captures(node)]


def _is_affine(node: ir.Node, moved: Sequence[Tensor]) -> bool:
    """Tell whether a node is affine in those of its inputs that the model's input moves."""
    if node.op == "Cast" and not node.domain:
        return dtype_of(node.outputs[0]) == dtype_of(node.inputs[0])
    if not has(node, Trait.LINEAR) or node.domain or node.attrs.get("training_mode"):
        return False
    several = node.op in ("Sum", "Sub", "Add", "Concat", *_BILINEAR)
    data = data_inputs(node, node.inputs) if several else node.inputs[:1]
    allowed = {id(t) for t in data}
    if node.op in _BILINEAR and len(moved) > 1:
        return False
    return all(id(t) in allowed for t in moved)


def _size(tensor: Tensor) -> int:
    """Return how many numbers of one input a tensor has, 0 where that is not known."""
    shape = shape_of(tensor) or ()
    known = [d for d in shape[1:] if isinstance(d, int)]
    return prod(known) if len(known) == len(shape) - 1 else 0


def halves(draft: Draft, place: Place, at: Tensor, slope: Tensor) -> Halves | None:
    """Return a model cut in two; None where it does not come apart.

    So where the second half has more of the input than the tensor, or its gradient is the same
    everywhere.

    Args:
        draft: The model, which must be finished already.
        place: Its input.
        at: Where the first stretch ends.
        slope: The gradient there.
    """
    op, x = draft.op, place.tensor
    cotangent = draft.input(COTANGENT, dtype_of(at), shape_of(at))
    (back,) = vjp(op, [(at, cotangent)], [x])
    if back is None:
        return None
    draft.output(op.cast(place.gradient(op, back), np.float32), GRADIENT)
    draft.output(op.cast(slope, np.float32), SLOPES)
    whole = draft.finish()
    if SLOPES not in _moved(whole, at.name):
        return None  # all of the model is affine
    told = _inputs(whole) & {TARGET, HELD}
    found = Halves(
        at.name, tail(whole, COTANGENT, GRADIENT, [x.name]), tail(whole, at.name, SLOPES, told)
    )
    behind = set(found.inputs) - {x.name}
    fed = x.name in found.behind.inputs or not behind.isdisjoint(_moved(whole, x.name))
    return None if fed else found


def _inputs(model: Model) -> set[str]:
    """Return the names of all inputs, also of those that need not be fed."""
    return {port.name for port in model.light.graph.input}


def _moved(model: Model, source: str) -> set[str]:
    """Return the names of all tensors whose numbers depend on an input's."""
    found = {source}
    for node in Draft(model).graph.nodes:
        if not found.isdisjoint(t.name for t in _values(node)):
            found.update(t.name for t in node.outputs if t.name)
    return found


def shown(whole: Model, names: Collection[str]) -> Model:
    """Return a model with more of its tensors as outputs, but for its inputs."""
    draft, fed = Draft(whole), _inputs(whole)
    for name in names:
        if name not in fed:
            draft.output(draft.tensor(name))
    return draft.finish()
