"""Vision transformers need no option: grid, class tokens and layer are found, maps are right."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from architectures import ARCHITECTURES
from architectures.export import export
from architectures.weights import calibrated, inputs
from exporting import quiet
from support.method_oracles import AT_FEATURE
from support.token_nets import CASES, GRID, SIZE

from onnxcam import methods
from onnxcam.analysis.layers import catalog
from onnxcam.compose import explain_graph
from onnxcam.model.model import Model, load
from onnxcam.names import CLASS, MAP, SIGNED
from onnxcam.run.session import Session

TARGET = 2


def _exported(net: torch.nn.Module, x: torch.Tensor, exporter: str) -> Model:
    with quiet():
        if exporter == "dynamo":
            shapes = ({0: torch.export.Dim("batch")},)
            program = torch.onnx.export(
                net, (x,), dynamo=True, dynamic_shapes=shapes, verbose=False
            )
            return load(program.model_proto)
        data = io.BytesIO()
        axes = {"x": {0: "batch"}} if exporter == "legacy" else None
        torch.onnx.export(
            net, (x if axes else x[:1],), data, dynamo=False, input_names=["x"], dynamic_axes=axes
        )
        return load(data.getvalue())


@cache
def _case(name: str, exporter: str) -> tuple[Any, Model, torch.Tensor]:
    x = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    net = calibrated(CASES[name].make(), x, seed=2)
    return net, _exported(net, x, exporter), x


def _oracle(net: Any, module: Any, x: torch.Tensor, before: int, method: str) -> np.ndarray:
    """The map of a module's output [N, tokens, C], class tokens left out."""
    kept = []
    handle = module.register_forward_hook(lambda _m, _x, y: kept.append(y))
    (score,) = net(x)[:, TARGET].sum().reshape(1)
    handle.remove()
    (g,) = torch.autograd.grad(score, kept[0], create_graph=method == "shapley-cam")
    if method == "shapley-cam":  # its weights are of dy/dA - H A / 2, the layer whole
        (ha,) = torch.autograd.grad((g * kept[0].detach()).sum(), kept[0])
        g = (g - ha / 2).detach()
    a, g = (t[:, before:].unflatten(1, GRID).permute(0, 3, 1, 2) for t in (kept[0].detach(), g))
    return AT_FEATURE[method](a, g).numpy()


def _maps(model: Model, x: np.ndarray, method: str, classes: Any, **options: Any) -> Any:
    found = methods.find(method)
    explained = explain_graph(model, catalog(model), found, diagnose=True, **options)
    session = Session(explained.model, device="cpu", threads=1)
    feeds = {model.inputs[0].name: x, "onnxcam.target": np.array(classes)}
    return session.run(feeds, [SIGNED, MAP, CLASS])


def _cases() -> list[Any]:
    """All are made by the new exporter only in the long sweeps: it takes seconds for each."""
    quick = {(name, e) for name in CASES for e in ("legacy", "static")}
    quick |= {("fused", "dynamo"), ("registers", "dynamo")}
    return [
        pytest.param(n, e, marks=[] if (n, e) in quick else [pytest.mark.exhaustive])
        for n in CASES
        for e in ("legacy", "static", "dynamo")
    ]


@pytest.mark.parametrize(("name", "exporter"), _cases())
def test_transformers_need_no_option(name: str, exporter: str) -> None:
    case = CASES[name]
    net, model, x = _case(name, exporter)
    found = catalog(model)
    assert found.feature is not None
    layout = found.feature.layout
    assert layout is not None and (layout.axes, layout.grid) == ("NTC", GRID)
    assert (layout.prefix, layout.suffix) == (case.before, 0)
    assert found.feature.op == "LayerNormalization"
    assert ("every position reaches the score" in found.feature_reason) == case.last
    x = x[:1] if exporter == "static" else x
    signed, *_ = _maps(model, x.numpy(), "gradcam", [TARGET])
    module = net.blocks[-1].norm1 if case.last else net.norm
    want = _oracle(net, module, x, case.before, "gradcam")
    assert np.linalg.norm(signed[:, 0] - want) <= 1e-4 * np.linalg.norm(want)


@pytest.mark.parametrize("method", sorted(AT_FEATURE))
def test_every_method_leaves_class_tokens_out(method: str) -> None:
    net, model, x = _case("registers", "legacy")
    signed, *_ = _maps(model, x.numpy(), method, [TARGET])
    want = _oracle(net, net.blocks[-1].norm1, x, 5, method)
    assert np.linalg.norm(signed[:, 0] - want) <= 1e-4 * np.linalg.norm(want)


def test_layers_of_class_tokens_only_say_so() -> None:
    found = catalog(_case("distilled", "legacy")[1])
    reasons = {c.name: c.reason for c in found.candidates}
    last = next(c for c in reversed(found.candidates) if c.layout and "T" in c.layout.axes)
    assert reasons[last.name].startswith("only the row of class tokens reaches the score")
    assert "4 x 5 behind 2 class tokens" in found.feature_reason
    single = catalog(_case("fused", "dynamo")[1])
    assert any("only its class token reaches" in c.reason for c in single.candidates)


@pytest.mark.parametrize("exporter", ["static", "legacy"])
@pytest.mark.parametrize("method", ["gradcam", "layercam", "saliency"])
def test_many_targets_equal_single_calls(exporter: str, method: str) -> None:
    _, model, x = _case("vit", exporter)
    inputs_ = [x[:1].numpy(), x[1:].numpy()] if exporter == "static" else [x.numpy()]
    for batch in inputs_:
        _, several, classes = _maps(model, batch, method, [3, -1, 0], targets=None)
        for k, target in enumerate([3, -1, 0]):
            _, alone, number = _maps(model, batch, method, [target])
            np.testing.assert_array_equal(classes[:, k], number[:, 0])
            scale = np.abs(alone).max()
            np.testing.assert_allclose(several[:, k], alone[:, 0], atol=1e-5 * scale)


@pytest.mark.parametrize("dynamo", [False, pytest.param(True, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize(
    ("name", "axes", "extent"),
    [
        ("vit_b", "NTC", (4, 4)),
        ("deit_s", "NTC", (4, 4)),
        ("swin", "NHWC", (4, 4)),
        ("convnext", "NCHW", (4, 4)),
        ("text", "NWC", (9,)),
    ],
)
def test_architectures(name: str, axes: str, extent: tuple[int, ...], dynamo: bool) -> None:
    architecture = ARCHITECTURES[name]
    x = inputs(architecture, 2)
    net = calibrated(architecture.small(), x)
    model = load(export(net, x, dynamo=dynamo, feature=False))
    found = catalog(model)
    assert found.feature is not None and found.feature.layout is not None
    assert found.feature.layout.axes == axes
    signed, map_, _ = _maps(model, x.numpy(), "gradcam", [TARGET])
    assert map_.shape == (2, 1, *extent)
    assert np.isfinite(signed).all() and signed.std() > 0


def test_a_grid_of_any_size() -> None:
    """A convolutional start and a mean at the end: pictures of every size, tokens between."""

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = torch.nn.Conv2d(3, 8, 4, 4)
            self.norm, self.head = torch.nn.LayerNorm(8), torch.nn.Linear(8, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.norm(self.patches(x).flatten(2).transpose(1, 2)).mean(1))

    x = torch.randn(1, 3, 12, 20)
    net = calibrated(Net(), x)
    data = io.BytesIO()
    with quiet():
        torch.onnx.export(
            net, (x,), data, dynamo=False, input_names=["x"],
            dynamic_axes={"x": {0: "n", 2: "h", 3: "w"}},
        )  # fmt: skip
    model = load(data.getvalue())
    for height, width in ((12, 20), (16, 8)):
        x = torch.randn(2, 3, height, width)
        signed, map_, _ = _maps(model, x.numpy(), "gradcam", [1], upsampling="bicubic")
        assert signed.shape == (2, 1, height // 4, width // 4)
        assert map_.shape == (2, 1, height, width)
        kept = net.norm(net.patches(x).flatten(2).transpose(1, 2)).detach().requires_grad_()
        (g,) = torch.autograd.grad(net.head(kept.mean(1))[:, 1].sum(), kept)
        want = (kept * g.mean(1, keepdim=True)).sum(2).reshape(signed[:, 0].shape)
        np.testing.assert_allclose(signed[:, 0], want.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_the_onnx_file_with_tokens_passes_the_checker() -> None:
    _, model, _ = _case("registers", "static")
    explained = explain_graph(model, catalog(model), methods.find("gradcam"), upsampling="bicubic")
    onnx.checker.check_model(explained.proto, full_check=True)
