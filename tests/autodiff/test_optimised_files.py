"""Files that ONNX Runtime's optimisers wrote have the gradients of the files they were made of."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from support.gradcheck import run
from torch import nn

from onnxcam.autodiff import vjp_model

IDS = {
    "ids": np.array([[7, 3, 40, 12, 9], [1, 0, 33, 2, 2]]),
    "mask": np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
    "segments": np.array([[0, 0, 1, 1, 1], [0, 0, 0, 0, 0]]),
}
FUSED = {
    "extended": {"FusedMatMul", "BiasGelu"},
    "transformers": {"Attention", "SkipLayerNormalization", "BiasGelu"},
}


class Layer(nn.Module):
    """A layer of BERT as its authors wrote it: what the optimisers look for."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-12) for _ in range(2))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def split(self, x):
        shape = x.size(0), x.size(1), self.heads, x.size(2) // self.heads
        return x.view(shape).permute(0, 2, 1, 3)

    def forward(self, x, mask):
        q, k, v = self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))
        scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(8) + mask
        y = torch.matmul(torch.softmax(scores, -1), v).permute(0, 2, 1, 3).contiguous()
        x = self.norms[0](self.o(y.view(y.size(0), y.size(1), -1)) + x)
        return self.norms[1](self.down(nn.functional.gelu(self.up(x))) + x)


class Bert(nn.Module):
    """Two layers on embedded words."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(50, width), nn.Embedding(16, width)
        self.kinds, self.norm = nn.Embedding(2, width), nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(Layer(width, 4) for _ in range(2))
        self.head = nn.Linear(width, 3)

    def forward(self, ids, mask, segments):
        blocked = (1.0 - mask[:, None, None, :].to(torch.float32)) * -10000.0
        places = torch.arange(ids.size(1)).unsqueeze(0)
        x = self.norm(self.words(ids) + self.kinds(segments) + self.places(places))
        for layer in self.layers:
            x = layer(x, blocked)
        return self.head(torch.tanh(x[:, 0]))


class Cnn(nn.Module):
    """Convolutions with each activation that ONNX Runtime fuses into them, and a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        acts = [nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.1), nn.Sigmoid(), nn.Tanh(), nn.Hardsigmoid()]
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=g), nn.BatchNorm2d(8), act)
            for g, act in zip((1, 8, 2, 1, 1, 4), acts, strict=True)
        )
        self.mix = nn.Conv2d(8, 8, 1)
        self.hidden, self.head = nn.Linear(8, 16), nn.Linear(16, 5)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.stem(x)), 3, 2, 1)
        for block in self.blocks:
            x = x + block(x)
        x = torch.relu(self.mix(x) + x).mean((2, 3))
        return self.head(torch.relu(self.hidden(x)))


def _export(folder: Path, name: str, net: nn.Module, feeds: dict[str, np.ndarray]) -> Path:
    path = folder / f"{name}.onnx"
    axes = {k: {0: "batch", **({1: "length"} if name == "bert" else {})} for k in feeds}
    torch.onnx.export(
        net.eval(), tuple(torch.from_numpy(v) for v in feeds.values()), str(path), dynamo=False,
        input_names=list(feeds), output_names=["logits"], dynamic_axes=axes, opset_version=17,
    )  # fmt: skip
    return path


def _optimised(path: Path, level: str) -> onnx.ModelProto:
    """Return the file as ONNX Runtime saves it after optimising it for the CPU."""
    out = path.with_name(f"{path.stem}-{level}.onnx")
    if level == "transformers":
        optimizer = pytest.importorskip("onnxruntime.transformers.optimizer")
        fused = optimizer.optimize_model(
            str(path), model_type="bert", num_heads=4, hidden_size=32, opt_level=0
        )
        fused.save_model_to_file(str(out))
        return onnx.load(out)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = {
        "basic": levels.ORT_ENABLE_BASIC,
        "extended": levels.ORT_ENABLE_EXTENDED,
        "all": levels.ORT_ENABLE_ALL,
    }[level]
    options.optimized_model_filepath = str(out)
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return onnx.load(out)


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    return _export(tmp_path_factory.mktemp("bert"), "bert", Bert(), IDS)


@pytest.fixture(scope="module")
def cnn(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    net = Cnn()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return _export(tmp_path_factory.mktemp("cnn"), "cnn", net, {"x": _picture()})


def _picture() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((2, 3, 32, 32)).astype(np.float32)


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize("level", ["basic", "extended", "transformers"])
def test_a_transformer(bert: Path, level: str):
    plain, fused = onnx.load(bert), _optimised(bert, level)
    kinds = Counter(n.op_type for n in fused.graph.node if n.domain)
    assert FUSED.get(level, set()) <= set(kinds)
    ct = np.random.default_rng(2).standard_normal((2, 3)).astype(np.float32)
    feeds = {**IDS, "ct::logits": ct}
    wrt = ["words.weight", "places.weight"]
    want = run(vjp_model(plain, wrt, ["logits"]), feeds)
    grad = vjp_model(fused, wrt, ["logits"])
    forward = len(fused.graph.node)
    assert not any(n.domain for n in grad.graph.node[forward:])
    got = run(grad, feeds)
    for name in wrt:
        assert _relative(got[f"grad::{name}"], want[f"grad::{name}"]) < 1e-5


@pytest.mark.parametrize("level", ["basic", "extended", "all"])
def test_a_convolutional_net(cnn: Path, level: str):
    plain, fused = onnx.load(cnn), _optimised(cnn, level)
    if level == "extended":
        kinds = Counter(n.op_type for n in fused.graph.node if n.domain)
        assert kinds["FusedConv"] >= 5
        assert kinds["FusedGemm"] >= 1
    ct = np.random.default_rng(2).standard_normal((2, 5)).astype(np.float32)
    feeds = {"x": _picture(), "ct::logits": ct}
    want = run(vjp_model(plain, ["x"], ["logits"]), feeds)
    got = run(vjp_model(fused, ["x"], ["logits"]), feeds)
    assert _relative(got["grad::x"], want["grad::x"]) < 1e-5


def test_an_override_reaches_into_a_fused_operator(cnn: Path):
    def blocked(op, node, dy):
        return op.Mul(dy, 0.0)

    fused = _optimised(cnn, "extended")
    ct = np.ones((2, 5), np.float32)
    grad = vjp_model(fused, ["x"], ["logits"], overrides={"Relu": blocked})
    assert not run(grad, {"x": _picture(), "ct::logits": ct})["grad::x"].any()
