"""A command in a process that another watches: what ends it badly becomes one clear line.

onnx, ONNX Runtime and decoders of pictures are native code: a file can make them crash, or run for
ever. The process that the shell started does nothing but wait for its copy, which does the work:
a crash there is said in one line, a signal is passed on, and half written files are removed.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from onnxcam.files import HASTY, PATIENT, register, remove_dead, still_written

_PATIENCE = 0.6  # seconds from a signal to the end
_ENDS = (signal.SIGINT, signal.SIGTERM)
_AGAIN = 5.0  # seconds from one Ctrl-C to another that means the end of everything
_DEATH = 1  # Linux's PR_SET_PDEATHSIG


def watched(work: Callable[[], Any]) -> Any:
    """Do the work of a command in a copy of this process, where there can be one.

    Args:
        work: The command; it ends by SystemExit.

    Raises:
        SystemExit: With the exit code: that of the work, 1 where it crashed, 128 and the number of
            a signal that was sent to end it.
    """
    if sys.platform != "linux" or not hasattr(os, "fork"):
        return work()
    ours, theirs = os.pipe()
    parent = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)  # none is lost between the two processes
    child = os.fork()
    if child == 0:
        os.close(ours)
        _work(work, theirs, parent)
    os.close(theirs)
    raise SystemExit(_Watch(child, ours).wait())


def _work(work: Callable[[], Any], pipe: int, parent: int) -> NoReturn:
    """Do the work in the copy."""
    code = 1
    try:
        _die_with(parent)
        register(pipe)
        for number in _ENDS:
            signal.signal(number, _end)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        pass  # said by the watch
    finally:
        # Taking a session and all modules apart takes longer than a small model's explanation.
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)


def _end(number: int, frame: FrameType | None) -> None:
    """End the work as Ctrl-C does, once: what is half written is removed meanwhile."""
    for each in _ENDS:
        signal.signal(each, signal.SIG_IGN)
    sys.unraisablehook = _unsaid  # raised where Python cannot pass it on, it would be printed
    raise KeyboardInterrupt


def _unsaid(unraisable: object) -> None:
    """Say nothing: the watch says what ended the work, and ends it where it goes on."""


def _die_with(parent: int) -> None:
    """Let this process end when the one that watches it is killed."""
    with suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_DEATH, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


class _Watch:
    """Waits for a child.

    Args:
        child: Its number.
        pipe: Where it tells what it writes.
    """

    def __init__(self, child: int, pipe: int) -> None:
        self._child, self._pipe = child, pipe
        self._sent = 0
        self._told = b""
        self._asked = float("-inf")  # when it was last told of a Ctrl-C

    def wait(self) -> int:
        """Wait for the end of the child; return the exit code of the command."""
        for number in (*_ENDS, signal.SIGALRM):
            signal.signal(number, self._pass_on)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)
        while part := os.read(self._pipe, 65536):  # it ends with the child
            self._told = (self._told + part)[-1_000_000:]
        code = os.waitstatus_to_exitcode(os.waitpid(self._child, 0)[1])
        # From here on nothing changes the end: a signal that comes while Python ends would.
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.pthread_sigmask(signal.SIG_BLOCK, (*_ENDS, signal.SIGALRM))
        for left in still_written(self._told):
            remove_dead(left)
        if self._sent:
            name = signal.Signals(self._sent).name
            _say(f"ended by {name}; what was written whole stays, nothing else is left")
            return 128 + self._sent
        return code if code >= 0 else self._crashed(-code)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            if number == signal.SIGALRM:
                os.kill(self._child, signal.SIGKILL)
            elif number == signal.SIGINT and self._is_patient():
                os.kill(self._child, number)
            elif not self._sent:
                self._sent = number
                os.kill(self._child, number)
                signal.setitimer(signal.ITIMER_REAL, _PATIENCE)

    def _is_patient(self) -> bool:
        """Tell whether the child makes something of a first Ctrl-C; a second one soon ends it."""
        again, self._asked = time.monotonic() - self._asked < _AGAIN, time.monotonic()
        return not again and self._told.rfind(PATIENT) > self._told.rfind(HASTY)

    def _crashed(self, number: int) -> int:
        from onnxcam.run import crashed  # late: hardly any command ends so
        from onnxcam.run.bounds import SECONDS, TIME

        name = signal.Signals(number).name
        if name in TIME:
            _say(f"not done within the time that a stranger's file has; name more in {SECONDS}")
        elif number == signal.SIGKILL:
            _say("killed: memory may not hold what the model needs; look at its sizes")
        else:
            crashed.remember(given())
            _say(
                f"native code crashed on these files ({name}), in onnx, ONNX Runtime or a decoder; "
                "nothing was written: check the files, or report them with this line"
            )
        return 1


def given() -> list[Path]:
    """Return what was given to the command that may be a file, as an argument or an option."""
    return [Path(word.partition("=")[2] if word[:2] == "--" else word) for word in sys.argv[1:]]


def _say(line: str) -> None:
    with suppress(OSError):
        os.write(2, f"onnxcam: {line}\n".encode())
