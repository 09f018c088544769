"""Targets that a caller writes: a Python function over the tensors of the graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from onnxcam.errors import UsageError
from onnxcam.graph.emit import Emitter, Tensor, is_tensor
from onnxcam.targets.target import Outputs, Target


@dataclass(frozen=True)
class Function(Target):
    """What a function makes of the reduction layer.

    Attributes:
        function: ``function(op, y)`` -> one number for each input, float [N]. ``y`` is the
            reduction layer's tensor; ``op.Name(...)`` writes the standard ONNX operator of that
            name: ``lambda op, y: op.ReduceMax(y, axes=[1], keepdims=0)``.
    """

    function: Callable[[Emitter, Tensor], Tensor] | None = None
    of_class: ClassVar[bool] = False

    def __init__(self, function: Callable[[Emitter, Tensor], Tensor]) -> None:
        object.__setattr__(self, "cls", None)
        object.__setattr__(self, "function", function)

    @property
    def quantity(self) -> str:
        """What it is, in words."""
        return f"function {getattr(self.function, '__name__', 'of the scores').strip('<>')}"

    @property
    def key(self) -> str | None:
        """Nothing: nobody knows when a function changes."""
        return None

    def emit(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor:
        """f(y).

        Raises:
            UsageError: The function returns something else than a tensor of the graph.
        """
        assert self.function is not None
        value = self.function(op, outputs.tensor)
        if not is_tensor(value):
            raise UsageError(
                f"the target's function returned {type(value).__name__}, not a tensor",
                "return what op.Name(...) returned, such as op.ReduceSum(y, axes=[1], keepdims=0)",
            )
        return value
