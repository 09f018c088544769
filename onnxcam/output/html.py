"""What notebooks show: tables and pictures as HTML, every text of a file made harmless."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from onnxcam.errors import plain

_CELL = "style='text-align:left;padding:2px 12px 2px 0'"


def text(value: object) -> str:
    """Return a value as text that does nothing in a page."""
    return escape(plain(str(value)))


def facts(said: Mapping[str, object]) -> str:
    """Return a table of names and what is said of each."""
    rows = "".join(
        f"<tr><th {_CELL}>{text(name)}</th><td {_CELL}>{text(value)}</td></tr>"
        for name, value in said.items()
    )
    return f"<table>{rows}</table>"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table with a head."""
    first = "".join(f"<th {_CELL}>{text(cell)}</th>" for cell in head)
    rest = "".join(
        f"<tr>{''.join(f'<td {_CELL}>{text(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{first}</tr></thead><tbody>{rest}</tbody></table>"


def picture(png: bytes, said: str) -> str:
    """Return a picture that lies in the page itself, with what it shows in words."""
    data = b64encode(png).decode()
    return f"<img style='max-width:100%' alt='{text(said)}' src='data:image/png;base64,{data}'>"


def of_explainer(explainer: Any) -> str:
    """Return what a notebook shows of an :class:`onnxcam.Explainer`: model, maps, layers."""
    path = explainer.model.path
    said = {
        "model": path.name if path else explainer.model.sha256[:12],
        "explains": ", ".join(m.summary for m in explainer.maps),
        "runs on": explainer.provider.name,
        "classes": len(explainer.labels or ()) or "without names",
    }
    return facts(said) + str(explainer.catalog._repr_html_())
