"""Modified gradients in torch: its own functions replaced while a network runs.

Relevance is a value times its modified gradient. A function keeps its value, and has the gradient
of something else: ``_as(y, q)`` is y, with the gradient of q y / q, which hands on the relevance of
y in the proportions of q.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own habit
from torch.overrides import TorchFunctionMode

_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")
_LINEAR = ("linear", *_CONVOLUTIONS, "conv_transpose2d")
_ROUNDED = "fake_quantize_per_tensor_affine"
_CURVES = (
    _ROUNDED,
    "gelu",
    "sigmoid",
    "tanh",
    "exp",
    "log",
    "pow",
    "__pow__",
    "log_sigmoid",
    "softplus",
)
_NORMS = (
    "log_softmax",
    "mean",
    "layer_norm",
    "normalize",
    "softmax",
    "cosine_similarity",
    "batch_norm",
)
_PRODUCTS = ("matmul", "__matmul__", "bmm")
EPSILON, GAMMA = 1e-6, 0.25


class Changed(TorchFunctionMode):
    """Functions by their names, each with another gradient."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function, or what stands for it."""
        name = getattr(func, "__name__", "")
        rule = self.rule(name, args)
        if rule is None:
            return func(*args, **(kwargs or {}))
        return rule(func, *args, **(kwargs or {}))

    def rule(self, name: str, args: Any) -> Callable[..., Any] | None:
        """Return what is called instead of a function; None for itself."""
        raise NotImplementedError


def _moves(x: Any) -> bool:
    return isinstance(x, Tensor) and x.requires_grad


def _as(y: Tensor, q: Tensor, epsilon: float) -> Tensor:
    away = torch.where(q < 0, q - epsilon, q + epsilon)
    return _valued(y, q * (y / away).detach())


def _valued(y: Tensor, like: Tensor) -> Tensor:
    """Return y with the gradient of another tensor."""
    return like + (y - like).detach()


class Rectified(Changed):
    """ReLU as guided backpropagation or a deconvnet has it."""

    def __init__(self, *, inside: bool) -> None:
        super().__init__()
        self._inside = inside

    def rule(self, name: str, args: Any) -> Callable[..., Any] | None:
        """Return the rule of a ReLU."""
        if name != "relu" or not _moves(args[0]):
            return None
        inside = self._inside

        class Rule(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor) -> Tensor:
                ctx.on = x > 0
                return x.clamp(min=0)

            @staticmethod
            def backward(ctx: Any, *dys: Any) -> Any:
                dy = dys[0].clamp(min=0)
                return dy * ctx.on if inside else dy

        return lambda func, x, *more, **named: Rule.apply(x)


class Relevance(Changed):
    """LRP: a rule for convolutions, one for the first layer, the epsilon rule for the rest.

    Args:
        convolution: "epsilon", "gamma" or "alpha" (alpha 1 and beta 0).
        beta: Of the alpha-beta rule, alpha is one more.
        first: "", "flat", "w2" or "box" for the layer that the input goes into.
        early: How many convolutions from the input on have the gamma rule; None for all.
        epsilon: What every denominator is farther from 0.

    Attributes:
        ones: With a rule for the first layer: what relevance is the gradient of.
    """

    def __init__(
        self, convolution: str, beta: float = 0.0, first: str = "", early: int | None = None,
        epsilon: float = EPSILON,
    ) -> None:  # fmt: skip
        super().__init__()
        self._epsilon = epsilon
        self._convolution, self._beta, self._first = convolution, beta, first
        self._early, self.ones, self.depths = early, None, 0

    ones: Tensor | None

    def rule(self, name: str, args: Any) -> Callable[..., Any] | None:
        """Return the rule of a linear layer or a curve."""
        if not _moves(args[0] if args else None):
            return None
        if name in _LINEAR:
            return lambda func, *a, **k: self._linear(name, func, *a, **k)
        if name in ("sigmoid", "tanh", "gelu", "softplus", _ROUNDED):
            return lambda func, x, *a, **k: _curved(x, func(x, *a, **k))
        return None

    def _linear(
        self, name: str, func: Any, x: Tensor, w: Tensor, b: Tensor | None = None, *more: Any,
        **named: Any,
    ) -> Tensor:  # fmt: skip
        def f(v: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
            found: Tensor = func(v, weight, bias, *more, **named)
            return found

        y = f(x, w, b)
        before = depth(x)
        if self._first and before == 0:
            self.ones = torch.ones_like(x, requires_grad=True)
            return _as(y, _opened(self._first, f, x, w, b, self.ones), self._epsilon)
        if name in _CONVOLUTIONS and self._convolution == "alpha":
            return self._parted(f, x, w, b, y)
        early = self._early is None or before < self._early
        if name in _CONVOLUTIONS and self._convolution == "gamma" and early:
            return _pulled(f, x, w, b, y, self._epsilon)
        return _as(y, y, self._epsilon)

    def _parted(self, f: Any, x: Tensor, w: Tensor, b: Tensor | None, y: Tensor) -> Tensor:
        up, down = _sums(f, x, w, b)
        found = _as(y, up, self._epsilon)
        if not self._beta:
            return found
        found = (1 + self._beta) * found - self._beta * _as(y, down, self._epsilon)
        return _valued(y, found)


def _curved(x: Tensor, y: Tensor) -> Tensor:
    return x * (y / torch.where(x == 0, 1, x)).detach()


def _sums(f: Any, x: Tensor, w: Tensor, b: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the sums of what is above and below 0 in every output."""
    high, low, up, down = x.clamp(min=0), x.clamp(max=0), w.clamp(min=0), w.clamp(max=0)
    bias = (None, None) if b is None else (b.clamp(min=0), b.clamp(max=0))
    return f(high, up, bias[0]) + f(low, down), f(high, down, bias[1]) + f(low, up)


def _pulled(f: Any, x: Tensor, w: Tensor, b: Tensor | None, y: Tensor, epsilon: float) -> Any:
    """The gamma rule: what pulls an output the way it went counts more."""
    up, down = _sums(f, x, w, b)
    z = f(x, w, b)
    rising, falling = (_as(y, z + GAMMA * part, epsilon) for part in (up, down))
    return torch.where(y > 0, rising, falling)


def _opened(first: str, f: Any, x: Tensor, w: Tensor, b: Tensor | None, ones: Tensor) -> Tensor:
    """Return what the relevance of the first layer is in proportion to, as a function of ones."""
    if first == "flat":
        return f(ones, torch.ones_like(w))  # type: ignore[no-any-return]
    if first == "w2":
        return f(ones, w**2, None if b is None else b**2)  # type: ignore[no-any-return]
    rest = tuple(range(1, x.ndim))
    low, high = x.detach().amin(rest, True), x.detach().amax(rest, True)
    inside = f(ones * x.detach(), w)
    found: Tensor = inside - f(ones * low, w.clamp(min=0)) - f(ones * high, w.clamp(max=0))
    return found


def depth(x: Tensor, *, products: bool = True) -> int:
    """Return how many convolutions lie before a tensor, on the longest way.

    Args:
        x: The tensor.
        products: Whether linear layers count as well.
    """
    names = ("ConvolutionBackward", *(("AddmmBackward", "MmBackward") if products else ()))
    seen: dict[Any, int] = {}

    def walk(node: Any) -> int:
        if node is None:
            return 0
        if node not in seen:
            seen[node] = 0
            own = any(n in type(node).__name__ for n in names)
            seen[node] = own + max((walk(n) for n, _ in node.next_functions), default=0)
        return seen[node]

    return walk(x.grad_fn)


class Attention(Changed):
    """AttnLRP, and LibraGrad, which holds attention fixed."""

    def __init__(self, *, moves: bool) -> None:
        super().__init__()
        self._softmax_moves = moves

    def rule(self, name: str, args: Any) -> Callable[..., Any] | None:
        """Return the rule of a product, a normalisation, a curve or a softmax."""
        moving = [a for a in args[:2] if _moves(a)]
        if not moving:
            return None
        if name in ("mul", "__mul__", *_PRODUCTS) and len(moving) == 2:
            return lambda func, a, b: _valued(func(a, b), 0.5 * func(a, b))
        if name == "softmax" and not self._softmax_moves:
            return lambda func, *a, **k: func(*a, **k).detach()
        return _OWN.get(name) if _moves(args[0]) else None


def _fixed(
    func: Any, x: Tensor, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    away = x - x.mean(-1, keepdim=True)
    y = away / ((away**2).mean(-1, keepdim=True) + eps).sqrt().detach()
    return y * weight + bias


def _unit(func: Any, x: Tensor, p: float = 2, dim: int = 1, **more: Any) -> Tensor:
    return x / x.norm(dim=dim, keepdim=True).detach()


def _alike(func: Any, x: Tensor, y: Tensor, dim: int = 1, **more: Any) -> Tensor:
    size = x.norm(dim=dim).detach() * y.norm(dim=dim)
    return (x * y).sum(dim) / size


def _curve(func: Any, x: Tensor, *more: Any, **named: Any) -> Tensor:
    return _curved(x, func(x, *more, **named))


_OWN: dict[str, Callable[..., Any]] = {
    "layer_norm": _fixed, "normalize": _unit, "gelu": _curve, "sigmoid": _curve, "tanh": _curve,
    "exp": _curve, "softplus": _curve, _ROUNDED: _curve, "cosine_similarity": _alike,
}  # fmt: skip


class Differences(Changed):
    """DeepLIFT's rescale rule: curves have the slope of their difference from a reference.

    Args:
        reference: None to note what curves get, or what they got where the input is the reference.

    Attributes:
        noted: What curves and products got, in their order.
    """

    def __init__(self, reference: list[tuple[Tensor, ...]] | None = None) -> None:
        super().__init__()
        self._reference, self.noted = None if reference is None else iter(reference), []

    noted: list[tuple[Tensor, ...]]

    def rule(self, name: str, args: Any) -> Callable[..., Any] | None:
        """Return the rule of a curve or a product."""
        moving = [a for a in args[:2] if _moves(a)]
        if name in ("relu", *_CURVES) and _moves(args[0] if args else None):
            return self._curve
        if name in ("mul", "__mul__", *_PRODUCTS) and len(moving) == 2:
            return self._product
        return None

    def _curve(self, func: Any, x: Tensor, *more: Any, **named: Any) -> Tensor:
        y: Tensor = func(x, *more, **named)
        self.noted.append((x.detach(), y.detach()))
        if self._reference is None:
            return y
        x0, y0 = next(self._reference)
        near = (x - x0).abs() < 1e-10
        slope = (y - y0) / torch.where(near, 1, x - x0)
        return torch.where(near, y, _valued(y, x * slope.detach()))

    def _product(self, func: Any, a: Tensor, b: Tensor) -> Tensor:
        y: Tensor = func(a, b)
        self.noted.append((a.detach(), b.detach()))
        if self._reference is None:
            return y
        a0, b0 = next(self._reference)
        return _valued(y, func(a, (b.detach() + b0) / 2) + func((a.detach() + a0) / 2, b))


class Biases(Changed):
    """Notes what convolutions with a bias give, for FullGrad.

    Attributes:
        kept: Output and bias of each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[Tensor, Tensor]] = []

    def rule(self, name: str, args: Any) -> Callable[..., Any] | None:
        """Return what notes a convolution."""
        if name not in (*_CONVOLUTIONS, "conv_transpose2d") or not _moves(args[0]):
            return None

        def noted(func: Any, x: Tensor, w: Tensor, b: Tensor | None = None, *more: Any) -> Tensor:
            y: Tensor = func(x, w, b, *more)
            if b is not None:
                self.kept.append((y, b.reshape(-1, *[1] * (y.ndim - 2))))
            return y

        return noted


class _Half(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.half().float()

    @staticmethod
    def backward(ctx: Any, *dys: Any) -> Any:
        return dys[0].half().float()


class Rounded(Changed):
    """Every value a little beside itself, as where it is rounded otherwise.

    Args:
        share: How far, of the largest of its tensor.
        seed: Of the numbers that are drawn.
        half: Whether values and their gradients are rounded to half precision.
    """

    def __init__(self, share: float, seed: int, *, half: bool) -> None:
        super().__init__()
        self._half = half
        self._share, self._draws = share, torch.Generator().manual_seed(seed)

    def rule(self, name: str, args: Any) -> Callable[..., Any] | None:
        """Return what moves the values of a layer or a curve."""
        return self._moved if name in (*_LINEAR, *_PRODUCTS, *_CURVES, *_NORMS) else None

    def _moved(self, func: Any, *args: Any, **named: Any) -> Any:
        y = func(*args, **named)
        if not isinstance(y, Tensor) or not y.is_floating_point():
            return y
        if getattr(func, "__name__", "") == _ROUNDED:
            return y  # a whole number of steps stays one
        noise = 2 * torch.rand(y.shape, generator=self._draws) - 1
        y = y + self._share * y.detach().abs().max() * noise  # of what it is the sum of
        return _Half.apply(y) if self._half else y


def enlarged(tensor: Tensor, size: Any) -> Tensor:
    """Return a map [N, C, *space] at another size, linearly: its cells are even shares of it."""
    how = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]
    return F.interpolate(tensor, tuple(size), mode=how, align_corners=False)
