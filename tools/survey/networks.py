"""Networks of library code: made, given weights that are not degenerate, and exported."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from exporting import write
from torch import Tensor, nn

EXPORTERS = ("script", "dynamo")
_BATCH_NORMS = nn.modules.batchnorm._BatchNorm


@dataclass(frozen=True)
class Subject:
    """A network to examine.

    Attributes:
        library: Whose code it is.
        name: Of the network, as the library calls it.
        build: Makes it, with random weights.
        shape: Of an input, without the batch. Height and width differ where the network lets
            them: then a map that is transposed shows.
        stage: Path of the last module of the backbone, as the library names it ("layer4"), or a
            function that says it of the network.
        tokens: Class tokens before the patches, for networks of tokens; None for others.
        channels_last: Whether the stage's output is [N, H, W, C].
        grid: Height and width of the tokens, as a part of the input's; 0 where there are none.
        pick: Takes the scores [N, C, ...] out of what the network returns.
    """

    library: str
    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    stage: str | Callable[[nn.Module], str]
    tokens: int | None = None
    channels_last: bool = False
    grid: int = 0
    pick: Callable[[Any], Any] = lambda y: y

    @property
    def key(self) -> str:
        """The name for files and tables."""
        return f"{self.library}.{self.name}"


class Scores(nn.Module):
    """A network that returns nothing but its scores."""

    def __init__(self, net: nn.Module, pick: Callable[[Any], Any]) -> None:
        super().__init__()
        self.net, self.pick = net, pick

    def forward(self, x: Tensor) -> Any:
        """Return the scores [N, C, ...]."""
        return self.pick(self.net(x))


def made(subject: Subject, seed: int = 0) -> Scores:
    """Return the network with weights as training leaves them: nothing is constant."""
    torch.manual_seed(seed)
    net = subject.build()
    for module in net.modules():
        if getattr(module, "inplace", False):
            module.inplace = False
    _enliven(net)
    scores = Scores(net, subject.pick).eval()
    with torch.no_grad():
        _set_batch_statistics(scores, pictures(subject.shape, 8, seed + 1))
    for parameter in scores.parameters():
        parameter.requires_grad_(False)
    return scores


def pictures(shape: tuple[int, ...], batch: int, seed: int) -> Tensor:
    """Return smooth random pictures with some noise, [batch, ...] with a deviation near 1."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn((batch, *shape), generator=random)
    if len(shape) < 2:
        return x
    last = shape[-1] <= 4  # [H, W, C]
    planes = x.movedim(-1, 1) if last else x
    axes = tuple(range(2, planes.dim()))
    smooth = torch.fft.rfftn(planes, dim=axes)
    for axis in axes:
        length = smooth.shape[axis]
        places = torch.arange(length, dtype=torch.float32)
        decay = 1 / (1 + torch.minimum(places, length - places).abs())
        if axis == axes[-1]:
            decay = 1 / (1 + places)
        smooth = smooth * decay.reshape([-1 if i == axis else 1 for i in range(planes.dim())])
    smooth = torch.fft.irfftn(smooth, s=planes.shape[2:], dim=axes)
    planes = 0.9 * smooth / smooth.std() + 0.3 * planes
    return (planes.movedim(1, -1) if last else planes).contiguous()


def export(net: nn.Module, x: Tensor, path: Path, exporter: str, seconds: int = 240) -> None:
    """Write the network as a file: by TorchScript with an open batch, by dynamo with one of 1.

    Raises:
        TimeoutError: It takes longer than ``seconds``.
    """
    script = exporter == "script"
    with limited(seconds):
        write(net, torch.cat([x, x]) if script else x, path, dynamo=not script, dynamic=script)


def limit_memory(gigabytes: int) -> None:
    """Let what takes too much memory fail, instead of taking the machine's."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_DATA, (gigabytes << 30, resource.RLIM_INFINITY))


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Stop what takes too long."""

    def stop(_: int, __: FrameType | None) -> None:
        raise TimeoutError(f"it took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _enliven(net: nn.Module) -> None:
    """Replace parameters that are constant: scales of 1 (or 1e-6), biases and heads of 0."""
    random = torch.Generator().manual_seed(3)
    channels_last = hasattr(net, "get_layer")  # of keras
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.is_floating_point() or parameter.numel() < 2:
                continue
            low, high = float(parameter.min()), float(parameter.max())
            noise = torch.randn(parameter.shape, generator=random)
            if low == high and low != 0:
                uniform = torch.rand(parameter.shape, generator=random)
                parameter.copy_(0.5 + uniform if abs(low) > 0.2 else 0.2 + 0.4 * uniform)
            elif low == high or (parameter.dim() > 1 and max(-low, high) < 0.12):
                # trunc_normal_(std=0.02): every score would be alike
                parameter.copy_(noise / _fan(parameter, channels_last) ** 0.5)


def _fan(parameter: Tensor, channels_last: bool) -> int:
    """Return how many products make an output: of [out, in, *kernel], or [*kernel, in, out]."""
    if parameter.dim() < 2:
        return 100
    if not channels_last:
        return max(parameter[0].numel(), 1)
    one_by_one = parameter.dim() > 3 and parameter.shape[-1] == 1  # [*kernel, channels, 1]
    return parameter.numel() // parameter.shape[-2 if one_by_one else -1]


def _set_batch_statistics(net: nn.Module, x: Tensor) -> None:
    """Run the network on batches with its batch normalisations, and only them, in training mode."""
    inner: Any = getattr(net, "net", net)
    if hasattr(inner, "get_layer"):  # keras
        for layer in inner.layers:
            if hasattr(layer, "momentum"):
                layer.momentum = 0.3
        for _ in range(3):
            inner(x, training=True)
        return
    norms = [m for m in net.modules() if isinstance(m, _BATCH_NORMS)]
    momentum = [m.momentum for m in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 0.7
    if norms:
        for _ in range(3):
            net(x)
    for norm, old in zip(norms, momentum, strict=True):
        norm.momentum = old
    net.eval()
