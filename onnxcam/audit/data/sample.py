"""One sample of a data set, before anything of it is decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

Box: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True)
class Sample:
    """What a data set says of one of its samples.

    Attributes:
        id: Its name, unique in the data set: a path from its folder, or a row's number.
        file: The file that it lies in.
        kind: What the file is: "file" (a picture, or an array of one input), "npz" (a row of an
            array in it), "parquet" or "arrow" (a row of a table).
        row: Its row, where the file holds several.
        column: The array or column of the file that holds it; "" where the file is the sample.
        label: Its class in the words of the data set: a name or a number; None where it says none.
        slices: The groups that it is in: the name of a column -> its value.
        boxes: Where the object is: x0, y0, x1, y1 in pixels of the picture.
        mask: A picture that is black where the object is not; None where there is none.
    """

    id: str
    file: Path
    kind: str = "file"
    row: int | None = None
    column: str = ""
    label: str | None = None
    slices: Mapping[str, str] = field(default_factory=dict)
    boxes: tuple[Box, ...] = ()
    mask: Path | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold; :meth:`of` reads it back. What is empty is left out."""
        said: dict[str, Any] = {
            "id": self.id,
            "file": str(self.file),
            "kind": self.kind,
            "row": self.row,
            "column": self.column,
            "label": self.label,
            "slices": dict(self.slices),
            "boxes": [list(box) for box in self.boxes],
            "mask": None if self.mask is None else str(self.mask),
        }
        return {k: v for k, v in said.items() if v not in (None, "", {}, [])}

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Sample:
        """Return the sample that :meth:`as_dict` wrote."""
        mask = said.get("mask")
        return cls(
            id=said["id"],
            file=Path(said["file"]),
            kind=said.get("kind", "file"),
            row=said.get("row"),
            column=said.get("column", ""),
            label=said.get("label"),
            slices=said.get("slices", {}),
            boxes=tuple((b[0], b[1], b[2], b[3]) for b in said.get("boxes", ())),
            mask=None if mask is None else Path(mask),
        )
