"""Damage models and look what onnxcam makes of them: a right result, or one clear line.

    python -m fuzz.run --seconds 60 --seed 0            (in tools/)

Every file is worked on in a copy of this process with limits of memory and time. A finding is an
error that is none of onnxcam's, one that onnxcam calls its own fault, a signal, a hang, or outputs
that are not those of ONNX Runtime on the file itself. Findings are made smaller and written to
--findings, named by what happens; `tests/hostile` runs what lies in its folder `found`.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from fuzz.apart import apart
from fuzz.mutate import of_bytes, of_structure

ROOT = Path(__file__).resolve().parents[2]
_SMALL = 300_000  # bytes of a model that is damaged
FINE = ("right", "refused", "not held")


def outcome(data: bytes) -> str:
    """Return what onnxcam makes of a model: one of FINE, or what is wrong."""
    return apart(lambda: worked(data))


def worked(data: bytes) -> str:
    """Explain a model and hold its outputs against ONNX Runtime's on the file, in this process."""
    from onnxcam import Explainer
    from onnxcam.errors import InternalError, OnnxcamError, json_text
    from onnxcam.run.samples import sample_feeds

    try:
        explainer = Explainer(data, device="cpu", threads=1, cache=False)
        feeds = sample_feeds(explainer.model)
        x = feeds.pop(explainer.input.name)
        found = explainer(x, extra_inputs=feeds)
        for each in found if isinstance(found, list) else [found]:
            json_text(each.as_dict())
        return _held(data, explainer, {explainer.input.name: x, **feeds})
    except InternalError as error:
        return f"fault {str(error).partition('fault ')[2][:8]}: {error.message}"
    except OnnxcamError as error:
        return "refused" if "\n" not in str(error) and len(str(error)) < 1000 else "a long line"
    except BaseException as error:  # noqa: BLE001 - this is what is looked for
        return f"raises {type(error).__name__}: {error}"


def _held(data: bytes, explainer: object, feeds: dict[str, object]) -> str:
    from onnxcam.errors import OnnxcamError
    from onnxcam.run.agreement import farthest
    from onnxcam.run.session import Session

    model = explainer.model  # type: ignore[attr-defined]
    names = [p.name for p in model.outputs]
    try:
        want = Session(data, device="cpu", threads=1, optimise=False).run(feeds, names)  # type: ignore[arg-type]
    except OnnxcamError:
        return "not held"  # ONNX Runtime does not run the file itself
    got = Session(model, device="cpu", threads=1, optimise=False).run(feeds, names)  # type: ignore[arg-type]
    apart = farthest(got, want)
    return "right" if apart <= 2e-3 else f"differs by {apart:.2g}"


def smaller(data: bytes, kind: str, tries: int = 60) -> bytes:
    """Return a model with less in it of which the same comes."""
    import onnx

    try:
        model = onnx.ModelProto.FromString(data)
    except Exception:  # noqa: BLE001 - its bytes are the finding
        return data
    for part in ("value_info", "output", "initializer", "node"):
        for k in range(len(getattr(model.graph, part)) - 1, -1, -1):
            tries -= 1
            if tries < 0:
                return bytes(model.SerializeToString())
            less = onnx.ModelProto()
            less.CopyFrom(model)
            del getattr(less.graph, part)[k]
            if same(outcome(less.SerializeToString()), kind):
                model = less
    return bytes(model.SerializeToString())


def same(a: str, b: str) -> bool:
    """Tell whether two outcomes are of one kind."""
    return a.split(":", maxsplit=1)[0] == b.split(":", maxsplit=1)[0]


def seeds() -> list[bytes]:
    """Return the models that are damaged: small ones of the tests, by hand, and of models/."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support import nets

    files = [p.read_bytes() for p in sorted((ROOT / "models").rglob("*.onnx"))]
    made = [nets.cnn().SerializeToString(), nets.cnn(softmax=True).SerializeToString()]
    return [*made, *(data for data in files if len(data) < _SMALL)]


def fuzz(seconds: float, seed: int, count: int | None, findings: Path | None) -> Counter[str]:
    """Damage files for some time, or so many; return how often what came of them."""
    rng, given = random.Random(seed), seeds()
    import onnxcam.conversion
    import onnxcam.explain  # noqa: F401
    from onnxcam import methods

    methods.names()
    found: Counter[str] = Counter()
    ways: list[Callable[[bytes, random.Random], bytes]] = [of_structure, of_structure, of_bytes]
    end = time.monotonic() + seconds
    while time.monotonic() < end and (count is None or sum(found.values()) < count):
        data = rng.choice(ways)(rng.choice(given), rng)
        said = outcome(data)
        kind = said.split(":")[0]
        if kind not in FINE and not found[kind] and findings is not None:
            findings.mkdir(parents=True, exist_ok=True)
            least = smaller(data, said)
            name = hashlib.sha256(kind.encode()).hexdigest()[:8]
            (findings / f"{name}.onnx").write_bytes(least)
            (findings / f"{name}.txt").write_text(f"{said}\n", "utf-8")
        found[kind] += 1
    return found


def main() -> None:
    """Run it from the shell."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--findings", type=Path, default=None)
    args = parser.parse_args()
    found = fuzz(args.seconds, args.seed, args.count, args.findings)
    for kind, number in found.most_common():
        sys.stdout.write(f"{number:7d}  {kind}\n")
    sys.exit(1 if any(k not in FINE and not k.startswith("crash") for k in found) else 0)


if __name__ == "__main__":
    main()
