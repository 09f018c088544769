"""End `onnxcam explain` and `convert` by signals at random moments: nothing lost, nothing left.

    python -m fuzz.kills --kill 20 --term 10 --interrupt 10 --seed 0          (in tools/)

Two commands at a time work on one cache and one folder, and a signal ends one of them. Wrong is: an
output that is not whole, a changed input, an exit code or a word that does not fit the signal, more
than a second to the end, and what still lies there after the next command that was left alone.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 10.0  # seconds from a signal to the end: one, and as many as a busy machine takes
_MODELS = ("mobilenetv2.onnx", "squeezenet1.1.onnx")


@dataclass
class Trial:
    """A folder with models and a picture, a cache beside it, and what went wrong there."""

    folder: Path
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Fill it."""
        self.cache = self.folder / "cache"
        self.work = self.folder / "work"
        self.work.mkdir()
        for name in (*_MODELS, "chelsea.png", "imagenet_labels.txt"):
            shutil.copy(ROOT / "models" / name, self.work)
            description = (ROOT / "models" / name).with_suffix(".toml")
            if description.exists():
                shutil.copy(description, self.work)
        self.given = self.hashes()

    def hashes(self) -> dict[str, str]:
        """Return the sha256 of every file in the folder that is not an output."""
        files = (p for p in sorted(self.work.iterdir()) if not p.name.startswith("out"))
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        """Start a command of onnxcam in the folder."""
        env = {**os.environ, "ONNXCAM_CACHE": str(self.cache), "OMP_NUM_THREADS": "1"}
        env["PYTHONPATH"] = str(ROOT)
        return subprocess.Popen(
            [sys.executable, "-m", "onnxcam", *command],
            cwd=self.work, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def note(self, what: str) -> None:
        """Note what is wrong."""
        self.wrong.append(what)


def command(rng: random.Random, k: int) -> list[str]:
    """Return a command of which the output is called out<k>."""
    model = rng.choice(_MODELS)
    if rng.random() < 0.5:
        return [
            "convert",
            model,
            "-o",
            f"out{k}.onnx",
            "--force",
            *rng.choice(([], ["--no-check"])),
        ]
    method = rng.choice(("gradcam", "layercam", "saliency"))
    return ["explain", model, "chelsea.png", "-o", f"out{k}.png", "--method", method]


def ended(trial: Trial, number: int, rng: random.Random) -> str:
    """Start two commands and end one of them by a signal; return what it was doing."""
    first, second = (trial.start(command(rng, k)) for k in (0, 1))
    time.sleep(rng.uniform(0.0, 1.6))
    sent = time.monotonic()
    done = first.poll() is not None
    first.send_signal(number)
    try:
        _, said = first.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        trial.note(f"hangs after {signal.Signals(number).name}")
        first.kill()
        return "hangs"
    took = time.monotonic() - sent
    _, other = second.communicate(timeout=120)
    if second.returncode:
        trial.note(f"the other command failed: {other.strip()}")
    if not done and number != signal.SIGKILL:
        _fits(trial, number, first.returncode, said, took)
    _whole(trial)
    return "done before" if done or first.returncode == 0 else "ended"


def _fits(trial: Trial, number: int, code: int, said: str, took: float) -> None:
    name = signal.Signals(number).name
    if "Traceback" in said:
        if ", in run" not in said and f"{os.sep}cli{os.sep}" not in said:
            return  # Python itself was starting
        trial.note(f"a traceback after {name}: {said.strip()[-900:]}")
    if code not in (0, 128 + number, -number):
        trial.note(f"exit code {code} after {name}: {said.strip()}")
    if code == 128 + number and name not in said:
        trial.note(f"nothing said of {name}: {said.strip()!r}")
    if took > PATIENCE:
        trial.note(f"{took:.1f} s to the end after {name}")
    left = [p.name for p in trial.work.iterdir() if p.name.endswith(".part")]
    if left and number != signal.SIGKILL:
        trial.note(f"left after {name}: {left}")


def _whole(trial: Trial) -> None:
    """Hold what lies there against what it should be."""
    if trial.hashes() != trial.given and not any(
        p.name.endswith(".part") for p in trial.work.iterdir()
    ):
        trial.note("an input was changed")
    for path in trial.work.glob("out*"):
        try:
            _opened(path)
        except Exception as error:  # noqa: BLE001 - any means that it is not whole
            trial.note(f"{path.name} is not whole: {error}")


def _opened(path: Path) -> None:
    if path.suffix == ".onnx":
        import onnxruntime

        onnxruntime.set_default_logger_severity(4)
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    else:
        from PIL import Image

        with Image.open(path) as picture:
            picture.load()


def _clean(trial: Trial) -> None:
    """Run a command that is left alone: what the dead left is gone after it."""
    for k, model in enumerate(_MODELS):
        last = trial.start(["explain", model, "chelsea.png", "-o", f"out{k}.png"])
        _, said = last.communicate(timeout=120)
        if last.returncode:
            trial.note(f"the next command failed: {said.strip()}")
    places = (*trial.work.iterdir(), *trial.cache.rglob("*"))
    left = [p.name for p in places if p.name.endswith(".part")]
    if left:
        trial.note(f"left after the next command: {left}")
    if trial.hashes() != trial.given:
        trial.note("an input was changed")


def kills(numbers: dict[int, int], seed: int) -> tuple[Counter[str], list[str]]:
    """Send so many of each signal; return what the commands were doing, and what went wrong."""
    rng = random.Random(seed)
    signals = [n for n, count in numbers.items() for _ in range(count)]
    rng.shuffle(signals)
    done: Counter[str] = Counter()
    wrong: list[str] = []
    for start in range(0, len(signals), 10):  # a fresh folder now and then: a cold cache
        with tempfile.TemporaryDirectory() as folder:
            trial = Trial(Path(folder))
            for number in signals[start : start + 10]:
                done[f"{signal.Signals(number).name} {ended(trial, number, rng)}"] += 1
            _clean(trial)
            wrong += trial.wrong
    return done, wrong


def main() -> None:
    """Run it from the shell."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("kill", "term", "interrupt"):
        parser.add_argument(f"--{name}", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    numbers = {
        signal.SIGKILL: args.kill, signal.SIGTERM: args.term, signal.SIGINT: args.interrupt,
    }  # fmt: skip
    done, wrong = kills({int(n): count for n, count in numbers.items()}, args.seed)
    for what, number in sorted(done.items()):
        sys.stdout.write(f"{number:7d}  {what}\n")
    for line in wrong:
        sys.stdout.write(f"wrong: {line}\n")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
