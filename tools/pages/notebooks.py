"""Notebooks: kept without results, run when the site is built, shown as pages of it."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "notebooks"
SECONDS = 120  # for a cell


@dataclass
class Page:
    """A notebook as a page: its Markdown, and the pictures of its results by their names."""

    files: dict[str, str | bytes] = field(default_factory=dict)


def listed() -> list[Path]:
    """Return the notebooks."""
    return sorted(FOLDER.glob("*.ipynb"))


@cache
def run(path: Path) -> Any:
    """Run a notebook at the root of the repository and return it with its results.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell fails.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    NotebookClient(
        notebook,
        timeout=SECONDS,
        resources={"metadata": {"path": str(ROOT)}},
        kernel_name="python3",
    ).execute()
    return notebook


def page(path: Path) -> Page:
    """Return a notebook as files of the site, its results below their cells."""
    made, parts = Page(), []
    link = f"https://github.com/onnxcam/onnxcam/blob/main/docs/notebooks/{path.name}"
    for number, cell in enumerate(run(path).cells):
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for place, output in enumerate(cell.outputs):
            parts.append(_shown(output, f"{path.stem}-{number}-{place}", made))
    parts.insert(1, f"*[The notebook]({link}), run when this site was built.*")
    made.files[f"{path.stem}.md"] = "\n\n".join(parts) + "\n"
    return made


def _shown(output: Any, name: str, made: Page) -> str:
    """Return one result as Markdown; a picture becomes a file beside the page."""
    if output.output_type == "stream":
        return f'```text title="result"\n{output.text.rstrip()}\n```'
    data = output.get("data", {})
    if "image/png" in data:
        made.files[f"{name}.png"] = base64.b64decode(data["image/png"])
        return f"![{_said(data) or 'The picture that the cell above makes'}]({name}.png)"
    text = str(data.get("text/plain", "")).rstrip()
    return f'```text title="result"\n{text}\n```' if text else ""


def _said(data: Any) -> str:
    return (
        " ".join(str(data.get("text/plain", "")).split()).replace("]", ")").replace("[", "(")[:160]
    )
