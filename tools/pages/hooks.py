"""What mkdocs does beside its plugins: links out of `docs/`, and pages that are not files there.

On GitHub the pages of `docs/` link to code and to files at the root; on the site such a link leads
to the repository, and the files at the root are pages of their own. Notebooks become pages, run.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools")]  # mkdocs loads this file by its place

from pages import notebooks  # noqa: E402

REPOSITORY = "https://github.com/onnxcam/onnxcam/blob/main/"
TAKEN = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "tools/web/README.md": "web.md",
}
ROLE = re.compile(r":(?:func|class|mod|meth|attr|data):(?=<code>)")
LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:|data:)([^)\s#]+)(#[^)\s]*)?(?=\))")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made of other files."""
    for source, place in TAKEN.items():
        text = rewritten((ROOT / source).read_text(encoding="utf-8"), source, place)
        files.append(File.generated(config, place, content=text))
    for path in notebooks.listed():
        page = notebooks.page(path)
        for name, content in page.files.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links out of the folder to the repository."""
    place = page.file.src_uri
    return markdown if place in TAKEN.values() else rewritten(markdown, f"docs/{place}", place)


def on_post_page(output: str, **_: Any) -> str:
    """Name the theme's search for screen readers; take out the roles of Sphinx."""
    return ROLE.sub("", output.replace('role="dialog"', 'role="dialog" aria-label="Search"'))


def rewritten(text: str, source: str, place: str) -> str:
    """Return a page with links as the site needs them.

    Args:
        text: Markdown.
        source: The file in the repository that it is in.
        place: Its place on the site.
    """

    def lead(found: re.Match[str]) -> str:
        target, anchor = found[1], found[2] or ""
        whole = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if whole in TAKEN:
            inside = TAKEN[whole]
        elif whole.startswith("docs/"):
            inside = whole.removeprefix("docs/")
        else:
            return f"{REPOSITORY}{whole}{anchor}"
        return posixpath.relpath(inside, posixpath.dirname(place) or ".") + anchor

    return LINK.sub(lead, text)
