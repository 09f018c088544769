from collections.abc import Sequence
from typing import Any

from onnx_graphsurgeon.ir.graph import Graph
from onnx_graphsurgeon.ir.tensor import Tensor

class Node:
    """One operation; an attribute is a Python value, a `Graph` or a `Constant`."""

    op: str
    name: str
    domain: str | None
    attrs: dict[str, Any]
    inputs: list[Tensor]
    outputs: list[Tensor]
    def __init__(
        self,
        op: str,
        name: str | None = None,
        attrs: dict[str, Any] | None = None,
        inputs: Sequence[Tensor] | None = None,
        outputs: Sequence[Tensor] | None = None,
        domain: str | None = None,
    ) -> None: ...
    def i(self, tensor_idx: int = 0, producer_idx: int = 0) -> Node: ...
    def o(self, consumer_idx: int = 0, tensor_idx: int = 0) -> Node: ...
    @property
    def subgraphs(self) -> list[Graph]: ...
