"""What a start costs: processor time of the shell's commands and of building a model.

Each is done in processes of its own, in turns with the same in another checkout of onnxcam where
one is named. Both trees find bytecode and compiled models in a folder of their own, as on a machine
where they ran before; only the cold start of `onnxcam explain` finds no compiled model.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.timing import Ratio, Seconds, ratio
from onnxcam.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
_COMMAND = "from onnxcam.cli import main; main()"
_WHERE = "import onnxcam; print(onnxcam.__file__)"
_PICTURES = 20
# In a process that has imported what it needs: the rest is the building.
_BUILD = """
import sys, time
import onnx, onnxruntime
from onnxcam import convert
from onnxcam.autodiff import vjp_model
from onnxcam.autodiff.registry import load_rules
load_rules()
what, path, output = sys.argv[1:]
proto = onnx.load(path)
begin = time.process_time()
if what == "vjp_model":
    vjp_model(proto, [proto.graph.input[0].name], [proto.graph.output[0].name])
else:
    convert(path, output, check=False)
print(time.process_time() - begin)
"""


@dataclass(frozen=True)
class Start:
    """What one thing costs.

    Attributes:
        what: What was done: one of :data:`TASKS`.
        subject: Names of the files.
        seconds: Median of the processor's seconds.
        against: That of the other tree; None where there is none.
        ratio: This tree / the other one.
    """

    what: str
    subject: str
    seconds: float
    against: float | None
    ratio: Ratio | None


@dataclass(frozen=True)
class Files:
    """What is worked on.

    Attributes:
        explained: Model that is explained.
        input: Its input.
        built: Model that is differentiated and converted.
    """

    explained: Path = ROOT / "models" / "squeezenet1.1.onnx"
    input: Path = ROOT / "models" / "coffee.png"
    built: Path = ROOT / "models" / "mobilenetv2.onnx"


class Tree:
    """A checkout of onnxcam.

    Args:
        root: The folder that holds the package.
        folder: An empty folder for what it keeps.

    Raises:
        UsageError: No onnxcam can be imported from there.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self._folder = folder
        self._environment = {
            **{k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
            "PYTHONPATH": str(root.resolve()),
            "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
        }
        place = self._run(_WHERE).stdout.strip()
        if not place or not Path(place).is_relative_to(root.resolve()):
            raise UsageError(f"{root}: no onnxcam can be imported", "name the folder of a checkout")

    def cold(self, files: Files) -> float:
        """Return the seconds of `onnxcam explain` where nothing was compiled before."""
        with TemporaryDirectory(dir=self._folder) as empty:
            return self._explain(files, Path(empty))

    def warm(self, files: Files) -> float:
        """Return the seconds of `onnxcam explain`, from the second call on without compiling."""
        return self._explain(files, self._folder / "models")

    def pictures(self, files: Files) -> float:
        """Return the seconds of explaining and saving 20 pictures, from the second call on."""
        copies = [self._folder / f"{k}{files.input.suffix}" for k in range(_PICTURES)]
        for copy in copies:
            copy.write_bytes(files.input.read_bytes())
        words = ["explain", files.explained, *copies, "-o", self._folder / "maps"]
        return self._command(words, self._folder / "models")

    def converting(self, files: Files) -> float:
        """Return the seconds of `onnxcam convert --no-check`, the start of Python included."""
        words = ["convert", files.built, "-o", self._free("command.onnx"), "--no-check"]
        return self._command(words, self._folder)

    def vjp_model(self, files: Files) -> float:
        """Return the seconds of `vjp_model` alone: of the first output to the first input."""
        return self._built("vjp_model", files)

    def convert(self, files: Files) -> float:
        """Return the seconds of `onnxcam.convert` alone."""
        return self._built("convert", files)

    def _explain(self, files: Files, cache: Path) -> float:
        words = ["explain", files.explained, files.input, "-o", self._folder / "map.png"]
        return self._command(words, cache)

    def _command(self, words: Sequence[str | Path], cache: Path) -> float:
        before = _spent()
        self._checked(self._run(_COMMAND, *words, cache=cache))
        return _spent() - before

    def _built(self, what: str, files: Files) -> float:
        done = self._run(_BUILD, what, files.built, self._free("built.onnx"))
        return float(self._checked(done).stdout.split()[-1])

    def _free(self, name: str) -> Path:
        place = self._folder / name
        place.unlink(missing_ok=True)
        return place

    def _run(
        self, code: str, *words: str | Path, cache: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, words)],
            env={**self._environment, "ONNXCAM_CACHE": "off" if cache is None else str(cache)},
            cwd=self._folder, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def _checked(self, done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise UsageError(f"{' '.join(done.args[3:])}: failed ({last})", "see its message")
        return done


TASKS: dict[str, Callable[[Tree, Files], float]] = {
    "explain, cold": Tree.cold,
    "explain, warm": Tree.warm,
    "explain, 20 pictures": Tree.pictures,
    "convert --no-check": Tree.converting,
    "vjp_model": Tree.vjp_model,
    "convert, the call": Tree.convert,
}


def starts(
    what: Sequence[str], files: Files, against: Path | None, *, runs: int, warmup: int, seed: int
) -> Iterator[Start]:
    """Yield what each task costs.

    Args:
        what: Names of :data:`TASKS`.
        files: What is worked on.
        against: Another checkout; None measures this one alone.
        runs: Pairs of measured calls.
        warmup: Calls before; the first writes bytecode and the compiled model.
        seed: Of the bootstrap.

    Raises:
        UsageError: The other folder is no checkout, or a command failed.
    """
    with TemporaryDirectory(prefix="bench-") as folder:
        trees = []
        for i, root in enumerate([ROOT] if against is None else [ROOT, against]):
            place = Path(folder) / str(i)
            place.mkdir()
            trees.append(Tree(root, place))
        for name in what:
            times = _paired(trees, lambda tree, task=TASKS[name]: task(tree, files), runs, warmup)
            here, there = (*np.median(times, axis=1).tolist(), None)[:2]
            found = None if there is None else ratio(times[1], times[0], seed=seed)
            subject = files.explained if name.startswith("explain") else files.built
            yield Start(name, subject.name, here, there, found)


def _paired(
    trees: Sequence[Tree], task: Callable[[Tree], float], runs: int, warmup: int
) -> Seconds:
    """Return the seconds of a task [trees, runs]; who comes first takes turns."""
    for _ in range(max(warmup, 1)):
        for tree in trees:
            task(tree)
    times = np.empty((len(trees), runs))
    for i in range(runs):
        for j in range(len(trees)):
            which = (i + j) % len(trees)
            times[which, i] = task(trees[which])
    return times


def _spent() -> float:
    """Return the processor's seconds of all processes that this one waited for."""
    of = resource.getrusage(resource.RUSAGE_CHILDREN)
    return of.ru_utime + of.ru_stime
