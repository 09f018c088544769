"""The house keeps its order: imports only go down, and each door has one keeper."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "onnxcam"

# From the top down; a module may import what stands below it (and its own package).
ORDER = [
    "__main__",
    "cli",
    "audit",
    "conversion",
    "matlab",
    "verify",
    "look",
    "explain",
    "metrics",
    "run",
    "compose",
    "methods",
    "targets",
    "autodiff",
    "analysis",
    "model",
    "output",
    "inputs",
    "graph",
    "files",
    "errors",
    "names",
    "version",
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


def _modules() -> dict[str, Path]:
    """Return every file of the package by the name that it is imported by."""
    named = {}
    for path in FILES:
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


def _circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of nodes that reach each other."""
    reach: dict[str, set[str]] = {}
    for start in graph:
        seen, stack = set(), [start]
        while stack:
            for name in graph[stack.pop()] - seen:
                seen.add(name)
                stack.append(name)
        reach[start] = seen
    groups = {tuple(sorted(m for m in reach[n] if n in reach[m])) for n in graph if n in reach[n]}
    return [list(group) for group in sorted(groups)]


def test_no_files_import_each_other_in_a_circle() -> None:
    modules = _modules()
    graph = {
        name: {found for found in _imports(path) if found in modules and found != name}
        for name, path in modules.items()
    }
    # `from package import module` names both: where the module is a file, the package adds nothing.
    for name, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom):
                continue
            if all(f"{node.module}.{alias.name}" in modules for alias in node.names):
                graph[name].discard(str(node.module))
    assert _circles(graph) == []


def test_circles_are_seen() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"e"}}
    assert _circles(graph) == [["a", "b", "c"], ["e"]]


def test_the_house_is_not_larger_than_planned() -> None:
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert rooms <= set(ORDER)
    assert len(list(PACKAGE.glob("*.py"))) <= 8


def _place(path: Path) -> str:
    return str(path.relative_to(PACKAGE).with_suffix(""))


@pytest.mark.parametrize(
    ("package", "keepers"),
    [
        ("onnxruntime", ("run/session",)),
        ("onnx_graphsurgeon", ("graph", "model")),
        ("click", ("cli",)),
        ("rich", ("cli",)),
        ("PIL", ("inputs", "output/render")),
    ],
)
def test_each_library_has_its_keepers(package: str, keepers: tuple[str, ...]) -> None:
    users = [
        _place(path)
        for path in FILES
        if any(name.split(".")[0] == package for name in _imports(path))
    ]
    assert users, f"nobody imports {package}: the test has lost its object"
    assert [u for u in users if not u.startswith(keepers)] == []


def test_the_library_never_prints() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            assert not (call and node.func.id == "print"), f"{path}:{node.lineno} prints"


MOST_LINES, MOST_OF_A_FUNCTION = 300, 40


def _long_functions(text: str) -> list[str]:
    """Return the functions that are longer than allowed, their docstrings not counted."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            if ast.get_docstring(node) is not None:
                first = node.body[0]
                length -= (first.end_lineno or 0) - first.lineno + 1
            if length > MOST_OF_A_FUNCTION:
                found.append(f"{node.name}: {length}")
    return found


@pytest.mark.parametrize("path", FILES, ids=_place)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    assert _long_functions(text) == []


def test_a_long_function_is_seen() -> None:
    body = "\n    x = 1" * MOST_OF_A_FUNCTION
    assert _long_functions(f"def f():{body}") == [f"f: {MOST_OF_A_FUNCTION + 1}"]
    assert _long_functions(f'def f():\n    """Long.\n\n    Text."""{body[:-10]}') == []


def test_calls_of_one_system_have_their_keepers() -> None:
    """Elsewhere there is no fork, no file lock of POSIX, no alarm: these ask before they call."""
    only = re.compile(
        r"os\.(fork|kill|getuid|mkfifo|waitpid)\b|import (fcntl|resource)\b|\bos\.O_NOFOLLOW"
        r"|signal\.(alarm|setitimer|pthread_sigmask|SIGKILL|SIGALRM|SIGHUP)\b"
    )
    users = {_place(path) for path in FILES if only.search(path.read_text())}
    keepers = {"audit/auditing", "audit/work/child", "cli/watch", "files", "run/bounds"}
    assert users <= keepers | {"run/trial"}


def test_it_works_where_there_is_no_fork_and_no_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys; sys.modules['fcntl'] = sys.modules['resource'] = None; del os.fork\n"
        "sys.platform = 'darwin'\n"
        "from onnxcam.cli import main; main(sys.argv[1:])"
    )
    root = PACKAGE.parent
    words = [root / "models/squeezenet1.1.onnx", root / "models/chelsea.png", "-o", "cat.png"]
    done = subprocess.run(
        [sys.executable, "-c", code, "explain", *map(str, words)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Egyptian cat" in done.stdout and (tmp_path / "cat.png").is_file()
