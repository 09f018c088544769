"""What is looked at on the built site: links, what is fetched, texts of pictures, axe-core."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

WEB = Path(__file__).resolve().parents[1] / "web"
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"}
WIDTHS = (400, 1280)
SHOWN = (
    "index.html", "start.html", "faq.html", "gallery.html", "methods.html", "journeys/deploy.html",
    "notebooks/explain.html", "api/explainer.html",
)  # fmt: skip


class _Page(HTMLParser):
    """Collects what a page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.silent: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one tag."""
        found = {name: value or "" for name, value in attrs}
        self.ids |= {found[key] for key in ("id", "name") if found.get(key)}
        if tag in FETCHED and FETCHED[tag] in found:
            self.fetched.append(found[FETCHED[tag]])
        if tag == "link" and found.get("rel") in ("stylesheet", "preload", "icon", "preconnect"):
            self.fetched.append(found.get("href", ""))
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "img" and "alt" not in found:
            self.silent.append(found.get("src", ""))


def problems(site: Path) -> list[str]:
    """Return what is wrong with the pages of a folder, a line each."""
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    return [line for path, page in pages.items() for line in _wrong(site, path, page, pages)]


def _wrong(site: Path, path: Path, page: _Page, pages: dict[Path, _Page]) -> Iterator[str]:
    name = path.relative_to(site)
    for link in page.fetched:
        if urlsplit(link).scheme not in ("", "data") or link.startswith("//"):
            yield f"{name}: fetches {link}"
    yield from (f"{name}: {picture} has no alt text" for picture in page.silent)
    if path.name == "404.html":  # its links are the server's
        return
    for link in page.links + page.fetched:
        parts = urlsplit(link)
        if parts.scheme or link.startswith("//"):
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if target.is_dir():
            target = target / "index.html"
        if not target.is_file():
            yield f"{name}: {link} leads nowhere"
        elif target in pages and parts.fragment and not _has(pages[target], parts.fragment):
            yield f"{name}: {link} has no such place"


def _has(page: _Page, fragment: str) -> bool:
    return unquote(fragment) in page.ids or fragment.startswith("__")


def axe(folder: Path, names: Iterable[str], widths: Iterable[int] = WIDTHS) -> list[str]:
    """Return what axe-core calls serious or critical in pages of a folder, and what scrolls aside.

    Args:
        folder: Is served on this machine while it is looked at.
        names: Pages in it.
        widths: Of the window, pixels.

    Raises:
        FileNotFoundError: There is no Chromium, node or axe-core (`npm ci` in tools/web).
    """
    if shutil.which("chromium") is None or not (WEB / "node_modules" / "axe-core").is_dir():
        raise FileNotFoundError("axe-core needs chromium, and `npm ci` in tools/web")
    with served(folder) as base:
        found = looked([{"url": f"{base}/{n}", "width": w} for n in names for w in widths])
    return [line for each in found for line in _said(each, base)]


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine; gives its address."""
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def looked(jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Look at pages in Chromium; jobs and looks as `tools/web/test/axe.mjs` has them."""
    done = subprocess.run(
        ["node", "test/axe.mjs", str(shutil.which("chromium"))], cwd=WEB, input=json.dumps(jobs),
        check=True, stdout=subprocess.PIPE, text=True, timeout=300,
    )  # fmt: skip
    looks: list[dict[str, Any]] = json.loads(done.stdout)
    return looks


def _said(found: dict[str, Any], base: str) -> Iterator[str]:
    page = f"{found['url'].removeprefix(base + '/')} at {found['width']}"
    for each in found["violations"]:
        yield f"{page}: {each['id']} ({each['impact']}): {each['help']}: {each['nodes'][0]}"
    if found["overflow"] > 0:
        yield f"{page}: scrolls {found['overflow']} pixels aside"
    yield from (f"{page}: {error}" for error in found["errors"])


class _Quiet(SimpleHTTPRequestHandler):
    """Serves without a word."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
