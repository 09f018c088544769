"""MATLAB's functions that change the input and look what becomes of the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onnxcam import methods
from onnxcam.errors import UsageError, bounded
from onnxcam.explain import Explainer
from onnxcam.inputs.description import Labels
from onnxcam.matlab.gradients import Net, Upsampling, explained, last_layer
from onnxcam.matlab.observations import Array
from onnxcam.model.model import load
from onnxcam.run.session import Device
from onnxcam.targets import Detection, Wanted

# What MATLAB calls the parameters of the methods.
_CALLED = {
    "occlusion": {"mask_size": "window", "stride": "stride", "mask_value": "baseline"},
    "lime": {"num_features": "regions", "num_samples": "samples"},
    "d-rise": {"num_samples": "masks", "mask_probability": "keep", "mask_resolution": "cells"},
}


@bounded("the model cannot be explained")
def occlusion_sensitivity(
    net: Net,
    X: Any,  # noqa: N803 - MATLAB's name
    target: Wanted | Sequence[Wanted],
    *,
    reduction_layer: str | None = None,
    input_data_formats: str | Sequence[str] | None = None,
    output_upsampling: Upsampling = "bicubic",
    execution_environment: Device = "auto",
    labels: Labels = None,
    seed: int = 0,
    **parameters: Any,
) -> Array:
    """Return how much of a score is lost where part of the input is hidden, as MATLAB's function.

    Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014.

    Args:
        net: Path, bytes or proto of an ONNX model.
        X: The observation, as of :func:`onnxcam.matlab.grad_cam`.
        target: Class index from 0 or label, or a list of them (the map has a last axis then).
        reduction_layer: Name of the tensor with the scores; None takes the last layer.
        input_data_formats: What each axis of ``X`` is.
        output_upsampling: How the map comes to the size of ``X``.
        execution_environment: "auto", "gpu" or "cpu".
        labels: Names of the classes, or a file with them.
        seed: Of random numbers.
        parameters: ``mask_size`` and ``stride`` in samples (below 1 a part of the extent), one
            number or one for each axis, ``mask_value``, ``mask_clipping`` (True: windows have
            their centres inside), or as the method ``occlusion`` calls them, see
            ``onnxcam methods``.

    Returns:
        The map, float32 [h, w], [h, w, d] or [1, t]: high where hiding lowers the score.

    Raises:
        OnnxcamError: As of :func:`onnxcam.matlab.grad_cam`.
    """
    how = (reduction_layer, output_upsampling, execution_environment, labels, seed)
    clipped = parameters.pop("mask_clipping", True)
    parameters = {"edges": "centred" if clipped else "inside", **parameters}
    return _map("occlusion", net, X, target, input_data_formats, how, parameters)


@bounded("the model cannot be explained")
def image_lime(
    net: Net,
    X: Any,  # noqa: N803 - MATLAB's name
    target: Wanted | Sequence[Wanted],
    *,
    reduction_layer: str | None = None,
    input_data_formats: str | Sequence[str] | None = None,
    output_upsampling: Upsampling = "nearest",
    execution_environment: Device = "auto",
    labels: Labels = None,
    seed: int = 0,
    **parameters: Any,
) -> Array:
    """Return what each segment of the input adds to a score in a simple model, as ``imageLIME``.

    Ribeiro, Singh and Guestrin, "Why Should I Trust You?", KDD 2016.

    Args:
        net: Path, bytes or proto of an ONNX model.
        X: The observation, as of :func:`onnxcam.matlab.grad_cam`.
        target: Class index from 0 or label, or a list of them (the map has a last axis then).
        reduction_layer: Name of the tensor with the scores; None takes the last layer.
        input_data_formats: What each axis of ``X`` is.
        output_upsampling: How the map comes to the size of ``X``.
        execution_environment: "auto", "gpu" or "cpu".
        labels: Names of the classes, or a file with them.
        seed: Of random numbers.
        parameters: ``num_features``, ``num_samples``, or as the method ``lime`` calls them, see
            ``onnxcam methods``.

    Returns:
        The map, float32 [h, w].

    Raises:
        OnnxcamError: As of :func:`onnxcam.matlab.grad_cam`.
    """
    how = (reduction_layer, output_upsampling, execution_environment, labels, seed)
    return _map("lime", net, X, target, input_data_formats, how, parameters)


@bounded("the model cannot be explained")
def d_rise(
    net: Net,
    X: Any,  # noqa: N803 - MATLAB's name
    target: Wanted | Sequence[Wanted] = None,
    *,
    reduction_layer: str | None = None,
    input_data_formats: str | Sequence[str] | None = None,
    output_upsampling: Upsampling = "bicubic",
    execution_environment: Device = "auto",
    labels: Labels = None,
    seed: int = 0,
    **parameters: Any,
) -> Array:
    """Return what parts of the input a detection needs, by random masks, as MATLAB's ``drise``.

    Petsiuk et al., Black-box Explanation of Object Detectors via Saliency Maps, CVPR 2021: the
    method ``d-rise``.

    Args:
        net: Path, bytes or proto of a detector.
        X: The observation, as of :func:`onnxcam.matlab.grad_cam`.
        target: What is detected: a class or label, or a target of :mod:`onnxcam.targets`; None
            for the surest detection.
        reduction_layer: Name of the tensor with the scores; None takes the detector's.
        input_data_formats: What each axis of ``X`` is.
        output_upsampling: How the map comes to the size of ``X``.
        execution_environment: "auto", "gpu" or "cpu".
        labels: Names of the classes, or a file with them.
        seed: Of random numbers.
        parameters: ``num_samples``, ``mask_probability``, ``mask_resolution``, or as the method
            calls them, see ``onnxcam methods``.

    Returns:
        The map, float32 [h, w].

    Raises:
        OnnxcamError: As of :func:`onnxcam.matlab.grad_cam`.
    """
    how = (reduction_layer, output_upsampling, execution_environment, labels, seed)
    wanted = Detection() if target is None else target
    return _map("d-rise", net, X, wanted, input_data_formats, how, parameters, scores=True)


def _map(
    name: str,
    net: Net,
    x: Any,
    target: Wanted | Sequence[Wanted],
    formats: str | Sequence[str] | None,
    how: tuple[str | None, Upsampling, Device, Labels, int],
    parameters: Mapping[str, Any],
    *,
    scores: bool = False,
) -> Array:
    """Return the map of a method by its name.

    Args:
        name: The method.
        net: The model.
        x: The observation.
        target: What is explained.
        formats: What each axis of it is.
        how: Reduction layer, upsampling, device, labels, seed.
        parameters: Of the method.
        scores: Whether the reduction layer is the Explainer's default, not the last layer.
    """
    if name not in methods.names():
        raise UsageError(
            f"there is no method {name!r} in this version",
            f"use `grad_cam`, or one of {', '.join(methods.names('sampling'))} with "
            "`onnxcam.Explainer`",
        )
    reduction, upsampling, device, labels, seed = how
    model = load(net)
    explainer = Explainer(
        model,
        name,
        reduction_layer=reduction or (None if scores else last_layer(model)),
        upsampling=upsampling,
        device=device,
        labels=labels,
        seed=seed,
        parameters=_named(name, parameters),
    )
    return explained(explainer, x, target, formats)[0]


def _named(method: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as the method calls them; it says which it has not."""
    called = _CALLED.get(method, {})
    return {called.get(name, name): value for name, value in parameters.items()}
