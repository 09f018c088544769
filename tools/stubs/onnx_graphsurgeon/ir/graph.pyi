from collections.abc import Sequence
from typing import Any

from onnx_graphsurgeon.ir.node import Node
from onnx_graphsurgeon.ir.tensor import Tensor

class Graph:
    """A graph, or the body of a control operator."""

    name: str
    nodes: list[Node]
    inputs: list[Tensor]
    outputs: list[Tensor]
    opset: int
    import_domains: Any
    def __init__(
        self,
        nodes: Sequence[Node] | None = None,
        inputs: Sequence[Tensor] | None = None,
        outputs: Sequence[Tensor] | None = None,
        name: str | None = None,
        opset: int | None = None,
        import_domains: Any = None,
    ) -> None: ...
    def tensors(self, check_duplicates: bool = False) -> dict[str, Tensor]: ...
    def toposort(self) -> Graph: ...
    def cleanup(self) -> Graph: ...
