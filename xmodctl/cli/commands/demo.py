"""`xmodctl demo`."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.loading import say_loading

PANEL = "Explore"
ORDER = 1


def demo(
    task: Annotated[
        str,
        typer.Option(
            "--task",
            metavar="nli|ner|qa|mc",
            help="Sentence pairs, named entities, question answering, or multiple choice.",
        ),
    ] = "nli",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The run's folder. Default: `runs/demo-TASK`.")
    ] = None,
    redo: Annotated[bool, typer.Option("--redo", help="Train and score again, even if the run exists.")] = False,
    json: options.Json = False,
) -> None:
    """Train a small real model in English, then score it in fourteen other languages.

    Needs no network and no GPU: the embedded model and the demonstration sentences come with the package. The sentences
    show how the tool works; they are not a benchmark.

    Examples:

    - `xmodctl demo`

    - `xmodctl demo --task ner`
    """
    say_loading("mini")
    from xmodctl.cli import display
    from xmodctl.cli.drawing import draw_training_and_sweep
    from xmodctl.cli.score_tables import report_sheet
    from xmodctl.reports.demo import demo as train_and_score

    with ExitStack() as displays:
        demonstration = train_and_score(task, out=out, redo=redo, listen=draw_training_and_sweep(displays))
    if json:
        display.show_json(demonstration.to_json())
        return
    display.show(report_sheet(demonstration.report))
    folder, name = demonstration.run.folder, demonstration.run.plan.task.name
    display.note(f"The run is in {folder}. Try next:")
    for command in (
        f"xmodctl eval-transfer --run {folder} --langs all --controls source,none   # do the adapters matter?",
        f"xmodctl export --run {folder} --out my-model                              # a plain transformers folder",
        f"xmodctl predict --run {folder} --lang de FILE                    # label your own text",
        f"xmodctl finetune --task {name} --lang en_XX --model mini --data DIR   # train on your own files",
        f"xmodctl finetune --task {name} --lang en_XX                           # the real model, from the Hub",
    ):
        display.note(f"  {command}")
