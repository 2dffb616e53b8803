"""The commands as functions: fine-tune, evaluate, load. The command line draws what these tell their listener."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from xmodctl.core.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from xmodctl.adapters.packages import Package
    from xmodctl.catalog.task import Split
    from xmodctl.evaluation.results import Failure, Report, Row
    from xmodctl.languages import Target
    from xmodctl.model import Source
    from xmodctl.run.run import Run
from xmodctl.core.arguments import as_paths, as_selection, check_choice
from xmodctl.core.events import Listener, Notice, warn
from xmodctl.run.loading import find_base, find_run, refuse_unfinished

CONTROLS = ("source", "none")
SPLITS = ("train", "validation", "test")
SCORING_KEYS = ("columns", "labels_mapped", "language_column", "language_ends_at", "languages")
"""Keys of a task that say how data is written: a trained run can score data that is written in another way."""


def evaluate(
    run: "Run | Path | str | None",
    langs: str | Sequence[str],
    *,
    split: str = "test",
    controls: Sequence[str] = (),
    precision: str = "auto",
    data: Path | str | None = None,
    limit: int | None = None,
    on_exists: str = "missing",
    adapters: Path | str | Sequence[Path | str] = (),
    overrides: Mapping[str, Any] | None = None,
    listen: Listener | None = None,
) -> "Report":
    """Score a run in other languages, as `xmodctl eval-transfer` does, and return the report.

    A language that could not be scored is in the report's `failures`, with the reason.

    Args:
        run: A run or its folder; None is the newest under `runs/`.
        langs: What `--langs` takes (`de_DE,fr`, `all`, `@task`, `all,-zh_TW`, `jv=id_ID`), or a list of such parts.
        split: test, validation or train.
        controls: Score also through the `source` language's adapter, or through `none`.
        precision: auto, fp32, bf16 or fp16.
        data: A folder of local data; None is what the run was trained on.
        limit: Take only the first rows of each language (marked in results).
        on_exists: What to do with scores that are there: missing scores the others, redo all; error refuses.
        adapters: Packages of languages that the base lacks: their folders, or what the store calls them.
        overrides: Keys of the task that say how the data is written (`SCORING_KEYS`), and their values.
        listen: Is called with each event; without one, cautions become Python warnings.

    Raises:
        UserError: Nothing can be scored, or something else that the caller can mend.
    """
    listen = listen or warn
    found = scored_with(find_run(run), overrides or {}, origin="overrides")
    folder = data_folder(found, Path(data) if data is not None else None, split, listen)
    wish = Wish(as_selection(langs), split, tuple(controls), folder, limit, precision, on_exists, as_paths(adapters))
    return measure(found, wish, listen)[0]


@dataclass(frozen=True)
class Wish:
    """What an evaluation is asked for.

    Raises:
        UserError: A value is none of those allowed.
    """

    langs: str
    split: str
    controls: tuple[str, ...]
    data: Path | None
    limit: int | None
    precision: str
    on_exists: str
    adapters: tuple[Path | str, ...] = ()

    def __post_init__(self) -> None:
        check_choice("--on-exists", self.on_exists, ("missing", "redo", "error"))
        check_choice("--split", self.split, SPLITS)
        for control in self.controls:
            check_choice("--controls", control, CONTROLS)


def measure(run: "Run", wish: Wish, listen: Listener) -> "tuple[Report, list[Row]]":
    """Sweep the languages and gather what was measured.

    Raises:
        UserError: Nothing can be scored.
    """
    from xmodctl.adapters.store import choose_all, unused_packages
    from xmodctl.evaluation.measurements import with_intervals
    from xmodctl.evaluation.results import report

    refuse_unfinished(run)
    source = find_base(run)
    packages = choose_all(wish.adapters, source)
    for package in packages:
        replaces = package.language in source.languages
        told = f"{package.language}: the adapter in {package.folder}, sha256 {package.sha256[:12]}"
        listen(Notice(told + (", in the place of the model's own" if replaces else ""), caution=replaces))
    for package in unused_packages(wish.langs, source, packages):
        told = f"the store has an adapter for {package.language}, which is not used without --adapter {package.name}"
        listen(Notice(told, caution=True))
    targets = choose(run, source, wish, listen, packages=packages)
    rows, failures = sweep(run, source, targets, wish, listen, packages=packages)
    return with_intervals(report(run.folder.name, rows, failures), run, rows), rows


def sweep(
    run: "Run",
    source: "Source",
    targets: "Sequence[Target]",
    wish: Wish,
    listen: Listener,
    *,
    packages: "Sequence[Package]" = (),
) -> "tuple[list[Row], list[Failure]]":
    """Score targets, telling what happens.

    Raises:
        UserError: Nothing can be scored.
    """
    from xmodctl.evaluation.results import Failure
    from xmodctl.evaluation.sweep import Scored, Sweep
    from xmodctl.model.precision import resolve_precision
    from xmodctl.run.folder import locked

    with locked(run.folder):
        events = Sweep(
            run,
            source,
            targets,
            split=cast("Split", wish.split),
            controls=wish.controls,
            folder=wish.data,
            limit=wish.limit,
            redo=wish.on_exists == "redo",
            precision=resolve_precision(wish.precision),
            packages=packages,
        )
        if wish.on_exists == "error" and (there := events.measured()):
            raise UserError(
                f"{', '.join(sorted({row.language for row in there}))} already scored in {run.results}; "
                "keep those with --on-exists missing, or score again with redo"
            )
        rows: list[Row] = []
        failures: list[Failure] = []
        for event in events:
            listen(event)  # type: ignore[arg-type]
            if isinstance(event, Scored):
                rows.append(event.row)
            elif isinstance(event, Failure):
                failures.append(event)
    if not rows:
        raise UserError(f"nothing could be scored: {failures[0].language}: {failures[0].reason}")
    return rows, failures


def choose(
    run: "Run", source: "Source", wish: Wish, listen: Listener, *, packages: "Sequence[Package]" = ()
) -> "list[Target]":
    """Return what is to be scored: the source language first, then what was asked for, in that order.

    Raises:
        UserError: A name is wrong, or nothing is left.
    """
    from xmodctl.adapters.attaching import available_languages
    from xmodctl.data import coverage
    from xmodctl.languages import expand, same

    task, named = run.plan.task, [part.strip() for part in wish.langs.split(",")]
    there = coverage(task, wish.data)
    languages: Mapping[str, str | None] = task.languages
    if "all" in named and wish.data:
        languages = {code: task.languages.get(code) for code in there}
    expansion = expand(
        wish.langs,
        available_languages(source, packages),
        model=run.plan.model,
        task_languages=languages,
        open_languages=source.open_languages,
        besides=run.plan.source_languages,
    )
    for code, reason in expansion.missing:
        listen(Notice(f"{code} is left out: {reason}", caution=True))
    targets = list(expansion.targets)
    if wish.data and any(part in ("all", "@task") for part in named):
        lacking = [target for target in targets if not any(same(code, target.data) for code in there)]
        if lacking:
            told = f"left out, {wish.data} has no data: {', '.join(target.data for target in lacking)}"
            listen(Notice(told, caution=True))
        targets = [target for target in targets if target not in lacking]
    for target in targets:
        if target.note:
            listen(Notice(target.note, caution=True))
    excluded = [part[1:] for part in named if part.startswith("-")]
    if wish.data and not there and len({target.data for target in targets}) == 1:
        return targets  # files that do not tell their language are all in this one, and none in the source
    for language in reversed(run.plan.source_languages):
        mine = expand(language, [language], model=run.plan.model, task_languages=languages).targets
        if mine[0] not in targets and not any(same(part, language) for part in excluded):
            listen(Notice(f"{language} is scored too: gaps are measured from the source language"))
        elif mine[0] not in targets:
            continue
        targets = [*mine[:1], *(target for target in targets if target != mine[0])]
    if not targets:
        raise UserError(
            f"--langs {wish.langs} leaves nothing to score; `xmodctl langs --task {task.name}` lists what there is"
        )
    return targets


def data_folder(run: "Run", data: Path | None, split: str, listen: Listener) -> Path | None:
    """Return the data folder asked for, or else the run's, or None for the Hub.

    Raises:
        UserError: It is no folder.
    """
    if data is None and run.plan.data:
        data = Path(run.plan.data)
        listen(Notice(f"data: {data}, as in the run"))
    if data is not None and not data.is_dir():
        raise UserError(f"--data {data} is not a folder; it should hold LANGUAGE/{split}.jsonl and the like")
    return data


def scored_with(run: "Run", overrides: Mapping[str, Any], *, origin: str) -> "Run":
    """Return the run as it scores data that is written in another way: keys of its task, and their values.

    Raises:
        UserError: A key is none of `SCORING_KEYS`, or its value is wrong.
    """
    for key in overrides:
        if key.partition(".")[0] not in SCORING_KEYS:
            raise UserError(
                f"{origin} {key}: a trained run can be told how other data is written, with {', '.join(SCORING_KEYS)}"
                f"{did_you_mean(key, SCORING_KEYS)}; anything else is for finetune"
            )
    return run.with_task(overrides, origin=origin) if overrides else run
