"""Paired tests: two measurements of the same examples, and whether their difference is more than chance."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from xmodctl.core.errors import UserError
from xmodctl.evaluation.comparison import Comparison, Difference, Side
from xmodctl.evaluation.measurements import Measurement, coverage_notes, method, resampled
from xmodctl.evaluation.scoring_commands import scoring_command
from xmodctl.kinds import KINDS
from xmodctl.run.averaging import is_average_of
from xmodctl.statistics.intervals import contrast
from xmodctl.statistics.resampling import Scores
from xmodctl.statistics.significance import holm, mcnemar

INVERTED, MCNEMAR = "inverting the interval", "McNemar's mid-p test"
"""The names of the tests: the smallest significance level at which a difference's interval excludes 0, or McNemar's."""


@dataclass(frozen=True)
class Pair:
    """Two measurements of the same examples."""

    of: str  # a side's label
    against: str
    language: str  # its name in tables
    first: Measurement  # of the side `of`
    second: Measurement  # of the side `against`

    def __post_init__(self) -> None:
        """Refuse measurements of different examples.

        Raises:
            UserError: They are.
        """
        first, second = self.first.statistics[0], self.second.statistics[0]
        if first.gold == second.gold:
            return
        if self.first.n != self.second.n:
            reason = f"{self.second.n:,} rows in {self.against}, {self.first.n:,} in {self.of}"
        else:
            reason = "the ids differ" if first.ids != second.ids else "the gold answers differ"
        remedy = scoring_command(self.first.run.folder, self.second.rows)
        raise UserError(
            f"{self.language}: {self.against} and {self.of} were not scored on the same examples ({reason}); "
            f"score both on the same data: {remedy}; or exclude it with --langs all,-{self.language}"
        )

    def of_side(self, label: str) -> list[Measurement]:
        """Return the measurement of one side, if it is one of these two."""
        sides = ((self.of, self.first), (self.against, self.second))
        return [measurement for name, measurement in sides if name == label]

    @property
    def is_within_run(self) -> bool:
        """Whether both are of one run, so that a seed is the same model on both sides."""
        return self.first.run is self.second.run

    @property
    def has_one_plan(self) -> bool:
        """Whether two runs differ only in their seeds (and in where their data lies)."""
        return not self.is_within_run and self.first.run.follows_the_plan_of(self.second.run)

    def is_average_of_members(self) -> bool:
        """Whether the weights of one side are the mean of those of the other, and perhaps of further models."""
        sides = (self.first, self.second)
        return any(is_average_of(a.run, b.run, b.seeds) for a, b in (sides, sides[::-1]))

    def mcnemar_p(self) -> float | None:
        """Return McNemar's p-value if scores are shares of right examples and each side has one seed."""
        task = self.first.task
        is_share = KINDS[task.kind].headlines[task.headline].is_share
        if not is_share or len(self.first.seeds) > 1 or len(self.second.seeds) > 1:
            return None
        sides = (self.first, self.second)
        return mcnemar(*(side.metric(side.statistics[0].counts) == 100 for side in sides))

    def test(self, first: Scores, second: Scores) -> Difference:
        """Return the difference of the two scores."""
        p = self.mcnemar_p()
        difference = contrast(first, second, paired=self.is_within_run)
        return Difference(
            self.of,
            self.against,
            self.language,
            self.first.n,
            (first.value, second.value),
            difference.interval(),
            p=difference.p_value() if p is None else p,
            test=INVERTED if p is None else MCNEMAR,
            one_plan=self.has_one_plan,
        )


def compare_pairs(
    pairs: Sequence[Pair],
    sides: tuple[Side, ...],
    split: str,
    limit: int | None,
    notes: Sequence[str],
    *,
    seed: int,
    resamples: int,
) -> Comparison:
    """Test every pair and the means over languages, and correct for the number of tests.

    Args:
        pairs: What is compared.
        sides: The sides that they belong to.
        split: The split of all scores.
        limit: The `--limit` of all scores.
        notes: What you should know about the choice of scores.
        seed: The same seed gives the same intervals and p-values.
        resamples: The number of resamples.
    """
    measurements = list({id(each): each for pair in pairs for each in (pair.first, pair.second)}.values())
    drawn = resampled(measurements, seed=seed, resamples=resamples)
    scores = dict(zip(map(id, measurements), drawn, strict=True))
    by_labels = {labels: [pair for pair in pairs if (pair.of, pair.against) == labels]
                 for labels in dict.fromkeys((pair.of, pair.against) for pair in pairs)}  # fmt: skip
    averages = [labels for labels, chosen in by_labels.items() if all(pair.is_average_of_members() for pair in chosen)]
    notes = [*notes, *map(_average_note, averages)]
    trained = {label for labels in by_labels if labels not in averages for label in labels}
    vectors = [each.run.plan.vectors for each in measurements]
    if any(each is None or each.run for each in vectors):  # else nothing was trained
        notes += _seed_notes([side for side in sides if side.label in trained])
    if trained:
        notes += coverage_notes(drawn)
    differences: list[Difference] = []
    for labels, chosen in by_labels.items():
        both = [(scores[id(pair.first)], scores[id(pair.second)]) for pair in chosen]
        if labels in averages:
            both = [(first.as_one(), second.as_one()) for first, second in both]
        differences += _tested(chosen, both, notes)
    corrected = holm([difference.p for difference in differences])
    task = measurements[0].task
    tests = " and ".join(dict.fromkeys(difference.test for difference in differences))
    return Comparison(
        task=task.name,
        metric=task.headline,
        split=split,
        limited=limit,
        sides=sides,
        differences=tuple(
            replace(difference, p_corrected=p) for difference, p in zip(differences, corrected, strict=True)
        ),
        ci_method=f"{method(measurements, seed=seed, resamples=resamples, of_seeds=bool(trained))}; p by {tests}, "
        f"corrected for {len(differences)} tests by Holm",
        notes=tuple(notes),
    )


def _tested(pairs: Sequence[Pair], scores: Sequence[tuple[Scores, Scores]], notes: list[str]) -> list[Difference]:
    """Return the difference of each pair of two sides, and that of their means; a note says if there is none."""
    differences = [pair.test(*both) for pair, both in zip(pairs, scores, strict=True)]
    if len({(first.seeds, second.seeds) for first, second in scores}) > 1:
        sides = f"{pairs[0].of} and {pairs[0].against}"
        notes.append(f"{sides} have no mean, because not every language has scores with the same seeds")
    elif len(pairs) > 1:
        first, second = (Scores.mean(side) for side in zip(*scores, strict=True))
        differences.append(_mean_difference(pairs, first, second))
    return differences


def _mean_difference(pairs: Sequence[Pair], first: Scores, second: Scores) -> Difference:
    difference = contrast(first, second, paired=pairs[0].is_within_run)
    return Difference(
        pairs[0].of,
        pairs[0].against,
        None,
        sum(pair.first.n for pair in pairs),
        (first.value, second.value),
        difference.interval(),
        p=difference.p_value(),
        test=INVERTED,
        one_plan=pairs[0].has_one_plan,
    )


def _average_note(labels: tuple[str, str]) -> str:
    of, against = labels
    return (
        f"the weights of one of {against} and {of} are the mean of those of the other: the comparison is about these "
        "models, without the variance between trainings"
    )


def _seed_notes(sides: Sequence[Side]) -> list[str]:
    alone = [side.label for side in sides if len(side.seeds) == 1]
    if not alone:
        return []
    if len(alone) < len(sides):
        return [f"{' and '.join(alone)} has one seed: the variance between seeds is taken from the others"]
    return [
        "one seed per side: the comparison is about these particular models, and training again may change the scores "
        "by as much; to find out, train with finetune --seeds 1,2,3"
    ]
