"""Layer-wise relevance propagation: by hand, by a naive version, and what is refused."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from click.testing import CliRunner
from onnx import ModelProto, helper, parser
from support import nets
from support.lrp_oracle import relevance
from support.runtime import run
from torch import Tensor, nn

from onnxcam import Explainer
from onnxcam.autodiff.api import vjp_model
from onnxcam.autodiff.view import Overrides
from onnxcam.cli import main
from onnxcam.errors import UnsupportedOp
from onnxcam.methods.lrp import lrp_alpha_beta, lrp_epsilon, lrp_epsilon_plus, lrp_gamma

HEAD = """<ir_version: 8, opset_import: ["" : 20]>
"""


def _relevance(model: ModelProto, x: np.ndarray, rules: Overrides, target: int = 0) -> np.ndarray:
    name, score = model.graph.input[0].name, model.graph.output[0].name
    made = vjp_model(model, [name], [score], overrides=rules)
    seed = np.zeros_like(run(model, {name: x}, [score])[score])
    seed[:, target] = 1
    return run(made, {name: x, f"ct::{score}": seed})[f"grad::{name}"] * x


def _text(text: str) -> ModelProto:
    return parser.parse_model(HEAD + text)


# ---- by hand

LINEAR = """g (float[1,2] x) => (float[1,2] y)
  <float[2,2] w = {1, 3, 2, -1}, float[2] b = {1, -4}> {
  m = MatMul (x, w)
  y = Add (m, b)
}"""


def test_the_epsilon_rule_by_hand() -> None:
    """y = (1 + 4 + 1, 3 - 2 - 4) of x = (1, 2): the bias counts in what is divided by."""
    x = np.array([[1, 2]], "f4")
    model = _text(LINEAR)
    for target, want in enumerate(([6 / 6.5, 4 * 6 / 6.5], [3 * 3 / 3.5, -2 * 3 / 3.5])):
        found = _relevance(model, x, lrp_epsilon.composite(0.5), target)
        np.testing.assert_allclose(found, [want], rtol=1e-6)
    np.testing.assert_array_equal(_relevance(model, x, lrp_epsilon.composite(0), 1), [[3, -2]])


CONV = """g (float[1,2,1] x) => (float[1,1,1] y)
  <float[1,2,1] w = {3, -1}, float[1] b = {-1}> { y = Conv (x, w, b) }"""


@pytest.mark.parametrize(
    ("x", "want"),
    [
        # y = 3 - 2 - 1 = 0 has no relevance; y = 6 - 1 - 1 = 4, and 4 + 6 gamma of what helped
        ([1, 2], [0, 0]),
        ([2, 1], [6 * 2 * 4 / (4 + 6), -1 * 4 / (4 + 6)]),
        # y = -3 - 1 - 1 = -5, of which all pulled down; y = -3 + 1 - 1 = -3: -4 did
        ([-1, 1], [-3 * 2 * 5 / 10, -1 * 2 * 5 / 10]),
        ([-1, -1], [-3 * 2 * 3 / (3 + 4), 1 * 3 / (3 + 4)]),
    ],
)
def test_the_gamma_rule_by_hand(x: list[float], want: list[float]) -> None:
    rules = lrp_gamma.composite(gamma=1, epsilon=1e-9, share=1)
    found = _relevance(_text(CONV), np.array(x, "f4").reshape(1, 2, 1), rules)
    np.testing.assert_allclose(found.ravel(), want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("x", "alpha", "want"),
    [
        # of y = 6 - 1 - 1 = 4 the positive part is 6, the negative one -2
        ([2, 1], 2, [2 * 4, -1 * 4 / 2]),
        ([2, 1], 1, [4, 0]),
        # of y = -3 - 1 - 1 = -5 all is negative
        ([-1, 1], 2, [-1 * -5 * 3 / 5, -1 * -5 * 1 / 5]),
        # of y = -3 + 1 - 1 = -3
        ([-1, -1], 2, [-1 * -3 * 3 / 4, 2 * -3]),
    ],
)
def test_the_alpha_beta_rule_by_hand(x: list[float], alpha: float, want: list[float]) -> None:
    rules = lrp_alpha_beta.composite(alpha, 1e-9)
    found = _relevance(_text(CONV), np.array(x, "f4").reshape(1, 2, 1), rules)
    np.testing.assert_allclose(found.ravel(), want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("first", "want"),
    [
        ("flat", [2, 2]),  # of y = 4
        ("w2", [4 * 9 / 11, 4 * 1 / 11]),  # the bias has 1 of 11
        # (6, -1) less -1 (3, 0) less 4 (0, -1): 9 and 3 of 12
        ("zbox", [4 * 9 / 12, 4 * 3 / 12]),
    ],
)
def test_the_rules_of_the_first_layer_by_hand(first: str, want: list[float]) -> None:
    rules = lrp_alpha_beta.composite(2, 1e-9, first, -1, 4)
    made = vjp_model(_text(CONV), ["x"], ["y"], overrides=rules)
    x = np.array([2, 1], "f4").reshape(1, 2, 1)
    found = run(made, {"x": x, "ct::y": np.ones((1, 1, 1), "f4")})["grad::x"]
    np.testing.assert_allclose(found.ravel(), want, rtol=1e-6)


PREPARED = """g (float[1,2,1] x) => (float[1,1,1] y)
  <float[1,2,1] w = {3, -1}, float[1] b = {-1}, float[1] m = {1}, float[1] s = {0.5}> {
  c = Sub (x, m)
  d = Div (c, s)
  y = Conv (d, w, b)
}"""


def test_what_prepares_the_input_takes_no_relevance() -> None:
    """(2, 1.5) becomes (2, 1): the first layer shares out the same, and no pixel scales it."""
    for first, want in ("flat", [2, 2]), ("zbox", [3, 1]):
        rules = lrp_alpha_beta.composite(2, 1e-9, first, -1, 4)
        made = vjp_model(_text(PREPARED), ["x"], ["y"], overrides=rules)
        x = np.array([2, 1.5], "f4").reshape(1, 2, 1)
        found = run(made, {"x": x, "ct::y": np.ones((1, 1, 1), "f4")})["grad::x"]
        np.testing.assert_allclose(found.ravel(), want, rtol=1e-6)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("c = Conv (x, w) y = Add (c, x)", "Add.*beside its first layers"),
        ("c = ConvTranspose (x, w) y = Relu (c)", "first layer of another kind"),
    ],
)
def test_first_layers_that_have_no_such_rule(body: str, words: str) -> None:
    text = f"g (float[1,1,3] x) => (float[1,1,3] y) <float[1,1,1] w = {{2}}> {{ {body} }}"
    with pytest.raises(UnsupportedOp, match=words) as error:
        vjp_model(_text(text), ["x"], ["y"], overrides=lrp_alpha_beta.composite(2, 1e-9, "flat"))
    assert error.value.hint and "first='same'" in error.value.hint


@pytest.mark.parametrize(
    ("body", "x", "want"),
    [
        ("y = Relu (x)", [2, -1], [2, 0]),
        ("six = Constant <value = float {6.0}> () y = Clip (x, , six)", [8, -1], [6, -1]),
        ("n = Constant <value = float {0.0}> () y = Max (x, n)", [3, -1], [3, 0]),
        ("y = LeakyRelu <alpha = 0.5> (x)", [2, -4], [2, -2]),
        ("y = Tanh (x)", [1, 0], [np.tanh(1), 0]),
        (
            "s = Constant <value = float {0.5}> () z = Constant <value = uint8 {0}> () "
            "q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z)",
            [200, -3],
            [127.5, 0],
        ),
        (
            "s = Constant <value = float {0.5}> () z = Constant <value = int8 {-128}> () "
            "q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z)",
            [2.1, 200],
            [2, 127.5],
        ),
        ("s = Sigmoid (x) y = Mul (s, x)", [0, 3], [0, 3 / (1 + np.exp(-3))]),
        (
            "c = Constant <value = float {3.0}> () z = Constant <value = float {0.0}> () "
            "e = Constant <value = float {6.0}> () s = Add (x, c) t = Clip (s, z, e) "
            "p = Mul (x, t) y = Div (p, e)",
            [1, -4],
            [4 / 6, 0],
        ),
        (
            "h = Constant <value = float {0.5}> () o = Constant <value = float {1.0}> () "
            "a = Mul (h, x) e = Erf (x) g = Add (e, o) y = Mul (g, a)",
            [1, 2],
            [0.5 * 1.8427008, 1.9953223],
        ),
    ],
)
def test_an_activation_hands_on_what_it_gets(body: str, x: list[float], want: list[float]) -> None:
    """Sum over y_i (the seed is 1): all of it is that of x_i."""
    made = vjp_model(
        _text(f"g (float[1,2] x) => (float[1,2] y) {{ {body} }}"),
        ["x"],
        ["y"],
        overrides=lrp_epsilon.composite(),
    )
    values = np.array([x], "f4")
    found = run(made, {"x": values, "ct::y": np.ones_like(values)})["grad::x"] * values
    np.testing.assert_allclose(found, [want], rtol=1e-5)


# ---- chains of layers

SIZE = (2, 3, 12, 12)


def _chain(*layers: nn.Module) -> nn.Sequential:
    torch.manual_seed(3)
    net = nn.Sequential(*layers)
    for module in net:
        if isinstance(module, nn.BatchNorm2d):
            c = module.num_features
            module.running_mean, module.running_var = torch.randn(c) / 4, torch.rand(c) + 0.5
            module.weight.data, module.bias.data = torch.randn(c) + 1, torch.randn(c) / 4
    return net.eval()


def _exported(net: nn.Module, x: Tensor) -> ModelProto:
    """Return the model with its BatchNormalizations as they are."""
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, (x,), data, dynamo=False, training=torch.onnx.TrainingMode.PRESERVE,
            input_names=["x"], output_names=["y"],
        )  # fmt: skip
    return onnx.load_from_string(data.getvalue())


def _merged(net: nn.Sequential) -> nn.Sequential:
    """Return the chain without BatchNormalization: part of the convolution before, or one."""
    layers: list[nn.Module] = []
    for module in net:
        if not isinstance(module, nn.BatchNorm2d):
            layers.append(module)
            continue
        scale = module.weight / torch.sqrt(module.running_var + module.eps)
        shift = module.bias - module.running_mean * scale
        if layers and isinstance(layers[-1], nn.Conv2d):
            layers[-1] = nn.utils.fuse_conv_bn_eval(layers[-1], module)
            continue
        c = module.num_features
        each = nn.Conv2d(c, c, 1, groups=c)
        each.weight.data, each.bias.data = scale.data.reshape(c, 1, 1, 1), shift.data
        layers.append(each)
    return nn.Sequential(*layers)


def _conv(cin: int, cout: int, kernel: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, kernel, padding=kernel // 2, **options)


HEADS = (nn.AvgPool2d(6), nn.Flatten(), nn.Linear(24, 5))
CHAINS = {
    "bn": lambda: _chain(
        _conv(3, 4, bias=False), nn.BatchNorm2d(4), nn.ReLU(), _conv(4, 6), nn.BatchNorm2d(6),
        nn.ReLU(), *HEADS,
    ),
    "bn alone": lambda: _chain(
        _conv(3, 6), nn.ReLU(), nn.BatchNorm2d(6), nn.ReLU(), *HEADS
    ),
    "no activation between": lambda: _chain(
        _conv(3, 4, 1), nn.BatchNorm2d(4), _conv(4, 6), nn.SiLU(), *HEADS
    ),
    "depthwise": lambda: _chain(
        _conv(3, 6), nn.ReLU6(), _conv(6, 6, groups=6), nn.BatchNorm2d(6), nn.ReLU6(),
        _conv(6, 6, 1), nn.BatchNorm2d(6), *HEADS,
    ),
    "curves": lambda: _chain(
        _conv(3, 4), nn.Tanh(), _conv(4, 6), nn.LeakyReLU(0.1), _conv(6, 6, groups=3), nn.GELU(),
        *HEADS,
    ),
    "pools": lambda: _chain(
        _conv(3, 4), nn.ReLU(), nn.MaxPool2d(2), _conv(4, 6), nn.ReLU(), nn.AvgPool2d(3),
        nn.Flatten(), nn.Linear(24, 8), nn.ReLU(), nn.Linear(8, 5),
    ),
}  # fmt: skip


def _compared(net: nn.Sequential, rules: Overrides, **options: Any) -> float:
    x = torch.randn(SIZE, generator=torch.Generator().manual_seed(5))
    merged = _merged(net)
    if options.pop("all_with_gamma", False):
        count = sum(isinstance(layer, nn.Conv2d) for layer in net)  # a norm alone has epsilon
        options["with_gamma"] = range(count)
    want = relevance(merged, x, 1, **options).numpy()
    got = _relevance(_exported(net, x), x.numpy(), rules, 1)
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


@pytest.mark.parametrize("epsilon", [1e-6, 0.3])
@pytest.mark.parametrize("name", CHAINS)
def test_the_epsilon_rule_is_that_of_the_paper(name: str, epsilon: float) -> None:
    net = CHAINS[name]()
    assert _compared(net, lrp_epsilon.composite(epsilon), epsilon=epsilon) < 2e-5


@pytest.mark.parametrize("gamma", [0.25, 3])
@pytest.mark.parametrize("name", CHAINS)
def test_the_gamma_rule_is_that_of_the_paper(name: str, gamma: float) -> None:
    net, epsilon = CHAINS[name](), 1e-2
    found = _compared(
        net,
        lrp_gamma.composite(gamma, epsilon, share=1),
        epsilon=epsilon,
        gamma=gamma,
        all_with_gamma=True,
    )
    assert found < 2e-5


@pytest.mark.parametrize(("share", "with_gamma"), [(0, ()), (0.3, (0,)), (0.5, (0, 1))])
def test_early_is_a_share_of_the_convolutions(share: float, with_gamma: tuple[int, ...]) -> None:
    rules = lrp_gamma.composite(1, 1e-3, share)
    assert _compared(CHAINS["curves"](), rules, gamma=1, epsilon=1e-3, with_gamma=with_gamma) < 2e-5


# ---- what the rules promise


class _Residual(nn.Module):
    """Without biases: a stem, a block with a projection, a join, pools."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.stem, self.f, self.g = (_conv(a, b, bias=False) for a, b in ((3, 6), (6, 6), (6, 6)))
        self.side, self.fc = _conv(6, 6, 1, bias=False), nn.Linear(12, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        a = self.stem(x).relu()
        a = nn.functional.max_pool2d(a, 3, 2, 1)
        b = (self.g(self.f(a).relu()) + self.side(a)).relu()
        return self.fc(torch.cat([a, b], 1).mean((2, 3)))


CONSERVING = {
    "eps": lrp_epsilon.composite(1e-9),
    "gamma": lrp_gamma.composite(2, 1e-9, 1),
    "plus": lrp_epsilon_plus.composite(1e-9),
    "alpha beta": lrp_alpha_beta.composite(2, 1e-9),
}
AT_FIRST = {
    first: lrp_epsilon_plus.composite(1e-9, first, -4, 4) for first in ("flat", "w2", "zbox")
}


@pytest.mark.parametrize("first", AT_FIRST)
def test_the_first_layer_conserves_relevance(first: str) -> None:
    x = torch.randn(SIZE, generator=torch.Generator().manual_seed(2))
    net = _Residual().eval()
    model = _exported(net, x)
    made = vjp_model(model, ["x"], ["y"], overrides=AT_FIRST[first])
    seed = np.eye(5, dtype="f4")[[2, 2]]
    found = run(made, {"x": x.numpy(), "ct::y": seed})["grad::x"]
    np.testing.assert_allclose(found.sum((1, 2, 3)), net(x)[:, 2].detach(), rtol=1e-4)


@pytest.mark.parametrize("name", CONSERVING)
def test_relevance_is_conserved_without_biases(name: str) -> None:
    rules = CONSERVING[name]
    x = torch.randn(SIZE, generator=torch.Generator().manual_seed(2))
    net = _Residual().eval()
    found = _relevance(_exported(net, x), x.numpy(), rules, 2)
    np.testing.assert_allclose(found.sum((1, 2, 3)), net(x)[:, 2].detach(), rtol=1e-4)


def test_a_large_epsilon_and_a_bias_keep_a_share() -> None:
    x = torch.randn(SIZE, generator=torch.Generator().manual_seed(2))
    net = _Residual().eval()
    score = np.abs(net(x)[:, 2].detach().numpy())
    found = _relevance(_exported(net, x), x.numpy(), lrp_epsilon.composite(1.0), 2)
    assert (np.abs(found.sum((1, 2, 3))) < 0.5 * score).all()


def test_a_fused_file_is_explained_as_the_plain_one(tmp_path: Path) -> None:
    """Of three convolutions two have the gamma rule, also where each is a FusedConv."""
    x = torch.randn(SIZE, generator=torch.Generator().manual_seed(5))
    net = _chain(_conv(3, 4), nn.ReLU(), _conv(4, 4), nn.ReLU(), _conv(4, 6), nn.ReLU(), *HEADS)
    plain = _exported(net, x)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    ort.InferenceSession(plain.SerializeToString(), options, providers=["CPUExecutionProvider"])
    fused = onnx.load(tmp_path / "fused.onnx")
    assert sum(n.op_type == "FusedConv" for n in fused.graph.node) == 3
    for rules in (lrp_gamma.composite(2), lrp_epsilon.composite(0.1)):
        want, got = (_relevance(m, x.numpy(), rules, 1) for m in (plain, fused))
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * np.abs(want).max())


# ---- from the shell


@pytest.mark.parametrize("method", ["lrp-epsilon", "lrp-gamma"])
def test_the_shell_explains_and_converts(method: str, zoo: Path, tmp_path: Path) -> None:
    model, picture = str(zoo / "squeezenet1.1.onnx"), str(zoo / "coffee.png")
    array, file = str(tmp_path / "map.npz"), str(tmp_path / "explained.onnx")
    for words in (["explain", model, picture, "-o", array], ["convert", model, "-o", file]):
        result = CliRunner().invoke(main, [*words, "--method", method])
        assert result.exit_code == 0, result.output
    assert onnx.load(file).graph.output[-1].name.startswith("onnxcam.")
    found = Explainer(model, method, device="cpu")(picture)
    assert found.label == "espresso" and found.signed
    np.testing.assert_array_equal(np.load(array)["raw_map"], found.raw_map)
    assert found.raw_map.min() < 0 < found.raw_map.max()


def test_the_shell_says_why_there_is_none(zoo: Path) -> None:
    model, sample = zoo / "japanese_vowels.onnx", zoo / "samples" / "vowels_speaker1_1.npy"
    result = CliRunner().invoke(
        main, ["explain", str(model), str(sample), "--method", "lrp-epsilon"]
    )
    assert result.exit_code == 1
    assert "LRP has no rule for ai.onnx::LayerNormalization" in " ".join(result.output.split())


# ---- what is refused

REFUSED = {
    "y = Softmax (x)": "Softmax.*softmax is no sum",
    "y = LayerNormalization (x, w)": "LayerNormalization.*divides by",
    "y = Mul (x, x)": "Mul.*two values",
    "m = ReduceMean <keepdims = 1> (x) s = Sigmoid (m) y = Mul (x, s)": "Mul.*two values",
    "t = Transpose (x) p = MatMul (x, t) y = MatMul (p, x)": "MatMul.*two values",
    "y = Div (w, x)": "Div.*no linear",
    "y = Exp (x)": "Exp.*no linear",
    "y = Reciprocal (x)": "Reciprocal.*no linear",
    "y = ReduceL2 <keepdims = 1> (x)": "ReduceL2",
    "y = LRN <size = 3> (x)": "LRN.*divides by",
    "c = Constant <value = bool {1}> () y = If (c) <"
    "then_branch = t () => (float[1,2] a) { a = Softmax (x) }, "
    "else_branch = e () => (float[1,2] b) { b = Identity (x) }>": "Softmax.*softmax is no sum",
}


@pytest.mark.parametrize("body", REFUSED)
@pytest.mark.parametrize("rules", [lrp_epsilon.composite(), lrp_gamma.composite()], ids=["e", "g"])
def test_what_has_no_rule_is_refused_and_says_why(body: str, rules: Overrides) -> None:
    text = f"g (float[1,2] x) => (float[1,2] y) <float[2] w = {{2, 3}}> {{ {body} }}"
    if "LRN" in body:
        text = text.replace("[1,2] x", "[1,2,1,1] x").replace("[1,2] y", "[1,2,1,1] y")
    with pytest.raises(UnsupportedOp, match=f"LRP has no rule for ai.onnx::{REFUSED[body]}") as e:
        vjp_model(_text(text), ["x"], ["y"], overrides=rules)
    assert e.value.hint and "input-x-gradient" in e.value.hint


def test_a_softmax_behind_the_scores_is_not_in_the_way() -> None:
    found = Explainer(nets.cnn(channels=3, softmax=True), "lrp-epsilon", device="cpu")
    x = np.random.default_rng(1).standard_normal((1, 3, 6, 6)).astype("f4")
    assert (found(x, target=0).signed_map < 0).any()


def test_weights_that_depend_on_the_input_are_no_layer() -> None:
    nodes = [helper.make_node("Conv", ["x", "x"], ["y"])]
    proto = nets.model(nodes, {"x": [1, 2, 3, 3]}, {"y": [1, 1, 1, 1]})
    with pytest.raises(UnsupportedOp, match="Conv"):
        vjp_model(proto, ["x"], ["y"], overrides=lrp_gamma.composite())
