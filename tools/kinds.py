"""Write docs/kinds.md: every kind of model, target and method, and what comes of each.

python tools/kinds.py                  # runs the cells that are missing: of new methods, targets
python tools/kinds.py --seconds 400    # and stops after a while; the next call goes on
python tools/kinds.py --anew           # runs all cells again, half an hour
python tools/kinds.py --kind CNN --target class --method rise    # runs these again
python tools/kinds.py --page           # writes the page alone
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from kinds import detectors, networks
from kinds.asked import QUESTIONS
from kinds.cells import cells
from kinds.found import FOUND
from kinds.page import page
from kinds.remembered import remember
from kinds.store import Results, counted, gathered, merged, missing, ordered, read, write, wrong
from kinds.subject import Subject

from onnxcam import methods

ROOT = Path(__file__).resolve().parents[1]
DATA, PAGE = ROOT / "docs" / "kinds.json", ROOT / "docs" / "kinds.md"
KINDS = networks.KINDS
ASKED = {question.name: question for question in (*QUESTIONS, *FOUND)}
assert detectors


def ran(name: str, wanted: Mapping[str, Sequence[str]]) -> Results:
    """Return what comes of a kind, by targets and their methods."""
    subject, start = Subject(KINDS[name]()), time.monotonic()
    found = [c for t, chosen in wanted.items() for c in cells(subject, chosen, [ASKED[t]])]
    results = gathered(found)
    spent = f"{time.monotonic() - start:.0f} s"
    sys.stderr.write(f"{name}: {counted(results)}, {spent}\n" + "".join(
        f"  {line}\n" for line in wrong(results)
    ))  # fmt: skip
    return results


def text(results: Results) -> str:
    """Return the page of results."""
    return page(results, {name: make().what for name, make in KINDS.items()})


def arguments() -> argparse.Namespace:
    """Return what is asked on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="run this again")
    parser.add_argument("--target", action="append", choices=list(ASKED), help="run this again")
    parser.add_argument("--method", action="append", help="run this again")
    parser.add_argument("--anew", action="store_true", help="run all cells again")
    parser.add_argument("--page", action="store_true", help="run nothing, write the page")
    parser.add_argument("--seconds", type=float, help="begin no other kind after this time")
    return parser.parse_args()


def main() -> int:
    """Run the cells, and write what came of them."""
    args, start = arguments(), time.monotonic()
    torch.set_num_threads(1)
    remember()
    known = tuple(methods.names())
    results: Results = {} if args.anew else read(DATA)
    again = args.kind or args.target or args.method
    for name in [] if args.page else args.kind or list(KINDS):
        wanted = missing(
            {} if again else results, name, args.target or list(ASKED), args.method or known
        )
        if args.seconds and time.monotonic() - start > args.seconds:
            break
        if wanted:
            new = ran(name, wanted)
            results = ordered(merged(results, new), list(KINDS), list(ASKED), known)
            write(DATA, results)
    PAGE.write_text(text(results))
    left = wrong(results)
    sys.stderr.write("".join(f"{line}\n" for line in left))
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
