"""Whether the ranking of `sources` agrees with measured transfer: targets of one source, beside a published table.

    python -m bench.sources mini-wikiann --data DIR

The table (`xmodctl reproduce` lists them) has one source. Its share of the nearest texts of each target, which is what
`xmodctl sources` ranks candidates by, is set beside the score that was measured after training in it. Prints one line
per target, and Spearman's correlation with its bootstrap interval over targets.
"""

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xmodctl import sources
from xmodctl.catalog.catalog import published_table
from xmodctl.catalog.table import PublishedTable


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ranks of values; equal values share their mean rank."""
    return np.array([(values < value).sum() + ((values == value).sum() - 1) / 2 for value in values])


def spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return Spearman's correlation; 0 where one side does not vary."""
    sides = ranks(first), ranks(second)
    return float(np.corrcoef(*sides)[0, 1]) if all(side.std() for side in sides) else 0.0


def show_agreement(
    table: PublishedTable, targets: Sequence[str], predicted: NDArray[np.float64], *, digits: int
) -> None:
    """Print what is predicted of each target beside its measured score, with both ranks, and their correlation.

    Args:
        table: The measured scores.
        targets: Its languages without the source.
        predicted: What each target is ranked by, the best highest.
        digits: The decimal places that are printed of it.
    """
    measured = np.array([np.mean(table.scores[target]) for target in targets])
    places = (ranks(-predicted) + 1, ranks(-measured) + 1)
    for number in np.argsort(-predicted):
        row = (targets[number], f"{predicted[number]:.{digits}f}", f"{places[0][number]:g}")
        print(*row, f"{measured[number]:.1f}", f"{places[1][number]:g}", sep="\t")
    draws = np.random.default_rng(0).integers(0, len(targets), (2_000, len(targets)))
    low, high = np.percentile([spearman(predicted[draw], measured[draw]) for draw in draws], [2.5, 97.5])
    print(f"Spearman {spearman(predicted, measured):.2f} ({low:.2f} to {high:.2f}), {len(targets)} targets")


def main() -> None:
    """Print the table and the correlation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table")
    parser.add_argument("--data", required=True)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--layer", type=int)
    options = parser.parse_args()
    table = published_table(options.table)
    source = table.trained_in
    targets = [language for language in table.scores if language != source]
    ranking = sources(
        targets, task=table.task, candidates=[*table.scores], model="mini", data=options.data, rows=options.rows,
        layer=options.layer, listen=lambda _: None,
    )  # fmt: skip
    predicted = np.array(
        [next(each.share for each in ranking.targets[target] if each.language == source) for target in targets]
    )
    show_agreement(table, targets, predicted, digits=1)


if __name__ == "__main__":
    main()
