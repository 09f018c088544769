"""DFT and STFT: lengths, axes and sides, known and computed; against differences and torch."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import parser
from support import reference_repairs  # noqa: F401
from support.gradcheck import run
from support.rule_cases import Case, check_all, check_dtypes, check_twice
from support.variants import frozen, node_model, symbolic

from onnxcam.autodiff import vjp_model

RNG = np.random.default_rng(0)
COMPLEX, SIGNAL = RNG.standard_normal((2, 6, 5, 2)), RNG.standard_normal((2, 11, 1))
REAL = COMPLEX[..., :1]


def _int(value):
    return np.array(value, np.int64)


DFT = {
    "real": Case("DFT", {"x": REAL}),
    "complex": Case("DFT", {"x": COMPLEX}),
    "one-sided": Case("DFT", {"x": REAL}, {"onesided": 1}),
    "inverse": Case("DFT", {"x": COMPLEX}, {"inverse": 1}),
    "inverse to real, even": Case("DFT", {"x": COMPLEX}, {"inverse": 1, "onesided": 1}),
    "inverse to real, odd": Case(
        "DFT", {"x": COMPLEX, "n": _int(11), "axis": _int(1)}, {"inverse": 1, "onesided": 1}
    ),
    "inverse to real, cut": Case(
        "DFT", {"x": COMPLEX, "n": _int(7), "axis": _int(1)}, {"inverse": 1, "onesided": 1}
    ),
    "inverse to real, filled up": Case(
        "DFT", {"x": COMPLEX, "n": _int(14), "axis": _int(-3)}, {"inverse": 1, "onesided": 1}
    ),
    "filled up": Case("DFT", {"x": COMPLEX, "n": _int(8), "axis": _int(1)}),
    "cut, one-sided": Case("DFT", {"x": REAL, "n": _int(4), "axis": _int(1)}, {"onesided": 1}),
    "first axis": Case("DFT", {"x": REAL, "n": None, "axis": _int(0)}),
    "one sample": Case("DFT", {"x": REAL[:, :1], "n": None, "axis": _int(1)}, {"onesided": 1}),
    "inverse of a real spectrum": Case(
        "DFT", {"x": REAL, "n": _int(3), "axis": _int(-3)}, {"inverse": 1}
    ),
    "before opset 20": Case(
        "DFT", {"x": COMPLEX, "n": _int(8)}, {"axis": 2}, opset=17, keep=True, twice=False
    ),
}
STFT = {
    "window": Case("STFT", {"x": SIGNAL, "step": _int(3), "w": RNG.standard_normal(4)},
                   {"onesided": 1}),
    "step beyond the window": Case(
        "STFT", {"x": SIGNAL, "step": _int(4), "w": RNG.standard_normal(3)}, {"onesided": 1}),
    "step of the window": Case(
        "STFT", {"x": SIGNAL, "step": _int(2), "w": RNG.standard_normal(2)}, {"onesided": 1}),
    "two-sided, with a length": Case(
        "STFT", {"x": SIGNAL, "step": _int(2), "w": RNG.standard_normal(5), "n": _int(5)},
        {"onesided": 0}),
    "no window": Case("STFT", {"x": SIGNAL, "step": _int(2), "w": None, "n": _int(6)},
                      {"onesided": 1}),
    "complex": Case(
        "STFT", {"x": RNG.standard_normal((2, 11, 2)), "step": _int(4),
                 "w": RNG.standard_normal(3)}, {"onesided": 0}),
    "many frames over one another": Case(
        "STFT", {"x": RNG.standard_normal((1, 40, 1)), "step": _int(1),
                 "w": RNG.standard_normal(36)}, {"onesided": 1}),
}  # fmt: skip


CASES = {**DFT, **STFT}


@pytest.mark.parametrize("name", CASES)
def test_differences(name):
    check_all(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_other_dtypes(name):
    check_dtypes(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_second_order(name):
    check_twice(CASES[name])


@pytest.mark.parametrize("length", [8, 9])
def test_stft_against_torch(length):
    x, w = torch.randn(2, 50, dtype=torch.float64), torch.hann_window(length, dtype=torch.float64)
    x.requires_grad_()
    w.requires_grad_()
    y = torch.stft(x, length, 3, window=w, center=False, return_complex=True)
    y = torch.view_as_real(y.transpose(1, 2))
    ct = torch.randn_like(y)
    y.backward(ct)
    feeds = {"x": x.detach().numpy()[..., None], "s": _int(3), "w": w.detach().numpy()}
    model = frozen(node_model("STFT", feeds, opset=20, onesided=1), feeds, ["s"])
    got = run(vjp_model(symbolic(model), ["x", "w"], ["y"]), {**feeds, "ct::y": ct.numpy()})
    np.testing.assert_allclose(got["y"], y.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(got["grad::x"][..., 0], x.grad.numpy(), atol=1e-12)
    np.testing.assert_allclose(got["grad::w"], w.grad.numpy(), atol=1e-11)


def test_nothing_flows_to_the_makers_of_windows():
    model = parser.parse_model("""<ir_version: 10, opset_import: ["": 20]>
        g (int64 n, float low) => (float[L] y) {
          w = HannWindow (n) f = CastLike (low, w) y = Mul (w, f)
        }""")
    grad = vjp_model(model, ["low"], ["y"])
    onnx.checker.check_model(grad, full_check=True)
    ct = np.arange(5, dtype=np.float32)
    got = run(grad, {"n": _int(5), "low": np.array(2, np.float32), "ct::y": ct})
    w = np.sin(np.pi * np.arange(5) / 5) ** 2
    np.testing.assert_allclose(got["grad::low"], (w * ct).sum(), rtol=1e-5)
