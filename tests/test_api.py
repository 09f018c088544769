"""What `import onnxcam` offers: cheap, complete, and typed."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

import onnxcam
from onnxcam import errors

ROOT = Path(__file__).resolve().parents[1]


def _fresh(code: str) -> str:
    """Return what a new interpreter prints."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_every_name_is_there() -> None:
    wanted = {"Explainer", "Explanation", "convert", "vjp_model", "load", "methods"}
    assert wanted <= set(onnxcam.__all__)
    for name in onnxcam.__all__:
        assert getattr(onnxcam, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Explainr'"):
        _ = onnxcam.Explainr  # type: ignore[attr-defined]


def test_every_error_is_public() -> None:
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.OnnxcamError):
            assert name in onnxcam.__all__ and getattr(onnxcam, name) is value


def test_dir_shows_what_nobody_has_used_yet() -> None:
    said = _fresh("import onnxcam; print(sorted(set(onnxcam.__all__) - set(dir(onnxcam))))")
    assert said == "[]"


def test_the_import_is_cheap() -> None:
    heavy = "numpy onnx onnx_graphsurgeon onnxruntime PIL skimage click rich".split()
    said = _fresh(f"import sys, onnxcam; print([m for m in {heavy} if m in sys.modules])")
    assert said == "[]"


def test_no_submodule_shadows_a_public_name() -> None:
    for module in walk_packages(onnxcam.__path__, "onnxcam."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    assert callable(onnxcam.convert) and callable(onnxcam.load) and callable(onnxcam.vjp_model)
    assert onnxcam.methods is import_module("onnxcam.methods")
    said = _fresh("import onnxcam.methods.registry, onnxcam; print(onnxcam.methods.__name__)")
    assert said == "onnxcam.methods"


TYPED = """
from pathlib import Path
import numpy as np
import onnxcam
e = onnxcam.Explainer("m.onnx")
reveal_type(e("a.png"))  # Explanation
reveal_type(e("a.png", "dog"))  # Explanation
reveal_type(e(np.zeros((1, 3, 6, 6)), [1, None]))  # list[Explanation]
reveal_type(e(["a.png", Path("b.png")]))  # list[Explanation]
reveal_type(e(["a.png"], target=["dog", 2]))  # list[list[Explanation]]
for path, found in e.stream([Path("a.png")]):
    reveal_type(path)  # Path
    reveal_type(found)  # Explanation | OnnxcamError
reveal_type(e("a.png").overlay(colormap="jet", alpha=0.3))  # ndarray[Any, Any]
reveal_type(e("a.png").figure(title="cat"))  # Image
reveal_type(onnxcam.convert("m.onnx"))  # Conversion
reveal_type(onnxcam.load("m.onnx"))  # Model
reveal_type(onnxcam.methods.names())  # tuple[str, ...]
"""
WRONG = {
    'e("a.png").overlay(colormp="jet")': "call-arg",
    'e("a.png").figure(sise=3)': "call-arg",
    'e("a.png", upsampling="none")': "call-overload",
    "e(3)": "call-overload",
    'e(["a.png"]).overlay()': "attr-defined",
    'onnxcam.convert("m.onnx", normalize="maximum")': "arg-type",
    "onnxcam.Explainr": "attr-defined",
}


@pytest.mark.exhaustive
def test_a_checker_knows_what_calls_return_and_finds_what_is_misspelt(tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api")
    file = tmp_path / "use.py"
    file.write_text(TYPED + "\n".join(WRONG) + "\n")
    out, _, _ = api.run(
        ["--strict", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir",
         str(tmp_path / "cache"), "--no-error-summary", str(file)]
    )  # fmt: skip
    lines = {i: line for i, line in enumerate(file.read_text().splitlines(), 1)}
    said: dict[int, list[str]] = {}
    for line in out.splitlines():
        if line.startswith(str(file)):
            said.setdefault(int(line.split(":")[1]), []).append(line)
    for number, line in lines.items():
        found = " ".join(said.get(number, []))
        if line.lstrip().startswith("reveal_type"):
            full = found.partition('type is "')[2].partition('"')[0]
            assert re.sub(r"[\w.]+\.(\w+)", r"\1", full) == line.partition("# ")[2], found
        elif line in WRONG:
            assert f"[{WRONG[line]}]" in found, (line, found)
        else:
            assert "error" not in found, found
