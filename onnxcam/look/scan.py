"""Pictures run once: a layer, and the gradient of a class there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from onnxcam.compose import explain_graph
from onnxcam.errors import UsageError
from onnxcam.explain import Explainer
from onnxcam.inputs import Prepared
from onnxcam.methods import graph
from onnxcam.names import FEATURE, GRADIENT, TARGET
from onnxcam.run.feeds import Feeds
from onnxcam.run.session import Session
from onnxcam.targets import TOP

Array: TypeAlias = np.ndarray[Any, Any]


class Scan:
    """Runs a picture once: a layer and the gradient of a class there.

    Args:
        explain: Knows the model, the layer and how a picture becomes an input.

    Attributes:
        layer: Name of the layer.

    Raises:
        UsageError: Its channels are not in one axis.
    """

    def __init__(self, explain: Explainer[Any]) -> None:
        (planned,) = explain.maps
        self._explain, feature = explain, planned.feature
        self.layer, layout = feature.name, feature.layout
        if layout is None or layout.channel is None:
            raise UsageError(
                f"{self.layer!r} has no channels in an axis of its own",
                "choose another `feature_layer`",
            )
        self._channel, self._batch = layout.channel, layout.batch or 0
        made = explain_graph(
            explain.model, explain.catalog, graph("hirescam"), feature=feature,
            expose=("feature", "gradient"),
        )  # fmt: skip
        self._session = Session(made.model, device="cpu")

    def __call__(self, path: Path, target: int = TOP) -> tuple[Array, Array]:
        """Return the layer and the gradient there, float64 [C, positions] each.

        Args:
            path: The picture.
            target: Index of the class; -1 for the picture's own top class.

        Raises:
            OnnxcamError: It cannot be read or run.
        """
        explain = self._explain
        prepared = explain.description.prepare(path)
        others, _ = Feeds(explain.model, explain.catalog, explain.catalog.input).of([prepared])
        feeds = {explain.catalog.input: prepared.tensor, TARGET: np.array([target]), **others}
        features, slopes = self._session.run(feeds, [FEATURE, GRADIENT])
        return self._channels(features), self._channels(slopes[:, 0])

    def features(self, prepared: Prepared, tensor: Array) -> Array:
        """Return the layer of another input than a prepared one, float64 [C, positions].

        Args:
            prepared: What the model's other inputs are made of.
            tensor: The input in the model's axes, with a batch of 1.

        Raises:
            OnnxcamError: It cannot be run.
        """
        explain = self._explain
        others, _ = Feeds(explain.model, explain.catalog, explain.catalog.input).of([prepared])
        feeds = {explain.catalog.input: tensor, TARGET: np.array([TOP]), **others}
        return self._channels(self._session.run(feeds, [FEATURE])[0])

    def _channels(self, values: Array) -> Array:
        first = np.moveaxis(values, (self._batch, self._channel), (0, 1))[0]
        return np.asarray(first.reshape(len(first), -1), np.float64)
