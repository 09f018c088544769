"""The start of the command: what a signal does is settled before anything else is imported."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def run() -> None:
    """Run the command line."""
    _open_closed()
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, _end)
    from onnxcam.cli import main

    main()


def _open_closed() -> None:
    """Open what the shell closed: the next file would take its place, and get what is said."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it takes the lowest number
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


def _end(number: int, frame: FrameType | None) -> None:
    """End while modules are imported: nothing was begun."""
    line = f"onnxcam: ended by {signal.Signals(number).name}; nothing was begun\n"
    os.write(2, line.encode())
    os._exit(128 + number)
