"""Results as a table and as JSON, with the machine and the versions that made them."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.comparisons import Comparison, Settings
from bench.files import FileCost
from bench.limits import Check
from bench.peers.measure import Cost
from bench.start import Start
from bench.timing import Ratio

PACKAGES = ("onnxcam", "onnxruntime", "onnxruntime-gpu", "onnx", "onnx-graphsurgeon", "numpy",
            "torch")  # fmt: skip
_MB = 1_000_000


def machine() -> dict[str, Any]:
    """Return processor, cores, load, operating system and Python."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Return the versions of the packages that matter and are there."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def as_dict(settings: Settings, results: Sequence[Comparison]) -> dict[str, Any]:
    """Return everything for JSON."""
    rows = [
        {
            **asdict(r),
            "passed": r.passed,
            "emitted_per_node": r.emitted / r.nodes,
            "peak_per_file": r.build and r.build.peak_per_file,
        }
        for r in results
    ]
    return {**circumstances(settings), "results": rows}


def circumstances(settings: Settings) -> dict[str, Any]:
    """Return where and how it was measured."""
    return {"machine": machine(), "versions": versions(), "settings": asdict(settings)}


def as_rows(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Return checks for JSON."""
    return [{**asdict(c), "passed": c.passed} for c in checks]


def show(settings: Settings, results: Sequence[Comparison], console: Console) -> None:
    """Print the table and, below it, machine, versions and settings."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("model", "compared", "plain ms", "with ms", "ratio", "95 %", "limit", "nodes",
                 "added", "load s", "build s", "memory / file"):  # fmt: skip
        table.add_column(name, justify="left" if name in ("model", "compared") else "right")
    for r in results:
        table.add_row(*_cells(r), style=None if r.passed else "red")
    console.print(table)
    _show_circumstances(settings, console)


def show_checks(settings: Settings, checks: Sequence[Check], console: Console) -> None:
    """Print each promise with what came out and, below, machine, versions and settings."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("network", "what", "batch", "quantity", "value", "95 %", "limit", ""):
        numeric = name in ("batch", "value", "95 %", "limit")
        table.add_column(name, justify="right" if numeric else "left")
    for c in checks:
        interval = "" if c.interval is None else "{:.3f} .. {:.3f}".format(*c.interval)
        table.add_row(
            c.subject, c.what, str(c.batch), c.quantity, f"{c.value:.3f}", interval,
            f"{c.limit:g}", "pass" if c.passed else "FAIL", style=None if c.passed else "red",
        )  # fmt: skip
    console.print(table)
    _show_circumstances(settings, console)


def show_peers(settings: Settings, costs: Sequence[Cost], console: Console) -> None:
    """Print what each tool costs and, below, machine, versions and settings."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("network", "tool", "F ms", "time / F", "time / own F", "same map", ""):
        table.add_column(name, justify="left" if name in ("network", "tool", "") else "right")
    for c in costs:
        cells = [c.subject, c.label, "", "", "", "", f"not measured: {c.problem}"]
        if c.ratio is not None and c.own is not None:
            same = "" if c.correlation is None else f"{c.correlation:.4f}"
            verdict = "" if c.limit is None else f"limit {c.limit:g}"
            cells[2:] = [f"{c.plain_ms:.2f}", _text(c.ratio), _text(c.own), same, verdict]
        table.add_row(*map(escape, cells), style=None if c.passed and not c.problem else "red")
    console.print(table)
    _show_circumstances(settings, console)


def show_files(settings: Settings, costs: Sequence[FileCost], console: Console) -> None:
    """Print what explaining costs for each file and, below, machine, versions and settings."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("file", "F ms", "time / F", "limit", "added", ""):
        table.add_column(name, justify="left" if name in ("file", "") else "right")
    for c in costs:
        cells = [c.subject, "", "", "", "", c.problem or ""]
        if c.ratio is not None:
            limit = "" if c.limit is None else f"{c.limit:g}"
            cells[1:5] = [f"{c.plain_ms:.2f}", _text(c.ratio), limit, str(c.emitted)]
        table.add_row(*map(escape, cells), style=None if c.passed and not c.problem else "red")
    console.print(table)
    _show_circumstances(settings, console)


def show_starts(settings: Settings, found: Sequence[Start], console: Console) -> None:
    """Print what each start costs and, below, machine, versions and settings."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("what", "model", "s", "other s", "ratio"):
        table.add_column(name, justify="left" if name in ("what", "model") else "right")
    for s in found:
        other = "" if s.against is None else f"{s.against:.3f}"
        quotient = "" if s.ratio is None else _text(s.ratio)
        table.add_row(s.what, escape(s.subject), f"{s.seconds:.3f}", other, quotient)
    console.print(table)
    _show_circumstances(settings, console)


def _text(found: Ratio) -> str:
    return f"{found.median:.3f} ({found.low:.3f} .. {found.high:.3f})"


def _show_circumstances(settings: Settings, console: Console) -> None:
    facts = machine()
    console.print(
        f"{facts['cpu']}, {facts['cores']} cores (load {facts['load']:.1f}), "
        f"{settings.threads} thread(s), {settings.runs} pairs, {settings.clock} clock, "
        f"{settings.device}; " + ", ".join(f"{k} {v}" for k, v in versions().items()),
        style="dim",
    )


def _cells(r: Comparison) -> list[str]:
    cells = [
        escape(r.subject),
        r.what,
        f"{r.plain_ms:.2f}",
        f"{r.other_ms:.2f}",
        f"{r.ratio.median:.3f}",
        f"{r.ratio.low:.3f} .. {r.ratio.high:.3f}",
        "" if r.limit is None else f"{r.limit:g}",
        str(r.nodes),
        f"{r.emitted} ({r.emitted / r.nodes:.1f}x)",
    ]
    if r.build is None:
        return [*cells, "", "", ""]
    build = r.build
    grown = f"{(build.peak_bytes - build.idle_bytes) / _MB:.0f} / {build.file_bytes / _MB:.0f} MB"
    return [
        *cells,
        f"{build.load_s:.2f}",
        f"{build.build_s:.2f}",
        f"{grown} = {build.peak_per_file:.2f}",
    ]
