"""Random compositions: gradients against differences, and at every level of optimisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto
from support.fuzzing import Case, displaced, random_case
from support.gradcheck import check_gradient
from support.runtime import RUNTIME_ERRORS
from support.second_order import check_second_order
from support.variants import symbolic

from onnxcam.autodiff import vjp_model
from onnxcam.errors import UnsupportedOp

PLAIN, EXHAUSTIVE = range(40), range(40, 640)
LEVELS = ("ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")
ROUNDED = 2e-3  # of the largest entry: what a dozen operators lose in single precision


@pytest.mark.parametrize("seed", PLAIN)
def test_composition(seed: int) -> None:
    """A few of the random graphs."""
    check(seed)


@pytest.mark.exhaustive
@pytest.mark.parametrize("start", range(EXHAUSTIVE.start, EXHAUSTIVE.stop, 20))
def test_many_compositions(start: int) -> None:
    """Many of them, twenty a test."""
    for seed in range(start, start + 20):
        try:
            check(seed)
        except Exception as error:
            error.add_note(f"the graph of seed {seed}")
            raise


def test_the_graphs_are_what_they_are_meant_to_be() -> None:
    """The same for a seed, of many operators, and ONNX Runtime runs nearly all."""
    cases = [random_case(seed) for seed in PLAIN]
    again = random_case(PLAIN[-1]).model.SerializeToString(deterministic=True)
    assert cases[-1].model.SerializeToString(deterministic=True) == again
    drawn = {node.op_type for case in cases for node in case.model.graph.node}
    assert len(drawn) > 60
    assert drawn >= {"Conv", "If", "Loop", "Scan"}
    assert sum(_runtime_agrees(case) for case in cases) > 0.85 * len(cases)


def check(seed: int) -> None:
    """Check one graph: the gradient of inputs and of a tensor within, optimised and not.

    Of every tenth the gradient of the gradient is checked too.
    """
    case = random_case(seed)
    try:
        _check_first_order(case, seed)
        if seed % 10 == 0:
            check_second_order(case.model, case.feeds, case.wrt, case.outputs, seed=seed,
                               forget=case.symbolic, **_tolerances(case))  # fmt: skip
    except UnsupportedOp as error:
        if "the rank of" not in str(error):
            raise  # the only refusal here: behind an If whose branches differ in it


def _check_first_order(case: Case, seed: int) -> None:
    options = {"outputs": case.outputs, "symbolic": case.symbolic, "seed": seed,
               "keep_opset": case.keep_opset, **_tolerances(case)}  # fmt: skip
    check_gradient(case.model, case.feeds, wrt=case.wrt, **options)
    moved = displaced(case)
    check_gradient(moved.model, moved.feeds, wrt=moved.wrt[-1:], **options)
    if options["runtime"]:
        within = _at_every_level(case, [*case.wrt, case.internal])[f"grad::{case.internal}"]
        behind = _at_every_level(moved, moved.wrt)[f"grad::{moved.wrt[-1]}"]
        _close(within, behind, "the gradient of a tensor within")


def _tolerances(case: Case) -> dict[str, Any]:
    """Return what is allowed; ONNX Runtime counts where its own forward pass is right."""
    return {"minimum": 0.0, "runtime_rtol": ROUNDED, "runtime": _runtime_agrees(case)}


def _runtime_agrees(case: Case) -> bool:
    """Tell whether ONNX Runtime runs the model, and gives what ONNX's evaluator gives."""
    try:
        runs = [_run(case.model, case, level) for level in ("ORT_DISABLE_ALL", *LEVELS)]
    except RUNTIME_ERRORS:
        return False
    return all(np.allclose(v, case.values[n], 0, 1e-3) for got in runs for n, v in got.items())


def _at_every_level(case: Case, wrt: list[str]) -> dict[str, np.ndarray]:
    """Run a gradient in ONNX Runtime as it is; optimised it must give the same."""
    model = symbolic(case.model) if case.symbolic else case.model
    gradient = vjp_model(model, wrt, case.outputs)
    plain = _run(gradient, case, "ORT_DISABLE_ALL")
    for level in LEVELS:
        for name, value in _run(gradient, case, level).items():
            _close(value, plain[name], f"{name} at {level}")
    return plain


def _run(model: ModelProto, case: Case, level: str) -> dict[str, np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    data = model.SerializeToString()
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(5)
    feeds = dict(case.feeds)
    for name in case.outputs:
        feeds[f"ct::{name}"] = rng.standard_normal(case.values[name].shape).astype(np.float32)
    names = [o.name for o in session.get_outputs()]
    given = {i.name for i in [*session.get_inputs(), *session.get_overridable_initializers()]}
    values = session.run(names, {k: v for k, v in feeds.items() if k in given})
    return dict(zip(names, values, strict=True))


def _close(got: np.ndarray, want: np.ndarray, what: str) -> None:
    assert got.shape == want.shape, f"{what}: shape {got.shape}, not {want.shape}"
    scale = max(1.0, float(np.abs(want).max(initial=0)))
    np.testing.assert_allclose(got, want, rtol=0, atol=ROUNDED * scale, err_msg=what)
