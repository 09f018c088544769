"""The input of a model that maps are laid over."""

from __future__ import annotations

from onnxcam.analysis.layers import Catalog
from onnxcam.analysis.layout import known
from onnxcam.errors import ModelError
from onnxcam.inputs import ModelInput
from onnxcam.model.model import Model


def model_input(model: Model, catalog: Catalog, name: str | None = None) -> ModelInput:
    """Return an input, as the preprocessing wants it described.

    Args:
        model: The model.
        catalog: Its layers.
        name: The input; None for the one that maps are laid over.

    Raises:
        ModelError: It is no tensor with axes.
    """
    port = next(p for p in model.inputs if p.name == (name or catalog.input))
    if port.shape is None or port.dtype is None or not port.shape:
        raise ModelError(
            f"the input {port.name!r} is no tensor with axes", "name another `reduction_layer`"
        )
    own = port.name == catalog.input
    layout = catalog.input_layout if own else known(model).layouts.get(port.name)
    axes = layout.axes if layout is not None and "?" not in layout.axes else None
    return ModelInput(port.name, port.shape, port.dtype, axes)
