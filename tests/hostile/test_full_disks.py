"""A disk that takes no more: every kind of output is there whole or not at all, and it is said."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from support import nets

from onnxcam import Explainer, OnnxcamError, convert
from onnxcam.audit.log import RunLog
from onnxcam.errors import unwritten
from onnxcam.files import write_whole

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sizes have no limit there")


@contextmanager
def small(most: int) -> Iterator[None]:
    """Let no file have more bytes: to a program this is as a disk that is full."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _saved(ending: str) -> Callable[[Path], Any]:
    found = Explainer(nets.cnn(channels=3), device="cpu", threads=1, cache=False)(
        np.ones((1, 3, 6, 6), np.float32)
    )
    return lambda folder: found.save(folder / f"x{ending}")


def _converted(folder: Path) -> None:
    convert(nets.cnn(), folder / "y.onnx", check=False)


WRITERS: dict[str, Callable[[], Callable[[Path], Any]]] = {
    "a model": lambda: _converted,
    "a picture": lambda: _saved(".png"),
    "a drawing": lambda: _saved(".svg"),
    "numbers": lambda: _saved(".npz"),
    "JSON": lambda: _saved(".json"),
    "a line of a log": lambda: lambda folder: RunLog(folder).add("x" * 4000),
    "any file": lambda: lambda folder: write_whole(folder / "x", b"x" * 4000),
}


@pytest.mark.parametrize("what", WRITERS)
def test_what_has_no_room_is_not_there_and_is_said(what: str, tmp_path: Path) -> None:
    write = WRITERS[what]()
    with small(100), pytest.raises(OnnxcamError, match=r"cannot be written \(File too.*ulimit -f"):
        write(tmp_path)
    assert [p for p in tmp_path.iterdir() if p.name != "run.jsonl"] == []


def test_an_old_file_stays_where_there_is_no_room(tmp_path: Path) -> None:
    onnx.save(nets.cnn(), str(tmp_path / "y.onnx"))
    before = (tmp_path / "y.onnx").read_bytes()
    with small(100), pytest.raises(OnnxcamError, match="cannot be written"):
        convert(nets.cnn(softmax=True), tmp_path / "y.onnx", check=False, force=True)
    assert (tmp_path / "y.onnx").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_the_hint_fits_the_reason() -> None:
    import errno
    import os

    for number, hint in (
        (errno.ENOSPC, "make room"), (errno.EDQUOT, "make room"), (errno.EROFS, "may write to"),
        (errno.EACCES, "may write to"), (errno.ENOENT, "create its folder"),
        (errno.EISDIR, "not a folder"), (errno.EMFILE, "ulimit -n"),
    ):  # fmt: skip
        said = str(unwritten(OSError(number, os.strerror(number)), "a/\x1b[1m.png"))
        assert hint in said.lower() and "\x1b" not in said, said


def test_what_another_process_is_writing_is_not_swept(tmp_path: Path) -> None:
    """Whoever writes holds a lock: only what has none was left by the dead."""
    from onnxcam import files

    with files.whole(tmp_path / "x") as part:
        part.write_bytes(b"half")
        dead = tmp_path / part.name.replace(part.name[-20:-5], "0" * 15)
        dead.write_bytes(b"left")
        files._swept.discard(tmp_path)
        files.sweep(tmp_path)
        assert part.exists() and not dead.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
