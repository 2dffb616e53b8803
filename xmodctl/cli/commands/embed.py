"""`xmodctl embed`."""

from pathlib import Path
from typing import Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.loading import say_loading
from xmodctl.cli.options import DATA, OUTPUT
from xmodctl.core.arguments import TEXT_FORMATS

PANEL = "Models and adapters"
ORDER = 2


File = Annotated[str, typer.Argument(metavar="FILE|-", help="The texts; `-`, the default, is standard input.")]
BaseModel = Annotated[
    str | None,
    typer.Option("--model", metavar="MODEL", help="A base model: a Hub id, a folder, or `mini`. Give this or `--run`."),
]
TrainedRun = Annotated[
    Path | None, typer.Option("--run", metavar="DIR", help="A run's folder: the model as the run trained it.")
]
PoolingMode = Annotated[
    str | None,
    typer.Option(
        "--pooling", metavar="mean|cls", help="Use the mean over all tokens (the default) or the first token."
    ),
]
Layer = Annotated[
    int | None,
    typer.Option("--layer", metavar="N", help="The layer to pool; 0 is the embeddings. Default: the last."),
]
Normalize = Annotated[
    bool, typer.Option("--normalize/--no-normalize", help="Scale each vector to length 1.", show_default=True)
]
Prefix = Annotated[
    str | None,
    typer.Option(
        "--prefix",
        metavar="TEXT",
        help="Text to prepend to each text. Default: `query: ` for `mini`, nothing for other models.",
    ),
]
MaxLength = Annotated[
    int | None,
    typer.Option(
        "--max-length", metavar="N", help="Truncate texts to N tokens. Default: the most that the model reads."
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="|".join(TEXT_FORMATS),
        help="The format of FILE. Default: inferred from its extension, or else text or JSON lines.",
        rich_help_panel=DATA,
    ),
]
TextColumn = Annotated[
    str | None,
    typer.Option("--text-column", metavar="NAME", help="The column that contains the text.", rich_help_panel=DATA),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="The file to write: .npy, .safetensors, .parquet, or .jsonl. Default: JSON lines on standard output.",
        rich_help_panel=OUTPUT,
    ),
]


def embed(
    file: File = "-",
    lang: options.TextLanguage = None,
    text: options.Texts = None,
    model: BaseModel = None,
    run: TrainedRun = None,
    seed: options.Seed = None,
    adapter: options.Adapters = None,
    pooling: PoolingMode = None,
    layer: Layer = None,
    normalize: Normalize = True,
    prefix: Prefix = None,
    max_length: MaxLength = None,
    precision: options.Precision = "auto",
    format_: Format = None,
    text_column: TextColumn = None,
    language_column: options.LanguageColumn = None,
    keep_input: options.KeepInput = False,
    out: Out = None,
) -> None:
    """Turn texts into vectors (sentence embeddings), each through the adapter of its language.

    Without `--lang`, a column `language`, `lang`, or `locale` gives the language of each row. Files are read as
    `predict` reads them. A .npy or .safetensors file holds the matrix, and a second file, `OUT.rows.jsonl`, the ids of
    its rows. Vectors of two commands are comparable only if model, pooling, layer, and prefix are the same.

    Examples:

    - `xmodctl embed texts.txt --lang de --model mini --out vectors.npy`

    - `xmodctl embed tickets.csv --model mini --keep-input --out vectors.parquet`

    - `xmodctl embed --run runs/my-run --lang sw --text "Habari ya asubuhi"`
    """
    say_loading(run or model or "the model")
    from xmodctl.cli import display
    from xmodctl.cli.drawing import draw_notice
    from xmodctl.core.errors import UserError
    from xmodctl.core.messages import counted
    from xmodctl.evaluation.embedding import check_vectors_output
    from xmodctl.evaluation.embedding import embed as compute
    from xmodctl.evaluation.output_vectors import json_rows

    if text and file != "-":
        raise UserError("give --text or FILE, not both")
    if out is not None:
        check_vectors_output(out, file if not text else None)
    embeddings = compute(
        [{"text": each} for each in text] if text else file, lang, model=model, run=run, seed=seed,
        adapters=adapter or (), pooling=pooling, layer=layer, normalize=normalize, prefix=prefix,
        max_length=max_length, precision=precision, format=format_, text_column=text_column,
        language_column=language_column, keep_input=keep_input, listen=draw_notice,
    )  # fmt: skip
    if out is not None:
        embeddings.write(out)
    elif not display.show_parts(json_rows(part) for part in embeddings.parts()):
        return
    cut = f", {embeddings.truncated:,} truncated to {embeddings.max_length} tokens" if embeddings.truncated else ""
    front = f", with {embeddings.prefix!r} in front" if embeddings.prefix else ""
    display.note(f"embedded {counted(embeddings.count, 'text')}: {embeddings.dimensions} dimensions{front}{cut}")
