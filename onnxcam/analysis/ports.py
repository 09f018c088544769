"""The input of a model that maps are laid over."""

from __future__ import annotations

from onnxcam.analysis.layers import Catalog
from onnxcam.errors import ModelError
from onnxcam.inputs import ModelInput
from onnxcam.model.model import Model


def model_input(model: Model, catalog: Catalog) -> ModelInput:
    """Return the input that maps are laid over, as the preprocessing wants it described.

    Raises:
        ModelError: It is no tensor with axes.
    """
    port = next(p for p in model.inputs if p.name == catalog.input)
    if port.shape is None or port.dtype is None or not port.shape:
        raise ModelError(
            f"the input {port.name!r} is no tensor with axes", "name another `reduction_layer`"
        )
    layout = catalog.input_layout
    axes = layout.axes if layout is not None and "?" not in layout.axes else None
    unfolded = None if layout is None else layout.unfolded(port.shape)
    return ModelInput(port.name, port.shape, port.dtype, axes, unfolded)
