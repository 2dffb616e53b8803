"""`finetune`: from a request to a finished run."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.core.events import Event, Listener, Notice, RunOpened, warn
from xmodctl.core.messages import listed
from xmodctl.core.requests import command
from xmodctl.run.shards import EVERYTHING, Shard
from xmodctl.training.request import FinetuneRequest
from xmodctl.training.world import World

if TYPE_CHECKING:
    from xmodctl.model import Source
    from xmodctl.run.plan import Plan
    from xmodctl.run.run import Run
    from xmodctl.training.planning import ResolvedPlan
    from xmodctl.training.training_data import TrainingData


@command(FinetuneRequest)
def finetune(request: FinetuneRequest) -> "Run":
    """Fine-tune a model in one language or several, as `xmodctl finetune` does, and return the finished run.

    Embeddings and language adapters stay frozen, so that the adapters of all other languages still fit afterwards.
    What an
    earlier call trained is not trained again.

    Raises:
        UserError: You can fix something in the request, the data or the environment.
        KeyboardInterrupt: The training was interrupted; the same call resumes it.
    """
    from xmodctl.model import find
    from xmodctl.training.joint_checks import check_one_process, check_untracked
    from xmodctl.training.repeating import check_data, resolve_request, with_seeds

    request, world = with_seeds(request), World.join("finetune")
    listen, seeds = (request.listen or warn) if world.is_first else silent, request.run_seeds
    resolved, source = world.after_first(lambda: resolve_request(request, find, listen))  # which downloads
    report_notes(resolved, listen)
    plan = resolved.plan
    check_one_process(plan, world)
    check_untracked(plan, request.trackers)
    folder = run_folder(request, plan)
    if not world.is_first:
        return follow_plan(plan, source, folder, world)
    shard, check = Shard.chosen(request.shard, listen), partial(check_data, request)
    return train_plan(
        plan, seeds, source, folder, request.on_exists, request.trackers, listen, shard=shard, wait=request.wait,
        check=check, world=world,
    )  # fmt: skip


def train_plan(
    plan: "Plan",
    seeds: Sequence[int],
    source: "Source",
    folder: Path,
    on_exists: str,
    trackers: Sequence[str],
    listen: Listener,
    *,
    only: Sequence[int] | None = None,
    shard: Shard = EVERYTHING,
    wait: bool = False,
    check: Callable[[Mapping[str, str]], None] = lambda fingerprints: None,  # noqa: ARG005
    world: World = World(),  # noqa: B008 (frozen)
) -> "Run":
    """Train a plan in a folder, and return the run.

    Args:
        plan: The plan.
        seeds: The seeds of the run.
        source: The plan's base model.
        folder: Where to keep what is trained.
        on_exists: What to do with an existing run: resume, redo, or error.
        trackers: Names of experiment trackers.
        listen: Is called with each event.
        only: Train these seeds only.
        shard: Train this share of the seeds.
        wait: Whether to wait for seeds that other jobs train.
        check: Is called with the fingerprints of the data, before anything is trained.
        world: The processes that train together, of which this is the first.

    Raises:
        InProgressError: Other jobs train some of the seeds.
    """
    from xmodctl.run.jobs import joined
    from xmodctl.run.run import Run
    from xmodctl.training.cost import check_disk, needed_disk, parameters_of
    from xmodctl.training.fine_tuning import fine_tune
    from xmodctl.training.trackers import Trackers

    shard.refuse_redo(on_exists)
    chosen = shard.of(seeds if only is None else only)
    with joined(folder) as jobs:
        Run.check(folder, plan, on_exists)
        data = _load_first(plan, world, listen)
        check_disk(folder, needed_disk(parameters_of(plan, source), plan.recipe, len(seeds)))
        fingerprints = fingerprints_of(data)
        check(fingerprints)
        run = Run.open_shared(jobs, plan, seeds, fingerprints, on_exists)
        if on_exists == "redo" and (kept := Run.kept(folder)):
            listen(Notice(f"{folder} still contains files that xmodctl did not write: {listed(kept)}"))
        listen(RunOpened(run.folder, plan.task.title, plan.source_languages, plan.model, plan.recipe.name))
        with Trackers(trackers, run) as tracking:

            def listen_all(event: Event) -> None:
                for listener in (tracking, listen):
                    listener(event)

            fine_tune(run, source, data, listen_all, chosen, jobs=jobs, wait=wait, world=world)
    return Run.read(folder)


def _load_first(plan: "Plan", world: World, listen: Listener) -> "Sequence[TrainingData]":
    """Load the data, before the other processes do."""
    from xmodctl.training.training_data import load_training_data

    data = load_training_data(plan, folder=Path(plan.data) if plan.data else None)
    report_unusable(plan, listen)
    world.wait()
    check_processes(world, plan, data)
    return data


def report_unusable(plan: "Plan", listen: Listener) -> None:
    """Report rows of local data that cannot be used, one caution per cause: there is time to correct them.

    These are test rows, and rows of the other splits in languages that are not trained in.
    """
    from xmodctl.data import unusable
    from xmodctl.training.findings import unreadable
    from xmodctl.training.unread_rows import unread_failures

    if plan.data is None:
        return
    scored = unusable(plan.task, "test", Path(plan.data), limit=plan.limit)
    for finding in unreadable(scored, unread_failures(plan)):
        prefix = "test data that eval-transfer will refuse: " if finding.level == "error" else ""
        listen(Notice(f"{prefix}{finding.text}", caution=True))


def follow_plan(plan: "Plan", source: "Source", folder: Path, world: World) -> "Run":
    """Train a plan as one of several processes, but not the first: nothing is written.

    Raises:
        UserError: The plan or the data is not that of the first process.
        LostProcessError: Another process has ended.
    """
    from xmodctl.run.run import Run
    from xmodctl.training.fine_tuning import follow
    from xmodctl.training.training_data import load_training_data

    world.wait()  # the first process downloads the data
    data = load_training_data(plan, folder=Path(plan.data) if plan.data else None)
    check_processes(world, plan, data)
    run = Run.new(folder, plan, (), fingerprints_of(data))
    follow(run, source, data, world)
    return Run.read(folder) if (folder / Run.FILE).exists() else run  # on another machine, it may not


def silent(event: Event) -> None:
    """Do nothing with an event: the first process draws it."""


def check_processes(world: World, plan: "Plan", data: "Sequence[TrainingData]") -> None:
    """Refuse processes that would not train the same, or of which some would never have work.

    Raises:
        UserError: The plan or the data is not that of the first process, or a batch has fewer rows than processes.
    """
    if world.size == 1:
        return
    world.check_equal({key: value for key, value in plan.to_json().items() if key != "data"} | fingerprints_of(data))
    for part in data:
        world.check_batches(min(part.recipe.batch_size, part.rows), "row")


def fingerprints_of(data: "Sequence[TrainingData]") -> dict[str, str]:
    """Return the fingerprints of all data of a training, by name."""
    return {name: value for part in data for name, value in part.fingerprints.items()}


def report_notes(resolved: "ResolvedPlan[Plan]", listen: Listener) -> None:
    """Report what was chosen for a plan, and what may not be meant."""
    for remark in resolved.remarks:
        listen(Notice(remark))
    for note in resolved.notes:
        listen(Notice(note, caution=True))


def run_folder(request: FinetuneRequest, plan: "Plan") -> Path:
    """Return the folder of the run: the one that is named, or one under `runs/` that is named after the plan."""
    from xmodctl.run.run import Run

    return request.out_folder or Run.folder_of(plan)
