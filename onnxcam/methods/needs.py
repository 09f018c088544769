"""What methods are made of, as types: a method's function gets them in the order that it names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Patch:
    """A feature layer as it is but for one part: cheaper to ask about than a copy of the layer.

    Attributes:
        index: What of a layer [C, ...] is replaced.
        value: By what.
    """

    index: Any
    value: Any


class Ask(Protocol):
    """Runs the model on many arrays: takes them one by one, yields an answer for each, in order.

    They run in batches and none is kept, so a generator of a million inputs takes little memory.
    An answer has the targets as its first axis, [K, ...]. Where a run is stopped, or its budget is
    spent, the answers end early, after the first batch at the soonest.
    """

    def __call__(self, inputs: Iterable[Any], count: int | None = None) -> Iterator[Array]:
        """Ask.

        Args:
            inputs: Arrays; for :data:`HeadScore` also a :class:`Patch`, for :data:`ChannelScore`
                the number of the channel that is 0, or None, for :data:`PlaceScore` and
                :data:`PlaceProbability` the weights of the positions.
            count: How many there are, for the progress bar, where the method's cost does not say.
        """


class Ways(Protocol):
    """The straight ways from some inputs, their starts, to the explained one."""

    def gradients(self, points: Iterable[tuple[int, float]]) -> Iterator[Array]:
        """Yield a gradient [K, ...] for each point: a start, and which part of its way is gone.

        Gradients are with respect to what the model makes of the input as long as it only adds
        values up and multiplies them with constants; they must be added up before anything else.
        """

    def at_input(self, slopes: Array) -> Array:
        """Return a weighted sum of such gradients as one of gradients at the input, [K, C, ...]."""

    def score(self, start: int) -> Array | None:
        """Return the score of a start, [K]; None where the runs have ended."""


@dataclass(frozen=True)
class Need:
    """Something that a method is made of.

    Attributes:
        name: What it is, in words.
        of: Whether it is one of the feature layer, which then makes the map, or of the input.
    """

    name: str
    of: Literal["feature", "input"] | None = None


@dataclass(frozen=True)
class MapOf(Need):
    """The map of another graph method at the input's size, with a channel axis of 1.

    Args:
        method: Name of the method; its map is interpolated linearly.
    """

    method: str = ""

    def __init__(self, method: str) -> None:
        for key, value in {"name": f"map of {method}", "of": "input", "method": method}.items():
            object.__setattr__(self, key, value)


# Of a graph method tensors in the axes of the layer; of any other float arrays [C, *space].
Activation = Need("activation", "feature")
Input = Need("input", "input")

# Of graph methods.
Gradient = Need("gradient of the score at the feature layer", "feature")
AttentionGradients = Need(
    "gradients of each block's score at its attention", "feature"
)  # a list of tensors [N, heads, queries, patches]
Weights = Need("weights of the class behind global average pooling", "feature")
Curvature = Need("Hessian of the score at the feature layer, times the layer", "feature")
Diagonals = Need(
    "second and third derivatives of the score by each value of the feature layer", "feature"
)  # two tensors of the layer's shape
SlopeAt = Need("gradient of the score at other inputs", "input")  # (emitter, input) -> tensor
SlopeAtLayer = Need("gradient of the score at other feature layers", "feature")  # likewise
SlopeOfInputs = Need(
    "gradient of the score at the feature layer, of other inputs", "feature"
)  # (emitter, (emitter, input, axes) -> another input) -> tensor in the axes of the layer
Multipliers = Need(
    "DeepLIFT's multipliers of the input, against others", "input"
)  # of graph methods (emitter, other input) -> tensor; else an Ask: inputs -> [K, C, *space]
LayerOf = Need(
    "feature layer of other inputs", "feature"
)  # (emitter, value of a constant input, or as in SlopeOfInputs) -> tensor; else an Ask: inputs ->
# [C, *space of the layer]
MultipliersAtLayer = Need(
    "DeepLIFT's multipliers of the feature layer, against other inputs", "feature"
)  # likewise; else an Ask: inputs -> [K, 2, C, *space of the layer], first their features
BiasShares = Need("gradients of the score at the biases, times these", "input")

# Of graph methods a tensor; of `repeated` ones an Ask: inputs [C, *space] -> [K, C, *space].
InputGradient = Need("gradient of the score at the input", "input")

# Of `repeated` methods a function: starts [C, *space] -> Ways.
Straight = Need("gradients of the score on straight ways to the input", "input")

# Of methods that run the model many times.
Score = Need("scores of inputs")  # Ask: inputs [C, *space] -> [K]
OwnScore = Need("score of the input")  # [K], without a run
Probability = Need("probabilities of inputs")  # Ask: likewise, by Softmax or Sigmoid
Layer = Need("all of the feature layer", "feature")  # [C, ...], with class and register tokens
HeadScore = Need("scores of feature layers")  # Ask: layers like Layer -> [K]; no more is run
HeadProbability = Need("probabilities of feature layers")  # Ask: likewise, by Softmax or Sigmoid
ChannelScore = Need("scores without a channel", "feature")  # Ask: channel, or None -> [K]
PlaceScore = Need("scores with weighted positions", "feature")  # Ask: weights as Layer[0] -> [K]
PlaceProbability = Need("probabilities with weighted positions", "feature")  # Ask: likewise
Places = Need("where positions lie", "feature")  # int [*space]: of the map, in Layer's flat [...]
FeatureGradient = Need(
    "gradients of the score at the feature layer, of inputs", "feature"
)  # Ask: inputs [C, *space] -> [K, C, *space of the layer]
FeatureAndGradient = Need(
    "features and gradients of the score at the feature layer, of inputs", "feature"
)  # Ask: inputs [C, *space] -> [K, 2, C, *space of the layer], first the features
Similarity = Need("similarity of the boxes of inputs")  # Ask: inputs -> [K], 0 to 1, to x's own
Maps = Need("maps of inputs")  # Ask: inputs -> [K, 1 + C, *space]: the map, what it is made of
Background = Need("inputs of a background")  # [n, C, *space], of the parameter; None without one
Random = Need("random numbers")  # numpy.random.Generator, from the caller's seed

KINDS = {
    "graph": "writes its map into the graph",
    "repeated": "runs the gradient graph at many inputs",
    "sampling": "runs the model, without a gradient, on many inputs",
    "head": "runs only what lies behind the feature layer",
}
Kind: TypeAlias = Literal["graph", "repeated", "sampling", "head"]
_ASKS = {
    "repeated": {
        InputGradient,
        FeatureGradient,
        FeatureAndGradient,
        Multipliers,
        MultipliersAtLayer,
        Straight,
    },
    "sampling": {Score, Probability, Similarity},
    "head": {HeadScore, HeadProbability, ChannelScore, PlaceScore, PlaceProbability},
}
_VALUES = {
    "repeated": {Input, Score, OwnScore, Probability, Activation, Background, LayerOf},
    "sampling": {Input, OwnScore, Activation, Background},
    "head": {Activation, Layer, Places},
}
_OF_GRAPH = {
    Activation, Gradient, Curvature, Diagonals, Weights, Input, InputGradient, BiasShares, SlopeAt,
    SlopeAtLayer, SlopeOfInputs, AttentionGradients, Multipliers, LayerOf, MultipliersAtLayer
}  # fmt: skip
GRADIENTS = frozenset(
    {
        Gradient, Curvature, Weights, InputGradient, BiasShares, FeatureGradient,
        FeatureAndGradient, Multipliers, Straight,
    }
)  # fmt: skip

OF_PIXELS = frozenset({InputGradient, Multipliers, Straight})  # a value of its own for each pixel


def fits(kind: Kind, needs: tuple[Need, ...]) -> bool:
    """Tell whether a method of a kind can need these."""
    if kind != "graph":
        allowed = _ASKS[kind] | _VALUES[kind] | {Random}
        return allowed.issuperset(needs) and not _ASKS[kind].isdisjoint(needs)
    if not all(need in _OF_GRAPH or isinstance(need, MapOf) for need in needs):
        return False
    return len({need.of for need in needs}) == 1


def check(name: str, kind: Kind, needs: tuple[Need, ...]) -> None:
    """Check what a method needs.

    Raises:
        ValueError: Methods of its kind cannot have it.
    """
    if not fits(kind, needs):
        raise ValueError(f"{name!r}, a method that {KINDS[kind]}, cannot need {needs}")
