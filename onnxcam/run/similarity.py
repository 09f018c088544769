"""Why a model finds two inputs alike: BiLRP, relevance of pairs of places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from onnxcam.analysis.layers import catalog
from onnxcam.autodiff.api import differentiated
from onnxcam.autodiff.view import Overrides
from onnxcam.errors import UsageError, bounded
from onnxcam.methods.lrp import lrp_gamma
from onnxcam.model.draft import exposed
from onnxcam.model.model import load
from onnxcam.run.order import Order, one_input
from onnxcam.run.session import Device, Session

Array: TypeAlias = np.ndarray[Any, Any]
_GRADIENT, _SEED = "grad::", "ct::"


@dataclass(frozen=True)
class Similarity:
    """What two inputs have in common for a model.

    Attributes:
        score: The similarity: the scalar product of their embeddings.
        pairs: How much of it each cell of the first has with each of the second, float32
            [*cells, *cells]; they sum up to the score but for what biases keep.
    """

    score: float
    pairs: Array

    @property
    def first(self) -> Array:
        """The share of each cell of the first input, float32 [*cells]."""
        rank = self.pairs.ndim // 2
        found: Array = self.pairs.sum(tuple(range(rank, 2 * rank)))
        return found

    @property
    def second(self) -> Array:
        """The share of each cell of the second input, float32 [*cells]."""
        found: Array = self.pairs.sum(tuple(range(self.pairs.ndim // 2)))
        return found


@bounded("the similarity cannot be explained")
def bilrp(
    model: Any,
    first: Array,
    second: Array,
    *,
    layer: str | None = None,
    cells: int = 7,
    rules: Overrides | None = None,
    device: Device = "auto",
    threads: int | None = None,
) -> Similarity:
    """Share the similarity of two inputs out among pairs of places.

    R_ii' = sum_m R_i(f_m(x)) R_i'(f_m(x')): the relevance of every number f_m of the embedding, as
    LRP shares it out among the places of each input, multiplied (Eberle et al., Building and
    Interpreting Deep Similarity Models, PAMI 2022, equation 11). There is one backward pass a
    number of the embedding and input.

    Args:
        model: Path, bytes or proto of a model.
        first: A ready tensor for its input, with a batch of 1.
        second: Another.
        layer: Name of the tensor with the embeddings [N, M]; None takes the one that holds the
            scores.
        cells: Places of an input that are added up, along each axis of space.
        rules: How relevance is handed on; None for those of lrp-gamma.
        device: Where to run.
        threads: Threads of ONNX Runtime; None lets it decide.

    Raises:
        UsageError: There is no such layer, it holds no embeddings, or the axes of the input are
            not known.
        UnsupportedOp: No rule hands relevance on through an operator.
    """
    loaded = load(model)
    layers = catalog(loaded)
    name = layer or layers.reduction.name
    made = differentiated(loaded, [layers.input], [name], rules or lrp_gamma.composite())
    session = Session(made, device=device, threads=threads)
    layout = layers.input_layout
    order = Order("unknown" if layout is None else layout.axes)
    plain = Session(exposed(loaded, [name]), device=device, threads=threads)
    embeddings, shares = [], []
    for x in (first, second):
        (embedding,) = plain.run({layers.input: one_input(x, layout)}, [name])
        if embedding.ndim != 2 or len(embedding) != 1:
            raise UsageError(
                f"{name!r} holds no embedding [1, M]: its shape is {list(embedding.shape)}",
                "name the `layer` that does, behind all pools",
            )
        embeddings.append(embedding)
        shares.append(_relevance(session, layers.input, name, x, embedding, order, cells))
    score = float(embeddings[0][0].astype(np.float64) @ embeddings[1][0])
    return Similarity(score, np.tensordot(shares[0], shares[1], (0, 0)).astype(np.float32))


def _relevance(
    session: Session,
    source: str,
    layer: str,
    x: Array,
    embedding: Array,
    order: Order,
    cells: int,
) -> Array:
    """Return the share of each cell in each number of an embedding, [M, *cells]."""
    shares = []
    for m in range(embedding.shape[1]):
        seed = np.zeros_like(embedding)
        seed[0, m] = 1
        (slope,) = session.run({source: x, _SEED + layer: seed}, [_GRADIENT + source])
        relevance = order.channels_first(slope.astype(np.float64) * x)[0].sum(0)
        shares.append(_pooled(relevance, cells))
    return np.stack(shares)


def _pooled(values: Array, cells: int) -> Array:
    """Return the sums over as many stretches of each axis; over fewer where it is short."""
    for axis, extent in enumerate(values.shape):
        starts = np.unique(np.linspace(0, extent, min(cells, extent) + 1).astype(int)[:-1])
        values = np.add.reduceat(values, starts, axis)
    return values
