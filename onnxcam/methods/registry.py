"""The table of methods. A method is one file in this folder with a decorated function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from onnxcam.autodiff.view import Overrides
from onnxcam.errors import UsageError
from onnxcam.graph.registry import Registry, Source

_FEATURE = ("activation", "gradient", "weights")
_INPUT = ("input", "input_gradient")
_MAP = "map:"
_METHODS: Registry[str, GraphMethod] = Registry(
    "methods", Source("onnxcam.methods", "onnxcam.methods")
)


@dataclass(frozen=True)
class Axes:
    """The axes of a tensor that a method works on.

    Attributes:
        channel: Axis of the channels.
        space: Axes of space, time or tokens.
    """

    channel: int
    space: tuple[int, ...]


@dataclass(frozen=True)
class GraphMethod:
    """A method that writes its map into the graph.

    Attributes:
        name: What users type.
        emit: ``emit(op, *needs, axes)`` -> signed map with the channel axis reduced to 1.
        needs: The quantities that ``emit`` takes, in this order. Of the feature layer:
            "activation", "gradient" (of the score) and "weights" (of the class, behind global
            average pooling). Of the input: "input", "input_gradient" and "map:NAME" (the map of
            another method at the input's size, linearly interpolated, with a channel axis of 1);
            with one of these the map is one of the input, and so are the axes.
        rectify: Whether the map is rectified (its negative part set to 0) afterwards.
        cite: Where it comes from.
        summary: One line.
        overrides: Other gradient rules for this method's gradients, or a function of the method's
            parameters that returns them.
        signed: Whether values below 0 mean something: evidence against the class.
    """

    name: str
    emit: Callable[..., Any]
    needs: tuple[str, ...]
    rectify: bool
    cite: str
    summary: str
    overrides: Overrides | Callable[..., Overrides] = field(default_factory=Overrides)
    signed: bool = False

    def backward(self, **parameters: Any) -> Overrides:
        """Return the overrides for these parameters; what is not given has its default."""
        if isinstance(self.overrides, Overrides):
            return self.overrides
        return self.overrides(**parameters)

    @property
    def on_input(self) -> bool:
        """Whether the map is one of the input, not of a feature layer."""
        return not any(need in _FEATURE for need in self.needs)

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the methods whose maps it builds on."""
        return tuple(need.removeprefix(_MAP) for need in self.needs if need.startswith(_MAP))

    @property
    def takes_feature(self) -> bool:
        """Whether it has a feature layer, itself or in a map that it builds on."""
        return not self.on_input or any(find(name).takes_feature for name in self.maps)


def graph_method(
    name: str,
    *,
    needs: tuple[str, ...],
    cite: str,
    rectify: bool = True,
    signed: bool = False,
    overrides: Overrides | Callable[..., Overrides] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a graph method; see :class:`GraphMethod` for the arguments."""
    of_feature = [need for need in needs if need in _FEATURE]
    of_input = [need for need in needs if need in _INPUT or need.startswith(_MAP)]
    if len(of_feature) + len(of_input) != len(needs) or bool(of_feature) == bool(of_input):
        raise ValueError(f"{name!r} cannot need {needs}: see GraphMethod")

    def enter(emit: Callable[..., Any]) -> Callable[..., Any]:
        summary = (emit.__doc__ or "").strip().partition("\n")[0]
        method = GraphMethod(
            name, emit, needs, rectify, cite, summary, overrides or Overrides(), signed
        )
        _METHODS.enter(name, method)
        return emit

    return enter


def names() -> tuple[str, ...]:
    """Return the names of all methods, sorted."""
    return tuple(sorted(name for name, _ in _METHODS.items()))


def find(name: str) -> GraphMethod:
    """Return a method by its name.

    Raises:
        UsageError: There is none of this name.
    """
    method = _METHODS.get(name)
    if method is None:
        raise UsageError(f"no method {name!r}", f"choose one of {', '.join(names())}")
    return method
