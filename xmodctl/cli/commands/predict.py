"""`xmodctl predict`."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from xmodctl.cli import options
from xmodctl.cli.options import OUTPUT

if TYPE_CHECKING:
    from xmodctl.evaluation.prediction import Labelled, Labeller
    from xmodctl.run.run import Run

PANEL = "Models and adapters"
ORDER = 1


def predict(
    lang: Annotated[str, typer.Option("--lang", metavar="LANG", help="The language of the text: `de`, `de_DE`.")],
    file: Annotated[
        str, typer.Argument(metavar="[FILE|-]", help="The text; `-`, the default, is standard input.")
    ] = "-",
    run: options.RunFolder = None,
    seed: options.Seed = None,
    adapter: options.Adapters = None,
    precision: options.Precision = "auto",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write there; default: standard output.", rich_help_panel=OUTPUT),
    ] = None,
) -> None:
    """Label text in any language of the model, with any run: a row a line in, a JSON object a line out, in order.

    A row is a JSON object with the kind's columns (`text` and perhaps `text_pair`; `tokens`; `context` and `question`;
    `choices`), called as here or as in the task's data. Where a row is a single text it may also be plain text: for
    token classification its words are what stands between blanks, so write languages without them as `tokens`.
    Entities and answers come with the characters where they begin and end (in `tokens` joined by blanks, where these
    were given). A line that cannot be used ends the command with its number, after everything before it was written.

    Examples:

    - `xmodctl predict --run runs/my-run --lang de questions.jsonl --out answers.jsonl`

    - `zcat texts.txt.gz | xmodctl predict --lang sw_KE > labels.jsonl`
    """
    from xmodctl.cli import display
    from xmodctl.evaluation.prediction import read_lines
    from xmodctl.run.run import Run, newest_run

    found = Run.read(run) if run else newest_run()
    if not run:
        display.note(f"run: {found.folder} (the newest; choose another with --run)")
    with _opened(file) as (stream, name):
        label = labeller(found, lang, seed, precision, adapter or ())
        spoken = label.trained.model.active
        _write(label(read_lines(stream, name, found.plan.task, spoken or lang)), out)


def labeller(run: "Run", lang: str, seed: int | None, precision: str, adapters: "Sequence[str]" = ()) -> "Labeller":
    """Load a run's model with the adapter of one language, which may come in a package.

    Raises:
        UserError: The run is not trained, has no such seed, or the model lacks the language.
    """
    from xmodctl.adapters.attaching import available_languages, load_tokenizers
    from xmodctl.adapters.store import choose_all
    from xmodctl.cli import display
    from xmodctl.evaluation.prediction import Labeller
    from xmodctl.languages import resolve
    from xmodctl.model.precision import resolve_precision
    from xmodctl.run.loading import chosen_seed, find_base
    from xmodctl.run.trained import Trained

    chosen = chosen_seed(run, seed)
    source = find_base(run)
    packages = choose_all(adapters, source)
    match = resolve(
        lang, available_languages(source, packages), model=run.plan.model, open_languages=source.open_languages
    )
    if match.note:
        display.warn(match.note)
    trained = Trained.load(run, source, chosen, match.adapter, packages=packages)
    trained.model.activate(match.adapter)
    read_with = load_tokenizers(source, packages)
    tokenizer = read_with.get(match.adapter, read_with[None])
    return Labeller(trained, tokenizer, run.plan.task, run.plan.recipe, resolve_precision(precision))


@contextmanager
def _opened(file: str) -> "Iterator[tuple[Iterable[bytes], str]]":
    import sys

    from xmodctl.core.errors import UserError

    if file == "-":
        yield sys.stdin.buffer, "standard input"
        return
    if not Path(file).exists():
        raise UserError(f"there is no file {file}; give one, or - for standard input")
    with Path(file).open("rb") as stream:
        yield stream, file


def _write(parts: "Iterable[Labelled]", out: Path | None) -> None:
    """Write predictions as they come; a file appears when it is whole.

    Raises:
        UserError: A line could not be used; what came before it is written, beside `out` if that was given.
    """
    import os
    import sys

    from xmodctl.cli import display
    from xmodctl.core.errors import UserError
    from xmodctl.core.files import whole_file

    if out is None:
        try:
            told = _write_to(sys.stdout, parts)
        except BrokenPipeError:  # the reader has read enough, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
    else:
        with whole_file(out) as path:
            try:
                with path.open("w", encoding="utf-8") as file:
                    told = _write_to(file, parts)
            except UserError as error:
                path.replace(kept := out.with_name(f"{out.name}.partial"))
                raise UserError(f"{error}\nThe rows before it are labelled in {kept}") from error
    display.note(told)


def _write_to(file: TextIO, parts: "Iterable[Labelled]") -> str:
    import json

    count = truncated = 0
    for part in parts:
        file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in part.rows))
        file.flush()
        count += len(part.rows)
        truncated += part.truncated
    cut = f"; {truncated:,} were longer than the recipe's length, and cut" if truncated else ""
    return f"{count:,} rows labelled{cut}"
