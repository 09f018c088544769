"""Prepare a release: look whether it may be made, build its archives, write their hashes.

python tools/release.py 0.1.0           # checks, builds into dist/, writes dist/SHA256SUMS
python tools/release.py 0.1.0 --check   # only checks

It tags and uploads nothing. Before: the version in onnxcam/version.py without its `.dev0`, and the
heading `## [0.1.0] - 2026-12-01` in CHANGELOG.md, are committed, and `.ci/run` has passed. After:

    git tag -s v0.1.0 -m "onnxcam 0.1.0" && git push origin v0.1.0

The tag starts .github/workflows/release.yml, which builds the archives anew from it, attests where
they came from (Sigstore; `gh attestation verify FILE --repo onnxcam/onnxcam`) and publishes them as
a trusted publisher: no password is kept anywhere. Both builds have to have the same hashes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def problems(version: str, root: Path = ROOT, *, tagged: bool = False) -> Iterator[str]:
    """Yield what keeps a version from being released from a checkout.

    Args:
        version: Such as 0.1.0.
        root: The checkout.
        tagged: Whether it is that of the tag; else there shall be none yet.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version):
        yield f"{version} is no version of a release: 0.1.0, 0.1.0rc1"
    said = re.search(r'"([^"]+)"', (root / "onnxcam" / "version.py").read_text().split("=")[-1])
    if said is None or said[1] != version:
        yield f"onnxcam/version.py says {said and said[1]}"
    if not re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", _changes(root), re.M):
        yield f"CHANGELOG.md has no heading '## [{version}] - YYYY-MM-DD'"
    if _git(root, "status", "--porcelain"):
        yield "there are changes that are not committed"
    tags = _git(root, "tag", *(["--points-at", "HEAD"] if tagged else [])).split()
    if (f"v{version}" in tags) != tagged:
        yield f"the tag v{version} is {'not here' if tagged else 'there already'}"


def build(root: Path, out: Path) -> Path:
    """Build and check the archives, and return the file with their hashes.

    The time of the commit is that of all files in them, so that another build is the same.
    """
    when = _git(root, "log", "-1", "--format=%ct")
    subprocess.run(
        [sys.executable, root / "tools" / "package.py", "-o", out], check=True,
        env={**os.environ, "SOURCE_DATE_EPOCH": when},
    )  # fmt: skip
    archives = sorted(path for path in out.iterdir() if path.suffix in (".whl", ".gz"))
    sums = (f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in archives)
    written = out / "SHA256SUMS"
    written.write_text("".join(sums))
    return written


def _changes(root: Path) -> str:
    return (root / "CHANGELOG.md").read_text(encoding="utf-8")


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def main() -> int:
    """Run the tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("version")
    parser.add_argument("--check", action="store_true", help="build nothing")
    parser.add_argument("--tagged", action="store_true", help="the checkout is that of the tag")
    asked = parser.parse_args()
    wrong = list(problems(asked.version, tagged=asked.tagged))
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        return 1
    if not asked.check:
        print(build(ROOT, ROOT / "dist").read_text(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
