"""``python -m tests.chaos [--only WORDS] [--at-once N]``: disturb the pipeline, write docs/reliability.md."""

import argparse
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from tests.chaos import page
from tests.chaos.run import can_mount, one
from tests.chaos.scenarios import SCENARIOS


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="scenarios whose names have these words; other rows are left alone")
    parser.add_argument("--at-once", type=int, default=2)
    given = parser.parse_args()
    chosen = [scenario for scenario in SCENARIOS if given.only in scenario.name and (can_mount() or not scenario.disk)]
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(given.at_once, get_context("spawn")) as pool:
        rows = list(pool.map(partial(one, folder), chosen))
    page.write([row for row in rows if row])
    return not all(row and not row.wrong() for row in rows)


if __name__ == "__main__":
    sys.exit(main())
