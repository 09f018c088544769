"""The sanity check: a map of a model whose weights are noise must be another map."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper

from onnxcam.errors import ModelError, UsageError
from onnxcam.metrics.agreement import rank_agreement
from onnxcam.metrics.registry import Array, metric
from onnxcam.metrics.sample import Explained, finite
from onnxcam.model.model import load

_CITE = "Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018"


@metric("randomisation", kind="sanity", better="lower", cite=_CITE)
def randomisation(explanation: Explained, randomised: Iterable[Array]) -> float:
    """Mean over randomised models r of |Spearman's rank correlation of M and M_r|, 0 to 1.

    A method whose map stays when the weights are noise shows the picture, not the model. The sign
    is left out, as in the paper: a map turned round shows the same places. A map that is constant
    says nothing of the old one, and counts as 0.

    Args:
        explanation: Of the model as it is.
        randomised: Maps of the same input and class by randomised models, see :func:`randomised`.

    Raises:
        UsageError: There are no maps, or they are of another shape.
        InputError: A map is not finite.
    """
    map = finite(explanation)
    found = [np.nan_to_num(abs(rank_agreement([map, each])[0, 1])) for each in randomised]
    if not found:
        raise UsageError("there are no maps of randomised models", "give some as `randomised`")
    return float(np.mean(found))


def randomised(
    model: Any,
    *,
    mode: Literal["cascading", "independent"] = "cascading",
    most: int = 8,
    seed: int = 0,
) -> Iterator[tuple[str, ModelProto]]:
    """Yield the model with the weights of its layers shuffled, from the output to the input.

    Shuffled, a tensor keeps its values, and with them its range, dtype and scale: quantised models
    stay valid, and activations do not explode.

    Args:
        model: Path, bytes or proto of an ONNX model.
        mode: "cascading" shuffles every layer down to the one that is named, "independent" that
            layer alone.
        most: How many models there are at most: layers evenly spread; the last is next to the
            input.
        seed: Of the shuffling.

    Yields:
        The name of the node down to which (or which alone) weights are shuffled, and the model.

    Raises:
        UsageError: There is no such mode.
        ModelError: No node has weights.
    """
    if mode not in ("cascading", "independent"):
        raise UsageError(f"no mode {mode!r}", "choose cascading or independent")
    proto = load(model).proto
    layers = list(reversed(list(_layers(proto))))
    if not layers:
        raise ModelError("no node has weights that could be shuffled", "its maps have no check")
    chosen = np.unique(np.linspace(0, len(layers) - 1, min(most, len(layers))).round().astype(int))
    for last in chosen:
        first = 0 if mode == "cascading" else last
        names = {name for _, tensors in layers[first : last + 1] for name in tensors}
        yield layers[last][0], _shuffled(proto, names, seed)


def maps_of_randomised(
    model: Any, explain: Callable[[ModelProto], Array], **options: Any
) -> dict[str, Array]:
    """Return the maps of randomised models by the layer down to which these are.

    Args:
        model: Path, bytes or proto of an ONNX model.
        explain: Model -> the map of the input and class in question, such as
            ``lambda m: Explainer(m, "gradcam", preprocess=spec)(x, target=k).map``.
        options: Of :func:`randomised`.
    """
    return {name: explain(made) for name, made in randomised(model, **options)}


def _layers(proto: ModelProto) -> Iterator[tuple[str, list[str]]]:
    """Yield every node with a weight of two or more axes, and the names of its tensors."""
    sizes = {t.name: len(t.dims) for t in proto.graph.initializer}
    seen: set[str] = set()
    for node in proto.graph.node:
        held = [name for name in node.input if name in sizes and name not in seen]
        if any(sizes[name] >= 2 for name in held):
            seen.update(held)
            yield node.name or node.output[0], held


def _shuffled(proto: ModelProto, names: set[str], seed: int) -> ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    for tensor in made.graph.initializer:
        if tensor.name in names and tensor.data_type != onnx.TensorProto.STRING:
            values = numpy_helper.to_array(tensor)
            rng = np.random.default_rng([seed, *tensor.name.encode()])  # whatever else is shuffled
            mixed = rng.permutation(values.ravel()).reshape(values.shape)
            tensor.CopyFrom(numpy_helper.from_array(mixed, tensor.name))
    return made
