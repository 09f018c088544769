"""The bundle: what leaves an audit's folder for other people and programs, and its manifest.

Nothing here is signed: `manifest.json` names every file with its hash, `statement.json` (an in-toto
Statement) names the models and the manifest with theirs, so one signature over the statement, made
by a tool for that, covers all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from onnxcam.audit.evidence import file_hash
from onnxcam.audit.kept import read
from onnxcam.errors import InputError, OnnxcamError, json_text, plain
from onnxcam.files import write_whole

MANIFEST, STATEMENT, JUNIT, SUMMARY = "manifest.json", "statement.json", "junit.xml", "summary.md"
VERDICT, EVIDENCE, RESULTS = "verdict.json", "evidence.json", "results.json"
_OUTSIDE = frozenset({MANIFEST, STATEMENT})  # the one is made last, the other of it
_IN_TOTO = {"pass": "PASSED", "fail": "FAILED", "not enough data": "WARNED"}
_SIGNS = {"pass": "✅", "fail": "❌", "not enough data": "⚠️"}  # as GitHub's summaries have


def manifest_text(folder: Path) -> str:
    """Return the manifest of a folder as it is now: the sha256 of every file, by name."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() or p.is_symlink())
    names = {p.relative_to(folder).as_posix(): p for p in files}
    hashes = {plain(name): file_hash(p) for name, p in names.items() if name not in _OUTSIDE}
    return json_text({"algorithm": "sha256", "files": hashes}) + "\n"


def statement_text(folder: Path, manifest: str) -> str:
    """Return the in-toto Statement (predicate test-result/v0.1) of an audit.

    Args:
        folder: The audit's folder.
        manifest: Its manifest.
    """
    verdict, evidence = read(folder / VERDICT), read(folder / EVIDENCE)
    named: dict[str, list[str]] = {"pass": [], "fail": [], "not enough data": []}
    for finding in verdict["findings"]:
        named[finding["result"]].append(test_name(finding))
    files = [f for m in evidence["models"].values() for f in m["files"]]
    subjects = [_resource(Path(f["path"]).name, f["sha256"]) for f in files]
    subjects.append(_resource(MANIFEST, hashlib.sha256(manifest.encode()).hexdigest()))
    said = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {
            "result": _IN_TOTO[verdict["result"]],
            "configuration": [_resource("policy.toml", file_hash(folder / "policy.toml"))],
            "passedTests": named["pass"],
            "warnedTests": named["not enough data"],
            "failedTests": named["fail"],
        },
    }
    return json_text(said) + "\n"


def _resource(name: str, digest: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": digest}}


def test_name(finding: Mapping[str, Any]) -> str:
    """Return what a limit and its group are called among tests."""
    where = "" if finding["per"] == "overall" else f" [{finding['per']} {finding['group']}]"
    return f"{finding['limit']}{where}"


def junit_text(verdict: Mapping[str, Any]) -> str:
    """Return a verdict in JUnit's XML: a test a limit and group; open ones are skipped."""
    found = verdict["findings"]
    suite = ElementTree.Element(
        "testsuite",
        name=plain(f"onnxcam audit: {verdict['policy']}"),
        tests=str(len(found)),
        failures=str(sum(f["result"] == "fail" for f in found)),
        skipped=str(sum(f["result"] == "not enough data" for f in found)),
        errors="0",
    )
    for finding in found:
        case = ElementTree.SubElement(
            suite, "testcase", classname=plain(finding["measure"]), name=plain(test_name(finding))
        )
        if finding["result"] != "pass":
            kind = "failure" if finding["result"] == "fail" else "skipped"
            ElementTree.SubElement(case, kind, message=interval(finding))
    ElementTree.indent(suite)
    made: str = ElementTree.tostring(suite, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{made}\n'


def interval(finding: Mapping[str, Any]) -> str:
    """Return a figure with its interval in words."""
    if finding["value"] is None:
        return "no sample says anything"
    return (
        f"{finding['value']:.3g}, {100 * finding['confidence']:.4g} % interval "
        f"{finding['low']:.3g} to {finding['high']:.3g}, {finding['count']} samples"
    )


def summary_text(folder: Path) -> str:
    """Return the summary in Markdown, as GitHub shows it beside a run."""
    verdict, results = read(folder / VERDICT), read(folder / RESULTS)
    counts = results["counts"]
    said = f"**{verdict['result']}** by the policy *{_md(verdict['policy'])}*"
    lines = [f"## {_SIGNS[verdict['result']]} onnxcam audit: {said}", ""]
    lines.append(f"{counts['samples']} samples, {counts['failed']} could not be explained.")
    if counts["pairs"]:
        lines[-1] += (
            f" {counts['flipped']} predictions changed; {counts['explanation_flips']} explanations "
            "changed while the prediction stayed."
        )
    if results["divergence"] and results["divergence"]["words"]:
        lines += ["", f"Where the models diverge: {_md(results['divergence']['words'])}."]
    lines += ["", "| | limit | group | found |", "|---|---|---|---|"]
    for f in sorted(verdict["findings"], key=lambda f: list(_SIGNS).index(f["result"]) == 0):
        group = _md(f["group"] or "all")
        lines.append(f"| {_SIGNS[f['result']]} | {_md(f['limit'])} | {group} | {interval(f)} |")
    for word, listed in (("Not judged", verdict["skipped"]), ("Conflict", verdict["conflicts"])):
        lines += ["", *(f"- {word}: {_md(each)}" for each in listed)] if listed else []
    return "\n".join(lines) + "\n"


def _md(said: str) -> str:
    """Return a text that Markdown shows as it is."""
    marked = "".join(f"\\{c}" if c in "\\`*_{}[]<>|#" else c for c in plain(said))
    return marked.replace("\n", " ")


def write_all(folder: Path) -> None:
    """Write what is made of verdict, results and evidence, the manifest and the statement last.

    Raises:
        OnnxcamError: Something cannot be written.
    """
    from onnxcam.audit.bom import bom_text

    write_whole(folder / JUNIT, junit_text(read(folder / VERDICT)).encode())
    write_whole(folder / SUMMARY, summary_text(folder).encode())
    write_whole(folder / "bom.json", bom_text(folder).encode())
    close(folder)


def close(folder: Path) -> None:
    """Write the manifest and the statement."""
    manifest = manifest_text(folder)
    write_whole(folder / MANIFEST, manifest.encode())
    write_whole(folder / STATEMENT, statement_text(folder, manifest).encode())


@contextmanager
def intact(folder: Path) -> Iterator[None]:
    """Say of a finished audit that is not what onnxcam writes that it is damaged, and how.

    What goes wrong before an audit has its manifest is none of a stranger's.

    Raises:
        InputError: In place of any error that is none of onnxcam's.
    """
    try:
        yield
    except OnnxcamError:
        raise
    except Exception as error:
        if not (folder / MANIFEST).exists():
            raise
        raise InputError(
            f"{folder} is damaged ({type(error).__name__}: {plain(error, 200)})",
            "`verify` says which files are not what they were; or run the audit again",
        ) from error
