"""A first run in a copy of the process, where a model holds what ONNX Runtime crashes on.

Kernels for sequences, and others that are given no elements where they read one, end the process. A
caller's process must not end so: where a model holds such a thing, or made a command crash before,
it is loaded and run once in a copy, which may crash. The command line needs no such copy: all its
work is done in one.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress

from onnx import ModelProto, TensorProto

from onnxcam.files import is_watched
from onnxcam.graph.emit.walks import every_graph
from onnxcam.model.model import Model
from onnxcam.run import crashed

_SECONDS = 20.0  # of a copy; what takes longer does not crash at once
_SEQUENCES = ("Sequence", "Optional", "String", "Regex")  # parts of names of operators
_TAKE_NOTHING = frozenset("Resize Upsample Concat Reshape Expand ConstantOfShape Slice Pad".split())


def may_crash(model: Model) -> bool:
    """Tell whether a model holds what ONNX Runtime crashes on, or its file ended a command."""
    if is_watched():  # by whom says it where this process ends
        return False
    return is_fragile(model.light) or (crashed.any_known() and crashed.knows(_own(model)))


def _own(model: Model) -> str:
    """Return the sha256 of the model's own file, without what lies beside it."""
    found = model.digest
    return found if isinstance(found, str) else next(iter(found.files.values()))


def is_fragile(light: ModelProto) -> bool:
    """Tell whether a model holds what is known to make ONNX Runtime crash."""
    empty: set[str] = set()
    for graph in every_graph(light.graph):
        empty.update(t.name for t in graph.initializer if _is_empty(t))
        for node in graph.node:
            if any(part in node.op_type for part in _SEQUENCES):
                return True
            if empty and node.op_type not in _TAKE_NOTHING and not empty.isdisjoint(node.input):
                return True
    return False


def crash(work: Callable[[], object]) -> str | None:
    """Do some work in a copy of this process.

    Args:
        work: The work; what it raises does not count.

    Returns:
        The name of the signal that ended the copy; None where it ended by itself, where there can
        be no copy, and where this process is one that may crash.
    """
    if sys.platform != "linux" or is_watched():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that others' threads are not copied
        child = os.fork()
    if child == 0:
        with suppress(BaseException):
            _mute()
            work()
        os._exit(0)
    return _ended(child)


def _mute() -> None:
    """Let nothing that a crash prints reach the terminal."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _ended(child: int) -> str | None:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return signal.Signals(-code).name if code < 0 else None
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _is_empty(tensor: TensorProto) -> bool:
    return 0 in tensor.dims
