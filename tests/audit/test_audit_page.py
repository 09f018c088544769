"""The report in a real browser: it sorts, filters, opens a case, and nothing goes wrong."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from support.audits import of_a_damaged_twin
from support.web_driver import WEB

from onnxcam.audit.page import write_report

pytest.importorskip("pyarrow")
pytest.importorskip("jinja2")
CHROMIUM = shutil.which("chromium")
ASK = """
const said = {errors: []};
addEventListener("error", (e) => said.errors.push(String(e.message)));
addEventListener("load", () => {
  const table = document.getElementById("samples");
  const rows = () => [...table.tBodies[0].rows];
  const column = [...table.tHead.rows[0].cells].findIndex((c) => c.textContent.includes("Border"));
  const button = table.tHead.rows[0].cells[column].querySelector("button");
  const values = () => rows().map((r) => Number(r.cells[column].dataset.v));
  button.click(); said.up = values();
  button.click(); said.down = values();
  said.sort = table.tHead.rows[0].cells[column].getAttribute("aria-sort");
  const words = document.getElementById("words");
  words.value = "RED/"; words.dispatchEvent(new Event("input"));
  said.red = rows().filter((r) => !r.hidden).map((r) => r.cells[0].textContent);
  words.value = ""; words.dispatchEvent(new Event("input"));
  const link = document.querySelector("#samples a"); link.click();
  said.case = document.querySelector(link.getAttribute("href")).querySelector("h3").textContent;
  const slider = document.querySelector(".blend input");
  slider.value = 40; slider.dispatchEvent(new Event("input"));
  said.opacity = slider.parentNode.querySelector("img + img").style.opacity;
  said.width = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  said.images = [...document.images].filter((i) => i.loading !== "lazy" && !i.naturalWidth).length;
  const out = document.createElement("pre"); out.id = "said";
  out.textContent = JSON.stringify(said); document.body.append(out);
});
"""


class _Tags(HTMLParser):
    """Collects what a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += [str(found["id"])] if "id" in found else []
        self.links += [str(found[k]) for k in ("href", "src") if k in found]
        if tag == "img":
            self.images.append(found)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    return of_a_damaged_twin(folder, 24, "w", 0.5, trust=4) / "report.html"


def _asked(report: Path, place: Path, width: int, ask: str = ASK, dark: bool = False) -> Any:
    """Open a copy of the report in which a script looks at it, and return what that saw."""
    whole = report.read_text()
    place.write_text(whole.replace("<script>", f"<script>{ask}</script><script>", 1))
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
        f"--user-data-dir={place.parent / 'profile'}", f"--window-size={width},900",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        "--virtual-time-budget=20000", place.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    said = re.search(r'<pre id="said">(.*?)</pre>', done.stdout, re.DOTALL)
    assert said is not None, done.stderr[-500:]
    return json.loads(said[1].replace("&amp;", "&").replace("&gt;", ">").replace("&lt;", "<"))


@pytest.mark.web
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is missing: apt-get install chromium")
@pytest.mark.parametrize("width", [500, 1280])
def test_the_report_works_in_a_browser(report: Path, tmp_path: Path, width: int) -> None:
    said = _asked(report, tmp_path / "page.html", width)
    assert said["errors"] == [] and said["images"] == 0
    assert said["up"] == sorted(said["up"]) and said["down"] == said["up"][::-1]
    assert said["sort"] == "descending"
    assert len(said["red"]) == 8 and all(name.startswith("red/") for name in said["red"])
    assert said["case"].startswith("1. ") and said["opacity"] == "0.4"
    assert said["width"] <= 0, "the page scrolls sideways"


AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"
AUDIT = """
addEventListener("load", async () => {
  for (const each of document.querySelectorAll("details")) each.open = true;
  const {violations} = await axe.run();
  const found = violations.filter((v) => ["serious", "critical"].includes(v.impact));
  const out = document.createElement("pre"); out.id = "said";
  out.textContent = JSON.stringify(found.map((v) => [v.id, v.nodes[0].html]));
  document.body.append(out);
});
"""


@pytest.mark.web
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is missing: apt-get install chromium")
@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is missing: npm ci in tools/web")
@pytest.mark.parametrize(("width", "dark"), [(400, True), (1280, False)])
def test_axe_finds_nothing_serious(report: Path, tmp_path: Path, width: int, dark: bool) -> None:
    script = AXE.read_text().replace("</script>", "<\\/script>") + AUDIT
    assert _asked(report, tmp_path / "page.html", width, script, dark) == []


def test_the_charts_are_part_of_the_page(report: Path) -> None:
    """matplotlib's, without ids, links and colours of their own: each colour is the theme's."""
    charts = re.findall(r"<svg .*?</svg>", report.read_text(), re.DOTALL)
    assert len(charts) > 10
    for chart in charts:
        assert 'role="img"' in chart and 'aria-label="' in chart
        assert not re.search(r"\bid=|url\(|href|#[0-9a-f]{6}|<style|<script", chart)
    assert "var(--accent)" in charts[-1] or "currentColor" in charts[-1]


def test_the_report_is_one_file_without_a_network(report: Path) -> None:
    tags = _Tags()
    text = report.read_text()
    tags.feed(text)
    assert all(link.startswith(("#", "data:image/jpeg;base64,")) for link in tags.links)
    assert len(tags.ids) == len(set(tags.ids))
    assert {link[1:] for link in tags.links if link[0] == "#"} <= set(tags.ids)
    assert all(image.get("alt") for image in tags.images)
    assert "http://" not in text and "https://" not in text
    assert report.stat().st_size < 3_000_000


def test_the_verdict_comes_first_and_the_report_repeats(report: Path) -> None:
    text = report.read_text()
    assert text.index('class="verdict') < text.index("Worst cases")
    assert write_report(report.parent).read_text() == text
