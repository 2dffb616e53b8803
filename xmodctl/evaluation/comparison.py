"""Comparisons as values: differences between runs, or between ways through one model, and verdicts in words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from xmodctl.evaluation.notebook import data_frame, html_table

if TYPE_CHECKING:
    import pandas

LEVEL = 0.05
"""A difference is significant if its corrected p-value is below this."""

CONTROL_LABELS = ("own", "source", "none")
"""The ways in which text can go through a run's model: its own adapter, and the controls of a sweep."""

MOST_NAMED = 8
"""The largest number of languages that a verdict names."""


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a run, or a way through a run's model."""

    label: str  # A, B, ...; or own, source, none
    name: str  # the run's folder, or what the label means
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Difference:
    """How far one side scores above another, in one language or on average."""

    of: str  # a side's label
    against: str
    language: str | None  # None: the unweighted mean over the languages compared
    n: int  # examples; of a mean, in all languages together
    values: tuple[float, float]  # `of` and `against`: means over seeds, percent
    ci: tuple[float, float]  # of the difference, points
    p: float
    test: str  # the test that gave `p`
    p_corrected: float = 1.0  # by Holm, over every difference of the comparison
    one_plan: bool = False  # the two runs differ only in their seeds

    @property
    def value(self) -> float:
        """`of` minus `against`, points."""
        return self.values[0] - self.values[1]

    @property
    def significant(self) -> bool:
        """Whether the examples make the difference unlikely to be chance.

        Where two runs differ only in their seeds, a difference is the chance of training by definition, and no p-value
        from one model per side can say how large that is. So such a difference is never significant.
        """
        return self.p_corrected < LEVEL and not self.one_plan


@dataclass(frozen=True, repr=False)
class Comparison:
    """Differences between two or more sides."""

    task: str
    metric: str
    split: str
    limited: int | None
    sides: tuple[Side, ...]
    differences: tuple[Difference, ...]  # pair by pair: languages, then their mean
    ci_method: str
    notes: tuple[str, ...] = ()
    data_set: str = ""  # which one, if there are scores on several
    others: "tuple[Comparison, ...]" = ()  # of the same sides, on other data

    def __repr__(self) -> str:
        """Return the comparison in short."""
        sides = " ".join(side.label for side in self.sides)
        significant = sum(difference.significant for difference in self.differences)
        return (
            f"<Comparison {self.task} {self.split}, {self.metric}, {sides}: "
            f"{significant} of {len(self.differences)} differences significant>"
        )

    def _repr_html_(self) -> str:
        columns = ("sides", "language", "n", self.metric, "against", "difference", "95% interval", "corrected p")
        lines = [
            (
                f"{difference.of} minus {difference.against}",
                difference.language or "mean over languages",
                f"{difference.n:,}",
                f"{difference.values[0]:.1f}",
                f"{difference.values[1]:.1f}",
                f"{difference.value:+z.1f}",
                f"{difference.ci[0]:+z.1f} to {difference.ci[1]:+z.1f}",
                f"{difference.p_corrected:.3f}",
            )
            for difference in self.differences
        ]
        sides = [f"{side.label}: {side.name}" for side in self.sides]
        return html_table(f"{self.task}, {self.split}", columns, lines, [*sides, *self.verdicts, *self.notes])

    def to_frame(self) -> "pandas.DataFrame":
        """Return one row per difference as a pandas data frame."""
        return data_frame(
            {
                "of": difference.of,
                "against": difference.against,
                "language": difference.language,
                "n": difference.n,
                "value": difference.value,
                "ci_low": difference.ci[0],
                "ci_high": difference.ci[1],
                "p": difference.p,
                "p_corrected": difference.p_corrected,
                "significant": difference.significant,
            }
            for difference in self.differences
        )

    @property
    def pairs(self) -> dict[tuple[str, str], tuple[Difference, ...]]:
        """The differences of each pair of sides."""
        pairs: dict[tuple[str, str], tuple[Difference, ...]] = {}
        for difference in self.differences:
            labels = difference.of, difference.against
            pairs[labels] = (*pairs.get(labels, ()), difference)
        return pairs

    @property
    def verdicts(self) -> tuple[str, ...]:
        """One or two sentences per pair; runs go by their letters, ways through a model by their names."""
        names = {side.label: side.name if side.label in CONTROL_LABELS else side.label for side in self.sides}
        return tuple(
            _verdict(names[of], names[against], differences) for (of, against), differences in self.pairs.items()
        )

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as plain JSON values, with verdicts."""
        value = asdict(self)
        for entry, difference in zip(value["differences"], self.differences, strict=True):
            entry |= {"value": difference.value, "significant": difference.significant}
        others = [other.to_json() for other in self.others]
        return {**value, "others": others, "verdicts": list(self.verdicts)}


def _verdict(of: str, against: str, differences: Sequence[Difference]) -> str:
    """Return in words what the tests show."""
    mean = next((difference for difference in differences if difference.language is None), None)
    if differences[0].one_plan:
        text = (
            f"{_capitalized(of)} and {against} have the same plan and differ only in their seeds: the differences "
            "between them are random variation of training, and none counts as significant"
        )
        return text + (f"; on average, the difference is {mean.value:+z.1f} points." if mean else ".")
    text = _verdict_by_language(of, against, [row for row in differences if row.language is not None])
    if mean:
        low, high = mean.ci
        p = "below 0.001" if mean.p_corrected < 0.001 else f"{mean.p_corrected:.3f}"
        higher = of if mean.value > 0 else against
        finding = f"{higher} is significantly higher" if mean.significant else "not significantly different"
        text += f". On average {mean.value:+z.1f} points ({low:+z.1f} to {high:+z.1f}; corrected p {p}): {finding}"
    return text + "."


def _verdict_by_language(of: str, against: str, differences: Sequence[Difference]) -> str:
    """Return in how many languages one side scores significantly higher, and in how many lower."""
    count = len(differences)
    higher, lower = (
        [str(row.language) for row in differences if row.significant and row.value * sign > 0] for sign in (1, -1)
    )
    if not higher and not lower:
        where = "in any language" if count > 1 else f"in {differences[0].language}"
        return f"{_capitalized(of)} and {against} are not significantly different {where}"
    text = (
        f"{_capitalized(of)} scores significantly higher than {against} in {_counted(higher, count)} "
        f"and lower in {_counted(lower, count)}"
    )
    rest = count - len(higher) - len(lower)
    return text + (f"; {rest} {'is' if rest == 1 else 'are'} not significantly different" if rest else "")


def _counted(languages: Sequence[str], count: int) -> str:
    if not languages:
        return "none"
    if count == 1:
        return languages[0]
    names = f" ({', '.join(languages)})" if len(languages) <= MOST_NAMED else ""
    return f"{len(languages)} of {count} languages{names}"


def _capitalized(text: str) -> str:
    return text[0].upper() + text[1:]
