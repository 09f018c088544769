"""What is fed to inputs that no map is laid over: given for all, for each, or states at zero."""

from __future__ import annotations

from collections.abc import Container, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from onnxcam.analysis.layers import Catalog
from onnxcam.analysis.layout import known
from onnxcam.errors import InputError, OnnxcamError, UsageError
from onnxcam.inputs import Prepared
from onnxcam.model.model import Model, Port
from onnxcam.run.groups import batch_of, each_input, extra_batch

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Feeds:
    """The inputs of a model beside the one that maps are laid over.

    Attributes:
        model: The model.
        catalog: Its layers.
        fed: Name of the input that callers give; maps may be laid over another one.
    """

    model: Model
    catalog: Catalog
    fed: str

    def each(
        self,
        prepared: Prepared | OnnxcamError,
        extra: Mapping[str, Array],
        number: int,
        total: int | None,
    ) -> list[Prepared | OnnxcamError]:
        """Return the inputs that an array holds, with what is fed beside them; errors as they are.

        Args:
            prepared: What a caller gave, and what came with it in one file.
            extra: Arrays for other inputs, by name: for all, or with a row for each input.
            number: How many came before.
            total: How many there are in all; None where that is not known.

        Raises:
            UsageError: There is no such input.
        """
        own = self.fed == self.catalog.input
        layout = self.catalog.input_layout if own else known(self.model).layouts.get(self.fed)
        parts = each_input(prepared, layout)
        many = len(parts) > 1
        found: list[Prepared | OnnxcamError] = []
        for k, part in enumerate(parts):
            if isinstance(part, OnnxcamError):
                found.append(part)
                continue
            row = (k, len(parts)) if many else (number, total)
            try:
                found.append(self._with_others(part, extra, *row))
            except InputError as error:
                found.append(error)
        return found

    def _with_others(
        self, prepared: Prepared, extra: Mapping[str, Array], row: int, rows: int | None
    ) -> Prepared:
        """Return an input with what is fed beside it, as of the input that maps are laid over."""
        ports = {p.name: p for p in self.model.inputs}
        strange = next((name for name in extra if name not in ports), None)
        if strange is not None:
            listed = ", ".join(f"{n!r} {list(p.shape or ())}" for n, p in ports.items())
            raise UsageError(
                f"the model has no input {strange!r}", f"give arrays for its inputs: {listed}"
            )
        beside = {name: a for name, a in prepared.others.items() if name in ports}
        whole = self._apart()
        own = {name: _row(ports[name], a, row, rows, whole) for name, a in extra.items()}
        others = {**beside, **own}
        if self.fed == self.catalog.input:
            others.pop(self.fed, None)
            return replace(prepared, others=others)
        if self.catalog.input not in others:
            raise InputError(
                f"maps are laid over {self.catalog.input!r}, which is not given",
                "give it with `extra_inputs={name: array}`",
            )
        tensor = others.pop(self.catalog.input)
        others[self.fed] = prepared.tensor
        return Prepared(tensor, None, None, prepared.source, others)

    def alike(self, prepared: Prepared) -> Hashable:
        """Return what inputs that share a run have in common."""
        return prepared.tensor.shape, tuple(
            (name, a.shape if self._joins(name, a) else id(a))
            for name, a in sorted(prepared.others.items())
        )

    def of(self, batch: Sequence[Prepared]) -> tuple[dict[str, Array], dict[str, str]]:
        """Return the arrays for a run, by name, and what a reader must know of them, in words.

        Raises:
            InputError: One is missing that is no state, is of another shape, or holds another
                number of rows.
        """
        whole, feeds, zeros = batch_of(self.model, self.catalog), {}, []
        for port in self.model.inputs:
            if port.name == self.catalog.input:
                continue
            given = [p.others[port.name] for p in batch if port.name in p.others]
            if not given:
                feeds[port.name] = self._state(port, len(batch))
                zeros.append(port.name)
                continue
            array = self._joined(port, [_checked(port, a) for a in given])
            feeds[port.name] = extra_batch(np.asarray(array, port.dtype), port.shape or (), whole)
        said = {"zeros": ", ".join(zeros)} if zeros else {}
        return feeds, said

    def _joined(self, port: Port, given: Sequence[Array]) -> Array:
        if len(given) > 1 and self._joins(port.name, given[0]):
            return np.concatenate(given)
        rows = len(given[0]) if given[0].ndim else 1
        if self._counts(port) and rows not in (1, len(given)):
            raise InputError(
                f"the input {port.name!r} holds {rows} rows, and {self.catalog.input!r} "
                f"{len(given)}",
                "give one row, or one for each input",
            )
        return given[0]

    def _joins(self, name: str, array: Array) -> bool:
        port = next(p for p in self.model.inputs if p.name == name)
        return array.ndim > 0 and len(array) == 1 and self._counts(port)

    def _apart(self) -> set[str]:
        """Return the names of sizes that the scores count apart from the inputs: CLIP's texts."""
        scores = self.catalog.reduction
        shape = known(self.model).shapes.get(scores.name, ())
        own = None if scores.batch_axis is None else shape[scores.batch_axis]
        return {d for d in shape if isinstance(d, str) and d != own}

    def _counts(self, port: Port) -> bool:
        """Tell whether the first axis of an input counts what the explained one's batch does."""
        source = next(p for p in self.model.inputs if p.name == self.catalog.input)
        layout = self.catalog.input_layout
        if layout is not None and layout.batch is None:
            return False
        axis = batch_of(self.model, self.catalog).axis
        if not port.shape or not source.shape or axis >= len(source.shape):
            return False
        return not isinstance(port.shape[0], int) and port.shape[0] == source.shape[axis]

    def _state(self, port: Port, rows: int) -> Array:
        """Return zeros for a state: what the model also returns, for the next call.

        Raises:
            InputError: It is none, so it has to be given.
        """
        score = self.catalog.reduction
        kinds = [
            (p.shape, p.dtype)
            for p in self.model.outputs
            if p.name not in (score.name, score.output)
        ]
        sizes = list(port.shape or ())
        if self._counts(port):
            sizes[0] = rows
        whole = [d for d in sizes if isinstance(d, int)]
        if sizes and len(whole) == len(sizes) and (port.shape, port.dtype) in kinds:
            return np.zeros(whole, port.dtype)
        needed = [p for p in self.model.inputs if p.name != self.catalog.input]
        listed = ", ".join(f"{p.name!r} {p.dtype}{list(p.shape or ())}" for p in needed)
        raise InputError(
            f"the model has more inputs: {listed}", "give them with `extra_inputs={name: array}`"
        )


def _checked(port: Port, array: Array) -> Array:
    """Return an array as an input takes it, but for the number of its rows.

    Raises:
        InputError: It has other axes or sizes, or holds no numbers.
    """
    declared = port.shape
    if port.dtype is not None and port.dtype.kind in "fiub" and array.dtype.kind not in "fiub":
        raise InputError(
            f"the input {port.name!r} takes {port.dtype.name}, and is given {array.dtype}",
            "give an array of numbers",
        )
    if declared is not None:
        pairs = list(zip(declared, array.shape, strict=False))
        wrong = any(isinstance(d, int) and d != n for d, n in pairs[1:])
        if len(declared) != array.ndim or wrong:
            sizes = ", ".join("?" if d is None else str(d) for d in declared)
            raise InputError(
                f"the input {port.name!r} takes [{sizes}], and is given {list(array.shape)}",
                "give an array of that shape, its first axis too",
            )
    return array


def _row(
    port: Port, array: Array, row: int, rows: int | None, whole: Container[str | None]
) -> Array:
    """Return one row of an array that has one for each of several inputs; any other as it is."""
    size = (port.shape or (0,))[0]
    free = bool(port.shape) and not isinstance(size, int) and size not in whole
    each = free and array.ndim > 0 and len(array) == rows and len(array) > 1
    return array[row : row + 1] if each else array
