"""What an explained model is: which maps of what, how they come out. Resolved once, here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from onnxcam.analysis.layers import Candidate, Catalog
from onnxcam.compose.overlay import Drawing
from onnxcam.errors import ModelError, UsageError
from onnxcam.methods import GraphMethod, Method, find
from onnxcam.methods.needs import Weights
from onnxcam.methods.parameters import Setting
from onnxcam.methods.tunnel import through_noise
from onnxcam.names import FEATURE, GRADIENT, PREFIX, RELIEF, REST, SCORE, SIGNED, STEEPEST
from onnxcam.targets import TOP, Score, Target

if TYPE_CHECKING:
    from onnxcam.analysis.detectors import Detector
    from onnxcam.analysis.detectors.decoding import Decoding

FUSIONS = ("sum", "mean", "max", "product")
Upsampling = Literal["bicubic", "nearest", "none"]
Normalization = Literal["none", "max", "minmax"]


@dataclass(frozen=True)
class MapPlan:
    """One map of a plan.

    Attributes:
        method: Its method.
        feature: Its feature layer; the input for methods on the input.
        others: More layers, whose maps are fused with that of the first.
        fuse: How these are fused, see :mod:`onnxcam.compose.fused`; "" where there are none.
        name: What its ports are called by where a plan has several maps, else "".
        drawing: How it is drawn on the input; None where no picture is wanted.
        settings: A value for every parameter of the method.
    """

    method: Method
    feature: Candidate
    name: str = ""
    drawing: Drawing | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)
    others: tuple[Candidate, ...] = ()
    fuse: str = ""

    @property
    def layers(self) -> tuple[Candidate, ...]:
        """All of its feature layers."""
        return (self.feature, *self.others)

    @property
    def place(self) -> str:
        """Its feature layers, in words."""
        return " + ".join(dict.fromkeys(layer.name for layer in self.layers))

    @property
    def graph(self) -> GraphMethod:
        """Its method, one that is written into the graph."""
        assert isinstance(self.method, GraphMethod), f"{self.method.name} is no graph method"
        return self.method

    def port(self, base: str) -> str:
        """Return the name of a port of this map: ``onnxcam.map`` or ``onnxcam.map.<name>``."""
        return f"{base}.{self.name}" if self.name else base

    @property
    def summary(self) -> str:
        """What it is, in words."""
        return f"{self.method.name} at {self.place}"


@dataclass(frozen=True)
class Plan:
    """What an explained model returns.

    Attributes:
        catalog: The layers of the model.
        maps: The maps, which share one forward pass; none where gradients are wanted as they are.
        target: What is explained, but for the class.
        targets: How many targets a call explains: fixed when a number, None for any.
        default: The classes where a call gives none; -1 is the top class.
        required: Whether every call must give its targets.
        upsampling: How a map comes to the size of the input.
        normalize: How every map is scaled.
        expose: Names of more outputs.
        single: Whether what is explained is computed in float32, whatever the model's precision.
        detector: Where a detector says what it finds, for targets that are boxes; else None.
        decoding: How its boxes are read, None where that is not known.
        each: Whether a call gives targets [N, K], or [1, K] for all inputs, instead of [K].

    Raises:
        UsageError: An option is unknown, or the default targets are not as many as a call has.
    """

    catalog: Catalog
    maps: tuple[MapPlan, ...]
    target: Target = field(default_factory=Score)
    targets: int | None = 1
    default: Sequence[int] = (TOP,)
    required: bool = False
    upsampling: Upsampling = "none"
    normalize: Normalization = "none"
    expose: frozenset[str] = field(default_factory=frozenset)
    single: bool = False
    each: bool = False
    detector: Detector | None = None
    decoding: Decoding | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        _check("upsampling", self.upsampling, get_args(Upsampling))
        _check("normalize", self.normalize, get_args(Normalization))
        for name in sorted(self.expose):
            _check("expose", name, (FEATURE, GRADIENT, SCORE, SIGNED, STEEPEST, REST, RELIEF))
        if self.targets is not None and len(self.default) != self.targets:
            raise UsageError(
                f"{len(self.default)} default targets for a model of {self.targets}",
                "give as many, or targets=None for any number",
            )
        for planned in self.maps:
            if GRADIENT in self.expose and not planned.method.uses_gradient:
                raise UsageError(
                    f"{planned.method.name} takes no gradient of the score: there is no gradient "
                    "to expose",
                    "leave it out, or write a file with `method='gradient'`",
                )
            if Weights in planned.method.needs and not self.target.linear:
                raise UsageError(
                    f"{planned.method.name} explains sums of scores, not a {self.target.quantity}",
                    "use `method='gradcam'`, or explain the score",
                )

    @property
    def key(self) -> list[str] | None:
        """What the graph depends on beside the model, as text; None where no text tells."""
        if self.target.key is None:
            return None
        maps = [
            f"{m.name}={m.method.name}@{m.place}{m.fuse}{sorted(m.settings.items())}"
            for m in self.maps
        ]
        options = (self.targets, tuple(self.default), self.required, self.upsampling)
        more = (self.normalize, sorted(self.expose), self.single, self.each,
                self.detector and self.detector.key)  # fmt: skip
        return [self.catalog.reduction.name, self.target.key, *maps, repr((*options, *more))]


def maps_of(
    catalog: Catalog,
    method: str | Method | Sequence[str | Method],
    feature_layer: str | Sequence[str | Candidate] | None = None,
    parameters: Mapping[str, Any] | None = None,
    fuse: str | None = None,
) -> tuple[MapPlan, ...]:
    """Resolve which maps are made, and where: every method at every feature layer.

    Args:
        catalog: The layers of the model.
        method: One or several methods, by name or record.
        feature_layer: Names of tensors, or layers; None takes the default. Methods on the input
            have none.
        parameters: Values for parameters of the methods, by name; the others have their defaults.
        fuse: Make one map of all layers, see :mod:`onnxcam.compose.fused`; None makes one of each.

    Raises:
        ModelError: The model has no usable feature layer.
        UsageError: A method, layer or parameter is unknown, a value is out of its range, or no
            method takes a layer or parameter that is named.
    """
    methods = [method] if isinstance(method, str | Method) else list(method)
    named = [m if isinstance(m, Method) else find(m) for m in methods]
    found = through_noise(list({m.name: m for m in named}.values()), parameters or {})
    if not found:
        raise UsageError("no method is given", "name one, such as gradcam")
    places = [feature_layer] if isinstance(feature_layer, str) else list(feature_layer or ())
    if places and not any(m.takes_feature for m in found):
        default_feature(catalog, places[0], found[0])  # says why not
    settings = _settings(found, parameters or {})
    layers: list[str | Candidate | None] = [*dict.fromkeys(places)] or [None]
    maps = [
        MapPlan(each, default_feature(catalog, layer, each), settings=settings[each.name])
        for each in found
        for layer in (layers if each.takes_feature else [None])
    ]
    maps = list({(m.method.name, m.feature.name): m for m in maps}.values())  # of two names
    maps = [_of_scales(m) for m in (maps if fuse is None else _fused(found, maps, fuse))]
    if len(maps) == 1:
        return tuple(maps)
    often = Counter(m.method.name for m in maps)
    suffixes = [f".{m.feature.name}" if often[m.method.name] > 1 else "" for m in maps]
    return tuple(
        replace(m, name=m.method.name + suffix) for m, suffix in zip(maps, suffixes, strict=True)
    )


def _fused(methods: Sequence[Method], maps: Sequence[MapPlan], fuse: str) -> list[MapPlan]:
    """Return one map of each method, of all of its layers.

    Raises:
        UsageError: There is no such way to fuse, or a method has no layers or runs many times.
    """
    _check("fuse", fuse, FUSIONS)
    fused = []
    for method in methods:
        own = [m for m in maps if m.method is method]
        if not method.takes_feature or method.kind != "graph":
            raise UsageError(
                f"{method.name} has no maps of several layers to fuse",
                "leave `fuse` out, or use a method such as `method='layercam'`",
            )
        rest = tuple(m.feature for m in own[1:])
        fused.append(replace(own[0], others=rest, fuse=fuse if rest else ""))
    return fused


def _of_scales(planned: MapPlan) -> MapPlan:
    """Return a map with its layers cut into grids, where these hold several: each is a scale."""
    cut = [part for layer in planned.layers for part in layer.scales]
    if len(cut) == len(planned.layers) or not planned.method.takes_feature:
        return planned
    if planned.method.kind != "graph":
        what = f"{planned.feature.name!r} is a {planned.feature.reason}, one behind the other"
        raise UsageError(
            f"{what}, of which {planned.method.name} makes no map",
            "name the layer of one scale as `feature_layer`, or use `method='layercam'`",
        )
    return replace(planned, feature=cut[0], others=tuple(cut[1:]), fuse=planned.fuse or "sum")


def _settings(methods: Sequence[Method], given: Mapping[str, Any]) -> dict[str, dict[str, Setting]]:
    """Return the values of each method's parameters, by its name; each takes those that it has."""
    known = {p.name for m in methods for p in m.parameters}
    strange = {name: value for name, value in given.items() if name not in known}
    methods[0].settings(strange)  # says that there is no such parameter
    return {
        m.name: m.settings({p.name: given[p.name] for p in m.parameters if p.name in given})
        for m in methods
    }


def default_feature(
    catalog: Catalog, name: str | Candidate | None, method: Method | None = None
) -> Candidate:
    """Return the feature layer of this name, or the default one for a method.

    Args:
        catalog: The layers of a model.
        name: Name of a tensor, or the layer itself; None for the default.
        method: The method; one on the input has the input.

    Raises:
        ModelError: The model has no usable feature layer.
        UsageError: The named layer cannot be used, or the method takes none.
    """
    if method is not None and not method.takes_feature:
        if name is not None:
            raise UsageError(
                f"{method.name} explains at the input: it has no feature layer", "leave it out"
            )
        return input_layer(catalog)
    if isinstance(name, Candidate):
        return name
    if name is not None:
        return catalog.find(name)
    if catalog.feature is None:
        raise ModelError(
            f"nothing to explain: {catalog.feature_reason}",
            "explain at the input, as `method='saliency'` does, or name another `reduction_layer`",
        )
    return catalog.feature


def input_layer(catalog: Catalog) -> Candidate:
    """Return the input as a layer, for the methods on the input.

    What they find needs no names of axes: where these are not known, all but the batch's are
    positions, and the map has the shape of the input (one value a feature of a table).
    """
    layout = catalog.input_layout
    if layout is None or layout.regrouped.strange:
        layout = catalog.input_positions or layout
    return Candidate(catalog.input, "input", None, layout, True, "the input of the model")


def outputs_named(short: Sequence[str]) -> frozenset[str]:
    """Return the names of outputs that are asked for without their prefix."""
    return frozenset(PREFIX + name for name in short)


def _check(what: str, value: str, allowed: Sequence[str]) -> None:
    short = [a.removeprefix(PREFIX) for a in allowed]
    if value not in allowed:
        raise UsageError(
            f"no {what} {value.removeprefix(PREFIX)!r}", f"choose one of {', '.join(short)}"
        )
