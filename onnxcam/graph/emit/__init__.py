"""The only maker of nodes, and what it knows of tensors.

Python numbers and lists become constants of the dtype that the operator's schema asks for, a
keyword is an attribute or an input as the opset wants it, and every emitted tensor knows its
dtype and, as far as ONNX's shape inference can tell, its shape.
"""

from onnxcam.graph.emit.emitter import Emitter
from onnxcam.graph.emit.protos import (
    graph_proto,
    imported,
    node_proto,
    proto_shape,
    stamp,
    type_proto,
    value_info,
)
from onnxcam.graph.emit.tensors import (
    Dim,
    Tensor,
    Value,
    const_value,
    dtype_of,
    elem_type,
    is_float,
    is_sequence,
    is_small_float,
    is_tensor,
    np_dtype,
    shape_of,
    static_shape,
)

__all__ = [
    "Dim",
    "Emitter",
    "Tensor",
    "Value",
    "const_value",
    "dtype_of",
    "elem_type",
    "graph_proto",
    "imported",
    "is_float",
    "is_sequence",
    "is_small_float",
    "is_tensor",
    "node_proto",
    "np_dtype",
    "proto_shape",
    "shape_of",
    "stamp",
    "static_shape",
    "type_proto",
    "value_info",
]
