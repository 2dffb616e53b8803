"""From what the user asked to the plan that is run: each value with its origin, and what it will cost."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from xmodctl.catalog import catalog as library
from xmodctl.catalog.recipe import Recipe
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.core.schema import keys_of, parse_override
from xmodctl.kinds import KINDS
from xmodctl.languages import Match, expand, resolve
from xmodctl.model.precision import Precision, resolve_precision
from xmodctl.run.plan import Plan, Shots
from xmodctl.training.loop import total_steps

if TYPE_CHECKING:
    from xmodctl.model import Facts, ParameterReport, Source


@dataclass(frozen=True)
class Asked:
    """What a `finetune` command says."""

    task: str
    lang: str
    model: str
    recipe: str | None = None
    overrides: tuple[str, ...] = ()
    data: Path | None = None
    limit: int | None = None
    precision: str = "auto"
    shots: int | None = None
    shot_langs: str = ""
    training_seed: int = 1  # of every draw of shots


P = TypeVar("P")  # a plan: of a run, or of adding languages


@dataclass(frozen=True)
class Resolved(Generic[P]):
    """A plan, where each of its values comes from, and what the user should be told."""

    plan: P
    origins: Mapping[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Cost:
    """What a fine-tuning takes, estimated before it begins."""

    rows: int | None  # None: known after the download
    steps: int | None
    parameters: "ParameterReport"
    memory: int  # bytes
    disk: int  # bytes
    stages: tuple[tuple[int | None, int | None], ...] = ()  # rows and steps of each stage before


M = TypeVar("M", "Source", "Facts")


def resolve_plan(asked: Asked, find: Callable[[str], M]) -> tuple[Resolved[Plan], M]:
    """Turn a command into a plan; `find` gets the model, and is called when everything cheaper has been checked.

    Raises:
        UserError: A name, a key or a value is wrong; wrong keys are reported together.
    """
    task, recipe, comes_from = settings(asked)
    precision = resolve_precision(asked.precision)
    _check_language_early(asked)
    recipe = _at_absolute_paths(recipe)
    earlier = _earlier(task, recipe)
    _check_shots_asked(asked)
    model = find(asked.model)
    matches = _source_languages(asked, model)
    sources = tuple(match.adapter for match in matches)
    shots, notes = _shots(asked, task, model, matches)
    plan = Plan(
        task=task,
        recipe=recipe,
        model=model.id,
        revision=model.revision,
        config_sha256=model.config_sha256,
        source_languages=sources,
        data=str(asked.data.expanduser().resolve()) if asked.data else None,
        limit=asked.limit,
        precision=precision,
        earlier=earlier,
        shots=shots,
    )
    return Resolved(plan, comes_from, notes), model


def settings(asked: Asked) -> tuple[Task, Recipe, Mapping[str, str]]:
    """Return task and recipe as they are asked for, and where each value of the recipe comes from.

    Raises:
        UserError: A name, a key or a value is wrong, or the data folder is none.
    """
    task = library.task(asked.task)
    recipe, recipe_origin = _recipe(asked, task)
    overrides = dict(parse_override(text) for text in asked.overrides)
    task, recipe = _overridden(task, recipe, overrides)
    if asked.data and not asked.data.expanduser().is_dir():
        raise UserError(f"--data {asked.data} is not a folder; it should hold LANGUAGE/train.jsonl and the like")
    return task, recipe, origins(recipe, recipe_origin, overrides, keys_of(Recipe))


def origins(recipe: Recipe, named: str, overrides: Collection[str], keys: Sequence[str]) -> dict[str, str]:
    """Return where the value of each key comes from: `--set`, the recipe as it is `named`, or its defaults."""
    written = recipe.model_fields_set
    return {key: "--set" if key in overrides else named if key in written else "default" for key in keys}


def draws(asked: Asked, seeds: tuple[int, ...], shot_seeds: int | None) -> tuple[Asked, tuple[int, ...]]:
    """Return what is asked for, and the seeds of the run: with shots one a draw, else those of the training.

    Raises:
        UserError: Draws are asked for without shots, or with several training seeds.
    """
    if asked.shots is None:
        if shot_seeds not in (None, 1):
            raise UserError(f"--shot-seeds {shot_seeds} draws no examples; say how many with --shots 10")
        return asked, seeds
    if len(seeds) > 1:
        raise UserError(
            f"--seeds {','.join(map(str, seeds))}: with --shots a run's seeds are its draws (--shot-seeds), all "
            "trained with one seed; give one seed a run"
        )
    return replace(asked, training_seed=seeds[0]), tuple(range(1, (shot_seeds or 1) + 1))


def estimate(plan: Plan, model: "Source | Facts", rows: Sequence[int | None], seeds: int) -> Cost:
    """Estimate steps, memory and disk of a plan; `rows` are those of each stage and, last, of the task itself.

    Memory counts weights (4 bytes each; adapters of one language), gradients and AdamW's two moments of what trains
    (12 bytes each), and the activations that one micro-batch keeps for the backward pass.
    """
    from xmodctl.model import describe

    kind = KINDS[plan.task.kind]
    outputs = len(kind.outputs(plan.task))
    parameters = describe(model, kind.head, plan.adapters, plan.recipe.freeze, num_labels=outputs)
    kept = activations(model.config, plan.precision)
    memory = 4 * parameters.total + 12 * parameters.trainable + kept * plan.recipe.tokens_per_step
    # A delta a seed, and for the seed that trains two checkpoints (the old one goes when the new one is whole).
    disk = parameters.trainable * 4 * (seeds + 2 * 3)
    recipes = [*(plan.recipe.of_stage(stage) for stage in plan.recipe.stages), plan.recipe]
    *stages, own = [
        (count, total_steps(count, one) if count else None) for count, one in zip(rows, recipes, strict=True)
    ]
    return Cost(*own, parameters, memory, disk, tuple(stages))


def activations(config: Mapping[str, Any], precision: Precision) -> int:
    """Return about how many bytes a token's activations take that are kept for the backward pass."""
    hidden, inner, layers = (config[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    bottleneck = hidden // config["adapter_reduction_factor"]
    # Of a layer: about ten tensors of the hidden size around attention and norms, the feed-forward's two, the
    # adapter's two.
    kept: int = layers * (10 * hidden + 2 * inner + 2 * bottleneck) * (4 if precision == "fp32" else 2)
    return kept


def _recipe(asked: Asked, task: Task) -> tuple[Recipe, str]:
    if asked.recipe:
        found = library.recipe(asked.recipe)
        return found, f"recipe {found.name}"
    name = task.recipe_for(asked.model)
    return library.recipe(name), f"recipe {name}"


def _overridden(task: Task, recipe: Recipe, overrides: Mapping[str, Any]) -> tuple[Task, Recipe]:
    """Hand each `--set` key to the file it belongs to."""
    of_recipe, of_task = keys_of(Recipe), keys_of(Task)
    wrong = [key for key in overrides if key.split(".")[0] not in {*of_recipe, *of_task} - {"name", "title"}]
    if wrong:
        told = "; ".join(
            f"`{key}`{did_you_mean(key, [*of_recipe, *of_task]).replace('; did', ', did')}" for key in wrong
        )
        raise UserError(f"--set names no key of a recipe or task: {told} (`xmodctl recipes keys` lists the keys)")
    recipe_changes = {key: value for key, value in overrides.items() if key.split(".")[0] in of_recipe}
    task_changes = {key: value for key, value in overrides.items() if key not in recipe_changes}
    return (
        task.with_values(task_changes, origin="--set") if task_changes else task,
        recipe.with_values(recipe_changes, origin="--set") if recipe_changes else recipe,
    )


def _check_language_early(asked: Asked) -> None:
    """Refuse a language that the model is known to lack before the model is downloaded."""
    from xmodctl.model import look_up

    try:
        facts = look_up(asked.model)
    except UserError:
        return  # nothing is known yet: finding the model tells what is wrong, if anything is
    if facts.languages:
        _source_languages(asked, facts)


def _source_languages(asked: Asked, model: "Source | Facts") -> list[Match]:
    """Return the languages of `--lang`, several between commas."""
    named = [part.strip() for part in asked.lang.split(",")]
    matches = [
        resolve(one, model.languages or (), model=asked.model, open_languages=model.open_languages) for one in named
    ]
    adapters = [match.adapter for match in matches]
    if twice := [one for one in dict.fromkeys(adapters) if adapters.count(one) > 1]:
        raise UserError(f"--lang {asked.lang} names {', '.join(twice)} twice; name each language once")
    return matches


def _at_absolute_paths(recipe: Recipe) -> Recipe:
    """Return the recipe so that its stages find their local data from any working directory."""
    if not any(stage.data for stage in recipe.stages):
        return recipe
    stages = tuple(
        stage.model_copy(update={"data": str(Path(stage.data).expanduser().resolve())}) if stage.data else stage
        for stage in recipe.stages
    )
    return recipe.model_copy(update={"stages": stages})


def _earlier(task: Task, recipe: Recipe) -> tuple[Task, ...]:
    """Return the tasks of a recipe's stages; each must have the head of the task itself."""
    earlier = []
    for stage in recipe.stages:
        found = library.task(stage.task)
        if found.kind != task.kind:
            raise UserError(
                f"the stage {found.name} of recipe {recipe.name} is {found.kind}, {task.name} is {task.kind}; "
                "a head is carried over within a kind only: choose another recipe with --recipe"
            )
        kind = KINDS[task.kind]
        if kind.outputs(found) != kind.outputs(task):
            raise UserError(
                f"the stage {found.name} of recipe {recipe.name} has the labels {', '.join(found.labels)}, {task.name} "
                f"{', '.join(task.labels)}; the head can only be carried over to the same: give a copy of the stage's "
                "task with these labels"
            )
        if stage.data and not Path(stage.data).is_dir():
            raise UserError(
                f"the stage {found.name}: {stage.data} is not a folder; it should hold LANGUAGE/train.jsonl"
            )
        earlier.append(found)
    return tuple(earlier)


def _check_shots_asked(asked: Asked) -> None:
    if asked.shots is None and asked.shot_langs:
        raise UserError("--shot-langs names languages of which no examples are asked for; say how many with --shots 10")
    if asked.shots is not None and not asked.shot_langs:
        raise UserError("--shots needs languages to draw the examples from; name them with --shot-langs de_DE,fr_XX")


def _shots(
    asked: Asked, task: Task, model: "Source | Facts", sources: Sequence[Match]
) -> tuple[Shots | None, tuple[str, ...]]:
    """Return the shots asked for, and what is to be told of the languages of these and of the sources."""
    notes = [match.note for match in sources if match.note]
    if asked.shots is None:
        return None, tuple(notes)
    targets = expand(
        asked.shot_langs,
        model.languages or (),
        model=asked.model,
        task_languages=task.languages,
        open_languages=model.open_languages,
    ).targets
    for target in targets:
        if any(target.adapter == match.adapter for match in sources):
            raise UserError(
                f"--shot-langs {target.data}: {target.adapter} is a source language, all of whose rows are trained on; "
                "leave it out"
            )
    if len({target.adapter for target in targets}) < len(targets):
        raise UserError(f"--shot-langs {asked.shot_langs}: two of these go through one adapter; choose one of them")
    pairs = tuple((target.data, target.adapter) for target in targets)
    notes += [target.note for target in targets if target.note]
    return Shots(asked.shots, pairs, asked.training_seed), tuple(notes)


def row_counts(plan: Plan, folder: Path | None) -> list[int | None]:
    """Return the training rows of each stage and of the task; None for data that would have to be downloaded first."""
    from xmodctl.data import load_rows, offers

    def count(task: Task, data: Path, languages: Sequence[str]) -> int:
        single = len(languages) == 1
        return sum(
            len(
                load_rows(
                    task, language, "train", folder=data, limit=plan.limit, evaluation=False, single_language=single
                )
            )
            for language in languages
        )

    counts: list[int | None] = []
    for task, stage in zip(plan.earlier, plan.recipe.stages, strict=True):
        data = Path(stage.data)
        there = [one for one in plan.source_languages if stage.data and offers(task, one, "train", folder=data)]
        counts.append(count(task, data, there or plan.source_languages) if stage.data else None)
    shots = plan.shots.count * len(plan.shots.languages) if plan.shots else 0
    return [*counts, count(plan.task, folder, plan.source_languages) + shots if folder else None]


def check_disk(folder: Path, needed: int) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises:
        UserError: The folder cannot be written, or too little is free.
    """
    import shutil

    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder} has {free / 1e9:.1f} GB free and this run needs {needed / 1e9:.1f} GB; "
            "choose another disk with --out DIR"
        )


def warn_of_seeds(seeds: Sequence[int]) -> tuple[str, ...]:
    """Return a note where one seed is all there is."""
    return () if len(seeds) > 1 else ("one seed; a number to publish wants --seeds 1,2,3,4,5",)
