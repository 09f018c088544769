"""Samples that crash, hang or exhaust memory are records with their reason, and no others are."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.audits import colour_net, saved, squares

from onnxcam.audit import run, verify
from onnxcam.audit.store import Store

pytest.importorskip("pyarrow")

# Loaded by the child as Python starts, it spoils samples by their names; what a runtime does on a
# poisoned file is done here by the decoder.
SPOILT = """
import sys
if "onnxcam.audit.work.child" in sys.orig_argv:
    import os, resource, signal, time
    from onnxcam.audit.work import worker
    load = worker.load_sample
    def spoilt(sample):
        name = sample.file.stem
        if name == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if name == "hang":
            time.sleep(1000)
        if name == "memory":
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "huge":
            bytearray(1 << 60)
        return load(sample)
    worker.load_sample = spoilt
"""
REASONS = {
    "crash": "the runtime crashes on it (SIGSEGV)",
    "hang": "it takes more than 4 s: the runtime hangs on it",
    "memory": "the process that explains it is killed (SIGKILL), as where memory runs out",
    "huge": "MemoryError",
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_poisoned_samples_are_records(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine == "ray":
        pytest.importorskip("ray")
    data = squares(tmp_path / "data", 9)
    for name in REASONS:
        (data / "red" / f"{name}.png").write_bytes((data / "red" / "000.png").read_bytes())
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(SPOILT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    saved(colour_net(), tmp_path / "net.onnx")
    made = run(tmp_path / "net.onnx", data, tmp_path / "o", engine=engine, timeout=4, trust=0)  # type: ignore[arg-type]
    found = {r["id"]: r["error"] for r in Store(tmp_path / "o", 64).read("records")}
    failed = {Path(k).stem: v for k, v in found.items() if v is not None}
    assert len(found) == 13 and made.counts["failed"] == 4 and failed.keys() == REASONS.keys()
    for name, reason in REASONS.items():
        assert reason in failed[name]
    page = (tmp_path / "o" / "report.html").read_text()
    assert "the runtime hangs on it" in page and verify(tmp_path / "o").problems == ()
