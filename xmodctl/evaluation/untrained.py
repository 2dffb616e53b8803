"""Runs without training: the sentence embeddings of a base model, or of a run's body, are scored like any other run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.catalog import catalog
from xmodctl.catalog.recipe import Recipe
from xmodctl.catalog.task import Task
from xmodctl.core.arguments import POOLINGS, check_choice
from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.core.events import Listener, ModelLoading, Notice
from xmodctl.core.reading import file_and_sheet
from xmodctl.core.schema import keys_of
from xmodctl.data.own_data import fit
from xmodctl.evaluation.requests import EvaluationRequest
from xmodctl.evaluation.vector_model import find_vector_model
from xmodctl.kinds import KINDS
from xmodctl.languages import resolve
from xmodctl.model.precision import resolve_precision
from xmodctl.run.deltas import body_tensors, is_delta, load_delta, save_delta
from xmodctl.run.home import runs_folder
from xmodctl.run.jobs import joined, locked
from xmodctl.run.loading import chosen_seed, find_base, find_run
from xmodctl.run.plan import Plan
from xmodctl.run.run import Run

if TYPE_CHECKING:
    from xmodctl.model import Source

VECTOR_KEYS = ("pooling", "layer", "prefix", "max_length")
"""Keys of `--set` that decide how texts become vectors."""

BASE_SEED = 0
"""The seed of a base model, which nothing was drawn for."""


def untrained_run(request: EvaluationRequest, listen: Listener) -> Run:
    """Return the run that scores the sentence embeddings of a model on a task; its folder is made if there is none.

    Raises:
        UserError: The task needs training, or an option is wrong.
    """
    if (request.model is None) == (request.run is None):
        raise UserError(
            f"--task {request.task}: its score needs vectors of a model; give the model with --model MODEL, or a run "
            "with --run DIR"
        )
    changes = dict(request.overrides or {})
    settings = {key: changes.pop(key) for key in VECTOR_KEYS if key in changes}
    if request.language_column:
        changes["language_column"] = request.language_column
    task = _with_local_data(_untrained_task(str(request.task), changes), request, listen)
    _checked(settings)
    trained = None if request.run is None else find_run(request.run)
    name = str(request.model) if trained is None else trained.plan.model
    listen(ModelLoading(name))
    prefix = (settings["prefix"] or "") if "prefix" in settings else None
    chosen = find_vector_model(
        request.model, trained, None, pooling=settings.get("pooling"), layer=settings.get("layer"), prefix=prefix
    )
    source, vectors = chosen.source, chosen.settings
    if trained is not None:
        vectors = replace(vectors, run=str(trained.folder.resolve()), run_digest=trained.plan.digest)
    match = resolve(
        task.language_of(task.source_language), source.languages, model=name, open_languages=source.open_languages
    )
    plan = Plan(
        task=task,
        recipe=Recipe(name="untrained", title="no training", max_length=_length(settings, source)),
        model=source.id,
        revision=source.revision,
        config_sha256=source.config_sha256,
        source_languages=(match.adapter,),
        data=str(Path(request.data).resolve()) if request.data is not None else None,
        limit=None,
        precision=resolve_precision(request.precision),
        vectors=vectors,
    )
    folder = runs_folder() / plan.folder_name if request.out is None else Path(request.out)
    run = _opened(folder, plan, source, trained)
    listen(Notice(f"run: {run.folder} (without training; vectors: {vectors})"))
    return run


def _untrained_task(name: str, changes: Mapping[str, Any]) -> Task:
    """Return a task as it is scored without training.

    Raises:
        UserError: It cannot be.
    """
    task = catalog.task(name)
    known = [key for key in keys_of(Task) if key not in ("name", "title", "kind")]
    for key in changes:
        if key.partition(".")[0] not in known:
            choices = (*VECTOR_KEYS, *known)
            raise UserError(
                f"--set {key}: there is no such key{did_you_mean(key, choices)}; keys: {', '.join(choices)}"
            )
    if changes:
        task = task.with_values(changes, origin="--set")
    kind = KINDS[task.kind]
    if not kind.trains:
        return task
    if not kind.untrained:
        raise UserError(
            f"{task.title} is scored after training: run `xmodctl finetune --task {name} --lang en`, and give its "
            "folder with --run, without --task"
        )
    if "text_pair" not in {**task.columns, **task.find}:
        raise UserError(f"{task.title} has one text per row; without training, only pairs of texts are compared")
    required = {"find": {**task.find, "text_pair": "required"}} if "text_pair" in task.find else {}
    return task.with_values({"kind": kind.untrained, **required}, origin=f"the task {task.name}")


def _with_local_data(task: Task, request: EvaluationRequest, listen: Listener) -> Task:
    """Return a task with what local data shows of it.

    Raises:
        UserError: There is no data, or it lacks what the task needs.
    """
    data = request.data
    if data is None:
        if task.is_open:
            raise UserError(f"the task {task.name} reads your own data; give it with --data FILE or --data DIR")
        return task
    folder = Path(data)
    file, _ = file_and_sheet(data)
    if not file.exists():
        raise UserError(
            f"--data {data} is not a folder or a file; give a file, or a folder such as LANGUAGE/test.jsonl"
        )
    if file.is_file() and not task.split_column:
        task = task.with_values({"split_seed": None}, origin="--data")
    named = [part for part in request.selection.split(",") if part not in ("all", "@task") and part[:1] != "-"]
    fitted = fit(task, folder, [part.partition("=")[0].strip() for part in named] or (task.source_language,))
    for text in fitted.remarks:
        listen(Notice(text))
    for text in fitted.cautions:
        listen(Notice(text, caution=True))
    if not file.is_file() or fitted.task.language_column:
        return fitted.task
    if len(named) != 1:
        raise UserError(
            f"--langs {request.selection}: {data} does not give the language of its rows; name one language, or the "
            "column with --lang-column NAME"
        )
    return fitted.task.with_values({"languages": {}}, origin="--data") if task.is_open else fitted.task


def _checked(settings: Mapping[str, Any]) -> None:
    """Refuse values of `VECTOR_KEYS` of a wrong type.

    Raises:
        UserError: There is one.
    """
    layer, prefix = settings.get("layer"), settings.get("prefix")
    if settings.get("pooling") is not None:
        check_choice("--set pooling", str(settings["pooling"]), POOLINGS)
    if layer is not None and type(layer) is not int:
        raise UserError(f"--set layer={layer}: give the number of a layer")
    if not isinstance(prefix, str | None):
        raise UserError(f"--set prefix={prefix}: give text, in quotes")


def _length(settings: Mapping[str, Any], source: "Source") -> int:
    """Return how many tokens of a text are read.

    Raises:
        UserError: The model does not read as many.
    """
    from xmodctl.model import longest_input

    longest = longest_input(source.config)
    length = settings.get("max_length", longest)
    if type(length) is not int or not 8 <= length <= longest:
        raise UserError(f"--set max_length={length}: give a whole number from 8 to {longest}, of tokens")
    return length


def _opened(folder: Path, plan: Plan, source: "Source", trained: Run | None) -> Run:
    """Return the run in a folder, in which each seed of the trained run has its body, or the base model nothing."""
    if trained is None:
        seeds: tuple[int, ...] = (BASE_SEED,)
    else:
        chosen_seed(trained, None)  # refuses a run without one
        seeds = trained.finished_seeds
    with joined(folder) as jobs, jobs.writing():
        return _filled(Run.open(folder, plan, seeds, {}, "resume"), seeds, source, trained)


def remake(run: Run, seed: int | None) -> Run:
    """Return a run that scores vectors with what is missing or damaged of its seeds made again.

    Raises:
        UserError: It has no such seed, or the run whose body it scores has changed.
    """
    if seed is not None and seed not in run.seeds:
        raise UserError(f"--seed {seed}: {run.folder} has the seeds {', '.join(map(str, run.seeds))}")
    vectors = run.plan.vectors
    trained = Run.read(vectors.run) if vectors is not None and vectors.run else None
    if trained is not None and vectors is not None and trained.plan.digest != vectors.run_digest:
        raise UserError(f"{trained.folder} is not the run whose vectors {run.folder} scores; its plan differs")
    with locked(run.folder):
        return _filled(run, run.seeds if seed is None else (seed,), find_base(run), trained)


def _filled(run: Run, seeds: Sequence[int], source: "Source", trained: Run | None) -> Run:
    """Return a run with what each seed lacks: the body that a run trained, or nothing but the base model's identity."""
    for seed in seeds:
        if is_delta(run.delta(seed)):
            continue
        tensors: dict[str, Any] = {}
        facts: dict[str, Any] = {"step": 0, "selected_on": ""}
        if trained is not None:
            tensors, facts = load_delta(trained.delta(seed), source, remedy=trained.retraining(seed))
        run.delta(seed).parent.mkdir(parents=True, exist_ok=True)
        save_delta(run.delta(seed), body_tensors(tensors), source, facts)
    run = replace(run, state="finished")
    run.write()
    return run
