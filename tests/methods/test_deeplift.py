"""DeepLIFT: by hand, against Captum, what it sums up to, and what is refused."""

from __future__ import annotations

import io
import warnings
from copy import deepcopy
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, parser
from support import nets
from support.peer_packages import captum_attr
from torch import Tensor, nn

from onnxcam import Explainer
from onnxcam.errors import UnsupportedOp

SIZE = (2, 3, 12, 12)


def _net(pool: type[nn.Module] = nn.MaxPool2d) -> nn.Sequential:
    torch.manual_seed(4)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), pool(2),
        nn.Conv2d(6, 8, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(8, 8, 1),
        nn.Sigmoid(), nn.Flatten(), nn.Linear(72, 10), nn.LeakyReLU(0.2), nn.Linear(10, 4),
    ).eval()  # fmt: skip


def _exported(net: nn.Module, x: Tensor) -> onnx.ModelProto:
    data = io.BytesIO()
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {0: "N"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (x,), data, dynamo=False, **names)
    return onnx.load_from_string(data.getvalue())


def _found(proto: Any, x: np.ndarray, target: Any = 0, **settings: Any) -> Any:
    explain = Explainer(
        proto, "deeplift", device="cpu", threads=1, upsampling="none", parameters=settings
    )
    return explain(x, target=target)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("baseline", [0.0, 0.5])
@pytest.mark.parametrize("name", ["curves", "maxima"])
def test_captum(name: str, baseline: float) -> None:
    """Beside a curve Captum's maxima do not sum up to the difference: they are apart here."""
    attr = captum_attr()
    torch.manual_seed(4)
    pool = (nn.Conv2d(3, 6, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(150, 4))
    net = nn.Sequential(*pool).eval() if name == "maxima" else _net(nn.AvgPool2d)
    x = torch.randn(SIZE, generator=torch.Generator().manual_seed(1))
    proto = _exported(net, x)
    for one in x:
        theirs = attr.DeepLift(deepcopy(net)).attribute(
            one[None], baselines=torch.full_like(one[None], baseline), target=2
        )
        want = theirs[0].sum(0).detach().numpy()
        got = _found(proto, one[None].numpy(), 2, baseline=baseline).signed_map
        assert np.linalg.norm(got - want) <= 1e-3 * np.linalg.norm(want)


def test_a_rectifier_by_hand() -> None:
    """y = relu(2 x_0 - x_1 - 1): from (0, 0) to (2, 1) the sum goes from -1 to 2, y from 0 to 2."""
    text = """<ir_version: 8, opset_import: ["" : 20]>
    g (float[N,2] x) => (float[N,1] y) <float[2,1] w = {2, -1}, float[1] b = {-1}> {
      m = MatMul (x, w)
      z = Add (m, b)
      y = Relu (z)
    }"""
    found = _found(parser.parse_model(text), np.array([[2, 1]], "f4"))
    np.testing.assert_allclose(found.signed_map.ravel(), [4 * 2 / 3, -1 * 2 / 3], rtol=1e-6)


class _Gates(nn.Module):
    """Squeeze and excitation, SiLU, an attention without softmax, residuals."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.stem, self.mix = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.down, self.up, self.head = nn.Linear(6, 3), nn.Linear(3, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        a = nn.functional.silu(self.stem(x))
        gate = self.up(self.down(a.mean((2, 3))).relu()).sigmoid()[..., None, None]
        a = a + self.mix(a * gate)
        q = a.flatten(2)
        a = nn.functional.gelu(q @ q.transpose(1, 2) @ q / 100)
        return self.head(a.amax(2))


@pytest.mark.parametrize("make", [_net, _Gates])
def test_the_map_sums_up_to_the_difference(make: Any) -> None:
    net, x = make().eval(), torch.randn(SIZE, generator=torch.Generator().manual_seed(3))
    proto = _exported(net, x)
    start = net(torch.full_like(x[:1], 0.3))[0].detach().numpy()
    for one in x:
        rise = net(one[None])[0].detach().numpy() - start
        maps = _found(proto, one[None].numpy(), [0, 1, 2, 3], baseline=0.3)
        for target, found in enumerate(maps):
            np.testing.assert_allclose(found.signed_map.sum(), rise[target], rtol=2e-3, atol=2e-4)


def test_of_a_linear_model_it_is_input_times_gradient() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    weights = {"w": np.array([2, -1], "f4").reshape(1, 2, 1, 1)}
    proto = nets.model(nodes, {"x": ["N", 2, 2, 2]}, {"y": ["N", 1]}, weights)
    x = np.arange(8, dtype="f4").reshape(1, 2, 2, 2)
    np.testing.assert_allclose(_found(proto, x).signed_map, (2 * x[0, 0] - x[0, 1]) / 4)


@pytest.mark.parametrize(
    "body",
    [
        "s = Softmax (x) y = MatMul (s, w)",
        "l = LpNormalization (x) y = MatMul (l, w)",
        "r = Reciprocal (x) q = Max (x, r) y = MatMul (q, w)",
    ],
)
def test_what_has_no_rule_is_refused(body: str) -> None:
    text = f"""<ir_version: 8, opset_import: ["" : 20]>
    g (float[N,2] x) => (float[N,1] y) <float[2,1] w = {{2, -1}}> {{ {body} }}"""
    with pytest.raises(UnsupportedOp, match="DeepLIFT has no rule") as error:
        _found(parser.parse_model(text), np.ones((1, 2), "f4"))
    assert error.value.hint and "integrated-gradients" in error.value.hint
