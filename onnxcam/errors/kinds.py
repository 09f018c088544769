"""The errors that onnxcam raises: what failed, where, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable

from onnxcam.errors.text import shortened

_MOST = 600  # characters of a message: names and lists of a file may be as long as it likes


class OnnxcamError(Exception):
    """Base of every error that onnxcam raises on purpose.

    Args:
        message: What failed and where, in one line.
        hint: What to do next, in one line.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return the message and, after it, the hint: two sentences, none of them endless."""
        hint = f". {self.hint[0].upper()}{self.hint[1:]}" if self.hint else ""
        return f"{shortened(self.message, _MOST)}{shortened(hint, _MOST // 2)}"


class UsageError(OnnxcamError):
    """The call asks for something that does not exist or makes no sense (exit code 2)."""


class NoDescriptionError(UsageError):
    """Nothing says how a picture becomes the model's input; what is said wrongly is no such case.

    Args:
        message: As in :class:`OnnxcamError`.
        hint: As in :class:`OnnxcamError`.
        labels: Names of the classes, where at least they are said.
    """

    def __init__(self, message: str, hint: str = "", labels: tuple[str, ...] | None = None) -> None:
        super().__init__(message, hint)
        self.labels = labels


class ModelError(OnnxcamError):
    """The model file cannot be read, checked or run (exit code 1)."""


class InputError(OnnxcamError):
    """An input file or array cannot be used (exit code 1)."""


class UnsupportedOp(OnnxcamError):  # noqa: N818 - the name that the contract gives it
    """A differentiated value flows through an operator that has no gradient rule (exit code 1)."""


class InternalError(OnnxcamError):
    """onnxcam did not expect something: its own fault, please report it (exit code 1)."""


def meant(name: str, known: Iterable[str]) -> str:
    """Return what looks most like a misspelt name, for the end of a message; "" for nothing."""
    import difflib  # late: only mistakes need it

    close = difflib.get_close_matches(name.casefold(), known, 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return a hint with the names that hold ``name``, the last ones, or else look most like it."""
    import difflib

    named = [k for k in known if k]
    parts = [k for k in named if name and name.casefold() in k.casefold()]
    close = parts[-3:] or difflib.get_close_matches(name, named, n=3, cutoff=0.4)
    listed = ", ".join(repr(c) for c in close)
    return (
        f"did you mean {listed}?"
        if close
        else "`onnxcam.analysis.layers.catalog(model)` lists the tensors"
    )
