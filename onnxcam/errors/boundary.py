"""The boundary: what goes wrong in libraries, or in onnxcam itself, becomes one line.

onnx, ONNX Runtime, NumPy, protobuf and Python raise what they like where a file is not what they
expect. At the doors of the package stands :func:`bounded`: it says what failed, at which node or
tensor, and what to do; the error itself is the ``__cause__``. What onnxcam did not expect is said
to be that, with a number that is the same for the same fault.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from onnxcam.errors.kinds import InternalError, ModelError, OnnxcamError
from onnxcam.errors.text import plain
from onnxcam.version import __version__

_LIBRARIES = frozenset(
    "onnx onnxruntime numpy google onnx_graphsurgeon PIL skimage scipy ml_dtypes pyarrow sklearn "
    "jinja2 cyclonedx ray rich matplotlib xarray".split()
)
_WORDS = {"onnx": "onnx", "onnxruntime": "ONNX Runtime", "google": "protobuf"}
_SAYS = 300  # characters of what a library says
_EXPORT = "export or copy the model again"
_ROOM = "make room, or choose another disk"
_MEND = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "let files be larger (`ulimit -f`), or choose another disk",
    errno.ENOENT: "create its folder first",
    errno.ENOTDIR: "create its folder first",
    errno.EISDIR: "name a file, not a folder",
    errno.EMFILE: "let more files be open (`ulimit -n`)",
}


@contextmanager
def bounded(failed: str) -> Iterator[None]:
    """Turn every error of a library, and of onnxcam's own, into one of onnxcam's.

    What a caller's own code raises (a target, a rule, a progress bar) stays what it is. Use it
    with ``with`` or as a decorator.

    Args:
        failed: What fails, as in "the model cannot be read".

    Raises:
        OnnxcamError: In place of any other error; that is its ``__cause__``.
    """
    try:
        yield
    except OnnxcamError:
        raise
    except Exception as error:
        if _is_callers(error):
            raise
        raise told(error, failed) from error


def told(error: Exception, failed: str) -> OnnxcamError:
    """Return the error that says of another what failed, where, and what to do.

    Args:
        error: What was raised.
        failed: What fails, as in "the model cannot be read".
    """
    where = _where(error.__traceback__)
    says = plain(" ".join(str(error).split()) or type(error).__name__, _SAYS)
    if isinstance(error, MemoryError):
        return ModelError(
            f"{failed}: memory does not hold it{where} ({says})",
            "look at its sizes, or take a machine with more memory",
        )
    if isinstance(error, RecursionError):
        return ModelError(f"{failed}: it is nested too deeply{where}", _EXPORT)
    if isinstance(error, UnicodeError):
        return ModelError(f"{failed}: a text is no UTF-8{where}", _EXPORT)
    if isinstance(error, Warning):
        return OnnxcamError(f"a warning counts as an error here: {says}", "see Python's option -W")
    if isinstance(error, OSError):
        return _of_system(error, says)
    library = _library(error)
    if library is not None:
        return ModelError(f"{failed}{where}; {library}: {says}", _EXPORT)
    kind = type(error).__name__
    return InternalError(
        f"{failed}{where}: onnxcam did not expect {kind}: {says}",
        f"please report it with the model, as fault {fault(error)} of onnxcam {__version__}",
    )


def unwritten(error: OSError, place: object) -> OnnxcamError:
    """Return the error that says that something cannot be written, why, and what to do.

    Args:
        error: What the system said.
        place: The file, or another place, in words.
    """
    reason = error.strerror or plain(" ".join(str(error).split()), _SAYS)
    hint = _MEND.get(error.errno or 0, "choose a folder that you may write to")
    return OnnxcamError(f"{plain(place)}: cannot be written ({reason})", hint)


def fault(error: BaseException) -> str:
    """Return a number of eight digits: the same for the same fault of one version."""
    places = [type(error).__name__]
    for frame, line in _frames(error.__traceback__):
        name = str(frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] == "onnxcam":
            places.append(f"{name}:{frame.f_code.co_name}:{line - frame.f_code.co_firstlineno}")
    return hashlib.sha256("\n".join(places[:1] + places[-6:]).encode()).hexdigest()[:8]


def _of_system(error: OSError, says: str) -> OnnxcamError:
    if error.errno == errno.ENOENT and error.filename is None and not _has_folder():
        return OnnxcamError("the current folder is no more", "go to one that there is")
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
        return unwritten(error, "a file" if error.filename is None else error.filename)
    name = "" if error.filename is None else f"{plain(error.filename, _SAYS)}: "
    reason = error.strerror or says
    return OnnxcamError(f"{name}cannot be used ({reason})", "check the path and its rights")


def _has_folder() -> bool:
    """Tell whether there is a current folder: it may be removed while it is used."""
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _library(error: Exception) -> str | None:
    """Return the library that says no; None where it was called as it must not be."""
    home = type(error).__module__.split(".")[0]
    if home in _WORDS:
        return _WORDS[home]
    raiser = _raiser(error)
    fits = isinstance(error, RuntimeError | ValueError) and not isinstance(error, UnicodeError)
    return _WORDS.get(raiser) if fits else None


def _raiser(error: Exception) -> str:
    names = [str(f.f_globals.get("__name__", "")) for f, _ in _frames(error.__traceback__)]
    return names[-1].split(".")[0] if names else ""


def _is_callers(error: Exception) -> bool:
    """Tell whether the code that raised is neither onnxcam's nor a library's."""
    frames = _frames(error.__traceback__)
    homes = [str(f.f_globals.get("__name__", "")).split(".")[0] for f, _ in frames]
    own = [h for h in homes if h not in _LIBRARIES and h not in sys.stdlib_module_names]
    return bool(own) and own[-1] != "onnxcam"


def _where(trace: TracebackType | None) -> str:
    """Return the innermost node or tensor that somebody held, in words; "" for none."""
    for frame, _ in reversed(list(_frames(trace))):
        held = frame.f_locals
        for value in [held.get("node"), *held.values()]:
            said = _named(value)
            if said:
                return f" at {said}"
    return ""


def _named(value: Any) -> str:
    kind = type(value).__name__
    if kind in ("Node", "NodeProto"):
        op = getattr(value, "op", None) or getattr(value, "op_type", "")
        outputs = getattr(value, "outputs", None) or getattr(value, "output", None) or [""]
        name = getattr(value, "name", "") or getattr(outputs[0], "name", outputs[0])
        return f"node {plain(name, 80)!r} ({plain(op, 60)})"
    if kind in ("TensorProto", "ValueInfoProto", "Variable", "Constant"):
        name = plain(getattr(value, "name", ""), 80)
        return f"tensor {name!r}" if name else ""
    return ""


def _frames(trace: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next
