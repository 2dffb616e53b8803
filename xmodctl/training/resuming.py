"""Resuming a run from its folder alone, with the plan that the folder holds."""

from collections.abc import Sequence
from dataclasses import replace

from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener
from xmodctl.run.folder import Folder
from xmodctl.run.loading import find_base
from xmodctl.run.run import Run
from xmodctl.training.finetune import follow_plan, train_plan
from xmodctl.training.joint_checks import check_one_process
from xmodctl.training.planning import check_steps
from xmodctl.training.world import World


def resume_run(
    run: Run,
    seed: int | None,
    listen: Listener,
    *,
    wait: bool = False,
    world: World = World(),  # noqa: B008 (frozen)
) -> Run:
    """Train what is not finished of a run, and return it.

    Args:
        run: The run.
        seed: Train only this seed.
        listen: Is called with each event.
        wait: Whether to wait for seeds that other jobs train.
        world: The processes that train together.

    Raises:
        InProgressError: Other jobs train some of the seeds.
        UserError: The run has no such seed, or its data or base model has changed.
        KeyboardInterrupt: The training was interrupted; the same call resumes it.
    """
    source = world.after_first(lambda: find_base(run))  # which may download it
    plan = replace(run.plan, revision=source.revision, config_sha256=source.config_sha256)
    seeds = chosen_seeds(run, seed)
    check_steps(plan, source.config)
    check_one_process(plan, world)
    if not world.is_first:
        return follow_plan(plan, source, run.folder, world)
    return train_plan(plan, run.seeds, source, run.folder, "resume", (), listen, only=seeds, wait=wait, world=world)


def chosen_seeds(folder: Folder, seed: int | None) -> Sequence[int]:
    """Return the seeds to train: the given one, or all of a folder.

    Raises:
        UserError: The folder has no such seed.
    """
    if seed is None:
        return folder.seeds
    if seed not in folder.seeds:
        raise UserError(f"--seed {seed}: {folder.folder} has the seeds {', '.join(map(str, folder.seeds))}")
    return (seed,)
