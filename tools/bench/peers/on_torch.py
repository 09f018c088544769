"""Tools on torch: pytorch-grad-cam, Captum, and Grad-CAM as an expert would write it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from bench.peers.worker import Calls, Request

_OPSET = 16  # onnx2torch 1.5.15 knows no Constant of a newer one


def tuned(request: Request) -> Calls:
    """Run the body without gradients, and autograd on the head only."""
    net, x = _network(request), _input(request)

    def explain() -> Tensor:
        with torch.no_grad():
            feature = net.body(x)
        feature.requires_grad_(True)
        score = net.head(feature)
        (gradient,) = torch.autograd.grad(score[0, score[0].argmax()], feature)
        with torch.no_grad():
            weights = gradient.mean((2, 3), keepdim=True)
            map = (weights * feature).sum(1, keepdim=True).relu()
            return interpolate(map, x.shape[2:], mode="bicubic", align_corners=False)[0, 0]

    return Calls(explain, _plain(_Output(net), x))


def captum(request: Request) -> Calls:
    """LayerGradCam of a class known beforehand, enlarged."""
    from captum.attr import LayerAttribution, LayerGradCam

    net, x = _network(request), _input(request)
    model = _Output(net)
    method = LayerGradCam(model, net.body[-1])

    def explain() -> Tensor:
        map = method.attribute(x, target=request.target, relu_attributions=True)
        return LayerAttribution.interpolate(map, x.shape[2:], "bicubic")[0, 0].detach()

    return Calls(explain, _plain(model, x))


def grad_cam(request: Request) -> Calls:
    """pytorch-grad-cam on the torch model."""
    net, x = _network(request), _input(request)
    model = _Output(net)
    return Calls(_grad_cam(model, net.body[-1], x), _plain(model, x))


def onnx2torch(request: Request) -> Calls:
    """pytorch-grad-cam on what onnx2torch makes of the ONNX file, in an opset that it knows."""
    _pretend_torchvision()
    import onnx.version_converter
    from onnx2torch import convert

    older = onnx.version_converter.convert_version(onnx.load(request.model), _OPSET)
    model, x = convert(older).eval(), _input(request)
    return Calls(_grad_cam(model, _last_spatial(model, x), x), _plain(model, x))


def _grad_cam(model: nn.Module, layer: nn.Module, x: Tensor) -> Callable[[], Any]:
    _pretend_torchvision()
    from pytorch_grad_cam import GradCAM

    method = GradCAM(model, [layer])
    return lambda: method(x, None)[0]


def _pretend_torchvision() -> None:
    """Declare torchvision's compiled operators, which its import asks for: no CPU build has them.

    None of them is called here.
    """
    _LIBRARY.extend([torch.library.Library("torchvision", "DEF")] if not _LIBRARY else [])
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            _LIBRARY[0].define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")


_LIBRARY: list[Any] = []  # the declarations live as long as this


class _Output(nn.Module):
    """The output of a network that also returns its feature."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[0]


def _network(request: Request) -> Any:
    from architectures import ARCHITECTURES
    from architectures.weights import calibrated, inputs

    torch.set_num_threads(request.threads)
    entry = ARCHITECTURES[request.arch]
    assert entry.full is not None
    return calibrated(entry.full(), inputs(entry, 2, full=True))


def _input(request: Request) -> Tensor:
    torch.set_num_threads(request.threads)
    return torch.from_numpy(request.x)


def _plain(model: nn.Module, x: Tensor) -> Callable[[], Any]:
    def run() -> Tensor:
        with torch.no_grad():
            return model(x)

    return run


def _last_spatial(model: nn.Module, x: Tensor) -> nn.Module:
    """Return the module that makes the last feature with a height and a width."""
    seen: list[nn.Module] = []

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() == 4 and min(output.shape[2:]) > 1:
            seen.append(module)

    hooks = [m.register_forward_hook(note) for m in model.modules() if not list(m.children())]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return seen[-1]
