"""Many samples in little memory: each a line of JSON until it is looked at."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from onnxcam.audit.data.sample import Sample
from onnxcam.errors import json_text


class Samples(Sequence[Sample]):
    """A list of samples.

    Args:
        lines: A sample's JSON each, as :func:`lines_of` makes it.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        whole, ends = bytearray(), array("q", [0])
        for line in lines:
            whole += line
            ends.append(len(whole))
        self._lines, self._ends = bytes(whole), ends

    def __len__(self) -> int:
        """Return how many samples there are."""
        return len(self._ends) - 1

    @overload
    def __getitem__(self, at: int) -> Sample: ...
    @overload
    def __getitem__(self, at: slice) -> list[Sample]: ...
    def __getitem__(self, at: int | slice) -> Sample | list[Sample]:
        """Return a sample, or some."""
        if isinstance(at, slice):
            return [self[k] for k in range(*at.indices(len(self)))]
        k = range(len(self))[at]
        return Sample.of(json.loads(self._lines[self._ends[k] : self._ends[k + 1]]))

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples."""
        return (self[k] for k in range(len(self)))

    @property
    def lines(self) -> bytes:
        """All of them, a line each."""
        return self._lines


def lines_of(samples: Iterable[Sample]) -> Iterator[bytes]:
    """Yield the line of JSON of each sample."""
    return (json_text(sample.as_dict(), None).encode() + b"\n" for sample in samples)
