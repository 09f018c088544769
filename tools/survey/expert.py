"""What somebody who knows a network expects: its last stage, its axes, its scores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from survey.networks import Subject
from survey.tape import Array, Match, Tape, record, relative


class Expert:
    """Knows a network and what it did with an input.

    Args:
        subject: The network's description.
        net: The network.
        tape: What it did.

    Attributes:
        target: The class with the highest score.
        space: Extent of the input.
        stage: Path of the last stage.
    """

    def __init__(self, subject: Subject, net: nn.Module, tape: Tape) -> None:
        self.subject, self.tape, self.net, self._which = subject, tape, net, 0
        sizes = tuple(tape.x.shape[1:])
        self.space = sizes[:-1] if subject.shape[-1] <= 4 else sizes[1:]
        self.stage = _stage(subject, net, tape)
        self.begin, self.end = tape.spans[self.stage]
        self.channels, self.grid = self._extent(first_tensor(tape.outputs[self.stage]))
        self._scores = _readings(tape.output)
        self.target = int(self._scores[0].argmax())

    def score(self, said: Array) -> tuple[Tensor | None, float]:
        """Return the score that onnxcam explains, as the network has it, and how far theirs is."""
        known = self._known_scores(self.tape, len(said))
        offs = [relative(said, s.detach().double().numpy()) for s in known]
        self._which = int(np.argmin(offs))
        if not np.isfinite(offs[self._which]):
            return None, offs[self._which]
        return known[self._which][self.target], offs[self._which]

    def rounding(self, classes: int, match: Match | None = None) -> tuple[float, float, float]:
        """Return how far noise of 1e-6 moves what torch itself has in float64: units at a kink.

        Args:
            classes: How many scores the file has.
            match: The network's tensor that is the feature layer.

        Returns:
            Relative L2 distances of the gradient of the input, of that of the feature layer, and
            of Grad-CAM; the largest of four.
        """
        truth = self.tape.x.grad
        if truth is None:
            return 0.0, 0.0, 0.0
        x, offs = self.tape.x.detach(), []
        for seed in range(4):
            random = torch.Generator().manual_seed(seed)
            noise = 1e-6 * torch.randn(x.shape, generator=random, dtype=x.dtype)
            other = record(self.net, x + noise)
            other.back(self._known_scores(other, classes)[self._which][self.target])
            offs.append([_apart(other.x, self.tape.x), *self._moved(other, match)])
        largest = np.max(offs, axis=0)
        return float(largest[0]), float(largest[1]), float(largest[2])

    def _moved(self, other: Tape, match: Match | None) -> tuple[float, float]:
        """Return how far gradient and map of the feature layer are in another run."""
        entry = None if match is None else other.at(match.entry.place)
        if match is None or entry is None:
            return 0.0, 0.0
        maps = self.grad_cam(replace(match, entry=entry)), self.grad_cam(match)
        apart = 0.0 if maps[0] is None or maps[1] is None else relative(maps[0], maps[1])
        return _apart(entry.tensor, match.entry.tensor), apart

    def _known_scores(self, tape: Tape, classes: int) -> list[Tensor]:
        known = _readings(tape.output)
        for entry in reversed(tape.entries):  # logits that the network does not return
            if entry.place > self.end and entry.tensor.dim() > 1:
                known += [s for s in _readings(entry.tensor) if len(s) == classes]
        return known

    def objection(self, match: Match) -> str:
        """Say why an expert would not have taken a tensor, "" where they would."""
        entry, grad = match.entry, match.entry.tensor.grad
        if grad is not None and self._is_of_few(entry.tensor, grad):
            return f"the gradient of {entry.module!r} is in its class token alone"
        last = self.subject.tokens is not None
        if entry.place >= (self.begin if last else self.end):
            # A pooled map of a class is what SqueezeNet is made for; a map that stays one is none.
            dense = self.tape.output.dim() > 2
            planes = self._planes(grad) if dense and grad is not None else None
            if (
                planes is not None
                and (np.abs(planes).reshape(len(planes), -1).max(1) > 0).sum() < 2
            ):
                return f"{entry.module!r} makes the class scores themselves"
            return ""
        if entry.place > self.begin and self._is_of_few_stage():
            return ""
        if self._is_the_stage(entry.tensor):
            return ""
        return f"{entry.module!r} stands before the end of the last stage, {self.stage!r}"

    def grad_cam(self, match: Match) -> Array | None:
        """Return Grad-CAM at the network's tensor, the axes as an expert lays them."""
        tensor, grad = match.entry.tensor, match.entry.tensor.grad
        if grad is None:
            return None
        a, g = self._planes(tensor.detach()), self._planes(grad)
        if a is None or g is None:
            return None
        weights = g.mean(axis=tuple(range(1, g.ndim)), keepdims=True)
        return np.asarray(np.maximum((weights * a).sum(axis=0), 0))

    def _planes(self, tensor: Tensor) -> Array | None:
        """Return a tensor as [channels, ...space], None where nobody knows how."""
        values = tensor.double().numpy()
        if values.shape[0] != 1 and values.ndim > 3:
            return None
        values = values[0] if values.shape[0] == 1 else values
        if values.ndim == len(self.space) + 1:
            if values.shape[1:] == self.grid:
                return values
            if values.shape[:-1] == self.grid or (
                self.subject.channels_last and values.shape[-1] == self.channels
            ):
                return np.moveaxis(values, -1, 0)
            return values
        if values.ndim != 2 or not self.grid:
            return None
        cells = int(np.prod(self.grid))
        if values.shape[0] - cells in (0, self.subject.tokens or 0):
            values = values.T
        elif values.shape[1] - cells not in (0, self.subject.tokens or 0):
            return None
        return values[:, values.shape[1] - cells :].reshape(-1, *self.grid)

    def _extent(self, stage: Tensor) -> tuple[int, tuple[int, ...]]:
        shape = tuple(stage.shape[1:])
        if len(shape) == len(self.space) + 1:
            last = self.subject.channels_last
            return (shape[-1], shape[:-1]) if last else (shape[0], shape[1:])
        part = self.subject.grid
        grid = tuple(d // part for d in self.space) if part else ()
        if not part and len(shape) == 2 and len(self.space) == 2:  # tokens, as wide as the input
            height = (shape[0] * self.space[0] / self.space[1]) ** 0.5
            grid = (round(height), round(shape[0] / height))
        return (shape[-1] if shape else 0), grid

    def _is_the_stage(self, tensor: Tensor) -> bool:
        """Tell whether a tensor has the values of the stage's output, its axes in another order."""
        stage = first_tensor(self.tape.outputs[self.stage])
        if stage.numel() != tensor.numel():
            return False
        return bool(torch.equal(stage.flatten().sort().values, tensor.flatten().sort().values))

    def _is_of_few_stage(self) -> bool:
        stage = first_tensor(self.tape.outputs[self.stage])
        return stage.grad is not None and self._is_of_few(stage, stage.grad)

    def _is_of_few(self, tensor: Tensor, grad: Tensor) -> bool:
        """Tell whether only class tokens of a tensor have a gradient."""
        if tensor.dim() != 3 or not self.grid:
            return False
        cells = int(np.prod(self.grid))
        for axis in (1, 2):
            if tensor.shape[axis] - cells in (0, self.subject.tokens or 0):
                patches = grad.movedim(axis, 1)[:, tensor.shape[axis] - cells :]
                return not bool(patches.abs().sum() > 1e-9 * grad.abs().sum())
        return False


def _apart(a: Tensor, b: Tensor) -> float:
    """Return the relative distance of the gradients of two tensors."""
    if a.grad is None or b.grad is None:
        return 0.0
    return relative(a.grad.double().numpy(), b.grad.double().numpy())


def first_tensor(output: Any) -> Tensor:
    """Return the tensor that a module returns first."""
    while not isinstance(output, Tensor):
        if isinstance(output, dict):
            output = next(iter(output.values()))
        elif isinstance(output, tuple | list):
            output = next(o for o in output if o is not None)
        else:
            output = output[0]
    return output


def _keras_layer(net: Any, name: str, tape: Tape) -> None:
    """Record when a layer of keras ran and what it returned."""
    import keras

    part = keras.Model(net.inputs, net.get_layer(name).output)
    with torch.no_grad():
        match = tape.find(part(tape.x.detach()).numpy())
    if match is None:
        raise LookupError(f"nothing that ran is the layer {name!r}")
    tape.spans[name] = (match.entry.place - 1, match.entry.place)
    tape.outputs[name] = match.entry.tensor


def _stage(subject: Subject, net: nn.Module, tape: Tape) -> str:
    inner: Any = net.net if hasattr(net, "net") else net
    if not isinstance(subject.stage, str):
        return subject.stage(inner)
    modules = dict(inner.named_modules())
    if subject.stage in modules:
        return subject.stage
    if hasattr(inner, "get_layer"):  # keras: its layers are no modules
        _keras_layer(inner, subject.stage, tape)
        return subject.stage
    raise LookupError(f"the network has no module {subject.stage!r}")


def _readings(output: Tensor) -> list[Tensor]:
    """Return what [C] scores an output can mean: classes on axis 1 or on the last."""
    y = output[0] if output.dim() > 1 else output
    first = y.reshape(y.shape[0], -1).sum(-1)
    readings = [first, y.reshape(-1, y.shape[-1]).sum(0)] if y.dim() > 1 else [first]
    return readings + ([first[4:]] if y.dim() > 1 and y.shape[0] > 4 else [])


def torch_one_thread() -> None:
    """Leave the other cores to others."""
    torch.set_num_threads(1)
