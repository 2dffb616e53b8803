"""`xmodctl predict`."""

from pathlib import Path
from typing import Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.launching import is_follower, launch_unless_launched
from xmodctl.cli.loading import NEWEST_RUN, say_loading
from xmodctl.cli.options import DATA, OUTPUT
from xmodctl.core.arguments import INPUT_FORMATS

PANEL = "Models and adapters"
ORDER = 1


File = Annotated[str, typer.Argument(metavar="FILE|-", help="The text; `-`, the default, is standard input.")]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="|".join(INPUT_FORMATS),
        help="The format of FILE. Default: inferred from its extension, or else text or JSON lines.",
        rich_help_panel=DATA,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="The file to write: .jsonl, .csv, .tsv, or .parquet. Default: JSON lines on standard output.",
        rich_help_panel=OUTPUT,
    ),
]


def predict(
    ctx: typer.Context,
    file: File = "-",
    lang: options.TextLanguage = None,
    text: options.Texts = None,
    run: options.RunFolder = None,
    seed: options.Seed = None,
    adapter: options.Adapters = None,
    precision: options.Precision = "auto",
    format_: Format = None,
    language_column: options.LanguageColumn = None,
    keep_input: options.KeepInput = False,
    processes: options.ScoringProcesses = 1,
    out: Out = None,
) -> None:
    """Predict labels or answers in any language of the model, row by row.

    Without `--lang`, a column `language`, `lang`, or `locale` gives the language of each row, which goes through its
    own adapter. Files in the formats of training data, such as CSV, are read by their extension or by `--format`; other
    input has one row per line. A row has the kind's columns (`text` and perhaps `text_pair`; `tokens`; `context` and
    `question`; `choices`), named as here or as in the task's data. If a row is a single text, it can be plain text,
    which entity tasks split at spaces unless the training data had texts with spans. Entities and answers include their
    character offsets. The command stops at the first row that it cannot use; the predictions before it are kept.

    Examples:

    - `xmodctl predict --run runs/my-run --lang de questions.jsonl --out answers.jsonl`

    - `xmodctl predict tickets.csv --keep-input --out labeled.csv`

    - `xmodctl predict --lang sw --text "Habari ya asubuhi"`

    - `zcat texts.txt.gz | xmodctl predict --lang sw_KE > labels.jsonl`
    """
    say_loading(run or NEWEST_RUN)
    launch_unless_launched(ctx, processes)
    from xmodctl.cli import display
    from xmodctl.cli.drawing import Drawing
    from xmodctl.cli.sweep_progress import SweepProgress
    from xmodctl.core.errors import UserError
    from xmodctl.core.messages import counted
    from xmodctl.evaluation.prediction import check_predictions_output
    from xmodctl.evaluation.prediction import predict as label

    if text and file != "-":
        raise UserError("give --text or FILE, not both")
    if out is not None and not is_follower():
        check_predictions_output(out, file if not text else None)
    inputs = [{"text": each} for each in text] if text else file
    with Drawing(SweepProgress) as draw:
        predictions = label(
            run, lang, inputs, seed=seed, adapters=adapter or (), precision=precision, format=format_,
            language_column=language_column, keep_input=keep_input, listen=draw,
        )  # fmt: skip
    if out is not None:
        predictions.write(out)
    elif not display.show_parts(predictions.parts()):
        return
    truncated = f", {cut:,} truncated to max_length" if (cut := predictions.truncated) else ""
    display.note(f"predicted {counted(predictions.count, 'row')}{truncated}")
