"""What onnxcam uses of onnx-graphsurgeon, which ships no types."""

from onnx import ModelProto
from onnx_graphsurgeon.ir.graph import Graph as Graph
from onnx_graphsurgeon.ir.node import Node as Node
from onnx_graphsurgeon.ir.tensor import Constant as Constant
from onnx_graphsurgeon.ir.tensor import Tensor as Tensor
from onnx_graphsurgeon.ir.tensor import Variable as Variable

def import_onnx(onnx_model: ModelProto) -> Graph: ...
