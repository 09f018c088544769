"""What a stranger's file may take: bounds in an audit's child, and for what crashed before."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from support import nets
from support.audits import colour_net, saved, squares

from onnxcam.run import crashed, session
from onnxcam.run.session import Session

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched on Linux")
CRASH = "os.kill(os.getpid(), signal.SIGSEGV)"


def command(folder: Path, *words: str, spoilt: str = "", **more: str) -> Any:
    """Run the command, its reading of models replaced."""
    code = f"import onnxcam.model.model as m\nm.prepared = lambda *a: {spoilt}" if spoilt else ""
    script = f"import os, sys, time, signal\n{code}\nfrom onnxcam.cli import main\nmain()"
    env = {**os.environ, "ONNXCAM_CACHE": str(folder / "cache"), **more}
    return subprocess.run(
        [sys.executable, "-c", script, *words], cwd=folder, env=env, text=True,
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip


def test_what_crashed_is_bounded_from_then_on(tmp_path: Path) -> None:
    onnx.save(nets.cnn(), str(tmp_path / "m.onnx"))
    assert "native code crashed" in command(tmp_path, "layers", "m.onnx", spoilt=CRASH).stderr
    shutil.copy(tmp_path / "m.onnx", tmp_path / "copy.onnx")
    found = command(tmp_path, "layers", "copy.onnx")
    assert found.returncode == 0 and "copy.onnx ended a command before" in found.stderr
    slow = command(tmp_path, "layers", "m.onnx", spoilt="time.sleep(60)", ONNXCAM_SECONDS="2")
    assert slow.returncode == 1 and "ONNXCAM_SECONDS" in slow.stderr
    onnx.save(nets.cnn(softmax=True), str(tmp_path / "other.onnx"))
    assert command(tmp_path, "layers", "other.onnx").stderr == ""


def test_from_python_what_crashed_is_tried_in_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONNXCAM_CACHE", str(tmp_path / "cache"))
    tried: list[object] = []
    monkeypatch.setattr(session, "crash", tried.append)
    onnx.save(nets.cnn(), str(tmp_path / "m.onnx"))
    from onnxcam.model.model import load

    Session(load(tmp_path / "m.onnx"), device="cpu")
    assert not tried
    crashed.remember([tmp_path / "m.onnx", tmp_path / "none", Path("/dev/null")])
    Session(load(tmp_path / "m.onnx"), device="cpu")
    assert len(tried) == 1
    assert crashed.among([tmp_path / "m.onnx", tmp_path]) == [tmp_path / "m.onnx"]
    assert not crashed.knows("0" * 64)


def test_a_signal_while_python_ends_changes_nothing(tmp_path: Path) -> None:
    """Python takes its handlers away at its end; what comes then would end the watch."""
    onnx.save(nets.cnn(), str(tmp_path / "m.onnx"))
    late = (
        "import atexit\nhere = os.getpid()\ndef end():\n    if os.getpid() == here:\n"
        "        for n in (2, 14, 15):\n            signal.signal(n, signal.SIG_DFL)\n"
        "            os.kill(here, n)\natexit.register(end)"
    )
    script = f"import os, sys, time, signal\n{late}\nfrom onnxcam.cli import main\nmain()"
    for words, code in ((["layers", "m.onnx"], 0), (["layers", "none.onnx"], 1)):
        run = subprocess.run([sys.executable, "-c", script, *words], cwd=tmp_path, timeout=60,
                             capture_output=True, check=False)  # fmt: skip
        assert run.returncode == code


SPOILING = """
import os, signal, sys, time
if "onnxcam.audit.work.child" in " ".join(sys.orig_argv):
    import onnxcam.audit.work.worker as w
    load = w.load_sample
    def spoilt(sample):
        if "003" in sample.id:
            {what}
        return load(sample)
    w.load_sample = spoilt
"""


def audited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, timeout: float, **env: str
) -> list[Any]:
    """Audit a few squares; on one of them the child does what is said."""
    pytest.importorskip("pyarrow")
    from onnxcam.audit import run
    from onnxcam.audit.store import Store

    squares(tmp_path / "data", 9)
    saved(colour_net(), tmp_path / "net.onnx")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SPOILING.format(what=what))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    run(
        tmp_path / "net.onnx",
        tmp_path / "data",
        tmp_path / "o",
        trust=0,
        device="cpu",
        timeout=timeout,
    )
    return list(Store(tmp_path / "o", 64).read("records"))


@pytest.mark.parametrize(
    ("what", "words", "timeout", "env"),
    [
        ("os.kill(os.getpid(), signal.SIGABRT)", "SIGABRT", 600, {}),
        ("bytearray(8 * 10**9)", "memory does not hold it", 600, {"ONNXCAM_MEMORY_MB": "4000"}),
        pytest.param("time.sleep(600)", "more than 8 s", 8, {},
                     marks=pytest.mark.exhaustive),
    ],
)  # fmt: skip
def test_in_an_audit_it_is_a_record(
    what: str,
    words: str,
    timeout: float,
    env: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = audited(tmp_path, monkeypatch, what, timeout, **env)
    wrong = [r for r in found if r["error"] is not None]
    assert len(found) == 9 and len(wrong) == 1 and "003" in wrong[0]["id"]
    assert words in wrong[0]["error"]


def test_models_that_crash_at_the_end_leave_the_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnxcam.audit.work import local
    from onnxcam.errors import ModelError

    ended = (None, signal.Signals.SIGSEGV.name)
    monkeypatch.setattr(local.Child, "_ask", lambda *a, **o: ended)
    with pytest.raises(ModelError, match="All records are kept"):
        local.look_again(tmp_path, 600, 4, 0)


def test_arrays_stay_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process says of the models is what this one would."""
    pytest.importorskip("pyarrow")
    from onnxcam.audit import run

    squares(tmp_path / "data", 9)
    saved(colour_net(), tmp_path / "net.onnx")
    for engine in ("here", "local"):
        run(tmp_path / "net.onnx", tmp_path / "data", tmp_path / engine, engine=engine, trust=4)
    texts = [(tmp_path / e / "evidence.json").read_text() for e in ("here", "local")]
    assert texts[0] == texts[1]
    assert np.array_equal(*((tmp_path / e / "policy.toml").read_bytes() for e in ("here", "local")))
