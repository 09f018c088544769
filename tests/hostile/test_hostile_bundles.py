"""An audit's folder that others send: what is not what onnxcam writes is said, and nothing else."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.audits import of_a_damaged_twin

from onnxcam import InputError, InternalError, OnnxcamError
from onnxcam.audit import drift, report, verify

pytest.importorskip("pyarrow")
pytest.importorskip("jinja2")

ODD: tuple[Any, ...] = (
    None, True, -1, 2**63, 1e308, float("nan"), "", "../../etc/passwd", [], {}, [[]], {"a": 1},
    "<script>alert(1)</script>", "\x1b]0;t\x07", "\u202egpj", "n" * 5000, "/dev/zero", 256,
)  # fmt: skip
JSON = ("job", "verdict", "evidence", "results", "data/manifest", "manifest")


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return of_a_damaged_twin(tmp_path_factory.mktemp("audit"), 9, "v", 0.3, trust=2)


@pytest.fixture
def copy(audited: Path, tmp_path: Path) -> Iterator[Path]:
    yield Path(shutil.copytree(audited, tmp_path / "copy"))


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where something stands in JSON: in lists among the first few."""
    if at:
        yield at
    listed = enumerate(value[:6]) if isinstance(value, list) else ()
    for key, each in value.items() if isinstance(value, dict) else listed:
        yield from _places(each, (*at, key))


def _changed(value: Any, rng: random.Random) -> None:
    *way, last = rng.choice(list(_places(value)))
    for key in way:
        value = value[key]
    if rng.random() < 0.3:
        del value[last]
    else:
        value[last] = rng.choice(ODD)


def _said(call: Callable[[], Any]) -> Any:
    """Return what a call returns, None where it says no in a line of its own."""
    try:
        return call()
    except OnnxcamError as error:
        assert not isinstance(error, InternalError) and "report it" not in str(error)
        assert "\x1b" not in str(error) and "\n" not in str(error) and len(str(error)) < 1000
        return None


@pytest.mark.parametrize("name", JSON)
def test_changed_json_is_noticed_and_never_a_fault(name: str, copy: Path) -> None:
    rng, place = random.Random(sum(map(ord, name))), copy / f"{name}.json"
    before = place.read_text()
    for turn in range(3):
        value = json.loads(before)
        _changed(value, rng)
        place.write_text(json.dumps(value), errors="surrogatepass")
        found = _said(lambda: verify(copy, data=False))
        assert found is not None and (found.problems or json.loads(before) == value)
        _said(lambda: drift(copy, copy))
        if turn == 0 and (made := _said(lambda: report(copy))) is not None:
            page = Path(made).read_text()
            assert "<script>alert" not in page and "\x1b" not in page and "\u202e" not in page
    place.write_text(before)


DAMAGE: dict[str, str] = {
    "deep": "[" * 200_000,
    "no JSON": "{",
    "a number": "1",
    "two of a name": '{"a": 1, "a": 2}',
    "no end of a number": '{"result": ' + "9" * 5000 + "}",
    "half a character": '{"result": "\\ud800"}',
}


@pytest.mark.parametrize("what", DAMAGE)
def test_json_of_another_kind(what: str, copy: Path) -> None:
    for name in ("verdict", "results", "evidence", "job"):
        before = (copy / f"{name}.json").read_bytes()
        (copy / f"{name}.json").write_text(DAMAGE[what])
        found = _said(lambda: verify(copy, data=False))
        assert found is not None and found.problems
        if name in ("results", "job"):
            _said(lambda: report(copy))
        (copy / f"{name}.json").write_bytes(before)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
@pytest.mark.parametrize(
    "name",
    ["verdict.json", "results.json", "evidence.json", "job.json", "policy.toml", "run.jsonl",
     "data/samples.jsonl", "data/manifest.json", "statement.json", "junit.xml", "summary.md",
     "bom.json", "records/000000.parquet"],
)  # fmt: skip
def test_nobody_waits_for_a_pipe(name: str, copy: Path) -> None:
    (copy / name).unlink()
    os.mkfifo(copy / name)
    found = _said(lambda: verify(copy, data=True))
    assert found is not None and any(Path(name).name in p or "pipe" in p for p in found.problems)
    if name not in ("statement.json", "junit.xml", "summary.md", "bom.json", "run.jsonl"):
        with pytest.raises(InputError, match=r"pipe|no finished audit"):
            report(copy)


def test_a_table_that_says_more_rows_than_it_can_have(copy: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    place = copy / "records" / "000000.parquet"
    schema = parquet.read_schema(place)
    nothing = pa.Table.from_arrays([pa.nulls(2_000_000, f.type) for f in schema], schema=schema)
    parquet.write_table(nothing, place)
    assert place.stat().st_size < 200_000
    found = verify(copy, data=False)
    assert any("2,000,000 rows" in p for p in found.problems)
    with pytest.raises(InputError, match="rows"):
        report(copy)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_out_of_the_folder_is_not_what_it_was(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    (copy / "junit.xml").unlink()
    (copy / "junit.xml").symlink_to(tmp_path / "other.json")
    assert any("junit.xml" in p for p in verify(copy, data=False).problems)
    (copy / "new").symlink_to("/dev/zero")
    assert any("device" in p or "new" in p for p in verify(copy, data=False).problems)
