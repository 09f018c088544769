"""Ordered lists of other rules: which node takes which, and where."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from onnx import parser
from support import nets
from support.runtime import run

from onnxcam.autodiff.api import vjp_model
from onnxcam.autodiff.overrides import before, below, by_name, by_operator, overriding, own_rule
from onnxcam.autodiff.view import NodeView, Override, Overrides
from onnxcam.graph.emit import Emitter, Tensor

HEAD = """<ir_version: 8, opset_import: ["" : 20]>
"""
# Two ways from x to y; what a node multiplies its gradient with shows which rule it took.
BRANCHES = """g (float[2] x) => (float[2] y) {
  [a] a = Neg (x)
  [b] b = Neg (a)
  [c] c = Neg (x)
  [y] y = Sum (b, c, c)
}"""
X = np.array([1, -2], "f4")


def _times(op: Emitter, node: NodeView, dy: Tensor, *, factor: float) -> Any:
    return [dx if dx is None else op.Mul(dx, factor) for dx in own_rule(op, node, dy)]


def _override(applies: Any, factor: float, **options: Any) -> Override:
    return Override(applies, _times, {"factor": factor}, **options)


def _gradient(model: Any, overrides: Any, **feeds: np.ndarray) -> list[float]:
    proto = parser.parse_model(HEAD + model) if isinstance(model, str) else model
    name = proto.graph.output[0].name
    feeds = {"x": X, **feeds}
    return run(
        vjp_model(proto, ["x"], [name], overrides=overrides), {**feeds, f"ct::{name}": X * 0 + 1}
    )["grad::x"].tolist()


def test_the_first_that_matches_wins() -> None:
    named, kind = _override(by_name("a"), 10), _override(by_operator("Neg"), 2)
    assert _gradient(BRANCHES, [named, kind]) == [20 - 4] * 2
    assert _gradient(BRANCHES, [kind, named]) == [4 - 4] * 2
    assert _gradient(BRANCHES, Overrides((named,))) == [10 - 2] * 2


def test_in_a_mapping_a_name_goes_before_a_type() -> None:
    ten, two = partial(_times, factor=10), partial(_times, factor=2)
    for rules in ({"Neg": two, "a": ten}, {"a": ten, "Neg": two}):
        assert _gradient(BRANCHES, rules) == [20 - 4] * 2
        assert [o.what for o in overriding(rules).items][:2] == list(rules)


@pytest.mark.parametrize(("k", "want"), [(1, 1 - 2), (2, 3 - 6), (3, 9 - 6)])
def test_places_are_counted_from_the_input_along_the_longest_way(k: int, want: int) -> None:
    def is_neg(node: Any) -> bool:
        return bool(node.op == "Neg")

    early = _override(by_operator("Neg"), 3, where=before(k, is_neg))
    assert _gradient(BRANCHES, [early]) == [want] * 2


def test_below_a_tensor() -> None:
    assert _gradient(BRANCHES, [_override(by_operator("Neg"), 3, where=below("a"))]) == [3 - 2] * 2
    assert _gradient(BRANCHES, [_override(by_operator("Neg"), 3, where=below("b"))]) == [9 - 2] * 2


def test_a_pattern_sees_the_nodes_behind() -> None:
    def before_sum(node: NodeView) -> bool:
        return [n.op for n in node.route.takers(node.raw.outputs[0])] == ["Sum"]

    assert _gradient(BRANCHES, [_override(before_sum, 5)]) == [5 - 10] * 2
    assert _gradient(BRANCHES, [_override(before_sum, 5, where=below("b"))]) == [5 - 2] * 2


def test_what_is_zero_stays_zero_unless_it_is_revived() -> None:
    text = "g (float[2] x) => (float[2] y) { s = Sign (x) y = Add (s, x) }"

    def passed(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
        return dy

    every = Override(lambda node: node.op_type == "Sign", passed)
    assert _gradient(text, [every]) == [1, 1]
    revived = Override(by_operator("Sign"), passed, revives=True)
    assert _gradient(text, [every, revived]) == [2, 2]
    assert _gradient(text, {"Sign": passed}) == [2, 2]


BODY = """g (bool c, float[2] x) => (float[2] y) {
  p = Neg (x)
  [if] q = If (c) <then_branch = t () => (float[2] a) { [inner] a = Neg (p) },
                   else_branch = e () => (float[2] b) { b = Identity (p) }>
  y = Neg (q)
}"""


def test_what_is_in_a_body_lies_where_its_node_does() -> None:
    def counted(node: Any) -> bool:
        return node.op in ("Neg", "If")

    def gradient(*overrides: Override) -> list[float]:
        return _gradient(BODY, overrides, c=np.array(True))

    for k, want in ((2, -3), (3, -9), (4, -27)):
        early = _override(by_operator("Neg"), 3, where=before(k, counted))
        assert gradient(early) == [want] * 2
    assert gradient(_override(by_name("inner"), 5)) == [-5] * 2
    assert gradient(_override(by_name("inner"), 5, where=below("p"))) == [-1] * 2


def test_what_an_override_does_to_a_gate_undoes_the_common_rule_of_swish() -> None:
    text = "g (float[2] x) => (float[2] y) { [gate] s = Sigmoid (x) y = Mul (x, s) }"
    blocked = Override(by_name("gate"), lambda op, node, dy: op.Mul(dy, 0), where=below("s"))
    np.testing.assert_allclose(_gradient(text, [blocked]), 1 / (1 + np.exp(-X)), rtol=1e-6)


def test_broadcast_gradients_are_summed_in_a_nodes_own_rule() -> None:
    text = """g (float[2] x) => (float[3,2] y) {
      o = Constant <value = float[3,1] {1,2,3}> ()
      y = Mul (x, o)
    }"""
    proto = parser.parse_model(HEAD + text)
    twice = _override(by_operator("Mul"), 2)
    made = vjp_model(proto, ["x"], ["y"], overrides=[twice])
    assert run(made, {"x": X, "ct::y": np.ones((3, 2), "f4")})["grad::x"].tolist() == [12, 12]


def test_overrides_are_asked_once_each_where_nothing_is_overridden() -> None:
    """Predicates look at a route, which costs: none is asked of a node off the path."""
    asked: list[str] = []

    def applies(node: NodeView) -> bool:
        asked.append(node.name)
        return False

    vjp_model(nets.cnn(), ["relu"], ["logits"], overrides=[Override(applies, _times)])
    assert sorted(asked) == ["fc", "flat", "pool"]
