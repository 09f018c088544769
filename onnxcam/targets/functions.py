"""Targets that a caller writes: a Python function over the tensors of the graph."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from onnxcam.errors import OnnxcamError, UsageError
from onnxcam.graph.emit import Dim, Emitter, Tensor, dtype_of, is_float, is_tensor, shape_of
from onnxcam.targets.target import Outputs, Target

_EMITTER = "op"  # the name of the first parameter of a function that writes nodes itself


@dataclass(frozen=True)
class Function(Target):
    """What a function makes of the reduction layer, or of other tensors.

    Args:
        function: ``function(y)`` -> one number for each input, float [N], by the Python array API
            standard: ``y`` is the reduction layer's tensor, with the axes that the model gives
            it, ``y.__array_namespace__()`` holds the functions (NumPy's are taken where the
            standard has them), and operators and parts go as ever: ``lambda y: y[:, 208]``,
            ``lambda y: y[:, 3] - y[:, 5:9].max(axis=1)``. A function whose first parameter is
            called ``op`` writes nodes by itself instead: ``op.Name(...)`` is the standard ONNX
            operator of that name, ``lambda op, y: op.ReduceMax(y, axes=[1], keepdims=0)``.
        of: Names of the tensors that it is a function of, one a parameter: outputs, or between;
            None for the reduction layer.

    Raises:
        UsageError: It is no function.
    """

    function: Callable[..., Any] | None = None
    of: tuple[str, ...] | None = None
    of_class: ClassVar[bool] = False

    def __init__(self, function: Callable[..., Any], of: Sequence[str] | None = None) -> None:
        if not callable(function):
            raise UsageError(f"{type(function).__name__} is no function", "give one of a tensor")
        named = [of] if isinstance(of, str) else of
        object.__setattr__(self, "cls", None)
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "of", None if named is None else tuple(named))

    @property
    def quantity(self) -> str:
        """What it is, in words."""
        name = getattr(self.function, "__name__", "of the scores").strip("<>")
        return f"function {name}"

    @property
    def key(self) -> str | None:
        """Nothing: nobody knows when a function changes."""
        return None

    def emit(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor:
        """f(y).

        Raises:
            UsageError: The function cannot be written into a graph, or does not return one number
                for each input.
        """
        assert self.function is not None
        tensors = self._tensors(outputs)
        if writes_nodes(self.function):
            value = _written(self.function(op, *tensors))
        else:
            value = _traced(self.function, op, tensors)
        return _row(op, value, outputs)

    def _tensors(self, outputs: Outputs) -> list[Tensor]:
        if self.of is None:
            return [outputs.tensor]
        if outputs.named is None:
            raise UsageError(
                "a function of named tensors is computed at the model's own precision",
                "leave `fp16_safe` out",
            )
        return [outputs.named(name) for name in self.of]


def writes_nodes(function: Callable[..., Any]) -> bool:
    """Tell whether a function takes an emitter first."""
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a builtin says nothing
        return False
    return names[:1] == [_EMITTER]


def _written(value: Any) -> Tensor:
    if not is_tensor(value):
        raise UsageError(
            f"the target's function returned {type(value).__name__}, not a tensor",
            "return what op.Name(...) returned, such as op.ReduceSum(y, axes=[1], keepdims=0)",
        )
    tensor: Tensor = value
    return tensor


def _traced(function: Callable[..., Any], op: Emitter, tensors: Sequence[Tensor]) -> Tensor:
    """Return what a function of arrays writes.

    Raises:
        UsageError: It cannot be traced, fails, or returns no array.
    """
    from onnxcam.targets.traced import Namespace, TracedArray  # few ask for it

    space = Namespace(op)
    given = [space.wrap(tensor) for tensor in tensors]
    try:
        value = function(*given)
    except OnnxcamError:
        raise
    except Exception as error:  # a caller's code, or ONNX's inference of what it wrote
        listed = ", ".join(map(repr, given))
        raise UsageError(
            f"the target's function cannot be traced: {type(error).__name__}: {error}; it was "
            f"called with {listed}",
            "write it with the array API's functions, y.__array_namespace__(); a parameter for "
            "each tensor, whose names `Function(f, of=[...])` gives",
        ) from error
    if not isinstance(value, TracedArray):
        raise UsageError(
            f"the target's function returned {type(value).__name__}, not an array",
            "return one number for each input, such as y[:, 208] or y.sum(axis=1)",
        )
    return value.tensor


def _row(op: Emitter, value: Tensor, outputs: Outputs) -> Tensor:
    """Return a value as one number for each input; that of a model without a batch has no axes.

    Raises:
        UsageError: It has other axes, or holds no reals.
    """
    shape, batch = shape_of(value), (shape_of(outputs.scores) or (None,))[0]
    if shape == () and outputs.reduction.batch_axis is None:
        value, shape = op.Unsqueeze(value, axes=[0]), (1,)
    if not is_float(value):
        raise UsageError(
            f"the target's function is of {dtype_of(value)}, which has no gradient",
            "return reals: a comparison has none, a product with one has",
        )
    fits = shape is None or (len(shape) == 1 and _may_be(shape[0], batch))
    if not fits:
        raise UsageError(
            f"the target's function has the shape {list(shape or ())}: it must be one number "
            f"for each input, [{batch or 'N'}]; it was given {_shapes(outputs)}",
            "take a part, as y[:, 208], or reduce the other axes, as y.sum(axis=1)",
        )
    return value


def _may_be(size: Dim, batch: Dim) -> bool:
    """Tell whether a size may be that of the batch; a run says whether it is."""
    if isinstance(size, int):
        return size == (batch if isinstance(batch, int) else 1)
    return True


def _shapes(outputs: Outputs) -> str:
    return f"{outputs.reduction.name!r} {list(shape_of(outputs.tensor) or ())}"
