"""Make the pictures that tests/output/test_golden.py holds figures against.

python tools/make_golden.py             # all of them
python tools/make_golden.py table side  # these

Look at what changed before it is committed.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "tests" / "output" / "golden"


def main() -> None:
    """Write the pictures."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.golden_cases import CASES

    asked = sys.argv[1:] or list(CASES)
    if unknown := set(asked) - CASES.keys():
        sys.exit(f"there is no case {', '.join(sorted(unknown))}: {', '.join(CASES)}")
    FOLDER.mkdir(exist_ok=True)
    for name in asked:
        CASES[name]().convert("RGB").save(FOLDER / f"{name}.png", optimize=True)
    for path in set(FOLDER.glob("*.png")) - {FOLDER / f"{name}.png" for name in CASES}:
        path.unlink()  # of a case that is gone


if __name__ == "__main__":
    main()
