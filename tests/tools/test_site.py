"""The documentation: its examples run, its links are kept; `.ci/run` builds the whole site."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from pages import checks

from onnxcam import methods
from onnxcam.cli import main

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^( *)```(python|sh)\n(.*?)\n\1```", re.DOTALL | re.MULTILINE)
PAGES = (
    "start.md", "how-it-works.md", "journeys/deploy.md", "coming-from/pytorch-grad-cam.md",
    "coming-from/keras.md",
)  # fmt: skip
VERIFY = ["onnxcam", "verify"]
LONG = ("journeys/explain.md", "journeys/audit.md", "coming-from/captum.md")


def _examples(page: str) -> Iterator[tuple[str, str]]:
    """Yield the programs of a page: of shells only what uses the models that are here."""
    for indent, kind, text in BLOCK.findall((DOCS / page).read_text()):
        code = re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)
        if kind == "sh":
            lines = [line for line in code.splitlines() if line.startswith("onnxcam ")]
            for line in lines:
                if "models/" in line or line.split()[:2] in (["onnxcam", "demo"], VERIFY):
                    yield kind, line
        elif not code.startswith("# not run") and "--8<--" not in code:
            yield kind, code


def _run(page: str) -> int:
    names: dict[str, object] = {}
    done = 0
    for kind, code in _examples(page):
        done += 1
        if kind == "python":
            exec(code, names)
            continue
        line, _, comment = code.partition("  #")
        wanted = re.search(r"exit (\d)", comment)
        result = CliRunner().invoke(main, shlex.split(line, comments=True)[1:])
        assert result.exit_code == (int(wanted[1]) if wanted else 0), f"{line}\n{result.output}"
    return done


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the models: what the examples write lies beside them."""
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run(page: str, desk: Path) -> None:
    assert _run(page) >= 1


@pytest.mark.exhaustive
@pytest.mark.parametrize("page", LONG)
def test_the_long_examples_of_a_page_run(page: str, desk: Path) -> None:
    pytest.importorskip("pyarrow")
    assert _run(page) >= 1


def test_methods_that_pages_name_are_there() -> None:
    for page in (DOCS / "coming-from").glob("*.md"):
        for name in re.findall(r"`\"?([a-z]+(?:-[a-z]+)+(?:\+\+)?)\"?`", page.read_text()):
            known = {*methods.names(), "pytorch-grad-cam", "keras-tf", "keras-caffe"}
            assert name in known, f"{page.name}: {name}"


def test_every_page_has_its_place() -> None:
    listed = re.findall(r"[\w./-]+\.md", (ROOT / "mkdocs.yml").read_text().split("nav:")[1])
    made = {"changelog.md", "contributing.md", "security.md", "web.md"}
    made |= {f"notebooks/{p.stem}.md" for p in (DOCS / "notebooks").glob("*.ipynb")}
    assert sorted(listed) == sorted(
        {p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md")} | made
    )


def test_links_between_pages_lead_somewhere() -> None:
    for page in DOCS.rglob("*.md"):
        for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text()):
            if "://" in target or target.endswith(("security.md", "contributing.md", "web.md")):
                continue
            file = target.replace(".md", ".ipynb") if "notebooks/" in target else target
            assert (page.parent / file).exists(), f"{page.relative_to(DOCS)}: {target}"


def test_notebooks_are_kept_without_results() -> None:
    import json

    for path in (DOCS / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            assert not cell.get("outputs") and cell.get("execution_count") is None


GOOD = '<html><body><h1 id="top">a</h1><a href="b.html#here">b</a><img src="c.png" alt="">'


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (GOOD, None),
        (GOOD.replace("#here", "#there"), "a.html: b.html#there has no such place"),
        (GOOD.replace("b.html", "d.html"), "a.html: d.html#here leads nowhere"),
        (GOOD + '<script src="https://example.com/a.js">', "fetches https://example.com/a.js"),
        (GOOD + '<link rel="stylesheet" href="//example.com/a.css">', "fetches //example.com"),
        (GOOD.replace(' alt=""', ""), "a.html: c.png has no alt text"),
    ],
)
def test_what_is_wrong_with_a_page_is_seen(tmp_path: Path, text: str, wrong: str | None) -> None:
    (tmp_path / "a.html").write_text(text)
    (tmp_path / "b.html").write_text('<p id="here">b</p>')
    (tmp_path / "c.png").write_bytes(b"")
    found = checks.problems(tmp_path)
    assert (found == []) if wrong is None else (len(found) == 1 and wrong in found[0])


def test_links_out_of_the_folder_go_to_the_repository() -> None:
    pytest.importorskip("mkdocs")
    from pages.hooks import REPOSITORY, rewritten

    text = "[a](../../tools/forms.py) [b](../faq.md#x) [c](../../SECURITY.md) [d](https://x.y/z)"
    assert rewritten(text, "docs/journeys/a.md", "journeys/a.md") == (
        f"[a]({REPOSITORY}tools/forms.py) [b](../faq.md#x) [c](../security.md) [d](https://x.y/z)"
    )
