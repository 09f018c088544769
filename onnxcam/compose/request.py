"""What a caller asks of an explained model, in a caller's words, and the plan that it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from onnxcam import methods
from onnxcam.analysis.layers import Catalog
from onnxcam.compose.overlay import Drawing
from onnxcam.compose.plan import MapPlan, Normalization, Plan, Upsampling, outputs_named
from onnxcam.compose.wishes import Wishes
from onnxcam.errors import UsageError
from onnxcam.inputs import Description, InputSpec
from onnxcam.methods import GraphMethod
from onnxcam.targets import Score, Target, Wanted, as_targets, resolved

if TYPE_CHECKING:
    from onnxcam.analysis.detectors import Detector
    from onnxcam.analysis.detectors.decoding import Decoding

GRADIENT = "gradient"


@dataclass(frozen=True)
class Request:
    """What is asked of a model; :func:`onnxcam.convert` says what each means.

    Raises:
        UsageError: Options of maps where gradients are asked for, or the other way round.
    """

    method: str | Sequence[str] | None
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
    fuse: str | None = None

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
        of_maps = ("feature_layer", "fuse", "overlay", "expose", "fp16_safe", "runtime_targets")
        given = [name for name in of_maps if getattr(self, name)]
        for name in [*given, *(["normalize"] if self.normalize != "none" else [])]:
            raise UsageError(
                f"`{name}` is for maps, `method='gradient'` makes none", "leave it out"
            )

    @property
    def methods(self) -> list[str]:
        """Names of the methods that are named."""
        return [self.method] if isinstance(self.method, str) else list(self.method or ())

    @property
    def gradient(self) -> bool:
        """Whether gradients are asked for, as they are, rather than maps."""
        return GRADIENT in self.methods

    @property
    def placed(self) -> bool:
        """Whether boxes of a detector are asked for."""
        return any(target.placed for target in as_targets(self.target))

    @property
    def of_boxes(self) -> bool:
        """Whether it must be known where a detector says what it finds: for boxes, or scales."""
        return self.placed or (self.fuse is not None and self.feature_layer is None)

    def plan(
        self,
        catalog: Catalog,
        said: Description,
        detector: Detector | None = None,
        decoding: Decoding | None = None,
    ) -> Plan:
        """Resolve what is asked.

        Args:
            catalog: The layers of the model.
            said: What is said of its input and classes.
            detector: Where it says what it finds: where boxes are asked for, or scales fused.
            decoding: How its boxes are read, None where that is not known.

        Raises:
            ModelError: The model has no usable feature layer.
            UsageError: A name is unknown, or something does not go with the model.
        """
        target, classes = self._targets(catalog, said, detector)
        for name in [] if self.gradient else self.methods:
            methods.graph(name)  # says which others there are
        maps: tuple[MapPlan, ...] = ()
        if not self.gradient:
            wishes = Wishes(self.method, self.feature_layer, self.parameters, self.fuse)
            placed = target.placed
            maps = (wishes.of_boxes if placed else wishes.maps)(catalog, detector)
            maps = tuple(replace(m, method=methods.graph(m.method.name)) for m in maps)
        _in_one_run(maps)
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
            detector=detector if target.placed else None,
            decoding=decoding,
        )

    def _targets(
        self, catalog: Catalog, said: Description, detector: Detector | None
    ) -> tuple[Target, list[int]]:
        """Return what is explained, and the classes of which it is."""
        reduction, targets = catalog.reduction, as_targets(self.target)
        if detector is not None and not detector.single and self.placed:
            reduction = replace(reduction, classes=detector.classes, labels=())
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


def _in_one_run(maps: Sequence[MapPlan]) -> None:
    """Refuse maps that are made of several runs: a file is run once."""
    options = ("augment", "tunnel")
    asked = {n for m in maps for n in options if m.settings.get(n, "none") != "none"}
    if asked:
        raise UsageError(
            f"a map with {' and '.join(sorted(asked))} takes runs of its own: no file can hold it",
            "leave that parameter out, or explain with it",
        )
