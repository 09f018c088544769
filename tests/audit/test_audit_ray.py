"""The engine ray: the records of the local one, also where a worker dies."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from support.audits import colour_net, saved, squares

from onnxcam.audit import run, verify
from onnxcam.audit.data import Sample
from onnxcam.audit.store import Rows, Store
from onnxcam.audit.work import ray_engine
from onnxcam.errors import OnnxcamError, UsageError

pytest.importorskip("pyarrow")


def _rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in r.items() if k != "seconds"} for r in Store(folder, 64).read(kind)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    ray = pytest.importorskip("ray", reason="ray is missing: pip install 'onnxcam[ray]'")
    for _ in range(3):  # on a machine with much to do its start runs into limits of its own
        try:
            ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
            break
        except Exception:  # noqa: BLE001 - Ray's own kinds
            ray.shutdown()
    else:
        pytest.skip("Ray does not start here, as its logs say")
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An audit by the engine of one machine, beside its model and data."""
    place = tmp_path_factory.mktemp("ray")
    squares(place / "data", 300)
    saved(colour_net(), place / "net.onnx")
    run(place / "net.onnx", place / "data", place / "here", trust=0)
    return place


@pytest.mark.exhaustive
def test_two_workers_one_killed_give_the_records_of_one_process(
    cluster: Any, here: Path, tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill(at: int, _: int) -> None:
        """Kill an actor's process when the first chunk is there."""
        if at and not killed:
            killed.append(_actors()[0])
            os.kill(killed[0], signal.SIGKILL)

    run(here / "net.onnx", here / "data", tmp_path / "o", engine="ray", trust=0, progress=kill)
    assert killed and not (tmp_path / "o" / "ray").exists()
    for kind in ("records", "maps"):
        assert _rows(tmp_path / "o", kind) == _rows(here / "here", kind)
    assert verify(tmp_path / "o").problems == ()


def _actors() -> list[int]:
    """Return the processes that hold a child of an audit."""
    found = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            said = status.read_bytes().split(b"\0")
            if b"onnxcam.audit.work.child" in said:
                stat = (status.parent / "stat").read_text()
                found.append(int(stat.rpartition(")")[2].split()[1]))
    return found


@pytest.mark.exhaustive
def test_what_one_engine_left_the_other_finishes(cluster: Any, here: Path, tmp_path: Path) -> None:
    folder = tmp_path / "o"
    shutil.copytree(here / "here", folder)
    for number in (1, 3):
        (folder / "records" / f"{number:06d}.parquet").unlink()
    before = {p.name: p.stat().st_mtime_ns for p in (folder / "records").iterdir()}
    run(here / "net.onnx", here / "data", folder, engine="ray", trust=0, resume=True)
    assert _rows(folder, "records") == _rows(here / "here", "records")
    now = {p.name: p.stat().st_mtime_ns for p in (folder / "records").iterdir()}
    assert len(now) == 5 and before.items() <= now.items()
    assert verify(folder).problems == ()


@pytest.mark.exhaustive
def test_a_cluster_with_too_few_slots_is_refused(cluster: Any, here: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="slots"):
        run(here / "net.onnx", here / "data", tmp_path / "o", engine="ray", workers=9, trust=0)


SAMPLES = [Sample(str(k), Path("none")) for k in range(4)]


@pytest.mark.parametrize("ends", [None, RuntimeError("all actors died")])
def test_a_cluster_that_stops_is_an_error_and_what_came_stays(
    tmp_path: Path, ends: Exception | None
) -> None:
    done: list[int] = []
    store = Store(tmp_path, 2)

    def job() -> None:
        store.put(0, Rows([]))
        if ends is not None:
            raise ends

    with pytest.raises(OnnxcamError, match="stopped before 1 chunks"):
        (tmp_path / "ray" / ray_engine.CHECKPOINT).mkdir(parents=True)
        ray_engine._watched(job, tmp_path / "ray", store, SAMPLES, done.append, 5)
    # A job that ends without an error and leaves chunks was told by its checkpoint: that goes.
    assert (tmp_path / "ray" / ray_engine.CHECKPOINT).exists() == (ends is not None)
    assert done == [2] and store.missing(4) == [1]


def test_a_job_that_hangs_ends_in_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_engine, "_LOOK", 0.05)
    monkeypatch.setattr(ray_engine, "LOADING", 0.1)
    store, hanging = Store(tmp_path, 2), Event()
    with pytest.raises(OnnxcamError, match="no sign of life"):
        ray_engine._watched(hanging.wait, tmp_path, store, SAMPLES, lambda _: None, 0.1)
    hanging.set()


def test_a_chunk_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    one = ray_engine._key(0, [Sample("a", tmp_path / "a")])
    assert one == ray_engine._key(0, [Sample("a", tmp_path / "a")])
    ray_engine._content.cache_clear()
    (tmp_path / "a").write_bytes(b"b")
    assert one != ray_engine._key(0, [Sample("a", tmp_path / "a")])
