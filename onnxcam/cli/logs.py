"""What `-v` does: the library logs by :mod:`logging`, the shell shows it."""

from __future__ import annotations

import logging
import sys

from onnxcam.errors import plain

_LEVELS = {1: logging.INFO, 2: logging.DEBUG}


class _Plain(logging.Formatter):
    """Makes names and labels of files harmless, as all that is printed."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return plain(super().format(record))


def start(level: int) -> None:
    """Show what is logged on standard error.

    Args:
        level: 1 for what is done, 2 and more for all.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Plain("onnxcam: %(relativeCreated)5.0f ms %(name)s: %(message)s"))
    log = logging.getLogger("onnxcam")
    log.handlers[:] = [handler]
    log.setLevel(_LEVELS[min(level, 2)])
