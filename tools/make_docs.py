"""Write what documents take from the code: cli, methods, ops, quirks, the README's methods.

python tools/make_docs.py            # writes them
python tools/make_docs.py --check    # exit 1 when one is not up to date
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import onnx
import peers

from onnxcam import methods
from onnxcam.audit import measures, records
from onnxcam.autodiff.coverage import MEANING, known
from onnxcam.cli import main as onnxcam
from onnxcam.graph import quirks
from onnxcam.methods.needs import KINDS
from onnxcam.run.kernels import Provider, providers

ROOT = Path(__file__).resolve().parents[1]
HEAD = """# The command line

Written by `tools/make_docs.py` from `--help`; a test holds it.
"""
OPS_HEAD = """# The operators and their gradients

Written by `tools/make_docs.py`, as `onnxcam ops` lists them; a test holds it.
`onnxcam ops MODEL` lists those of a model. The newest standard opset is {opset}.
"""
METHODS_HEAD = """# The methods

Written by `tools/make_docs.py`, as `onnxcam methods NAME` says it; a test holds it. The cost is
that of one map of one target, in forward passes of the model. A parameter is an option of
`onnxcam explain`, and an entry of `parameters` in Python:
`Explainer(model, "rise", parameters={"masks": 1000}, seed=3)`.

Every method that converts and draws no samples of its own also goes through noise: with `tunnel` as
`mean`, `variance` or `square` its map is put together of those of noisy copies of the input
(`samples`, `noise`; a standard error), as SmoothGrad, VarGrad and SmoothGrad-Squared do with the
gradient: `onnxcam explain MODEL PICTURE --method deeplift --tunnel mean --samples 20`.
"""
QUIRKS_HEAD = """# Faults of other products, and what is done instead

Written by `tools/make_docs.py` from `onnxcam/graph/quirks.py`; a test holds it. For every fault
`tests/graph/test_quirks.py` shows it in the product at hand; a test that fails there says that the
workaround may go.
"""
KERNELS_HEAD = """# On other processors

Written by `tools/make_docs.py` from `onnxcam/run/providers/*.toml`; a test holds it. The operators
of ONNX that a provider takes, by the types of the input that counts, as its makers say. What is not
here, is of another type, or is a newer version of the operator than the provider knows, runs on the
CPU, between copies. `onnxcam convert` says which nodes of a file that would be, on machines without
such a processor too, and names an opset at which none would; `onnxcam.run.kernels.fallen(model)`
returns it.

**For CUDA write files at opset 19** (`onnxcam convert --opset 19`), or 18 where the model pads: of
ReduceMax and ReduceMin, which some methods use, ONNX has versions of opset 20, of Pad one of opset
19, that ONNX Runtime's CUDA provider has no kernels for. A test holds that nothing else that the
methods write falls to the CPU.
"""
MARK = re.compile(r"@quirks\.works_around\(([^)]*)\)\s+(?:@.*\s+)*def (\w+)")
RECORDS_HEAD = """# The records of an audit

Written by `tools/make_docs.py` from `onnxcam/audit/records.py`; a test holds it. The files are
Parquet; the version of these columns, {version}, is in their metadata as `onnxcam.audit.records`. A
column never gets another meaning. What is unknown is null.
"""
MEASURES_TABLE = re.compile(r"(?<=<!-- measures -->\n).*?(?=<!-- /measures -->)", re.DOTALL)
TABLE = re.compile(r"(?<=<!-- methods -->\n).*?(?=<!-- /methods -->)", re.DOTALL)


def pages() -> dict[Path, str]:
    """Return the documents as they should be."""
    readme, audit = ROOT / "README.md", ROOT / "docs" / "audit.md"
    return {
        ROOT / "docs" / "cli.md": _commands(),
        ROOT / "docs" / "methods.md": _methods_page(),
        ROOT / "docs" / "ops.md": _operators(),
        ROOT / "docs" / "quirks.md": _quirks(),
        ROOT / "docs" / "providers.md": _kernels(),
        ROOT / "docs" / "audit-records.md": _records(),
        ROOT / "docs" / "peers.md": peers.page(),
        audit: MEASURES_TABLE.sub(lambda _: _measures(), audit.read_text()),
        readme: TABLE.sub(lambda _: _methods(), readme.read_text()),
    }


def _is_of_another_onnx(path: Path) -> bool:
    """Tell whether a page lists the operators of another opset than that of the onnx at hand."""
    stated = re.search(r"newest standard opset is (\d+)", path.read_text())
    return stated is not None and int(stated[1]) != onnx.defs.onnx_opset_version()


def _operators() -> str:
    parts = [OPS_HEAD.format(opset=onnx.defs.onnx_opset_version())]
    parts.append("\n".join(f"- **{kind}**: {meaning}" for kind, meaning in MEANING.items()) + "\n")
    found = known()
    for domain in sorted({each.domain for each in found}):
        rows = ["| operator | gradient | reason |", "|---|---|---|"]
        rows += [f"| {e.op_type} | {e.kind} | {e.reason} |" for e in found if e.domain == domain]
        parts.append(f"## {domain or 'ai.onnx'}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _records() -> str:
    tables = (
        ("records", records.RECORDS, "One row a sample, model and method."),
        ("pairs", records.PAIRS, "One row a sample and method, where there is a baseline."),
        ("maps", records.MAPS, "One row a sample, model and method, unless they are left out."),
    )
    parts = [RECORDS_HEAD.format(version=records.VERSION)]
    for name, columns, what in tables:
        rows = "".join(f"| `{c.name}` | {c.kind} | {c.meaning} |\n" for c in columns)
        parts.append(
            f"\n## `{name}/`\n\n{what}\n\n| column | kind | meaning |\n|---|---|---|\n{rows}"
        )
    return "".join(parts)


def _measures() -> str:
    rows = (f"| `{m.name}` | {m.table} | {m.meaning} |\n" for m in measures.MEASURES.values())
    return "\n| measure | from | meaning |\n|---|---|---|\n" + "".join(rows) + "\n"


def _kernels() -> str:
    order = ("cuda", "tensorrt", "directml", "coreml", "webgpu")
    return "\n".join([KERNELS_HEAD, *(_provider(providers()[name]) for name in order)])


def _provider(provider: Provider) -> str:
    rows: dict[str, list[str]] = {}
    for name, types in provider.kernels.items():
        rows.setdefault(", ".join(sorted(types)) if types else "every type", []).append(f"`{name}`")
    table = [f"| {types} | {', '.join(sorted(names))} |" for types, names in sorted(rows.items())]
    limits = [f"`{name}` of opset {until}" for name, until in sorted(provider.until.items())]
    newest = (
        provider.newest and f"Newest versions of any operator: those of opset {provider.newest}."
    )
    known = f"Newest versions that are taken, where ONNX has newer ones: {', '.join(limits)}."
    said = [f"Source: {provider.source} ({provider.of}).", newest, limits and known]
    lines = [f"## {provider.title}", "", " ".join(each for each in said if each), ""]
    return "\n".join([*lines, "| types | operators |", "|---|---|", *table, ""])


def _quirks() -> str:
    places: dict[str, list[str]] = {quirk.name: [] for quirk in quirks.listed()}
    for path in sorted((ROOT / "onnxcam").rglob("*.py")):
        for marks, function in MARK.findall(path.read_text()):
            for name in re.findall(r"quirks\.([A-Z_0-9]+)", marks):
                places[name].append(f"`{path.relative_to(ROOT)}`, `{function}`")
    parts = [QUIRKS_HEAD]
    for product in dict.fromkeys(quirk.product for quirk in quirks.listed()):
        parts.append(f"## {product}\n")
        for quirk in (q for q in quirks.listed() if q.product == product):
            parts.append(f"### {quirk.name} ({quirk.versions})\n\n{quirk.fault}\n")
            parts.append(f"{quirk.instead} ({'; '.join(places[quirk.name])})\n")
    return "\n".join(parts)


def _methods() -> str:
    rows = [("method", "what it shows", "cost", "from")]
    for method in map(methods.find, methods.names()):
        rows.append((f"`{method.name}`", method.summary, str(method.cost), method.cite))
    return _table(rows)


def _methods_page() -> str:
    parts = [METHODS_HEAD]
    for kind, meaning in KINDS.items():
        parts.append(f"## Kind `{kind}`: {meaning}\n")
        parts += [_method(methods.find(name)) for name in methods.names(kind)]
    return "\n".join(parts)


def _method(method: methods.Method) -> str:
    lines = [
        f"### `{method.name}`\n\n{method.summary}\n",
        f"- **Claim**: {method.claim}",
        f"- **Limits**: {method.limits}",
        f"- **Cost**: {method.cost}",
        f"- **From**: {method.cite}",
    ]
    if method.parameters:
        rows = [("parameter", "default", "range", "what it is")]
        rows += [(f"`{p.name}`", str(p.default), p.range, p.help) for p in method.parameters]
        lines.append(f"\n{_table(rows)[:-1]}")
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows as Markdown, the first as the heading."""
    lines = [f"| {' | '.join(c.replace('|', chr(92) + '|') for c in row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]) + "\n"


def _commands() -> str:
    parts = [HEAD, _section("onnxcam", onnxcam, None)]
    top = click.Context(onnxcam, info_name="onnxcam")
    parts += [
        _section(f"onnxcam {name}", command, top) for name, command in onnxcam.commands.items()
    ]
    return "\n".join(parts)


def _section(title: str, command: click.Command, parent: click.Context | None) -> str:
    context = click.Context(
        command,
        info_name=title.rsplit(maxsplit=1)[-1],
        parent=parent,
        max_content_width=100,
        **onnxcam.context_settings,
    )
    return f"## `{title}`\n\n```text\n{command.get_help(context)}\n```\n"


def main() -> int:
    """Run the tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    check = parser.parse_args().check
    stale = [p for p, text in pages().items() if not p.is_file() or p.read_text() != text]
    if check:
        stale = [p for p in stale if not p.is_file() or not _is_of_another_onnx(p)]
    for path in stale:
        if check:
            print(f"{path.name} is out of date: run tools/make_docs.py", file=sys.stderr)
        else:
            path.write_text(pages()[path])
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
