"""From a request to the plan that is run: each value with its origin."""

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from xmodctl.catalog import catalog
from xmodctl.catalog.recipe import Recipe
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.core.events import Event, Listener, ModelLoading
from xmodctl.core.messages import shell_setting
from xmodctl.core.schema import keys_of
from xmodctl.data import coverage
from xmodctl.data.own_data import fit
from xmodctl.kinds import KINDS
from xmodctl.languages import MIXED, Match, expand, is_corpus, resolve, same
from xmodctl.model.precision import Precision, resolve_precision
from xmodctl.run.plan import Plan, Shots
from xmodctl.training.few_rows import extended
from xmodctl.training.joint_checks import check_together
from xmodctl.training.losses import check_rdrop
from xmodctl.training.request import PlanRequest, ShotRequest

if TYPE_CHECKING:
    from xmodctl.model import Facts, Source

MOST_LABELS = 2_000
"""Labels of a task: scoring holds counts for every row and label."""

P = TypeVar("P")  # a plan: of a run, or of adding languages
M = TypeVar("M", "Source", "Facts")


@dataclass(frozen=True)
class ResolvedPlan(Generic[P]):
    """A plan, the origin of each of its values, and what the user should know about it."""

    plan: P
    origins: Mapping[str, str]
    notes: tuple[str, ...]
    remarks: tuple[str, ...] = ()  # what was chosen, where nothing is wrong


@dataclass(frozen=True)
class Settings:
    """The task and the recipe of a request, and the origin of each value of the recipe."""

    task: Task
    recipe: Recipe
    origins: Mapping[str, str]
    remarks: tuple[str, ...] = ()  # what local data showed
    cautions: tuple[str, ...] = ()  # what may be wrong with it
    training_rows: int = 0  # of local data, if they were counted


def _ignore(event: Event) -> None:
    """Ignore an event."""


def resolve_plan(
    request: PlanRequest, find: Callable[[str], M], listen: Listener = _ignore
) -> tuple[ResolvedPlan[Plan], M]:
    """Turn a request into a plan.

    Args:
        request: The request.
        find: Returns the model by its name; called when everything cheaper has been checked.
        listen: Called before the model is looked for.

    Raises:
        UserError: A name, a key or a value is wrong; wrong keys are reported together.
    """
    chosen = settings(request)
    _refuse_untrained(chosen.task, request)
    languages = _languages_to_train_in(request, chosen.task)
    _check_early(request, languages, chosen.recipe)
    chosen = fitted(chosen, request, languages)
    recipe = chosen.recipe.with_absolute_paths()
    stage_tasks = stage_tasks_of(chosen.task, recipe)
    listen(ModelLoading(str(request.model)))
    precision = resolve_precision(request.precision)
    model = find(str(request.model))
    if "max_length" in request.changes:
        check_length(recipe, model)
    matches = _source_languages(request, languages, model)
    task = _trained_on_corpus(chosen.task, languages, request.data_folder)
    if task.is_mixed:
        task = task.with_values({"languages": {MIXED: matches[0].adapter}}, origin="--lang")
    notes = [match.note for match in matches if match.note]
    notes += chosen.cautions
    if translated := task.translated_among(match.adapter for match in matches):
        notes.append(
            f"translate-train: the training data of {task.title} in {', '.join(translated)} is machine-translated; "
            "results, reports, and model cards say so"
        )
    shots = None
    if request.requested_shots:
        shots, shot_notes = _shots(request.requested_shots, task, model, str(request.model), matches)
        notes += shot_notes
    plan = Plan(
        task=task,
        recipe=recipe,
        model=model.id,
        revision=model.revision,
        config_sha256=model.config_sha256,
        source_languages=tuple(match.adapter for match in matches),
        data=str(request.data_folder.resolve()) if request.data_folder else None,
        limit=request.limit,
        rows=request.requested_rows,
        precision=precision,
        stage_tasks=stage_tasks,
        shots=shots,
    )
    check_steps(plan, model.config)
    return ResolvedPlan(plan, chosen.origins, tuple(notes), chosen.remarks), model


def _languages_to_train_in(request: PlanRequest, task: Task) -> tuple[str, ...]:
    """Return the languages whose adapters training goes through.

    Raises:
        UserError: There are several, and all rows go through one.
    """
    languages = tuple(request.languages or (task.source_language,))
    if task.is_mixed and len(languages) > 1:
        named = f"--lang {','.join(languages)}"
        raise UserError(f"{named}: all rows of {task.title} go through the adapter of one language; name one")
    return tuple(map(task.language_of, languages)) if task.is_mixed else languages


def _refuse_untrained(task: Task, request: PlanRequest) -> None:
    """Refuse a task that is scored without training.

    Raises:
        UserError: It is one.
    """
    if not KINDS[task.kind].trains:
        words = ["xmodctl", "eval-transfer", "--task", str(request.task), "--model", str(request.model)]
        words += ["--data", str(request.data), "--langs", "all"] if request.data else ["--langs", "@task"]
        raise UserError(f"{task.title} is scored without training; run: {shlex.join(words)}")


def settings(request: PlanRequest) -> Settings:
    """Return the task and the recipe of a request.

    Raises:
        UserError: A name, a key or a value is wrong.
    """
    task = catalog.task(str(request.task))
    recipe = catalog.recipe(str(request.recipe) if request.recipe else task.recipe_for(str(request.model)))
    recipe_origin = f"recipe {recipe.name}"
    recipe_origins = origins(recipe, recipe_origin, request.changes, keys_of(Recipe))
    task, recipe = override(task, recipe, request.changes)
    check_task(task)
    if task.is_open and request.data is None:
        raise UserError(f"the task {task.name} reads your own data; give it with --data FILE or --data DIR")
    return Settings(task, recipe, recipe_origins)


def fitted(chosen: Settings, request: PlanRequest, languages: Sequence[str]) -> Settings:
    """Return settings with what local data shows of the task.

    Raises:
        UserError: It does not show what the task lacks.
    """
    if request.data_folder is None:
        return chosen
    task = fit(chosen.task, request.data_folder, languages)
    check_task(task.task)
    own = replace(
        chosen, task=task.task, remarks=task.remarks, cautions=task.cautions, training_rows=task.training_rows
    )
    is_recipe_chosen = bool(request.recipe or chosen.task.recipe or {"epochs", "batch_size"} & {*request.changes})
    return own if is_recipe_chosen else _for_few_rows(own, request, len(languages))


def _for_few_rows(chosen: Settings, request: PlanRequest, languages: int) -> Settings:
    """Return settings whose recipe has enough steps for the rows of local data."""
    limits = (request.limit * languages if request.limit else None, request.requested_rows)
    rows = min(chosen.training_rows, *(limit for limit in limits if limit), chosen.training_rows)
    more = extended(chosen.recipe, rows)
    if more is None:
        return chosen
    origins = {**chosen.origins, **dict.fromkeys(more.keys, "few rows")}
    return replace(chosen, recipe=more.recipe, origins=origins, remarks=(*chosen.remarks, more.remark))


def check_task(task: Task) -> None:
    """Refuse what older runs may contain, but no new one should begin with.

    Raises:
        UserError: A column is read twice, or there are more labels than can be scored.
    """
    for columns in (task.columns, *({**task.columns, **data.columns} for data in (task.training,) if data)):
        roles: dict[str, str] = {}
        for role, names in columns.items():
            for name in [names] if isinstance(names, str) else names:
                if name in roles:
                    raise UserError(_read_twice(task, name, roles[name], role))
                roles[name] = role
    if len(task.labels) > MOST_LABELS:
        raise UserError(
            f"the task {task.name} has {len(task.labels):,} labels, and at most {MOST_LABELS:,} can be scored; merge "
            "rare labels with `labels_mapped`, or train on fewer labels"
        )


def _read_twice(task: Task, name: str, first: str, second: str) -> str:
    message = f"`columns` uses `{name}` twice, for the {first} and the {second}; each needs its own column"
    if second in KINDS[task.kind].optional and first != second:
        remedy = shell_setting(f"columns.{second}", None)
        message += f", or, to do without the {second}, use {remedy}"
    return message


def origins(recipe: Recipe, recipe_origin: str, overrides: Collection[str], keys: Sequence[str]) -> dict[str, str]:
    """Return the origin of each key's value: `--set`, the recipe, or the defaults."""
    written = recipe.model_fields_set
    return {key: "--set" if key in overrides else recipe_origin if key in written else "default" for key in keys}


def override(task: Task, recipe: Recipe, overrides: Mapping[str, Any]) -> tuple[Task, Recipe]:
    """Apply each key of `--set` to the recipe or the task, whichever has it."""
    recipe_keys, task_keys = keys_of(Recipe), keys_of(Task)
    wrong = [key for key in overrides if key.split(".")[0] not in {*recipe_keys, *task_keys} - {"name", "title"}]
    if wrong:
        listed = "; ".join(f"`{key}`{did_you_mean(key, [*recipe_keys, *task_keys])}" for key in wrong)
        raise UserError(f"--set: no recipe or task has the key {listed}; `xmodctl recipes keys` lists the keys")
    recipe_changes = {key: value for key, value in overrides.items() if key.split(".")[0] in recipe_keys}
    task_changes = {key: value for key, value in overrides.items() if key not in recipe_changes}
    return (
        task.with_values(task_changes, origin="--set") if task_changes else task,
        recipe.with_values(recipe_changes, origin="--set") if recipe_changes else recipe,
    )


def check_length(recipe: Recipe, model: "Source | Facts") -> None:
    """Refuse a recipe whose sequences are longer than what a model reads.

    Raises:
        UserError: They are.
    """
    from xmodctl.model import longest_input

    limit = longest_input(model.config)
    if recipe.max_length > limit:
        raise UserError(
            f"max_length is {recipe.max_length}, but {model.name} reads at most {limit} tokens; "
            f"add --set max_length={limit}"
        )


def check_switches(
    recipe: Recipe, precision: Precision, languages: int, config: Mapping[str, Any] | None = None
) -> None:
    """Refuse a recipe whose training steps this machine cannot compute as it says.

    Args:
        recipe: How to train.
        precision: The precision of matrix products.
        languages: How many languages train together.
        config: The model's configuration; None if it is not known yet.

    Raises:
        UserError: Something is missing, or the training does not allow it.
    """
    if recipe.compile:
        from xmodctl.model.compiling import check_compiler

        check_compiler(languages=languages, freeze=recipe.freeze, precision=precision)
    if recipe.variable_length:
        from xmodctl.model.variable_length import check_variable_length

        check_variable_length(config, precision, attention_dropout=recipe.attention_dropout, compiled=recipe.compile)


def check_steps(plan: Plan, config: Mapping[str, Any] | None) -> None:
    """Refuse a plan whose training steps this machine cannot compute as the recipe says.

    Args:
        plan: The plan.
        config: The model's configuration; None if it is not known yet.

    Raises:
        UserError: Something is missing, or the training does not allow it.
    """
    check_switches(plan.recipe, plan.precision, len(plan.adapters), config)
    check_rdrop(plan.recipe, config)
    if plan.recipe.seeds_together:
        check_together(plan)


def _check_early(request: PlanRequest, languages: Sequence[str], recipe: Recipe) -> None:
    """Refuse a language that the model is known to lack, or too long sequences, before the model is downloaded."""
    from xmodctl.model import look_up

    try:
        facts = look_up(str(request.model))
    except UserError:
        return  # nothing is known yet; finding the model reports what is wrong, if anything is
    if "max_length" in request.changes:
        check_length(recipe, facts)
    if facts.languages:
        _source_languages(request, languages, facts)


def _source_languages(request: PlanRequest, languages: Sequence[str], model: "Source | Facts") -> list[Match]:
    """Return the adapters of the languages to train in."""
    matches = [
        resolve(language, model.languages or (), model=str(request.model), open_languages=model.open_languages)
        for language in languages
    ]
    adapters = [match.adapter for match in matches]
    if repeated := [adapter for adapter in dict.fromkeys(adapters) if adapters.count(adapter) > 1]:
        raise UserError(f"--lang {','.join(languages)} names {', '.join(repeated)} twice; name each language once")
    return matches


def _trained_on_corpus(task: Task, languages: Sequence[str], folder: Path | None) -> Task:
    """Return the task with the corpus that the languages name, such as `sv_talbanken`, as the one to train on.

    Raises:
        UserError: They name several, or the data does not have it.
    """
    corpora = [language for language in languages if is_corpus(language)]
    if not corpora:
        return task
    if len(corpora) > 1:
        raise UserError(
            f"--lang {','.join(languages)} names {len(corpora)} corpora; name one of them, and put the data of the "
            "others into folders that are named after their languages"
        )
    available = coverage(task, folder)
    if corpora[0] not in available:
        similar = [code for code in available if same(code, corpora[0].partition("_")[0])]
        guess = f"; in this language, it has {', '.join(similar)}" if similar else ""
        raise UserError(f"{folder or task.title} has no `{corpora[0]}`{guess}")
    if corpora[0] == task.source_language:
        return task
    return task.with_values({"source_language": corpora[0]}, origin="--lang")


def stage_tasks_of(task: Task, recipe: Recipe) -> tuple[Task, ...]:
    """Return the tasks of a recipe's stages; each must have the head of the run's own task."""
    kind, tasks = KINDS[task.kind], []
    for stage in recipe.stages:
        stage_task = catalog.task(stage.task)
        if stage_task.kind != task.kind:
            raise UserError(
                f"the stage {stage_task.name} of recipe {recipe.name} is a {stage_task.kind} task, but {task.name} is "
                f"a {task.kind} task; the head can only be passed on within a kind: choose another recipe with --recipe"
            )
        if kind.outputs(stage_task) != kind.outputs(task):
            raise UserError(
                f"the stage {stage_task.name} of recipe {recipe.name} has the labels {', '.join(stage_task.labels)}, "
                f"but {task.name} has {', '.join(task.labels)}; the head can only be passed on between tasks with the "
                "same labels: use a copy of the stage's task that has these labels"
            )
        if stage.data and not Path(stage.data).is_dir():
            raise UserError(
                f"the stage {stage_task.name}: {stage.data} is not a folder; it should contain LANGUAGE/train.jsonl"
            )
        tasks.append(stage_task)
    return tuple(tasks)


def _shots(
    shots: ShotRequest, task: Task, model: "Source | Facts", model_name: str, sources: Sequence[Match]
) -> tuple[Shots, list[str]]:
    """Return the shots with their adapters, and what the user should know about these."""
    targets = expand(
        shots.langs,
        model.languages or (),
        model=model_name,
        task_languages=task.languages,
        open_languages=model.open_languages,
    ).targets
    for target in targets:
        if any(target.adapter == match.adapter for match in sources):
            raise UserError(
                f"--shot-langs {target.data}: {target.adapter} is a source language, all of whose rows are trained on; "
                "remove it from --shot-langs"
            )
    if len({target.adapter for target in targets}) < len(targets):
        raise UserError(f"--shot-langs {shots.langs}: two of these use the same adapter; choose one of them")
    pairs = tuple((target.data, target.adapter) for target in targets)
    return Shots(shots.count, pairs, shots.training_seed), [target.note for target in targets if target.note]
