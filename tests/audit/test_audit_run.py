"""Audits from end to end, on a small net: verdicts, records, resuming, evidence, the report."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from support.audits import POLICY, colour_net, damaged, saved, squares

from onnxcam.audit import Audit, diff, run
from onnxcam.audit.check import verify
from onnxcam.audit.store import Store
from onnxcam.errors import InputError, OnnxcamError, UsageError

pytest.importorskip("pyarrow")
pytest.importorskip("scipy")
VARYING = ("seconds",)  # columns that are another at every run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, a model, its damaged twin and policies."""
    folder = tmp_path_factory.mktemp("audit")
    squares(folder / "data", 72)
    saved(colour_net(), folder / "net.onnx")
    saved(damaged(colour_net(), "v", 0.3), folder / "scaled.onnx")
    (folder / "policy.toml").write_text(POLICY.format(minimum=20))
    return folder


@pytest.fixture(scope="module")
def audit(place: Path) -> Audit:
    """An audit of the damaged twin against the model, in this process."""
    return run(
        place / "scaled.onnx", place / "data", place / "twin", baseline=place / "net.onnx",
        engine="here", trust=4,
    )  # fmt: skip


@pytest.fixture
def copy(audit: Audit, tmp_path: Path) -> Iterator[Path]:
    """A copy of its folder, to be damaged."""
    yield Path(shutil.copytree(audit.folder, tmp_path / "copy"))


def rows(folder: Path, kind: str = "records") -> list[dict[str, Any]]:
    found = list(Store(folder, 64).read(kind))
    return [{k: v for k, v in row.items() if k not in VARYING} for row in found]


def test_a_good_model_passes(place: Path, tmp_path: Path) -> None:
    made = run(
        place / "net.onnx", place / "data", tmp_path / "o", policy=place / "policy.toml",
        engine="here", trust=0,
    )  # fmt: skip
    assert made.verdict.result == "pass"
    records = rows(tmp_path / "o")
    assert len(records) == 72 and all(r["correct"] for r in records)
    assert {r["label"] for r in records} == {"red", "green", "blue"}
    assert all(0.2 < r["peak_y"] < 0.9 for r in records)


def test_a_damaged_twin_fails_and_the_layer_is_named(audit: Audit) -> None:
    assert audit.verdict.result == "fail"
    said = json.loads((audit.folder / "results.json").read_text())["divergence"]
    first = said["steps"][said["first"]]
    assert first["model"] == "conv2" and first["factor"] == pytest.approx(0.3, abs=1e-4)
    assert "times 0.3" in said["words"]
    for name in ("summary.md", "report.html"):
        assert "conv2" in (audit.folder / name).read_text()


def test_records_are_one_for_each_sample_and_model(audit: Audit) -> None:
    records = rows(audit.folder)
    assert [(r["model"]) for r in records[:2]] == ["model", "baseline"]
    assert len({(r["id"], r["model"]) for r in records}) == len(records) == 144
    assert len(rows(audit.folder, "pairs")) == 72
    assert all(r["sha256"] for r in records)


def test_what_is_written_checks_out(audit: Audit) -> None:
    found = verify(audit.folder)
    assert found.problems == () and found.unseen == () and found.exit_code == 3


def test_one_flipped_byte_is_found_in_every_file(copy: Path) -> None:
    rng = np.random.default_rng(0)
    for path in sorted(p for p in copy.rglob("*") if p.is_file()):
        data = path.read_bytes()
        at = int(rng.integers(len(data)))
        changed = bytearray(data)
        changed[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        assert verify(copy, data=False).problems, f"{path.name} at {at}"
        path.write_bytes(data)
    assert verify(copy, data=False).problems == ()


def test_a_file_more_or_less_is_found(copy: Path) -> None:
    (copy / "more.txt").write_text("more")
    assert "more.txt is not in the manifest" in verify(copy, data=False).problems
    (copy / "more.txt").unlink()
    (copy / "records" / "000001.parquet").unlink()
    assert any("is missing" in p for p in verify(copy, data=False).problems)


def test_a_changed_verdict_does_not_follow_even_with_new_hashes(copy: Path) -> None:
    from onnxcam.audit import bundle

    said = bundle.read(copy / "verdict.json")
    said["result"], said["exit_code"] = "pass", 0
    (copy / "verdict.json").write_text(json.dumps(said, indent=2) + "\n")
    bundle.write_all(copy)
    problems = verify(copy, data=False).problems
    assert "the verdict does not follow from the records and the policy" in problems


def test_a_changed_sample_or_weight_file_is_found(place: Path, tmp_path: Path) -> None:
    net = tmp_path / "net.onnx"
    saved(colour_net(), net)
    proto = onnx.load(net)
    onnx.save(proto, net, save_as_external_data=True, location="net.data", size_threshold=0)
    data = squares(tmp_path / "data", 6)
    run(net, data, tmp_path / "o", engine="here", trust=0)
    assert verify(tmp_path / "o").problems == ()
    for path in (tmp_path / "net.data", data / "red" / "000.png"):
        whole = path.read_bytes()
        changed = bytearray(whole)
        changed[len(changed) // 2] ^= 1
        path.write_bytes(changed)
        assert verify(tmp_path / "o").problems, path.name
        path.write_bytes(whole)
    (data / "red" / "000.png").unlink()
    found = verify(tmp_path / "o")
    assert found.problems == () and "1 samples are not here" in found.unseen[0]


def test_a_sample_that_fails_is_a_record(place: Path, tmp_path: Path) -> None:
    data = squares(tmp_path / "data", 6)
    (data / "red" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (data / "red" / "<img src=x onerror=alert(1)>.png").write_bytes(b"")
    made = run(place / "net.onnx", data, tmp_path / "o", engine="here", trust=0)
    failed = [r for r in rows(tmp_path / "o") if r["error"]]
    assert len(failed) == 2 == made.counts["failed"]
    page = (tmp_path / "o" / "report.html").read_text()
    assert "broken.png" in page and "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_a_folder_that_is_not_empty_needs_resume(place: Path, audit: Audit) -> None:
    with pytest.raises(UsageError, match="resume"):
        run(place / "net.onnx", place / "data", audit.folder, engine="here")


def test_what_differs_on_resume_is_refused(place: Path, tmp_path: Path) -> None:
    data = squares(tmp_path / "data", 6)
    args = (place / "net.onnx", data, tmp_path / "o")
    run(*args, engine="here", trust=0)
    for more, said in (
        ({"method": "layercam"}, "methods"),
        ({"policy": place / "policy.toml"}, r"facts\.policy"),
        ({"sample": 3}, r"facts\.data"),
    ):
        with pytest.raises(UsageError, match=said):
            run(*args, engine="here", resume=True, trust=0, **more)
    again = run(*args, engine="here", resume=True, trust=0)
    assert verify(again.folder).problems == ()


def test_a_chunk_that_is_missing_is_made_again(place: Path, audit: Audit, copy: Path) -> None:
    before = rows(copy)
    (copy / "records" / "000001.parquet").unlink()
    run(
        place / "scaled.onnx", place / "data", copy, baseline=place / "net.onnx",
        resume=True, trust=4,
    )  # fmt: skip
    assert rows(copy) == before and verify(copy).problems == ()


def _killed(place: Path, folder: Path, after: float) -> None:
    code = f"""
from onnxcam.audit import run
run({str(place / "scaled.onnx")!r}, {str(place / "data")!r}, {str(folder)!r},
    baseline={str(place / "net.onnx")!r}, resume=True, trust=4)
"""
    child = subprocess.Popen([sys.executable, "-c", code])
    try:
        child.wait(after)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGKILL)
    child.wait()


def test_killed_and_resumed_the_records_are_the_same(
    place: Path, audit: Audit, tmp_path: Path
) -> None:
    for after in (1.6, 2.2):
        _killed(place, tmp_path / "o", after)
        time.sleep(0.3)  # the child of what was killed ends by itself
    run(
        place / "scaled.onnx", place / "data", tmp_path / "o", baseline=place / "net.onnx",
        resume=True, trust=4, engine="here",
    )  # fmt: skip
    assert rows(tmp_path / "o") == rows(audit.folder)
    assert rows(tmp_path / "o", "pairs") == rows(audit.folder, "pairs")


@pytest.mark.exhaustive
def test_many_kills(place: Path, audit: Audit, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for _ in range(8):  # twenty were tried by hand
        _killed(place, tmp_path / "o", float(rng.uniform(0.2, 3.5)))
        time.sleep(0.2)
    run(
        place / "scaled.onnx", place / "data", tmp_path / "o", baseline=place / "net.onnx",
        resume=True, trust=4,
    )  # fmt: skip
    assert rows(tmp_path / "o") == rows(audit.folder) and verify(tmp_path / "o").problems == ()


def test_statement_and_bill_fit_their_schemas(audit: Audit) -> None:
    statement = json.loads((audit.folder / "statement.json").read_text())
    assert statement["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert statement["predicate"]["result"] == "FAILED"
    names = [s["name"] for s in statement["subject"]]
    assert names == ["scaled.onnx", "net.onnx", "manifest.json"]
    schema = pytest.importorskip("jsonschema")
    schema.validate(statement, STATEMENT)
    bill = json.loads((audit.folder / "bom.json").read_text())
    assert bill["specVersion"] == "1.6"
    card = next(c["modelCard"] for c in bill["components"] if c["bom-ref"] == "model")
    metrics = card["quantitativeAnalysis"]["performanceMetrics"]
    assert any(m["type"] == "flips" and "confidenceInterval" in m for m in metrics)


# From https://github.com/in-toto/attestation: spec/v1/statement.md and
# spec/predicates/test-result.md, whose fields are these.
_DIGEST = {"type": "object", "minProperties": 1, "additionalProperties": {"type": "string"}}
_RESOURCE = {
    "type": "object",
    "required": ["digest"],
    "properties": {"name": {"type": "string"}, "digest": _DIGEST},
}
_TESTS = {"type": "array", "items": {"type": "string"}}
STATEMENT = {
    "type": "object",
    "required": ["_type", "subject", "predicateType", "predicate"],
    "properties": {
        "_type": {"const": "https://in-toto.io/Statement/v1"},
        "subject": {"type": "array", "minItems": 1, "items": _RESOURCE},
        "predicateType": {"type": "string", "format": "uri"},
        "predicate": {
            "type": "object",
            "required": ["result", "configuration"],
            "properties": {
                "result": {"enum": ["PASSED", "WARNED", "FAILED"]},
                "configuration": {"type": "array", "items": _RESOURCE},
                "url": {"type": "string"},
                "passedTests": _TESTS,
                "warnedTests": _TESTS,
                "failedTests": _TESTS,
            },
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}


def test_diff_says_what_changed(place: Path, tmp_path: Path) -> None:
    pictures = sorted((place / "data").rglob("*.png"))[:4]
    same = diff(place / "net.onnx", place / "net.onnx", pictures)
    assert same.exit_code == 0 and same.changed == 0
    saved(damaged(colour_net(), "fc", -1), tmp_path / "turned.onnx")
    found = diff(
        place / "net.onnx", tmp_path / "turned.onnx", pictures, output=tmp_path / "worst.png"
    )
    assert found.exit_code == 3 and found.changed == 4
    assert (tmp_path / "worst.png").is_file() and "logits" in found.divergence


def test_a_baseline_of_other_names_has_a_layer_and_classes_of_its_own(
    place: Path, tmp_path: Path
) -> None:
    """A twin with every tensor renamed and its classes called otherwise, as another tool chain."""
    twin = colour_net()
    for node in twin.graph.node:
        node.input[:] = [n if n in ("w", "v", "fc") else f"tf/{n}" for n in node.input]
        node.output[:] = [f"tf/{n}" for n in node.output]
    for value in (*twin.graph.input, *twin.graph.output, *twin.graph.value_info):
        value.name = f"tf/{value.name}"
    saved(twin, tmp_path / "twin.onnx")
    (tmp_path / "names.txt").write_text("Red\ngreen\nBLUE\n")
    options: Any = {"feature_layer": "relu1", "reduction_layer": "logits"}
    with pytest.raises(OnnxcamError, match="baseline"):
        run(place / "net.onnx", place / "data", tmp_path / "o", baseline=tmp_path / "twin.onnx",
            engine="here", trust=0, **options)  # fmt: skip
    theirs: Any = {
        "baseline_feature_layer": "tf/relu1", "baseline_reduction_layer": "tf/logits",
        "baseline_labels": tmp_path / "names.txt",
    }  # fmt: skip
    made = run(place / "net.onnx", place / "data", tmp_path / "o", baseline=tmp_path / "twin.onnx",
               engine="here", trust=0, **options, **theirs)  # fmt: skip
    said = json.loads((made.folder / "results.json").read_text())
    steps = {s["model"]: (s["baseline"], s["matched"]) for s in said["divergence"]["steps"]}
    assert steps["relu1"] == ("tf/relu1", "values") and said["counts"]["flipped"] == 0
    assert all(p["spearman"] > 0.999 for p in rows(made.folder, "pairs"))
    found = diff(
        tmp_path / "twin.onnx", place / "net.onnx", sorted((place / "data").rglob("*.png"))[:2],
        **options, **theirs,
    )  # fmt: skip
    assert found.exit_code == 0


def test_no_audit_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no audit"):
        verify(tmp_path)


def test_an_audit_that_cannot_begin_leaves_nothing(place: Path, tmp_path: Path) -> None:
    onnx.save(colour_net(), tmp_path / "bare.onnx")  # nothing says how it wants its pictures
    for more in ({}, {"feature_layer": "none"}):
        with pytest.raises(OnnxcamError, match="preprocess|none"):
            run(tmp_path / "bare.onnx", place / "data", tmp_path / "o", engine="here", **more)
        assert not (tmp_path / "o").exists()
    with pytest.raises(UsageError, match="no method"):
        run(place / "net.onnx", place / "data", tmp_path / "o", method=[])


def test_two_parts_of_a_picture_are_drawn_side_by_side(zoo: Path, tmp_path: Path) -> None:
    found = diff(
        zoo / "squeezenet1.1.onnx", zoo / "mobilenetv2.onnx", [zoo / "chelsea.png"],
        output=tmp_path / "worst.png",
    )  # fmt: skip
    assert found.figure is not None and found.pairs[0]["model_label"] == "Egyptian cat"
    assert any("Egyptian cat" in line for line in found.lines)
    assert "two networks" in found.divergence


@pytest.mark.exhaustive
def test_a_child_that_is_killed_is_started_again(
    place: Path, audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice: the second time its chunk is worked off sample by sample."""
    from onnxcam.audit.work import local

    asked: list[Any] = []
    parsed = local._parsed

    def killing(line: str) -> dict[str, Any]:
        said = parsed(line)
        if said.get("chunk") == 0 and len(asked) < 2:
            asked.append(said)
            children[-1].kill()
            return {"chunk": 0}
        return said

    children: list[Any] = []
    popen = subprocess.Popen

    def started(*args: Any, **options: Any) -> Any:
        children.append(popen(*args, **options))
        return children[-1]

    monkeypatch.setattr(local, "_parsed", killing)
    monkeypatch.setattr(local.subprocess, "Popen", started)
    run(
        place / "scaled.onnx", place / "data", tmp_path / "o", baseline=place / "net.onnx", trust=4,
    )  # fmt: skip
    monkeypatch.undo()
    assert len(children) >= 3 and len(asked) == 2
    found, want = rows(tmp_path / "o"), rows(audit.folder)
    assert [r["id"] for r in found] == [r["id"] for r in want]
    assert [r["predicted"] for r in found] == [r["predicted"] for r in want]
    assert all(r["error"] is None for r in found) and verify(tmp_path / "o").problems == ()
