"""``grad_cam``: MATLAB's ``gradCAM``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from onnx import ModelProto

from onnxcam.analysis.layers import Asked, catalog
from onnxcam.errors import bounded
from onnxcam.explain import Explainer
from onnxcam.inputs.description import Labels
from onnxcam.matlab.observations import Array, observed
from onnxcam.model.model import Model, load
from onnxcam.run.session import Device
from onnxcam.targets import Function, Target, Wanted, is_several
from onnxcam.targets.functions import writes_nodes

Net: TypeAlias = "str | os.PathLike[str] | bytes | ModelProto | Model"
Upsampling: TypeAlias = Literal["bicubic", "nearest", "none"]


@bounded("the model cannot be explained")
def grad_cam(
    net: Net,
    X: Any,  # noqa: N803 - MATLAB's name
    target: Wanted | Sequence[Wanted],
    *,
    feature_layer: str | None = None,
    reduction_layer: str | None = None,
    input_data_formats: str | Sequence[str] | None = None,
    output_upsampling: Upsampling = "bicubic",
    execution_environment: Device = "auto",
    labels: Labels = None,
) -> tuple[Array, str, str]:
    """Return the Grad-CAM map of one observation, as MATLAB's ``gradCAM`` does.

    Selvaraju et al., Grad-CAM, ICCV 2017, equations 1 and 2; the weights are the means of the
    gradients. The map is what comes out of the ReLU: it is not scaled.

    Args:
        net: Path, bytes or proto of an ONNX model.
        X: The observation: a picture [h, w, c] (or [h, w]), a volume [h, w, d, c], a sequence
            [c, t]; other orders with ``input_data_formats``. The axes of space stay in their
            order. Reals are taken as the model takes them; uint8 pixels are scaled as what
            describes the model's input says (as MATLAB's input layer does), and not resized.
        target: What is explained: a class index from 0 (MATLAB counts from 1), a label; a
            function of the reduction layer's tensor, which has its batch axis first, by the array
            API standard: ``lambda y: y[:, 208]`` or ``lambda y: y[0, 208]``; a target of
            :mod:`onnxcam.targets`. Of a list of these the map has a last axis.
        feature_layer: Name of the tensor that the map is made of; None takes the default.
        reduction_layer: Name of the tensor with the scores. None takes the last layer, as MATLAB
            does: of a classifier the probabilities behind its softmax. (:class:`onnxcam.Explainer`
            takes the logits, as the paper does.)
        input_data_formats: What each axis of ``X`` is: "S" space, "T" time, "C" channels, "B"
            batch (of 1), such as "SSC", "CT", "BTC".
        output_upsampling: How the map comes to the size of ``X``; "none" leaves it at that of the
            feature layer.
        execution_environment: "auto", "gpu" or "cpu".
        labels: Names of the classes, or a file with them.

    Returns:
        ``(score_map, feature_layer, reduction_layer)``: the map, float32 [h, w], [h, w, d] or
        [1, t], with a last axis for a list of targets; the names of the two layers.

    Raises:
        InputError: ``X`` does not fit the model's input.
        UsageError: A name is unknown, or the function cannot be traced or is not scalar.
        OnnxcamError: As of :class:`onnxcam.Explainer`.
    """
    model = load(net)
    explainer = Explainer(
        model,
        feature_layer=feature_layer,
        reduction_layer=reduction_layer or last_layer(model),
        upsampling=output_upsampling,
        device=execution_environment,
        labels=labels,
    )
    return explained(explainer, X, target, input_data_formats)


def last_layer(model: Model) -> str:
    """Return the name of the output with the scores; the scores where that holds no reals."""
    reduction = catalog(model, Asked()).reduction
    port = next((p for p in model.outputs if p.name == reduction.output), None)
    real = port is not None and port.dtype is not None and port.dtype.kind == "f"
    return reduction.output if real and port is not None and port.shape else reduction.name


def explained(
    explainer: Explainer[Any],
    x: Any,
    target: Wanted | Sequence[Wanted],
    formats: str | Sequence[str] | None,
) -> tuple[Array, str, str]:
    """Return the map of an observation, and the names of the layers."""
    observation = observed(explainer, x, formats)  # type: ignore[arg-type]
    several = is_several(target)
    each: list[Any] = [*target] if several else [target]  # type: ignore[misc]
    found = explainer(observation.tensor, [_scalar(t) for t in each])
    maps = [observation.laid(e.map) for e in found]
    first = found[0]
    whole = np.stack(maps, -1) if several else maps[0]
    return whole, first.feature_layer, first.reduction_layer


def _scalar(target: Any) -> Wanted:
    """Return a target; a function may return one number, for there is one observation."""
    if isinstance(target, Function):
        return Function(_of_one(target.function), target.of) if target.function else target
    if callable(target) and not isinstance(target, Target):
        return Function(_of_one(target))
    wanted: Wanted = target
    return wanted


def _of_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose single number is one for each of the inputs, which are one."""
    if writes_nodes(function):
        return function

    def scalar(*tensors: Any) -> Any:
        value = function(*tensors)
        plain = getattr(value, "ndim", None) == 0 and hasattr(value, "__array_namespace__")
        return value[None] if plain else value

    scalar.__name__ = getattr(function, "__name__", "scalar")
    return scalar
