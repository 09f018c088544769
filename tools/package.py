"""Build the wheel and the sdist and look whether they may be published.

python tools/package.py              # builds into a folder that is removed, and checks
python tools/package.py -o dist      # keeps both archives

Needs the extra `dev`. What is held: twine and check-wheel-contents accept both; the wheel holds
nothing but the package, its licences and the demo, and stays small; `onnxcam demo` works from it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
MOST = 8_000_000  # bytes of an archive
KINDS = frozenset(".py .typed .png .onnx .toml .txt .html .css .js .json .npz".split())


def problems(wheel: Path) -> list[str]:
    """Return what a wheel should not hold, or how large it is where that is too large."""
    found = []
    if wheel.stat().st_size > MOST:
        found.append(f"{wheel.name} has {wheel.stat().st_size} bytes, more than {MOST}")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            top = name.split("/")[0]
            known = top.endswith(".dist-info") or (top == "onnxcam" and Path(name).suffix in KINDS)
            if not known or "node_modules" in name or "__pycache__" in name:
                found.append(f"{wheel.name} holds {name}")
    return found


def main() -> None:
    """Build and check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="where the archives are kept")
    kept = parser.parse_args().output
    with TemporaryDirectory(prefix="package-") as folder:
        place = kept or Path(folder) / "dist"
        _run("-m", "build", "-o", place, ROOT)
        archives = sorted(p for p in place.iterdir() if p.suffix in (".whl", ".gz"))
        _run("-m", "twine", "check", "--strict", *archives)
        wheel = next(p for p in archives if p.suffix == ".whl")
        _run("-m", "check_wheel_contents", wheel)
        wrong = problems(wheel)
        if archives[-1].stat().st_size > MOST:
            wrong.append(f"{archives[-1].name} is larger than {MOST} bytes")
        if wrong:
            sys.exit("\n".join(wrong))
        unpacked = Path(folder) / "wheel"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked)
        _run("-m", "onnxcam", "demo", "-o", Path(folder) / "demo.png", path=unpacked, cwd=folder)
        print(f"{', '.join(p.name for p in archives)}: fit to be published")


def _run(*words: str | Path, path: Path | None = None, cwd: str | None = None) -> None:
    environment = {**os.environ, **({} if path is None else {"PYTHONPATH": str(path)})}
    subprocess.run([sys.executable, *map(str, words)], check=True, env=environment, cwd=cwd)


if __name__ == "__main__":
    main()
