"""The page of the benchmark is what its JSON says, and the plot shows it."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]

from bench import page, plot  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"


def test_the_page_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "bench.py", "page", "--check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_figure_that_changes_changes_page_plot_and_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs").mkdir()
    text = (ROOT / "docs" / "benchmarks.json").read_text()
    first = re.search(r'"ratio": \{\s*"median": ([\d.]+)', text)
    assert first
    changed = text.replace(f'"median": {first[1]}', '"median": 77.77', 1)
    (tmp_path / "docs" / "benchmarks.json").write_text(changed)
    (tmp_path / "README.md").write_text("a\n<!-- benchmark -->\nold\n<!-- /benchmark -->\nb\n")
    made = {path.name: text for path, text in page.pages(tmp_path).items()}
    assert "77.8 (" in made["benchmarks.md"]
    assert "77.8 / " in made["benchmarks.svg"]
    assert made["README.md"].startswith("a\n<!-- benchmark -->\n| time")
    assert "| 77.8 |" in made["README.md"] and made["README.md"].endswith("benchmark -->\nb\n")


def _circles(text: str) -> list[tuple[float, float, str]]:
    root = ElementTree.fromstring(text)
    return [
        (float(c.get("cx", "")), float(c.get("cy", "")), c.get("fill", ""))
        for c in root.iter(f"{SVG}circle")
    ]


def test_dots_lie_on_a_logarithmic_axis() -> None:
    rows = {"a": {"net": (1.0, 1.0, 1.0)}, "b": {"net": (9.0, 10.0, 11.0)},
            "c & d": {"net": (90.0, 100.0, 100.0)}}  # fmt: skip
    text = plot.dots("title", rows, "unit")
    _, *dots = _circles(text)  # the first one is the legend's
    xs, ys = [x for x, _, _ in dots], [y for _, y, _ in dots]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2) and xs[0] < xs[1]
    assert ys == sorted(ys) and len({round(b - a) for a, b in itertools.pairwise(ys)}) == 1
    words = [t.text for t in ElementTree.fromstring(text).iter(f"{SVG}text")]
    assert {"title", "unit", "c & d", "1.00", "10.0", "100"} <= set(words)


def test_a_network_keeps_its_colour_where_a_tool_failed_on_another() -> None:
    both = (2.0, 2.0, 2.0)
    text = plot.dots("", {"a": {"x": both, "y": both}, "b": {"y": both}}, "")
    *_, legend_y, _, y_of_a, y_of_b = _circles(text)
    assert legend_y[2] == y_of_a[2] == y_of_b[2]
    assert "– / 2.00" in text  # noqa: RUF001


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0049, "1.00"), (9.994, "9.99"), (48.26, "48.3"), (2511.9, "2512"), (99.96, "100")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert plot.number(value) == text
