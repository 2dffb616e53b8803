"""From run folders to a study: what is shown, what is not, and why."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from math import isfinite
from pathlib import Path

from xmodctl.core.errors import UserError
from xmodctl.evaluation.comparison import Comparison, compare_controls, compare_runs
from xmodctl.evaluation.measurements import with_intervals
from xmodctl.evaluation.results import Row, own_rows, read_rows, report
from xmodctl.reports.curves import read_curve
from xmodctl.reports.examples import Reader
from xmodctl.reports.study import Column, Curve, Language, Study
from xmodctl.run.run import Run

MISTAKES = 20
"""Worst errors shown of a language, unless said otherwise."""

SHOWN = 6  # languages that a note names


def gather(
    folders: Sequence[Path],
    *,
    split: str = "test",
    data: Path | None = None,
    mistakes: int = MISTAKES,
    examples: bool = True,
) -> Study:
    """Read runs of one task into a study.

    A run that cannot be read or has no scores is left out and told in `left_out`, as long as another can be shown.

    Args:
        folders: Run folders, in the order of the columns.
        split: The split whose scores are shown.
        data: Where the texts of examples are, if not where they were when they were scored.
        mistakes: The most errors shown of a language; with 0 no text is read.
        examples: Whether examples, tests and training curves are gathered too: tables do without.

    Raises:
        UserError: No run can be shown, or they are of several tasks.
    """
    notes = Notes()
    found: list[tuple[Run, list[Row]]] = []
    left_out: list[UserError] = []
    for folder in {folder.resolve(): folder for folder in folders}.values():
        try:
            run = Run.read(folder)
            found.append((run, scored_rows(run, split, notes)))
        except UserError as problem:
            left_out.append(problem)
    if not found:
        raise left_out[0]
    refuse_mixtures([run for run, _ in found])
    names = _names([run.folder.resolve() for run, _ in found])
    shared = set.intersection(*(set(own_rows(rows)) for _, rows in found))
    columns = []
    for name, (run, rows) in zip(names, found, strict=True):
        column = _column(name, run, rows, shared, notes)
        if examples:
            reader = Reader(run, data, mistakes, partial(notes.add_of, name))
            column = replace(
                column,
                mattered=_mattered(column, notes),
                examples={language: reader.read(own) for language, own in column.own_rows.items()},
                curves=_curves(run),
            )
        columns.append(column)
    _check_examples(columns, notes)
    comparison = _compared(columns, split, notes) if examples and len(columns) > 1 else None
    codes = dict.fromkeys(row.language for column in columns for row in column.rows)
    languages = sorted((Language.of(code) for code in codes), key=lambda one: (one.lineage or ("~",), one.name))
    task = columns[0].run.plan.task
    return Study(
        task=task,
        split=split,
        metric=task.headline,
        columns=tuple(columns),
        comparison=comparison,
        languages=tuple(languages),
        notes=notes.told,
        left_out=tuple(str(problem) for problem in left_out),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
    )


@dataclass
class Notes:
    """What a reader must know, gathered: what holds of several languages is told once."""

    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, what: str, where: str = "") -> None:
        """Take a note, of a language or of the whole."""
        self.places.setdefault(what, []).extend([where] if where else [])

    def add_of(self, run: str, what: str, where: str) -> None:
        """Take a note of a language of one run."""
        self.add(f"{run}, {what}", where)

    @property
    def told(self) -> tuple[str, ...]:
        """The notes, one a line."""
        return tuple(f"{_listed(where)}: {what}" if where else what for what, where in self.places.items())


def scored_rows(run: Run, split: str, notes: Notes) -> list[Row]:
    """Return the rows of a split that can stand in one table: of whole test sets, or else of one --limit.

    Raises:
        UserError: There are none.
    """
    every = read_rows(run.results)
    rows = [row for row in every if row.split == split]
    if not rows:
        others = sorted({row.split for row in every})
        remedy = f"it has {', '.join(others)}: --split {others[0]}" if others else "make some with eval-transfer"
        raise UserError(f"{run.folder} has no scores of the split {split}; {remedy}")
    counted = [row for row in rows if row.n and isfinite(row.value)]
    for row in rows:
        if row not in counted:
            notes.add(f"left out of {run.folder.name}, it was scored on no rows", row.language)
    limits = {row.limited for row in counted}
    chosen = None if None in limits else max((limit for limit in limits if limit), default=None)
    for limit in sorted(limits - {chosen}, key=lambda one: one or 0):
        notes.add(f"{run.folder.name} also has scores with --limit {limit}, which are not shown")
    if chosen:
        notes.add(f"{run.folder.name} is LIMITED to the first {chosen:,} rows of each language")
    shown = [row for row in counted if row.limited == chosen]
    if not shown:
        raise UserError(f"{run.folder} has only scores on no rows; score again with eval-transfer --on-exists redo")
    return shown


def refuse_mixtures(runs: Sequence[Run]) -> None:
    """Refuse runs whose scores are not of the same thing.

    Raises:
        UserError: They are of several tasks or metrics.
    """
    first = runs[0]
    for run in runs[1:]:
        for what, one, other in (
            ("task", first.plan.task.name, run.plan.task.name),
            ("metric", first.plan.task.headline, run.plan.task.headline),
        ):
            if one != other:
                raise UserError(
                    f"{first.folder} has the {what} {one}, {run.folder} has {other}; their numbers mean different "
                    f"things, so report each on its own: xmodctl report {first.folder}"
                )


def _column(name: str, run: Run, rows: list[Row], shared: Set[str], notes: Notes) -> Column:
    told = with_intervals(report(name, rows), run, rows)
    common = [row for row in rows if row.language in shared]
    of_common = told if len(common) in (0, len(rows)) else with_intervals(report(name, common), run, common)
    column = Column(name, run, told, of_common, tuple(rows))
    _check_seeds(column, notes)
    for language in dict.fromkeys(row.language for row in rows if row.shots):
        notes.add(f"{name} is not zero-shot: examples of the language were trained on", language)
    for language in dict.fromkeys(row.language for row in rows):
        score = column.score(language)
        if score is None:
            notes.add(f"{name} has only control scores", language)
            continue
        if score.ci_low <= score.baseline:
            notes.add(f"{name} may do no better than an answer that does not read the text", language)
        if score.gap is not None and score.gap_ci is None:
            notes.add(f"{name} has no interval of its gap: predictions are gone or changed, or seeds differ", language)
    return column


def _mattered(column: Column, notes: Notes) -> Comparison | None:
    """Test own adapters against controls, where there are controls."""
    if all(row.control == "own" for row in column.rows):
        return None
    try:
        return compare_controls(column.run, column.rows)
    except UserError as problem:
        notes.add(f"whether adapters mattered to {column.name} is not tested: {problem}")
        return None


def _compared(columns: Sequence[Column], split: str, notes: Notes) -> Comparison | None:
    try:
        return compare_runs([column.run for column in columns], split=split)
    except UserError as problem:
        notes.add(f"the runs are not tested against each other: {problem}")
        return None


def _curves(run: Run) -> tuple[Curve, ...]:
    found = (read_curve(run.seed_folder(seed) / "metrics.jsonl", seed) for seed in run.seeds)
    return tuple(curve for curve in found if curve)


def _check_seeds(column: Column, notes: Notes) -> None:
    run, seeds = column.run, column.report.seeds
    if unfinished := [seed for seed in run.seeds if seed not in run.finished_seeds]:
        notes.add(f"{column.name} is not trained to its end: seed {_listed([str(seed) for seed in unfinished])} is not")
    if len(seeds) == 1:
        notes.add(f"{column.name} has one seed: its intervals do not tell how much training again would change")
    for score in column.report.scores:
        if len(score.values) < len(seeds):
            notes.add(f"{column.name} has not scored it with every seed", score.language)


def _check_examples(columns: Sequence[Column], notes: Notes) -> None:
    """Note what makes numbers of the same language differ for other reasons than the model."""
    languages = dict.fromkeys(row.language for column in columns for row in column.rows)
    for language in languages:
        data = {row.data.rpartition("#")[2] for column in columns for row in column.rows if row.language == language}
        if len(data) > 1:
            notes.add("its scores are not all of the same examples", language)
        if missing := [column.name for column in columns if not column.score(language)]:
            notes.add(f"not scored by {_listed(missing)}, and left out of every average", language)


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the folders' names, with as much of the path as tells them apart."""
    depth = 1
    while len({folder.parts[-depth:] for folder in folders}) < len(folders):
        depth += 1
    return [str(Path(*folder.parts[-depth:])) for folder in folders]


def _listed(names: Sequence[str]) -> str:
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
