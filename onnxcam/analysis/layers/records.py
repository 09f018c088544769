"""What the catalog of layers says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from onnxcam.analysis.geometry.records import Area
from onnxcam.analysis.layers.modules import Origin, matching, names_of
from onnxcam.analysis.layout import Layout
from onnxcam.errors import UsageError, suggestion
from onnxcam.graph.emit import Dim

SHARED = "rows for each input"  # in that of a layer whose batch holds more than the inputs
ONLY = "reaches the score"  # in the reason of a layer most of which does not


@dataclass(frozen=True)
class Asked:
    """What a caller says of a model's layers: it is not asked of the graph.

    Attributes:
        reduction_layer: Name of the tensor to take the score from; None chooses it.
        class_axis: Axis of its classes; None reads it off the graph.
        input: Name of the input that maps are laid over; None takes the first with space.
        formats: Meaning of the axes of tensors, which overrules what the graph says: pairs of a
            name and letters as of a :class:`Layout`.
    """

    reduction_layer: str | None = None
    class_axis: int | None = None
    input: str | None = None
    formats: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Candidate:
    """A tensor of the catalog.

    Attributes:
        name: Tensor name.
        op: Operator that produces it.
        shape: Its shape, None where the rank is unknown.
        layout: The meaning of its axes, None where it is not known.
        usable: Whether it can be the feature layer.
        reason: Why (not).
        unread: Whether it is not usable because the meaning of its axes could not be found.
        origin: The node and the module that it comes from.
        area: Where its cells lie on the input; None for even shares of all of it.
    """

    name: str
    op: str
    shape: tuple[Dim, ...] | None
    layout: Layout | None
    usable: bool
    reason: str
    unread: bool = False
    origin: Origin = field(default_factory=Origin)
    area: Area | None = None

    @property
    def scales(self) -> tuple[Candidate, ...]:
        """The layer once for each grid that its tokens are of; mostly itself alone."""
        if self.layout is None or not self.layout.more:
            return (self,)
        return tuple(replace(self, layout=each) for each in self.layout.scales)


@dataclass(frozen=True)
class Best:
    """How a detector says which class it found: the best probability at any of its positions.

    Attributes:
        classes: Name of the tensor with the probabilities of the classes; with a background
            that with their logits.
        objectness: Name of the one, of one row, that they are multiplied with; None for none.
        class_axis: The axis of the classes, or of that one row, in both.
        batch_axis: The axis of the inputs in both.
        background: Whether one of the classes stands for nothing: the first or the last.
        first: Where the rows of the classes begin, behind the row of the objectness; 0 where the
            tensor holds nothing else.
        nothing: Which class stands for nothing, -1 for the last; None where it is counted.
    """

    classes: str
    objectness: str | None
    class_axis: int
    batch_axis: int
    background: bool = False
    first: int = 0
    nothing: int | None = None


@dataclass(frozen=True)
class Reduction:
    """The tensor whose entries are the scores.

    Attributes:
        name: Tensor name.
        class_axis: Axis of the classes; None where there is none: one score for each input. Axes
            that are neither of the batch nor of the classes are positions and are summed over.
        classes: How many classes, None where the dimension is not known.
        kind: "logits", "probabilities" or "output".
        output: The graph output that shows it to the user.
        reason: Why this tensor.
        final: "Softmax", "LogSoftmax" or "Sigmoid" when that stands between it and the output.
        positions: Whether there is a score per position (or anchor), which are summed.
        batch_axis: Axis of the inputs; None where there is none: the scores are of one input.
        sure: Whether the graph says so; else inputs are explained one by one, which shows it.
        labels: Names of the classes that stand in the graph; empty for none.
        best: How a detector finds its best class, None for other models.
        mixed: Whether its rows are not all classes, so that the highest of them says nothing.
        others: What the model's other outputs hold, in words.
        first: The row of the first class, where rows that are no classes stand before.
        note: What a reader of a map of these scores must know, in words; empty for nothing.
        space: Axes of the positions in the order of space, where they stand in another; else ().
    """

    name: str
    class_axis: int | None
    classes: int | None
    kind: str
    output: str
    reason: str
    final: str | None = None
    positions: bool = False
    batch_axis: int | None = 0
    labels: tuple[str, ...] = ()
    best: Best | None = None
    mixed: bool = False
    others: tuple[str, ...] = ()
    note: str = ""
    sure: bool = True
    first: int = 0
    space: tuple[int, ...] = ()


@dataclass(frozen=True)
class Catalog:
    """What can be explained in a model.

    Attributes:
        candidates: Every tensor of reals (quantised ones too) between the input and the score, in
            graph order.
        feature: The default feature layer; None where there is no usable one.
        feature_reason: Why.
        reduction: The reduction layer.
        input: Name of the input that the maps are laid over.
        input_layout: The meaning of that input's axes, None where the graph doesn't tell.
        warnings: What the reader of a map of the default layer has to know, in words.
        input_positions: The same where every axis but that of the batch is taken for positions;
            None where the first axis cannot be that of the batch.
        beside: What the reader of a map of the default layer alone has to know besides, "" for
            nothing: that a part of the score passes it by.
    """

    candidates: tuple[Candidate, ...]
    feature: Candidate | None
    feature_reason: str
    reduction: Reduction
    input: str
    input_layout: Layout | None
    warnings: tuple[str, ...] = ()
    input_positions: Layout | None = None
    beside: str = ""

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the usable layers, the default marked."""
        from onnxcam.output import html  # late: only notebooks ask

        default = None if self.feature is None else self.feature.name
        rows = [
            ("*" if c.name == default else "", c.name, c.op, c.shape or "?", c.reason)
            for c in self.candidates
            if c.usable
        ]
        said = html.facts({"input": self.input, "scores": self.reduction.name})
        return said + html.table(("", "feature layer", "operator", "shape", "reason"), rows)

    def warnings_of(self, *layers: Candidate | None) -> tuple[str, ...]:
        """Return what a map's reader has to know of its layer (or layers), in words."""
        said = self.warnings if self.feature in layers else ()
        if self.beside and layers == (self.feature,):
            said = (*said, self.beside)
        doubts = (c.area.doubt for c in layers if c is not None and c.area is not None)
        lost = (f"where the map lies on the input cannot be told: {why}" for why in doubts if why)
        return tuple(dict.fromkeys((*said, *lost)))

    def find(self, name: str) -> Candidate:
        """Return a usable feature layer by its name.

        Args:
            name: Name of the tensor, of the node that makes it, or of the module that it came
                from: its last usable tensor then.

        Raises:
            UsageError: It is not there, not usable, or not on the path to the score.
        """
        origins = {c.name: c.origin for c in self.candidates}
        named = [name] if name in origins else matching(name, origins)
        found = [c for c in self.candidates if c.name in named]
        for candidate in reversed(found):
            if candidate.usable:
                return candidate
        if found:
            last = found[-1]
            what = repr(name) if last.name == name else f"{name!r} ({last.name!r})"
            listed = "`onnxcam.analysis.layers.catalog(model)` lists the layers that can"
            nowhere = "no layer can: explain at the input, as `method='saliency'` does"
            raise UsageError(
                f"{what} cannot be the feature layer: {last.reason}",
                listed if any(c.usable for c in self.candidates) else nowhere,
            )
        usable = names_of((c.name, c.origin) for c in self.candidates if c.usable)
        raise UsageError(
            f"no feature layer {name!r} on the path from {self.input!r} to {self.reduction.name!r}",
            suggestion(name, usable),
        )
