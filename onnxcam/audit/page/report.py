"""The report of an audit, made of what lies in its folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from heapq import nsmallest
from importlib import resources
from pathlib import Path
from typing import Any

from onnxcam.audit import bundle, kept, measures, results
from onnxcam.audit.data import Sample
from onnxcam.audit.extras import needed
from onnxcam.audit.job import JOB, NAMES, Job
from onnxcam.audit.log import RunLog
from onnxcam.audit.page import charts, words
from onnxcam.audit.page.gallery import cases
from onnxcam.audit.page.looks import flags, looks
from onnxcam.audit.records import Row
from onnxcam.audit.store import Store
from onnxcam.audit.table import taken
from onnxcam.audit.verdict import of_method
from onnxcam.audit.work.child import samples_in
from onnxcam.errors import InputError, plain
from onnxcam.files import write_whole
from onnxcam.version import __version__

REPORT = "report.html"
_ROWS = 2000  # of the table: a page with more is slow, and the records have all
_CASES = 24
_GROUPS = 60  # classes in the table of figures


def write_report(folder: str | os.PathLike[str]) -> Path:
    """Write the report of a finished audit, and the manifest that names it.

    Raises:
        InputError: The folder holds no finished audit.
        OnnxcamError: It cannot be written.
    """
    folder = Path(folder)
    if not (folder / bundle.VERDICT).is_file():
        raise InputError(f"{folder} holds no finished audit", "check the path, or resume it")
    place = folder / REPORT
    with bundle.intact(folder):
        made = page(folder).encode()
    write_whole(place, made)
    bundle.close(folder)
    return place


def page(folder: Path) -> str:
    """Return the report as HTML."""
    jinja2 = needed("jinja2", "the report of an audit")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("onnxcam.audit.page", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: plain(value) if type(value) is str else value,
    )
    environment.filters |= {
        "number": words.number, "percent": words.percent,
    }  # fmt: skip
    # Markup is what the templates of this folder and the charts write; all else is escaped.
    safe = jinja2.utils.markupsafe.Markup
    environment.globals |= {
        "interval": bundle.interval,
        "meaning": _meaning,
        "bar": lambda *a, **k: safe(charts.bar(*a, **k)),
        "histogram": lambda *a, **k: safe(charts.histogram(*a, **k)),
        "ladder": lambda *a, **k: safe(charts.ladder(*a, **k)),
    }
    files = resources.files("onnxcam.audit.page.templates")
    parts = {name: safe(files.joinpath(name).read_text()) for name in ("page.css", "page.js")}
    text: str = environment.get_template("page.html").render(
        **_content(folder), style=parts["page.css"], script=parts["page.js"]
    )
    return text


def _meaning(name: str) -> str:
    """Return what a measure is, in words."""
    found = measures.find(name)
    return "" if found is None else found.meaning


def _content(folder: Path) -> dict[str, Any]:
    """Return what the template shows."""
    job, store = Job.read(folder / JOB), None
    store = Store(folder, job.chunk)
    said = {name: kept.read(folder / f"{name}.json") for name in ("verdict", "evidence", "results")}
    found = results.tables(store, said["results"]["trust"])
    rows = _table(found)
    worst = results.worst(found, _CASES)
    figures = said["results"]["figures"]
    log = RunLog(folder).entries()
    return {
        **said,
        "data": kept.read(folder / "data" / "manifest.json"),
        "counts": said["results"]["counts"],
        "names": dict(zip(NAMES, (Path(p).name for p in job.models), strict=False)),
        "methods": job.methods,
        "has_baseline": len(job.models) > 1,
        "cases": cases(store, _of(folder, worst), worst, job.methods[0]),
        "looks": looks(said["results"]["where"]),
        "flags": flags(said["results"]["where"]),
        "rows": rows,
        "all_rows": len(of_method(found["records"])),
        "pairs": of_method(found["pairs"]),
        "failures": [r for r in of_method(found["records"]) if r["error"] is not None],
        "classes": _grid(figures, "class")[:_GROUPS],
        "slices": _grid(figures, "slice"),
        "overall": [f for f in figures if f["per"] == "overall"],
        "log": log,
        "policy_text": kept.text(folder / "policy.toml"),
        "records_sha256": _digest(folder),
        "version": __version__,
    }


def _of(folder: Path, rows: Sequence[Row]) -> list[Sample]:
    """Return the samples of rows."""
    wanted = {r["id"] for r in rows}
    return [s for s in samples_in(folder) if s.id in wanted]


def _table(found: Mapping[str, Sequence[Row]]) -> list[Row]:
    """Return a row a sample: its record, and what of the pair the record has not."""
    records = of_method(found["records"])
    order = {r["id"]: k for k, r in enumerate(results.worst(found, _ROWS))}
    keys = ((r["error"] is None, order.get(r["id"], _ROWS), k) for k, r in enumerate(records))
    ranked = taken(records, [key[-1] for key in nsmallest(_ROWS, keys)])
    wanted = {r["id"] for r in ranked}
    pairs = {p["id"]: p for p in of_method(found["pairs"]) if p["id"] in wanted}
    empty = dict.fromkeys(("flipped", "explanation_flip", "spearman", "baseline_label",
                           "baseline_class"))  # fmt: skip
    return [{**r, **{name: pairs.get(r["id"], empty)[name] for name in empty}} for r in ranked]


def _grid(figures: Sequence[dict[str, Any]], per: str) -> list[dict[str, Any]]:
    """Return figures by group: name, samples, and each measure's figure by its name."""
    groups: dict[str, dict[str, Any]] = {}
    for figure in figures:
        if figure["per"] == per:
            group = groups.setdefault(figure["group"], {"name": figure["group"], "count": 0})
            group[figure["measure"]] = figure
            group["count"] = max(group["count"], figure["count"])
    return sorted(groups.values(), key=lambda g: -g["count"])


def _digest(folder: Path) -> str:
    """Return one hash of all files of records."""
    found = hashlib.sha256()
    for place in sorted((folder / "records").glob("*.parquet")):
        found.update(hashlib.sha256(place.read_bytes()).digest())
    return found.hexdigest()
