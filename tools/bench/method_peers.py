"""What other tools take for the methods of `tools/bench.py methods`, on the same torch weights."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Mapping
from types import MethodType, ModuleType
from typing import Any, TypeAlias

import numpy as np

Call: TypeAlias = Callable[[], Any]
Settings: TypeAlias = Mapping[str, Any]
_LONG = 3.0  # seconds
_TORCHVISION = {
    "torchvision": (), "torchvision.models": (),
    "torchvision.transforms": ("Compose", "Normalize", "ToTensor"),
    "torchvision.models.resnet": ("BasicBlock", "Bottleneck"),
    "torchvision.transforms.functional": ("resize",),
}  # fmt: skip


def peer(arch: str, method: str, settings: Settings, runs: int, x: Any) -> tuple[str, Call] | None:
    """Return the name of a tool and a call of it that does what a promise is about; None: none.

    Args:
        arch: The network.
        method: onnxcam's method.
        settings: Its parameters.
        runs: How many runs of the model a call may take; 1 for all that the method needs.
        x: The input [1, 3, H, W].
    """
    maker = _MAKERS.get(method)
    if maker is None or importlib.util.find_spec(maker[0]) is None:
        return None
    _without_torchvision()
    import torch
    from torch import nn

    class Scores(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> Any:
            return self.inner(x)[0]

    net = Scores(_network(arch)).eval().requires_grad_(requires_grad=False)
    call = maker[1](net, torch.from_numpy(x), settings, runs)
    return maker[0], _quiet(call)


def _network(arch: str) -> Any:
    from architectures import ARCHITECTURES
    from architectures.weights import calibrated, inputs

    entry = ARCHITECTURES[arch]
    assert entry.full is not None
    return calibrated(entry.full(), inputs(entry, 2, full=True))


def _quiet(call: Call) -> Call:
    def run() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call()

    return run


def _weights(net: Any, x: Any, cam: Any, runs: int) -> Call:
    """Return a call for the weights of some channels of the last stage."""
    layer = net.inner.body
    cam.activations_and_grads(x)
    channels = cam.activations_and_grads.activations[0].numpy()
    cam.activations_and_grads.release()
    some = channels if runs == 1 else channels[:, : runs - 1]
    return lambda: cam.get_cam_weights(x, layer, [lambda y: y[0]], some, None)


def _ablation(net: Any, x: Any, settings: Settings, runs: int) -> Call:
    from pytorch_grad_cam import AblationCAM

    return _weights(net, x, AblationCAM(net, [net.inner.body]), runs)


def _score_cam(net: Any, x: Any, settings: Settings, runs: int) -> Call:
    from pytorch_grad_cam import ScoreCAM

    return _weights(net, x, ScoreCAM(net, [net.inner.body]), runs)


def _integrated(net: Any, x: Any, settings: Settings, runs: int) -> Call:
    from captum.attr import IntegratedGradients

    return lambda: IntegratedGradients(net).attribute(x, target=0, n_steps=settings["steps"])


def _occlusion(net: Any, x: Any, settings: Settings, runs: int) -> Call:
    from captum.attr import Occlusion

    side = round(settings["stride"] * x.shape[-1])
    window = (x.shape[1], side, side)
    return lambda: Occlusion(net).attribute(x, window, window, target=0)


def _kernel_shap(net: Any, x: Any, settings: Settings, runs: int) -> Call:
    import torch
    from captum.attr import KernelShap

    at = torch.arange(x.shape[-1]) * 7 // x.shape[-1]
    parts = (at[:, None] * 7 + at).expand(x.shape)
    return lambda: KernelShap(net).attribute(
        x, target=0, feature_mask=parts, n_samples=settings["samples"]
    )


def _epsilon(net: Any, x: Any, settings: Settings, runs: int) -> Call:
    import torch
    import zennit.canonizers
    import zennit.core
    import zennit.rules
    import zennit.types

    def rule(context: Any, name: str, module: Any) -> Any:
        linear = isinstance(module, zennit.types.Linear)
        if linear:
            return zennit.rules.Epsilon(1e-6)
        return zennit.rules.Pass() if isinstance(module, zennit.types.Activation) else None

    merge = zennit.canonizers.SequentialMergeBatchNorm()
    composite = zennit.core.Composite(rule, canonizers=[merge])

    def call() -> Any:
        leaf = x.clone().requires_grad_()
        with composite.context(net) as changed:
            score = changed(leaf)[:, 0]
            return torch.autograd.grad(score.sum(), leaf)

    return call


def _attnlrp(net: Any, x: Any, settings: Settings, runs: int) -> Call:
    """Return a call of lxt's patches, where the network is a transformer's."""
    import lxt
    import torch
    from architectures.transformers import Attention
    from torch import nn

    if not any(isinstance(m, Attention) for m in net.modules()):
        raise LookupError("lxt is for transformers")
    bare = ModuleType("lxt.efficient")  # which imports transformers for the networks it patches
    bare.__path__ = [f"{lxt.__path__[0]}/efficient"]
    sys.modules.setdefault("lxt.efficient", bare)
    from lxt.efficient import patches

    def attend(module: Any, query: Any, key: Any, value: Any) -> Any:
        return (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(-1) @ value

    def attention(self: Any, x: Any) -> Any:
        n, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = patches.wrap_attention_forward(attend)(self, q, k, v)
        return self.out(y.transpose(1, 2).reshape(n, tokens, dim))

    forwards = {nn.LayerNorm: patches.layer_norm_forward, nn.GELU: patches.non_linear_forward,
                Attention: attention}  # fmt: skip
    for module in net.modules():
        if type(module) in forwards:
            module.original_forward = module.forward
            module.forward = MethodType(forwards[type(module)], module)

    def call() -> Any:
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(net(leaf)[:, 0].sum(), leaf)

    return call


_MAKERS: dict[str, tuple[str, Callable[[Any, Any, Settings, int], Call]]] = {
    "ablation-cam": ("pytorch_grad_cam", _ablation),
    "score-cam": ("pytorch_grad_cam", _score_cam),
    "integrated-gradients": ("captum", _integrated),
    "occlusion": ("captum", _occlusion),
    "kernel-shap": ("captum", _kernel_shap),
    "lrp-epsilon": ("zennit", _epsilon),
    "attnlrp": ("lxt", _attnlrp),
}


def _without_torchvision() -> None:
    """Stand in for torchvision, whose wheels do not load beside a CPU build of torch."""
    try:
        importlib.import_module("torchvision.transforms").Compose  # noqa: B018 - it is whole
    except (ImportError, AttributeError):
        _stand_in()


def _stand_in() -> None:
    for name, contents in _TORCHVISION.items():
        module = ModuleType(name)
        for each in contents:
            setattr(module, each, type(each, (), {}))
        sys.modules[name] = module


def seconds(call: Call, clock: Callable[[], float], runs: int) -> float:
    """Return the median of the seconds that a call takes.

    The first call is not counted, unless it takes so long that what it sets up does not matter.
    """
    times: list[float] = []
    while len(times) <= runs and (len(times) != 1 or times[0] < _LONG):
        begin = clock()
        call()
        times.append(clock() - begin)
    return float(np.median(times[1:] or times))
