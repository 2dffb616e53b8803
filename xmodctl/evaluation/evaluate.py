"""`xmodctl eval-transfer` as a function: a run scored in other languages."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from xmodctl.adapters.mixtures import BY_ENTROPY, BY_TYPOLOGY, with_mixtures
from xmodctl.adapters.store import choose_all, unused_packages
from xmodctl.adapters.typological_mixtures import mixture_by_typology
from xmodctl.catalog.locations import Split
from xmodctl.core.arguments import as_overrides
from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.core.events import Listener, Notice, warn
from xmodctl.core.reading import file_and_sheet
from xmodctl.core.requests import command
from xmodctl.evaluation.compare import compare_controls
from xmodctl.evaluation.data_sets import by_data_set
from xmodctl.evaluation.entropy_mixtures import EntropySearch
from xmodctl.evaluation.measurements import Statistics, with_intervals
from xmodctl.evaluation.requests import DonorsRequest, EvaluationRequest
from xmodctl.evaluation.results import Failure, Report, Row, read_rows
from xmodctl.evaluation.results import report as summarize
from xmodctl.evaluation.sharing import Processes, follow, result_of
from xmodctl.evaluation.sweep import Sweep
from xmodctl.evaluation.sweep_data import SweepData
from xmodctl.evaluation.targets import evaluation_targets
from xmodctl.evaluation.untrained import untrained_run
from xmodctl.run.jobs import joined_unless_read_only
from xmodctl.run.loading import announced_run, find_base, find_run, refuse_unfinished
from xmodctl.run.scored import stored_mixtures
from xmodctl.run.shards import Shard
from xmodctl.training.masked_lm.mixing import finder
from xmodctl.training.world import World

if TYPE_CHECKING:
    from xmodctl.adapters.mixtures import Attached
    from xmodctl.adapters.packages import Package
    from xmodctl.evaluation.comparison import Comparison
    from xmodctl.model import Source
    from xmodctl.run.run import Run

SCORING_KEYS = (
    "columns", "evaluation.columns", "labels_mapped", "language_column", "language_ends_at", "languages", "tagged_text",
)  # fmt: skip
"""Keys of a task that describe how data is written: a trained run can score data that is written in another way."""


@command(EvaluationRequest)
def evaluate(request: EvaluationRequest) -> Report:
    """Score a run in other languages, each through its own adapter, and return the report.

    The shared weights are loaded once; each language brings its own adapter. Scores that exist are kept, also those of
    other data. The source language is scored too, because gaps are measured from it (exclude it with `-en_XX`). If
    `langs` does not name it, it is read with the run's own settings, whatever `overrides` say, and a notice says so if
    it has no data. A language that could not be scored is in the report's `failures`, with the reason.

    With `task`, sentence embeddings are scored without training: those of a base `model`, or of the body that a run
    trained. The scores are kept in a run of their own, which has no source language and so no gaps.

    Raises:
        UserError: Nothing can be scored, or an option is wrong.
        InProgressError: Other jobs are computing some of the scores.
    """
    world = World.join("eval-transfer")
    if not world.is_first:
        scored = result_of(follow(world, None if request.task else request.run, request.packages))
        failures = [Failure(**each) for each in scored["failures"]]
        return summarize(scored["run"], [Row.from_json(each) for each in scored["rows"]], failures)
    with Processes(world).leading() as processes:
        report = _evaluate(request, processes)
        processes.result = {
            "run": report.run,
            "rows": [row.to_json() for row in report.rows],
            "failures": [asdict(failure) for failure in report.failures],
        }
    return report


def _evaluate(request: EvaluationRequest, processes: Processes) -> Report:
    """Score a run with the processes of which this is the first."""
    listen = request.listen or warn
    if request.task is not None:
        request = replace(
            request, run=untrained_run(request, listen), task=None, model=None, out=None, overrides=None,
            language_column=None,
        )  # fmt: skip
    run = scored_run(request, request.overrides or {}, listen)
    folder = data_folder(run, request.data, request.split, listen)
    run = reading(run, folder)
    refuse_unfinished(run)
    source = find_base(run)
    processes.open(run)
    packages = choose_all(request.packages, source)
    _report_packages(request.selection, source, packages, listen)
    selection, attached = _mixed(request, run, source, packages, folder, listen)
    split = as_split(request.split)
    chosen = evaluation_targets(run, source, selection, folder, split, listen, packages=attached)
    sweep = new_sweep(request, run, source, folder, attached, listen, processes)
    sweep.unasked = chosen.unasked
    shard = Shard.chosen(request.shard, listen)
    alone = request.on_exists == "redo" and shard.count == 1
    with joined_unless_read_only(run.folder, alone=alone) as jobs:
        if request.on_exists == "error":
            refuse_stored(run, sweep.stored_rows(chosen.targets, request.control_names, shard))
        held = sweep.score(chosen.targets, request.control_names, jobs=jobs, shard=shard, wait=request.wait)
        progress = jobs.in_progress(held) if held else None
    if progress and not sweep.rows:
        raise progress
    refuse_nothing(sweep.rows, sweep.failures)
    report = summarize(run.folder.name, sweep.rows, sweep.failures)
    report = with_intervals(report, run, sweep.rows, known=sweep.statistics)
    report = replace(report, data_set=data_set_among_others(run, sweep.rows, listen))
    if request.control_names:
        report = replace(report, control_comparison=compare_with_controls(run, sweep.rows, sweep.statistics, listen))
    listen(Notice(f"results: {run.results}"))
    if progress:
        progress.result = report
        raise progress
    return report


def _mixed(
    request: EvaluationRequest,
    run: "Run",
    source: "Source",
    packages: "Sequence[Package]",
    folder: Path | None,
    listen: Listener,
) -> "tuple[str, tuple[Attached, ...]]":
    """Return the selection with mixtures under their names, and the packages and mixtures."""
    stored = stored_mixtures(run.results, request.selection)
    find = finder(request.mix_files, source, packages, listen)
    if request.mix_by == BY_ENTROPY:
        data = SweepData(run.plan.task, None, as_split(request.split), folder, request.limit)
        find = EntropySearch(run, source, packages, data, request.precision, listen).find
    if request.mix_by == BY_TYPOLOGY:
        find = partial(mixture_by_typology, source=source, packages=packages, listen=listen)
    selection, mixtures = with_mixtures(request.selection, source, packages, listen, find=find, stored=stored)
    return selection, (*packages, *mixtures)


def scored_run(request: EvaluationRequest | DonorsRequest, overrides: Mapping[str, Any], listen: Listener) -> "Run":
    """Return the run to score, with what the request says about how its data is written.

    Raises:
        UserError: There is no such run, or a key of the task cannot be overridden, or its value is wrong.
    """
    run = announced_run(request.run, listen)
    for key in overrides:
        if not any(key == known or key.startswith(f"{known}.") for known in SCORING_KEYS):
            raise UserError(
                f"--set {key}: for a trained run, you can only override how other data is written: "
                f"{', '.join(SCORING_KEYS)}{did_you_mean(key, SCORING_KEYS)}; anything else is an option of finetune"
            )
    if overrides:
        run = run.with_task(overrides, origin="--set")
    if request.language_column:
        run = run.with_task({"language_column": request.language_column}, origin="--lang-column")
    return run


def data_folder(run: "Run", data: str | Path | None, split: str, listen: Listener) -> Path | None:
    """Return the given local data, or else the run's, or None for the Hub.

    Raises:
        UserError: It does not exist.
    """
    if data is None and run.plan.data:
        data = run.plan.data
        listen(Notice(f"data: {data}, as in the run"))
    if data is not None and not file_and_sheet(data)[0].exists():
        raise UserError(
            f"--data {data} is not a folder or a file; give a file, or a folder of files such as LANGUAGE/{split}.jsonl"
        )
    return Path(data) if data is not None else None


def reading(run: "Run", folder: Path | None) -> "Run":
    """Return the run as it reads local data: what its own data showed is not known of other data."""
    task = run.plan.task
    if folder is None or (run.plan.data and folder.resolve() == Path(run.plan.data)):
        return run
    unknown: dict[str, Any] = {"languages": {}} if "languages" in task.from_data else {}
    if file_and_sheet(folder)[0].is_file() and task.split_seed is not None:
        unknown["split_seed"] = None  # all rows of another file are of the split to score
    return run.with_task(unknown, origin="--data") if unknown else run


def new_sweep(
    request: EvaluationRequest | DonorsRequest,
    run: "Run",
    source: "Source",
    folder: Path | None,
    packages: "Sequence[Attached]",
    listen: Listener,
    processes: Processes,
) -> Sweep:
    """Return a sweep that follows a request."""
    read_as = dict(request.overrides or {}) if isinstance(request, EvaluationRequest) else {}
    if request.language_column:
        read_as["language_column"] = request.language_column
    return Sweep(
        run,
        source,
        listen,
        split=as_split(request.split),
        folder=folder,
        limit=request.limit,
        redo=request.on_exists == "redo",
        precision=request.precision,
        packages=packages,
        own_task=find_run(run.folder).plan.task if read_as else None,
        read_as=" ".join(sorted(as_overrides(read_as))),
        processes=processes,
    )


def as_split(name: str) -> Split:
    """Return the split of a name that a request has checked."""
    return next(split for split in get_args(Split) if split == name)


def data_set_among_others(run: "Run", rows: Sequence[Row], listen: Listener) -> str:
    """Return the name of the data set of rows if the run has scores of others too, which a notice names."""
    first, keys = rows[-1], {row.key for row in rows}
    stored = [row for row in read_rows(run.results) if (row.split, row.limited) == (first.split, first.limited)]
    sets = by_data_set(stored)
    own_set = max(sets, key=lambda each: len(keys & {row.key for row in each.rows[0]}))
    others = [each.name for each in sets if each is not own_set]
    if not others:
        return ""
    listen(Notice(f"{run.folder} also has scores on other data, which are kept separate: {'; '.join(others)}"))
    return own_set.name


def refuse_stored(run: "Run", rows: Sequence[Row]) -> None:
    """Refuse to score what is scored already.

    Raises:
        UserError: There are such scores.
    """
    if rows:
        languages = ", ".join(sorted({row.language for row in rows}))
        raise UserError(
            f"{run.results} has scores of {languages} already; "
            "keep them with --on-exists missing, or score again with --on-exists redo"
        )


def refuse_nothing(rows: Sequence[Row], failures: Sequence[Failure]) -> None:
    """Refuse a sweep without a single score.

    Raises:
        UserError: Every language failed; the message gives the first reason.
    """
    if not rows:
        reason = (
            f"{failures[0].language}: {failures[0].reason}" if failures else "there is no test data in these languages"
        )
        raise UserError(f"nothing could be scored: {reason}")


def compare_with_controls(run: "Run", rows: Sequence[Row], known: Statistics, listen: Listener) -> "Comparison | None":
    """Compare each language's own adapter with the controls; where nothing can be compared, say why."""
    try:
        return compare_controls(run, rows, known=known)
    except UserError as problem:
        listen(Notice(str(problem), caution=True))
        return None


def _report_packages(langs: str, source: "Source", packages: "Sequence[Package]", listen: Listener) -> None:
    """Say which adapter packages are used, and which of the store could be."""
    for package in packages:
        replaces = package.language in source.languages
        text = f"{package.language}: adapter from {package.folder}, sha256 {package.sha256[:12]}"
        listen(Notice(text + (", instead of the model's own" if replaces else ""), caution=replaces))
    for package in unused_packages(langs, source, packages):
        text = f"the store has an adapter for {package.language}; use it with --adapter {package.name}"
        listen(Notice(text, caution=True))
