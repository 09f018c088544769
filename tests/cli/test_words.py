"""The library speaks of arguments, the shell of options."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from onnx import helper
from support import nets

import onnxcam
from onnxcam import audit, methods, metrics
from onnxcam.audit.auditing import Options
from onnxcam.autodiff import vjp_model
from onnxcam.cli import main
from onnxcam.cli.group import spoken
from onnxcam.cli.words import COMMANDS, RENAMED, in_shell, options_of
from onnxcam.errors import OnnxcamError

PACKAGE = Path(onnxcam.__file__).parent
LIBRARY = [p for p in sorted(PACKAGE.rglob("*.py")) if "cli" not in p.relative_to(PACKAGE).parts]


def _literals(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def test_the_library_knows_no_option() -> None:
    """Docstrings count too: who reads them writes Python."""
    for path in LIBRARY:
        for line, text in _literals(path):
            assert not re.search(r"(?<![-\w])--[a-z]", text), f"{path}:{line}: {text!r}"
            assert not re.search(r"`onnxcam [a-z]+ [A-Z]", text), f"{path}:{line}: {text!r}"


def test_every_argument_that_an_error_names_is_one() -> None:
    calls = [onnxcam.convert, onnxcam.Explainer.__init__, onnxcam.Explainer.__call__, vjp_model]
    calls += [metrics.find(name).measure for name in metrics.names("faithfulness")]
    calls += [audit.run, audit.diff]
    known = {name for call in calls for name in inspect.signature(call).parameters}
    known |= set(Options.__annotations__)  # the rest of what audit.run takes
    known |= {p.name for name in methods.names() for p in methods.find(name).parameters}
    for path in LIBRARY:
        for line, text in _literals(path):
            for name in re.findall(r"(?<!`)`([a-z_]+)(?:=[^`]*)?`(?!`)", text):
                if re.search(rf"`{name}=|(another|leave|name a|a) `{name}`", text):
                    assert name in known, f"{path}:{line}: no argument {name!r}"


def test_commands_and_options_exist() -> None:
    for call, command in COMMANDS.items():
        assert command.split()[1] in main.commands
        place, _, attributes = call.partition("(")
        module, _, name = place.rpartition(".")
        parameters = inspect.signature(getattr(import_module(module), name)).parameters
        assert len(parameters) >= len(attributes.partition(")")[0].split(","))
    assert set(RENAMED.values()) <= options_of(main)
    for name, option in RENAMED.items():
        calls = (onnxcam.convert, onnxcam.Explainer.__call__, audit.run)
        known = any(name in inspect.signature(call).parameters for call in calls)
        assert known or name in Options.__annotations__
        assert f"--{name.replace('_', '-')}" not in options_of(main), f"{option} needs no renaming"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name another `feature_layer`", "name another --feature-layer"),
        ("use `method='gradcam'`, or not", "use --method gradcam, or not"),
        ("add `force=True` to replace it", "add --force to replace it"),
        ("`runtime_targets` is for maps", "--runtime-target is for maps"),
        ("pass `preprocess=unit|raw`", "pass --preprocess unit|raw"),
        ("the labels with `labels=FILE`", "the labels with --labels FILE"),
        ("give them with `extra_inputs={name: array}`",
         "give them with --feed NAME=FILE"),
        ("`onnxcam.analysis.layers.catalog(model)` lists them",
         "`onnxcam layers MODEL` lists them"),
        ("add `labels = [...]` to the file", "add `labels = [...]` to the file"),
        ("no tensor 'feature_layer' here", "no tensor 'feature_layer' here"),
        ("the `pool` is odd", "the `pool` is odd"),
        ("", ""),
    ],
)  # fmt: skip
def test_arguments_become_options(text: str, said: str) -> None:
    assert in_shell(text, options_of(main)) == said


GONE = {"wrt": ["nothing"], "method": "gradient"}
CALLS = {  # what is asked of `convert`: words of the shell, arguments, what both say
    "a missing layer": (["--feature-layer", "pool"], {"feature_layer": "pool"}, "lists the layers"),
    "no score": (["--reduction-layer", "w"], {"reduction_layer": "w"}, "w"),
    "no such tensor": (["--method", "gradient", "--wrt", "nothing"], GONE, "nothing"),
    "no tensors": (["--method", "gradient"], {"method": "gradient"}, "of which tensors"),
    "tensors without": (["--wrt", "x"], {"wrt": ["x"]}, "is for gradients"),
    "no picture": (["--overlay"], {"overlay": True}, "nothing says how"),
    "no labels": (["--target", "cat"], {"target": "cat"}, "has no labels"),
    "no preset": (["--preprocess", "unitt"], {"preprocess": "unitt"}, "no preset"),
    "maps only": (
        ["--method", "gradient", "--wrt", "x", "--runtime-target"],
        {"method": "gradient", "wrt": ["x"], "runtime_targets": True},
        "is for maps",
    ),
}


@pytest.mark.parametrize("case", CALLS)
def test_each_caller_is_answered_in_its_own_words(case: str, tmp_path: Path) -> None:
    words, arguments, both = CALLS[case]
    (tmp_path / "m.onnx").write_bytes(nets.cnn(channels=3).SerializeToString())
    with pytest.raises(OnnxcamError) as caught:
        onnxcam.convert(tmp_path / "m.onnx", tmp_path / "o.onnx", **arguments)  # type: ignore[arg-type]
    python = str(caught.value)
    assert both in python and "--" not in python and "MODEL" not in python
    result = CliRunner().invoke(
        main, ["convert", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "o.onnx"), *words]
    )
    assert result.exit_code in (1, 2) and result.output == f"onnxcam: {spoken(caught.value)}\n"
    assert both in result.output
    assert not re.search(r"`\w+(=[^`]*)?`|\w_\w+=", result.output)


def test_failures_of_single_inputs_are_said_as_well(tmp_path: Path) -> None:
    proto = nets.cnn()
    proto.graph.input.append(helper.make_tensor_value_info("gain", 1, [1]))
    proto.graph.node.append(helper.make_node("Mul", ["logits", "gain"], ["out"]))
    proto.graph.output[0].name = "out"
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    np.save(tmp_path / "x.npy", np.zeros((1, 2, 6, 6), "f4"))
    result = CliRunner().invoke(
        main, ["explain", str(tmp_path / "m.onnx"), str(tmp_path / "x.npy"), "--json"]
    )
    assert result.exit_code == 1
    assert "Give them with --feed NAME=FILE" in result.output, result.output
