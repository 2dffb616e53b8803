"""The commands as functions: fine-tune, evaluate, load. The command line draws what these tell their listener."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xmodctl.run.run import Run
    from xmodctl.training.planning import Asked
from xmodctl.core.arguments import DEFAULT_MODEL, as_overrides, as_seeds, as_selection, check_choice
from xmodctl.core.events import Event, Listener, Notice, RunOpened, warn


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
    from xmodctl.training.planning import Asked, draws

    chosen = as_seeds(seeds)
    asked = Asked(
        task,
        as_selection(lang),
        model,
        recipe,
        as_overrides(overrides),
        Path(data) if data is not None else None,
        limit,
        precision,
        shots,
        as_selection(shot_langs),
    )
    asked, chosen = draws(asked, chosen, shot_seeds)
    return train(asked, chosen, Path(out) if out is not None else None, on_exists, listen or warn, track=track)


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
    from xmodctl.model import find
    from xmodctl.run.folder import RUNS, locked
    from xmodctl.run.run import Run
    from xmodctl.training.fine_tuning import fine_tune
    from xmodctl.training.planning import check_disk, estimate, resolve_plan
    from xmodctl.training.trackers import Trackers, check
    from xmodctl.training.training_data import load_training_data

    check_choice("--on-exists", on_exists, ("resume", "redo", "error"))
    check(track)
    resolved, source = resolve_plan(asked, find)
    for note in resolved.notes:
        listen(Notice(note, caution=True))
    plan = resolved.plan
    folder = out or RUNS / plan.folder_name
    with ExitStack() as held:
        held.enter_context(locked(folder))
        materials = load_training_data(plan, folder=asked.data)
        check_disk(folder, estimate(plan, source, [one.rows for one in materials], len(seeds)).disk)
        fingerprints = {name: value for one in materials for name, value in one.fingerprints.items()}
        run = Run.open(folder, plan, seeds, fingerprints, on_exists)
        listen(RunOpened(run.folder, plan.task.title, plan.source_languages, plan.model, plan.recipe.name))
        trackers = held.enter_context(Trackers(track, run))

        def listen_all(event: Event) -> None:
            trackers.show(event)
            listen(event)

        fine_tune(run, source, materials, listen_all)
    return Run.read(folder)
