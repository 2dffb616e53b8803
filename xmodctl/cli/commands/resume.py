"""`xmodctl resume`."""

from pathlib import Path
from typing import Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.launching import launch_unless_launched
from xmodctl.cli.loading import say_loading

PANEL = "Train"
ORDER = 2.5


def resume(
    ctx: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run, or of added languages.")],
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Train only this seed.")] = None,
    processes: options.Processes = 1,
    wait: options.Wait = False,
    json: options.Json = False,
) -> None:
    """Resume the training of `finetune` or `add-language` in a folder: train what is unfinished or damaged.

    The plan, the data, and the model are those recorded in the folder. What is complete is not trained again.

    Examples:

    - `xmodctl resume runs/xnli-en_XX-mini-1a2b3c`

    - `xmodctl resume runs/xnli-en_XX-mini-1a2b3c --seed 2`

    - `xmodctl resume runs/xnli-en_XX-mini-1a2b3c --processes 2`
    """
    say_loading(run)
    launch_unless_launched(ctx, processes)
    from xmodctl.cli import display
    from xmodctl.cli.adding_progress import AddingProgress
    from xmodctl.cli.drawing import Drawing
    from xmodctl.cli.training_progress import TrainingProgress
    from xmodctl.new_language.language_run import LanguageRun
    from xmodctl.new_language.resuming import resume as train

    is_language = (run.expanduser() / LanguageRun.FILE).exists()
    with Drawing(AddingProgress if is_language else TrainingProgress) as listen:
        trained = train(run, seed, wait=wait, listen=listen)
    finished = list(trained.finished_seeds)
    if json:
        display.show_json({"run": str(trained.folder), "state": trained.state, "finished_seeds": finished})
        return
    display.show_text(f"run: {trained.folder}")
    display.note(f"finished seeds: {', '.join(map(str, finished)) or 'none'} of {len(trained.seeds)}")
