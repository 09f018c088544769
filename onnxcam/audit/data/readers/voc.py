"""Pascal VOC: an XML file for each picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from onnxcam.audit.data.places import name_of
from onnxcam.audit.data.registry import reader
from onnxcam.audit.data.sample import Box, Sample
from onnxcam.errors import InputError, plain
from onnxcam.files import regular

_EDGES = ("xmin", "ymin", "xmax", "ymax")
_MOST = 4_000_000  # bytes of a file of boxes


def _folder(place: Path) -> Path | None:
    """Return the folder with the XML files."""
    for folder in (place / "Annotations", place):
        if folder.is_dir() and next(folder.glob("*.xml"), None) is not None:
            return folder
    return None


@reader("voc", claims=lambda p: _folder(p) is not None, rank=20)
def voc(place: Path, slices: tuple[str, ...]) -> Iterator[Sample]:
    """VOC's folders Annotations and JPEGImages; a picture with one kind of object has its label."""
    folder = _folder(place) or place
    for path in sorted(folder.glob("*.xml")):
        name, boxes, labels = objects(path)
        file = _file(place, path, name)
        label = labels.pop() if len(labels) == 1 else None
        yield Sample(name_of(file, place), file, label=label, boxes=boxes)


def objects(path: Path) -> tuple[str, tuple[Box, ...], set[str]]:
    """Return the picture's file, the boxes and the names of its objects.

    VOC counts pixels from 1 and means the last one by the upper edges.

    Raises:
        InputError: The file cannot be read, or is not VOC's.
    """
    try:
        regular(path, _MOST)
        parser = ElementTree.XMLParser(target=_Plain())
        root: ElementTree.Element = ElementTree.fromstring(path.read_bytes(), parser)
        found = root.findall("object")
        boxes = tuple(_box(each) for each in found)
    except (OSError, ElementTree.ParseError, ValueError, TypeError) as error:
        raise InputError(f"{path} is no VOC annotation ({error})", "give VOC's XML") from error
    labels = {plain(each.findtext("name", "").strip()) for each in found}
    return root.findtext("filename", "").strip(), boxes, labels - {""}


class _Plain(ElementTree.TreeBuilder):
    """Takes no document type: it may define entities that grow without end."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise ValueError("it has a document type, which VOC's files have not")


def _box(found: ElementTree.Element) -> Box:
    x0, y0, x1, y1 = (float(found.findtext(f"bndbox/{edge}", "nan")) for edge in _EDGES)
    if not x0 <= x1 or not y0 <= y1:
        raise ValueError("an object has no box")
    return x0 - 1, y0 - 1, x1, y1


def _file(place: Path, xml: Path, name: str) -> Path:
    """Return where a picture lies; its name is the file's where the XML says none."""
    name = Path(name).name or f"{xml.stem}.jpg"
    places = [place / "JPEGImages" / name, place / "images" / name, xml.with_name(name)]
    return next((p for p in places if p.is_file()), places[0])
