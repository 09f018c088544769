"""A folder of entries on disk: what was not written by its owner, or was damaged, is none.

In front of an entry stands a digest of its name and content, keyed with a secret of the user: who
may write to the folder, but cannot read the secret, cannot make an entry. Where the secret cannot
be kept with the user it lies in the folder itself, and the digest finds damage alone.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import stat
import sys
import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from onnxcam.errors import UsageError
from onnxcam.files import read_regular, whole

FOLDER_VARIABLE, SIZE_VARIABLE = "ONNXCAM_CACHE", "ONNXCAM_CACHE_MB"
_OFF = ("", "0", "off")
_MEGABYTES = 2000
_SUFFIX = ".light"
_OWN = re.compile(rf"[0-9a-f]{{64}}(\.[a-z]+)?{re.escape(_SUFFIX)}")  # names that entries have
_DIGEST = 32  # bytes in front of an entry
_SECRET = 32  # bytes


@dataclass(frozen=True)
class Store:
    """A folder of entries by key; the oldest go where it grows too large.

    Attributes:
        folder: Where they are; made when the first is written.
        limit: Bytes that all of them may take together.
        home: Where the user's secret is kept; None keeps it in the folder.
    """

    folder: Path
    limit: int
    home: Path | None = None

    def has(self, key: str) -> bool:
        """Tell whether there is an entry, which may be damaged."""
        return self._place(key).exists()

    def get(self, key: str) -> bytes | None:
        """Return an entry, None where there is none or it is damaged; it counts as used now."""
        place = self._place(key)
        try:
            content = read_regular(place, self.limit)
        except OSError:
            return None
        with suppress(OSError):
            os.utime(place)
        data = content[_DIGEST:]
        return data if hmac.compare_digest(self._digest(key, data), content[:_DIGEST]) else None

    def put(self, key: str, data: bytes) -> None:
        """Write an entry, and remove the ones that were not used for longest to make room.

        Where the folder cannot be written it warns, once, and nothing else happens.
        """
        content = self._digest(key, data) + data
        if len(content) > self.limit:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole(self._place(key)) as part:
                part.write_bytes(content)
            self._shrink()
        except OSError as error:
            self._complain(error)

    def _digest(self, key: str, data: bytes) -> bytes:
        return hmac.digest(self._secret, b"%d:%s" % (len(key), key.encode()) + data, "sha256")

    @cached_property
    def _secret(self) -> bytes:
        """The user's secret; made where there is none, or none that can be used."""
        for folder in (self.home, self.folder):
            if folder is None:
                continue
            place = folder / "onnxcam.secret"
            try:
                found = read_regular(place, _SECRET)
            except OSError:
                found = b""
            if len(found) == _SECRET:
                return found
            found = secrets.token_bytes(_SECRET)
            with suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                with whole(place) as part:
                    part.chmod(0o600)
                    part.write_bytes(found)
                return found
        return bytes(_SECRET)

    def _place(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"

    def _shrink(self) -> None:
        """Remove files, those not used for longest first; another process may do the same."""
        found = []
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):
                state = path.lstat()
                if _OWN.fullmatch(path.name) and stat.S_ISREG(state.st_mode):
                    found.append((state.st_mtime_ns, state.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self.limit:
                return
            path.unlink(missing_ok=True)
            total -= size

    def _complain(self, error: OSError) -> None:
        warnings.warn(
            f"{self.folder}: compiled models cannot be kept there ({error.strerror}); name another "
            f"folder in {FOLDER_VARIABLE}, or set it to off",
            stacklevel=2,
        )


def store() -> Store | None:
    """Return the store that the environment names, else the user's; None where it is off.

    Raises:
        UsageError: The size in the environment is no number.
    """
    folder = _folder()
    if folder is None:
        return None
    given = os.environ.get(SIZE_VARIABLE, str(_MEGABYTES))
    if not given.isdecimal():
        raise UsageError(f"{SIZE_VARIABLE}={given!r} is no number of megabytes", "write 2000")
    return Store(folder, int(given) * 1_000_000, _users())


def _folder() -> Path | None:
    given = os.environ.get(FOLDER_VARIABLE)
    if given is not None:
        return None if given.lower() in _OFF else Path(given)
    users = _users()
    return None if users is None else users / "models"


def _users() -> Path | None:
    """Return the user's own folder for what onnxcam keeps; None where there is no home."""
    try:
        home = Path.home()
    except RuntimeError:  # no home, as for some services
        return None
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "onnxcam"
