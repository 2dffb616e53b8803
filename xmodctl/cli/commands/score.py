"""`xmodctl score`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.options import OUTPUT

if TYPE_CHECKING:
    from xmodctl.evaluation.rescoring import Rescored

PANEL = "Evaluate"
ORDER = 5


EnsembleSplit = Annotated[
    str | None,
    typer.Option(
        "--split",
        metavar="train|validation|test",
        help="With --ensemble: the split whose predictions are used. Default: test.",
    ),
]


def score(
    run: options.RunFolder = None,
    update: Annotated[
        bool,
        typer.Option(
            "--update",
            help="Append rows with the new values where stored values differ and the predictions are unchanged.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    ensemble: Annotated[
        bool,
        typer.Option("--ensemble", help="Score the stored predictions of all seeds as one model, against its members."),
    ] = False,
    others: Annotated[
        list[Path] | None,
        typer.Option("--with", metavar="DIR", help="Another run in the ensemble; repeatable."),
    ] = None,
    split: EnsembleSplit = None,
    json: options.Json = False,
) -> None:
    """Score a run's stored predictions again, without a model, and show where stored values differ.

    Values differ if results were edited, or if this version uses different scoring rules from the version that stored
    them.
    The exit code is 1 if any value differs.

    Examples:

    - `xmodctl score --run runs/my-run`

    - `xmodctl score --run runs/my-run --update`

    - `xmodctl score --run runs/three-seeds --ensemble`
    """
    _check(update=update, ensemble=ensemble, others=others, split=split)
    if ensemble:
        show_ensemble(run, others or [], split or "test", json=json)
        return
    from xmodctl.cli import display
    from xmodctl.cli.drawing import Drawing
    from xmodctl.cli.sweep_progress import SweepProgress
    from xmodctl.core.messages import counted
    from xmodctl.evaluation.rescoring import AS_STORED
    from xmodctl.evaluation.rescoring import score as score_again

    with Drawing(SweepProgress) as draw:
        results = score_again(run, update=update, listen=draw)
    if json:
        display.show_json([result.to_json() for result in results])
    else:
        show(results)
    if updated := sum(result.updated for result in results):
        display.note(f"updated {counted(updated, 'row')}")
    if unchanged := sum(result.state == AS_STORED for result in results):
        display.note(f"{unchanged} of {counted(len(results), 'score')} match the stored values")
    _report_wrong(results)


def _check(*, update: bool, ensemble: bool, others: "Sequence[Path] | None", split: str | None) -> None:
    """Refuse options that do not go together.

    Raises:
        UserError: They do not.
    """
    from xmodctl.core.errors import UserError

    if ensemble and update:
        raise UserError("--update stores scores again, and --ensemble stores none; give one of them")
    if others and not ensemble:
        raise UserError("--with names another run of an ensemble; add --ensemble")
    if split and not ensemble:
        raise UserError(
            "--split chooses the predictions of an ensemble; add --ensemble, or omit it to check every score"
        )


def _report_wrong(results: "Sequence[Rescored]") -> None:
    """Report scores that do not match what is stored.

    Raises:
        PartialFailureError: There are some.
    """
    from xmodctl.core.errors import PartialFailureError
    from xmodctl.core.messages import counted

    if wrong := [result for result in results if not result.is_settled]:
        reasons = [
            result.problem or f"{result.row.language}, {result.row.split}, seed {result.row.seed}: stored values differ"
            for result in wrong
        ]
        raise PartialFailureError(
            "\n  ".join([f"{len(wrong)} of {counted(len(results), 'score')} do not match the stored values:", *reasons])
        )


def show_ensemble(run: Path | None, others: "Sequence[Path]", split: str, *, json: bool) -> None:
    """Print one row per language: the mean score of the members, the ensemble, and their difference."""
    from xmodctl.cli import display
    from xmodctl.cli.drawing import draw_notice
    from xmodctl.evaluation.ensembles import ensemble
    from xmodctl.run.loading import announced_run

    result = ensemble((announced_run(run, draw_notice), *others), split=split)
    if json:
        display.show_json(result.to_json())
        return
    lines = [
        (
            score.language or "mean",
            f"{score.n:,}",
            str(score.models),
            f"{score.members:.1f}",
            f"{score.ensemble:.1f}",
            f"{score.difference:+z.1f}",
            f"{score.ci_low:+z.1f} to {score.ci_high:+z.1f}",
        )
        for score in result.scores
    ]
    columns = ("language", "n", "models", "mean of members", "ensemble", "difference", "95% interval")
    display.show(display.sheet(columns, lines, title=result.heading, right=columns[1:]))
    display.note(f"the ensemble predicts {result.rule}")
    for note in result.notes:
        display.note(note)


def show(results: "Sequence[Rescored]") -> None:
    """Print one row per score: the stored value, and the value now."""
    from xmodctl.cli import display
    from xmodctl.evaluation.data_sets import data_names

    names = data_names([result.row for result in results])
    data = ("data",) if any(names) else ()
    columns = ("language", "adapter", "control", "split", *data, "seed", "n", "metric", "stored", "now", "")
    lines = [
        (
            result.row.language,
            result.row.adapter or "none",
            result.row.control,
            result.row.split,
            *((name,) if data else ()),
            str(result.row.seed),
            f"{result.row.n:,}",
            result.row.metric,
            f"{result.row.value:.2f}",
            f"{result.current.value:.2f}" if result.current else "",
            result.state,
        )
        for result, name in zip(results, names, strict=True)
    ]
    display.show(display.sheet(columns, lines, right=("seed", "n", "stored", "now")))
