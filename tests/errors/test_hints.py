"""No hint leads to what does not exist, or back to where its reader came from."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from support import nets

import onnxcam
from onnxcam import matlab, methods, metrics, targets
from onnxcam.cli import main
from onnxcam.cli.words import options_of
from onnxcam.inputs import InputSpec
from onnxcam.look import presets

PACKAGE = Path(onnxcam.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))


@cache
def _texts(path: Path) -> list[tuple[int, str]]:
    """Return what a file says, with {} for what is computed, and without docstrings."""
    return list(_said(path))


def _said(path: Path) -> Iterator[tuple[int, str]]:
    tree = ast.parse(path.read_text())
    kinds = (ast.FunctionDef, ast.ClassDef, ast.Module)
    bodies = [n.body for n in ast.walk(tree) if isinstance(n, kinds)]
    docstrings = {id(b[0].value) for b in bodies if b and isinstance(b[0], ast.Expr)}
    parts = {id(v) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for v in n.values}
    for node in ast.walk(tree):
        if id(node) in docstrings | parts:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            each = [v.value if isinstance(v, ast.Constant) else "{}" for v in node.values]
            yield node.lineno, "".join(map(str, each))


def _quoted(path: Path) -> Iterator[tuple[int, str]]:
    for line, text in _texts(path):
        for found in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text):
            yield line, found


def _known() -> set[str]:
    """Return what can be given somewhere: parameters, fields of descriptions, methods' settings."""
    calls: list[Any] = [onnxcam.convert, onnxcam.Explainer.__init__, onnxcam.Explainer.__call__]
    calls += [onnxcam.vjp_model, onnxcam.load, presets.save_preset, presets.try_presets]
    calls += [getattr(matlab, name) for name in matlab.__all__]
    calls += [getattr(targets, name) for name in targets.__all__ if name[:1].isupper()]
    calls += [metrics.find(name).measure for name in metrics.names()]
    calls += [InputSpec, onnxcam.Explanation]
    found = {p for call in calls if callable(call) for p in inspect.signature(call).parameters}
    found |= {p.name for name in methods.names() for p in methods.find(name).parameters}
    for command in main.commands.values():
        found |= {str(p.name) for p in command.params}
    return found


# Not arguments of onnxcam's: ONNX's attributes, ONNX Runtime's options, facts of a result.
OTHERS = {
    "ceil_mode",
    "onesided",
    "axis",
    "false",
    "fit",
    "optimized_model_filepath",
    "output",
    "output_shape",
}


def test_what_hints_name_exists() -> None:
    known, seen = _known() | OTHERS, 0
    for path in FILES:
        for line, said in _quoted(path):
            name, _, value = said.partition("=")
            where = f"{path.relative_to(PACKAGE)}:{line}: {said!r}"
            if re.fullmatch(r"[a-z_]+ *", name):
                seen += 1
                name = name.strip()
                public = hasattr(onnxcam, name) or name in known or _room(path, name)
                assert public, where
            method = re.fullmatch(r"'([\w+-]+)'", value) if name == "method" else None
            if method:
                assert method[1] in (*methods.names(), "gradient"), where
            if said.startswith("onnxcam."):
                place = said.partition("(")[0].rstrip(".")
                assert _resolves(place), where
    assert seen > 60


def _room(path: Path, name: str) -> bool:
    """Tell whether a file, or the room that it is in, has a parameter or field of this name."""
    room = path.relative_to(PACKAGE).parts[0]
    files = [path] if room.endswith(".py") else sorted((PACKAGE / room).rglob("*.py"))
    return any(
        isinstance(node, ast.arg) and node.arg == name
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
    ) or any(
        isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == name
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
    )


def _resolves(place: str) -> bool:
    module, _, rest = place.partition(".")
    found: Any = import_module(module)
    for part in rest.split("."):
        if not hasattr(found, part):
            try:
                found = import_module(f"{found.__name__}.{part}")
                continue
            except ImportError:
                return False
        found = getattr(found, part)
    return True


def test_methods_that_hints_name_in_words_exist() -> None:
    for path in FILES:
        for line, text in _texts(path):
            for name in re.findall(r"(?:the|use) (?:the )?method ([a-z][\w+-]*)", text):
                known = name in methods.names() or name in ("of", "is", "has", "that", "needs")
                assert known or not re.search(r"-|cam|grad", name), f"{path}:{line}: {name!r}"


def test_commands_and_options_that_the_shell_names_exist() -> None:
    options = options_of(main) | {option for p in main.params for option in p.opts}
    for path in FILES:
        if "cli" not in path.parts:
            continue
        for line, text in _texts(path):
            where = f"{path.relative_to(PACKAGE)}:{line}: {text!r}"
            for command in re.findall(r"`onnxcam ([a-z]+)", text):
                assert command in main.commands, where
            for option in re.findall(r"(?<![\w-])(--[a-z][a-z0-9-]+)", text):
                short = option.replace("--no-", "--")
                listed = {o.partition("/")[0] for o in options} | {"--help", "--version", "--debug"}
                named = {"--cache", "--check", "--untrusted"}
                assert short in listed | named or option in listed, where


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "m.onnx").write_bytes(nets.cnn(channels=3).SerializeToString())
    np.save(tmp_path / "x.npy", np.ones((1, 3, 6, 6), "f4"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


WRONG = [
    ["explain", "m.onnx", "x.npy", "--feature-layer", "nothing"],
    ["explain", "m.onnx", "x.npy", "--feature-layer", "logits"],
    ["explain", "m.onnx", "x.npy", "--reduction-layer", "nothing"],
    ["explain", "m.onnx", "x.npy", "--input", "nothing"],
    ["explain", "m.onnx", "x.npy", "--method", "nothing"],
    ["explain", "m.onnx", "x.npy", "--target", "cat"],
    ["explain", "m.onnx", "x.npy", "--target", "9"],
    ["explain", "m.onnx", "x.npy", "--class-axis", "5"],
    ["explain", "m.onnx", "x.npy", "--at", "4"],
    ["explain", "m.onnx", "x.npy", "--box", "1"],
    ["explain", "m.onnx", "x.npy", "--input-format", "XYZ"],
    ["explain", "m.onnx", "x.npy", "--feed", "nothing=x.npy"],
    ["explain", "m.onnx", "x.npy", "--labels", "nothing.txt"],
    ["explain", "m.onnx", "x.npy", "--op-library", "nothing.so"],
    ["convert", "m.onnx", "-o", "out.onnx", "--method", "gradient", "--wrt", "nothing"],
    ["convert", "m.onnx", "-o", "out.onnx", "--method", "rise"],
    ["layers", "m.onnx", "--reduction-layer", "nothing"],
    ["layers", "m.onnx", "--input", "nothing"],
]  # fmt: skip


@pytest.mark.parametrize("words", WRONG, ids=lambda words: " ".join([words[0], *words[3:]]))
def test_a_wrong_call_is_one_line_whose_hint_can_be_followed(words: list[str], desk: Path) -> None:
    result = CliRunner().invoke(main, words)
    said = result.output.strip()
    assert result.exit_code in (1, 2) and "Traceback" not in said, said
    assert said.splitlines()[-1].startswith("onnxcam: "), said
    assert "did not expect" not in said
    for option in re.findall(r"(?<![\w-])(--[a-z][a-z0-9-]+)", said):
        assert option in options_of(main), said
    for command in re.findall(r"`onnxcam ([a-z]+) MODEL(?: --all)?`", said):
        assert CliRunner().invoke(main, [command, "m.onnx"]).exit_code == 0, said
    named = re.findall(r"--method ([\w+-]+)", said)
    assert all(name in (*methods.names(), "gradient") for name in named), said


def test_a_model_without_layers_does_not_send_its_reader_round() -> None:
    """`layers` lists nothing there: the hint is a method at the input, and that answers."""
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    proto = nets.model([node], {"x": ["N", 4]}, {"y": ["N", 3]}, {"w": np.ones((4, 3), "f4")})
    for options in ({}, {"feature_layer": "y"}):
        with pytest.raises(onnxcam.OnnxcamError) as found:
            onnxcam.Explainer(proto, device="cpu", **options)
        (method,) = re.findall(r"method='([\w-]+)'", str(found.value))
        assert "lists" not in str(found.value)
    assert onnxcam.Explainer(proto, method, device="cpu")(np.ones((1, 4), "f4")).map.shape == (4,)
