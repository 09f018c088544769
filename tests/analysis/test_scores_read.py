"""Which tensor is the score, what its axes count, and what may be claimed of it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from support import nets

from onnxcam import Explainer, convert
from onnxcam.analysis.layers import catalog
from onnxcam.analysis.layers.records import Reduction
from onnxcam.errors import ModelError, OnnxcamError, UsageError
from onnxcam.model.model import load

Node = helper.make_node
NAMES = ["ant", "bee", "cat"]
X = np.random.default_rng(3).normal(size=(2, 2, 6, 6)).astype("f4")
HALF, ONE, TWO, MINUS = (np.float32(v) for v in (0.5, 1, 2, -1))
NUMBERS = {"half": HALF, "one": ONE, "two": TWO, "minus": MINUS, "tiny": np.float32(1e-12)}
AXES = {"last": np.array([1]), "k": np.array([2])}


def _ended(
    nodes: list[onnx.NodeProto], outputs: dict[str, tuple[int, list[Any] | None]], **more: Any
) -> onnx.ModelProto:
    """The small net of nets.cnn() with another ending; outputs are (type, shape) by name."""
    proto = nets.cnn(**more)
    proto.graph.node.extend(nodes)
    del proto.graph.output[:]
    for name, (kind, shape) in outputs.items():
        proto.graph.output.append(helper.make_tensor_value_info(name, kind, shape))
    constants = {**NUMBERS, **AXES}
    used = {n for node in proto.graph.node for n in node.input}
    kept = [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items() if n in used]
    proto.graph.initializer.extend(kept)
    if any(node.domain for node in nodes):
        proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    return proto


def _float(name: str = "y", shape: list[Any] | None = None) -> dict[str, tuple[int, Any]]:
    return {name: (TensorProto.FLOAT, shape or ["N", 3])}


def _reading(proto: onnx.ModelProto, **options: Any) -> Reduction:
    return catalog(load(proto), **options).reduction


def _explainer(proto: onnx.ModelProto, **options: Any) -> Any:
    return Explainer(proto, device="cpu", threads=1, cache=False, **options)


def _run(proto: onnx.ModelProto, name: str, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run([name], {"x": x})[0])


# ---- the last function, by what is computed

ENDINGS = {
    "softmax": ("Softmax", [Node("Softmax", ["logits"], ["y"], axis=1)]),
    "log": ("LogSoftmax", [
        Node("Softmax", ["logits"], ["p"], axis=1), Node("Log", ["p"], ["y"]),
    ]),
    "log with a floor": ("LogSoftmax", [
        Node("Softmax", ["logits"], ["p"], axis=1), Node("Add", ["p", "tiny"], ["q"]),
        Node("Log", ["q"], ["y"]),
    ]),
    "exp of the logarithm": ("Softmax", [
        Node("LogSoftmax", ["logits"], ["l"], axis=1), Node("Exp", ["l"], ["y"]),
    ]),
    "exp over sum": ("Softmax", [
        Node("Exp", ["logits"], ["e"]), Node("ReduceSum", ["e", "last"], ["s"]),
        Node("Div", ["e", "s"], ["y"]),
    ]),
    "exp times inverse sum": ("Softmax", [
        Node("ReduceMax", ["logits", "last"], ["m"]), Node("Sub", ["logits", "m"], ["d"]),
        Node("Exp", ["d"], ["e"]), Node("ReduceSum", ["e", "last"], ["s"]),
        Node("Add", ["s", "tiny"], ["t"]), Node("Reciprocal", ["t"], ["r"]),
        Node("Mul", ["e", "r"], ["y"]),
    ]),
    "exp scaled to one": ("Softmax", [
        Node("Exp", ["logits"], ["e"]), Node("LpNormalization", ["e"], ["y"], p=1, axis=1),
    ]),
    "x - logsumexp": ("LogSoftmax", [
        Node("ReduceLogSumExp", ["logits", "last"], ["m"]), Node("Sub", ["logits", "m"], ["y"]),
    ]),
    "x - log sum exp": ("LogSoftmax", [
        Node("Exp", ["logits"], ["e"]), Node("ReduceSum", ["e", "last"], ["s"]),
        Node("Log", ["s"], ["l"]), Node("Sub", ["logits", "l"], ["y"]),
    ]),
    "1 / (1 + exp(-x))": ("Sigmoid", [
        Node("Mul", ["logits", "minus"], ["n"]), Node("Exp", ["n"], ["e"]),
        Node("Add", ["one", "e"], ["s"]), Node("Div", ["one", "s"], ["y"]),
    ]),
    "exp / (1 + exp)": ("Sigmoid", [
        Node("Exp", ["logits"], ["e"]), Node("Add", ["e", "one"], ["s"]),
        Node("Div", ["e", "s"], ["y"]),
    ]),
    "to the power of -1": ("Sigmoid", [
        Node("Neg", ["logits"], ["n"]), Node("Exp", ["n"], ["e"]),
        Node("Add", ["e", "one"], ["s"]), Node("Pow", ["s", "minus"], ["y"]),
    ]),
    "tanh": ("Sigmoid", [
        Node("Mul", ["logits", "half"], ["h"]), Node("Tanh", ["h"], ["t"]),
        Node("Add", ["t", "one"], ["s"]), Node("Mul", ["s", "half"], ["y"]),
    ]),
    "tanh in halves": ("Sigmoid", [
        Node("Div", ["logits", "two"], ["h"]), Node("Tanh", ["h"], ["t"]),
        Node("Mul", ["half", "t"], ["s"]), Node("Add", ["s", "half"], ["y"]),
    ]),
    "-softplus(-x)": ("Sigmoid", [
        Node("Neg", ["logits"], ["n"]), Node("Softplus", ["n"], ["s"]), Node("Neg", ["s"], ["y"]),
    ]),
    "clipped": ("Softmax", [
        Node("Softmax", ["logits"], ["p"], axis=1), Node("Clip", ["p", "tiny", "one"], ["y"]),
    ]),
    "doubled": ("Sigmoid", [Node("Sigmoid", ["logits"], ["p"]), Node("Mul", ["p", "two"], ["y"])]),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDINGS)
def test_the_logits_are_found_behind_what_a_function_is_written_in(name: str) -> None:
    final, nodes = ENDINGS[name]
    proto = _ended(nodes, _float())
    found = _reading(proto)
    assert (found.name, found.kind, found.final) == ("logits", "logits", final)
    assert (found.batch_axis, found.class_axis, found.classes) == (0, 1, 3)
    y = _run(proto, "y", X[:1])[0]
    explained = _explainer(proto)(X[:1])
    if "Log" in final or name == "-softplus(-x)":
        y = np.exp(y)
    y = y / 2 if name == "doubled" else y
    assert explained.probability == pytest.approx(y[explained.target], abs=1e-5)


NO_FUNCTION = {
    "another sum": [
        Node("Exp", ["logits"], ["e"]), Node("ReduceSum", ["logits", "last"], ["s"]),
        Node("Div", ["e", "s"], ["y"]),
    ],
    "twice": [
        Node("Neg", ["logits"], ["n"]), Node("Exp", ["n"], ["e"]), Node("Add", ["e", "two"], ["s"]),
        Node("Div", ["one", "s"], ["y"]),
    ],
    "turned": [Node("Softmax", ["logits"], ["p"], axis=1), Node("Mul", ["p", "minus"], ["y"])],
    "from one": [Node("Softmax", ["logits"], ["p"], axis=1), Node("Sub", ["one", "p"], ["y"])],
}  # fmt: skip


@pytest.mark.parametrize("name", NO_FUNCTION)
def test_what_only_looks_like_it_is_not_taken_for_it(name: str) -> None:
    found = _reading(_ended(NO_FUNCTION[name], _float()))
    assert (found.name, found.final) == ("y", None)
    assert _explainer(_ended(NO_FUNCTION[name], _float()))(X[:1]).probability is None


# ---- what chooses or names classes

_P = Node("Softmax", ["logits"], ["p"], axis=1)
_WORDS = np.array(NAMES, object)
CHOICES: dict[str, tuple[list[onnx.NodeProto], dict[str, tuple[int, Any]], bool]] = {
    "ArgMax": ([Node("ArgMax", ["logits"], ["y"], axis=1)], {"y": (7, ["N", 1])}, False),
    "TopK": (
        [_P, Node("TopK", ["p", "k"], ["y", "i"], axis=1)],
        {"y": (1, ["N", 2]), "i": (7, ["N", 2])},
        True,
    ),
    "ReduceMax": (
        [_P, Node("ReduceMax", ["p", "last"], ["y"], keepdims=0)],
        _float("y", ["N"]),
        True,
    ),
    "Cast": ([_P, Node("Cast", ["p"], ["y"], to=11)], {"y": (11, ["N", 3])}, True),
    "LabelEncoder": (
        [
            Node("ArgMax", ["logits"], ["i"], axis=1, keepdims=0),
            Node("LabelEncoder", ["i"], ["y"], domain="ai.onnx.ml", keys_int64s=[0, 1, 2],
                 values_strings=NAMES),
        ],
        {"y": (8, ["N"])},
        False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHOICES)
def test_the_scores_are_found_behind_a_choice(name: str) -> None:
    nodes, outputs, soft = CHOICES[name]
    found = _reading(_ended(nodes, outputs))
    assert (found.name, found.classes) == ("logits", 3)
    assert (found.final == "Softmax") is soft
    assert found.labels == (tuple(NAMES) if name == "LabelEncoder" else ())


def _zipped() -> onnx.ModelProto:
    zipped = Node("ZipMap", ["p"], ["y"], domain="ai.onnx.ml", classlabels_strings=NAMES)
    proto = _ended([_P, zipped], {})
    element = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(1, []))
    sequence = helper.make_sequence_type_proto(element)
    proto.graph.output.append(helper.make_value_info("y", sequence))
    return proto


def test_names_of_a_zipmap_are_the_labels_and_the_file_keeps_it() -> None:
    found = _explainer(_zipped())(X[:1])
    assert found.label == NAMES[found.target] and found.reduction_layer == "logits"
    assert _explainer(_zipped())(X[:1], "bee").target == 1
    made = convert(_zipped(), target="cat")
    assert made.check is not None and made.check.problems == ()
    assert "cat" in made.explained.model.metadata["onnxcam.input.labels"]


def test_integers_that_nothing_with_a_gradient_chose_are_refused() -> None:
    proto = _ended([Node("Shape", ["logits"], ["y"])], {"y": (7, [2])})
    with pytest.raises(ModelError, match="no floating point output"):
        catalog(load(proto))


# ---- one of several outputs


def test_an_output_that_another_is_made_of_is_not_the_score() -> None:
    nodes = [
        Node("Conv", ["x", "q"], ["weighing"]),
        Node("Softmax", ["weighing"], ["attention"], axis=3),
        Node("Mul", ["x", "attention"], ["seen"]),
        Node("ReduceMean", ["seen", "hw"], ["mean"], keepdims=0),
        Node("MatMul", ["mean", "fc"], ["logits"]),
    ]  # fmt: skip
    weights = {
        "q": np.ones((1, 2, 1, 1), "f4"), "hw": np.array([2, 3]), "fc": np.ones((2, 5), "f4"),
    }  # fmt: skip
    outputs = {"attention": ["N", 1, 6, 6], "logits": ["N", 5]}
    found = _reading(nets.model(nodes, {"x": ["N", 2, 6, 6]}, outputs, weights))
    assert (found.name, found.classes) == ("logits", 5)
    assert any(words.startswith("attention: ") for words in found.others)


def _detector(order: list[str], sigmoid: bool) -> onnx.ModelProto:
    nodes = [
        Node("Conv", ["x", "w"], ["c"]), Node("Relu", ["c"], ["relu"]),
        Node("Conv", ["relu", "wb"], ["b"]), Node("Conv", ["relu", "ws"], ["s"]),
        Node("Transpose", ["b"], ["bt"], perm=[0, 2, 3, 1]), Node("Reshape", ["bt", "rb"], ["bo"]),
        Node("Transpose", ["s"], ["st"], perm=[0, 2, 3, 1]), Node("Reshape", ["st", "rs"], ["so"]),
        Node("Sigmoid" if sigmoid else "Identity", ["bo"], ["where"]),
        Node("Identity", ["so"], ["what"]),
    ]  # fmt: skip
    rng = np.random.default_rng(1)
    weights = {
        "w": rng.normal(size=(4, 2, 3, 3)).astype("f4"),
        "wb": rng.normal(size=(8, 4, 1, 1)).astype("f4"),
        "ws": rng.normal(size=(6, 4, 1, 1)).astype("f4"),
        "rb": np.array([0, -1, 4]), "rs": np.array([0, -1, 3]),
    }  # fmt: skip
    shapes = {"where": ["N", 32, 4], "what": ["N", 32, 3]}
    return nets.model(nodes, {"x": ["N", 2, 6, 6]}, {n: shapes[n] for n in order}, weights)


@pytest.mark.parametrize("order", [["where", "what"], ["what", "where"]])
@pytest.mark.parametrize("sigmoid", [False, True])
def test_boxes_are_not_the_classes(order: list[str], sigmoid: bool) -> None:
    found = _reading(_detector(order, sigmoid))
    assert (found.output, found.class_axis, found.classes) == ("what", 2, 3)
    assert found.positions and any("boxes" in words for words in found.others)


# ---- axes


def _permuted(perm: list[int]) -> onnx.ModelProto:
    """A class at each of 6 columns; [N, 3, 6] in another order of axes."""
    nodes = [
        Node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]), Node("Relu", ["c"], ["relu"]),
        Node("Conv", ["relu", "h"], ["d"]), Node("ReduceMean", ["d", "rows"], ["m"], keepdims=0),
        Node("Transpose", ["m"], ["t"], perm=perm),
        Node("LogSoftmax", ["t"], ["y"], axis=perm.index(1)),
    ]  # fmt: skip
    rng = np.random.default_rng(5)
    weights = {
        "w": rng.normal(size=(4, 2, 3, 3)).astype("f4"),
        "h": rng.normal(size=(3, 4, 1, 1)).astype("f4"), "rows": np.array([2]),
    }  # fmt: skip
    shape = [["N", 3, 6][i] for i in perm]
    return nets.model(nodes, {"x": ["N", 2, 6, 6]}, {"y": shape}, weights)


@pytest.mark.parametrize("perm", [[0, 1, 2], [0, 2, 1], [2, 0, 1], [1, 2, 0], [2, 1, 0], [1, 0, 2]])
def test_batch_and_classes_are_found_wherever_they_stand(perm: list[int]) -> None:
    proto = _permuted(perm)
    found = _reading(proto)
    assert (found.batch_axis, found.class_axis) == (perm.index(0), perm.index(1))
    explain = _explainer(proto)
    together = explain(list(X[:, None]))
    plain = _explainer(_permuted([0, 1, 2]))
    for x, one in zip(X, together, strict=True):
        want = plain(x[None])
        assert one.target == want.target
        np.testing.assert_allclose(one.scores, want.scores, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(one.signed_map, want.signed_map, rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="class index 3 is out of range"):
        explain(X[:1], target=3)
    made = convert(proto)
    assert made.check is not None and made.check.problems == ()


def test_the_axis_of_the_classes_can_be_named() -> None:
    proto = _permuted([0, 1, 2])
    named = _reading(proto, class_axis=2)
    assert (named.class_axis, named.classes) == (2, 6) and "named by the caller" in named.reason
    assert _explainer(proto, class_axis=-1)(X[:1]).scores.shape == (6,)
    assert _explainer(proto)(X[:1]).scores.shape == (3,)
    with pytest.raises(UsageError, match=r"`class_axis` 3 is out of range.*\[N, 3, 6\]"):
        _explainer(proto, class_axis=3)
    with pytest.raises(UsageError, match=r"`class_axis` 0 counts the inputs"):
        convert(proto, class_axis=0)


def test_a_class_at_every_pixel_is_one_class() -> None:
    squeeze = [Node("Squeeze", ["d", "one1"], ["y"])]
    nodes = [Node("Conv", ["x", "w"], ["relu"]), Node("Conv", ["relu", "h"], ["d"]), *squeeze]
    weights = {
        "w": np.ones((4, 2, 3, 3), "f4"), "h": np.ones((1, 4, 1, 1), "f4"), "one1": np.array([1]),
    }  # fmt: skip
    found = _reading(nets.model(nodes, {"x": ["N", 2, 6, 6]}, {"y": ["N", 4, 4]}, weights))
    assert (found.class_axis, found.classes, found.positions) == (None, 1, True)


# ---- rows that are no inputs


def _squeezed(batch: Any) -> onnx.ModelProto:
    nodes = [
        *nets.cnn(batch=batch).graph.node,
        Node("Reshape", ["logits", "flat1"], ["z"]), Node("Softmax", ["z"], ["y"], axis=0),
    ]  # fmt: skip
    proto = nets.cnn(batch=batch)
    weights = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    return nets.model(
        nodes, {"x": [batch, 2, 6, 6]}, {"y": [None]}, {**weights, "flat1": np.array([-1])}
    )


def test_a_squeezed_batch_of_one_is_explained() -> None:
    found = _explainer(_squeezed(1))(X[:1])
    want = _explainer(nets.cnn(batch=1))(X[:1])
    assert found.target == want.target and found.scores.shape == (3,)
    np.testing.assert_allclose(found.map, want.map, rtol=1e-5)
    made = convert(_squeezed(1))
    assert made.check is not None and made.check.problems == ()


def test_a_score_of_a_whole_batch_is_for_single_inputs() -> None:
    proto = _ended([Node("ReduceMean", ["relu"], ["y"], keepdims=0)], _float("y", []))
    proto.graph.output[0].type.tensor_type.shape.ClearField("dim")
    together = _explainer(proto)(list(X[:, None]))
    for x, one in zip(X, together, strict=True):
        np.testing.assert_allclose(one.map, _explainer(proto)(x[None]).map, rtol=1e-5)
    with pytest.raises(UsageError, match="one for all inputs of a batch"):
        convert(proto)


def test_rows_that_are_no_inputs_are_refused_everywhere() -> None:
    """Tiles in the batch: nobody knows which of them is meant."""
    nodes = [
        Node("Reshape", ["x", "tiles"], ["t"]), Node("Conv", ["t", "w"], ["c"]),
        Node("Relu", ["c"], ["relu"]), Node("ReduceMean", ["relu", "hw"], ["m"], keepdims=0),
        Node("MatMul", ["m", "fc"], ["y"]),
    ]  # fmt: skip
    weights = {
        "tiles": np.array([-1, 1, 6, 6]), "w": np.ones((4, 1, 3, 3), "f4"),
        "hw": np.array([2, 3]), "fc": np.ones((4, 3), "f4"),
    }  # fmt: skip
    proto = nets.model(nodes, {"x": ["N", 2, 6, 6]}, {"y": [None, 3]}, weights)
    for method in ("gradcam", "rise"):
        with pytest.raises(OnnxcamError, match="rows? of scores.*reduction_layer"):
            _explainer(proto, method=method, upsampling="none")(X[:1])
    with pytest.raises(OnnxcamError, match="rows of scores"):
        convert(proto, upsampling="none")


# ---- labels and claims


@pytest.mark.parametrize("count", [2, 4])
def test_names_that_are_not_as_many_as_the_classes_are_refused(count: int) -> None:
    names = [f"n{i}" for i in range(count)]
    explain = _explainer(nets.cnn(), labels=names)
    with pytest.raises(UsageError, match=f"{count} labels for 3 scores"):
        explain(X[:1])
    with pytest.raises(UsageError, match=f"{count} labels for 3 scores"):
        convert(nets.cnn(), labels=names)


def test_names_in_the_file_that_do_not_fit_are_not_used_and_that_is_said() -> None:
    proto = nets.cnn()
    entry = proto.metadata_props.add()
    entry.key, entry.value = "names", "{0: 'person', 1: 'dog'}"
    found = _explainer(proto)(X[:1])
    assert found.label is None and "2 names for 3 scores" in found.diagnosis[-1]
    with pytest.raises(UsageError, match="2 labels for 3 scores"):
        _explainer(proto)(X[:1], target="dog")


def test_only_classes_have_a_probability() -> None:
    plain = _ended([Node("Identity", ["logits"], ["y"])], _float())
    proto = nets.cnn()
    for node in proto.graph.node:
        node.output[:] = [n.replace("logits", "angles") for n in node.output]
    proto.graph.output[0].name = "angles"
    assert _explainer(proto)(X[:1]).probability is None
    assert _explainer(proto, labels=NAMES)(X[:1]).probability is not None
    assert _explainer(plain)(X[:1]).probability is None
    assert _explainer(nets.cnn())(X[:1]).probability is not None  # called logits


LENGTHS = {
    "LpNormalization": [Node("LpNormalization", ["logits"], ["y"], axis=1)],
    "ReduceL2": [
        Node("ReduceL2", ["logits", "last"], ["n"]), Node("Max", ["n", "tiny"], ["m"]),
        Node("Div", ["logits", "m"], ["y"]),
    ],
    "by hand": [
        Node("Mul", ["logits", "logits"], ["q"]), Node("ReduceSum", ["q", "last"], ["s"]),
        Node("Sqrt", ["s"], ["n"]), Node("Div", ["logits", "n"], ["y"]),
    ],
    "to a power": [
        Node("Pow", ["logits", "two"], ["q"]), Node("ReduceSum", ["q", "last"], ["s"]),
        Node("Add", ["s", "tiny"], ["t"]), Node("Pow", ["t", "half"], ["n"]),
        Node("Reciprocal", ["n"], ["r"]), Node("Mul", ["logits", "r"], ["y"]),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", LENGTHS)
def test_an_embedding_of_length_one_has_no_classes(name: str) -> None:
    proto = _ended(LENGTHS[name], _float())
    assert _reading(proto).kind == "output"
    assert _explainer(proto)(X[:1]).probability is None


def test_joined_heads_are_explained_as_probabilities_and_that_is_said() -> None:
    nodes = [
        Node("Softmax", ["logits"], ["pa"], axis=1), Node("Sigmoid", ["logits"], ["pb"]),
        Node("Concat", ["pa", "pb"], ["y"], axis=1),
    ]  # fmt: skip
    proto = _ended(nodes, _float("y", ["N", 6]))
    found = _explainer(proto)(X[:1])
    y = _run(proto, "y", X[:1])[0]
    assert found.target == y.argmax() and found.probability == pytest.approx(y.max(), abs=1e-5)
    assert "a probability is explained" in found.diagnosis[-1]


# ---- detectors that join boxes and classes


def _joined(objectness: bool) -> onnx.ModelProto:
    names = ["box", "obj", "cls"] if objectness else ["box", "cls"]
    rows = {"box": 4, "obj": 1, "cls": 3}
    rng = np.random.default_rng(2)
    nodes = [Node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]), Node("Relu", ["c"], ["relu"])]
    weights = {"w": rng.normal(size=(4, 2, 3, 3)).astype("f4")}
    for name in names:
        weights[f"w_{name}"] = rng.normal(size=(rows[name], 4, 1, 1)).astype("f4")
        nodes.append(Node("Conv", ["relu", f"w_{name}"], [f"z_{name}"]))
        last = "Exp" if name == "box" else "Sigmoid"
        nodes.append(Node(last, [f"z_{name}"], [f"y_{name}"]))
    nodes.append(Node("Concat", [f"y_{n}" for n in names], ["y"], axis=1))
    outputs = {"y": ["N", sum(rows[n] for n in names), 6, 6]}
    return nets.model(nodes, {"x": ["N", 2, 6, 6]}, outputs, weights)


@pytest.mark.parametrize("objectness", [False, True])
@pytest.mark.parametrize("method", ["gradcam", "rise"])
def test_a_detector_explains_the_class_that_it_found(objectness: bool, method: str) -> None:
    proto = _joined(objectness)
    settings = {"masks": 10, "score": "score"} if method == "rise" else None
    explain = _explainer(proto, method=method, labels=NAMES, parameters=settings)
    for x in np.random.default_rng(9).normal(size=(6, 1, 2, 6, 6)).astype("f4"):
        y = _run(proto, "y", x)[0]
        best = y[-3:] * (y[4] if objectness else 1)
        found = explain(x)
        assert found.target == best.max((1, 2)).argmax()
        assert found.label == NAMES[found.target] and found.probability is None


# ---- heads that are mixed, and what suppression keeps

MIXED = {
    "without its background": [_P, Node("Slice", ["p", "at1", "at3", "at1"], ["y"])],
    "a mean of two": [
        _P, Node("Sigmoid", ["logits"], ["q"]), Node("Add", ["p", "q"], ["s"]),
        Node("Mul", ["s", "half"], ["y"]),
    ],
    "a product of two": [_P, Node("Sigmoid", ["logits"], ["q"]), Node("Mul", ["p", "q"], ["y"])],
}  # fmt: skip


@pytest.mark.parametrize("name", MIXED)
def test_probabilities_without_logits_of_their_own_are_called_so(name: str) -> None:
    proto = _ended(MIXED[name], _float("y", ["N", None]))
    ends = {"at1": np.array([1]), "at3": np.array([3])}
    proto.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in ends.items())
    found = _explainer(proto)(X[:1])
    y = _run(proto, "y", X[:1])[0]
    assert found.reduction_layer == "y" and "a probability is explained" in found.diagnosis[-1]
    assert found.probability == pytest.approx(y[found.target], abs=1e-6)


def test_the_scores_before_suppression_are_taken() -> None:
    proto = _joined(False)
    extra = [
        Node("Reshape", ["y_box", "rb"], ["b4"]),
        Node("Transpose", ["b4"], ["boxes"], perm=[0, 2, 1]),
        Node("Reshape", ["y_cls", "rc"], ["scores"]),
        Node("NonMaxSuppression", ["boxes", "scores", "most"], ["kept"]),
        Node("Gather", ["boxes", "zero"], ["first"]),
        Node("Gather", ["kept", "two1"], ["which"], axis=1),
        Node("Gather", ["first", "which"], ["found"]),
    ]  # fmt: skip
    weights = {
        "rb": np.array([0, 4, -1]), "rc": np.array([0, 3, -1]), "most": np.array([5]),
        "zero": np.array(0), "two1": np.array(2),
    }  # fmt: skip
    proto.graph.node.extend(extra)
    proto.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in weights.items())
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_value_info("found", 1, [None, 4]))
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    found = _reading(proto)
    assert (found.name, found.final, found.classes) == ("z_cls", "Sigmoid", 3)
    assert _explainer(proto)(X[:1]).scores.shape == (3,)


def test_a_pose_model_has_one_class_not_its_keypoints() -> None:
    proto = _joined(True)
    nodes = [
        Node("Conv", ["relu", "w_xy"], ["xy"]), Node("Conv", ["relu", "w_obj"], ["zv"]),
        Node("Sigmoid", ["zv"], ["seen"]), Node("Concat", ["xy", "seen"], ["point"], axis=1),
        Node("Concat", ["y_box", "y_obj", "point"], ["y7"], axis=1),
    ]  # fmt: skip
    proto.graph.node.extend(nodes)
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((2, 4, 1, 1), "f4"), "w_xy"))
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_value_info("y7", 1, ["N", 8, 6, 6]))
    found = _reading(proto)
    assert (found.name, found.classes) == ("z_obj", 1)


def test_a_batch_axis_that_nothing_says_is_found_out_one_by_one() -> None:
    """[T, N, C] in an order that the graph hides: as many steps as inputs would pass unseen."""
    nodes = [
        Node("Conv", ["x", "w"], ["c"]), Node("Relu", ["c"], ["relu"]),
        Node("ReduceMean", ["relu", "rows"], ["m"], keepdims=0),
        Node("Transpose", ["m"], ["t"], perm=[2, 0, 1]), Node("Shape", ["t"], ["s"]),
        Node("Cast", ["s"], ["sf"], to=1), Node("Cast", ["sf"], ["si"], to=7),
        Node("Reshape", ["t", "si"], ["r"]),
        Node("Einsum", ["r", "fc"], ["y"], equation="abc,cd->abd"),
    ]  # fmt: skip
    weights = {
        "w": np.ones((4, 2, 3, 5), "f4"), "rows": np.array([2]),
        "fc": np.random.default_rng(0).normal(size=(4, 3)).astype("f4"),
    }  # fmt: skip
    proto = nets.model(nodes, {"x": ["N", 2, 6, 6]}, {"y": [None, None, 3]}, weights)
    try:
        found = _explainer(proto)(list(X[:, None]))
    except OnnxcamError as error:
        assert "rows of scores" in str(error)
        return
    want = _run(proto, "y", X).sum(0)
    for row, one in zip(want, found, strict=True):
        np.testing.assert_allclose(one.scores, row, rtol=1e-4)


def test_the_class_for_nothing_is_not_what_a_detector_found() -> None:
    proto = _detector(["where", "what"], False)
    proto.graph.node.append(Node("Softmax", ["so"], ["scores"], axis=2))
    proto.graph.output[1].name = "scores"
    proto.graph.initializer.append(
        numpy_helper.from_array(
            np.array([4, 0, 0, 4, 0, 0], "f4"), "bias"
        )  # nothing nearly everywhere
    )
    proto.graph.node[3].input.append("bias")
    found = _explainer(proto)
    assert found.catalog.reduction.best is not None and found.catalog.reduction.best.background
    for x in np.random.default_rng(8).normal(size=(5, 1, 2, 6, 6)).astype("f4"):
        p = _run(proto, "scores", x)[0]
        assert found(x).target == 1 + p[:, 1:].max(0).argmax()


def test_a_detector_whose_last_function_is_not_written_is_warned_of() -> None:
    found = _explainer(_detector(["what", "where"], True))(X[:1])
    assert "its highest class may be the one for nothing" in found.diagnosis[-1]


def test_inputs_that_are_joined_are_no_heads() -> None:
    nodes = [_P, Node("Concat", ["p", "logits"], ["y"], axis=0)]
    with pytest.raises(OnnxcamError, match="rows of scores"):
        _explainer(_ended(nodes, _float("y", [None, 3])))(X[:1])


def test_a_softmax_over_the_inputs_names_no_classes() -> None:
    found = _reading(_ended([Node("Softmax", ["logits"], ["y"], axis=0)], _float()))
    assert (found.batch_axis, found.class_axis, found.classes) == (0, 1, 3)


def test_a_long_chain_of_functions_ends() -> None:
    names = ["logits", *(f"e{i}" for i in range(3000)), "y"]
    pairs = pairwise(names)
    nodes = [Node(("Exp", "Log")[i % 2], [a], [b]) for i, (a, b) in enumerate(pairs)]
    assert _reading(_ended(nodes, _float())).name == "y"


@pytest.mark.parametrize("method", ["gradcam", "saliency"])
def test_a_score_that_only_steps_lead_to_says_what_works(method: str) -> None:
    """A vote of heads has no gradient: the hint must not lead to layers that have none either."""
    proto = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
g (float[N,3,6,6] x) => (float[N,3] y) <int64 three = {3}, float[2] values = {0, 1}> {
  a = Relu(x) p = GlobalAveragePool(a) q = Flatten(p) m = Neg(q)
  k = ArgMax<axis = 1, keepdims = 0>(q) l = ArgMax<axis = 1, keepdims = 0>(m)
  s = OneHot(k, three, values) t = OneHot(l, three, values) y = Add(s, t)
}""")
    explainer: Any = None
    with pytest.raises(UsageError, match="but by steps.*rise"):
        explainer = Explainer(proto, method, input_format="NCHW", cache=False)
        explainer(np.ones((1, 3, 6, 6), "f4"), 1)
    few = {"masks": 4, "score": "score"}
    hidden: Any = Explainer(proto, "rise", input_format="NCHW", parameters=few, cache=False)
    assert np.isfinite(hidden(np.ones((1, 3, 6, 6), "f4"), 1).map).all()


def test_rows_of_a_bag_are_told_from_inputs() -> None:
    """Parts of one input in the place of the batch: one by one each was a bag of its own."""
    proto = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
g (float[K,2,6,6] x) => (float[1,2] y) <int64[1] zero = {0}, int64[2] space = {2, 3}> {
  a = Relu(x) p = ReduceMean<axes = [2, 3], keepdims = 0>(a)
  y = ReduceMean<axes = [0], keepdims = 1>(p)
}""")
    x = np.random.default_rng(0).normal(size=(5, 2, 6, 6)).astype("f4")
    said: Any = Explainer(proto, "saliency", input_format="NCHW", cache=False)
    with pytest.raises(ModelError, match=r"parts of one \(frames, a bag\).*DCHW"):
        said(x, 1)
    one = Explainer(proto, "saliency", input_format="DCHW", cache=False)(x, 1)
    assert one.map.shape == (5, 6, 6)


_PIXELS = "c = Conv(x, k) a = Relu(c) z = Conv(a, v) "
_SHOWN = {
    "mask": ("uint8[N,1,6,6]", "p = Sigmoid(z1) t = Greater(p, half) y = Cast<to = 2>(t)"),
    "mask, turned": ("bool[N,1,6,6]", "p = Sigmoid(z1) y = Less(half, p)"),
    "mask of 255": (
        "uint8[N,1,6,6]",
        "p = Sigmoid(z1) t = Greater(p, half) u = Cast<to = 2>(t) y = Mul(u, white)",
    ),
    "above a number each": ("bool[N,3,6,6]", "p = Sigmoid(z) y = GreaterOrEqual(p, each)"),
    "one row each": (
        "float[N,6,6,3]",
        "m = ArgMax<axis = 1, keepdims = 0>(z) y = OneHot(m, three, off_on)",
    ),
    "colours": ("uint8[N,6,6,3]", "m = ArgMax<axis = 1, keepdims = 0>(z) y = Gather(colours, m)"),
    "a list": ("seq(float[N,3,6,6])", "p = Softmax<axis = 1>(z) y = SequenceConstruct(p)"),
}


@pytest.mark.parametrize("kind", list(_SHOWN))
def test_what_is_shown_of_the_scores_is_looked_through(kind: str) -> None:
    """Masks, colours and lists have no gradient of their own: the scores that make them have."""
    written, end = _SHOWN[kind]
    rng = np.random.default_rng(1)
    one = "z1 = Gather<axis = 1>(z, first) " if "z1" in end else ""
    text = f"g (float[N,2,6,6] x) => ({written} y) {{ {_PIXELS}{one}{end} }}"
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
    arrays = {
        "k": rng.normal(size=(4, 2, 1, 1)), "v": rng.normal(size=(3, 4, 1, 1)),
        "half": np.array(0.5), "each": np.array([0.3, 0.5, 0.6]).reshape(3, 1, 1),
        "off_on": np.array([0, 1]),
    }  # fmt: skip
    whole = {"first": np.array([0]), "three": np.array(3), "white": np.array(255, "u1")}
    whole["colours"] = np.arange(9, dtype="u1").reshape(3, 3)
    stored = {n: a.astype("f4") for n, a in arrays.items()} | whole
    used = {name for node in proto.graph.node for name in node.input}
    proto.graph.initializer.extend(
        numpy_helper.from_array(a, n) for n, a in stored.items() if n in used
    )
    x = rng.normal(size=(1, 2, 6, 6)).astype("f4")
    found: Any = Explainer(proto, upsampling="none", cache=False, threads=1)(x, 0)
    layer = np.maximum(np.einsum("oc,nchw->nohw", stored["k"][..., 0, 0], x), 0)
    scores = np.einsum("oc,nchw->nohw", stored["v"][..., 0, 0], layer)
    assert found.score == pytest.approx(float(scores[0, 0].sum()), rel=1e-4)
    want = np.maximum(np.einsum("c,chw->hw", stored["v"][0, :, 0, 0], layer[0]), 0)
    np.testing.assert_allclose(found.raw_map, want, rtol=1e-3, atol=1e-5)
