"""One registry for what is entered: loaded once and whole, no name twice, plug-ins too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from onnxcam.errors import UsageError
from onnxcam.graph import registry
from onnxcam.graph.registry import Registry, Source, caller, is_own

ROOT = Path(__file__).resolve().parents[2]
PLUG_IN = ROOT / "tests" / "support" / "plug_in.py"
GROUPS = ("rules", "definitions", "methods", "traits")


@pytest.fixture
def rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A package with a file in a sub-folder, each of which says that it was imported."""
    name = f"rooms_{abs(hash(request.node.name))}"
    log = f"import onnxcam.graph.registry as r; r.seen.append(__name__.removeprefix({name!r}))\n"
    for path in ("__init__", "first", "deep/__init__", "deep/deeper/__init__", "deep/deeper/last"):
        file = tmp_path / name / f"{path}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(log)
    monkeypatch.setattr(registry, "seen", [], raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def _seen() -> list[str]:
    return list(registry.seen)  # type: ignore[attr-defined]


def test_it_is_loaded_once_through_sub_folders(rooms: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scans = []
    real = registry.walk_packages
    monkeypatch.setattr(registry, "walk_packages", lambda *a: scans.append(a) or real(*a))
    table: Registry[str, int] = Registry("numbers", Source(rooms, "onnxcam.none"))
    assert _seen() == []
    for _ in range(3):
        assert table.get("one") is None
        assert list(table.items()) == []
    assert sorted(_seen()) == ["", ".deep", ".deep.deeper", ".deep.deeper.last", ".first"]
    assert len(scans) == 1


def test_a_source_may_be_a_single_file(rooms: str) -> None:
    Source(f"{rooms}.deep.deeper.last", "onnxcam.none").load()
    assert ".first" not in _seen() and ".deep.deeper.last" in _seen()


def test_no_key_twice() -> None:
    table: Registry[str, int] = Registry("numbers", Source("onnxcam.names", "onnxcam.none"))
    assert table.enter("one", 1) == 1
    with pytest.raises(ValueError, match="two numbers of the name 'one'"):
        table.enter("one", 2)
    assert table.get("one") == 1


def test_what_others_enter_is_known() -> None:
    table: Registry[str, int] = Registry("numbers", Source("onnxcam.names", "onnxcam.none"))
    table.enter("one", 1, "onnxcam.somewhere")
    assert not table.extended
    table.enter("two", 2, "onnxcam_more.somewhere")
    assert table.extended
    del table.entries["two"]
    assert not table.extended
    assert _asks() == __name__ and not is_own(__name__)


def _asks() -> str:
    return caller()


def test_another_thread_waits_until_everything_is_there(
    rooms: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source(rooms, "onnxcam.none")
    table: Registry[str, int] = Registry("numbers", source)
    started, go, found = threading.Event(), threading.Event(), []

    def slow(name: str) -> Any:
        if name.endswith("last"):
            started.set()
            assert (
                table.get("last") is None
            )  # a file that is imported may ask: it gets what is there
            assert go.wait(10)
            table.enter("last", 1)

    real = registry.import_module
    monkeypatch.setattr(registry, "import_module", lambda name: (slow(name), real(name))[1])
    threads = [threading.Thread(target=lambda: found.append(table.get("last"))) for _ in range(2)]
    threads[0].start()
    assert started.wait(10)
    threads[1].start()
    threads[1].join(0.2)
    assert found == []
    go.set()
    for thread in threads:
        thread.join(10)
    assert found == [1, 1]


def test_a_broken_plug_in_is_named_every_time(rooms: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("leaf", "there.is.no.such_module", "onnxcam.numbers")
    monkeypatch.setattr(registry, "_plug_ins", lambda group: [broken])
    table: Registry[str, int] = Registry("numbers", Source(rooms, "onnxcam.numbers"))
    for _ in range(2):
        with pytest.raises(UsageError, match=r"'leaf' \(there.is.no.such_module, in onnxcam.num"):
            table.get("one")


# ---- a package that is installed: what `pip install` leaves, without pip


def _install(folder: Path, *groups: str) -> None:
    """Install the package of tests/support/plug_in.py, with entry points for some groups."""
    (folder / "leaf").mkdir()
    (folder / "leaf" / "__init__.py").write_text("")
    parts = PLUG_IN.read_text().split("# ---- ")
    for part in parts[1:]:
        name, _, text = part.partition("\n")
        (folder / "leaf" / f"{name}.py").write_text(text)
    info = folder / "leaf-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: leaf\nVersion: 1.0\n")
    lines = [f"[onnxcam.{group}]\nleaf = leaf.{group}\n" for group in groups]
    (info / "entry_points.txt").write_text("\n".join(lines))


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(folder), str(ROOT), str(ROOT / "tests")])
    environment = {
        **os.environ, "PYTHONPATH": paths, "ONNXCAM_CACHE": str(folder / "cache"), "COLUMNS": "200",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, *arguments], env=environment, text=True, capture_output=True, check=False
    )


def test_the_shell_lists_the_method_of_a_plug_in(tmp_path: Path) -> None:
    _install(tmp_path, "methods")
    done = _run(tmp_path, "-m", "onnxcam.cli", "methods", "--json")
    assert done.returncode == 0, done.stderr
    (found,) = [m for m in json.loads(done.stdout) if m["name"] == "leafcam"]
    assert (found["summary"], found["from"]) == ("L = relu(sum_k A_k).", "nobody")


def test_the_shell_names_a_plug_in_that_is_broken(tmp_path: Path) -> None:
    _install(tmp_path, "methods")
    (tmp_path / "leaf" / "methods.py").write_text("import there_is_no_such_module\n")
    done = _run(tmp_path, "-m", "onnxcam.cli", "methods")
    assert done.returncode == 2
    assert "the plug-in 'leaf' (leaf.methods, in onnxcam.methods) cannot be loaded" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_plug_in_cannot_take_a_name_that_is_taken(tmp_path: Path) -> None:
    _install(tmp_path, "methods")
    file = tmp_path / "leaf" / "methods.py"
    file.write_text(file.read_text().replace('"leafcam"', '"gradcam"'))
    done = _run(tmp_path, "-m", "onnxcam.cli", "methods")
    assert done.returncode == 2
    assert "plug-in 'leaf'" in done.stderr and "two methods of the name 'gradcam'" in done.stderr


GRADIENT = """
import numpy as np, onnx, sys
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnxcam import vjp_model
from onnxcam.analysis.layers import catalog
from onnxcam.model.model import load

class Twist(OpRun):
    op_domain = "leaf"
    def _run(self, x):
        return (x**3,)

class Turn(OpRun):
    op_domain = "leaf"
    def _run(self, x):
        return (np.sin(x),)

graph = helper.make_graph(
    [
        helper.make_node("Conv", ["x", "w"], ["conv"]),
        helper.make_node("Twist", ["conv"], ["twisted"], domain="leaf"),
        helper.make_node("Turn", ["twisted"], ["turned"], domain="leaf"),
        helper.make_node("Flatten", ["turned"], ["flat"]),
        helper.make_node("MatMul", ["flat", "fc"], ["y"]),
    ],
    "net",
    [helper.make_tensor_value_info("x", 1, [1, 2, 3, 3])],
    [helper.make_tensor_value_info("y", 1, [1, 1])],
    [
        onnx.numpy_helper.from_array(np.eye(2, dtype="f4").reshape(2, 2, 1, 1), "w"),
        onnx.numpy_helper.from_array(np.ones((18, 1), "f4"), "fc"),
    ],
)
opsets = [helper.make_opsetid("", 20), helper.make_opsetid("leaf", 1)]
model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
x = np.random.default_rng(1).normal(size=(1, 2, 3, 3)).astype("f4")
explained = ReferenceEvaluator(vjp_model(model, ["x"], ["y"]), new_ops=[Twist, Turn])
dx = explained.run(["grad::x"], {"x": x, "ct::y": np.ones((1, 1), "f4")})[0]
np.testing.assert_allclose(dx, np.cos(x**3) * 3 * x**2, rtol=1e-5)
found = catalog(load(model)).feature
print(found.name, found.layout.axes)
"""


def test_a_gradient_goes_through_the_operators_of_a_plug_in(tmp_path: Path) -> None:
    """By the rule of one, the definition of another, with the traits of both."""
    _install(tmp_path, *GROUPS)
    done = _run(tmp_path, "-c", GRADIENT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["turned", "NCHW"]


def test_without_the_plug_in_the_operator_is_refused(tmp_path: Path) -> None:
    done = _run(tmp_path, "-c", GRADIENT)
    assert "UnsupportedOp" in done.stderr and "leaf::Turn" in done.stderr


KEPT = """
import os, sys
import numpy as np
from support import nets
from onnxcam import Explainer
for method in sys.argv[1:]:
    for _ in range(2):
        found = Explainer(nets.cnn(), method, device="cpu", threads=1)(np.ones((1, 2, 6, 6), "f4"))
        assert found.method == method
folder = os.environ["ONNXCAM_CACHE"]
names = os.listdir(folder) if os.path.isdir(folder) else []
print(sum(".layers." not in name for name in names))
"""


@pytest.mark.parametrize(
    ("groups", "method", "kept"),
    [
        ((), "gradcam", 1),
        (("methods",), "gradcam", 1),
        (("methods",), "leafcam", 0),
        (("rules",), "gradcam", 0),
        (("definitions",), "gradcam", 0),
        (("traits",), "gradcam", 0),
    ],
)
def test_what_depends_on_a_plug_in_is_not_kept(
    groups: tuple[str, ...], method: str, kept: int, tmp_path: Path
) -> None:
    """Nothing says when its code changes: yesterday's map would be shown for today's."""
    _install(tmp_path, *groups)
    done = _run(tmp_path, "-c", KEPT, method)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(kept)]
