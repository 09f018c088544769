"""The start of the command: what a signal does is settled before anything else is imported."""

from __future__ import annotations

import os
import signal
from types import FrameType


def run() -> None:
    """Run the command line."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, _end)
    from onnxcam.cli import main

    main()


def _end(number: int, frame: FrameType | None) -> None:
    """End while modules are imported: nothing was begun."""
    line = f"onnxcam: ended by {signal.Signals(number).name}; nothing was begun\n"
    os.write(2, line.encode())
    os._exit(128 + number)
