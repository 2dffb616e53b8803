"""Repeating the plan of a run with changes: `finetune --from-run RUN --set KEY=VALUE`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from xmodctl.catalog.recipe import Recipe
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, ModelLoading
from xmodctl.core.reading import file_and_sheet
from xmodctl.core.schema import keys_of
from xmodctl.model.precision import resolve_precision
from xmodctl.run.folder import OtherVersionError
from xmodctl.run.loading import base_name
from xmodctl.run.plan import Plan
from xmodctl.run.run import Run
from xmodctl.training.planning import (
    ResolvedPlan,
    check_length,
    check_steps,
    check_task,
    origins,
    override,
    resolve_plan,
    stage_tasks_of,
)
from xmodctl.training.request import FinetuneRequest

if TYPE_CHECKING:
    from xmodctl.model import Facts, Source

M = TypeVar("M", "Source", "Facts")

NEW_PLAN = "give --task, --lang, and the other options in place of --from-run"


def with_seeds(request: FinetuneRequest) -> FinetuneRequest:
    """Return a request with the seeds of the run that it repeats, if it repeats one and names none."""
    if request.from_run is None or request.seeds is not None:
        return request
    return replace(request, seeds=_run(request).seeds)


def resolve_request(
    request: FinetuneRequest, find: Callable[[str], M], listen: Listener
) -> tuple[ResolvedPlan[Plan], M]:
    """Turn a request into a plan, as `resolve_plan` does; one that repeats a run, into the plan of that run.

    Raises:
        UserError: The run was not trained or is of another version, its data or model has changed, or a change is
            wrong.
    """
    if request.from_run is None:
        return resolve_plan(request, find, listen)
    run, changes = _run(request), request.changes
    old = run.plan
    if old.data is not None and not file_and_sheet(old.data)[0].exists():
        raise UserError(f"the data of {run.folder}, {old.data}, does not exist; restore it, or {NEW_PLAN}")
    task, recipe = override(old.task, old.recipe, changes)
    check_task(task)
    recipe = recipe.with_absolute_paths()
    listen(ModelLoading(base_name(run)))
    model = find(base_name(run))
    if None not in (old.config_sha256, model.config_sha256) and old.config_sha256 != model.config_sha256:
        raise UserError(f"the model {old.model} has changed since {run.folder} was trained; restore it, or {NEW_PLAN}")
    if "max_length" in changes:
        check_length(recipe, model)
    plan = replace(
        old,
        task=task,
        recipe=recipe,
        revision=model.revision,
        config_sha256=model.config_sha256,
        precision=old.precision if request.precision == "auto" else resolve_precision(request.precision),
        stage_tasks=stage_tasks_of(task, recipe) if "stages" in changes else old.stage_tasks,
    )
    check_steps(plan, model.config)
    changed = ", ".join(f"{key}={value}" for key, value in changes.items()) or "no change"
    remarks = (f"the plan of {run.folder} with {changed}",)
    return ResolvedPlan(plan, origins(recipe, "--from-run", changes, keys_of(Recipe)), (), remarks), model


def check_data(request: FinetuneRequest, fingerprints: Mapping[str, str]) -> None:
    """Refuse data that is not the data of the run that a request repeats, unless a change is about reading it.

    Raises:
        UserError: It is not.
    """
    if request.from_run is None or any(key.split(".")[0] not in keys_of(Recipe) for key in request.changes):
        return
    refuse_changed_data(_run(request), f"or, to train on the new data, {NEW_PLAN}", fingerprints)


def refuse_changed_data(run: Run, remedy: str, fingerprints: Mapping[str, str]) -> None:
    """Refuse data whose fingerprints differ from those that a run was trained on; `remedy` follows *restore it*.

    Raises:
        UserError: It has changed.
    """
    if changed := [name for name, value in run.fingerprints.items() if fingerprints.get(name, value) != value]:
        raise UserError(
            f"the {' and '.join(changed)} data has changed since {run.folder} was trained; restore it, {remedy}"
        )


def _run(request: FinetuneRequest) -> Run:
    """Return the run that a request repeats.

    Raises:
        UserError: It is not one, or it has no training that this version can repeat.
    """
    folder = Path(request.from_run or "").expanduser()
    try:
        run = Run.read(folder)
    except OtherVersionError as error:
        raise UserError(
            f"{folder} was written by another version of xmodctl, and this one cannot repeat its plan: {error.reason}; "
            f"repeat it with that version, or {NEW_PLAN}"
        ) from None
    if run.plan.average is not None or run.plan.vectors is not None:
        what = "is an average of other runs" if run.plan.average is not None else "was scored without training"
        raise UserError(f"{folder} {what}, so there is no training to repeat; name a run that `finetune` trained")
    return run
