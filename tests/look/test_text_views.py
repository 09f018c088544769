"""Texts: tables of tokens, words of pieces, colours, the shell, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper, numpy_helper

from onnxcam import Explainer
from onnxcam.cli import main
from onnxcam.errors import InputError, UsageError
from onnxcam.inputs.vocabulary import Vocabulary
from onnxcam.look.text import explained_text
from onnxcam.output.render import figure_bars

RNG = np.random.default_rng(0)
EMBEDDING = RNG.normal(size=(12, 4)).astype("f4")
HEAD = RNG.normal(size=(4, 2)).astype("f4")
PIECES = ["[CLS]", "the", "film", "play", "##ing", "was", "[SEP]", "<good>", "bad", "very"]
IDS = np.array([[0, 1, 3, 4, 5, 9, 7, 6]], "i8")


def _net(*, gate: str | None = "Tanh", mask: bool = False) -> onnx.ModelProto:
    """Word and segment embeddings, a curve, a (masked) mean, a linear head."""
    tables = {"word": EMBEDDING, "segment": EMBEDDING[:2], "head": HEAD}
    nodes = [
        helper.make_node("Gather", ["word", "input_ids"], ["looked_up"]),
        helper.make_node("Gather", ["segment", "token_type_ids"], ["side"]),
        helper.make_node("Add", ["looked_up", "side"], ["sum"]),
        helper.make_node(gate or "Identity", ["sum"], ["bent"]),
    ]
    last, names = "bent", ["input_ids", "token_type_ids"]
    if mask:
        tables["two"] = np.array([2])
        nodes += [
            helper.make_node("Unsqueeze", ["attention_mask", "two"], ["wide"]),
            helper.make_node("Cast", ["wide"], ["ones"], to=1),
            helper.make_node("Mul", ["bent", "ones"], ["kept"]),
        ]
        last, names = "kept", [*names, "attention_mask"]
    nodes += [
        helper.make_node("ReduceMean", [last], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "head"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info(n, 7, ["N", "T"]) for n in names],
        [helper.make_tensor_value_info("y", 1, ["N", 2])],
        [numpy_helper.from_array(value, name) for name, value in tables.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _vocabulary(folder: Path) -> Path:
    place = folder / "vocab.txt"
    place.write_text("\n".join(PIECES), "utf-8")
    return place


def test_words_sum_up_to_the_difference(tmp_path: Path) -> None:
    """By the shares of a linear model each token's is (e - 0) w / T, whatever the steps."""
    found = explained_text(_net(gate=None), IDS, _vocabulary(tmp_path), target=1)
    want = EMBEDDING[IDS[0]] @ HEAD[:, 1] / 8
    np.testing.assert_allclose(found.map, want, rtol=1e-4, atol=1e-6)
    words = found.words()
    assert words.texts == ("[CLS]", "the", "playing", "was", "very", "<good>", "[SEP]")
    assert words.special == (True, False, False, False, False, False, True)
    assert words.map[2] == pytest.approx(want[2] + want[3], rel=1e-4)
    assert words.map.sum() == pytest.approx(want.sum(), rel=1e-4)


@pytest.mark.parametrize("mask", [False, True])
def test_a_curve_is_integrated(mask: bool, tmp_path: Path) -> None:
    """The shares sum up to the score's difference from that of an embedding of 0."""
    found = explained_text(_net(mask=mask), IDS, _vocabulary(tmp_path), target=0)

    def y(rows: np.ndarray) -> float:
        return float(np.tanh(rows + EMBEDDING[0]).mean(0) @ HEAD[:, 0])

    rise = y(EMBEDDING[IDS[0]]) - y(np.zeros((8, 4)))
    assert found.map.sum() == pytest.approx(rise, rel=1e-3)
    t, weights = np.polynomial.legendre.leggauss(50)
    want = np.zeros(8)
    for at, weight in zip((t + 1) / 2, weights / 2, strict=True):
        rows = EMBEDDING[IDS[0]].astype(float)
        slope = (1 - np.tanh(at * rows + EMBEDDING[0]) ** 2) * HEAD[:, 0] / 8
        want += weight * (rows * slope).sum(1)
    np.testing.assert_allclose(found.map, want, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["kernel-shap", "occlusion", "hirescam", "gradcam"])
def test_other_methods_have_words_as_well(name: str, tmp_path: Path) -> None:
    found = explained_text(_net(), IDS[0], _vocabulary(tmp_path), name, target=0)
    assert len(found.map) == 8 and np.isfinite(found.map).all() and np.abs(found.map).any()
    assert found.error is None or found.words().error is not None


def test_integers_name_their_embedding() -> None:
    with pytest.raises(UsageError, match="no gradient") as error:
        Explainer(_net(), "saliency", device="cpu")
    assert "feature_layer='looked_up'" in str(error.value.hint)


def _json(folder: Path, model: dict[str, Any], added: list[dict[str, Any]]) -> Path:
    place = folder / "tokenizer.json"
    place.write_text(json.dumps({"model": model, "added_tokens": added}), "utf-8")
    return place


def test_tables_of_three_kinds(tmp_path: Path) -> None:
    special = [{"id": 0, "content": "<s>", "special": True}]
    bpe = {"type": "BPE", "vocab": {"<s>": 0, "ĠHello": 1, "ing": 2, "ĠcafÃ©": 3, "Ġ": 4}}
    found = Vocabulary.read(_json(tmp_path, bpe, special)).tokens([0, 1, 2, 3, 99])
    assert [t.text for t in found] == ["<s>", "Hello", "ing", "café", "<99>"]
    assert [t.starts for t in found] == [True, True, False, True, True]
    assert [t.special for t in found] == [True, False, False, False, True]
    unigram = {"type": "Unigram", "vocab": [["<s>", 0], ["▁play", -1], ["ing", -2], ["▁", -3]]}
    found = Vocabulary.read(_json(tmp_path, unigram, special)).tokens([0, 1, 2, 3])
    assert [(t.text, t.starts) for t in found[1:]] == [("play", True), ("ing", False), (" ", True)]
    pieces = {"type": "WordPiece", "vocab": {"play": 0, "##ing": 1, "##": 2}}
    found = Vocabulary.read(_json(tmp_path, pieces, [])).tokens([0, 1, 2])
    assert [(t.text, t.starts) for t in found] == [("play", True), ("ing", False), ("##", True)]
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 1}')
    assert [t.text for t in Vocabulary.read(tmp_path / "vocab.json").tokens([1, 0])] == ["b", "a"]


@pytest.mark.parametrize("text", ["{", "[]", '{"model": {}}', '{"model": {"vocab": 3}}'])
def test_a_broken_tokenizer_is_said(text: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(InputError, match="no tokens can be read"):
        Vocabulary.read(tmp_path / "tokenizer.json")


def test_html_does_nothing_and_shows_the_values(tmp_path: Path) -> None:
    found = explained_text(_net(), IDS, _vocabulary(tmp_path), target=0).words()
    page = found.html()
    assert "&lt;good&gt;" in page and "<good>" not in page and "<script" not in page
    assert len(re.findall("background:#[0-9a-f]{6}", page)) == 7
    assert f'title="{found.map[2]:.3g}"' in page and "opacity:.55" in page
    found.save(tmp_path / "t.html")
    assert (tmp_path / "t.html").read_text().startswith("<!doctype html>")
    found.save(tmp_path / "t.json")
    rows = json.loads((tmp_path / "t.json").read_text())
    assert rows[2]["text"] == "playing" and rows[2]["value"] == pytest.approx(found.map[2])
    with pytest.raises(UsageError, match=r"Use \.html"):
        found.save(tmp_path / "t.png")
    terminal = found.terminal()
    assert terminal.count("\x1b[48;2;") == 7 and "playing" in terminal
    assert "\x1b" not in found.terminal(colour=False)


def test_named_tokens_and_those_that_do_not_fit() -> None:
    e = Explainer(_net(), "hirescam", device="cpu", feature_layer="looked_up")(
        IDS, extra_inputs={"token_type_ids": np.zeros_like(IDS)}
    )
    assert e.tokens([PIECES[i] for i in IDS[0]]).words().texts[2] == "playing"
    with pytest.raises(InputError, match="2 tokens for a map of 8 values"):
        e.tokens(["a", "b"])


def test_the_shell_shows_a_text(tmp_path: Path) -> None:
    onnx.save(_net(mask=True), str(tmp_path / "m.onnx"))
    np.save(tmp_path / "ids.npy", IDS)
    words = ["text", str(tmp_path / "m.onnx"), str(tmp_path / "ids.npy")]
    words += ["--tokens", str(_vocabulary(tmp_path))]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert (
        "playing(" in result.output and "layer-integrated-gradients at looked_up" in result.output
    )
    result = CliRunner().invoke(
        main, [*words, "--pieces", "-o", str(tmp_path / "t.html"), "--json"]
    )
    assert result.exit_code == 0 and (tmp_path / "t.html").exists() and '"ing"' in result.output
    onnx.save(_float_net(), str(tmp_path / "f.onnx"))
    result = CliRunner().invoke(main, [words[0], str(tmp_path / "f.onnx"), *words[2:]])
    assert result.exit_code != 0 and "numbers of tokens" in result.output


def _float_net() -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "net",
        [helper.make_tensor_value_info("x", 1, ["N", 4])],
        [helper.make_tensor_value_info("y", 1, ["N", 2])], [numpy_helper.from_array(HEAD, "w")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_bars_of_features_have_intervals() -> None:
    """An interval of 95 %: to each side of the bar's end."""
    map, errors = np.array([1.0, -0.5]), np.array([0.1, 0.0])
    plain = np.asarray(figure_bars(np.ones(2), map, title="t"))
    lined = np.asarray(figure_bars(np.ones(2), map, title="t", error=errors))
    assert plain.shape == lined.shape and (plain != lined).any()
    again = np.asarray(figure_bars(np.ones(2), map, title="t", error=0 * errors))
    np.testing.assert_array_equal(again, plain)
