"""`xmodctl eval-transfer`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xmodctl.cli import options
from xmodctl.cli.launching import launch_unless_launched
from xmodctl.cli.loading import NEWEST_RUN, say_loading
from xmodctl.cli.options import DATA

if TYPE_CHECKING:
    from xmodctl.core.errors import InProgressError
    from xmodctl.evaluation.results import Failure, Report

PANEL = "Evaluate"
ORDER = 1


Controls = Annotated[
    str,
    typer.Option(
        "--controls",
        metavar="source,none",
        help="Also score through the source language's adapter, no adapter, or both.",
    ),
]
DataOverrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override how the data is read, as in `labels_mapped.DATE=O`; with `--task`, also `pooling`, `layer`, "
        "`prefix`, `max_length`. Repeatable.",
        rich_help_panel=DATA,
    ),
]
UntrainedTask = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="TASK",
        help=(
            "Score this task without training, with the sentence embeddings of `--model`, or of the model that "
            "`--run` trained."
        ),
    ),
]
BaseModel = Annotated[
    str | None,
    typer.Option("--model", metavar="MODEL", help="With `--task`: a Hub id, a folder, or `mini`."),
]


MixBy = Annotated[
    str,
    typer.Option(
        "--mix-by",
        metavar="text|entropy|typology",
        help="How the weights of `LANG=mix` are chosen: by text, by the entropy of predictions on the scored rows, or "
        "by typology (extra `typology`).",
        rich_help_panel=DATA,
    ),
]
MixText = Annotated[
    list[str] | None,
    typer.Option(
        "--mix-text",
        metavar="[LANG=]FILE",
        help="Text to choose the weights of `LANG=mix` on: those with the lowest masked-LM loss; repeatable.",
        rich_help_panel=DATA,
    ),
]


def eval_transfer(
    ctx: typer.Context,
    langs: options.Languages,
    run: options.RunFolder = None,
    task: UntrainedTask = None,
    model: BaseModel = None,
    split: options.Split = "test",
    controls: Controls = "",
    adapter: options.Adapters = None,
    precision: options.Precision = "auto",
    data: options.RunData = None,
    language_column: options.LanguageColumn = None,
    overrides: DataOverrides = None,
    mix_by: MixBy = "text",
    mix_text: MixText = None,
    limit: options.Limit = None,
    processes: options.ScoringProcesses = 1,
    on_exists: options.OnExistingScores = "missing",
    out: options.RunOut = None,
    shard: options.Shard = None,
    wait: options.Wait = False,
    json: options.Json = False,
) -> None:
    """Score a run in other languages, each through its own adapter.

    The shared weights are loaded once; each language brings its own adapter. A second call scores only what is
    missing. The source language is always scored, because gaps are measured from it (exclude it with `-en_XX`).
    Several jobs with the same command share its languages, controls, and seeds.

    Examples:

    - `xmodctl eval-transfer --langs de_DE,fr_XX`

    - `xmodctl eval-transfer --run runs/my-run --langs @task --controls source,none`

    - `xmodctl eval-transfer --langs all,-zh_TW,jv=id_ID --split validation --data data/panx`

    - `xmodctl eval-transfer --langs zu=0.7*sw+0.3*so,zu=mix --mix-text zu=zu.txt`

    - `xmodctl eval-transfer --task tatoeba --model mini --langs de,sw`

    - `xmodctl eval-transfer --adapter runs/zu_ZA --langs zu --data masakhaner/zu --set labels_mapped.DATE=O`
    """
    say_loading(run or model or NEWEST_RUN)
    launch_unless_launched(ctx, processes)
    from xmodctl.cli.drawing import Drawing
    from xmodctl.cli.sweep_progress import SweepProgress
    from xmodctl.core.schema import parse_override

    with Drawing(SweepProgress) as draw:
        report, progress = _evaluated(
            run, langs, split=split, controls=controls, precision=precision, data=data, limit=limit,
            language_column=language_column, on_exists=on_exists, adapters=adapter or (),
            overrides=dict(parse_override(text) for text in overrides or ()), task=task, model=model, out=out,
            mix_by=mix_by, mix_text=mix_text or (), shard=shard, wait=wait, listen=draw,
        )  # fmt: skip
    show(report, json=json)
    fail_if_any(report.failures)
    if progress:
        raise progress


def _evaluated(*arguments: Any, **options: Any) -> "tuple[Report, InProgressError | None]":
    """Return the report, and the error if other jobs compute some of its scores."""
    from xmodctl.core.errors import InProgressError
    from xmodctl.evaluation.evaluate import evaluate
    from xmodctl.evaluation.results import Report

    try:
        return evaluate(*arguments, **options), None
    except InProgressError as error:
        if not isinstance(error.result, Report):
            raise
        return error.result, error


def show(report: "Report", *, json: bool = False) -> None:
    """Print a report: the table, the comparison with the controls, and notes; or one JSON document."""
    from xmodctl.cli import display
    from xmodctl.cli.commands.compare import show as show_comparison
    from xmodctl.cli.score_tables import report_sheet

    if json:
        document = {"report": report.to_json(), "rows": [row.to_json() for row in report.rows]}
        if report.control_comparison:
            document["controls"] = report.control_comparison.to_json()
        display.show_json(document)
        return
    display.show(report_sheet(report))
    if report.control_comparison:
        show_comparison(report.control_comparison)
    for note in report.notes:
        display.warn(note)


def fail_if_any(failures: "Sequence[Failure]") -> None:
    """Report each reason once.

    Raises:
        PartialFailureError: Something could not be scored.
    """
    from xmodctl.core.errors import PartialFailureError

    if reasons := list(dict.fromkeys(f"  {failure.language}: {failure.reason}" for failure in failures)):
        raise PartialFailureError("\n".join([f"{len(reasons)} could not be scored:", *reasons]))
