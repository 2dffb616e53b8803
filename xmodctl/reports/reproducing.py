"""`reproduce`: does a run give the scores of a published table, within what seeds and test rows explain?"""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xmodctl.catalog import catalog
from xmodctl.catalog.recipe import DESCRIBING, Recipe
from xmodctl.catalog.table import PublishedTable
from xmodctl.core.errors import UserError
from xmodctl.core.messages import counted
from xmodctl.core.requests import command
from xmodctl.evaluation.notebook import html_table
from xmodctl.evaluation.results import Row, own_rows, report
from xmodctl.evaluation.scoring_commands import scoring_others
from xmodctl.languages import same
from xmodctl.reports.gathering import rows_of_one_data_set
from xmodctl.reports.notes import Notes
from xmodctl.run.loading import find_run
from xmodctl.statistics.student import t_quantile

if TYPE_CHECKING:
    from xmodctl.run.run import Run

REPRODUCED, LOWER, HIGHER, MISSING = "reproduced", "lower", "higher", "not scored"
"""The verdicts."""
TAIL = 0.025


@dataclass(frozen=True)
class ReproduceRequest:
    """Which published table is compared with which run.

    Args:
        table: A shipped table, or the path of a YAML file.
        run: A run or its folder; without one, only the commands that train and score are returned.
    """

    table: str | Path
    _: KW_ONLY
    run: "Run | str | Path | None" = None


@dataclass(frozen=True)
class Verdict:
    """The published score of one language, or the mean over languages, beside that of the run."""

    language: str | None  # None: the mean over the languages that both have
    published: float  # percent, mean over seeds
    value: float | None  # of the run
    tolerance: float | None  # points: a difference up to this is what seeds and test rows explain in 95% of cases
    verdict: str

    @property
    def difference(self) -> float | None:
        """The run's score minus the published one, points."""
        return None if self.value is None else self.value - self.published


@dataclass(frozen=True, repr=False)
class Reproduction:
    """A published table beside a run."""

    table: str
    title: str
    source: str
    metric: str
    commands: tuple[str, ...]
    run: str | None
    seeds: tuple[int, int] | None  # of the table and of the run
    seed_sd: float | None  # points between seeds, pooled over languages; None where neither has two seeds
    verdicts: tuple[Verdict, ...]  # languages in the table's order, then the mean
    expected: int  # verdicts outside the tolerance that chance explains in 95% of cases
    notes: tuple[str, ...]
    rest: str = ""  # the command that scores the missing languages

    def __repr__(self) -> str:
        return f"<Reproduction {self.table}: {self.conclusion}>"

    def _repr_html_(self) -> str:
        columns = ("language", "published", "run", "difference", "tolerance", "verdict")
        return html_table(self.heading, columns, list(map(written, self.verdicts)), [self.conclusion, *self.notes])

    @property
    def heading(self) -> str:
        """What is compared with what, in one line."""
        if self.seeds is None:
            return self.title
        table, run = (counted(count, "seed") for count in self.seeds)
        return f"{self.title} ({table}), in percent, against {self.run} ({run})"

    @property
    def outside(self) -> int:
        """The number of languages outside their tolerance."""
        return sum(each.language is not None and each.verdict in (LOWER, HIGHER) for each in self.verdicts)

    @property
    def missing(self) -> tuple[str, ...]:
        """The languages of the table of which the run has no scores."""
        return tuple(each.language for each in self.verdicts if each.language and each.verdict == MISSING)

    @property
    def is_reproduced(self) -> bool | None:
        """Whether all languages are scored, the mean is within its tolerance, and no more are outside than by chance.

        None where no run was compared.
        """
        if not self.verdicts:
            return None
        return not self.missing and self.verdicts[-1].verdict == REPRODUCED and self.outside <= self.expected

    @property
    def conclusion(self) -> str:
        """The result in one sentence."""
        if not self.verdicts:
            return "no run was compared"
        languages = [each for each in self.verdicts if each.language]
        compared = len(languages) - len(self.missing)
        mean = "" if self.verdicts[-1].language else f"the mean is {self.verdicts[-1].verdict}, and "
        are = "languages are outside their" if compared > 1 else "language is outside its"
        result = f"{mean}{self.outside} of {compared} {are} tolerance (up to {self.expected} are expected by chance)"
        if self.missing:
            return f"incomplete, {compared} of {len(languages)} languages are scored: {result}"
        return f"{'reproduced' if self.is_reproduced else 'not reproduced'}: {result}"

    def to_json(self) -> dict[str, Any]:
        """Return the values as plain JSON, with the conclusion."""
        value = asdict(self)
        for entry, verdict in zip(value["verdicts"], self.verdicts, strict=True):
            entry["difference"] = verdict.difference
        return {**value, "reproduced": self.is_reproduced, "conclusion": self.conclusion}


@command(ReproduceRequest)
def reproduce(request: ReproduceRequest) -> Reproduction:
    """Compare a run with a published table, language by language, or say with which commands to train one.

    No model is loaded. The tolerance of a language is 1.96 standard errors of the difference: those of the means over
    seeds, with the standard deviation between seeds pooled over languages, and that of one test set.

    Raises:
        UserError: There is no such table, or the run is of another task or metric, or has no scores of the languages.
    """
    table = catalog.published_table(str(request.table))
    if request.run is None:
        needed = (*table.notes, *filter(None, [table.rows_note]))
        return Reproduction(
            table.name, table.title, table.source, table.metric, table.commands, None, None, None, (), 0, needed
        )
    run = find_run(request.run)
    for fact, expected, actual in (
        ("task", table.task, run.plan.task.name), ("metric", table.metric, run.plan.task.headline),
    ):  # fmt: skip
        if expected != actual:
            raise UserError(f"the {fact} of {run.folder} is {actual}, that of the table {table.name} is {expected}")
    notes = Notes()
    rows = own_rows(rows_of_one_data_set(run, table.split, notes, is_split_an_option=False))
    matched = {
        language: next((each for code, each in rows.items() if same(code, language)), None) for language in table.scores
    }
    scored = {language: each for language, each in matched.items() if each}
    example = next(iter([*scored.values(), *rows.values()]))[0]
    missing = [language for language in table.scores if language not in scored]
    rest = scoring_others(run.folder, example, missing, limited=example.limited) if missing else ""
    if not scored:
        languages = ", ".join(table.scores)
        raise UserError(f"{run.folder} has scores of none of the table's languages: {languages}; score them: {rest}")
    _note_differences(table, run, scored, notes)
    sd = _seed_sd([*table.scores.values(), *([row.value for row in each] for each in scored.values())])
    if sd is None:
        notes.add(
            "neither has two seeds, so the tolerance reflects only the test rows and is too small; train several seeds"
        )
    verdicts = [_verdict(table, language, matched[language], sd) for language in table.scores]
    seeds = table.seeds, max(len(each) for each in scored.values())
    if len(scored) > 1:
        verdicts.append(_mean(table, scored, sd, is_parallel=run.plan.task.parallel))
    return Reproduction(
        table.name, table.title, table.source, table.metric, table.commands, str(run.folder), seeds, sd,
        tuple(verdicts), _by_chance(len(scored)), (*table.notes, *notes.lines), rest,
    )  # fmt: skip


def _note_differences(table: PublishedTable, run: "Run", scored: dict[str, list[Row]], notes: Notes) -> None:
    if run.plan.model != table.model and Path(run.plan.model).resolve() != Path(table.model).expanduser().resolve():
        notes.add(f"the model of the run is {run.plan.model}, that of the table {table.model}")
    if not all(same(source, table.trained_in) for source in run.plan.source_languages):
        notes.add(f"the run was trained in {', '.join(run.plan.source_languages)}, the table in {table.trained_in}")
    if run.plan.limit:
        notes.add(f"the run was trained on the first {run.plan.limit:,} rows of each language (--limit)")
    if run.plan.rows:
        notes.add(f"the run was trained on {run.plan.rows:,} rows in total (--rows)")
    if table.recipe and (changes := _changed_settings(run.plan.recipe, catalog.recipe(table.recipe))):
        notes.add(f"the settings of the run differ from the table's recipe, {table.recipe}: {changes}")
    for note in report(run.folder.name, [row for rows in scored.values() for row in rows]).notes:
        notes.add(note)
    others = {language: rows[0].n for language, rows in scored.items() if rows[0].n != table.rows_in(language)}
    for language, count in others.items():
        notes.add(f"scored on {count:,} rows, in the table on {table.rows_in(language):,}", language)
    if others and table.rows_note:
        notes.add(table.rows_note)


def _changed_settings(recipe: Recipe, published: Recipe) -> str:
    """Return the settings of a recipe that are not those of a published one, each with the published value."""
    names = [name for name in Recipe.model_fields if name not in (*DESCRIBING, "save_steps")]
    values = [(name, getattr(recipe, name), getattr(published, name)) for name in names]
    return ", ".join(f"{name}={value} in place of {other}" for name, value, other in values if value != other)


def _seed_sd(seeds: Sequence[Sequence[float]]) -> float | None:
    """Return the standard deviation between seeds, pooled over languages and both sides."""
    several = [np.asarray(values) for values in seeds if len(values) > 1]
    freedom = sum(len(values) - 1 for values in several)
    return (
        math.sqrt(sum(float(values.var(ddof=1)) * (len(values) - 1) for values in several) / freedom)
        if freedom
        else None
    )


def _verdict(table: PublishedTable, language: str, rows: Sequence[Row] | None, sd: float | None) -> Verdict:
    published = float(np.mean(table.scores[language]))
    if not rows:
        return Verdict(language, published, None, None, MISSING)
    value = sum(row.value for row in rows) / len(rows)
    tolerance = _tolerance(sd, table.seeds, len(rows), _test_error(rows))
    return Verdict(language, published, value, tolerance, _judged(value - published, tolerance))


def _mean(table: PublishedTable, scored: dict[str, list[Row]], sd: float | None, *, is_parallel: bool) -> Verdict:
    """Return the verdict on the mean over the languages that both have.

    Seeds are taken to shift all languages together. So are the rows of a parallel task, which are translations of each
    other; those of other tasks are independent, and their errors partly cancel out.
    """
    published = float(np.mean([np.mean(table.scores[language]) for language in scored]))
    value = float(np.mean([np.mean([row.value for row in rows]) for rows in scored.values()]))
    errors = np.array([_test_error(rows) for rows in scored.values()])
    error = float(errors.mean() if is_parallel else np.sqrt((errors**2).sum()) / len(errors))
    tolerance = _tolerance(sd, table.seeds, min(len(rows) for rows in scored.values()), error)
    return Verdict(None, published, value, tolerance, _judged(value - published, tolerance))


def _test_error(rows: Sequence[Row]) -> float:
    """Return the standard error of a score because of its test rows, from its stored interval."""
    return float(np.mean([(row.ci_high - row.ci_low) / (2 * t_quantile(TAIL)) for row in rows]))


def _tolerance(sd: float | None, published_seeds: int, seeds: int, error: float) -> float:
    between = 0.0 if sd is None else sd**2 * (1 / published_seeds + 1 / seeds)
    return t_quantile(TAIL) * math.sqrt(between + error**2)


def _judged(difference: float, tolerance: float) -> str:
    if abs(difference) <= tolerance:
        return REPRODUCED
    return LOWER if difference < 0 else HIGHER


def _by_chance(languages: int) -> int:
    """Return how many of the languages may be outside their tolerances in 95% of cases, if these are independent."""
    probability, count = 0.0, 0
    while True:
        probability += math.comb(languages, count) * (2 * TAIL) ** count * (1 - 2 * TAIL) ** (languages - count)
        if probability >= 1 - 2 * TAIL:
            return count
        count += 1


def written(verdict: Verdict) -> tuple[str, ...]:
    """Return a verdict as the cells of a table."""
    numbers = (verdict.published, verdict.value, verdict.difference, verdict.tolerance)
    formats = ("{:.1f}", "{:.1f}", "{:+z.1f}", "{:.1f}")
    cells = ["" if number is None else form.format(number) for number, form in zip(numbers, formats, strict=True)]
    return (verdict.language or "mean over languages", *cells, verdict.verdict)
