"""What the table of operators says is what the engine does."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx_graphsurgeon as gs
import pytest
from support import nets
from support.attention_cases import ATTENTION
from support.contrib_case import Case, model_of
from support.contrib_cases import SMOOTH
from support.quantized_cases import QUANTIZED

from onnxcam.autodiff import vjp_model
from onnxcam.autodiff.coverage import KINDS, MEANING, coverage, known, of_model, refusals
from onnxcam.autodiff.engine import vjp
from onnxcam.autodiff.registry import lookup
from onnxcam.autodiff.rules.contrib import by_definition
from onnxcam.errors import ModelError, UnsupportedOp
from onnxcam.graph.contrib import is_defined
from onnxcam.graph.emit import Emitter
from onnxcam.model.model import load

KNOWN = {(c.domain, c.op_type): c for c in known()}
NEWEST = onnx.defs.onnx_opset_version()
OPSETS = {"": NEWEST, "com.microsoft": 1, "com.microsoft.nchwc": 1, "ai.onnx.ml": 5,
          "ai.onnx.preview": 1, "ai.onnx.preview.training": 1}  # fmt: skip


def _of(kind: str) -> list[tuple[str, str]]:
    return [key for key, c in KNOWN.items() if c.kind == kind]


def _differentiated(domain: str, op_type: str) -> object:
    """Ask the engine for the gradient through one node of an operator."""
    x, y, ct = (gs.Variable(n, np.dtype(np.float32), [2, 3]) for n in ("x", "y", "ct"))
    node = gs.Node(op_type, "node", inputs=[x], outputs=[y], domain=domain or None)
    graph = gs.Graph(nodes=[node], inputs=[x, ct], outputs=[y], opset=NEWEST)
    return vjp(Emitter(graph, OPSETS), [(y, ct)], [x])[0]


def test_every_operator_of_onnx_is_in_the_table() -> None:
    newest = {(s.domain, s.name) for s in onnx.defs.get_all_schemas() if not s.deprecated}
    assert newest <= set(KNOWN)
    assert {c.kind for c in KNOWN.values()} == set(KINDS) == set(MEANING)
    assert all(c.reason for c in KNOWN.values() if c.kind in ("zero", "none"))
    others = {c.reason[:11] for c in KNOWN.values() if c.kind not in ("zero", "none")}
    assert others == {"", "but refused"}


@pytest.mark.parametrize(("domain", "op_type"), _of("none"))
def test_what_has_no_gradient_is_refused(domain: str, op_type: str) -> None:
    with pytest.raises(UnsupportedOp, match="'node'") as caught:
        _differentiated(domain, op_type)
    assert refusals()[domain, op_type] in str(caught.value)


@pytest.mark.parametrize(("domain", "op_type"), _of("zero"))
def test_what_is_zero_gives_no_gradient(domain: str, op_type: str) -> None:
    assert _differentiated(domain, op_type) is None


@pytest.mark.parametrize(("domain", "op_type"), [*_of("rule"), *_of("straight-through")])
def test_what_has_a_rule_is_found_in_the_registry(domain: str, op_type: str) -> None:
    assert lookup(domain, op_type, OPSETS[domain]) is not None


@pytest.mark.parametrize(("domain", "op_type"), _of("expanded"))
def test_what_is_expanded_has_a_definition(domain: str, op_type: str) -> None:
    entry = lookup(domain, op_type, OPSETS[domain])
    if entry is not None:
        assert entry.rule is by_definition and is_defined(domain, op_type)
        return
    schema = onnx.defs.get_schema(op_type, OPSETS[domain], domain)
    assert schema.has_function or schema.has_context_dependent_function


FOREIGN: dict[str, list[Case]] = {}
for _case in (*SMOOTH, *ATTENTION, *QUANTIZED):
    FOREIGN.setdefault(_case.op_type, []).append(_case)
DATA = {"QLinearConcat": 2, "QLinearWhere": 1, "QEmbedLayerNormalization": 2}  # else the first


@pytest.mark.parametrize("op_type", FOREIGN)
def test_what_is_straight_through_says_so_in_the_model(op_type: str) -> None:
    cases = FOREIGN[op_type]
    said = [_provenance(case) for case in (cases[0], cases[-1])]
    if coverage(cases[0].domain, op_type, OPSETS[cases[0].domain]).kind == "straight-through":
        assert any(each.startswith("straight-through") for each in said)
    else:
        assert set(said) == {"exact"}


def _provenance(case: Case) -> str:
    """Return how true the gradient of a node with respect to its data is said to be."""
    name = list(case.feeds)[DATA.get(case.op_type, 0)]
    grad = vjp_model(model_of(case), [name], [o for o in case.outputs if o][:1])
    return next(p.value for p in grad.metadata_props if p.key == "onnxcam.gradient")


def test_the_opset_of_a_model_counts() -> None:
    assert coverage("", "Swish", 24).kind == "rule"
    assert coverage("", "Attention", 22).kind == "none"
    assert coverage("", "Attention", 23).kind == "expanded"
    assert coverage("com.example", "Odd", 1).reason == "there is no rule for it"


def _counted(text: str) -> dict[str, tuple[str, int, int]]:
    used = of_model(load(onnx.parser.parse_model(text)))
    return {u.coverage.name: (u.coverage.kind, u.nodes, u.on_path) for u in used}


def test_the_operators_of_a_model_are_counted_on_and_off_the_path() -> None:
    counted = _counted("""<ir_version: 8, opset_import: ["" : 20, "ai.onnx.ml" : 3]>
      g (float[n, 3] x, float[n, 3] z) => (float[n, 1] y, float[n, 3] side) {
        a = Relu (x) t = ai.onnx.ml.TreeEnsembleRegressor (a) s = Shape (z)
        b = Relu (z) side = Round (b) l = Reshape (t, s) y = Relu (t) }""")
    assert counted["Relu"] == ("rule", 3, 2)
    assert counted["Round"] == ("zero", 1, 0) and counted["Shape"] == ("zero", 1, 0)
    assert counted["ai.onnx.ml::TreeEnsembleRegressor"] == ("none", 1, 1)


def test_operators_inside_subgraphs_are_counted() -> None:
    counted = _counted("""<ir_version: 8, opset_import: ["" : 20]>
      g (float[n, 3] x, bool c) => (float[n, 3] y) {
        y = If (c) <then_branch = a () => (float[n, 3] p) { q = Exp (x) p = Exp (q) },
                    else_branch = b () => (float[n, 3] r) { r = Neg (x) }> }""")
    assert counted == {"If": ("rule", 1, 1), "Exp": ("rule", 2, 2), "Neg": ("rule", 1, 1)}


def test_the_score_can_be_named() -> None:
    def on_path(layer: str | None) -> int:
        used = of_model(load(nets.cnn()), reduction_layer=layer)
        return sum(u.on_path for u in used)

    assert 0 < on_path("relu") < on_path(None)


def test_a_model_without_a_score_is_an_error() -> None:
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 20]>
      g (float[n, 3] x) => (int64[2] y) { y = Shape (x) }""")
    with pytest.raises(ModelError, match="no floating point output"):
        of_model(load(model))
