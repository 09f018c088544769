"""The map of a graph method as one output: for methods that put many of them together."""

from __future__ import annotations

from onnxcam.compose.plan import MapPlan
from onnxcam.compose.quantities import Quantities
from onnxcam.compose.slopes import Slopes
from onnxcam.graph.emit import Tensor
from onnxcam.model.draft import Draft
from onnxcam.names import RELIEF, SIGNED


def mapped(draft: Draft, slopes: Slopes, planned: MapPlan, index: Tensor) -> Tensor:
    """Return a map before rectification and what it is made of, float32 [N, 1 + C, *space].

    Args:
        draft: The model.
        slopes: Its scores and gradients; its plan exposes ``onnxcam.relief``.
        planned: The map; C is 0 where it has no relief.
        index: The class of each input, int64 [N].

    Raises:
        UsageError: The map cannot be made there.
        UnsupportedOp: No gradient between the two.
    """
    quantities = Quantities(draft, slopes, planned)
    quantities.want()
    found = quantities.explained(draft.op, index)
    whole = draft.op.Unsqueeze(found[SIGNED], axes=[1])
    relief = found.get(RELIEF)
    return whole if relief is None else draft.op.Concat(whole, relief, axis=1)
