"""`python -m docs.generator --out site`: build the documentation site."""

import argparse
import sys
from pathlib import Path

from docs.generator.site import SiteError, build


def main() -> int:
    """Build the site and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m docs.generator", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=Path("site"), help="the folder of the site, which is replaced")
    out = parser.parse_args().out
    try:
        count = build(out.resolve())
    except SiteError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{count} pages in {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
