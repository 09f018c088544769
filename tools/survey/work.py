"""One network: made, recorded, exported by each exporter, and each file examined."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from exporting import quiet
from tables.verdicts import NOT_MADE
from torch import Tensor, nn

from survey.examine import Row, examine
from survey.expert import Expert
from survey.networks import Subject, export, limited, made, pictures
from survey.tape import Tape, record

SECONDS = 240  # more is not waited for


def files_of(
    subject: Subject, exporters: Sequence[str], folder: Path, *, again: bool, cost: bool
) -> Iterator[Row]:
    """Yield the row of every exporter's file of a network.

    Args:
        subject: The network.
        exporters: Whose files.
        folder: Where the files are kept.
        again: Export what is there again.
        cost: Measure what an explanation costs.
    """
    rows = [Row(subject.library, subject.name, e) for e in exporters]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with quiet(), limited(SECONDS):
            net = made(subject)
            x = pictures(subject.shape, 1, seed=11)
        paths = {}
        for row in rows:
            path = folder / f"{subject.key}.{row.exporter}.onnx"
            paths[row.exporter] = path
            if again or not path.exists():
                _export(net, x, path, row)
        with quiet(), limited(SECONDS):
            tape, expert = _recorded(subject, net, x)
    except Exception as error:  # noqa: BLE001  # another library's
        for row in rows:
            row.verdict, row.note = NOT_MADE, row.note or _said(error)
            yield row
        return
    for row in rows:
        if row.verdict != NOT_MADE:
            with quiet():
                examine(paths[row.exporter], tape, expert, row, cost=cost)
        yield row


def _export(net: nn.Module, x: Tensor, path: Path, row: Row) -> None:
    part = path.with_suffix(".part")
    try:
        export(net, x, part, row.exporter, SECONDS)
        part.replace(path)
    except Exception as error:  # noqa: BLE001  # the exporter's
        row.verdict = NOT_MADE
        row.note = _said(error)


def _said(error: Exception) -> str:
    text = re.sub(r"\x1b\[\d*m", "", f"{type(error).__name__}: {error}")
    return " ".join(text.split())[:200]


def _recorded(subject: Subject, net: nn.Module, x: Tensor) -> tuple[Tape, Expert]:
    """Return the record in float64, or in float32 where the library's code insists on that."""
    try:
        tape = record(net.double(), x.double())
    except (RuntimeError, TypeError, ValueError):
        tape = record(net.float(), x)
    if not torch.isfinite(tape.output).all():
        raise ValueError("the network's scores are not finite")
    return tape, Expert(subject, net, tape)
