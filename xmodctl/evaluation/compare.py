"""`xmodctl compare` as a function: are runs, or ways through one run's model, significantly different?"""

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from xmodctl.core.errors import UserError
from xmodctl.core.requests import command
from xmodctl.evaluation.compared_rows import (
    LABELS,
    choose_rows,
    common_data_sets,
    refuse_different_tasks,
    rows_in_common,
)
from xmodctl.evaluation.comparison import Comparison, Side
from xmodctl.evaluation.data_sets import DataSetRows
from xmodctl.evaluation.measurements import Measurement, Statistics
from xmodctl.evaluation.paired_tests import Pair, compare_pairs
from xmodctl.evaluation.requests import CompareRequest
from xmodctl.evaluation.results import Row
from xmodctl.evaluation.scoring_commands import scoring_command
from xmodctl.run.loading import find_run
from xmodctl.run.run import Run
from xmodctl.statistics.significance import TEST_RESAMPLES


@command(CompareRequest)
def compare(request: CompareRequest) -> Comparison:
    """Test whether runs differ significantly, language by language, from their stored predictions.

    Differences are paired example by example; p-values are corrected for the number of tests (Holm). No model is
    loaded.

    Raises:
        UserError: The runs cannot be compared, or their predictions are missing or changed.
    """
    runs = [find_run(run) for run in request.run_list]
    if len(runs) > 1:
        return compare_runs(runs, split=request.split, languages=request.selection)
    rows, notes = rows_in_common(runs, request.split)
    sets, _ = common_data_sets(runs, rows)  # of one run, all
    return _over_data_sets(
        sets, notes, lambda each: compare_controls(runs[0], each.rows[0], languages=request.selection)
    )


def compare_runs(
    runs: Sequence[Run], *, split: str = "test", languages: str = "all", seed: int = 0, resamples: int = TEST_RESAMPLES
) -> Comparison:
    """Compare each run with the first one, on each data set that all of them were scored on.

    Args:
        runs: At least two, of one task.
        split: The split whose scores are compared.
        languages: What `--langs` takes: languages separated by commas, `all`, `-de` to exclude one, `jv=id_ID` for
            text that went through another language's adapter.
        seed: The same seed gives the same intervals and p-values.
        resamples: The number of resamples.

    Raises:
        UserError: The scores are not of one task, split, and set of examples, or predictions are missing or changed.
    """
    refuse_different_tasks(runs)
    rows, notes = rows_in_common(runs, split)
    sets, excluded = common_data_sets(runs, rows)
    return _over_data_sets(
        sets,
        [*notes, *excluded],
        lambda each: compare_rows(runs, each.rows, languages=languages, seed=seed, resamples=resamples),
    )


def compare_rows(
    runs: Sequence[Run],
    rows: Sequence[Sequence[Row]],
    *,
    languages: str = "all",
    seed: int = 0,
    resamples: int = TEST_RESAMPLES,
) -> Comparison:
    """Compare rows of each run with those of the first one.

    Args:
        runs: At least two, of one task.
        rows: The rows of each run, of one split, limit, and data set.
        languages: As for `compare_runs`.
        seed: The same seed gives the same intervals and p-values.
        resamples: The number of resamples.

    Raises:
        UserError: The scores are not of the same examples, or predictions are missing or changed.
    """
    refuse_different_tasks(runs)
    labels = LABELS[: len(runs)]
    folders = dict(zip(labels, (run.folder for run in runs), strict=True))
    chosen, notes = choose_rows(languages, dict(zip(labels, rows, strict=True)), folders)
    measurements = {
        (label, language): _measurement(run, side_rows[label], language)
        for label, run in zip(labels, runs, strict=True)
        for language, side_rows in chosen.items()
    }
    pairs = [
        Pair(label, labels[0], language, measurements[label, language], measurements[labels[0], language])
        for label in labels[1:]
        for language in chosen
    ]
    sides = tuple(
        Side(label, str(run.folder), _seeds(measurements[label, language] for language in chosen))
        for label, run in zip(labels, runs, strict=True)
    )
    for pair in pairs:
        if pair.first.adapter != pair.second.adapter:
            adapters = f"{pair.second.adapter} in {pair.against}, {pair.first.adapter} in {pair.of}"
            notes.append(f"{pair.language} went through different adapters: {adapters}")
    first = rows[0][0]
    return compare_pairs(pairs, sides, first.split, first.limited, notes, seed=seed, resamples=resamples)


def compare_controls(
    run: Run,
    rows: Sequence[Row],
    *,
    languages: str = "all",
    known: Statistics | None = None,
    seed: int = 0,
    resamples: int = TEST_RESAMPLES,
) -> Comparison:
    """Compare each language's own adapter with the controls: with the source's adapter, and with none.

    Args:
        run: The run.
        rows: Its rows of one split and limit.
        languages: As for `compare_runs`.
        known: Statistics that are in memory; those that are read are added.
        seed: The same seed gives the same intervals and p-values.
        resamples: The number of resamples.

    Raises:
        UserError: No row is a control, or predictions are missing or changed.
    """
    chosen, _ = choose_rows(languages, {"own": rows}, {"own": run.folder})
    known = {} if known is None else known
    pairs = []
    for control in ("source", "none"):
        for language, side_rows in chosen.items():
            data = side_rows["own"][0].language
            controls = {row.seed: row for row in rows if (row.language, row.control) == (data, control)}
            # The source language goes through its own adapter in either case.
            both = [
                row for row in side_rows["own"] if row.seed in controls and row.adapter != controls[row.seed].adapter
            ]
            if both:
                second = Measurement.load(run, [controls[row.seed] for row in both], known)
                pairs.append(Pair("own", control, language, Measurement.load(run, both, known), second))
    if not pairs:
        scored = [row for side_rows in chosen.values() for row in side_rows["own"]]
        raise UserError(
            f"{run.folder} has no scores through another adapter to compare with; create some with: "
            f"{scoring_command(run.folder, scored, controls=('source', 'none'))}"
        )
    names = {
        "own": "the language's own adapter",
        "source": f"the source's adapter ({run.plan.source_languages[0]})",
        "none": "no adapter",
    }
    sides = tuple(
        Side(label, name, _seeds(measurements))
        for label, name in names.items()
        if (measurements := [each for pair in pairs for each in pair.of_side(label)])
    )
    notes = [note for language in chosen if (note := _other_adapters(run, rows, language, chosen[language]["own"]))]
    return compare_pairs(pairs, sides, rows[0].split, rows[0].limited, notes, seed=seed, resamples=resamples)


def _other_adapters(run: Run, rows: Sequence[Row], selected: str, compared: Sequence[Row]) -> str:
    """Return through which other adapters a language was scored that are not compared, and the command that does it."""
    language, adapter = compared[0].language, compared[0].adapter
    own = [row for row in rows if row.control == "own" and row.language == language and row.adapter != adapter]
    others = list(dict.fromkeys(f"{language}={row.adapter}" for row in own if row.adapter))
    if not others or "=" in selected:
        return ""
    command = shlex.join(["xmodctl", "compare", str(run.folder), "--langs", ",".join(others)])
    return f"{language} is compared through {adapter or 'no adapter'} alone; to compare {', '.join(others)}: {command}"


def rows_of(run: Run, split: str) -> list[Row]:
    """Return a run's rows of a split: of whole splits, or else of the largest --limit.

    Raises:
        UserError: There are none.
    """
    return rows_in_common([run], split)[0][0]


def _over_data_sets(
    sets: Sequence[DataSetRows], notes: Sequence[str], compare_one: Callable[[DataSetRows], Comparison]
) -> Comparison:
    """Return the comparison on the first data set that can be compared, with those on the others.

    Raises:
        UserError: There is none.
    """
    comparisons, problems = [], []
    for each in sets:
        try:
            comparison = compare_one(each)
        except UserError as problem:
            problems.append((each.name, problem))
        else:
            comparisons.append(replace(comparison, data_set=each.name) if len(sets) > 1 else comparison)
    if not comparisons:
        raise problems[0][1]
    skipped = [f"not compared on {name}: {problem}" for name, problem in problems]
    first = comparisons[0]
    return replace(first, notes=(*notes, *first.notes, *skipped), others=tuple(comparisons[1:]))


def _measurement(run: Run, rows: Sequence[Row], language: str) -> Measurement:
    try:
        return Measurement.load(run, rows)
    except UserError as error:
        raise UserError(f"{error}; or compare the other languages with --langs all,-{language}") from None


def _seeds(measurements: Iterable[Measurement]) -> tuple[int, ...]:
    return tuple(sorted({seed for measurement in measurements for seed in measurement.seeds}))
