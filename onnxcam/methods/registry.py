"""The table of methods. A method is one file below this folder with a decorated function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from onnxcam.autodiff.view import Overrides
from onnxcam.errors import UsageError, meant
from onnxcam.graph.registry import Registry, Source
from onnxcam.methods.needs import GRADIENTS, KINDS, OF_PIXELS, Kind, MapOf, Need, Random, check
from onnxcam.methods.parameters import AUGMENT, SMOOTHING, Parameter, Setting, checked
from onnxcam.methods.terms import Axes, Cost, Estimate, summary

__all__ = [
    "SMOOTHING", "Axes", "Cost", "Estimate", "GraphMethod", "Method", "SampledMethod",
    "convertible", "find", "graph", "graph_method", "names", "sampled_method",
]  # fmt: skip

_METHODS: Registry[str, Method] = Registry("methods", Source("onnxcam.methods", "onnxcam.methods"))
_ONE = Cost()


@dataclass(frozen=True)
class Method:
    """A method to explain: what all kinds have in common.

    Attributes:
        name: What users type.
        kind: How it runs, see :data:`onnxcam.methods.needs.KINDS`.
        needs: What its function takes, in this order, see :mod:`onnxcam.methods.needs`. With one
            of the feature layer the map is one of that, else of the input.
        rectify: Whether the map is rectified (its negative part set to 0) afterwards.
        cite: Where it comes from.
        summary: One line.
        signed: Whether values below 0 mean something: evidence against the class.
        parameters: What users may set.
        cost: In forward passes.
        claim: What its map is a measure of.
        limits: What it cannot show, or gets wrong.
        own_style: How its maps are drawn, one of `STYLES`; None for the usual way.
    """

    name: str
    kind: Kind
    needs: tuple[Need, ...]
    rectify: bool
    cite: str
    summary: str
    signed: bool
    parameters: tuple[Parameter, ...]
    cost: Cost
    claim: str
    limits: str
    own_style: str | None

    @property
    def style(self) -> str:
        """How its maps are drawn: a value for every pixel is noise if it lies over a picture."""
        return self.own_style or ("overlay" if OF_PIXELS.isdisjoint(self.needs) else "heat")

    @property
    def on_input(self) -> bool:
        """Whether the map is one of the input, not of a feature layer."""
        return not any(need.of == "feature" for need in self.needs)

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the methods whose maps it builds on."""
        return tuple(need.method for need in self.needs if isinstance(need, MapOf))

    @property
    def takes_feature(self) -> bool:
        """Whether it has a feature layer, itself or in a map that it builds on."""
        at_layer = isinstance(self, GraphMethod) and self.at_layer
        return at_layer or not self.on_input or any(find(name).takes_feature for name in self.maps)

    @property
    def uses_gradient(self) -> bool:
        """Whether it is made of a gradient of the score, itself or in a map that it builds on."""
        own = not GRADIENTS.isdisjoint(self.needs)
        return own or any(find(name).uses_gradient for name in self.maps)

    @property
    def stochastic(self) -> bool:
        """Whether its map depends on random numbers."""
        return Random in self.needs

    def settings(self, given: Mapping[str, Any]) -> dict[str, Setting]:
        """Return a value for every parameter: what is given, else its default.

        Raises:
            UsageError: A value is out of its range, or there is no such parameter.
        """
        return checked(self.name, self.parameters, given)

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        plain = ("name", "kind", "summary", "claim", "limits", "signed", "style")
        return {
            **{name: getattr(self, name) for name in plain},
            "from": self.cite,
            "cost": str(self.cost),
            "parameters": [
                {"name": p.name, "default": p.default, "range": p.range, "help": p.help}
                for p in self.parameters
            ],
        }


@dataclass(frozen=True)
class GraphMethod(Method):
    """A method that writes its map into the graph.

    Attributes:
        emit: ``emit(op, *needs, axes)`` -> signed map with the channel axis reduced to 1. It gets
            the parameters that it names as keywords.
        overrides: Other gradient rules for this method's gradients, or a function of the method's
            parameters that returns them.
        averages: Whether it weights channels with the mean of the gradient over the positions.
        relief: ``relief(op, *needs)`` -> the signed values, one a channel, that a map is made of.
        at_layer: Whether its overrides are told a feature layer: ``layer``, the tensor's name, and
            ``axes``, those of its batch and its channels.
    """

    emit: Callable[..., Any]
    overrides: Overrides | Callable[..., Overrides] = field(default_factory=Overrides)
    averages: bool = False
    relief: Callable[..., Any] | None = None
    at_layer: bool = False

    def written(
        self, op: Any, values: Sequence[Any], axes: Axes, settings: Mapping[str, Setting]
    ) -> Any:
        """Write the map; see :attr:`emit`.

        Args:
            op: Emitter.
            values: What it needs, in that order.
            axes: The axes of the layer.
            settings: Values of its parameters; what is not given has its default.
        """
        settings = self.settings(settings)
        if settings.get(SMOOTHING.name) == "eigen":
            axes = replace(axes, principal=True)
        code = self.emit.__code__
        named = code.co_varnames[code.co_argcount :][: code.co_kwonlyargcount]
        return self.emit(op, *values, axes, **{name: settings[name] for name in named})

    def backward(self, **parameters: Any) -> Overrides:
        """Return the overrides for these parameters; what is not given has its default."""
        if isinstance(self.overrides, Overrides):
            return self.overrides
        return self.overrides(**{k: v for k, v in parameters.items() if k != AUGMENT.name})


@dataclass(frozen=True)
class SampledMethod(Method):
    """A method that runs the model, or a part of it, many times.

    Attributes:
        estimate: ``estimate(*needs, **parameters)``: explains one input.
        form: The same written into a graph; None where it is not.
        anytime: Whether it makes a map of the answers so far, where these end early (Ctrl-C, a
            budget).
        windows: Whether it cuts windows of the input, whose maps it lays where they are itself.
        unwritten: Why it cannot be written into a graph, where there is more to be said.
    """

    estimate: Callable[..., Estimate]
    form: GraphMethod | None = None
    anytime: bool = False
    windows: bool = False
    unwritten: str = ""


def graph_method(
    name: str,
    *,
    needs: tuple[Need, ...],
    cite: str,
    rectify: bool = True,
    signed: bool = False,
    overrides: Overrides | Callable[..., Overrides] | None = None,
    averages: bool = False,
    relief: Callable[..., Any] | None = None,
    style: str | None = None,
    at_layer: bool = False,
    parameters: tuple[Parameter, ...] = (),
    cost: Cost = _ONE,
    claim: str = "",
    limits: str = "",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a graph method; see :class:`GraphMethod`. At a feature layer it also has ``augment``.

    Raises:
        ValueError: It needs what graph methods cannot have, or its name is taken.
    """
    check(name, "graph", needs)
    if all(need.of == "feature" for need in needs):
        parameters = (*parameters, AUGMENT)

    def enter(emit: Callable[..., Any]) -> Callable[..., Any]:
        said = (cite, summary(emit), signed, parameters, cost, claim, limits)
        how = (style, emit, overrides or Overrides(), averages, relief, at_layer)
        _METHODS.enter(name, GraphMethod(name, "graph", needs, rectify, *said, *how))
        return emit

    return enter


def sampled_method(
    name: str,
    *,
    kind: Kind,
    needs: tuple[Need, ...],
    cite: str,
    cost: Cost,
    parameters: tuple[Parameter, ...] = (),
    rectify: bool = False,
    signed: bool = False,
    style: str | None = None,
    anytime: bool = False,
    windows: bool = False,
    unwritten: str = "",
    claim: str = "",
    limits: str = "",
    form: tuple[tuple[Need, ...], Callable[..., Any]] | None = None,
) -> Callable[[Callable[..., Estimate]], Callable[..., Estimate]]:
    """Enter a method that runs the model many times; see :class:`SampledMethod`.

    At a feature layer it also has ``augment``.

    ``form`` is what its function for a graph needs, and that function, see :class:`GraphMethod`.

    Raises:
        ValueError: It needs what methods of its kind cannot have, or its name is taken.
    """
    check(name, kind, needs)
    if any(need.of == "feature" for need in needs):
        parameters = (*parameters, AUGMENT)

    def enter(estimate: Callable[..., Estimate]) -> Callable[..., Estimate]:
        said = (cite, summary(estimate), signed, parameters, cost, claim, limits, style)
        graph = None
        if form is not None:
            check(name, "graph", form[0])
            graph = GraphMethod(name, "graph", form[0], rectify, *said, form[1])
        made = SampledMethod(
            name, kind, needs, rectify, *said, estimate, graph, anytime, windows, unwritten
        )
        _METHODS.enter(name, made)
        return estimate

    return enter


def names(kind: Kind | None = None) -> tuple[str, ...]:
    """Return the names of all methods, or of those of one kind, sorted."""
    return tuple(sorted(n for n, method in _METHODS.items() if kind in (None, method.kind)))


def convertible() -> tuple[str, ...]:
    """Return the names of the methods that can be written into a file, sorted."""
    return tuple(n for n in names() if _form(find(n)) is not None)


def _form(method: Method) -> GraphMethod | None:
    found = method.form if isinstance(method, SampledMethod) else method
    return found if isinstance(found, GraphMethod) else None


def find(name: str) -> Method:
    """Return a method by its name, in any case; UsageError where there is none."""
    method = _METHODS.get(name) or _METHODS.get(name.casefold().replace("_", "-"))
    if method is None:
        known = names()
        raise UsageError(f"no method {name!r}{meant(name, known)}", f"take {', '.join(known)}")
    return method


def graph(name: str) -> GraphMethod:
    """Return a method that can be written into a graph, by its name.

    Raises:
        UsageError: There is none of this name, or it is of another kind.
    """
    method = find(name)
    form = _form(method)
    if form is None:
        why = getattr(method, "unwritten", "") or f"it {KINDS[method.kind]}"
        raise UsageError(
            f"{name} cannot be written into a file: {why}",
            f"explain with it, or convert with one of {', '.join(convertible())}",
        )
    return form
