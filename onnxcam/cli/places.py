"""Where the results of `onnxcam explain` go: every name is settled before the first is written."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnxcam.cli.sources import Source
from onnxcam.errors import OnnxcamError, UsageError, file_name
from onnxcam.files import sweep

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".svg")
_TOGETHER = (*PICTURES, ".json")  # what can hold several explanations
_KINDS = (*_TOGETHER, ".npz")
STDOUT = Path("-")


@dataclass(frozen=True)
class Wanted:
    """Where results were asked to go.

    Attributes:
        output: File or folder of ``-o``; None for the current folder.
        maps: File or folder of ``--save-map``; None for none.
        single: Whether one explanation is asked for, which may have the name of a file.
        given: The files that a call names, which are never written to.
        panel: Whether the explanations of an input share a figure.
        ending: Of the figures that go to a folder.
    """

    output: Path | None
    maps: Path | None
    single: bool
    given: tuple[Path, ...]
    panel: bool = False
    ending: str = ".png"

    def check(self) -> None:
        """Find out before the work whether the results can be written.

        Raises:
            UsageError: A place makes no sense, or is a file that was given.
            OnnxcamError: A folder is missing or cannot be written.
        """
        given = _Given(self.given)
        if self.ending not in PICTURES:
            raise UsageError(f"no picture ends in {self.ending}", f"one of {', '.join(PICTURES)}")
        for place, what in ((self.output, "-o"), (self.maps, "--save-map")):
            if place is not None:
                self._check(place, what, given)
        maps = self.maps
        if maps is not None and self.single and maps.suffix not in (".npz", ""):
            raise UsageError(f"--save-map {maps}: the map is an .npz file", "end it in .npz")
        files = [p for p in (self.output, maps) if self.is_file(p)]
        if len(files) == 2 and len({os.path.realpath(p) for p in files if p is not None}) == 1:
            raise UsageError(f"-o and --save-map both name {maps}", "name two files")

    @property
    def together(self) -> bool:
        """Whether all explanations go into one file."""
        output = self.output
        several = not self.single or self.panel
        return several and output is not None and output.suffix.lower() in _TOGETHER

    def is_file(self, place: Path | None) -> bool:
        """Tell whether a place that was asked for is a file, not a folder."""
        if place is None or (place == self.output and (self.together or place == STDOUT)):
            return place is not None
        return self.single and bool(place.suffix)

    def _check(self, place: Path, what: str, given: _Given) -> None:
        if place == STDOUT:
            if not self.single and not self.panel:
                raise UsageError(f"{what} -: several explanations", "give a folder or a file")
            return
        if self.is_file(place):
            folder = place.parent
        else:
            if place.suffix.lower() in _KINDS:
                raise UsageError(
                    f"{what} {place}: one file for several explanations", "give a folder"
                )
            folder = place
            _make(folder)
        if given.holds(place):
            raise UsageError(f"{what} {place}: is what was given to explain", "name another file")
        if not folder.is_dir():
            raise OnnxcamError(f"{folder}: no such folder", "create it first")
        if not os.access(folder, os.W_OK):
            raise OnnxcamError(f"{folder}: cannot be written", "choose another folder")
        sweep(folder)


class Places:
    """The file of every result: no two have one name, and none that of a file that was given.

    Args:
        wanted: Where they were asked to go.
        inputs: The inputs, in their order.
        maps: Names of the maps of one input.
        classes: The class of each target, where there are several; a name ends in it.
    """

    def __init__(
        self, wanted: Wanted, inputs: Sequence[Source], maps: Iterable[str], classes: Sequence[int]
    ) -> None:
        self._wanted = wanted
        self._maps, self._classes = list(maps), list(classes)
        given, taken = _Given(wanted.given), set[str]()
        stems = [_stem(source) for source in inputs]
        twins, passed = Counter(s.casefold() for s in stems), Counter[str]()
        self._stems = []
        for stem in stems:
            number = passed[stem.casefold()] = passed[stem.casefold()] + 1
            numbered = f"{stem}-{number}" if twins[stem.casefold()] > 1 else stem
            while any(str(p).casefold() in taken or given.holds(p) for p in self._files(numbered)):
                number += 1
                numbered = f"{stem}-{number}"
            taken.update(str(p).casefold() for p in self._files(numbered))
            self._stems.append(numbered)

    @property
    def first(self) -> str:
        """The name of the first map."""
        return self._maps[0]

    def of(
        self,
        index: int,
        map: str,
        target: int,
        number: int | None = None,
        row: int | None = None,
    ) -> tuple[Path, Path | None]:
        """Return the files of a result, and of its raw map where that is asked for.

        Args:
            index: Which input.
            map: Name of the map.
            target: Which target.
            number: Of the input in an array of several, from 1; None where there is one.
            row: Of a detector's box, where an input has as many results as boxes; else None.

        Raises:
            UsageError: One file was named, and the array holds several inputs.
        """
        beside = "" if number is None else f"-{number}"
        name = self._name(f"{self._stems[index]}{beside}", map, target)
        name += "" if row is None else f".box{row}"
        for place in (self._wanted.output, self._wanted.maps):
            if number is not None and self._wanted.is_file(place):
                raise UsageError(
                    f"the input holds several inputs, and {place} is one file", "name a folder"
                )
        output, maps = self._wanted.output, self._wanted.maps
        if output is None or not self._wanted.is_file(output):
            output = (output or Path()) / f"{name}{self._wanted.ending}"
        if maps is not None and not self._wanted.is_file(maps):
            maps = maps / f"{name}.npz"
        for place in (output, maps):
            if place is not None and not place.parent.is_dir():
                _make(place.parent)  # of a class
        return output, maps

    def _name(self, stem: str, map: str, target: int) -> str:
        if self._wanted.panel:
            return f"{stem}.panel"
        suffix = f".{self._classes[target]}" if len(self._classes) > 1 else ""
        if self._classes.count(self._classes[target] if self._classes else -1) > 1:
            suffix = f"{suffix}-{self._classes[: target + 1].count(self._classes[target])}"
        return f"{stem}.{file_name(map)}{suffix}"

    def _files(self, stem: str) -> list[Path]:
        """Return all files that results of one input would have under a name."""
        output, maps = self._wanted.output or Path(), self._wanted.maps
        names = [
            self._name(stem, m, k) for m in self._maps for k in range(max(len(self._classes), 1))
        ]
        found = [output / f"{name}{self._wanted.ending}" for name in names]
        return found + ([] if maps is None else [maps / f"{name}.npz" for name in names])


def _stem(source: Source) -> str:
    """Return the name of an input's results, without the last endings."""
    stem = "stdin" if source.name == "-" else source.path.stem
    return str(Path(*map(file_name, source.place.parts), file_name(stem)))


class _Given:
    """The files that a call names, also under other names: links of either kind."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths, self._files = set[str](), set[tuple[int, int]]()
        for path in paths:
            self._paths.add(os.path.realpath(path))
            try:
                state = path.stat()
            except (OSError, ValueError):
                continue
            self._files.add((state.st_dev, state.st_ino))

    def holds(self, path: Path) -> bool:
        """Tell whether a path leads to one of them."""
        try:
            state = path.stat()
        except (OSError, ValueError):
            return os.path.realpath(path) in self._paths
        return (state.st_dev, state.st_ino) in self._files


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OnnxcamError(
            f"{folder}: cannot be created ({error.strerror})", "choose another folder"
        ) from None
