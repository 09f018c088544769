"""Every method against its definition in torch, on the same weights."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from architectures.export import FEATURE, export
from architectures.weights import calibrated
from support import method_oracles
from support.method_oracles import ALL, AT_FEATURE

from onnxcam import methods
from onnxcam.analysis.layers import catalog
from onnxcam.compose import default_feature, explain_graph
from onnxcam.model.model import load
from onnxcam.names import CLASS, MAP, SIGNED
from onnxcam.run.session import Session

# By hand in test_methods.py: the oracle net's head is not CAM's. Of transformers: see
# test_attention_relevance.py; test_legrad.py; of differences:
# test_deeplift.py; of channels: test_crp.py.
NEED_NO_ORACLE = {  # they have one in files of their own
    "cam", "attnlrp", "libragrad", "deeplift", "crp", "legrad", "gradcam++-exact",
    "deeplift-reveal-cancel", "layer-integrated-gradients", "layer-deeplift", "layer-lrp",
}  # fmt: skip


@cache
def _case() -> tuple[Any, Any, torch.Tensor]:
    x = torch.randn(3, 3, 24, 24, generator=torch.Generator().manual_seed(3))
    net = calibrated(method_oracles.net(), x, seed=4)
    return net, load(export(net, x, dynamo=False)), x


def _explained(name: str, **options: Any) -> Any:
    model, method = _case()[1], methods.find(name)
    found = catalog(model, reduction_layer="output")
    layer = FEATURE if method.takes_feature else None
    feature = default_feature(found, layer, method)
    return explain_graph(model, found, method, feature=feature, **options)


def _error(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def test_every_method_has_an_oracle() -> None:
    assert {*ALL, *NEED_NO_ORACLE} == set(methods.names("graph"))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("target", [0, 3])
def test_the_map_is_the_definition(name: str, target: int) -> None:
    net, _, x = _case()
    session = Session(_explained(name, diagnose=True).model, device="cpu", threads=1)
    feeds = {"input": x.numpy(), "onnxcam.target": np.array([target])}
    signed, map_ = session.run(feeds, [SIGNED, MAP])
    want = method_oracles.expected(name, net, x, target).numpy()
    assert _error(signed[:, 0], want) < 2e-5
    assert signed.shape == (3, 1, *want.shape[1:])
    rectified = np.maximum(signed, 0) if methods.find(name).rectify else signed
    np.testing.assert_array_equal(map_, rectified)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("targets", [None, 3])
def test_many_targets_of_many_inputs_equal_single_calls(name: str, targets: int | None) -> None:
    x = _case()[2].numpy()
    default = [-1, 2, 0]
    several = Session(_explained(name, targets=targets, default=default).model, device="cpu")
    alone = Session(_explained(name).model, device="cpu")
    maps, classes = several.run({"input": x}, [MAP, CLASS])
    for n in range(len(x)):
        for k, target in enumerate(default):
            feeds = {"input": x[n : n + 1], "onnxcam.target": np.array([target])}
            one, number = alone.run(feeds, [MAP, CLASS])
            assert number[0, 0] == classes[n, k]
            scale = np.abs(one).max()
            np.testing.assert_allclose(maps[n, k], one[0, 0], rtol=1e-4, atol=1e-6 * scale)


@pytest.mark.parametrize("name", sorted(AT_FEATURE))
def test_nodes_have_readable_names(name: str) -> None:
    nodes = _explained(name).model.light.graph.node
    mine = [n.name for n in nodes if n.name.startswith(f"onnxcam/{name}/")]
    others = [n.name for n in nodes if n.name.startswith("onnxcam") and n.name not in mine]
    assert mine and len({n.name for n in nodes}) == len(nodes)
    behind = any("/conv" in n.lower() or "head" in n.lower() for n in others)
    assert behind == methods.find(name).uses_gradient
