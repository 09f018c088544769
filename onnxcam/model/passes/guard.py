"""What would end the process in onnx's native code is refused before it gets there."""

from __future__ import annotations

import onnx.shape_inference
from onnx import ModelProto

from onnxcam.errors import ModelError
from onnxcam.graph import quirks
from onnxcam.graph.emit import proto_shape
from onnxcam.graph.emit.walks import STANDARD_DOMAINS, every_graph, every_node, hide
from onnxcam.model.passes.inference import inferred

_HIDDEN = "onnxcam.guard"


@quirks.works_around(quirks.NEGATIVE_SLICE)
def refuse_negative(proto: ModelProto, name: str) -> None:
    """Refuse a model that slices a tensor of a size below zero.

    What only lies behind another Slice is not seen: the shell's watch is there for that.

    Args:
        proto: The model.
        name: What to call it in messages.

    Raises:
        ModelError: There is such a Slice.
    """
    if not any(
        n.op_type == "Slice" and n.domain in STANDARD_DOMAINS for n in every_node(proto.graph)
    ):
        return
    hidden = ModelProto()
    hidden.CopyFrom(proto)
    slices = [n for n in every_node(hidden.graph) if n.op_type == "Slice"]
    read = {node.input[0] for node in slices}
    hide(hidden, slices, _HIDDEN)
    try:
        found = inferred(hidden)
    except onnx.shape_inference.InferenceError:
        return  # it stops there without the Slices, and so it does with them
    for graph in every_graph(found.graph):
        for info in (*graph.value_info, *graph.output):
            sizes = [d for d in proto_shape(info.type) or () if isinstance(d, int) and d < 0]
            if sizes and info.name in read:
                raise ModelError(
                    f"{name}: its sizes leave {sizes[0]} elements along an axis of {info.name!r}",
                    "look at the kernels and pads before it, or export the model again",
                )
