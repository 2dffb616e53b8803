"""How often the intervals of `xmodctl.statistics` cover the true value, by simulation: `python -m bench.coverage`.

An example has a hardness, which is normally distributed and the same for every model; a model gets an example right
if its ability exceeds the sum of that hardness and noise of its own. Abilities differ between seeds. The true value is
the mean over all seeds, or, with one seed, the expected score of this model. As models are independent given the
hardness, the number of examples that each combination of models gets right is one multinomial draw.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from statistics import NormalDist

import numpy as np
from scipy.special import ndtr

from xmodctl.catalog import catalog as library
from xmodctl.kinds import KINDS
from xmodctl.kinds.scoring import headline_interval
from xmodctl.statistics.intervals import contrast_of_shares, share_interval
from xmodctl.statistics.resampling import Floats
from xmodctl.statistics.significance import mcnemar

EXAMPLES = (20, 100, 1000, 5000)
SCORES = (50.0, 80.0, 95.0, 99.5)
SETTINGS = ((0.0, 0.8), (1.0, 0.3), (1.0, 0.8), (3.0, 0.6))
"""The standard deviation between seeds, in points, and the share of the hardness that all models have in common."""

PAIRS = (5, 10, 20, 50)
CORRELATIONS = (0.0, 0.5, 0.9)
VARIABLES = ("normal variables", "gold of six values", "heavy tails")

POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(32)


@dataclass(frozen=True)
class Design:
    """What is simulated: a score, or the difference of two."""

    title: str
    seeds: tuple[int, ...]  # of each side
    languages: int = 1
    paired: bool = False  # whether both sides are the same models

    @property
    def is_difference(self) -> bool:
        """Whether there are two sides."""
        return len(self.seeds) == 2


DESIGNS = (
    *(Design("score", (seeds,)) for seeds in (1, 2, 3, 4, 5)),
    *(Design("mean of 15 languages", (seeds,), 15) for seeds in (1, 2, 3, 5)),
    *(Design("difference of two runs", seeds) for seeds in ((1, 1), (2, 2), (3, 3), (5, 5), (1, 3))),
    *(Design("the same, mean of 15 languages", seeds, 15) for seeds in ((1, 1), (2, 2), (3, 3), (5, 5))),
    *(Design("difference within a run", (seeds, seeds), paired=True) for seeds in (2, 3, 5)),
)


@dataclass(frozen=True)
class Cell:
    """One simulation."""

    examples: int
    score: float  # percent
    deviation: float  # between seeds, points
    common: float


@dataclass(frozen=True)
class Models:
    """Models of the seeds of both sides, before they are scored."""

    abilities: Floats  # (seeds of all sides,)
    common: float

    @property
    def right(self) -> Floats:
        """The probability that each model is right on an example of each hardness, shape (hardnesses, models)."""
        hardness = np.sqrt(self.common) * POINTS[:, np.newaxis]
        return np.asarray(ndtr((self.abilities - hardness) / np.sqrt(1 - self.common)))

    @property
    def expected(self) -> Floats:
        """The expected score of each model, as a share."""
        return WEIGHTS @ self.right / WEIGHTS.sum()

    def scored(self, draw: np.random.Generator, examples: int, languages: int) -> tuple[Floats, Floats]:
        """Return scores as shares, and the covariance that resamples of the examples estimate."""
        right, models = self.right, len(self.abilities)
        weights = WEIGHTS[:, np.newaxis] / WEIGHTS.sum()
        for model in range(models):  # a column for each combination of right and wrong
            share = right[:, model : model + 1]
            weights = np.concatenate([weights * (1 - share), weights * share], axis=1)
        probabilities = weights.sum(axis=0)
        patterns = patterns_of(models)
        times = draw.multinomial(examples, probabilities / probabilities.sum(), size=languages) / examples
        shares = times @ patterns
        both = patterns.T @ (times.sum(axis=0)[:, np.newaxis] * patterns)
        return shares.mean(axis=0), (both - shares.T @ shares) / examples / languages**2


@cache
def patterns_of(models: int) -> Floats:
    """Return every combination of which models are right, shape (combinations, models)."""
    return ((np.arange(2**models)[:, np.newaxis] >> np.arange(models)) & 1).astype(np.float64)


def trained(draw: np.random.Generator, design: Design, cell: Cell) -> Models:
    """Return models whose seeds differ; the mean over all seeds is the score of the cell."""
    normal = NormalDist()
    mean = normal.inv_cdf(cell.score / 100)
    deviation = cell.deviation / 100 / normal.pdf(mean)
    shape = design.seeds[:1] if design.paired else (sum(design.seeds),)
    abilities = mean * np.sqrt(1 + deviation**2) + deviation * draw.standard_normal(shape)
    return Models(np.tile(abilities, 2) if design.paired else abilities, cell.common)


def is_covered(draw: np.random.Generator, design: Design, cell: Cell) -> bool:
    """Return whether one interval covers the true value; both sides of a difference are equally good on average."""
    models = trained(draw, design, cell)
    observed, covariance = models.scored(draw, cell.examples, design.languages)
    count, first = cell.examples * design.languages, design.seeds[0]
    if not design.is_difference:
        truth = models.expected[0] if first == 1 else cell.score / 100
        low, high = share_interval(observed, covariance, count)
        return bool(low <= truth <= high)
    truth = float(models.expected[0] - models.expected[1]) if design.seeds == (1, 1) else 0.0
    difference = contrast_of_shares(
        observed[:first], observed[first:], covariance, (count, count), paired=design.paired
    )
    low, high = difference.interval()
    return bool(low <= 100 * truth <= high)


def is_false_positive(draw: np.random.Generator, cell: Cell) -> bool:
    """Return whether McNemar's test of two equally good models is significant."""
    models = trained(draw, Design("", (1, 1)), Cell(cell.examples, cell.score, 0.0, cell.common))
    (first, second), covariance = models.scored(draw, cell.examples, 1)
    both = round((covariance[0, 1] * cell.examples + first * second) * cell.examples)
    right = round(first * cell.examples), round(second * cell.examples)
    only = right[0] - both, right[1] - both
    return mcnemar([True] * only[0] + [False] * only[1], [False] * only[0] + [True] * only[1]) < 0.05


def cells(design: Design, examples: int, score: float) -> Iterator[Cell]:
    """Return the settings that are possible: where the mean over seeds is 99.5, they differ by 0.3 points at most."""
    for deviation, common in SETTINGS:
        if deviation and max(design.seeds) == 1:
            continue
        yield Cell(examples, score, min(deviation, 0.6 * (100 - score)), common)


def coverage(design: Design, cell: Cell, replications: int, seed: int = 0) -> float:
    """Return the share of intervals that cover the true value, in percent."""
    draw = np.random.default_rng([seed, cell.examples, *design.seeds, design.languages])
    return 100 * sum(is_covered(draw, design, cell) for _ in range(replications)) / replications


def row(design: Design, scores: Sequence[float], replications: int) -> tuple[str, list[float]]:
    """Return a row of a table, and what was measured."""
    texts, measured = [], []
    for examples in EXAMPLES:
        values = [coverage(design, cell, replications) for score in scores for cell in cells(design, examples, score)]
        texts.append(f"{np.mean(values):.1f} ({min(values):.1f}-{max(values):.1f})")
        measured += values
    seeds = " and ".join(map(str, design.seeds[:1] if design.paired else design.seeds))
    return f"| {design.title} | {seeds} | " + " | ".join(texts) + " |", measured


def print_header(first: str) -> None:
    """Print the first lines of a table."""
    print(f"\n| {first} | " + " | ".join(f"n = {examples:,}" for examples in EXAMPLES) + " |")
    print("|" + "---|" * (len(EXAMPLES) + 1 + first.count("|")), flush=True)


def pairs_of(draw: np.random.Generator, variables: str, rows: int, correlation: float) -> Floats:
    """Return pairs of gold and predicted numbers, shape (rows, 2); `correlation` is that of the normal variables."""
    pairs = draw.standard_normal((rows, 2))
    pairs[:, 1] = correlation * pairs[:, 0] + np.sqrt(1 - correlation**2) * pairs[:, 1]
    if variables == "gold of six values":
        pairs[:, 0] = np.clip(np.round(pairs[:, 0] + 2.5), 0, 5)
    if variables == "heavy tails":  # Student's t with 5 degrees of freedom
        pairs /= np.sqrt(draw.chisquare(5, (rows, 1)) / 5)
    return pairs


def print_correlations(replications: int) -> None:
    """Print how often the interval of one model's correlation covers the true one."""
    print("\n| correlation of pairs | true value | " + " | ".join(f"n = {rows}" for rows in PAIRS) + " |")
    print("|" + "---|" * (len(PAIRS) + 2), flush=True)
    for metric in ("pearson", "spearman"):
        task = library.task("regression").with_values({"metric": metric}, origin="the benchmark")
        kind = KINDS[task.kind]
        for variables, correlation in product(VARIABLES, CORRELATIONS):
            draw = np.random.default_rng([len(metric), VARIABLES.index(variables), int(10 * correlation)])
            gold, predicted = pairs_of(draw, variables, 400_000, correlation).T
            statistics = kind.statistics(gold, predicted, task, "en")
            truth = float(kind.metrics(statistics.sum(axis=0), task)[metric])
            texts = []
            for rows in PAIRS:
                covered = 0
                for _ in range(replications):
                    gold, predicted = pairs_of(draw, variables, rows, correlation).T
                    interval = headline_interval(kind, task, kind.statistics(gold, predicted, task, "en"))
                    covered += interval.low <= truth <= interval.high
                texts.append(f"{100 * covered / replications:.1f}")
            print(f"| {metric.title()}, {variables} | {truth / 100:.2f} | " + " | ".join(texts) + " |", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print tables of coverage, and how often McNemar's test is significant for two equally good models."""
    parser = argparse.ArgumentParser(prog="python -m bench.coverage", description=__doc__)
    parser.add_argument("--replications", default=500, type=int, help="intervals per cell (default: %(default)s)")
    parser.add_argument("--only", choices=("scores", "correlations"), help="only these tables (default: all)")
    options = parser.parse_args(arguments)
    if options.only != "scores":
        print_correlations(options.replications)
    if options.only == "correlations":
        return 0
    for scores in (SCORES[:-1], SCORES[-1:]):
        measured: list[float] = []
        print_header(f"scores of {', '.join(f'{score:g}' for score in scores)} %: interval of | seeds")
        for design in DESIGNS:
            text, values = row(design, scores, options.replications)
            measured += values
            print(text, flush=True)
        inside = sum(93 <= value <= 97 for value in measured)
        below = sum(value < 93 for value in measured)
        print(f"\nOf {len(measured):,} cells, {inside:,} are covered in 93 to 97% and {below:,} in fewer.")
    print_header("McNemar's test of equally good models, p < 0.05, in %: score")
    for score in SCORES:
        shares = []
        for examples in EXAMPLES:
            draw = np.random.default_rng(examples)
            cell = Cell(examples, score, 0.0, 0.6)
            positive = sum(is_false_positive(draw, cell) for _ in range(options.replications))
            shares.append(f"{100 * positive / options.replications:.1f}")
        print(f"| {score:g} | " + " | ".join(shares) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
