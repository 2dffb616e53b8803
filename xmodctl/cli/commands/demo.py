"""`xmodctl demo`."""

from pathlib import Path
from typing import Annotated

import typer

from xmodctl.cli import options

PANEL = "Explore"
ORDER = 1

TASKS = ("nli", "ner", "qa", "mc")


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
    from xmodctl.catalog import catalog
    from xmodctl.cli import display
    from xmodctl.cli.drawing import Drawing
    from xmodctl.cli.score_tables import report_sheet
    from xmodctl.cli.sweep_progress import SweepProgress
    from xmodctl.cli.training_progress import TrainingProgress
    from xmodctl.data.demonstrations import demonstration_folder
    from xmodctl.evaluation.evaluate import evaluate
    from xmodctl.run.folder import RUNS
    from xmodctl.training.finetune import finetune

    data = demonstration_folder(options.choice("--task", task, TASKS))
    name = catalog.task(task).name
    out = out or RUNS / f"demo-{task}"
    on_exists = "redo" if redo else "resume"
    with Drawing(TrainingProgress) as draw:
        run = finetune(
            name, "en_XX", model="mini", recipe=f"demo-{task}", data=data, out=out, on_exists=on_exists, listen=draw
        )
    with Drawing(SweepProgress) as draw:
        report = evaluate(run, "all", data=data, listen=draw)
    if json:
        display.show_json({"report": report.to_json(), "rows": [row.to_json() for row in report.rows]})
        return
    display.show(report_sheet(report))
    display.note(f"The run is in {out}. Try next:")
    for command in (
        f"xmodctl eval-transfer --run {out} --langs all --controls source,none   # do the adapters matter?",
        f"xmodctl export --run {out} --out my-model                              # a plain transformers folder",
        f"xmodctl predict --run {out} --lang de FILE                    # label your own text",
        f"xmodctl finetune --task {name} --lang en_XX --model mini --data DIR   # train on your own files",
        f"xmodctl finetune --task {name} --lang en_XX                           # the real model, from the Hub",
    ):
        display.note(f"  {command}")
