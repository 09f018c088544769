"""Maps of several feature layers as one: the scales of a detector, stages of a backbone.

Every map is made at its own layer, rectified where its method rectifies, brought to the size of the
input (linearly) and then

- ``sum``: added up as it is, where the maps of a method are of one unit at every layer: shares of
  the score (HiResCAM, Layer-CAM);
- ``mean``: divided by its own largest magnitude and averaged, so that every layer counts alike;
- ``max``: divided by its own largest magnitude, of which the largest is taken at each position;
- ``product``: the positive part divided by its largest value and multiplied, so that only what
  every layer marks is left: RefineCAM (2026, arXiv:2605.14641; with Grad-CAM++ and early layers).
  pytorch-grad-cam also subtracts the smallest value of each map.

A layer on which the explained score does not depend has a map of zeros and adds nothing (to a
product it leaves nothing).
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

from onnxcam.compose.laid import Edges
from onnxcam.compose.plan import MapPlan
from onnxcam.compose.quantities import Quantities
from onnxcam.compose.resample import resampled
from onnxcam.compose.slopes import Slopes
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods import GraphMethod
from onnxcam.methods.cam.sums import ratio
from onnxcam.model.draft import Draft
from onnxcam.names import GRADIENT, REST, SIGNED, STEEPEST


class Fused(Quantities):
    """The quantities of one map that is made of those of several layers.

    Args:
        draft: The model.
        slopes: Its scores and gradients.
        planned: The map.
    """

    def __init__(self, draft: Draft, slopes: Slopes, planned: MapPlan) -> None:
        super().__init__(draft, slopes, planned)
        each = (replace(planned, feature=f, others=(), fuse="") for f in planned.layers)
        self._parts = [Quantities(draft, slopes, one) for one in each]
        self.places = [place for part in self._parts for place in part.places]

    def replace(self, twins: dict[int, Tensor]) -> None:
        """Take the twins of the places' tensors, by the ids of these."""
        for part in self._parts:
            part.replace(twins)
        super().replace(twins)

    def want(self) -> None:
        """Say which gradients the map needs.

        Raises:
            UsageError: The head is not the one that the method needs, or nothing is rectified.
        """
        for part in self._parts:
            part.want()

    def explained(self, op: Emitter, index: Tensor) -> dict[str, Tensor]:
        """Return the fused map of one class, and its gradient in numbers, by names of outputs.

        Args:
            op: Emitter of the graph or of a subgraph.
            index: The class of each input, int64 [N].

        Raises:
            UsageError: The score depends on no layer, or a map cannot be laid over the input.
            UnsupportedOp: No gradient between the two.
        """
        found = [part.explained(op, index) for part in self._parts]
        with op.scope("fused"):
            size = self.input_size()
            pairs = zip(self._parts, found, strict=True)
            maps = [self._large(op, each[SIGNED], size, part.spans(op)) for part, each in pairs]
            steepest = [each[STEEPEST] for each in found]
            result = {SIGNED: self._together(op, maps)}
            if GRADIENT in found[0]:
                result[GRADIENT] = found[0][GRADIENT]
            result[STEEPEST] = op.Max(*steepest)
            left = [each[REST] for each in found if REST in each]
            return {**result, **({REST: op.Max(*left)} if left else {})}

    def spans(self, op: Emitter, method: GraphMethod | None = None) -> list[Edges | None]:
        """Return nothing: a fused map is laid over all of the input."""
        return []

    def _large(
        self,
        op: Emitter,
        signed: Tensor,
        size: list[int | Tensor],
        spans: list[Edges | None],
    ) -> Tensor:
        """Return a map [N, h, w] at the input's size, scaled where maps shall count alike."""
        rectified = self.method.rectify or self.planned.fuse == "product"
        map = op.Relu(signed) if rectified else signed
        large = resampled(op, op.Unsqueeze(map, axes=[1]), size, "linear", spans)
        large = op.Squeeze(large, axes=[1])
        if self.planned.fuse == "sum":
            return large
        space = list(range(1, 1 + self.places[0].rank))
        return ratio(op, large, op.ReduceMax(op.Abs(large), axes=space, keepdims=1))

    def _together(self, op: Emitter, maps: list[Tensor]) -> Tensor:
        if self.planned.fuse == "max":
            high, low = op.Max(*maps), op.Min(*maps)
            return op.Where(op.Less(high, op.Neg(low)), low, high)
        if self.planned.fuse == "product":
            return reduce(op.Mul, maps)
        total = op.Sum(*maps)
        return op.Div(total, float(len(maps))) if self.planned.fuse == "mean" else total
