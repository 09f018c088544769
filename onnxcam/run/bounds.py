"""What a process may take of the machine, where the files that it works on are a stranger's.

The bounds are the system's: native code that hangs or takes all memory does not come back to be
asked. The environment may name others: megabytes of memory in ONNXCAM_MEMORY_MB, seconds in
ONNXCAM_SECONDS.
"""

from __future__ import annotations

import os
import signal

from onnxcam.errors import OnnxcamError, UsageError
from onnxcam.run.hardware import has_gpu

MEMORY, SECONDS = "ONNXCAM_MEMORY_MB", "ONNXCAM_SECONDS"
TIME = ("SIGALRM", "SIGXCPU")  # what ends a process that takes too long
_MEMORY = 8000  # megabytes of a command
_SECONDS = 120  # of a command


def bound() -> None:
    """Bound this process: memory, the time of all processors together, and time.

    Raises:
        UsageError: The environment names no number.
        OnnxcamError: There are no such bounds on this system.
    """
    memory, seconds = _number(MEMORY, _MEMORY), _number(SECONDS, _SECONDS)
    try:
        import resource
    except ImportError:
        raise OnnxcamError(
            "this system cannot bound a process", "use a virtual machine or a container"
        ) from None
    _most(resource.RLIMIT_AS, memory * 1_000_000)
    _most(resource.RLIMIT_CORE, 0)
    _most(resource.RLIMIT_CPU, seconds * (os.cpu_count() or 1))
    signal.alarm(seconds)  # nobody waits for it: the process ends, and who watches it says why


def bound_memory(device: str) -> None:
    """Bound the memory of this process to what the machine has, where the system can do that.

    Args:
        device: Where models run; a GPU's driver takes addresses for more than there is.

    Raises:
        UsageError: The environment names no number.
    """
    if device != "cpu" and has_gpu():
        return
    try:
        import resource

        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000
    except (ImportError, AttributeError, ValueError, OSError):
        return
    _most(resource.RLIMIT_AS, _number(MEMORY, max(whole, _MEMORY)) * 1_000_000)
    _most(resource.RLIMIT_CORE, 0)


def _most(what: int, wanted: int) -> None:
    import resource

    hard = resource.getrlimit(what)[1]
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(what, (most, most))


def _number(name: str, otherwise: int) -> int:
    given = os.environ.get(name, str(otherwise))
    if not given.isdecimal() or not 0 < int(given) < 2**31:
        raise UsageError(f"{name}={given!r} is no number", f"write {otherwise}")
    return int(given)
