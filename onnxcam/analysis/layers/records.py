"""What the catalog of layers says."""

from __future__ import annotations

from dataclasses import dataclass

from onnxcam.analysis.layout import Layout
from onnxcam.errors import UsageError, suggestion
from onnxcam.graph.emit import Dim

ONLY = "reaches the score"  # in the reason of a layer most of which does not


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
    """

    name: str
    op: str
    shape: tuple[Dim, ...] | None
    layout: Layout | None
    usable: bool
    reason: str
    unread: bool = False


@dataclass(frozen=True)
class Best:
    """How a detector says which class it found: the best probability at any of its positions.

    Attributes:
        classes: Name of the tensor with the probabilities of the classes.
        objectness: Name of the one, of one row, that they are multiplied with; None for none.
        class_axis: The axis of the classes, or of that one row, in both.
        batch_axis: The axis of the inputs in both.
    """

    classes: str
    objectness: str | None
    class_axis: int
    batch_axis: int


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
        note: What a reader of a map of these scores must know, in words; empty for nothing.
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
    """

    candidates: tuple[Candidate, ...]
    feature: Candidate | None
    feature_reason: str
    reduction: Reduction
    input: str
    input_layout: Layout | None
    warnings: tuple[str, ...] = ()

    def find(self, name: str) -> Candidate:
        """Return a usable feature layer by its name.

        Raises:
            UsageError: It is not there, not usable, or not on the path to the score.
        """
        for candidate in self.candidates:
            if candidate.name == name:
                if candidate.usable:
                    return candidate
                raise UsageError(
                    f"{name!r} cannot be the feature layer: {candidate.reason}",
                    "`onnxcam.analysis.layers.catalog(model)` lists the layers that can",
                )
        usable = [c.name for c in self.candidates if c.usable]
        raise UsageError(
            f"no feature layer {name!r} on the path from {self.input!r} to {self.reduction.name!r}",
            suggestion(name, usable),
        )
