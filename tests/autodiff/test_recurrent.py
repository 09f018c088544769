"""RNN, GRU and LSTM: every setting against a naive network, and the usual ones against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from support import reference_repairs  # noqa: F401
from support.gradcheck import check_gradient, run
from support.naive_recurrent import recurrent
from support.variants import graph_model, symbolic

from onnxcam.autodiff import vjp_model

T, N, K, H = 4, 3, 2, 2  # times, sequences, inputs, states
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
NAMES = ("X", "W", "R", "B", "lengths", "h0", "c0", "P")
FUNCTIONS = ["Relu", "Tanh", "Sigmoid", "Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh",
             "HardSigmoid", "Elu", "Softsign", "Softplus"]  # fmt: skip


def _feeds(kind, *, lengths=None, only=NAMES, ways=1, scale=0.6, dtype=np.float32, layout=0):
    rng = np.random.default_rng(0)
    size = GATES[kind] * H
    shapes = {
        "X": (T, N, K), "W": (ways, size, K), "R": (ways, size, H), "B": (ways, 2 * size),
        "lengths": None, "h0": (ways, N, H), "c0": (ways, N, H), "P": (ways, 3 * H),
    }  # fmt: skip
    if kind != "LSTM":
        shapes = {k: v for k, v in shapes.items() if k not in ("c0", "P")}
    feeds = {k: None for k in shapes}
    for name, shape in shapes.items():
        if shape is not None and name in only:
            feeds[name] = (rng.standard_normal(shape) * scale).astype(dtype)
    if lengths is not None:
        feeds["lengths"] = np.array(lengths, np.int32)
    for name in ("X", "h0", "c0") if layout else ():
        if feeds.get(name) is not None:
            feeds[name] = np.ascontiguousarray(feeds[name].swapaxes(0, 1))
    return feeds


def _model(kind, feeds, attributes, outputs=None, opset=20):
    outputs = outputs or ["Y", "Y_h", "Y_c"][: 3 if kind == "LSTM" else 2]
    inputs = [k if v is not None else "" for k, v in feeds.items()]
    node = helper.make_node(kind, inputs, outputs, name="node", hidden_size=H, **attributes)
    infos = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for k, v in feeds.items()
        if v is not None
    ]
    return graph_model([node], infos, [o for o in outputs if o], opset=opset)


def _check(kind, attributes, *, forget=False, outputs=None, **how):
    ways = 2 if attributes.get("direction") == "bidirectional" else 1
    feeds = _feeds(kind, ways=ways, layout=attributes.get("layout", 0), **how)
    given = {k: v for k, v in feeds.items() if v is not None}
    model = _model(kind, feeds, attributes, outputs)
    return check_gradient(model, given, symbolic=forget, minimum=0.9)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("lengths", [None, [2, 4, 3], [4, 0, 1]])
def test_directions_and_lengths(kind, direction, lengths):
    for forget in (False, True):
        report = _check(kind, {"direction": direction}, lengths=lengths, forget=forget)
        assert report.runtime


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("given", [("X", "W", "R"), ("X", "W", "R", "B"), ("X", "W", "R", "h0")])
def test_omitted_inputs(kind, given):
    _check(kind, {"direction": "bidirectional"}, only=given)
    _check(kind, {}, only=given, forget=True, lengths=[3, 1, 4])


@pytest.mark.parametrize(
    "only", [("X", "W", "R", "c0"), ("X", "W", "R", "P"), ("X", "W", "R", "B", "P")]
)
def test_omitted_inputs_of_lstm(only):
    _check("LSTM", {}, only=only)
    _check("LSTM", {"direction": "reverse"}, only=only, lengths=[3, 1, 4])


@pytest.mark.parametrize(
    ("kind", "outputs"),
    [
        ("RNN", ["Y"]), ("RNN", ["", "Y_h"]), ("GRU", ["", "Y_h"]), ("LSTM", ["Y"]),
        ("LSTM", ["", "Y_h"]), ("LSTM", ["", "", "Y_c"]), ("LSTM", ["", "Y_h", "Y_c"]),
    ],
)  # fmt: skip
def test_omitted_outputs(kind, outputs):
    for lengths in (None, [2, 4, 0]):
        _check(kind, {"direction": "bidirectional"}, outputs=outputs, lengths=lengths)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_activation_functions(kind, name):
    count = {"RNN": 1, "GRU": 2, "LSTM": 3}[kind]
    _check(kind, {"activations": [name] * count}, scale=0.2)
    alphas, betas = [0.3, 0.4, 0.6][:count], [0.2, 0.1, 0.7][:count]
    parameters = {"activation_alpha": alphas, "activation_beta": betas}
    _check(kind, {"activations": [name] * count, **parameters}, scale=0.2)


def test_parameters_go_to_the_functions_that_have_them():
    functions = ["hardsigmoid", "TANH", "LeakyRelu", "Elu", "Sigmoid", "Affine"]
    settings = {"activation_alpha": [0.3, 0.2, 0.7, 0.9], "activation_beta": [0.4, 0.1]}
    _check("LSTM", {"direction": "bidirectional", "activations": functions, **settings}, scale=0.2)


SETTINGS = {
    "clip RNN": ("RNN", {"clip": 0.4}),
    "clip GRU": ("GRU", {"clip": 0.4}),
    "clip LSTM": ("LSTM", {"clip": 0.4}),
    "reset after": ("GRU", {"linear_before_reset": 1}),
    "reset after, clipped": ("GRU", {"linear_before_reset": 1, "clip": 0.4}),
    "reset after, both ways": ("GRU", {"linear_before_reset": 1, "direction": "bidirectional"}),
    "coupled": ("LSTM", {"input_forget": 1}),
    "coupled, both ways": ("LSTM", {"input_forget": 1, "direction": "bidirectional"}),
    "coupled, clipped": ("LSTM", {"input_forget": 1, "clip": 0.4}),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings(name):
    kind, attributes = SETTINGS[name]
    for lengths in (None, [2, 4, 0]):
        assert _check(kind, attributes, lengths=lengths).runtime
        _check(kind, attributes, lengths=lengths, forget=True)
    _check(kind, attributes, only=("X", "W", "R"))


@pytest.mark.parametrize("kind", GATES)
def test_batch_first(kind):
    """ONNX Runtime's CPU kernels do not know this layout; the reference does."""
    for way in ("forward", "bidirectional"):
        for lengths in (None, [2, 4, 3]):
            report = _check(kind, {"layout": 1, "direction": way}, lengths=lengths)
            assert not report.runtime


@pytest.mark.parametrize("kind", GATES)
def test_half_precision(kind):
    feeds = _feeds(kind, dtype=np.float16)
    given = {k: v for k, v in feeds.items() if v is not None}
    check_gradient(_model(kind, feeds, {}), given)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("way", ["forward", "bidirectional"])
@pytest.mark.parametrize("forget", [False, True])
def test_second_order(kind, way, forget):
    """Differences of the exact first gradient, which a complex step through the naive net gives."""
    attributes = {"direction": way, **({"linear_before_reset": 1} if kind == "GRU" else {})}
    feeds = _feeds(kind, ways=2 if way == "bidirectional" else 1)
    given = {k: v for k, v in feeds.items() if v is not None}
    model = _model(kind, feeds, attributes)
    first = vjp_model(symbolic(model) if forget else model, ["X"], ["Y"])
    for info in first.graph.output:
        info.name = info.name.replace("grad::X", "first")
    first.graph.node[-1].output[0] = first.graph.node[-1].name = "first"
    second = vjp_model(first, ["X", "R", "ct::Y"], ["first"])
    rng = np.random.default_rng(1)
    ys = recurrent(kind, *feeds.values(), **attributes)
    ct, v = (rng.standard_normal(s).astype(np.float32) for s in (ys[0].shape, feeds["X"].shape))
    got = run(second, {**given, "ct::Y": ct, "ct::first": v})

    def along(x, r, ct):  # the first gradient along v
        inputs = {**feeds, "X": x + 1e-20j * v, "R": r}
        return (recurrent(kind, *inputs.values(), **attributes)[0].imag * ct).sum() / 1e-20

    here = [a.astype(np.float64) for a in (feeds["X"], feeds["R"], ct)]
    for i, name in enumerate(["X", "R", "ct::Y"]):
        u = rng.standard_normal(here[i].shape)
        ahead, behind = (
            [a + s * u if j == i else a for j, a in enumerate(here)] for s in (1e-5, -1e-5)
        )
        want = (along(*ahead) - along(*behind)) / 2e-5
        assert (got[f"grad::{name}"] * u).sum() == pytest.approx(want, rel=2e-3, abs=2e-4)


def _torch_weights(net, gates, order):
    """Return W, R, B of a torch network, gates in the order of ONNX."""

    def gather(stem):
        found = []
        for suffix in ("", "_reverse") if net.bidirectional else ("",):
            parts = torch.chunk(getattr(net, f"{stem}_l0{suffix}"), gates)
            found.append(torch.cat([parts[i] for i in order]))
        return torch.stack(found)

    b = torch.cat([gather("bias_ih"), gather("bias_hh")], 1)
    return [t.detach().numpy() for t in (gather("weight_ih"), gather("weight_hh"), b)]


@pytest.mark.parametrize(
    ("kind", "make", "order", "attributes"),
    [
        ("RNN", torch.nn.RNN, [0], {}),
        ("GRU", torch.nn.GRU, [1, 0, 2], {"linear_before_reset": 1}),
        ("LSTM", torch.nn.LSTM, [0, 3, 1, 2], {}),
    ],
)
@pytest.mark.parametrize("both", [False, True])
def test_against_torch(kind, make, order, attributes, both):
    torch.manual_seed(0)
    net = make(K, H, bidirectional=both)
    w, r, b = _torch_weights(net, GATES[kind], order)
    ways = 1 + both
    x = torch.randn(T, N, K, requires_grad=True)
    h0, c0 = (torch.randn(ways, N, H, requires_grad=True) for _ in range(2))
    state = (h0, c0) if kind == "LSTM" else h0
    y, _ = net(x, state)
    ct = torch.randn_like(y)
    (y * ct).sum().backward()
    feeds = {"X": x.detach().numpy(), "W": w, "R": r, "B": b, "lengths": None}
    feeds["h0"] = h0.detach().numpy()
    if kind == "LSTM":
        feeds["c0"] = c0.detach().numpy()
    way = "bidirectional" if both else "forward"
    grad = vjp_model(
        _model(kind, feeds, {"direction": way, **attributes}), ["X", "W", "R", "B", "h0"], ["Y"]
    )
    ct = ct.reshape(T, N, ways, H).permute(0, 2, 1, 3).numpy()
    got = run(grad, {**{k: v for k, v in feeds.items() if v is not None}, "ct::Y": ct})
    for p in net.parameters():
        p.data = p.grad
    dw, dr, db = _torch_weights(net, GATES[kind], order)
    wanted = {"X": x.grad.numpy(), "h0": h0.grad.numpy(), "W": dw, "R": dr, "B": db}
    for name, want in wanted.items():
        np.testing.assert_allclose(got[f"grad::{name}"], want, rtol=2e-5, atol=2e-5, err_msg=name)


def test_unknown_types_of_inputs_of_known_rank_by_the_specification():
    """X behind branches of several ranks: its own rank is 3 all the same."""
    feeds = _feeds("LSTM", only=("X", "W", "R"))
    model = _model("LSTM", feeds, {})
    model.graph.node[0].input[0] = "x3"
    yes = helper.make_graph(
        [helper.make_node("Squeeze", ["X", "axes"], ["t"])], "t", [], [_unknown("t")]
    )
    no = helper.make_graph([helper.make_node("Identity", ["X"], ["e"])], "e", [], [_unknown("e")])
    branch = helper.make_node("If", ["c"], ["x3"], then_branch=yes, else_branch=no)
    model.graph.node.insert(0, branch)
    model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    model.graph.initializer.append(helper.make_tensor("axes", TensorProto.INT64, [1], [0]))
    for info in model.graph.input:
        if info.name == "X":
            for i, dim in enumerate(info.type.tensor_type.shape.dim):
                dim.dim_param = f"d{i}"
    del model.graph.value_info[:]
    given = {k: v for k, v in feeds.items() if v is not None}
    check_gradient(model, {**given, "c": np.array(False)}, wrt=["X", "W"])


def _unknown(name):
    info = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
    info.type.tensor_type.ClearField("shape")
    return info
