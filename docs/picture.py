"""Draw a run's transfer table as the README's picture: python docs/picture.py RUN docs/transfer.svg."""

import io
import sys
from pathlib import Path

from rich.console import Console

from xmodctl.cli import display
from xmodctl.evaluation.measurements import with_intervals
from xmodctl.evaluation.results import read_rows, report
from xmodctl.run.run import Run


def main(folder: str, out: str) -> None:
    """Draw the table of a run's test rows through their own adapters."""
    run = Run.read(Path(folder))
    rows = [row for row in read_rows(run.results) if (row.split, row.control, row.limited) == ("test", "own", None)]
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True)
    display.draw(display.transfer_table(with_intervals(report(run.folder.name, rows), run, rows)), console)
    console.save_svg(out, title="xmodctl eval-transfer --langs @task")


if __name__ == "__main__":
    main(*sys.argv[1:])
