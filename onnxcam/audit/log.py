"""The run log: a line for each thing that happened, each with the hash of the line before."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from onnxcam.errors import json_text, unwritten

NAME = "run.jsonl"
FIRST = "0" * 64  # stands for the line before the first


class RunLog:
    """An append-only file of JSON lines.

    Args:
        folder: The audit's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._place = folder / NAME

    def add(self, event: str, **said: Any) -> None:
        """Append a line, and see it on the disk before anything else is done.

        Raises:
            OnnxcamError: It cannot be written.
        """
        lines = self._lines()
        self._cut()
        previous = hashlib.sha256(lines[-1]).hexdigest() if lines else FIRST
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = json_text({"time": now, "event": event, **said, "previous": previous}, None)
        try:
            with self._place.open("ab") as file:
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise unwritten(error, self._place) from None

    def entries(self) -> list[dict[str, Any]]:
        """Return the lines."""
        return [json.loads(line) for line in self._lines()]

    def problem(self) -> str | None:
        """Return what is wrong with the chain of hashes, None where nothing is."""
        expected = FIRST
        if not self._whole():
            return "the last line of the run log is cut off"
        for number, line in enumerate(self._lines(), 1):
            try:
                said = json.loads(line).get("previous")
            except (ValueError, AttributeError):
                return f"line {number} of the run log is damaged"
            if said != expected:
                return f"line {number} of the run log does not follow from the line before"
            expected = hashlib.sha256(line).hexdigest()
        return None

    def _lines(self) -> list[bytes]:
        """Return the whole lines; one that was cut off by a power failure is left out."""
        return self._place.read_bytes().split(b"\n")[:-1] if self._place.is_file() else []

    def _whole(self) -> bool:
        return not self._place.is_file() or self._place.read_bytes()[-1:] in (b"", b"\n")

    def _cut(self) -> None:
        """Remove a line that was cut off."""
        if not self._whole():
            self._place.write_bytes(b"".join(line + b"\n" for line in self._lines()))
