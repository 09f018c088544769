"""Write docs/kinds.md: every kind of model, target and method, and what comes of each.

python tools/kinds.py                    # runs all, minutes; writes docs/kinds.json, .md
python tools/kinds.py --kind CNN --kind "1-D"    # runs these anew, keeps the others
python tools/kinds.py --method rise      # runs this method anew, keeps the others
python tools/kinds.py --page             # writes the page alone
python tools/kinds.py --all              # every method at every target, an hour
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from kinds import detectors, networks
from kinds.asked import QUESTIONS
from kinds.cells import CORE, FULL, Subject, cells
from kinds.page import Results, counted, gathered, merged, page, wrong

from onnxcam import methods

ROOT = Path(__file__).resolve().parents[1]
DATA, PAGE = ROOT / "docs" / "kinds.json", ROOT / "docs" / "kinds.md"
KINDS = networks.KINDS
assert detectors


def ran(name: str, only: Sequence[str] = (), *, everything: bool = False) -> Results:
    """Return what comes of a kind; of some methods only where they are named."""
    subject, start = Subject(KINDS[name]()), time.monotonic()
    known, found = [n for n in methods.names() if not only or n in only], []
    for question in QUESTIONS:
        chosen = known if everything or question.name in CORE else [n for n in known if n in FULL]
        found += cells(subject, chosen, [question])
    results = gathered(found)
    spent = f"{time.monotonic() - start:.0f} s"
    sys.stderr.write(f"{name}: {counted(results)}, {spent}\n" + "".join(
        f"  {line}\n" for line in wrong(results)
    ))  # fmt: skip
    return results


def text(results: Results) -> str:
    """Return the page of results."""
    what = {name: make().what for name, make in KINDS.items()}
    ordered = {name: results[name] for name in KINDS if name in results}
    return page(ordered, what, CORE, FULL)


def main() -> int:
    """Run the cells, and write what came of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="run this one alone")
    parser.add_argument("--method", action="append", default=[], help="run this one alone")
    parser.add_argument("--page", action="store_true", help="run nothing, write the page")
    parser.add_argument("--all", action="store_true", help="every method at every target")
    args = parser.parse_args()
    torch.set_num_threads(1)
    results: Results = json.loads(DATA.read_text()) if DATA.is_file() else {}
    for name in [] if args.page else args.kind or list(KINDS):
        new = ran(name, args.method, everything=args.all)
        both = merged(results, new, args.method)
        results = {kind: both[kind] for kind in KINDS if kind in both}
        DATA.write_text(json.dumps(results, indent=0, ensure_ascii=False) + "\n")
    PAGE.write_text(text(results))
    left = wrong(results)
    sys.stderr.write("".join(f"{line}\n" for line in left))
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
