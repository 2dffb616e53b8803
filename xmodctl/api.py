"""The commands as functions: fine-tune, evaluate, load. The command line draws what these tell their listener."""

import inspect
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from xmodctl.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from xmodctl.adapters import Package
    from xmodctl.languages import Target
    from xmodctl.model import Source, Xmod
    from xmodctl.planning import Asked
    from xmodctl.results import Failure, Report, Row
    from xmodctl.run import Run
    from xmodctl.task import Split

DEFAULT_MODEL = "facebook/xmod-base"
CONTROLS = ("source", "none")
SPLITS = ("train", "validation", "test")
SCORING_KEYS = ("columns", "labels_mapped", "language_column", "language_ends_at", "languages")
"""Keys of a task that say how data is written: a trained run can score data that is written in another way."""


@dataclass(frozen=True)
class Told:
    """Something a user should know; a caution is what may be other than meant."""

    text: str
    caution: bool = False


@dataclass(frozen=True)
class Opened:
    """The run's folder is there and locked; training begins or goes on."""

    run: "Run"


Listener = Callable[[Any], None]
"""Is given each event as it happens: `Told`, `Opened`, and those of `xmodctl.fine_tuning` and `xmodctl.evaluation`."""


def finetune(
    task: str,
    lang: str | Sequence[str],
    *,
    model: str = DEFAULT_MODEL,
    recipe: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    seeds: int | Sequence[int] = 1,
    precision: str = "auto",
    data: Path | str | None = None,
    limit: int | None = None,
    shots: int | None = None,
    shot_langs: str | Sequence[str] = (),
    shot_seeds: int = 1,
    out: Path | str | None = None,
    on_exists: str = "resume",
    track: Sequence[str] = (),
    listen: Listener | None = None,
) -> "Run":
    """Fine-tune a model in one language or several, as `xmodctl finetune` does, and return the finished run.

    Args:
        task: A shipped task, or the path of a YAML file.
        lang: The language to train in, in any spelling; several in a list or between commas.
        model: A Hub id (`@REVISION` may follow), a folder, or `mini`.
        recipe: A shipped recipe or the path of a YAML file; the task names the default.
        overrides: Keys of recipe or task and their values, what `--set` gives.
        seeds: One training a seed.
        precision: auto, fp32, bf16 or fp16.
        data: A folder of local data; None is the Hub.
        limit: Take only the first rows.
        shots: How many examples of each language of `shot_langs` are trained on, too.
        shot_langs: Target languages; shots are drawn from their training data, or else their validation data.
        shot_seeds: How many draws of shots are trained on, one run's seed each; `seeds` is then a single one.
        out: The run's folder; by default one under `runs/`.
        on_exists: What to do with a run that is there: resume, redo or error.
        track: Trackers that are sent the curves: tensorboard, wandb, trackio, mlflow.
        listen: Is called with each event; without one, cautions become Python warnings.

    Raises:
        UserError: Something that the caller can mend.
        KeyboardInterrupt: The training was interrupted; the same call goes on from there.
    """
    from xmodctl.fine_tuning import Interrupted
    from xmodctl.planning import Asked, draws

    chosen = as_seeds(seeds)
    asked = Asked(
        task,
        _between_commas(lang),
        model,
        recipe,
        as_set(overrides),
        Path(data) if data is not None else None,
        limit,
        precision,
        shots,
        _between_commas(shot_langs),
    )
    asked, chosen = draws(asked, chosen, shot_seeds)
    try:
        return train(asked, chosen, Path(out) if out is not None else None, on_exists, listen or warn, track=track)
    except Interrupted as stopped:
        raise KeyboardInterrupt(str(stopped)) from stopped


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
    wish = Wish(_between_commas(langs), split, tuple(controls), folder, limit, precision, on_exists, _several(adapters))
    return measure(found, wish, listen)[0]


@dataclass(frozen=True)
class Loaded:
    """A run's trained model in memory, one language's adapter active."""

    run: "Run"
    xmod: "Xmod"
    languages: tuple[str, ...]  # of the base and of packages
    tokenizers: Mapping[str | None, "PreTrainedTokenizerBase"]  # the base's under None, languages' own under their name

    @property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """What the active language is read with: the base's tokenizer, or the language's own where it has one."""
        return self.tokenizers.get(self.xmod.active, self.tokenizers[None])

    @property
    def module(self) -> "PreTrainedModel":
        """The transformers model: what it returns for a tokenized batch depends on the active language."""
        return self.xmod.module

    def use(self, lang: str) -> None:
        """Make texts go through another language's adapter, in any spelling; it is read if it is not in memory.

        Raises:
            UserError: The model has no such language.
        """
        self.xmod.use(adapter_of(self.run, self.xmod.source, lang, self.languages))


def load(
    run: "Run | Path | str | None" = None,
    lang: str | None = None,
    *,
    seed: int | None = None,
    device: str | None = None,
    adapters: Path | str | Sequence[Path | str] = (),
) -> Loaded:
    """Load a run's trained model.

    Args:
        run: A run or its folder; None is the newest under `runs/`.
        lang: The language whose adapter is active, in any spelling; by default the one it was trained in.
        seed: Which seed; by default the first.
        device: Where it lies; by default an accelerator, if there is one.
        adapters: Packages of languages that the base lacks: their folders, or what the store calls them.

    Raises:
        UserError: The run is not trained to its end, or has no such seed or language.
    """
    from xmodctl.adapters import choose_all, spoken, tokenizers
    from xmodctl.evaluation import Trained

    found = find_run(run)
    chosen = chosen_seed(found, seed)
    source = find_base(found)
    packages = choose_all(_several(adapters), source)
    languages = spoken(source, packages)
    adapter = adapter_of(found, source, lang, languages) if lang else found.plan.source_languages[0]
    trained = Trained.load(found, source, chosen, adapter, device=device, packages=packages)
    trained.model.activate(adapter)
    trained.model.module.eval()
    return Loaded(found, trained.model, languages, tokenizers(source, packages))


def train(
    asked: "Asked",
    seeds: tuple[int, ...],
    out: Path | None,
    on_exists: str,
    listen: Listener,
    *,
    track: Sequence[str] = (),
) -> "Run":
    """Plan, lock the run's folder, and train what is not trained yet.

    Raises:
        UserError: Something that the caller can mend.
        Interrupted: The user stopped it; what was done is saved.
    """
    from xmodctl.fine_tuning import fine_tune
    from xmodctl.folders import RUNS, locked
    from xmodctl.material import gather
    from xmodctl.model import find
    from xmodctl.planning import check_disk, estimate, resolve_plan
    from xmodctl.run import Run
    from xmodctl.trackers import Trackers, check

    one_of("--on-exists", on_exists, ("resume", "redo", "error"))
    check(track)
    resolved, source = resolve_plan(asked, find)
    for note in resolved.notes:
        listen(Told(note, caution=True))
    plan = resolved.plan
    folder = out or RUNS / plan.folder_name
    with ExitStack() as held:
        held.enter_context(locked(folder))
        materials = gather(plan, folder=asked.data)
        check_disk(folder, estimate(plan, source, [one.rows for one in materials], len(seeds)).disk)
        fingerprints = {name: value for one in materials for name, value in one.fingerprints.items()}
        run = Run.open(folder, plan, seeds, fingerprints, on_exists)
        listen(Opened(run))
        held.enter_context(own_accelerate_state())
        trackers = held.enter_context(Trackers(track, run))
        for event in fine_tune(run, source, materials):
            trackers.show(event)
            listen(event)
    return Run.read(folder)


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
        one_of("--on-exists", self.on_exists, ("missing", "redo", "error"))
        one_of("--split", self.split, SPLITS)
        for control in self.controls:
            one_of("--controls", control, CONTROLS)


def measure(run: "Run", wish: Wish, listen: Listener) -> "tuple[Report, list[Row]]":
    """Sweep the languages and gather what was measured.

    Raises:
        UserError: Nothing can be scored.
    """
    from xmodctl.adapters import choose_all, offered
    from xmodctl.measurements import with_intervals
    from xmodctl.results import report

    refuse_unfinished(run)
    source = find_base(run)
    packages = choose_all(wish.adapters, source)
    for package in packages:
        replaces = package.language in source.languages
        told = f"{package.language}: the adapter in {package.folder}, sha256 {package.sha256[:12]}"
        listen(Told(told + (", in the place of the model's own" if replaces else ""), caution=replaces))
    for package in offered(wish.langs, source, packages):
        told = f"the store has an adapter for {package.language}, which is not used without --adapter {package.name}"
        listen(Told(told, caution=True))
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
    from xmodctl.evaluation import Scored, Sweep
    from xmodctl.folders import locked
    from xmodctl.results import Failure
    from xmodctl.training import resolve_precision

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
            listen(event)
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
    from xmodctl.adapters import spoken
    from xmodctl.data import coverage
    from xmodctl.languages import expand, same

    task, named = run.plan.task, [part.strip() for part in wish.langs.split(",")]
    there = coverage(task, wish.data)
    languages: Mapping[str, str | None] = task.languages
    if "all" in named and wish.data:
        languages = {code: task.languages.get(code) for code in there}
    expansion = expand(
        wish.langs,
        spoken(source, packages),
        model=run.plan.model,
        task_languages=languages,
        open_languages=source.open_languages,
        besides=run.plan.source_languages,
    )
    for code, reason in expansion.missing:
        listen(Told(f"{code} is left out: {reason}", caution=True))
    targets = list(expansion.targets)
    if wish.data and any(part in ("all", "@task") for part in named):
        lacking = [target for target in targets if not any(same(code, target.data) for code in there)]
        if lacking:
            told = f"left out, {wish.data} has no data: {', '.join(target.data for target in lacking)}"
            listen(Told(told, caution=True))
        targets = [target for target in targets if target not in lacking]
    for target in targets:
        if target.note:
            listen(Told(target.note, caution=True))
    excluded = [part[1:] for part in named if part.startswith("-")]
    if wish.data and not there and len({target.data for target in targets}) == 1:
        return targets  # files that do not tell their language are all in this one, and none in the source
    for language in reversed(run.plan.source_languages):
        mine = expand(language, [language], model=run.plan.model, task_languages=languages).targets
        if mine[0] not in targets and not any(same(part, language) for part in excluded):
            listen(Told(f"{language} is scored too: gaps are measured from the source language"))
        elif mine[0] not in targets:
            continue
        targets = [*mine[:1], *(target for target in targets if target != mine[0])]
    if not targets:
        raise UserError(
            f"--langs {wish.langs} leaves nothing to score; `xmodctl langs --task {task.name}` lists what there is"
        )
    return targets


def find_run(run: "Run | Path | str | None") -> "Run":
    """Return a run that is given as itself, as its folder, or not at all: then it is the newest.

    Raises:
        UserError: There is none.
    """
    from xmodctl.run import Run, newest_run

    if run is None:
        return newest_run()
    return run if isinstance(run, Run) else Run.read(Path(run))


def find_base(run: "Run") -> "Source":
    """Find the base model that a run was trained on, at the very revision."""
    from xmodctl.model import find

    model, revision = run.plan.model, run.plan.revision
    on_hub = "/" in model and not Path(model).is_absolute()
    return find(f"{model}@{revision}" if on_hub and revision else model)


def data_folder(run: "Run", data: Path | None, split: str, listen: Listener) -> Path | None:
    """Return the data folder asked for, or else the run's, or None for the Hub.

    Raises:
        UserError: It is no folder.
    """
    if data is None and run.plan.data:
        data = Path(run.plan.data)
        listen(Told(f"data: {data}, as in the run"))
    if data is not None and not data.is_dir():
        raise UserError(f"--data {data} is not a folder; it should hold LANGUAGE/{split}.jsonl and the like")
    return data


def adapter_of(run: "Run", source: "Source", lang: str, languages: Sequence[str]) -> str:
    """Return the adapter that a spelling of a language means, of `languages`.

    Raises:
        UserError: It means none of them.
    """
    from xmodctl.languages import resolve

    return resolve(lang, languages, model=run.plan.model, open_languages=source.open_languages).adapter


def refuse_unfinished(run: "Run") -> None:
    """Refuse a run that has nothing to score yet.

    Raises:
        UserError: No seed is trained to its end.
    """
    if not run.finished_seeds:
        raise UserError(f"{run.folder} is not trained to its end; give its finetune command again, and it goes on")


def chosen_seed(run: "Run", seed: int | None) -> int:
    """Return the seed asked for, or else the first.

    Raises:
        UserError: It is not trained to its end.
    """
    refuse_unfinished(run)
    if seed is None:
        return run.finished_seeds[0]
    if seed not in run.finished_seeds:
        raise UserError(f"--seed {seed}: {run.folder} has {', '.join(map(str, run.finished_seeds))}")
    return seed


def one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is none of those allowed.

    Raises:
        UserError: It is not.
    """
    if value not in allowed:
        raise UserError(f"{option} {value}: choose {', '.join(allowed)}{did_you_mean(value, allowed)}")


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


def _several(adapters: Path | str | Sequence[Path | str]) -> tuple[Path | str, ...]:
    return (adapters,) if isinstance(adapters, Path | str) else tuple(adapters)


def _between_commas(langs: str | Sequence[str]) -> str:
    return langs if isinstance(langs, str) else ",".join(langs)


def as_set(overrides: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return keys and values as `--set` takes them, which reads YAML: so it reads JSON."""
    return tuple(f"{key}={json.dumps(value)}" for key, value in (overrides or {}).items())


def as_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Return seeds as `--seeds` reads them.

    Raises:
        UserError: One is there twice, or negative.
    """
    from xmodctl.fine_tuning import seeds_from

    return seeds_from(",".join(map(str, [seeds] if isinstance(seeds, int) else seeds)))


def warn(event: Any) -> None:
    """Turn cautions into Python warnings, at the caller's line; other events are for those who listen."""
    if isinstance(event, Told) and event.caution:
        level, frame = 1, inspect.currentframe()
        while frame and frame.f_code.co_filename.startswith(f"{Path(__file__).parent}{os.sep}"):
            level, frame = level + 1, frame.f_back
        warnings.warn(event.text, stacklevel=level)


@contextmanager
def own_accelerate_state() -> Iterator[None]:
    """Let a training choose its precision, whatever was chosen in this process before; put that back afterwards.

    Accelerate keeps one state a process and refuses another precision: right for a script, wrong for a notebook.
    """
    from accelerate.state import AcceleratorState

    shared: dict[str, Any] = AcceleratorState._shared_state
    before = dict(shared)
    shared.clear()
    try:
        yield
    finally:
        shared.clear()
        shared.update(before)
