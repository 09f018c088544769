"""The command in a copy that is watched: crashes, signals, bounds and full disks are one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from support import nets

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched on Linux")


def _start(code: str, folder: Path, *arguments: str, **options: object) -> subprocess.Popen[str]:
    """Start the command after some code has spoilt a part of it."""
    script = f"import os, sys, time, signal\n{code}\nfrom onnxcam.cli import main\nmain()"
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments], cwd=folder, text=True,
        stdout=options.pop("stdout", subprocess.PIPE), stderr=subprocess.PIPE,  # type: ignore[call-overload]
        env={**os.environ, "ONNXCAM_CACHE": "off", **options},
    )  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    onnx.save(nets.cnn(), str(tmp_path / "m.onnx"))
    return tmp_path


SPOILT = "import onnxcam.model.model as m\nm.prepared = lambda *a: {}"
WRITING = "import onnxcam.conversion as c\nc.verify = lambda *a, **o: {}"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGKILL])
def test_a_crash_is_one_line(number: int, desk: Path) -> None:
    run = _start(SPOILT.format(f"os.kill(os.getpid(), {number})"), desk, "layers", "m.onnx")
    out, err = run.communicate(timeout=60)
    assert run.returncode == 1 and out == "" and err.startswith("onnxcam: ")
    assert err.count("\n") == 1 and ("SIG" in err or number == signal.SIGKILL)


def test_a_crash_while_a_file_is_checked_leaves_none(desk: Path) -> None:
    code = WRITING.format("os.kill(os.getpid(), signal.SIGSEGV)")
    run = _start(code, desk, "convert", "m.onnx", "-o", "out.onnx")
    _, err = run.communicate(timeout=60)
    assert run.returncode == 1 and "native code crashed" in err
    assert os.listdir(desk) == ["m.onnx"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("hears", [True, False])
def test_a_signal_ends_it_within_a_second(number: int, hears: bool, desk: Path) -> None:
    """Also where native code does not come back to hear of it."""
    deaf = "(signal.signal(2, signal.SIG_IGN), signal.signal(15, signal.SIG_IGN), time.sleep(60))"
    code = WRITING.format("time.sleep(60)" if hears else deaf)
    run = _start(code, desk, "convert", "m.onnx", "-o", "out.onnx")
    for _ in range(1000):
        if len(os.listdir(desk)) > 1:
            break
        time.sleep(0.02)
    time.sleep(0.3)
    start = time.monotonic()
    run.send_signal(number)
    _, err = run.communicate(timeout=20)
    assert time.monotonic() - start < 3  # one second, on a machine that is not busy
    assert run.returncode == 128 + number and "Traceback" not in err
    assert f"ended by {signal.Signals(number).name}" in err
    assert os.listdir(desk) == ["m.onnx"]


SLOW = "import onnxcam.methods.perturb.rise as r\nf = r.random_mask\nr.random_mask = {}"


@pytest.mark.parametrize("group", [False, True])
def test_ctrl_c_gives_the_map_so_far(group: bool, desk: Path) -> None:
    """A terminal sends it to the command and to its copy."""
    np.save(desk / "x.npy", np.ones((1, 2, 6, 6), "f4"))
    slow = "lambda *a: (open('began', 'w'), time.sleep(0.01), f(*a))[2]"
    given = ("explain", "m.onnx", "x.npy", "--method", "rise", "--masks", "1000000", "--json")
    run = _start(SLOW.format(slow), desk, *given)
    for _ in range(1000):
        if (desk / "began").exists():
            break
        time.sleep(0.02)
    time.sleep(0.8)
    run.send_signal(signal.SIGINT)
    if group:
        (copy,) = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        os.kill(int(copy), signal.SIGINT)
    out, err = run.communicate(timeout=30)
    assert run.returncode == 0, err
    (found,) = json.loads(out)["explanations"]
    assert found["parameters"]["stopped"].startswith("stopped after")
    assert "this is the map so far" in found["diagnosis"][0]
    assert (desk / "x.rise.png").exists()


def test_a_second_ctrl_c_ends_it(desk: Path) -> None:
    np.save(desk / "x.npy", np.ones((1, 2, 6, 6), "f4"))
    slow = "lambda *a: (open('began', 'w'), time.sleep(3), f(*a))[2]"
    run = _start(SLOW.format(slow), desk, "explain", "m.onnx", "x.npy", "--method", "rise")
    for _ in range(1000):
        if (desk / "began").exists():
            break
        time.sleep(0.02)
    for _ in range(2):
        run.send_signal(signal.SIGINT)
        time.sleep(0.7)
    _, err = run.communicate(timeout=20)
    assert run.returncode == 130 and "ended by SIGINT" in err
    assert not (desk / "x.rise.png").exists()


def test_the_copy_ends_with_its_watch_and_the_next_start_sweeps(desk: Path) -> None:
    code = WRITING.format("(open('pid', 'w').write(str(os.getpid())), time.sleep(60))")
    run = _start(code, desk, "convert", "m.onnx", "-o", "out.onnx")
    for _ in range(1000):
        if (desk / "pid").is_file() and (desk / "pid").read_text():
            break
        time.sleep(0.02)
    run.kill()
    run.communicate(timeout=20)
    child = int((desk / "pid").read_text())
    for _ in range(200):
        if not Path(f"/proc/{child}").exists():
            break
        time.sleep(0.02)
    assert [p for p in os.listdir(desk) if p.endswith(".part")]
    again = _start("", desk, "convert", "m.onnx", "-o", "out.onnx")
    assert again.wait(timeout=60) == 0
    assert sorted(os.listdir(desk)) == ["m.onnx", "out.onnx", "pid"]


def test_untrusted_files_are_bounded(desk: Path) -> None:
    hungry = SPOILT.format("bytearray(10**9)")
    run = _start(hungry, desk, "--untrusted", "layers", "m.onnx", ONNXCAM_MEMORY_MB="900")
    _, err = run.communicate(timeout=60)
    assert run.returncode == 1 and "memory does not hold it" in err
    slow = SPOILT.format("time.sleep(60)")
    run = _start(slow, desk, "--untrusted", "layers", "m.onnx", ONNXCAM_SECONDS="1")
    _, err = run.communicate(timeout=20)
    assert run.returncode == 1 and "ONNXCAM_SECONDS" in err


def test_a_full_disk_and_a_poor_encoding(desk: Path) -> None:
    for more in ((), ("--json",)):
        with open("/dev/full", "w") as full:
            run = _start("", desk, "layers", "m.onnx", *more, stdout=full)
            _, err = run.communicate(timeout=60)
        assert run.returncode == 1 and err.startswith("onnxcam: standard output: cannot be written")
        assert "Make room" in err and "whole, and stay" in err and err.count("\n") == 1
    np.save(desk / "x.npy", np.ones((1, 2, 6, 6), "f4"))
    (desk / "l.txt").write_text("猫\nKätzchen\nb\n", "utf-8")
    words = ("explain", "m.onnx", "x.npy", "-o", "out.json", "--labels", "l.txt", "--json")
    run = _start("", desk, *words, PYTHONIOENCODING="ascii")
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    assert out.isascii() and "out.json" in out
