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

if TYPE_CHECKING:
    from xmodctl.model import Source
    from xmodctl.run.plan import Plan
    from xmodctl.run.run import Run
    from xmodctl.training.planning import ResolvedPlan


@command(FinetuneRequest)
def finetune(request: FinetuneRequest) -> "Run":
    """Fine-tune a model in one language or several, as `xmodctl finetune` does, and return the finished run.

    Embeddings and language adapters stay frozen, so that every other language's adapter still fits afterwards. What an
    earlier call trained is not trained again.

    Raises:
        UserError: You can fix something in the request, the data or the environment.
        KeyboardInterrupt: The training was interrupted; the same call resumes it.
    """
    from xmodctl.model import find
    from xmodctl.training.repeating import check_data, resolve_request, with_seeds

    request = with_seeds(request)
    listen, seeds = request.listen or warn, request.run_seeds
    resolved, source = resolve_request(request, find, listen)
    report_notes(resolved, listen)
    plan = resolved.plan
    folder = run_folder(request, plan)
    shard, check = Shard.chosen(request.shard, listen), partial(check_data, request)
    return train_plan(
        plan, seeds, source, folder, request.on_exists, request.trackers, listen, shard=shard, wait=request.wait,
        check=check,
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

    Raises:
        InProgressError: Other jobs train some of the seeds.
    """
    from xmodctl.run.jobs import joined
    from xmodctl.run.run import Run
    from xmodctl.training.cost import check_disk, estimate
    from xmodctl.training.fine_tuning import fine_tune
    from xmodctl.training.trackers import Trackers
    from xmodctl.training.training_data import load_training_data

    shard.refuse_redo(on_exists)
    chosen = shard.of(seeds if only is None else only)
    with joined(folder) as jobs:
        Run.check(folder, plan, on_exists)
        data = load_training_data(plan, folder=Path(plan.data) if plan.data else None)
        report_unusable(plan, listen)
        check_disk(folder, estimate(plan, source, [part.rows for part in data], len(seeds)).disk)
        fingerprints = {name: value for part in data for name, value in part.fingerprints.items()}
        check(fingerprints)
        run = Run.open_shared(jobs, plan, seeds, fingerprints, on_exists)
        if on_exists == "redo" and (kept := Run.kept(folder)):
            listen(Notice(f"{folder} keeps files that xmodctl did not write: {listed(kept)}"))
        listen(RunOpened(run.folder, plan.task.title, plan.source_languages, plan.model, plan.recipe.name))
        with Trackers(trackers, run) as tracking:

            def listen_all(event: Event) -> None:
                for listener in (tracking, listen):
                    listener(event)

            fine_tune(run, source, data, listen_all, chosen, jobs=jobs, wait=wait)
    return Run.read(folder)


def report_unusable(plan: "Plan", listen: Listener) -> None:
    """Report rows of local test data that cannot be scored, one caution per cause: there is time to correct them."""
    from xmodctl.data import unusable
    from xmodctl.training.findings import unreadable

    if plan.data is None:
        return
    for finding in unreadable(unusable(plan.task, "test", Path(plan.data), limit=plan.limit)):
        listen(Notice(f"test data that eval-transfer will refuse: {finding.text}", caution=True))


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
