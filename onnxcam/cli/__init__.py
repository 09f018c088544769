"""The command line: parse, call the API, print, exit code. No maths."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxcam.cli.group import main

__all__ = ["main"]

# The modules that enter their commands, in the order of the help.
_COMMANDS = (
    "explain", "text", "convert", "look", "compare", "concepts", "craft", "tcav", "audit",
    "audited", "demo", "completion",
)  # fmt: skip

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import the commands when the first is asked for: signals are told what to do before."""
        if name != "main":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        for module in _COMMANDS:
            import_module(f"{__name__}.{module}")
        main = import_module(f"{__name__}.group").main
        if "_ONNXCAM_COMPLETE" in os.environ:  # a shell asks what a word could become
            import_module(f"{__name__}.completion").add_to(main)
        return main
