"""What ONNX Runtime says when it fails, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from onnxcam.errors import InputError, ModelError

_SOURCES = re.compile(r"/onnxruntime_src/\S+ ")  # its own: nothing for who has a model
_MEMORY = re.compile(r"(?i)bad_alloc|failed to allocate memory|bfc_arena|out of memory")
_NODE = re.compile(r"running (\w+) node\. Name:'([^']*)'")


def line(error: Exception) -> str:
    """Return what an error says in one line."""
    return " ".join(_SOURCES.sub("", " ".join(str(error).split())).split())[:300]


def not_run(error: Exception) -> InputError | ModelError:
    """Return the error for a run that failed."""
    said = str(error)
    if _MEMORY.search(said):
        found = _NODE.search(said)
        where = f" at node {found[2]!r} ({found[1]})" if found else ""
        return ModelError(
            f"memory does not hold what the model makes{where}",
            "look at its sizes, or take a machine with more memory",
        )
    return InputError(f"ONNX Runtime failed: {line(error)}", "check the input's shape and dtype")


def not_loaded(error: Exception, libraries: Sequence[Path]) -> ModelError:
    """Return the error for a model that cannot be loaded.

    Args:
        error: What was raised.
        libraries: Files of custom operators that were named.
    """
    return ModelError(
        f"ONNX Runtime cannot load the model: {line(error)}", _advice(error, libraries)
    )


def _advice(error: Exception, libraries: Sequence[Path]) -> str:
    if "is not a registered function/op" not in str(error):
        return "check that the original runs; its message names the node"
    if libraries:
        listed = ", ".join(str(path) for path in libraries)
        return f"the operator is not in {listed} either: name the library that has it"
    return (
        "it needs a custom operator library (as onnxruntime-extensions): name its file with "
        "`op_library=FILE`; none is loaded that only a model asks for"
    )
