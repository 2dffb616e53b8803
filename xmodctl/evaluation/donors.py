"""Which adapter to lend to a language that has none: texts of several languages, each through several adapters."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from xmodctl.evaluation.comparison import LEVEL, Pair
from xmodctl.evaluation.measurements import Measurement, by_way, has_own, method, resampled
from xmodctl.evaluation.results import Row
from xmodctl.run.run import Run
from xmodctl.statistics.significance import TEST_RESAMPLES, holm


@dataclass(frozen=True)
class Cell:
    """The score of one language's text through one adapter."""

    language: str
    adapter: str | None  # None is no adapter
    n: int
    values: tuple[float, ...]  # one a seed, percent
    own: bool  # whether the adapter is the language's own

    @property
    def mean(self) -> float:
        """Mean over seeds, percent."""
        return sum(self.values) / len(self.values)


@dataclass(frozen=True)
class Donor:
    """The best of the other languages' adapters for a language."""

    language: str
    adapter: str
    alike: tuple[str | None, ...]  # other donors, or no adapter, that the examples do not tell from it


@dataclass(frozen=True)
class DonorMatrix:
    """Languages of text against adapters."""

    run: str
    task: str
    metric: str
    split: str
    limited: int | None
    seeds: tuple[int, ...]
    languages: tuple[str, ...]
    adapters: tuple[str | None, ...]
    cells: tuple[Cell, ...]
    donors: tuple[Donor, ...]
    method: str

    def cell(self, language: str, adapter: str | None) -> Cell | None:
        """Return one score, if it was measured."""
        return next((one for one in self.cells if (one.language, one.adapter) == (language, adapter)), None)

    def donor(self, language: str) -> Donor | None:
        """Return the best donor of a language, if any was measured."""
        return next((one for one in self.donors if one.language == language), None)

    def to_json(self) -> dict[str, Any]:
        """Return the matrix as plain JSON values, means included."""
        value = asdict(self)
        for told, cell in zip(value["cells"], self.cells, strict=True):
            told["mean"] = cell.mean
        return value


def donor_matrix(run: Run, rows: Sequence[Row], *, seed: int = 0, resamples: int = TEST_RESAMPLES) -> DonorMatrix:
    """Gather scores into a matrix and name the best donor of each language.

    A donor is alike if its paired difference to the best is no more than chance explains, after Holm's correction for
    the language's other donors. The best was chosen on these very examples, so its score flatters it a little.

    Args:
        run: The run that was scored.
        rows: Rows of one split and limit, through adapters (`own`) and through none.
        seed: The same seed gives the same p-values.
        resamples: How many resamples these come from.

    Raises:
        UserError: Predictions are missing or changed, or a language's rows are not of the same examples.
    """
    task = run.plan.task
    ways = by_way(row for row in rows if row.control != "source")
    seeds = {
        language: set.intersection(*({row.seed for row in found} for key, found in ways.items() if key[0] == language))
        for language, *_ in ways
    }
    measured = {
        (language, adapter): Measurement.load(run, mine)
        for (language, adapter, _), found in ways.items()
        if (mine := [row for row in found if row.seed in seeds[language]])
    }
    scores = dict(zip(measured, resampled([*measured.values()], seed=seed, resamples=resamples), strict=True))
    cells = tuple(
        Cell(
            language,
            adapter,
            one.n,
            tuple(scores[language, adapter].observed.tolist()),
            has_own(language, adapter, task),
        )
        for (language, adapter), one in measured.items()
    )
    languages = tuple(dict.fromkeys(cell.language for cell in cells))

    def donor(language: str) -> Donor | None:
        strange = [cell for cell in cells if cell.language == language and not cell.own]
        lent = [cell for cell in strange if cell.adapter]
        if not lent:
            return None
        best = max(lent, key=lambda cell: cell.mean)
        others = [cell.adapter for cell in strange if cell != best]
        first = (language, best.adapter)
        tests = [
            Pair(str(best.adapter), str(other), language, measured[first], measured[language, other]).test(
                scores[first], scores[language, other], seed
            )
            for other in others
        ]
        corrected = holm([one.p for one in tests])
        alike = tuple(other for other, p in zip(others, corrected, strict=True) if p >= LEVEL)
        return Donor(language, str(best.adapter), alike)

    return DonorMatrix(
        run=str(run.folder),
        task=task.name,
        metric=task.headline,
        split=rows[0].split,
        limited=rows[0].limited,
        seeds=tuple(sorted({row.seed for row in rows})),
        languages=languages,
        adapters=tuple(dict.fromkeys(cell.adapter for cell in cells)),
        cells=cells,
        donors=tuple(found for language in languages if (found := donor(language))),
        method=method([*measured.values()], seed=seed, resamples=resamples),
    )
