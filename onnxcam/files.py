"""Files: read where they are what they seem, written whole or not at all.

A file is written beside its place, under a name that nobody else has, and moved there when it is
complete. Whoever writes holds a lock on it until then; what was left by a process that was killed
has none, and the next one that writes to the folder sweeps it.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

from onnxcam.errors import InputError, UsageError, unwritten

try:
    import fcntl
except ImportError:  # Windows has other locks
    fcntl = None  # type: ignore[assignment]

PATIENT, HASTY = b"=patient\0", b"=hasty\0"  # whether the first Ctrl-C is left to the process
PART = ".part"  # ends the name of a file that is being written
_MARK = ".onnxcam-"  # before the digits of such a name
_FORGOTTEN = 3600  # seconds, where there are no locks: an older part belongs to nobody
_LONGEST = 120  # characters of a file's name that a part's has, of 255 bytes
_swept: set[Path] = set()
_read: list[set[tuple[int, int]]] = []  # files by device and number, in each block of `sparing`
_ledger: list[int] = []  # where a process that watches this one reads what is being written


def register(descriptor: int) -> None:
    """Tell the reader of a pipe from now on which files are being written, and which are done."""
    _ledger[:] = [descriptor]


def is_watched() -> bool:
    """Tell whether another process watches this one, and says what ends it."""
    return bool(_ledger)


@contextmanager
def patient() -> Iterator[None]:
    """Tell who watches this process that the first Ctrl-C does not end it while the block runs."""
    _say(PATIENT)
    try:
        yield
    finally:
        _say(HASTY)


@contextmanager
def sparing() -> Iterator[None]:
    """Let no file that is read in the block be written over in it, under whatever name."""
    read = set[tuple[int, int]]()
    _read.append(read)
    try:
        yield
    finally:
        _read[:] = [each for each in _read if each is not read]


def was_read(place: Path) -> bool:
    """Tell whether a path leads to a file that was read in a block of :func:`sparing`."""
    try:
        state = place.stat() if _read else None
    except (OSError, ValueError):
        return False
    return state is not None and any((state.st_dev, state.st_ino) in each for each in _read)


@contextmanager
def whole(place: Path) -> Iterator[Path]:
    """Let a file be written beside its place; it takes the place when the block ends.

    An old file stays until the new one is complete, and where the block raises.

    Yields:
        Where to write: an empty file of a name of its own in the same folder.

    Raises:
        OSError: It cannot be made, or not be moved to its place.
        UsageError: What is in its place was read; see :func:`sparing`.
    """
    if was_read(place):
        raise UsageError(f"{place} was read for this: it is not written over", "name another file")
    sweep(place.parent)
    part, descriptor = _made(place)
    try:
        yield part
        os.replace(part, place)
    finally:
        with suppress(OSError):  # it was moved
            part.unlink()
        if descriptor is not None:
            os.close(descriptor)
        _tell("-", part)


def write_whole(place: Path, data: bytes) -> None:
    """Write bytes as a file, whole or not at all.

    Raises:
        OnnxcamError: It cannot be written.
    """
    try:
        with whole(place) as part:
            part.write_bytes(data)
    except OSError as error:
        raise unwritten(error, place) from None


def sweep(folder: Path) -> None:
    """Remove what a process that is no more left half written in a folder; once for each."""
    if folder in _swept:
        return
    _swept.add(folder)
    with suppress(OSError), os.scandir(folder) as entries:
        left = [e.name for e in entries if e.name.endswith(PART) and _MARK in e.name]
        for name in left:
            remove_dead(folder / name)


def remove_dead(part: Path) -> None:
    """Remove a file that was being written, where nobody writes it any more."""
    with suppress(OSError):
        if fcntl is None:
            if time.time() - part.lstat().st_mtime > _FORGOTTEN:
                part.unlink()
            return
        descriptor = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()
        finally:
            os.close(descriptor)


def read_regular(path: Path, most: int) -> bytes:
    """Return what is in a regular file of this name: no link is followed, no pipe waited for.

    Raises:
        OSError: It is missing, out of reach, no regular file, or larger than ``most`` bytes.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with open(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb") as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode) or state.st_size > most:
            raise OSError(errno.EINVAL, "no regular file, or too large", str(path))
        return file.read()


def regular(path: Path, most: int | None = None) -> None:
    """Check that a path leads to a regular file, before it is opened: a pipe has no end.

    Args:
        path: The file.
        most: The most bytes that it may have; None for any number.

    Raises:
        InputError: It is a pipe, a device or a socket, or larger.
        OSError: It is missing, a folder, or out of reach.
    """
    state = path.stat()
    if stat.S_ISDIR(state.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(state.st_mode):
        raise InputError(f"{path} is {_KINDS.get(stat.S_IFMT(state.st_mode), 'no file')}", _COPY)
    for each in _read:
        each.add((state.st_dev, state.st_ino))
    if most is not None and state.st_size > most:
        raise InputError(
            f"{path} has {state.st_size:,} bytes, more than the {most:,} that such a file may have",
            "is it the right file?",
        )


_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
_COPY = "give a regular file; copy what comes out of a pipe into one first"


def _made(place: Path) -> tuple[Path, int | None]:
    """Make a file that nobody else has, and hold a lock on it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    stem = os.fsdecode(os.fsencode(place.name)[:_LONGEST])
    while True:
        part = place.with_name(f".{stem}{_MARK}{token_hex(8)}{PART}")
        _tell("+", part)
        descriptor = os.open(part, flags, 0o666)
        if fcntl is None:  # Windows moves no file that is open
            os.close(descriptor)
            return part, None
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:  # else somebody swept it before it was locked
            return part, descriptor
        os.close(descriptor)


def _tell(what: str, part: Path) -> None:
    _say(os.fsencode(f"{what}{part.absolute()}") + b"\0")


def _say(line: bytes) -> None:
    for descriptor in _ledger:
        with suppress(OSError):
            os.write(descriptor, line)


def still_written(told: bytes) -> list[Path]:
    """Return the files that a process was writing, by what it told; see :func:`register`."""
    found: dict[str, Any] = {}
    for line in told.split(b"\0"):
        name = os.fsdecode(line)
        if name.startswith("+"):
            found[name[1:]] = None
        elif name.startswith("-"):
            found.pop(name[1:], None)
    return [Path(name) for name in found]
