"""`xmodctl explain`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.loading import NEWEST_RUN, say_loading
from xmodctl.cli.options import OUTPUT

if TYPE_CHECKING:
    from xmodctl.reports.error_analysis import Mistake
    from xmodctl.reports.explanation import Explanation, Section

PANEL = "Evaluate"
ORDER = 5
WIDTH = 80
"""Columns of the page in the terminal."""

Shots = Annotated[
    int | None,
    typer.Option(
        "--shots",
        metavar="N",
        help="Train again with N rows in the language, and show the gain; takes as long as training the run.",
    ),
]


def explain(
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="The run's folder. Default: the newest run under `runs/`.")
    ] = None,
    lang: Annotated[str, typer.Option("--lang", metavar="LANG", help="The language to explain.")] = ...,  # type: ignore[assignment]
    split: options.Split = "test",
    data: options.RunData = None,
    text: Annotated[
        list[Path] | None,
        typer.Option(
            "--text",
            metavar="FILE",
            help="Text in the language, to measure how well each adapter predicts it; repeatable.",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    errors: Annotated[
        int, typer.Option("--errors", metavar="N", min=0, help="The number of errors to show with their texts.")
    ] = 3,
    shots: Shots = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Also write the page as HTML to FILE.", rich_help_panel=OUTPUT),
    ] = None,
    json: options.Json = False,
) -> None:
    """Explain the score of one language: compare it with the source language, and show possible causes and what to try.

    Tokenizer, adapter, data, and errors are measured from stored predictions and the data, with 95% intervals. At most
    three recommendations follow, each with the measurement behind it, and a list of what could not be determined.

    Examples:

    - `xmodctl explain --lang ur`

    - `xmodctl explain runs/my-run --lang ur --out ur.html`

    - `xmodctl explain runs/my-run --lang ur --text ur.txt.gz --json`

    - `xmodctl explain runs/my-run --lang ur --shots 10`
    """
    say_loading(run or NEWEST_RUN)
    from contextlib import ExitStack

    from xmodctl.cli import display
    from xmodctl.cli.drawing import draw_notice, draw_training_and_sweep
    from xmodctl.reports.explaining import explain as explain_language

    with ExitStack() as displays:
        listen = draw_notice if shots is None else draw_training_and_sweep(displays)
        explanation = explain_language(
            run, lang, split=split, data=data, text=text or (), errors=errors, shots=shots, out=out, listen=listen
        )
    if json:
        display.show_json(explanation.to_json())
        return
    display.show_text("\n".join(_page(explanation)))
    if out is not None:
        display.note(f"page: {out}")


def _page(explanation: "Explanation") -> Iterator[str]:
    """Yield the lines of the page."""
    limited = f", LIMITED to {explanation.limited} rows" if explanation.limited else ""
    yield from _wrapped(
        f"{explanation.name} ({explanation.language}) in {explanation.task}, {explanation.split}{limited}, "
        f"compared with {explanation.source}; run {explanation.run}"
    )
    for section in explanation.parts:
        yield ""
        yield from _section(section, explanation)
    if explanation.overlap or explanation.mistakes:
        yield ""
        yield "Examples"
        if explanation.overlap:
            yield from _wrapped(explanation.overlap.summary, "  ")
        for mistake in explanation.mistakes:
            yield from _error(mistake)
    yield ""
    yield "What to try"
    for number, each in enumerate(explanation.recommendations, start=1):
        yield from _item(f"{number}.", f"{each.action}: {each.evidence}")
    if not explanation.recommendations:
        yield "  no measurement points to a particular remedy"
    yield ""
    yield "What could not be determined"
    for text in explanation.undetermined:
        yield from _item("-", text)


def _section(section: "Section", explanation: "Explanation") -> Iterator[str]:
    """Yield a heading, a line per figure, and remarks."""
    has_source = any(figure.source is not None for figure in section.figures)
    heads = (explanation.language, explanation.source if has_source else "")
    lines = [(section.title, *(heads if section.figures else ("", "")))]
    lines += [(f"  {figure.name}", figure.written, figure.source_written) for figure in section.figures]
    widths = [max(len(line[column]) for line in lines) for column in (1, 2)]
    first = WIDTH - sum(widths) - 4
    for title, value, source in lines:
        parts = list(_wrapped(title.strip(), "  " if title.startswith(" ") else "", first)) or [title]
        yield from parts[:-1]
        yield f"{parts[-1]:<{first}}  {value:>{widths[0]}}  {source:>{widths[1]}}".rstrip()
    for remark in section.remarks:
        yield from _wrapped(remark, "  ")


def _item(mark: str, text: str) -> Iterator[str]:
    """Yield the lines of an item of a list."""
    for number, line in enumerate(_wrapped(text, " " * (len(mark) + 3))):
        yield f"  {mark} {line.strip()}" if number == 0 else line


def _error(mistake: "Mistake") -> Iterator[str]:
    seeds = f" (wrong with {mistake.wrong_seeds} of {mistake.seeds} seeds)" if mistake.seeds > 1 else ""
    yield from _wrapped(f"example {mistake.id}: predicted {mistake.predicted}, gold is {mistake.gold}{seeds}", "  ")
    for column, text in mistake.texts:
        yield from _wrapped(f"{column}: {text}", "    ")
    if mistake.source:
        verdict = "right" if mistake.source.is_right else f"predicted {mistake.source.predicted}"
        yield from _wrapped(f"in {mistake.source.language}: {verdict}", "    ")
        for column, text in mistake.source.texts:
            yield from _wrapped(f"{column}: {text}", "    ")


def _wrapped(text: str, indent: str = "", width: int = WIDTH) -> list[str]:
    """Return text in lines of a width, in which commands are not broken."""
    from xmodctl.cli import display

    taken = len(indent)
    return [indent + line for line in display.wrapped(text, width - taken).split("\n")]
