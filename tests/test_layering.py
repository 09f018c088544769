"""The house keeps its order: imports only go down, and each door has one keeper."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "onnxcam"

# From the top down; a module may import what stands below it (and its own package).
ORDER = [
    "cli",
    "batch",
    "report",
    "audit",
    "inputs",
    "conversion",
    "placing",
    "verify",
    "explain",
    "runner",
    "explanation",
    "render",
    "upsample",
    "preprocess",
    "labels",
    "session",
    "cache",
    "compose",
    "scores",
    "methods",
    "targets",
    "autodiff",
    "layers",
    "layout",
    "surgery",
    "model",
    "versions",
    "lowering",
    "converter",
    "weights",
    "wire",
    "shape_inference",
    "lift",
    "contrib",
    "bodies",
    "folding",
    "emit",
    "errors",
]
FILES = sorted(PACKAGE.rglob("*.py"))


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_only_go_down(path: Path) -> None:
    room = _room(path)
    if room == "__init__":
        return
    assert room in ORDER, f"{room} has no place in the order"
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] == "onnxcam" and len(parts) > 1 and parts[1] in ORDER:
            assert ORDER.index(parts[1]) >= ORDER.index(room), f"{path} imports {name}"


@pytest.mark.parametrize(
    ("package", "keepers"),
    [
        ("onnxruntime", {"session"}),
        (
            "onnx_graphsurgeon",
            {
                "emit",
                "bodies",
                "folding",
                "surgery",
                "layers",
                "layout",
                "autodiff",
                "contrib",
                "weights",
            },
        ),
        ("click", {"cli"}),
        ("rich", {"report", "batch"}),
        ("PIL", {"preprocess", "render"}),
    ],
)
def test_each_library_has_its_keepers(package: str, keepers: set[str]) -> None:
    users = {
        _room(path)
        for path in FILES
        if any(name.split(".")[0] == package for name in _imports(path))
    }
    assert users <= keepers
    assert users, f"nobody imports {package}: the test has lost its object"


def test_the_library_never_prints() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            assert not (call and node.func.id == "print"), f"{path}:{node.lineno} prints"
