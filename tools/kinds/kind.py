"""What a kind of model is: a small network with random weights, and how to read its outputs."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx
import torch
from torch import Tensor, nn

Outputs = tuple[Tensor, ...]


class _Kept(tuple[Tensor, ...]):
    """Outputs, and the logits that the network kept in this run."""

    logits: Tensor | None = None


@dataclass(frozen=True)
class Kind:
    """A kind of model.

    Attributes:
        name: What it is called.
        what: What it is made of, in a few words.
        module: The network.
        inputs: A batch of one, by the names of the inputs; the first is explained.
        outputs: Names of the outputs.
        places: The scores as [N, C, *positions], from the outputs.
        feature: The module of the feature layer, by its path; "" where there is none.
        grid: A feature layer's tensor as [N, C, *space].
        final: The last function: "softmax", "sigmoid" or "".
        options: For an Explainer.
        change: Changes the exported file: to half precision, to int8.
        exact: How far maps may be from torch's, of their largest value.
        rounding: How far a value may be rounded otherwise, of the largest of its tensor.
        classes: Whether the scores are of classes.
        tensor: The reduction layer where it holds more than the scores.
        file: The file, where it is not what torch exports.
        letters: The axes of the explained input: N, C, and D, H, W of space.
        channel: Axis of the channels in the feature layer as the network has it.
        sure: For a detector: how sure it is of every class that is something at every position,
            [N, C, A]; None where positions are no findings.
        boxes: Where these are, in pixels of the input: left, top, right, bottom, [N, A, 4]; None
            where the network does not say it.
    """

    name: str
    what: str
    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    places: Callable[[Outputs], Tensor]
    feature: str = ""
    grid: Callable[[Tensor], Tensor] = lambda a: a
    final: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    change: Callable[[onnx.ModelProto], onnx.ModelProto] | None = None
    exact: float = 1e-3
    rounding: float = 3e-7
    classes: bool = True
    tensor: Callable[[Outputs], Tensor] | None = None
    file: onnx.ModelProto | None = None
    letters: str = "NCHW"
    channel: int = 1
    sure: Callable[[Outputs], Tensor] | None = None
    boxes: Callable[[Outputs], Tensor] | None = None

    @property
    def explained(self) -> str:
        """Name of the input that is explained."""
        return next(iter(self.inputs))

    def scores(self, outputs: Outputs) -> Tensor:
        """Return the scores [N, C, *positions]: those that the network kept, or of its outputs."""
        kept = getattr(outputs, "logits", None)
        return self.places(outputs) if kept is None else kept

    def run(self, *inputs: Tensor) -> Outputs:
        """Return the outputs, as a tuple."""
        found = self.module(*inputs)
        outputs = _Kept(found if isinstance(found, tuple) else (found,))
        outputs.logits = getattr(self.module, "logits", None)
        return outputs


class Held(nn.Module):
    """A network, and what is made of its outputs."""

    def __init__(self, kind: Kind, function: Callable[[Outputs], Tensor] | None) -> None:
        super().__init__()
        self.inner, self.run, self.function = kind.module, kind.run, function

    def forward(self, *inputs: Tensor) -> Any:
        """Return the outputs, or one number for each input, [N, 1]."""
        found = self.run(*inputs)
        return tuple(found) if self.function is None else self.function(found)[:, None]


def exported(
    kind: Kind,
    function: Callable[[Outputs], Tensor] | None = None,
    *,
    plain: bool = False,
    batch: str = "",
) -> onnx.ModelProto:
    """Return the file of a network, or of one with a single score made of its outputs.

    Args:
        kind: The kind.
        function: Makes the score, float [N].
        plain: Whether the file stays as it was exported, in single precision.
        batch: Name of the first axis of the explained input where that is open; "" for 1.
    """
    held = io.BytesIO()
    axes = {kind.explained: {0: batch}} if batch else None
    names = ["score"] if function is not None else list(kind.outputs)
    with torch.no_grad():
        torch.onnx.export(
            Held(kind, function).eval(), tuple(kind.inputs.values()), held, dynamo=False,
            input_names=list(kind.inputs), output_names=names, opset_version=17, dynamic_axes=axes,
        )  # fmt: skip
    proto = onnx.ModelProto.FromString(held.getvalue())
    return proto if kind.change is None or plain else kind.change(proto)
