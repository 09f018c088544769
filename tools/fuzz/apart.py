"""Work in a copy of this process, with limits of memory and time: it may crash or hang."""

from __future__ import annotations

import os
import resource
import select
import signal
from collections.abc import Callable

MEMORY, SECONDS = 4_000_000_000, 20.0


def apart(work: Callable[[], str]) -> str:
    """Return what some work says of itself in a copy of this process.

    Args:
        work: Returns a line. It must catch what it expects to be raised.

    Returns:
        The line; "hang" where it took too long twice (a machine may be busy, and a thread of this
        process may hold a lock that the copy waits for), "crash SIGNAL" where it was ended by one,
        "nothing said" where it raised.
    """
    said = _once(work)
    return _once(work) if said == "hang" else said


def _once(work: Callable[[], str]) -> str:
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _mute()
            os.write(theirs, work().encode(errors="backslashreplace")[:4000])
        finally:
            os._exit(0)
    os.close(theirs)
    ready = select.select([ours], [], [], SECONDS)[0]
    said = os.read(ours, 4096).decode() if ready else ""
    os.close(ours)
    if not ready:
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not ready:
        return "hang"
    # Native code may crash: the command line says so in a line, from another process.
    return said or (f"crash {signal.Signals(-status).name}" if status < 0 else "nothing said")


def _mute() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
