"""Which maps a caller wants, and which it gets where it names no method or layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnxcam.analysis.layers import Candidate, Catalog
from onnxcam.compose.plan import MapPlan, maps_of
from onnxcam.errors import UsageError
from onnxcam.methods import find

if TYPE_CHECKING:
    from onnxcam.analysis.detectors import Detector

USUAL = "gradcam"
OF_BOXES = "hirescam"  # a box is a place, which a mean gradient does not know: docs/detection.md
FUSED = "sum"


@dataclass(frozen=True)
class Wishes:
    """What a caller says of the maps.

    Attributes:
        method: Name of a method, or several; None for Grad-CAM, of a detector's box HiResCAM.
        feature_layer: Name of a layer, or several; None for the default one, of a detector's box
            those of its scales.
        parameters: Values for parameters of the methods.
        fuse: How maps of several layers become one; None for one of each, of a detector's scales
            their sum.
    """

    method: str | Sequence[str] | None
    feature_layer: str | Sequence[str] | None
    parameters: Mapping[str, Any] | None
    fuse: str | None = None

    @property
    def several(self) -> bool:
        """Whether maps are asked for by their names: several methods, or several layers."""
        layers = not isinstance(self.feature_layer, str | None) and self.fuse is None
        return not isinstance(self.method, str | None) or layers

    def maps(self, catalog: Catalog, detector: Detector | None = None) -> tuple[MapPlan, ...]:
        """Return the maps of a class.

        Args:
            catalog: The layers of the model.
            detector: Where the model says what it finds: its scales are fused where that is asked
                for and no layers are named.

        Raises:
            UsageError: As of :func:`maps_of`; or there is one layer only to fuse.
        """
        layers: Any = self.feature_layer
        if self.fuse is not None and layers is None and detector is not None:
            layers = detector.layers or None
        elif self.fuse is not None and (isinstance(layers, str | None) or len(layers) < 2):
            raise UsageError(
                "`fuse` makes one map of several layers, and there is one",
                "name two or more as `feature_layer`, or leave it out",
            )
        return maps_of(catalog, self._methods(USUAL), layers, self.parameters, self.fuse)

    def of_boxes(self, catalog: Catalog, detector: Detector | None) -> tuple[MapPlan, ...]:
        """Return the maps of a detector's box.

        Raises:
            UsageError: As of :func:`maps_of`.
        """
        methods = self._methods(OF_BOXES)
        records = [find(m) for m in ([methods] if isinstance(methods, str) else methods)]
        layers: Sequence[Candidate] = () if detector is None else detector.layers
        fused = all(m.takes_feature and m.kind == "graph" for m in records)
        if self.feature_layer is not None or not layers or not fused:
            fuse = self.fuse if self.feature_layer is not None else None
            named: Any = self.feature_layer
            if detector is not None and detector.catalogs and named is not None:
                one = isinstance(named, str)
                named = [_of_heads(catalog, detector, n) for n in ([named] if one else named)]
            return maps_of(catalog, methods, named, self.parameters, fuse)
        return maps_of(catalog, methods, layers, self.parameters, self.fuse or FUSED)

    def _methods(self, usual: str) -> str | Sequence[str]:
        return usual if self.method is None else self.method


def _of_heads(catalog: Catalog, detector: Detector, name: str) -> Candidate:
    """Return a layer by its name, on the way to any of a detector's heads.

    Raises:
        UsageError: It lies on none.
    """
    for each in (catalog, *detector.catalogs):
        try:
            return each.find(name)
        except UsageError:
            continue
    return catalog.find(name)  # says why not
