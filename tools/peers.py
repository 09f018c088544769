"""What other tools call a thing, and what it is called here: the table of docs/peers.md."""

from __future__ import annotations

import tomllib
from pathlib import Path

TABLE = Path(__file__).with_suffix(".toml")
HEAD = """# What other tools call it

Written by `tools/make_docs.py` from `tools/peers.toml`; a test holds that every name of onnxcam's
is there, and that nothing that Captum, pytorch-grad-cam or zennit export is left out. Read from the
packages themselves; of MATLAB, which no package holds, the best known functions. What is not here
says why.
"""
_WORDS = {
    "method": "`{}`",
    "metric": "metric `{}`",
    "target": "target `{}`",
    "parameter": "parameter `{}`",
    "command": "`onnxcam {}`",
    "call": "`{}`",
}


def table() -> dict[str, dict[str, str]]:
    """Return what stands in the table: by the tool and its name of a thing."""
    return tomllib.loads(TABLE.read_text())


def named(value: str) -> list[tuple[str, str]]:
    """Return the kinds and names that a thing has here; none where it is not here."""
    if value.startswith("-"):
        return []
    pairs = [token.partition(":") for token in value.partition(";")[0].split()]
    return [(kind, name) for kind, _, name in pairs]


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for tool, rows in table().items():
        parts.append(f"## {tool}\n\n| {tool} | onnxcam |\n|---|---|")
        parts += [f"| {_quoted(theirs)} | {_said(ours)} |" for theirs, ours in rows.items()]
        parts.append("")
    return "\n".join(parts)


def _quoted(theirs: str) -> str:
    """Return names as code, words as they are."""
    names = theirs.split(", ")
    plain = all(name.replace("_", "").isalnum() for name in names)
    return ", ".join(f"`{name}`" for name in names) if plain else theirs


def _said(value: str) -> str:
    if value.startswith("-"):
        return f"not here: {value[1:].strip()}"
    names = [_WORDS[kind].format(name) for kind, name in named(value)]
    more = value.partition(";")[2].strip()
    return ", ".join(names) + (f" ({more})" if more else "")
