"""Gradients of whole networks, as both exporters of torch write them, against torch's autograd.

In double they agree to rounding. In float32 single activations end on the other side of a kink, so
there ONNX Runtime's gradient is held against the double one by its correlation.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from architectures import ARCHITECTURES
from architectures.export import FEATURE, INPUT, OUTPUT, export, shared_weight
from architectures.weights import calibrated, inputs
from onnx import ModelProto
from support.evaluate import run as run_in_double
from support.runtime import run as run_in_onnxruntime
from support.variants import in_double
from torch import Tensor, nn

from onnxcam.autodiff import vjp_model

Arrays = dict[str, np.ndarray]
# Exporting by dynamo takes seconds: the quick run has some of each kind, in one dtype.
QUICK = ("resnet50", "mobilenet_v3", "deit_s")


def _cases(quick: tuple[str, ...]) -> list[Any]:
    names = product(ARCHITECTURES, ("torchscript", "dynamo"))
    return [
        pytest.param(
            name, exporter, id=f"{name}-{exporter}",
            marks=[pytest.mark.exhaustive] if exporter == "dynamo" and name not in quick else [],
        )
        for name, exporter in names
    ]  # fmt: skip


PARAMETERS = {  # of the published networks, with 1000 classes
    "vgg16": 138_357_544, "squeezenet": 1_235_496, "resnet50": 25_557_032, "regnet": 4_344_144,
    "densenet121": 7_978_856, "mobilenet_v2": 3_504_872, "mobilenet_v3": 2_542_856,
    "shufflenet": 2_278_604, "efficientnet_b0": 5_288_548, "convnext": 28_589_128,
    "vit_b": 86_567_656, "swin": 28_288_354,
}  # fmt: skip


@dataclass(frozen=True)
class Truth:
    """What torch says in double about a batch of three.

    Attributes:
        feeds: Input and cotangent.
        outputs: Output and feature.
        gradients: By the names of the tensors.
    """

    feeds: Arrays
    outputs: Arrays
    gradients: Arrays


@cache
def _net(name: str) -> nn.Module:
    return calibrated(ARCHITECTURES[name].small(), inputs(ARCHITECTURES[name], 8))


@cache
def _truth(name: str, weight: str) -> Truth:
    net = copy.deepcopy(_net(name)).double()
    x = _input(name)
    leaves = {} if ARCHITECTURES[name].words else {INPUT: x.requires_grad_()}
    y, feature = net(x)
    leaves |= {FEATURE: feature, weight: dict(net.named_parameters())[weight]}
    random = torch.Generator().manual_seed(7)
    ct = torch.randn(y.shape, generator=random, dtype=torch.float64)
    found = torch.autograd.grad(y, list(leaves.values()), ct)
    return Truth(
        {INPUT: _array(x), f"ct::{OUTPUT}": _array(ct)},
        {OUTPUT: _array(y), FEATURE: _array(feature)},
        {k: _array(g) for k, g in zip(leaves, found, strict=True)},
    )


def _input(name: str) -> Tensor:
    x = inputs(ARCHITECTURES[name], 3, seed=5)
    return x if ARCHITECTURES[name].words else x.double()


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()


@cache
def _exported(name: str, exporter: str, dtype: torch.dtype) -> tuple[ModelProto, str]:
    """Return the model, and the weight that is differentiated."""
    net, x = _net(name), inputs(ARCHITECTURES[name], 2)
    words = ARCHITECTURES[name].words
    if dtype is torch.float64 and words:  # TorchScript refuses attention masks in double
        model, weight = _exported(name, exporter, torch.float32)
        return in_double(model), weight
    net = copy.deepcopy(net).to(dtype)
    model = export(net, x if words else x.to(dtype), dynamo=exporter == "dynamo")
    return model, shared_weight(model, net)


def _with_gradients(model: ModelProto, truth: Truth) -> ModelProto:
    made = vjp_model(model, list(truth.gradients), [OUTPUT])
    onnx.checker.check_model(made, full_check=True)
    return made


@pytest.mark.parametrize(("name", "exporter"), _cases(QUICK))
def test_gradients_equal_autograd_in_double(name: str, exporter: str) -> None:
    model, weight = _exported(name, exporter, torch.float64)
    truth = _truth(name, weight)
    made = _with_gradients(model, truth)
    want = truth.outputs | {f"grad::{k}": v for k, v in truth.gradients.items()}
    got = dict(zip(want, run_in_double(made, truth.feeds, list(want)), strict=True))
    errors = {k: _distance(got[k], v) for k, v in want.items()}
    assert max(errors.values()) <= 1e-6, errors


@pytest.mark.parametrize(("name", "exporter"), _cases(()))
def test_onnxruntime_gives_these_gradients_in_float32(name: str, exporter: str) -> None:
    model, weight = _exported(name, exporter, torch.float32)
    truth = _truth(name, weight)
    feeds = {k: v.astype("f4") if v.dtype == "f8" else v for k, v in truth.feeds.items()}
    got = run_in_onnxruntime(_with_gradients(model, truth), feeds)
    for key, value in truth.outputs.items():
        np.testing.assert_allclose(got[key], value, rtol=0, atol=2e-4 * np.abs(value).max())
    for key, value in truth.gradients.items():
        assert got[f"grad::{key}"].dtype == np.float32
        correlation = np.corrcoef(got[f"grad::{key}"].ravel(), value.ravel())[0, 1]
        slope = np.vdot(got[f"grad::{key}"], value) / np.vdot(value, value)
        assert correlation >= 0.9998, key
        assert slope == pytest.approx(1, abs=5e-3), key


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_calibrated_networks_are_worth_differentiating(name: str) -> None:
    """No activation explodes or dies, and every gradient is there: else agreement says little."""
    weight = _exported(name, "torchscript", torch.float64)[1]
    truth = _truth(name, weight)
    for value in truth.outputs.values():
        assert 0.02 < value.std() < 20
    for key, value in truth.gradients.items():
        assert np.isfinite(value).all()
        assert np.mean(value != 0) > 0.1, key


@pytest.mark.parametrize("name", PARAMETERS)
def test_full_sizes_are_those_of_the_papers(name: str) -> None:
    full = ARCHITECTURES[name].full
    assert full is not None
    with torch.device("meta"):
        net = full()
    assert sum(p.numel() for p in net.parameters()) == PARAMETERS[name]


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
