"""The engine ray: the records of the local one, also where a worker dies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.audits import colour_net, saved, squares

from onnxcam.audit import run, verify
from onnxcam.audit.store import Store
from onnxcam.errors import OnnxcamError, UsageError

pytest.importorskip("pyarrow")


def _rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in r.items() if k != "seconds"} for r in Store(folder, 64).read(kind)]


@pytest.mark.exhaustive
def test_two_workers_give_the_records_of_one_process(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="ray is missing: pip install 'onnxcam[ray]'")
    try:
        ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
    except Exception as error:  # noqa: BLE001 - Ray's own kinds
        pytest.skip(f"Ray does not start here: {error}")
    squares(tmp_path / "data", 150)
    saved(colour_net(), tmp_path / "net.onnx")
    try:
        run(tmp_path / "net.onnx", tmp_path / "data", tmp_path / "ray", engine="ray", trust=0)
        with pytest.raises(UsageError, match="slots"):
            run(
                tmp_path / "net.onnx", tmp_path / "data", tmp_path / "more", engine="ray",
                workers=9, trust=0,
            )  # fmt: skip
    finally:
        ray.shutdown()
    run(tmp_path / "net.onnx", tmp_path / "data", tmp_path / "here", engine="here", trust=0)
    for kind in ("records", "maps"):
        assert _rows(tmp_path / "ray", kind) == _rows(tmp_path / "here", kind)
    assert verify(tmp_path / "ray").problems == ()


class _Rows:
    """What Ray Data returns, of a cluster that stops."""

    def __init__(self, *rows: Any) -> None:
        self._rows = rows

    def iter_rows(self) -> Any:
        for row in self._rows:
            if isinstance(row, Exception):
                raise row
            yield row


@pytest.mark.parametrize("ends", [[], [RuntimeError("all actors died")]])
def test_a_cluster_that_stops_is_an_error_and_what_came_stays(
    tmp_path: Path, ends: list[Any]
) -> None:
    from onnxcam.audit.work import ray_engine

    done: list[int] = []
    row = {"chunk": 0, "count": 2, "rows": '{"records": [], "pairs": [], "maps": []}'}
    store = Store(tmp_path, 2)
    with pytest.raises(OnnxcamError, match="stopped before 1 chunks"):
        ray_engine._commit(_Rows(row, *ends), store, done.append, 2)
    assert done == [2] and store.missing(4) == [1]


def test_a_job_that_hangs_ends_in_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from threading import Event

    from onnxcam.audit.work import ray_engine

    class Hanging:
        def iter_rows(self) -> Any:
            Event().wait(5)
            yield from ()

    monkeypatch.setattr(ray_engine, "_STALLED", 0.1)
    with pytest.raises(OnnxcamError, match="no chunk came"):
        ray_engine._commit(Hanging(), Store(tmp_path, 2), lambda _: None, 1)
