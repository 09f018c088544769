"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from onnxcam.errors import plain

if TYPE_CHECKING:
    from onnxcam.analysis.layers import Candidate, Catalog, Reduction
    from onnxcam.autodiff.coverage import Coverage, Usage
    from onnxcam.look.presets import Trial
    from onnxcam.look.ranking import Ranking
    from onnxcam.methods import Method
    from onnxcam.metrics import Comparison
    from onnxcam.model.model import Model

_STYLES = {"none": "red", "zero": "dim", "straight-through": "yellow"}
_LONG = 2000  # rows of which nobody looks at the colours
_WIDE = 200  # columns where nobody looks at them


def console(*, stderr: bool = False) -> Console:
    """Return a console; piped output is not cut to 80 columns."""
    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = _WIDE
    return made


def _print_table(out: Console, table: Table) -> None:
    """Print a table without the blanks that rich fills its lines up with."""
    if table.row_count > _LONG:
        out.file.writelines(f"{line}\n" for line in _bare(table))
        return
    with out.capture() as filled:
        out.print(table)
    for line in filled.get().splitlines():
        out.file.write(f"{line.rstrip()}\n")


def _bare(table: Table) -> Iterator[str]:
    """Yield the lines of a table without colours and breaks: rich takes long for many rows."""
    columns = [[str(c.header), *(str(cell) for cell in c.cells)] for c in table.columns]
    widths = [max(map(cell_len, column)) for column in columns]
    for row in zip(*columns, strict=True):
        filled = (text + " " * (w - cell_len(text)) for text, w in zip(row, widths, strict=True))
        yield "  ".join(filled).rstrip()


def print_layers(
    model: Model,
    catalog: Catalog,
    rows: Sequence[Candidate],
    boxes: Mapping[str, str] | None = None,
) -> None:
    """Print the catalog of a model, the default feature layer marked, and what boxes it has."""
    out = console()
    facts = _facts(model, catalog)
    for name, text in (boxes or {}).items():
        _row(facts, name, text)
    _print_table(out, facts)
    table = _table("", "feature layer", "op", "shape", "axes", "reason")
    for row in rows:
        default = catalog.feature is not None and row.name == catalog.feature.name
        _row(
            table,
            "*" if default else "",
            row.name,
            row.op,
            shape_text(row.shape),
            row.layout.axes if row.layout else "?",
            row.reason,
            style="bold green" if default else None if row.usable else "dim",
        )
    out.width = max(out.width, _WIDE)  # a name that is broken into pieces cannot be copied
    _print_table(out, table)


def _facts(model: Model, catalog: Catalog) -> Table:
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    reduction = catalog.reduction
    layout = f" ({catalog.input_layout.axes})" if catalog.input_layout else ""
    shape = next(p.shape for p in model.inputs if p.name == catalog.input)
    _row(facts, "input", f"{catalog.input}{layout} {shape_text(shape)}")
    feature = catalog.feature.name if catalog.feature else "none"
    _row(facts, "feature layer", f"{feature}: {catalog.feature_reason}")
    for warning in catalog.warnings_of(catalog.feature):
        _row(facts, "warning", warning)
    many = "" if reduction.classes == 1 else "es"
    classes = f", {reduction.classes} class{many}" if reduction.classes else ""
    _row(facts, "reduction layer", f"{reduction.name}: {reduction.reason}{classes}")
    _row(facts, "its axes", _axes(reduction))
    for other in reduction.others:
        _row(facts, "other output", other)
    if reduction.note:
        _row(facts, "note", reduction.note)
    for note in model.notes:
        _row(facts, "note", note)
    return facts


def _axes(reduction: Reduction) -> str:
    """Say what the axes of the scores count."""
    batch, classes = reduction.batch_axis, reduction.class_axis
    parts = [
        "none for inputs: it is of one" if batch is None else f"{batch} inputs",
        "none for classes: there is one" if classes is None else f"{classes} classes",
    ]
    return ", ".join([*parts, *(["the others positions, summed over"] * reduction.positions)])


def print_trials(trials: Sequence[Trial], saved: Path | None) -> None:
    """Print what every preset makes of a picture."""
    out = console()
    table = _table("preset", "top class", "probability", "second", "what it does")
    for trial in trials:
        probability = "" if trial.probability is None else f"{100 * trial.probability:.1f} %"
        _row(
            table,
            trial.preset,
            trial.top,
            probability,
            trial.second,
            trial.problem or trial.summary,
        )
    _print_table(out, table)
    if saved is not None:
        out.print(f"written: {plain(saved)}", soft_wrap=True)
    else:
        out.print("Take the one that names what is in the picture: add --save PRESET.")


def print_ranking(found: Ranking) -> None:
    """Print how well every preset does, and which wins."""
    out = console()
    table = _table("preset", "right", "sure of it", "what it does")
    for r in found.ranks:
        sure = "" if r.confidence is None else f"{100 * r.confidence:.1f} %"
        counted = "" if r.problem else f"{r.right} of {r.pictures}"
        best = "bold green" if r.preset in found.ties and r.right else None
        _row(table, r.preset, counted, sure, r.problem or r.summary, style=best)
    _print_table(out, table)
    out.print(plain(found.verdict), soft_wrap=True)


def print_methods(found: Sequence[Method]) -> None:
    """Print the methods."""
    table = _table("method", "kind", "cost", "what it shows", "from")
    for method in found:
        _row(table, method.name, method.kind, str(method.cost), method.summary, method.cite)
    _print_table(console(), table)


def print_details(found: Sequence[Method]) -> None:
    """Print all that is said of methods."""
    from onnxcam.methods.needs import KINDS

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for method in found:
        _row(table, method.name, method.summary)
        _row(table, "kind", f"{method.kind}: it {KINDS[method.kind]}")
        _row(table, "cost", f"{method.cost} forward passes")
        _row(table, "claim", method.claim)
        _row(table, "limits", method.limits)
        for p in method.parameters:
            _row(table, f"--{p.name}", f"{p.help}: {p.range} (default {p.default})")
        _row(table, "from", method.cite)
    _print_table(console(), table)


def print_coverage(found: Sequence[Coverage]) -> None:
    """Print what the gradient of each operator is."""
    table = _table("operator", "gradient", "reason")
    for each in found:
        _row(table, each.name, each.kind, each.reason, style=_STYLES.get(each.kind))
    out = console()
    _print_table(out, table)
    _print_meanings(out, found)


def print_usage(found: Sequence[Usage]) -> None:
    """Print the operators of a model, and which of them keep gradients from what is before."""
    table = _table("operator", "gradient", "nodes", "on the path to the score", "reason")
    for each in found:
        of = each.coverage
        style = "bold red" if each.blocks else "dim" if not each.on_path else None
        _row(table, of.name, of.kind, str(each.nodes), str(each.on_path), of.reason, style=style)
    out = console()
    _print_table(out, table)
    _print_meanings(out, [each.coverage for each in found])
    blocking = [each.coverage.name for each in found if each.blocks]
    said = "No operator on the path to the score is refused."
    if blocking:
        said = f"No gradient reaches what lies before {', '.join(blocking)}."
    out.print(plain(said), soft_wrap=True)


def print_comparison(found: Comparison) -> None:
    """Print what maps and baselines measure, and how far the maps agree."""
    from onnxcam.metrics.registry import find

    out = console()
    metrics = list(next(iter(found.measures.values()), {}))
    table = _table("map", *(f"{m} ({find(m).better} is better)" for m in metrics))
    for name, row in found.measures.items():
        style = None if name in found.explanations else "dim"
        _row(table, name, *(f"{row[m]:.3f}" for m in metrics), style=style)
    _print_table(out, table)
    out.print("\nagreement: Spearman's rank correlation of the maps")
    table = _table("", *found.names)
    for name, values in zip(found.names, found.agreement, strict=True):
        _row(table, name, *(f"{value:.2f}" for value in values))
    _print_table(out, table)


def _row(table: Table, *cells: str, style: str | None = None) -> None:
    """Add a row of texts as they are: no markup in them, and nothing that moves a cursor."""
    table.add_row(*(Text(plain(cell)) for cell in cells), style=style)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _print_meanings(out: Console, found: Sequence[Coverage]) -> None:
    from onnxcam.autodiff.coverage import MEANING

    kinds = {each.kind for each in found}
    out.print()
    for kind, meaning in MEANING.items():
        if kind in kinds:
            out.print(f"{kind}: {meaning}", soft_wrap=True)


def shape_text(shape: Sequence[int | str | None] | None) -> str:
    """Return a shape as people write it, "?" for what is unknown."""
    return "?" if shape is None else " x ".join("?" if d is None else str(d) for d in shape)
