"""What is said of an explainer's input and classes, looked up when it is first asked for."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

from onnxcam.analysis.ports import model_input
from onnxcam.errors import bounded
from onnxcam.inputs import Description, InputSpec, ModelInput
from onnxcam.targets import fitting

if TYPE_CHECKING:
    from onnxcam.analysis.layers import Catalog
    from onnxcam.model.model import Model


class Described:
    """The part of an explainer that says how its input is made.

    Attributes:
        model: The model.
        catalog: Its layers.
    """

    model: Model
    catalog: Catalog
    _fed: str
    _preprocess: str | os.PathLike[str] | InputSpec | None
    _labels: tuple[str, ...] | None

    @property
    def input(self) -> ModelInput:
        """The input that ``x`` is for: maps are laid over it, or over one that a layer is of."""
        return self.description.declared

    @cached_property
    @bounded("the model's input cannot be described")
    def description(self) -> Description:
        """What is said of the input and the classes."""
        model = self.model
        declared = model_input(model, self.catalog, self._fed)
        return Description(declared, model.path, model.metadata, self._preprocess, self._labels)

    @property
    def spec(self) -> InputSpec:
        """How a picture becomes the input tensor.

        Raises:
            NoDescriptionError: Nothing says; the hint shows what to type.
            UsageError: What is said is wrong.
        """
        return self.description.spec

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Names of the classes, None where nothing says as many; those given must be as many."""
        said, given = self.description.labels, self._labels is not None
        return fitting(said, self.catalog.reduction, wanted=given)
