"""Build the documentation site, and look whether it may be shown.

python tools/make_site.py            # build/site, and what is wrong with it
python tools/make_site.py --axe      # also what axe-core finds, at the width of a phone and a desk
python tools/make_site.py --serve    # http://127.0.0.1:8000/

Needs the extra `docs`. What is held: mkdocs' own checks (`strict`), every link and anchor of every
page, nothing fetched from elsewhere when a page is read, every picture with a text for those who do
not see it. The notebooks are run, which takes most of the time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from pages import checks

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "build" / "site"


def main() -> int:
    """Run the tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--axe", action="store_true", help="also run axe-core in Chromium")
    parser.add_argument("--serve", action="store_true", help="serve the pages as they are written")
    asked = parser.parse_args()
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    mkdocs = [sys.executable, "-m", "mkdocs"]
    if asked.serve:
        return subprocess.run([*mkdocs, "serve"], cwd=ROOT, check=False).returncode
    subprocess.run([*mkdocs, "build", "--strict", "-q"], cwd=ROOT, env=environment, check=True)
    wrong = checks.problems(SITE)
    if asked.axe:
        wrong += checks.axe(SITE, checks.SHOWN)
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        return 1
    print(f"{SITE.relative_to(ROOT)}: {len(list(SITE.rglob('*.html')))} pages, nothing wrong")
    return 0


if __name__ == "__main__":
    sys.exit(main())
