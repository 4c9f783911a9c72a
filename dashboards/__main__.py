"""``python -m dashboards``: write the dashboards and the rules, or (``--check``) say whether they are up to date."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dashboards import flow, forensics, overview, rules, slo, trust

if TYPE_CHECKING:
    from collections.abc import Sequence

OUT = Path(__file__).parent / "out"
DASHBOARDS = (overview, slo, flow, forensics, trust)
"""One module each, with its ``UID`` and ``build()``: a further dashboard is one more name here."""


def generate() -> dict[str, str]:
    """Every file that belongs into the folder, by its path there."""
    return {f"{module.UID}.json": module.build() for module in DASHBOARDS} | rules.build()


def write(folder: Path) -> None:
    """Bring the folder up to date: what no module makes any more goes."""
    folder.mkdir(parents=True, exist_ok=True)
    files = generate()
    for stale in drifted(folder):
        if str(stale.relative_to(folder)) not in files:
            stale.unlink()
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")


def drifted(folder: Path) -> list[Path]:
    """Files that are missing, differ or should not be there."""
    files = generate()
    present = {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.suffix in {".json", ".yaml"}
    }
    return [folder / name for name in sorted(files.keys() | present.keys()) if files.get(name) != present.get(name)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    what = "Generate the Grafana dashboards and the rules of Prometheus."
    parser = argparse.ArgumentParser(prog="python -m dashboards", description=what)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is out of date")
    parser.add_argument(
        "--out", type=Path, default=OUT, metavar="FOLDER", help="where they go (default: dashboards/out)"
    )
    options = parser.parse_args(argv)
    if options.out.exists() and not options.out.is_dir():
        parser.error(f"argument --out: {options.out} is not a folder")
    if not options.check:
        write(options.out)
        return 0
    out_of_date = drifted(options.out)
    for path in out_of_date:
        print(f"{path}: not what the code generates", file=sys.stderr)
    if out_of_date:
        print("run `python -m dashboards` and commit the result", file=sys.stderr)
    return bool(out_of_date)


if __name__ == "__main__":
    sys.exit(main())
