"""`finetune`: from a request to a finished run."""

from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.core.events import Event, Notice, RunOpened, warn
from xmodctl.core.messages import listed
from xmodctl.core.requests import command
from xmodctl.training.request import FinetuneRequest

if TYPE_CHECKING:
    from xmodctl.run.plan import Plan
    from xmodctl.run.run import Run


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
    from xmodctl.run.folder import locked
    from xmodctl.run.run import Run
    from xmodctl.training.cost import check_disk, estimate
    from xmodctl.training.fine_tuning import fine_tune
    from xmodctl.training.planning import resolve_plan
    from xmodctl.training.trackers import Trackers
    from xmodctl.training.training_data import load_training_data

    listen, seeds = request.listen or warn, request.run_seeds
    resolved, source = resolve_plan(request, find, listen)
    for note in resolved.notes:
        listen(Notice(note, caution=True))
    plan = resolved.plan
    folder = run_folder(request, plan)
    with locked(folder):
        data = load_training_data(plan, folder=request.data_folder)
        check_disk(folder, estimate(plan, source, [part.rows for part in data], len(seeds)).disk)
        fingerprints = {name: value for part in data for name, value in part.fingerprints.items()}
        run = Run.open(folder, plan, seeds, fingerprints, request.on_exists)
        if request.on_exists == "redo" and (kept := Run.kept(folder)):
            listen(Notice(f"{folder} keeps files that xmodctl did not write: {listed(kept)}"))
        listen(RunOpened(run.folder, plan.task.title, plan.source_languages, plan.model, plan.recipe.name))
        with Trackers(request.trackers, run) as trackers:

            def listen_all(event: Event) -> None:
                for listener in (trackers, listen):
                    listener(event)

            fine_tune(run, source, data, listen_all)
    return Run.read(folder)


def run_folder(request: FinetuneRequest, plan: "Plan") -> Path:
    """Return the folder of the run: the one that is named, or one under `runs/` that is named after the plan."""
    from xmodctl.run.folder import RUNS

    return request.out_folder or RUNS / plan.folder_name
