"""matplotlib's SVG as a part of the page: no ids that meet, and the colours of the page's theme.

matplotlib writes a document of its own with fixed colours. The page is read in light and dark and
printed, and holds many charts: so each colour becomes the page's variable of that name, texts stay
texts in the page's font, and no id is left. Nothing is clipped: charts choose their limits.
"""

from __future__ import annotations

import io
import re
from typing import Any
from xml.etree import ElementTree

from onnxcam.audit.extras import needed

_SVG = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"
ACCENT, INK, LINE, SHADE, FAIL, VERDICT = (
    "#1f5fbf", "#566070", "#d8dee6", "#cfe6d6", "#b3261e", "#17713c",
)  # fmt: skip
_PROPERTIES = {ACCENT: "accent", INK: "soft", LINE: "line", SHADE: "shade", FAIL: "fail"}
_THEME = {colour: f"var({'-' * 2}{name})" for colour, name in _PROPERTIES.items()}
_THEME[VERDICT] = "currentColor"
_STYLE = {
    "svg.fonttype": "none",  # texts stay texts: they can be read out, searched and copied
    "text.parse_math": False,
    "axes.unicode_minus": False,
    "path.simplify": False,
}
_LEFT_OUT = frozenset(f"{{{_SVG}}}{name}" for name in ("metadata", "defs"))
_LONG = re.compile(r"-?\d+\.\d{3,}")
_FONT = re.compile(r"font: ([\d.]+)px [^;]*")


class Canvas:
    """One chart that is drawn.

    Args:
        width: In inches of 72 points.
        height: The same.
    """

    def __init__(self, width: float, height: float) -> None:
        self._matplotlib = needed("matplotlib", "the charts of a report")
        figure = needed("matplotlib.figure", "the charts of a report")
        with self._matplotlib.rc_context(_STYLE):
            self._figure = figure.Figure(figsize=(width, height), layout="constrained")
        self._figure.patch.set_visible(False)

    def bare(self) -> Any:
        """Return axes that fill the chart, without ticks and frame."""
        self._figure.set_layout_engine("none")
        axes = self._figure.add_axes((0, 0, 1, 1))
        axes.axis("off")
        return axes

    def framed(self, unit: str) -> Any:
        """Return axes with ticks, a line below, and what the height counts."""
        with self._matplotlib.rc_context(_STYLE):
            axes = self._figure.add_subplot()
        axes.patch.set_visible(False)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(LINE)
        axes.tick_params(labelsize=8, labelcolor=INK, color=LINE, length=3)
        axes.set_ylabel(unit, fontsize=8, color=INK)
        return axes

    def markup(self, label: str, names: str) -> str:
        """Return the chart as an element of HTML.

        Args:
            label: What it shows, in words, for those who do not see it.
            names: Its classes.
        """
        buffer = io.BytesIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        with self._matplotlib.rc_context(_STYLE):
            self._figure.savefig(buffer, format="svg", metadata=nothing)
        return _part(buffer.getvalue(), label, names)


def _part(document: bytes, label: str, names: str) -> str:
    """Return matplotlib's document as a part of a page."""
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(document)
    marks = {e.get("id"): e for e in root.iter(f"{{{_SVG}}}path") if "id" in e.attrib}
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in _LEFT_OUT:
                parent.remove(child)
    for element in root.iter():
        if _LINK in element.attrib:  # a mark that is used: it is drawn where it stands
            _drawn(element, marks[element.attrib.pop(_LINK).removeprefix("#")])
        _themed(element.attrib)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib |= {"class": names.strip(), "role": "img", "aria-label": label}
    text: str = ElementTree.tostring(root, encoding="unicode")
    text = text.replace(f' xmlns="{_SVG}"', "", 1)  # HTML knows the element without
    return re.sub(r">\s+<", "><", text).strip()


def _drawn(use: ElementTree.Element, mark: ElementTree.Element) -> None:
    """Make of a reference to a mark the mark itself: an id would meet that of another chart."""
    use.tag = f"{{{_SVG}}}path"
    place = f"translate({use.attrib.pop('x')} {use.attrib.pop('y')})"
    use.attrib |= {"d": mark.attrib["d"], "transform": place}


def _themed(attributes: dict[str, str]) -> None:
    """Give an element the page's colours and font, and numbers of two digits."""
    attributes.pop("id", None)
    attributes.pop("clip-path", None)
    for key in ("d", "transform"):
        if key in attributes:
            found = _LONG.sub(lambda n: f"{float(n[0]):.2f}", attributes[key])
            attributes[key] = " ".join(found.split())
    if "style" in attributes:
        found = _FONT.sub(r"font-size: \1px", attributes["style"])
        for colour, themed in _THEME.items():
            found = found.replace(colour, themed)
        attributes["style"] = found
