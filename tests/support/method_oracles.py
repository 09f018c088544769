"""The methods by their definitions, with torch's autograd: no code shared with onnxcam."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from architectures.parts import Network
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own habit

from support.lrp_oracle import relevance


def net() -> Network:
    """A feature in the middle, so that its gradient differs from position to position."""
    body = nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU()
    )
    head = nn.Sequential(
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU6(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(72, 4)
    )
    return Network(body, head)


def _weighted(weights: Tensor, a: Tensor) -> Tensor:
    return torch.einsum("nk,nkhw->nhw", weights, a)


def gradcam(a: Tensor, g: Tensor) -> Tensor:
    return _weighted(g.mean((2, 3)), a)


def gradcam_plus_plus(a: Tensor, g: Tensor) -> Tensor:
    """Equation 19 as it stands, one position after another."""
    weights = torch.zeros(a.shape[:2])
    for n, k in torch.cartesian_prod(torch.arange(len(a)), torch.arange(a.shape[1])).tolist():
        for slope in g[n, k].flatten().tolist():
            second, third = slope**2, slope**3
            below = 2 * second + third * float(a[n, k].sum())
            weights[n, k] += (second / below if below else 0.0) * max(slope, 0.0)
    return _weighted(weights, a)


def hirescam(a: Tensor, g: Tensor) -> Tensor:
    return (a * g).sum(1)


def layercam(a: Tensor, g: Tensor) -> Tensor:
    return (g.clamp(min=0) * a).sum(1)


def xgradcam(a: Tensor, g: Tensor) -> Tensor:
    share = torch.nan_to_num(a / a.sum((2, 3), keepdim=True))
    return _weighted((share * g).sum((2, 3)), a)


def gradcam_elementwise(a: Tensor, g: Tensor) -> Tensor:
    return (a * g).clamp(min=0).sum(1)


def _against(values: Tensor, each: Tensor, sums: Tensor) -> bool:
    """Whether a direction is turned round: activities [C, H, W] go with the sum of the channels.

    Of others, which go below 0 nearly as far as above it, the smaller part is positive.
    """
    rows = each.flatten(1)
    above, below = rows.amax(1).clamp(min=0).sum(), (-rows.amin(1)).clamp(min=0).sum()
    return bool((values @ sums if above >= 3 * below else (values * values.abs()).sum()) < 0)


def principal(x: Tensor, *, sign: str = "sum") -> Tensor:
    """The projection [N, H, W] on the first singular vector, input by input."""
    maps = []
    for each in x.double():
        rows = each.flatten(1).T
        rows = rows - rows.mean(0)
        v = torch.linalg.svd(rows).Vh[0]
        values = rows @ v
        if sign == "range":
            turn = bool(-values.min() > values.max())
        elif sign == "active":
            turn = _against(values, each, rows.sum(1))
        else:
            turn = bool(values @ rows.sum(1) < 0)
        maps.append((-values if turn else values).reshape(each.shape[1:]))
    return torch.stack(maps).float()


def eigen_cam(a: Tensor, g: Tensor) -> Tensor:
    return principal(a, sign="active")


def eigen_gradcam(a: Tensor, g: Tensor) -> Tensor:
    return principal(a * g)


def seg_eigen_cam(a: Tensor, g: Tensor) -> Tensor:
    return principal(a * g.abs(), sign="range")


def kpca_cam(a: Tensor, g: Tensor) -> Tensor:
    maps = []
    for each in a.double():
        rows = each.flatten(1).T
        rows = rows - rows.mean(0)
        kernel = torch.tanh(rows @ rows.T / rows.shape[1] + 1)
        centre = torch.eye(len(rows)) - 1 / len(rows)
        values, vectors = torch.linalg.eigh(centre.double() @ kernel @ centre.double())
        u = vectors[:, -1] * values[-1].sqrt()
        turn = _against(u, each, rows.sum(1))
        maps.append((-u if turn else u).reshape(each.shape[1:]))
    return torch.stack(maps).float()


def fem(a: Tensor, g: Tensor) -> Tensor:
    mean, spread = a.mean((2, 3), keepdim=True), a.std((2, 3), keepdim=True, unbiased=False)
    return (mean.abs() * (a > mean + 2 * spread)).sum(1)


def random_cam(a: Tensor, g: Tensor) -> Tensor:
    weights = np.random.default_rng(0).uniform(-1, 1, a.shape[1])
    return torch.einsum("k,nkhw->nhw", torch.from_numpy(weights).float(), a)


def saliency(x: Tensor, g: Tensor) -> Tensor:
    return g.abs().amax(1)


def input_x_gradient(x: Tensor, g: Tensor) -> Tensor:
    return (x * g).sum(1)


AT_FEATURE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
    "hirescam": hirescam,
    "layercam": layercam,
    "xgradcam": xgradcam,
    "gradcam-elementwise": gradcam_elementwise,
    "eigen-cam": eigen_cam,
    "eigen-gradcam": eigen_gradcam,
    "seg-eigen-cam": seg_eigen_cam,
    "kpca-cam": kpca_cam,
    "fem": fem,
    "random-cam": random_cam,
    "shapley-cam": gradcam,  # the oracle net is linear piece by piece
}
AT_INPUT = {
    "saliency": saliency,
    "input-x-gradient": input_x_gradient,
    "guided-backprop": saliency,
    "deconvnet": saliency,
    "guided-gradcam": saliency,
}
RELEVANCE: dict[str, dict[str, Any]] = {
    "lrp-epsilon": {},
    "lrp-gamma": {"with_gamma": (0, 1)},
    "lrp-epsilon-plus": {"alpha": 1},
    "lrp-alpha-beta": {"alpha": 2},
    "lrp-epsilon-plus-flat": {"alpha": 1, "first": "flat"},
    "lrp-epsilon-alpha2-beta1-flat": {"alpha": 2, "first": "flat"},
    "lrp-epsilon-gamma-box": {"with_gamma": (1, 2), "first": "box"},
    "lrp-w2": {"alpha": 1, "first": "w2"},
}
ALL = [*AT_FEATURE, *AT_INPUT, *RELEVANCE, "fullgrad"]


def expected(name: str, model: nn.Module, x: Tensor, target: int) -> Tensor:
    """Return the map [N, H, W] before its ReLU."""
    if name in AT_FEATURE:
        return AT_FEATURE[name](*feature_gradient(model, x, target))
    if name == "fullgrad":
        return _fullgrad(model, x, target)
    if name in RELEVANCE:
        layers = nn.Sequential(*model.body, *model.head)
        return relevance(layers, x, target, **RELEVANCE[name]).sum(1).float()
    changed = {"guided-backprop": _guided, "guided-gradcam": _guided, "deconvnet": _deconvolved}
    with _rectifiers(model, changed.get(name)):
        leaf = x.clone().requires_grad_()
        (g,) = torch.autograd.grad(model(leaf)[0][:, target].sum(), leaf)
    if name == "guided-gradcam":
        cam = gradcam(*feature_gradient(model, x, target)).clamp(min=0)[:, None]
        g = g * F.interpolate(cam, x.shape[2:], mode="bilinear", align_corners=False)
    return AT_INPUT[name](x, g)


def _fullgrad(model: nn.Module, x: Tensor, target: int) -> Tensor:
    """Input and biases of the convolutions, each channel from 0 to 1."""
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    kept: list[Tensor] = []
    hooks = [m.register_forward_hook(lambda m, i, y: kept.append(y)) for m in layers]
    leaf = x.clone().requires_grad_()
    score = model(leaf)[0][:, target].sum()
    for hook in hooks:
        hook.remove()
    dx, *slopes = torch.autograd.grad(score, [leaf, *kept])

    def stretched(v: Tensor) -> Tensor:
        v = v.abs() - v.abs().amin((2, 3), keepdim=True)
        return torch.nan_to_num(v / v.amax((2, 3), keepdim=True))

    total = stretched(x * dx).sum(1)
    for layer, slope in zip(layers, slopes, strict=True):
        share = stretched(slope * layer.bias[:, None, None]).sum(1, keepdim=True)
        total = total + F.interpolate(share, x.shape[2:], mode="bilinear")[:, 0]
    return total.detach()


def feature_gradient(model: nn.Module, x: Tensor, target: int) -> tuple[Tensor, Tensor]:
    """Return the feature and the gradient of the score with respect to it."""
    score, a = model(x)
    (g,) = torch.autograd.grad(score[:, target].sum(), a)
    return a.detach(), g


class _Changed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, function, change):  # type: ignore[no-untyped-def]
        y = function(x)
        ctx.inside, ctx.change = y == x, change
        return y

    @staticmethod
    def backward(ctx, dy):  # type: ignore[no-untyped-def]
        return ctx.change(dy, ctx.inside), None, None


def _guided(dy: Tensor, inside: Tensor) -> Tensor:
    return torch.where(inside & (dy > 0), dy, 0)


def _deconvolved(dy: Tensor, inside: Tensor) -> Tensor:
    return dy.clamp(min=0)


class _Rectifier(nn.Module):
    def __init__(self, inner: nn.Module, change: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.change = inner, change

    def forward(self, x: Tensor) -> Tensor:
        return _Changed.apply(x, self.inner, self.change)


@contextmanager
def _rectifiers(model, change):  # type: ignore[no-untyped-def]
    """Replace the ReLU and ReLU6 modules inside the block, where there is a change."""
    places = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.ReLU | nn.ReLU6) and change is not None
    ]
    try:
        for parent, name, child in places:
            setattr(parent, name, _Rectifier(child, change))
        yield
    finally:
        for parent, name, child in places:
            setattr(parent, name, child)
