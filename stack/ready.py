"""Wait until URLs answer 200: ``python -m stack.ready [--timeout SECONDS] URL...``.

For containers whose image has nothing to ask itself with.
"""

from __future__ import annotations

import argparse
import functools
import sys

from stack.binaries import StackError
from stack.processes import wait_until
from stack.prometheus import answers


def main() -> int:
    """Return 0 when all answer, 1 when one has not in time."""
    parser = argparse.ArgumentParser(prog="python -m stack.ready", description="Wait until URLs answer 200.")
    parser.add_argument("--timeout", type=float, default=300.0, metavar="SECONDS", help="for each (default: 300)")
    parser.add_argument("urls", nargs="+", metavar="URL")
    options = parser.parse_args()
    try:
        for url in options.urls:
            wait_until(functools.partial(answers, url), url, options.timeout)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
