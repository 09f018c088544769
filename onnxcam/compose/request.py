"""What a caller asks of an explained model, in a caller's words, and the plan that it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from onnxcam import methods
from onnxcam.analysis.layers import Catalog
from onnxcam.compose.overlay import Drawing
from onnxcam.compose.plan import Normalization, Plan, Upsampling, maps_of, outputs_named
from onnxcam.errors import UsageError
from onnxcam.inputs import Description, InputSpec
from onnxcam.methods import GraphMethod
from onnxcam.targets import Score, Target, Wanted, as_targets, resolved

GRADIENT = "gradient"


@dataclass(frozen=True)
class Request:
    """What is asked of a model; :func:`onnxcam.convert` says what each means.

    Raises:
        UsageError: Options of maps where gradients are asked for, or the other way round.
    """

    method: str | Sequence[str]
    wrt: Sequence[str]
    target: Wanted | Sequence[Wanted]
    runtime_targets: bool
    require_target: bool
    feature_layer: str | Sequence[str] | None
    parameters: Mapping[str, Any] | None
    upsampling: Upsampling
    normalize: Normalization
    overlay: bool
    fp16_safe: bool
    expose: Sequence[str]

    def __post_init__(self) -> None:
        """Check that the options go together."""
        if not self.gradient:
            if self.wrt:
                said = "add `method='gradient'`, or leave it out"
                raise UsageError("`wrt` is for gradients", said)
            return
        if not self.wrt:
            raise UsageError(
                "`method='gradient'` does not say of which tensors",
                "name each with `wrt`; `onnxcam.analysis.layers.catalog(model).candidates` lists "
                "them",
            )
        if len(self.methods) > 1:
            raise UsageError("`method='gradient'` makes no map", "write a file of its own for it")
        of_maps = ("feature_layer", "overlay", "expose", "fp16_safe", "runtime_targets")
        given = [name for name in of_maps if getattr(self, name)]
        for name in [*given, *(["normalize"] if self.normalize != "none" else [])]:
            raise UsageError(
                f"`{name}` is for maps, `method='gradient'` makes none", "leave it out"
            )

    @property
    def methods(self) -> list[str]:
        """Names of the methods."""
        return [self.method] if isinstance(self.method, str) else list(self.method)

    @property
    def gradient(self) -> bool:
        """Whether gradients are asked for, as they are, rather than maps."""
        return GRADIENT in self.methods

    def plan(self, catalog: Catalog, said: Description) -> Plan:
        """Resolve what is asked.

        Args:
            catalog: The layers of the model.
            said: What is said of its input and classes.

        Raises:
            ModelError: The model has no usable feature layer.
            UsageError: A name is unknown, or something does not go with the model.
        """
        target, classes = self._targets(catalog, said)
        chosen = [] if self.gradient else [methods.graph(name) for name in self.methods]
        maps = maps_of(catalog, chosen, self.feature_layer, self.parameters) if chosen else ()
        if any(m.settings.get("augment", "none") != "none" for m in maps):
            raise UsageError(
                "an augmented map takes runs of its own: it cannot be written into a file",
                "leave `augment` out, or explain with it",
            )
        if self.overlay:
            spec = said.spec_if_said
            maps = tuple(replace(m, drawing=drawing(spec, m.graph)) for m in maps)
        return Plan(
            catalog,
            maps,
            target,
            targets=None if self.runtime_targets else len(classes),
            default=classes,
            required=self.require_target,
            upsampling=self.upsampling,
            normalize=self.normalize,
            expose=outputs_named(self.expose),
            single=self.fp16_safe,
        )

    def _targets(self, catalog: Catalog, said: Description) -> tuple[Target, list[int]]:
        """Return what is explained, and the classes of which it is."""
        reduction, targets = catalog.reduction, as_targets(self.target)
        given = said.given is not None
        pairs = resolved(targets, reduction, said.labels, given=given)
        kinds = dict.fromkeys(kind for kind, _ in pairs)
        if len(kinds) > 1:
            listing = ", ".join(kind.quantity for kind in kinds)
            raise UsageError(f"targets of several kinds ({listing})", "write a file for each")
        if self.gradient and len(pairs) != 1:
            raise UsageError("`method='gradient'` takes one target", "write a file for each")
        return next(iter(kinds), Score()), [index for _, index in pairs]


def drawing(spec: InputSpec | None, method: GraphMethod) -> Drawing:
    """Return how to draw a method's maps on the input.

    Args:
        spec: How a picture becomes the input; None where nothing says it.
        method: The method.

    Raises:
        UsageError: Nothing says how a picture becomes the input, or it is none.
    """
    if spec is None:
        raise UsageError(
            "no overlay: nothing says how a picture becomes the model's input",
            "say it with `preprocess=PRESET|FILE.toml`; "
            "`onnxcam.look.presets.try_presets(model, picture)` helps",
        )
    if not spec.pictures or spec.layout is None or spec.channels is None:
        raise UsageError("no overlay: the model's input is no picture", "leave `overlay` out")
    from onnxcam.output.render.colour import colormap, default_colormap  # brings Pillow

    return Drawing(
        spec.layout,
        spec.channels,
        spec.scale,
        spec.mean,
        spec.std,
        colormap(default_colormap(signed=method.signed)),
        method.signed,
    )
