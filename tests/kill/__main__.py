"""``python -m tests.kill [--rounds N] [--seed S] [--server NAME]``: kill workers at random, and count."""

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.kill.rounds import COMMANDS, run


def say(what):
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--server", choices=COMMANDS, default="uvicorn")
    given = parser.parse_args()
    say(f"{given.rounds} rounds under {given.server}, seed {given.seed}")
    with tempfile.TemporaryDirectory() as folder:
        tally = run(given.seed, given.rounds, Path(folder), given.server)
        say(tally)
        say(f"missing: {tally.missing}, at most {tally.under_way} in collections under way at a kill")
        wrong = tally.wrong()
        say("; ".join(wrong) or "none counted twice, no open stream missing")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
