"""Kinds of cotangents: what rules say of them, and what others make of it."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from support import nets

import onnxcam
from onnxcam.analysis.layout.rows import Rows
from onnxcam.autodiff import cotangents as ct
from onnxcam.autodiff.engine import vjp
from onnxcam.autodiff.route import topological
from onnxcam.graph.emit import Emitter, Tensor, const_value, shape_of
from onnxcam.methods.cam import sums
from onnxcam.methods.registry import Axes
from onnxcam.model.draft import Draft
from onnxcam.model.model import load
from onnxcam.run.session import Session

AUTODIFF = Path(onnxcam.__file__).parent / "autodiff"


@pytest.fixture
def draft() -> Draft:
    return Draft(load(nets.cnn()))


@pytest.fixture
def op(draft: Draft) -> Emitter:
    return draft.op


def _values(op: Emitter, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor of known shape whose values are not known."""
    return op.typed(op.RandomNormal(shape=list(shape)), op.const(np.zeros(shape, "f4")))


def test_what_is_repeated_is_narrow_over_just_its_axes(op: Emitter) -> None:
    small = _values(op, (1, 3, 1, 1))
    large = ct.repeated(op, small, op.const([1, 3, 4, 5]))
    assert ct.as_narrow(op, large, (2, 3)) is small
    assert ct.as_narrow(op, large, (2,)) is None
    assert ct.as_narrow(op, large, (1, 2, 3)) is None
    assert ct.as_addend(op, large) is small
    assert ct.as_addend(op, small) is small


def test_the_mean_of_what_is_repeated_is_free(op: Emitter, draft: Draft) -> None:
    relu, axes = draft.tensor("relu"), Axes(1, (2, 3))
    pool = op.GlobalAveragePool(relu)
    large = op.typed(ct.repeated(op, pool, op.shape(relu)), relu)
    assert sums.space_mean(op, large, axes) is pool
    assert sums.narrow(op, large, axes) is pool
    assert sums.narrow(op, large, Axes(2, (1, 3))) is large
    assert sums.space_mean(op, large, Axes(2, (1, 3))) is not pool
    assert sums.space_mean(op, relu, axes).inputs[0].op == "ReduceMean"


def test_one_hot_rows_keep_their_index(op: Emitter, draft: Draft) -> None:
    index = op.ArgMax(draft.tensor("logits"), axis=1, keepdims=0)
    rows = ct.one_hot(op, index, 3, np.float32)
    found = ct.as_one_hot(op, rows)
    assert found is not None and found[0] is index and found[1] is None
    assert ct.as_one_hot(op, draft.tensor("logits")) is None
    draft.output(rows, "rows")
    x = np.random.default_rng(0).normal(size=(4, 2, 6, 6)).astype("f4")
    logits, got = Session(draft.build()).run({"x": x})
    np.testing.assert_array_equal(got, np.eye(3)[logits.argmax(1)])


def test_scaled_one_hot_rows_keep_what_they_are_there(op: Emitter, draft: Draft) -> None:
    logits = draft.tensor("logits")
    index = op.ArgMax(logits, axis=1, keepdims=0)
    found = ct.as_one_hot(op, ct.scaled(op, ct.one_hot(op, index, 3, np.float32), logits))
    assert found is not None and found[0] is index and found[1] is not None
    assert ct.as_one_hot(op, ct.scaled(op, logits, logits)) is None
    draft.output(found[1], "values")
    x = np.random.default_rng(0).normal(size=(4, 2, 6, 6)).astype("f4")
    outputs, got = Session(draft.build()).run({"x": x})
    np.testing.assert_array_equal(got, outputs.max(1, keepdims=True))


@pytest.mark.parametrize(
    ("pads", "rows"),
    [
        ((0, 3, 0, 0, 0, 0), Rows(1, 3, 4)),
        ((0, 1, 0, 0, 6, 0), Rows(1, 1, 2)),
        ((0, 2, 0, 0, 0, 0), None),  # a third of the rows is not few
        ((0, 3, 4, 0, 0, 0), None),  # two axes
        ((0, 5, 0, 0, -1, 0), None),  # what is cut off is not a part of it
    ],
)
def test_few_rows_between_zeros(op: Emitter, pads: tuple[int, ...], rows: Rows | None) -> None:
    part = _values(op, (2, 1, 5))
    found = ct.as_rows(op, ct.between_zeros(op, part, pads))
    assert found == (None if rows is None else (part, rows))


def test_zeros_of_which_not_all_are_counted_are_no_few_rows(op: Emitter) -> None:
    part = _values(op, (2, 1, 5))
    assert ct.between_zeros(op, part, [0] * 6) is part
    behind = op.Shape(_values(op, (7,)))
    dy = ct.between_zeros(op, part, [0, 3, 0, 0, behind, 0])
    assert dy.inputs[0].op == "Pad" and ct.as_rows(op, dy) is None


def test_products_zeros_and_parts(op: Emitter, draft: Draft) -> None:
    relu, factor = draft.tensor("relu"), op.const(np.ones((4, 1, 1), "f4"))
    assert ct.as_scaled(op, ct.scaled(op, relu, factor)) == ct.Scaled(relu, factor)
    zero = ct.zeros_like(op, relu)
    assert ct.is_zero(op, zero) and not ct.is_zero(op, relu)
    assert ct.is_zero(op, ct.zeros_of_shape(op, [2, 3], np.float32))
    scalar = ct.zeros_of_shape(op, [], np.float16)
    assert ct.is_zero(op, scalar) and const_value(scalar).dtype == np.float16
    both = ct.sequence_of(op, [relu, zero], relu)
    assert ct.as_parts(op, both) == [relu, zero]
    assert ct.as_parts(op, ct.sequence_of(op, [], relu)) == []
    assert ct.as_parts(op, relu) is None


def test_nobody_looks_at_the_nodes_that_lie_before(op: Emitter, draft: Draft) -> None:
    """The same nodes, written by someone who says nothing, are nothing special."""
    relu, index = draft.tensor("relu"), op.const(np.zeros(1, np.int64))
    pool, factor = op.GlobalAveragePool(relu), op.const(np.full((4, 1, 1), 2, "f4"))
    large = op.typed(op.Expand(pool, op.shape(relu)), relu)
    assert ct.as_narrow(op, large, (2, 3)) is None and ct.as_addend(op, large) is large
    assert ct.as_one_hot(op, op.OneHot(index, 3, np.array([0, 1], "f4"), axis=-1)) is None
    assert ct.as_rows(op, op.Pad(_values(op, (1, 1)), pads=[3, 0, 0, 0])) is None
    assert ct.as_scaled(op, op.Mul(relu, factor)) is None
    assert not ct.is_zero(op, op.Expand(op.const(np.float32(0)), op.const([2, 2])))
    assert ct.as_parts(op, op.SequenceConstruct(relu, relu)) is None


@pytest.mark.parametrize("room", ["rules", "control", "ort_training", "."])
def test_no_rule_asks_for_the_node_that_wrote_its_cotangent(room: str) -> None:
    for path in (AUTODIFF / room).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            peeps = isinstance(node, ast.Attribute) and node.attr == "inputs"
            named = peeps and isinstance(node.value, ast.Name) and node.value.id
            assert named not in ("dy", "dx", "da", "db", "cotangent"), f"{path}:{node.lineno}"


def test_the_walk_uses_the_kinds(op: Emitter, draft: Draft) -> None:
    """From one-hot rows to a narrow gradient behind the global pool, without a large product."""
    relu, logits = draft.tensor("relu"), draft.tensor("logits")
    index = op.ArgMax(logits, axis=1, keepdims=0)
    seed = ct.one_hot(op, index, op.dim(logits, 1), np.float32)
    (dx,) = vjp(op, [(logits, seed)], [relu])
    small = ct.as_narrow(op, dx, (2, 3))
    assert small is not None and (shape_of(small) or ())[2:] == (1, 1)
    kinds = [node.op for node in topological([dx], {id(index), id(relu)})]
    assert "Gather" in kinds and "Gemm" not in kinds
