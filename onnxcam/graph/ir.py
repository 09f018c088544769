"""The graph in memory as the rooms above know it: onnx-graphsurgeon's nodes and tensors."""

from onnx_graphsurgeon import Constant, Graph, Node, Variable

__all__ = ["Constant", "Graph", "Node", "Variable"]
