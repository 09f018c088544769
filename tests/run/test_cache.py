"""Compiled models on disk: taken from there only where nothing has changed, safe to share."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from support import nets

import onnxcam
from onnxcam import Explainer, compose, methods
from onnxcam.analysis import record
from onnxcam.analysis.layers import candidates, catalog
from onnxcam.analysis.layout import Layout, known
from onnxcam.autodiff import registry
from onnxcam.cli import main
from onnxcam.errors import UsageError
from onnxcam.methods import graph_method
from onnxcam.methods.needs import Activation, Gradient
from onnxcam.methods.registry import _METHODS
from onnxcam.model.model import load
from onnxcam.run import cache, runner
from onnxcam.run.store import FOLDER_VARIABLE, SIZE_VARIABLE, Store, store
from onnxcam.targets import Score

ROOT = Path(__file__).resolve().parents[2]
X = np.random.default_rng(5).normal(size=(1, 2, 6, 6)).astype("f4")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setenv(FOLDER_VARIABLE, str(place))
    return place


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods that were written behind a model, in order."""
    names: list[str] = []
    real = compose.plan_graph

    def counting(model: Any, plan: Any, **options: Any) -> Any:
        names.extend(m.method.name for m in plan.maps)
        return real(model, plan, **options)

    monkeypatch.setattr(compose, "plan_graph", counting)
    monkeypatch.setattr(runner, "_SHARED", _Forgetful())  # a living session would hide the cache
    return names


class _Forgetful(dict[Any, Any]):
    def __setitem__(self, key: Any, value: Any) -> None:
        """Keep nothing."""


def _explainer(model: Any = None, method: str = "gradcam", **options: Any) -> Explainer:
    given = nets.cnn() if model is None else model
    return Explainer(given, method, device="cpu", threads=1, **options)


def _compiled(folder: Path) -> list[Path]:
    """The entries with models; what is known of a model has others."""
    return [p for p in folder.glob("*") if ".layers" not in p.suffixes]


def _analysed(folder: Path) -> list[Path]:
    return list(folder.glob("*.layers.light"))


def test_a_model_is_written_once(folder: Path, written: list[str]) -> None:
    first, second = _explainer()(X), _explainer()(X)
    assert written == ["gradcam"]
    np.testing.assert_array_equal(second.map, first.map)
    np.testing.assert_array_equal(second.scores, first.scores)
    assert second.as_dict() == first.as_dict()
    assert len(_compiled(folder)) == len(_analysed(folder)) == 1


def test_one_target_and_several_are_one_entry(folder: Path, written: list[str]) -> None:
    one = _explainer()(X, target=2)
    for _ in range(2):
        rows = _explainer()(X, target=[2, 0])
        assert [e.target for e in rows] == [2, 0]
        np.testing.assert_array_equal(rows[0].map, one.map)
    assert len(written) == len(_compiled(folder)) == len(_analysed(folder)) == 1


@pytest.mark.parametrize("change", ["method", "feature", "reduction", "weights", "code"])
def test_what_it_depends_on_makes_another_entry(
    change: str, folder: Path, written: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    proto = nets.cnn(softmax=True)
    _explainer(proto)
    options: dict[str, Any] = {}
    if change == "method":
        options["method"] = "layercam"
    elif change == "feature":
        first = _explainer(proto, cache=False)
        written.pop()
        others = [c.name for c in first.catalog.candidates if c.usable and c != first.feature]
        options["feature_layer"] = others[0]
    elif change == "reduction":
        options["reduction_layer"] = "prob"
    elif change == "weights":
        proto = nets.cnn(softmax=True)
        array = onnx.numpy_helper.to_array(proto.graph.initializer[0])
        name = proto.graph.initializer[0].name
        proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(2 * array, name))
    else:
        monkeypatch.setattr(cache, "_code", lambda: b"another version")
    want = _explainer(proto, cache=False, **options)(X)
    np.testing.assert_array_equal(_explainer(proto, **options)(X).map, want.map)
    assert len(written) == 3 and len(_compiled(folder)) == 2
    assert len(_analysed(folder)) == (1 if change in ("method", "feature") else 2)


def test_other_external_data_makes_another_entry(
    folder: Path, written: list[str], tmp_path: Path
) -> None:
    """The hash that the explanation shows covers the weights, too."""
    path = tmp_path / "model.onnx"
    proto = _large_cnn()
    onnx.save(proto, str(path), save_as_external_data=True, location="model.data", size_threshold=0)
    first = _explainer(path)(X)
    data = tmp_path / "model.data"
    data.write_bytes((2 * np.frombuffer(data.read_bytes(), "f4")).tobytes())
    second = _explainer(path)(X)
    assert len(written) == 2 and first.model_sha256 != second.model_sha256
    assert not np.allclose(second.scores, first.scores)


def test_an_entry_holds_no_weights(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(_large_cnn(), str(path))
    want = _explainer(path)(X)
    (entry,) = _compiled(folder)
    assert path.stat().st_size > 280_000 and entry.stat().st_size < 20_000
    np.testing.assert_array_equal(_explainer(path)(X).map, want.map)


def _large_cnn() -> onnx.ModelProto:
    """A network with one weight that is kept apart from the graph."""
    proto = nets.cnn()
    (weight,) = (t for t in proto.graph.initializer if len(t.dims) == 4)
    channels = weight.dims[0]
    random = np.random.default_rng(0)
    middle = 1000
    wide = random.normal(size=(middle, channels, 3, 3)).astype("f4") / 50
    narrow = random.normal(size=(channels, middle, 3, 3)).astype("f4") / 50
    first = next(n for n in proto.graph.node if weight.name in n.input)
    made = first.output[0]
    first.output[0] = "before"
    place = list(proto.graph.node).index(first) + 1
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        onnx.helper.make_node("Conv", ["before", "wide"], ["within"], **pads),
        onnx.helper.make_node("Conv", ["within", "narrow"], [made], **pads),
    ]
    for i, node in enumerate(nodes):
        proto.graph.node.insert(place + i, node)
    for name, value in (("wide", wide), ("narrow", narrow)):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return proto


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_a_damaged_entry_is_made_again(damage: str, folder: Path, written: list[str]) -> None:
    want = _explainer()(X)
    (entry,) = _compiled(folder)
    whole = entry.read_bytes()
    middle = len(whole) // 2
    entry.write_bytes(
        {
            "cut": whole[:middle],
            "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
            "empty": b"",
            "other": b"no entry at all" * 10,
        }[damage]
    )
    np.testing.assert_array_equal(_explainer()(X).map, want.map)
    assert len(written) == 2 and entry.read_bytes() == whole


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The models whose layers were found out, in order."""
    seen: list[Any] = []
    real = candidates.opened
    monkeypatch.setattr(
        candidates, "opened", lambda model, said: (seen.append(model), real(model, said))[1]
    )
    return seen


@pytest.mark.parametrize("reduction", [None, "prob"])
def test_a_second_start_finds_nothing_out_again(
    reduction: str | None, folder: Path, opened: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    proto = nets.cnn(softmax=True)
    first = _explainer(proto, reduction_layer=reduction)
    second = _explainer(proto, reduction_layer=reduction)
    assert len(opened) == 1
    assert second.catalog == first.catalog == catalog(load(proto), reduction_layer=reduction)
    assert known(second.model) == known(load(proto))
    assert known(second.model).layouts["relu"] == Layout("NCHW")
    catalog(second.model, reduction_layer=reduction)
    assert len(opened) == 2  # of the model that was loaded here


@pytest.mark.parametrize("damage", [b"{}", b"[]", b"\xff", b'{"tensors":{},"layers":null}'])
def test_what_cannot_be_read_is_found_out_again(
    damage: bytes, folder: Path, opened: list[Any]
) -> None:
    want = _explainer().catalog
    (entry,) = _analysed(folder)
    whole, kept = entry.read_bytes(), store()
    assert kept is not None
    kept.put(entry.name.removesuffix(".light"), damage)
    assert _explainer().catalog == want
    assert len(opened) == 2 and entry.read_bytes() == whole


def test_a_grid_of_tokens_is_read_as_it_was_written() -> None:
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["c"]),
        onnx.helper.make_node("Reshape", ["c", "to"], ["flat"]),
        onnx.helper.make_node("ReduceMean", ["flat", "two"], ["y"], keepdims=0),
    ]
    weights = {
        "w": np.ones((3, 3, 1, 1), "f4"), "to": np.array([0, 3, -1]), "two": np.array([2]),
    }  # fmt: skip
    proto = nets.model(nodes, {"x": ["n", 3, 4, 5]}, {"y": ["n", 3]}, weights)
    said = record.written(load(proto), None)
    again = load(proto)
    assert record.read(again, None, said)
    assert known(again) == known(load(proto)) and catalog(again) == catalog(load(proto))
    assert known(again).layouts["flat"] == Layout("NCT", (4, 5))


def _key(number: int) -> str:
    return f"{number:064x}"


def test_the_entries_not_used_for_longest_go_first(tmp_path: Path) -> None:
    kept = Store(tmp_path / "cache", 450)
    for i in range(3):
        kept.put(_key(i), bytes(100))  # and 32 of its hash
        _age(kept, _key(i), 100 - i)
    assert kept.get(_key(0)) == bytes(100)  # used now: key1 is the oldest
    kept.put(_key(3), bytes(100))
    assert kept.get(_key(1)) is None
    assert all(kept.get(_key(i)) == bytes(100) for i in (0, 2, 3))
    kept.put(_key(9), bytes(500))
    assert kept.get(_key(9)) is None and kept.get(_key(3)) is not None


def test_what_a_killed_process_left_goes_too(tmp_path: Path) -> None:
    kept = Store(tmp_path, 300)
    left = tmp_path / ".0.light.onnxcam-0123456789abcdef.part"
    left.write_bytes(bytes(200))
    kept.put(_key(1), bytes(100))
    assert not left.exists() and kept.get(_key(1)) == bytes(100)


def _age(kept: Store, key: str, seconds: int) -> None:
    place = kept.folder / f"{key}.light"
    now = place.stat().st_mtime
    os.utime(place, (now - seconds, now - seconds))


def test_an_entry_that_its_owner_did_not_write_is_none(tmp_path: Path) -> None:
    """It is whole, but made without the secret; or it lies under another name."""
    kept = Store(tmp_path / "cache", 10_000, tmp_path / "user")
    kept.put(_key(1), b"right")
    place = kept.folder / f"{_key(1)}.light"
    (kept.folder / f"{_key(2)}.light").write_bytes(place.read_bytes())
    assert kept.get(_key(1)) == b"right" and kept.get(_key(2)) is None
    place.write_bytes(hashlib.sha256(b"forged").digest() + b"forged")
    assert kept.get(_key(1)) is None
    other = Store(kept.folder, 10_000, tmp_path / "another user")
    kept.put(_key(1), b"right")
    assert other.get(_key(1)) is None and kept.get(_key(1)) == b"right"


def test_what_is_no_entry_is_neither_read_nor_removed(tmp_path: Path) -> None:
    kept = Store(tmp_path, 300)
    os.mkfifo(tmp_path / f"{_key(1)}.light")
    (tmp_path / "mine.light").write_bytes(bytes(1000))
    (tmp_path / "far").write_bytes(b"x")
    (tmp_path / f"{_key(2)}.light").symlink_to(tmp_path / "far")
    assert kept.get(_key(1)) is None and kept.get(_key(2)) is None
    kept.put(_key(3), bytes(100))
    assert (tmp_path / "mine.light").exists() and (tmp_path / f"{_key(2)}.light").is_symlink()
    kept.put(_key(1), bytes(100))
    assert kept.get(_key(1)) == bytes(100)


def test_without_a_folder_to_write_to_it_works_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "file" / "cache"))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        for model in (nets.cnn(), nets.cnn(softmax=True)):
            assert _explainer(model)(X).map.shape == (6, 6)
    (warning,) = said
    assert "compiled models cannot be kept there" in str(warning.message)
    assert "ONNXCAM_CACHE" in str(warning.message)


@pytest.mark.parametrize("off", ["off", "OFF", "0", ""])
def test_it_can_be_turned_off(
    off: str, tmp_path: Path, written: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FOLDER_VARIABLE, off)
    _explainer()
    _explainer()
    assert len(written) == 2 and not list(tmp_path.iterdir())


def test_every_platform_has_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    found = {}
    for platform in ("linux", "darwin", "win32"):
        monkeypatch.setattr(sys, "platform", platform)
        kept = store()
        assert kept is not None and kept.limit == 2_000_000_000
        found[platform] = kept.folder.relative_to(tmp_path).as_posix()
    assert found == {
        "linux": ".cache/onnxcam/models",
        "darwin": "Library/Caches/onnxcam/models",
        "win32": "Local/onnxcam/models",
    }
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    kept = store()
    assert kept is not None and kept.folder == tmp_path / "xdg" / "onnxcam" / "models"


def test_the_size_comes_from_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SIZE_VARIABLE, "3")
    kept = store()
    assert kept is not None and (kept.folder, kept.limit) == (folder, 3_000_000)
    monkeypatch.setenv(SIZE_VARIABLE, "much")
    with pytest.raises(UsageError, match="ONNXCAM_CACHE_MB='much' is no number"):
        store()


def test_a_method_of_ones_own_is_not_kept(folder: Path, written: list[str]) -> None:
    """Nothing says when its code changes."""

    @graph_method("test-own", needs=(Activation, Gradient), cite="nobody")
    def own(op: Any, a: Any, da: Any, axes: Any) -> Any:
        """L = relu(sum_k A_k)."""
        return op.ReduceSum(op.Mul(a, da), axes=[axes.channel], keepdims=1)

    try:
        for _ in range(2):
            _explainer(method="test-own")
        assert len(written) == 2 and not _compiled(folder)
    finally:
        del _METHODS.entries["test-own"]
    assert "test-own" not in methods.names()


def test_a_target_of_ones_own_is_not_kept(folder: Path, written: list[str]) -> None:
    """Its words may stay while its code changes: yesterday's map would be shown for today's."""

    class Halved(Score):
        def emit(self, op: Any, outputs: Any, index: Any) -> Any:
            return op.Mul(super().emit(op, outputs, index), 0.5)

    for _ in range(2):
        _explainer()(X, target=Halved(1))
    assert written == ["gradcam", "gradcam", "gradcam"]  # the score once, the target each time


def test_with_a_rule_of_ones_own_nothing_is_kept(folder: Path, written: list[str]) -> None:
    @registry.vjp("TestOwn", domain="test.own")
    def rule(op: Any, node: Any, dy: Any) -> Any:
        """dx = dy."""
        return dy

    try:
        for _ in range(2):
            _explainer()
        assert len(written) == 2 and not folder.exists()
    finally:
        del registry._RULES.entries["test.own", "TestOwn"]


def test_where_there_are_plug_ins_nothing_is_kept(
    folder: Path, written: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_ins = {registry._SOURCE.group: [SimpleNamespace(load=lambda: None)]}
    find = "onnxcam.graph.registry._plug_ins"
    monkeypatch.setattr(find, lambda group: plug_ins.get(group, []))
    for _ in range(2):
        _explainer()
    assert len(written) == 2 and not folder.exists()


_UNUSED = ("scipy", "skimage", "torch", "onnx.reference", "rich.progress", "onnxcam.autodiff.rules")


def test_a_second_start_imports_nothing_that_it_does_not_use(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    onnx.save(nets.cnn(), str(tmp_path / "m.onnx"))
    # The command ends the process with an exit code: the names are printed on the way out.
    code = """
import atexit, sys
atexit.register(lambda: print(*sys.modules))
sys.argv = ["onnxcam", "explain", "m.onnx", "x.npy", "--device", "cpu", "-o", "map.png"]
from onnxcam.cli import main
main()
"""
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert "onnxcam.autodiff.rules" in runs[0]  # it wrote the model
    assert "onnxcam.output.render" in runs[1]  # and this one drew a map
    assert {"scipy", "skimage", "rich.progress"}.isdisjoint(runs[0])
    assert set(_UNUSED).isdisjoint(runs[1])


def test_the_shell_keeps_models_unless_told_not_to(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    onnx.save(nets.cnn(), str(tmp_path / "m.onnx"))
    call = ["explain", str(tmp_path / "m.onnx"), str(tmp_path / "x.npy"), "--device", "cpu"]
    call += ["-o", str(tmp_path / "map.npz")]
    for more, entries in (["--no-cache"], 0), ([], 1), ([], 1):
        done = CliRunner().invoke(main, [*call, *more])
        assert done.exit_code == 0, done.output
        assert len(_compiled(folder)) == len(_analysed(folder)) == entries


def test_the_shell_says_in_one_line_that_nothing_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "file"))
    np.save(tmp_path / "x.npy", X)
    onnx.save(nets.cnn(), str(tmp_path / "m.onnx"))
    call = ["explain", str(tmp_path / "m.onnx"), str(tmp_path / "x.npy"), "--device", "cpu"]
    done = CliRunner().invoke(main, [*call, "-o", str(tmp_path / "map.npz")])
    assert done.exit_code == 0 and (tmp_path / "map.npz").is_file()
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"onnxcam: {tmp_path / 'file'}: compiled models cannot be kept there")


# ---- two processes

EXPLAIN = """
import sys
import numpy as np
from onnxcam import Explainer
folder = sys.argv[1]
x = np.load(f"{folder}/x.npy")
maps = [Explainer(f"{folder}/m.onnx", m, device="cpu", threads=1)(x).map
        for m in ("gradcam", "layercam", "hirescam")]
np.save(f"{folder}/{sys.argv[2]}.npy", np.stack(maps))
"""
HAMMER = """
import random
import sys
from pathlib import Path
from onnxcam.run.store import Store
choice = random.Random(int(sys.argv[2])).choice
kept = Store(Path(sys.argv[1]), 20_000)
seen = 0
for i in range(600):
    key = choice("0123456") * 64
    found = kept.get(key)
    assert found is None or found == key[:1].encode() * 5000, (key, len(found))
    seen += found is not None
    kept.put(key, key[:1].encode() * 5000)
print(seen)
"""


def _together(script: str, *arguments: list[str]) -> list[str]:
    """Run a script in several processes at once; returns what each printed."""
    command = [sys.executable, "-W", "error::UserWarning", "-c", script]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen([*command, *given], cwd=ROOT, **pipes) for given in arguments]  # type: ignore[call-overload]
    said = []
    for process in running:
        out, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
        said.append(out)
    return said


def test_two_processes_explain_at_once(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    onnx.save(nets.cnn(), str(tmp_path / "m.onnx"))
    _together(EXPLAIN, [str(tmp_path), "one"], [str(tmp_path), "two"])
    one, two = np.load(tmp_path / "one.npy"), np.load(tmp_path / "two.npy")
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one[0], _explainer(cache=False)(X).map)
    assert len(_compiled(folder)) == 3 and len(_analysed(folder)) == 1
    assert len(list(folder.iterdir())) == 4  # whole entries, and nothing else


def test_two_processes_write_read_and_remove_the_same_entries(tmp_path: Path) -> None:
    said = _together(HAMMER, [str(tmp_path), "1"], [str(tmp_path), "3"])
    assert all(int(seen) > 0 for seen in said)  # else neither read what there was
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) <= 20_000
    assert {p.suffix for p in tmp_path.iterdir()} <= {".light", ".secret"}


def test_every_file_of_the_package_is_a_reason_to_make_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Path(cache.version.__file__).parent == Path(onnxcam.__file__).parent
    inner = tmp_path / "autodiff" / "rules" / "conv.py"
    inner.parent.mkdir(parents=True)
    inner.write_text("1")
    monkeypatch.setattr(cache.version, "__file__", str(tmp_path / "version.py"))
    before = cache._code.__wrapped__()
    assert cache._code.__wrapped__() == before
    inner.write_text("12")
    assert cache._code.__wrapped__() != before
