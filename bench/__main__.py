"""``python -m bench``: what a chunk, a request and an open stream cost, beside whoever else measures them."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from bench.measures import TINY, Sizes, run
from bench.page import text

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"


def main() -> int:
    """Measure, print and write the page; of tiny sizes, whose figures mean nothing, print only."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition(": ")[2])
    parser.add_argument("--tiny", action="store_true", help="see that everything runs; write nothing")
    tiny = parser.parse_args().tiny
    began = time.monotonic()
    page = text(run(TINY if tiny else Sizes()))
    print(page)
    if not tiny:
        PAGE.write_text(page)
    sys.stderr.write(f"{time.monotonic() - began:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
