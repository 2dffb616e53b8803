"""`python -m docs.generator --out site`: build the documentation site, or run its notebooks (`--run-notebooks`)."""

import argparse
import sys
from pathlib import Path

from docs.generator import notebooks
from docs.generator.site import SiteError, build


def main() -> int:
    """Build the site and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m docs.generator", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=Path("site"), help="the folder of the site, which is replaced")
    parser.add_argument(
        "--run-notebooks", action="store_true", help="run the notebooks and write their outputs instead"
    )
    arguments = parser.parse_args()
    if arguments.run_notebooks:
        print(f"written: {', '.join(notebooks.update())}")
        return 0
    out = arguments.out
    try:
        count = build(out.resolve())
    except SiteError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{count} pages in {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
