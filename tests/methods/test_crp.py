"""Relevance conditioned on a channel: against zennit, by sums, by hand, and what is refused."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from architectures.export import export
from architectures.weights import calibrated
from methods.test_lrp_zennit import _canonizers as canonizers
from methods.test_lrp_zennit import _net as normalised
from onnx import helper
from support import nets
from support.lrp_oracle import relevance
from support.method_oracles import net as oracle_net
from support.peer_packages import zennit, zennit_crp
from torch import Tensor, nn

from onnxcam import Explainer
from onnxcam.errors import UsageError

TARGET = 1


def _case() -> tuple[Any, Any, Tensor]:
    x = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(3))
    net = calibrated(oracle_net(), x, seed=4)
    return net, export(net, x, dynamo=False), x


def _found(proto: Any, x: Any, layer: Any, **settings: Any) -> Any:
    explain = Explainer(
        proto, "crp", feature_layer=layer, reduction_layer="output", device="cpu", threads=1,
        upsampling="none", parameters=settings,
    )  # fmt: skip
    return explain([one[None] for one in np.asarray(x)], target=TARGET)


def _layer(proto: Any) -> str:
    """The ReLU behind the second convolution."""
    return [node for node in proto.graph.node if node.op_type == "Relu"][1].output[0]


@pytest.mark.peers
@pytest.mark.parametrize("channel", [0, 5])
def test_zennit(channel: int, monkeypatch: pytest.MonkeyPatch) -> None:
    package = zennit(monkeypatch)
    net, proto, x = _case()
    chain = nn.Sequential(*net.body, *net.head).double().eval()

    def conditioned(module: nn.Module, given: Any, y: Tensor) -> None:
        y.register_hook(lambda r: r * (torch.arange(r.shape[1]) == channel)[:, None, None])

    leaf = x.double().requires_grad_()
    with package.composites.EpsilonPlusFlat().context(chain) as changed:
        handle = chain[3].register_forward_hook(conditioned)
        score = changed(leaf)
        start = torch.zeros_like(score)
        start[:, TARGET] = score[:, TARGET].detach()
        (r,) = torch.autograd.grad(score, leaf, start)
        handle.remove()
    for found, want in zip(_found(proto, x, _layer(proto), channel=channel), r, strict=True):
        wanted = want.sum(0).numpy()
        error = np.linalg.norm(found.signed_map - wanted)
        assert error <= 1e-3 * np.linalg.norm(wanted)


@pytest.mark.peers
@pytest.mark.parametrize("channels", [(0,), (5,), (1, 3, 6)])
def test_zennit_crp_with_batch_normalisation(
    channels: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Theirs keeps several channels at once, which is the sum of ours."""
    package, attribution = zennit(monkeypatch), zennit_crp("attribution")
    net, proto, x = normalised("vgg-bn")
    chain = nn.Sequential(net.body, net.head)
    places = [name for name, part in chain.named_modules() if isinstance(part, nn.ReLU)]
    composite = package.composites.EpsilonPlusFlat(canonizers=canonizers(package))
    model = deepcopy(chain).double()
    found = attribution.CondAttribution(model)(
        x.double().requires_grad_(), [{places[1]: [*channels], "y": [TARGET]}] * len(x), composite
    )
    maps = [_found(proto, x, _layer(proto), channel=k) for k in channels]
    for n, want in enumerate(found.heatmap.numpy()):
        error = np.linalg.norm(sum(each[n].signed_map for each in maps) - want)
        assert error <= 1e-3 * np.linalg.norm(want)


def test_over_all_channels_the_maps_sum_up() -> None:
    net, proto, x = _case()
    layers = nn.Sequential(*net.body, *net.head)
    want = relevance(layers, x, TARGET, alpha=1, first="flat").sum(1).numpy()
    maps = [_found(proto, x, _layer(proto), channel=k) for k in range(8)]
    for n in range(2):
        total = sum(found[n].signed_map for found in maps)
        assert np.linalg.norm(total - want[n]) <= 1e-4 * np.linalg.norm(want[n])
    best = _found(proto, x, _layer(proto))
    for n in range(2):  # the flat rule in the one layer before keeps the sum
        k = int(np.argmax([found[n].signed_map.sum() for found in maps]))
        np.testing.assert_allclose(best[n].signed_map, maps[k][n].signed_map, rtol=1e-4, atol=1e-7)


def test_each_layer_of_a_call_is_conditioned_by_itself() -> None:
    _, proto, x = _case()
    names = [node.output[0] for node in proto.graph.node if node.op_type == "Relu"][:2]
    both = _found(proto, x, names, channel=2)
    for name in names:
        for found, alone in zip(both, _found(proto, x, name, channel=2), strict=True):
            np.testing.assert_array_equal(found[f"crp.{name}"].raw_map, alone.raw_map)
    assert not np.allclose(*(both[0][f"crp.{name}"].raw_map for name in names))


def test_by_hand() -> None:
    """a = relu(w x): channels 2 x and 3 x of one pixel, y = a_0 + 2 a_1 = 2 x + 6 x."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["a"]),
        helper.make_node("Flatten", ["a"], ["f"]),
        helper.make_node("MatMul", ["f", "fc"], ["output"]),
    ]
    weights = {
        "w": np.array([2, 3], "f4").reshape(2, 1, 1, 1),
        "fc": np.repeat(np.array([[1, 1], [1, 2]], "f4"), 4, 0),
    }
    proto = nets.model(nodes, {"x": ["N", 1, 2, 2]}, {"output": ["N", 2]}, weights)
    x = np.array([[[[2, 0], [0, 1]]]], "f4")
    for channel, want in (0, 4), (1, 12), (-1, 12):
        (found,) = _found(proto, x, "a", channel=channel)
        np.testing.assert_allclose(found.raw_map, [[want, 0], [0, want / 2]], rtol=1e-5)


def test_a_channel_that_is_not_there() -> None:
    _, proto, x = _case()
    with pytest.raises(UsageError, match="8 channels, and channel 8"):
        _found(proto, x, _layer(proto), channel=8)
