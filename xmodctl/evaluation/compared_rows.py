"""Compared rows: which scores of several runs can be compared, and which of them a selection of languages means."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase

from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.evaluation.agreement import agreeing
from xmodctl.evaluation.data_sets import DataSetRows, by_data_set
from xmodctl.evaluation.results import Row, own_rows, read_rows
from xmodctl.evaluation.scoring_commands import first_scores_command, scoring_command
from xmodctl.languages import meaning, same
from xmodctl.run.run import Run

LABELS = ascii_uppercase
"""The labels of runs, in order; their number is the largest number of runs."""

ComparedRows = dict[str, dict[str, list[Row]]]
"""Language as a table names it -> a side's label -> its rows."""


def refuse_different_tasks(runs: Sequence[Run]) -> None:
    """Refuse runs whose scores do not mean the same.

    Raises:
        UserError: They have different tasks, metrics, or labels; or there are too few runs, or too many.
    """
    if not 2 <= len(runs) <= len(LABELS):
        raise UserError(f"give 2 to {len(LABELS)} runs; there are {len(runs)}")
    first = runs[0]
    for number, run in enumerate(runs[1:], 1):
        if run.folder.resolve() in [other.folder.resolve() for other in runs[:number]]:
            raise UserError(
                f"{run.folder} is given twice; give different runs, or one run to compare it with its controls"
            )
        task, other = first.plan.task, run.plan.task
        for key, value, other_value in (
            ("task", task.name, other.name),
            ("metric", task.headline, other.headline),
            ("labels", ", ".join(task.labels), ", ".join(other.labels)),
            ("metric_rules", task.metric_rules, other.metric_rules),
        ):
            if value != other_value:
                raise UserError(
                    f"{first.folder} has the {key} {value}, {run.folder} has {other_value}; "
                    "their scores are not comparable; choose runs of one task"
                )


def rows_in_common(runs: Sequence[Run], split: str) -> tuple[list[list[Row]], list[str]]:
    """Return the rows of a split with a --limit that every run has: without one if possible, else the largest.

    Rows that contradict their stored predictions are excluded, and a note names each.

    Raises:
        UserError: A run has no scores of the split that can be compared, or there is no common limit.
    """
    stored = [read_rows(run.results) for run in runs]
    run_rows = [[row for row in rows if row.split == split] for rows in stored]
    _refuse_unscored(runs, stored, run_rows, split)
    limits = [{row.limited for row in rows} for rows in run_rows]
    shared = set.intersection(*limits)
    if not shared:
        described = "; ".join(
            f"{run.folder}: {' and '.join('all rows' if limit is None else f'{limit:,} rows' for limit in run_limits)}"
            for run, run_limits in zip(runs, limits, strict=True)
        )
        remedy = _commands(runs, run_rows, lambda row: row.limited == _widest(limits[0]))
        raise UserError(
            f"the runs were scored with different --limit ({described}); score all with the same limit: {remedy}"
        )
    limit = _widest(shared)
    kept, notes = [], []
    for run, rows in zip(runs, run_rows, strict=True):
        agreed, contradictions = agreeing(run, [row for row in rows if row.limited == limit])
        if not agreed:
            raise UserError(contradictions[0])
        kept.append(agreed)
        notes += contradictions
    return kept, notes


def common_data_sets(runs: Sequence[Run], rows: Sequence[Sequence[Row]]) -> tuple[list[DataSetRows], list[str]]:
    """Return the data sets that every run was scored on, and a note about the others.

    Raises:
        UserError: There is none.
    """
    sets = by_data_set(*rows)
    common, compared = [], set[tuple[object, str]]()  # languages and their contents
    for each in sets:
        contents = ({(meaning(row.language), row.fingerprint) for row in of_run} for of_run in each.rows)
        shared = set.intersection(*contents)
        if all(each.rows) and not (shared and shared <= compared):
            common.append(each)
            compared |= shared
    if not common:
        scored = "; ".join(
            f"{run.folder}: {' and '.join(each.name for each in sets if each.rows[number])}"
            for number, run in enumerate(runs)
        )
        first = {row.key for row in next(each.rows[0] for each in sets if each.rows[0])}
        remedy = _commands(runs, rows, lambda row: row.key in first)
        raise UserError(f"the runs were not scored on the same data ({scored}); score all on the same data: {remedy}")
    others = [each for each in sets if each not in common]
    lacking = [min(zip(each.rows, runs, strict=True), key=lambda pair: len(pair[0])) for each in others]
    return common, [
        f"not compared on {each.name}, on which {run.folder} was not scored"
        + (f" but in {', '.join(dict.fromkeys(row.language for row in rows))}" if rows else "")
        for each, (rows, run) in zip(others, lacking, strict=True)
    ]


def _refuse_unscored(
    runs: Sequence[Run], stored: Sequence[Sequence[Row]], run_rows: Sequence[Sequence[Row]], split: str
) -> None:
    """Refuse runs one of which has no scores of a split; the remedy scores it like the others, if these have any."""
    example = next((rows for rows in run_rows if rows), [])
    for run, rows, of_split in zip(runs, stored, run_rows, strict=True):
        if not of_split:
            others = ", ".join(sorted({row.split for row in rows})) or "no scores at all"
            alike = scoring_command(run.folder, _of_widest_limit(example))
            raise UserError(
                f"{run.folder} has no scores of the {split} split (it has {others}); create them with: "
                f"{alike or first_scores_command(run.folder, split)}"
            )


def _of_widest_limit(rows: Sequence[Row]) -> list[Row]:
    limits = {row.limited for row in rows}
    return [row for row in rows if row.limited == _widest(limits)]


def _widest(limits: Iterable[int | None]) -> int | None:
    """Return the limit that leaves the most rows; None is no limit."""
    values = list(limits)
    return None if None in values else max(value for value in values if value is not None)


def _commands(runs: Sequence[Run], rows: Sequence[Sequence[Row]], is_meant: Callable[[Row], bool]) -> str:
    """Return the commands that score every other run on those rows of the first one that are meant."""
    meant = [row for row in rows[0] if is_meant(row)]
    lacking = [
        run
        for run, own in zip(runs, rows, strict=True)
        if not {row.key[1:] for row in own} & {row.key[1:] for row in meant}
    ]
    return " && ".join(scoring_command(run.folder, meant) for run in lacking)


def choose_rows(
    selection: str, rows: Mapping[str, Sequence[Row]], folders: Mapping[str, Path]
) -> tuple[ComparedRows, list[str]]:
    """Return the rows that a selection of languages means on every side, and notes about what is skipped.

    Args:
        selection: What `--langs` takes.
        rows: A side's label -> its rows.
        folders: A side's label -> the folder of its run.

    Raises:
        UserError: A language has no score on any side, or not on every one; or nothing is left.
    """
    own = {label: own_rows(side_rows) for label, side_rows in rows.items()}
    languages = list(dict.fromkeys(language for side in own.values() for language in side))
    parts = [part.strip() for part in selection.split(",") if part.strip()]
    excluded = {language for part in parts if part.startswith("-") for language in _named(part[1:], languages)}
    chosen: ComparedRows = {}
    skipped: dict[str, list[str]] = {}
    for part in (part for part in parts if not part.startswith("-")):
        if "=" in part:
            chosen[part] = _through(part, rows)
            continue
        for language in languages if part == "all" else _named(part, languages):
            if language in excluded:
                continue
            unscored = [label for label in own if language not in own[label]]
            lacking = " and ".join(unscored)
            if not lacking:
                chosen[language] = {label: own[label][language] for label in own}
            elif part == "all":
                skipped.setdefault(lacking, []).append(language)
            else:
                example = next(own[label][language] for label in own if language in own[label])
                remedy = " && ".join(scoring_command(folders[label], example) for label in unscored)
                raise UserError(
                    f"--langs {part}: {lacking} has no score for this language; exclude the language, or score it: "
                    f"{remedy}"
                )
    if not chosen:
        available = "; ".join(f"{label} has {', '.join(side)}" for label, side in own.items())
        raise UserError(f"--langs {selection} selects no language that every run has a score for ({available})")
    return chosen, [f"skipped: {label} has no score for {', '.join(names)}" for label, names in skipped.items()]


def _named(name: str, languages: Sequence[str]) -> list[str]:
    """Return the languages that a name means, exactly or in another spelling."""
    exact = [language for language in languages if language == name]
    if named := exact or [language for language in languages if same(language, name)]:
        return named
    guess = did_you_mean(name, list(languages))
    raise UserError(f"--langs {name}: no run has a score for this language; choose from {', '.join(languages)}{guess}")


def _through(part: str, rows: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """Return each side's rows of a pair such as `jv=id_ID`."""
    language, _, adapter = (piece.strip() for piece in part.partition("="))
    chosen = {}
    for label, side_rows in rows.items():
        own = [row for row in side_rows if row.control == "own"]
        chosen[label] = [row for row in own if same(row.language, language) and row.adapter == adapter]
        if not chosen[label]:
            available = ", ".join(dict.fromkeys(f"{row.language}={row.adapter}" for row in own))
            raise UserError(f"--langs {part}: {label} has no such score; it has {available}")
    return chosen
