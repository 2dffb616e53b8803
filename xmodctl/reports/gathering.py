"""From run folders to a study: what is shown, what is not, and why."""

from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from xmodctl.catalog.task import Task
from xmodctl.core.arguments import ERRORS
from xmodctl.core.errors import UserError
from xmodctl.evaluation.agreement import agreeing
from xmodctl.evaluation.compare import compare_controls, compare_rows
from xmodctl.evaluation.comparison import Comparison
from xmodctl.evaluation.data_sets import by_data_set
from xmodctl.evaluation.measurements import with_intervals
from xmodctl.evaluation.results import Report, Row, own_rows, read_rows, report
from xmodctl.evaluation.scoring_commands import first_scores_command, scoring_command
from xmodctl.languages import same
from xmodctl.reports.curves import TrainingCurve, read_curve
from xmodctl.reports.error_analysis import ErrorAnalyzer
from xmodctl.reports.language import Language
from xmodctl.reports.notes import Notes, listed
from xmodctl.reports.parallel_errors import ParallelErrors
from xmodctl.reports.study import Study, StudyRun
from xmodctl.run.run import Run

T = TypeVar("T")


def gather(
    folders: Sequence[str | Path],
    *,
    split: str = "test",
    data: str | Path | None = None,
    mistakes: int = ERRORS,
    details: bool = True,
) -> Study:
    """Read runs of one task into a study; scores of further data sets are studies in its `others`.

    A run that cannot be read or has no scores is named in `skipped`, as long as another one can be shown.

    Args:
        folders: Run folders, in the order of the columns.
        split: The split whose scores are shown.
        data: Where the data is now, if not where it was when it was scored.
        mistakes: The most errors shown per language; with 0, no text is read.
        details: Whether error analyses, tests, and training curves are gathered, which tables do not show.

    Raises:
        UserError: No run can be shown, or the runs have different tasks.
    """
    notes = Notes()
    scored, skips = _read_all(folders, lambda run: scored_rows(run, split, notes))
    sets = by_data_set(*(rows for _, _, rows in scored))
    if len(sets) > 1:
        others = "; ".join(f"{each.name} ({listed(each.languages)})" for each in sets[1:])
        notes.add(f"the scores above are on {sets[0].name}; scores on other data are shown separately: {others}")
    studies: list[Study] = []
    for each in sets:
        set_notes = Notes() if studies else notes
        named = zip(scored, each.rows, strict=True)
        runs = [(name, run, rows) for (name, run, _), rows in named if rows]
        place = Path(data) if data is not None else None
        data_set = each.name if len(sets) > 1 else ""
        studies.append(_study(runs, split, data_set, place, mistakes, set_notes, details=details))
    return replace(studies[0], skipped=skips, others=tuple(studies[1:]))


def gather_curves(folders: Sequence[str | Path], *, split: str = "test") -> Study:
    """Read the training curves of runs of one task into a study without scores, which the runs need not have.

    A run that cannot be read is named in `skipped`, as long as another one can be shown. A seed that has no record of
    its training has no curve.

    Args:
        folders: Run folders, in the order in which they are drawn.
        split: The split that the study names.

    Raises:
        UserError: No run can be read, a log is damaged in all of them, or the runs have different tasks.
    """
    read, skips = _read_all(folders, _whole_curves)
    task = read[0][1].plan.task
    runs = []
    for name, run, curves in read:
        empty = Report(name, task.name, task.headline, split, run.plan.source_languages, tuple(run.seeds), None, ())
        runs.append(StudyRun(name, run, empty, empty, (), curves=curves))
    return Study(
        task=task,
        split=split,
        metric=task.headline,
        runs=tuple(runs),
        comparison=None,
        languages=(),
        notes=(),
        skipped=skips,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        plot="curves",
    )


def _read_all(
    folders: Sequence[str | Path], read: Callable[[Run], T]
) -> tuple[list[tuple[str, Run, T]], tuple[str, ...]]:
    """Read something from each run, and return it with the run and its name, and why other runs are skipped.

    Raises:
        UserError: No run can be read, or the runs have different tasks.
    """
    parts: list[tuple[Run, T]] = []
    skipped: list[UserError] = []
    for folder in {Path(folder).resolve(): Path(folder) for folder in folders}.values():
        try:
            run = Run.read(folder)
            parts.append((run, read(run)))
        except UserError as problem:
            skipped.append(problem)
    if not parts:
        raise skipped[0]
    _check_same_task([run for run, _ in parts])
    names = unique_names([run.folder.resolve() for run, _ in parts])
    return [(name, *part) for name, part in zip(names, parts, strict=True)], tuple(map(str, skipped))


def _whole_curves(run: Run) -> tuple[TrainingCurve, ...]:
    """Return the training curves of a run's seeds, as far as there is a record.

    Raises:
        UserError: A log is damaged.
    """
    return tuple(curve for seed in run.seeds if (curve := _curve(run, seed)))


def _curve(run: Run, seed: int) -> TrainingCurve | None:
    return read_curve(run.seed_folder(seed) / "metrics.jsonl", seed)


def _study(
    scored: Sequence[tuple[str, Run, list[Row]]],
    split: str,
    data_set: str,
    data: Path | None,
    mistakes: int,
    notes: Notes,
    *,
    details: bool,
) -> Study:
    """Return the study of runs on one data set."""
    shared = set.intersection(*(set(own_rows(rows)) for _, _, rows in scored))
    runs = [_study_run(name, run, rows, data_set, shared, notes) for name, run, rows in scored]
    if details:
        runs = [_with_details(run, data, mistakes, notes) for run in runs]
    _check_examples(runs, notes)
    codes = dict.fromkeys(row.language for run in runs for row in run.rows)
    task: Task = runs[0].run.plan.task
    return Study(
        task=task,
        split=split,
        metric=task.headline,
        runs=tuple(runs),
        comparison=_compare(runs, notes) if details and len(runs) > 1 else None,
        languages=tuple(sorted(map(Language, codes), key=lambda language: (language.lineage or ("~",), language.name))),
        notes=notes.lines,
        skipped=(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        data_set=data_set,
    )


def scored_rows(
    run: Run,
    split: str,
    notes: Notes,
    *,
    suffices: Callable[[Sequence[Row]], bool] | None = None,
    is_split_an_option: bool = True,
) -> list[Row]:
    """Return the rows of a split that can be shown in one table: of whole test sets, or else of one --limit.

    Args:
        run: The run.
        split: The split.
        notes: Takes what is not shown.
        suffices: Whether the rows of one limit have what is needed; if those of some have, other limits do not count.
        is_split_an_option: Whether a reader can choose another split.

    Raises:
        UserError: There are none.
    """
    every = read_rows(run.results)
    rows = [row for row in every if row.split == split]
    if not rows:
        others = sorted({row.split for row in every})
        first = first_scores_command(run.folder, split)
        remedy = f"create some with: {first}"
        if others:
            its = f"it has {', '.join(others)}"
            remedy = f"{its}: --split {others[0]}" if is_split_an_option else f"{its}; {remedy}"
        raise UserError(f"{run.folder} has no scores of the split {split}; {remedy}")
    for row in rows:
        if not row.n:
            notes.add(f"not shown for {run.folder.name}, where it was scored on 0 rows", row.language)
    valid = [row for row in rows if row.n]
    by_limit: dict[int | None, list[Row]] = {}
    for row in valid:
        by_limit.setdefault(row.limited, []).append(row)
    limits = set(by_limit)
    usable = {limit for limit, of_limit in by_limit.items() if suffices is None or suffices(of_limit)} or limits
    chosen = None if None in usable else max((limit for limit in usable if limit), default=None)
    for limit in sorted(limits - {chosen}, key=lambda limit: limit or 0):
        of_which = f"with --limit {limit}" if limit else "of all rows"
        notes.add(f"{run.folder.name} also has scores {of_which}, which are not shown")
    if chosen:
        notes.add(f"{run.folder.name} is LIMITED to the first {chosen:,} rows of each language")
    shown, contradictions = agreeing(run, [row for row in valid if row.limited == chosen])
    for contradiction in contradictions:
        notes.add(contradiction)
    if not shown:
        reason = contradictions[0] if contradictions else "it was scored on 0 rows"
        redo = scoring_command(run.folder, [row for row in rows if row.limited == chosen], redo=True)
        raise UserError(f"{run.folder} has no score that can be shown ({reason}); score again with: {redo}")
    return shown


def rows_of_one_data_set(
    run: Run,
    split: str,
    notes: Notes,
    *,
    suffices: Callable[[Sequence[Row]], bool] | None = None,
    data: Path | None = None,
    is_split_an_option: bool = True,
) -> list[Row]:
    """Return the rows of a split and one data set: the one at `data`, or else that with the most languages.

    Args:
        run: The run.
        split: The split.
        notes: Takes what is not shown.
        suffices: Whether rows have what is needed; if those of some data sets have, others do not count.
        data: A folder or file of local data.
        is_split_an_option: Whether a reader can choose another split.

    Raises:
        UserError: There are none.
    """
    rows = scored_rows(run, split, notes, suffices=suffices, is_split_an_option=is_split_an_option)
    sets = by_data_set(rows)
    usable = [each for each in sets if suffices is None or suffices(each.rows[0])] or sets
    at_data = [each for each in usable if data is not None and any(_is_of(row, data) for row in each.rows[0])]
    chosen = (at_data or usable)[0]
    for each in sets:
        if each is not chosen:
            notes.add(
                f"{run.folder.name} also has scores on {each.name} ({listed(each.languages)}), which are not shown"
            )
    return chosen.rows[0]


def _is_of(row: Row, data: Path) -> bool:
    return row.folder is not None and Path(row.folder).resolve() == data.expanduser().resolve()


def has_source_and(language: str, rows: Sequence[Row]) -> bool:
    """Return whether rows have scores of a language and of the source language."""
    return any(row.is_in_source for row in rows) and any(same(row.language, language) for row in rows)


def _check_same_task(runs: Sequence[Run]) -> None:
    """Refuse runs whose scores mean different things."""
    first = runs[0]
    for run in runs[1:]:
        for fact, expected, actual in (
            ("task", first.plan.task.name, run.plan.task.name),
            ("metric", first.plan.task.headline, run.plan.task.headline),
        ):
            if expected != actual:
                raise UserError(
                    f"{first.folder} has the {fact} {expected}, {run.folder} has {actual}; their scores cannot be "
                    f"compared, so report each run by itself: xmodctl report {first.folder}"
                )


def _study_run(name: str, run: Run, rows: list[Row], data_set: str, shared: Set[str], notes: Notes) -> StudyRun:
    whole = replace(with_intervals(report(name, rows), run, rows), data_set=data_set)
    common = [row for row in rows if row.language in shared]
    over_shared = whole if len(common) in (0, len(rows)) else with_intervals(report(name, common), run, common)
    study_run = StudyRun(name, run, whole, over_shared, tuple(rows))
    _check_seeds(study_run, notes)
    for note in whole.notes:
        notes.add(note, name)
    for language in dict.fromkeys(row.language for row in rows if row.shots):
        notes.add(f"not zero-shot: {name} was trained on examples of it", language)
    for language in dict.fromkeys(row.language for row in rows):
        score = study_run.score(language)
        if score is None:
            notes.add(f"{name} has only control scores", language)
            continue
        if score.ci_low <= score.baseline:
            notes.add(f"{name} may be no better than the majority baseline", language)
        if score.gap is not None and score.gap_ci is None:
            reason = "because predictions are missing or changed, or seeds differ"
            notes.add(f"the gap of {name} has no interval, {reason}", language)
    return study_run


def _with_details(run: StudyRun, data: Path | None, mistakes: int, notes: Notes) -> StudyRun:
    """Return a run with its error analyses, training curves, and the comparison with its controls."""

    def add_note(note: str, language: str) -> None:
        notes.add(f"in {run.name}, {note}", language)

    analyzer = ErrorAnalyzer(run.run, data, mistakes, add_note)
    analyses = {language: analyzer.analyze(rows) for language, rows in run.own_rows.items()}
    return replace(
        run,
        control_comparison=_compare_controls(run, notes),
        error_analyses=ParallelErrors(analyzer, run.own_rows).completed(analyses),
        curves=_curves(run, notes),
    )


def _compare_controls(run: StudyRun, notes: Notes) -> Comparison | None:
    """Compare own adapters with controls, where there are controls."""
    if all(row.control == "own" for row in run.rows):
        return None
    try:
        return compare_controls(run.run, run.rows)
    except UserError as problem:
        notes.add(f"the adapters of {run.name} are not compared with the controls: {problem}")
        return None


def _compare(runs: Sequence[StudyRun], notes: Notes) -> Comparison | None:
    try:
        return compare_rows([run.run for run in runs], [run.rows for run in runs])
    except UserError as problem:
        notes.add(f"the runs are not compared with each other: {problem}")
        return None


def _curves(run: StudyRun, notes: Notes) -> tuple[TrainingCurve, ...]:
    curves = []
    for seed in run.run.seeds:
        try:
            curves.append(_curve(run.run, seed))
        except UserError as problem:
            notes.add(f"the training curve of {run.name}, seed {seed}, is not shown: {problem}")
    return tuple(curve for curve in curves if curve)


def _check_seeds(run: StudyRun, notes: Notes) -> None:
    seeds = run.report.seeds
    if unfinished := [seed for seed in run.run.seeds if seed not in run.run.finished_seeds]:
        notes.add(f"{run.name} has not finished training seed {listed([str(seed) for seed in unfinished])}")
    if len(seeds) == 1 and run.run.plan.vectors is None:
        notes.add(f"{run.name} has one seed, so its intervals do not include the variance between training runs")
    for score in run.report.scores:
        if len(score.values) < len(seeds):
            notes.add(f"{run.name} has not scored it with every seed", score.language)


def _check_examples(runs: Sequence[StudyRun], notes: Notes) -> None:
    """Note what makes the scores of a language differ for reasons other than the model."""
    for language in dict.fromkeys(row.language for run in runs for row in run.rows):
        data = {row.fingerprint for run in runs for row in run.rows if row.language == language}
        if len(data) > 1:
            notes.add("not all scores are on the same examples", language)
        if {row.language for run in runs for row in run.rows if row.fingerprint in data} != {language}:
            notes.add("has the same rows as another language: is one read from the other's file or columns?", language)
        if missing := [run.name for run in runs if not run.score(language)]:
            notes.add(f"not scored by {listed(missing)}, so excluded from every average", language)


def unique_names(folders: Sequence[Path]) -> list[str]:
    """Return the folders' names, with as much of the path as makes them unique."""
    depth = 1
    while len({folder.parts[-depth:] for folder in folders}) < len(folders):
        depth += 1
    return [str(Path(*folder.parts[-depth:])) for folder in folders]
