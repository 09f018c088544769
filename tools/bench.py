"""What explaining costs: onnxcam against plain inference, its promises, and other tools.

Plain inference and the other run in turns in one process, by default on one thread that does
not spin; what counts is the median of the ratios of neighbouring calls, with its bootstrap
interval. Prints a table and, on request, writes JSON.

    python tools/bench.py gradcam models/mobilenetv2.onnx --limit 1.05
    python tools/bench.py gradient models/squeezenet1.1.onnx --batch 4
    python tools/bench.py gradient --arch resnet50 --arch vgg16 --json gradient.json
    python tools/bench.py limits --json docs/benchmarks.json    # every promise, pass or fail
    python tools/bench.py files models ../shared/models --clock cpu --json docs/benchmarks.json
    python tools/bench.py methods --page docs/method-costs.md   # methods of many runs
    python tools/bench.py peers --json docs/benchmarks.json     # other tools, installed for it
    python tools/bench.py start --against ../old --runs 9        # starts, beside another checkout
    python tools/bench.py audit --clock cpu --memory             # what an audit costs
    python tools/bench.py page                                  # docs/benchmarks.md and its plot

The networks of --arch (random weights, exported on the spot) need the extra `test`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import audit, comparisons, files, limits, methods, page, report, start, store
from bench.comparisons import Comparison, Settings
from bench.peers import measure
from bench.peers.catalog import PEERS
from bench.subjects import EXPORTERS, Subject, architectures, export, from_file
from bench.timing import CLOCKS
from rich.console import Console

from onnxcam.errors import OnnxcamError, UsageError

_ARCH = "a network with random weights, exported on the spot; repeatable; `list` shows them"
_PEERS = tuple(peer.name for peer in PEERS)
_CLOCK = "wall, or the processor's time, steadier on a busy machine [%(default)s]"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="bench.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = made.add_subparsers(dest="command", required=True)
    timing, subject = _timing(), _subject()
    cam = commands.add_parser("gradcam", parents=[subject, timing], help="an explained model")
    cam.add_argument("--method", default="gradcam", help="graph method [%(default)s]")
    cam.add_argument("--classes", type=int, default=1, help="explained at once [1: the top one]")
    cam.add_argument("--feature-layer", metavar="TENSOR", help="[onnxcam's choice]")
    full = commands.add_parser("gradient", parents=[subject, timing], help="the input's gradient")
    full.add_argument("--wrt", metavar="TENSOR", help="[the first float input]")
    full.add_argument("--output", metavar="TENSOR", help="[the first float output]")
    full.add_argument("--no-cost", action="store_true", help="do not measure the building")
    promises = commands.add_parser("limits", parents=[timing], help="every promise, pass or fail")
    promises.add_argument("--only", action="append", default=[], choices=limits.GROUPS)
    promises.add_argument("--arch", action="append", default=[], metavar="NAME", help="[all]")
    promises.add_argument("--batch", action="append", default=[], type=int, help="[1 and 8]")
    real = commands.add_parser("files", parents=[timing], help="every file of some folders")
    real.add_argument(
        "place", nargs="+", type=Path, metavar="FOLDER", help="folders, or ONNX files"
    )
    others = commands.add_parser("peers", parents=[timing], help="other tools, installed for it")
    others.add_argument("--arch", action="append", default=[], help="[resnet50, mobilenet_v2]")
    others.add_argument("--peer", action="append", default=[], choices=_PEERS, help="[all]")
    audits = commands.add_parser("audit", parents=[timing], help="an audit, per sample")
    audits.add_argument("--memory", action="store_true", help="of 20,000 samples too: minutes")
    starts = commands.add_parser("start", help="processor time of cold and warm starts")
    add = starts.add_argument
    add("--against", type=Path, metavar="DIR", help="another checkout, measured in turns")
    add("--only", action="append", default=[], choices=tuple(start.TASKS), help="[all]")
    add("--explain", type=Path, nargs=2, metavar=("MODEL", "INPUT"), help="[SqueezeNet, coffee]")
    add("--build", type=Path, metavar="MODEL", help="[MobileNetV2]")
    add("--runs", type=int, default=9, help="measured calls of each [9]")
    add("--warmup", type=int, default=1, help="calls before [1]")
    add("--seed", type=int, default=0, help="of the bootstrap [0]")
    add("--json", type=Path, metavar="FILE", help="write the results")
    many = commands.add_parser("methods", parents=[timing], help="methods of many runs")
    many.add_argument("--only", action="append", default=[], help="a method; repeatable")
    many.add_argument("--arch", action="append", default=[], help="a network; `none`: the page")
    many.add_argument("--page", type=Path, metavar="FILE", help="write docs/method-costs.md")
    written = commands.add_parser("page", help="write docs/benchmarks.md from its JSON")
    written.add_argument("--check", action="store_true", help="compare, do not write")
    return made


def _timing() -> argparse.ArgumentParser:
    timing = argparse.ArgumentParser(add_help=False)
    add = timing.add_argument
    add("--runs", type=int, default=30, help="pairs of timed calls [30]")
    add("--warmup", type=int, default=3, help="calls before [3]")
    add("--threads", type=int, default=1, help="threads of ONNX Runtime [1]")
    add("--device", choices=("cpu", "gpu"), default="cpu", help="[%(default)s]")
    add("--clock", choices=tuple(CLOCKS), default="wall", help=_CLOCK)
    add("--seed", type=int, default=0, help="of inputs and bootstrap [0]")
    add("--json", type=Path, metavar="FILE", help="write the results")
    return timing


def _subject() -> argparse.ArgumentParser:
    subject = argparse.ArgumentParser(add_help=False)
    add = subject.add_argument
    add("model", nargs="*", type=Path, metavar="MODEL", help="ONNX files")
    add("--arch", action="append", default=[], metavar="NAME", help=_ARCH)
    add("--exporter", choices=EXPORTERS, default="dynamo", help="torch's, for --arch [%(default)s]")
    add("--static", action="store_true", help="export --arch with a fixed batch of 1")
    add("--batch", type=int, default=1, help="inputs per call, if the model lets choose [1]")
    add("--dim", action="append", default=[], metavar="NAME=N", help="another dynamic dimension")
    add("--limit", type=float, help="exit with 1 where a ratio is above it")
    return subject


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return the exit code."""
    options = parser().parse_args(arguments)
    if options.command == "page":
        return _page(check=options.check)
    console = Console(width=None if sys.stdout.isatty() else 220, highlight=False)
    try:
        return 0 if _measured(options, console) else 1
    except OnnxcamError as error:
        print(f"bench.py: {error}", file=sys.stderr)
        return 2


def _measured(options: argparse.Namespace, console: Console) -> bool:
    """Do what the command says; tell whether every limit was kept."""
    if options.command == "start":
        return _starts(options, console)
    if "list" in getattr(options, "arch", ()):
        console.print(" ".join(architectures()))
        return True
    settings = Settings(
        options.runs, options.warmup, options.threads, options.device, options.clock, options.seed
    )
    ways = {
        "limits": _limits, "peers": _peers, "files": _files, "methods": _methods, "audit": _audits,
    }  # fmt: skip
    run = ways.get(options.command, _compare)
    return run(options, settings, console)


def _page(*, check: bool) -> int:
    """Write the documents, or say which are not up to date."""
    made = page.pages(Path(__file__).resolve().parents[1])
    stale = {p: text for p, text in made.items() if not p.is_file() or p.read_text() != text}
    for path, text in stale.items():
        if check:
            print(f"{path.name} is out of date: run tools/bench.py page", file=sys.stderr)
        else:
            path.write_text(text)
    return int(check and bool(stale))


def _compare(options: argparse.Namespace, settings: Settings, console: Console) -> bool:
    """Compare each model with itself explained; tell whether each kept the limit."""
    results = [_measure(s, settings, options) for s in _subjects(options)]
    report.show(settings, results, console)
    if options.json is not None:
        text = json.dumps(report.as_dict(settings, results), indent=2)
        options.json.write_text(text + "\n")
    return all(r.passed for r in results)


def _limits(options: argparse.Namespace, settings: Settings, console: Console) -> bool:
    """Check the promises; tell whether each was kept."""
    cases = limits.chosen(options.only, options.arch, options.batch)
    if not cases:
        raise UsageError("no promise is about that", "see CASES in tools/bench/limits.py")
    found = list(limits.checks(cases, settings))
    report.show_checks(settings, found, console)
    if options.json is not None:
        store.update(
            options.json, "limits", report.circumstances(settings), report.as_rows(found),
            key=("group", "subject", "what", "batch", "quantity"),
        )  # fmt: skip
    return all(c.passed for c in found)


def _files(options: argparse.Namespace, settings: Settings, console: Console) -> bool:
    """Measure every file; tell whether each kept its limit."""
    found = list(files.costs(options.place, settings))
    report.show_files(settings, found, console)
    if options.json is not None:
        store.update(
            options.json, "files", report.circumstances(settings),
            [{**asdict(c), "passed": c.passed} for c in found], key=("subject",),
        )  # fmt: skip
    return all(c.passed for c in found)


def _peers(options: argparse.Namespace, settings: Settings, console: Console) -> bool:
    """Compare with other tools; tell whether each could be measured and kept its limit, if any."""
    archs = options.arch or ["resnet50", "mobilenet_v2"]
    wanted = [p for p in PEERS if p.name in (options.peer or _PEERS)]
    found = list(measure.costs(archs, wanted, settings))
    report.show_peers(settings, found, console)
    if options.json is not None:
        store.update(
            options.json, "peers", report.circumstances(settings),
            [{**asdict(c), "passed": c.passed} for c in found], key=("subject", "peer"),
        )  # fmt: skip
    return all(c.passed and c.problem is None for c in found)


def _methods(options: argparse.Namespace, settings: Settings, console: Console) -> bool:
    """Check what is promised of methods of many runs; tell whether it was kept."""
    found, path = [], options.json
    for cost in methods.costs(settings, options.only, options.arch):
        found.append(cost)
        console.print(methods.said(cost))
        if path is not None:
            methods.keep(path, cost, report.circumstances(settings))
    if options.page is not None:
        told = {**report.machine(), **report.versions()}
        said = ", ".join(f"{name} {value}" for name, value in told.items() if name != "system")
        every = found if path is None else methods.kept(path)
        clock = "the processor's time" if settings.clock == "cpu" else "the clock on the wall"
        options.page.write_text(methods.page(every, f"Measured by {clock} with {said}."))
    return all(cost.passed for cost in found)


def _audits(options: argparse.Namespace, settings: Settings, console: Console) -> bool:
    """Measure an audit; tell whether every promise was kept."""
    found = []
    for figure in audit.figures(settings, memory=options.memory):
        console.print(audit.shown(figure))
        found.append(figure)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(f) for f in found], indent=2) + "\n")
    return all(f.passed for f in found)


def _starts(options: argparse.Namespace, console: Console) -> bool:
    """Measure starts."""
    files = start.Files(
        *(options.explain or (start.Files.explained, start.Files.input)),
        options.build or start.Files.built,
    )
    settings = Settings(
        options.runs, options.warmup, os.cpu_count() or 1, "cpu", "cpu", options.seed
    )
    found = list(
        start.starts(
            options.only or list(start.TASKS), files, options.against,
            runs=options.runs, warmup=options.warmup, seed=options.seed,
        )
    )  # fmt: skip
    report.show_starts(settings, found, console)
    if options.json is not None:
        store.update(
            options.json, "start", report.circumstances(settings), [asdict(s) for s in found],
            key=("what", "subject"),
        )  # fmt: skip
    return True


def _measure(subject: Subject, settings: Settings, options: argparse.Namespace) -> Comparison:
    if options.command == "gradcam":
        return comparisons.explained(
            subject, settings, method=options.method, classes=options.classes,
            feature_layer=options.feature_layer, limit=options.limit,
        )  # fmt: skip
    return comparisons.gradient(
        subject, settings, wrt=options.wrt, output=options.output, cost=not options.no_cost,
        limit=options.limit,
    )  # fmt: skip


def _subjects(options: argparse.Namespace) -> Iterator[Subject]:
    """Yield the files, then the networks; a network's file is gone when the next one comes."""
    if not options.model and not options.arch:
        raise UsageError("nothing to measure", "give a MODEL or --arch")
    dims = dict(_dim(text) for text in options.dim)
    for path in options.model:
        yield from_file(path, batch=options.batch, dims=dims, seed=options.seed)
    for name in options.arch:
        with TemporaryDirectory(prefix="bench-") as folder:
            path = export(name, Path(folder), exporter=options.exporter, dynamic=not options.static)
            label = f"{name} ({options.exporter})"
            yield from_file(path, batch=options.batch, dims=dims, seed=options.seed, name=label)


def _dim(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not number.isdecimal():
        raise UsageError(f"--dim {text!r}", "write NAME=NUMBER")
    return name, int(number)


if __name__ == "__main__":
    sys.exit(main())
