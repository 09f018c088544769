"""Gradients of quantised operators for what is not their first operand: the others, their scales.

They are exact where nothing is rounded; where something is, as if it were not.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from support import reference_repairs  # noqa: F401
from support.contrib_case import Case, lowered, model_of
from support.gradcheck import run
from support.quantized_cases import QUANTIZED
from support.relaxed import Relaxed

from onnxcam.autodiff import vjp_model

# The first half of the table is of uint8, the other one the same of int8; the last is dynamic.
ELSEWHERE = {"DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QEmbedLayerNormalization"}
FIXED = {"x", "c", "yz"}  # other tests' first operand, a condition, what tells the output's dtype
CASES = [c for c in QUANTIZED if c.op_type not in ELSEWHERE and set(c.feeds) - FIXED]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.label)
def test_other_operands(case: Case) -> None:
    feeds = {k: v for k, v in case.feeds.items() if v is not None}
    model, output = model_of(case), case.outputs[0]
    wrt = [k for k in feeds if k not in FIXED or (k == "c" and case.op_type == "QGemm")]
    rng = np.random.default_rng(4)
    # Large, so that a kink shows beside what differences lose.
    ct = 64 * rng.integers(-8, 9, run(model, feeds)[output].shape).astype(np.float32)
    grad = vjp_model(model, wrt, [output])
    onnx.checker.check_model(grad, full_check=True)
    got = run(grad, {**feeds, f"ct::{output}": ct})
    relaxed = Relaxed(lowered(model), [output])
    for name in wrt:
        step = 1e-3 if feeds[name].dtype.kind in "iu" else 1e-6  # scales are small
        want, smooth = relaxed.gradient(feeds, name, [ct], step=step)
        # A single scale or zero point moves all there is, over some kink perhaps.
        assert smooth.size == 1 or smooth.mean() > 0.3, name
        far = 1e-6 * np.abs(ct).max() + 1e-3 * np.abs(want).max()
        here = got[f"grad::{name}"]
        np.testing.assert_allclose(here[smooth], want[smooth], rtol=0, atol=far, err_msg=name)
