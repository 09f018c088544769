"""The reference: every tensor that a torch network makes, with its gradient, in float64."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Array = np.ndarray[Any, Any]
SAME = 2e-3  # relative L2 within which a tensor of a file is one of the network


def relative(a: Array, b: Array) -> float:
    """Return the relative L2 distance of ``a`` from ``b``."""
    a, b = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    if a.shape != b.shape:
        return float("inf")
    length = float(np.linalg.norm(b))
    return float(np.linalg.norm(a - b)) / length if length else float(np.linalg.norm(a) > 0)


@dataclass
class Entry:
    """A tensor of the network.

    Attributes:
        place: When it was made last.
        module: The innermost module that made it.
        tensor: The tensor; its gradient is in ``tensor.grad`` after the way back.
    """

    place: int
    module: str
    tensor: Tensor


@dataclass
class Match:
    """A tensor of a file found among those of the network.

    Attributes:
        entry: The network's.
        order: Axes of the network's tensor in the file's order.
        gradient: Relative L2 distance of the file's gradient.
    """

    entry: Entry
    order: tuple[int, ...]
    gradient: float


@dataclass
class Tape:
    """What a network did with one input.

    Attributes:
        x: The input.
        output: What it returned.
        entries: Every tensor on the way that has a gradient.
        spans: Of every module, by path: from when to when it ran last.
        outputs: Of every module, by path: what it returned last.
        detached: How many tensors its code detaches.
    """

    x: Tensor
    output: Tensor
    entries: list[Entry] = field(default_factory=list)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    detached: int = 0

    def back(self, score: Tensor) -> None:
        """Compute every gradient of a scalar."""
        for tensor in [self.x, *(e.tensor for e in self.entries)]:
            tensor.grad = None
        score.backward(retain_graph=True)

    def at(self, place: int) -> Entry | None:
        """Return the tensor that was made then."""
        return next((e for e in self.entries if e.place == place), None)

    def find(self, value: Array, gradient: Array | None = None) -> Match | None:
        """Return the tensor that has these values, in whatever order its axes are.

        Of several (an identity, a reshape) the one with the gradient nearest to the file's.
        """
        found = [m for e in self.entries for m in _matches(e, value, gradient)]
        return min(found, key=lambda m: (round(m.gradient, 6), m.entry.place), default=None)


def record(net: nn.Module, x: Tensor, attached: bool = False) -> Tape:
    """Run a network on an input and keep every tensor that it makes.

    Args:
        net: The network.
        x: Its input.
        attached: Without what its code says by ``detach``: gradients pass there too, as they do
            in a file, which knows no such thing.
    """
    names = {id(m): f"{n}.".removeprefix("net.")[:-1] for n, m in net.named_modules()}
    x = x.clone().requires_grad_(True)
    tape, stack = Tape(x, x), [""]
    recorder = _Recorder(tape, stack, attached)
    with _hooks(tape, stack, names, recorder), recorder:
        tape.output = net(x)
    latest = {id(e.tensor): e for e in tape.entries}
    tape.entries = list(latest.values())
    return tape


class _Recorder(TorchFunctionMode):
    def __init__(self, tape: Tape, stack: list[str], attached: bool) -> None:
        super().__init__()
        self.tape, self.stack, self.count, self.attached = tape, stack, 0, attached

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__name__", "") == "detach" and args[0].requires_grad:
            self.tape.detached += 1
            if self.attached:
                return args[0]
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, list | tuple) else [result]:
            if isinstance(tensor, Tensor) and tensor.requires_grad and not tensor.is_leaf:
                self.count += 1
                tensor.retain_grad()
                # Of a turned gradient torch (2.14) makes a wrong one in a BatchNorm in eval mode.
                tensor.register_hook(lambda g: None if g is None else g.contiguous())
                self.tape.entries.append(Entry(self.count, self.stack[-1], tensor))
        return result


@contextmanager
def _hooks(
    tape: Tape, stack: list[str], names: dict[int, str], recorder: _Recorder
) -> Iterator[None]:
    begun: dict[str, int] = {}

    def before(module: nn.Module, _: Any) -> None:
        name = names.get(id(module), stack[-1])
        if not name.startswith(stack[-1]):  # one that others call too
            name = f"{stack[-1]}.{type(module).__name__}"
        stack.append(name)
        begun[name] = recorder.count

    def after(module: nn.Module, _: Any, output: Any) -> None:
        name = stack.pop()
        tape.spans[name] = (begun[name], recorder.count)
        tape.outputs[name] = output

    handles = [
        nn.modules.module.register_module_forward_pre_hook(before),
        nn.modules.module.register_module_forward_hook(after),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _matches(entry: Entry, value: Array, gradient: Array | None) -> Iterator[Match]:
    tensor = entry.tensor.detach()
    if tensor.numel() != value.size or tensor.dim() > 5:
        return
    length = float(np.linalg.norm(value.astype(np.float64)))
    if abs(float(tensor.double().norm()) - length) > SAME * length:
        return
    slope = None if entry.tensor.grad is None else entry.tensor.grad.double().numpy()
    for order in itertools.permutations(range(tensor.dim())):
        if order and order[0] != 0:  # the batch stays in front, or is of one picture
            continue
        turned = tensor.permute(order).double().numpy()
        if relative(turned, value) < SAME:
            off = float("inf")
            if slope is not None and gradient is not None:
                off = relative(gradient, slope.transpose(order))
            yield Match(entry, order, off)
            return
