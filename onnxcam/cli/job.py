"""What `onnxcam explain` is asked for, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from onnxcam.cli.options import say
from onnxcam.cli.places import STDOUT, Wanted
from onnxcam.cli.sources import Source
from onnxcam.cli.writing import Look


@dataclass(frozen=True)
class Job:
    """What `onnxcam explain` was asked for; see its ``--help``."""

    model: Path
    inputs: tuple[Source, ...]
    output: Path | None
    beside: tuple[Path, ...]
    methods: tuple[str, ...]
    targets: tuple[str, ...]
    quantity: str
    against: str | None
    boxes: tuple[str, ...]
    places: tuple[int, ...]
    similar_to: Path | None
    over: float | None
    feature_layers: tuple[str, ...]
    fuse: Any
    reduction_layer: str | None
    class_axis: int | None
    input: str | None
    feeds: tuple[str, ...]
    input_format: str | None
    feature_format: str | None
    upsampling: Any
    device: Any
    preprocess: str | None
    labels: Path | None
    op_library: tuple[Path, ...]
    detector: tuple[str, ...]
    colormap: str | None
    alpha: float | None
    style: str | None
    only: str | None
    scale: float | None
    panel: str | None
    channels: str | None
    rate: float | None
    format: str
    save_map: Path | None
    cache: bool
    seed: int
    budget: int | None
    parameters: Mapping[str, Any]
    as_json: bool

    @property
    def models(self) -> tuple[Path, ...]:
        """The models whose maps are drawn."""
        return (self.model, *self.beside)

    @cached_property
    def look(self) -> Look:
        """How figures look."""
        given = {"colormap": self.colormap, "alpha": self.alpha}
        blending = {k: v for k, v in given.items() if v is not None}
        names = self.channels and [name.strip() for name in self.channels.split(",")]
        signals = {k: v for k, v in (("channels", names), ("rate", self.rate)) if v is not None}
        return Look(blending, self.style, self.only, self.scale, self.panel, signals)

    @cached_property
    def wanted(self) -> Wanted:
        """Where the results go, and what is never written to."""
        given = [path for m in self.models for path in (m, m.with_suffix(".toml"))]
        given += [source.path for source in self.inputs]
        given += [Path(p) for p in (self.labels, self.preprocess) if p is not None]
        layers = self.feature_layers if self.fuse is None else ()
        lists = (self.models, self.inputs, self.targets, self.methods, layers, self.boxes)
        single = all(len(each) <= 1 for each in lists) and self.quantity != "detections"
        panel = self.panel is not None
        return Wanted(self.output, self.save_map, single, tuple(given), panel, f".{self.format}")

    def say(self, line: str) -> None:
        """Tell of what is done: not where the results themselves are printed."""
        if not self.as_json:
            say(line, err=self.output == STDOUT)


@dataclass
class Outcome:
    """What came of a job."""

    explanations: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, str]] = field(default_factory=list)
    recipes: set[str] = field(default_factory=set, repr=False)
    empty: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether any input could not be explained."""
        return bool(self.errors)

    def new(self, recipe: str) -> bool:
        """Tell whether this way to make inputs of pictures was not told of yet."""
        is_new = bool(recipe) and recipe not in self.recipes
        self.recipes.add(recipe)
        return is_new

    def as_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        found = {"explanations": self.explanations, "errors": self.errors}
        return {**found, **({"without_detection": self.empty} if self.empty else {})}
