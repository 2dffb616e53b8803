"""`inspect`: rows of a task's data as the model reads them, and what a run gets wrong."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from xmodctl.catalog.locations import Split
from xmodctl.core.arguments import DEFAULT_MODEL, check_choice
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, ModelLoading, Notice, warn
from xmodctl.core.requests import command
from xmodctl.evaluation.results import Row, own_rows
from xmodctl.languages import same
from xmodctl.reports.error_analysis import ErrorAnalyzer, Mistake
from xmodctl.reports.gathering import has_source_and, rows_of_one_data_set
from xmodctl.reports.notes import Notes
from xmodctl.reports.parallel_errors import Overlap, ParallelErrors
from xmodctl.run.loading import find_base, find_run
from xmodctl.training.planning import fitted, settings
from xmodctl.training.request import PlanRequest

if TYPE_CHECKING:
    from xmodctl.data.inspection import InspectedRow
    from xmodctl.run.run import Run

ALL, RIGHT_IN_SOURCE, WRONG_EVERYWHERE = "all", "right-in-source", "wrong-everywhere"
SLICES = (ALL, RIGHT_IN_SOURCE, WRONG_EVERYWHERE)
"""The errors of a run that can be shown; all but the first need a parallel task."""


@dataclass(frozen=True)
class InspectRequest(PlanRequest):
    """Options of an inspection.

    Args:
        lang: The language of the data, in any spelling; the model may lack it.
        model: The model whose tokenizer reads the rows: a Hub id (optionally with `@REVISION`), a folder, or `mini`.
        limit: Has no effect; `rows` says how many rows are shown.
        precision: Has no effect.
        split: `train`, `validation`, or `test`; None is `train`, and with `run` it is `test`.
        rows: How many rows to show.
        run: Show only rows that this run got wrong, the worst first, with its predictions; on a parallel task also the
            same rows in the source language. Model, recipe, and settings are then those of the run.
        errors: With `run`: `all` errors, those that are `right-in-source`, or those that are `wrong-everywhere`.
        listen: Called with each event.
    """

    lang: str
    _: KW_ONLY
    split: str | None = None
    rows: int = 3
    run: "Run | str | Path | None" = None
    errors: str = ALL
    listen: Listener | None = None

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise UserError(f"--rows {self.rows}: give a whole number, at least 1")
        _ = self.chosen_split
        check_choice("--errors", self.errors, SLICES)
        if self.run is None and self.errors != ALL:
            raise UserError(f"--errors {self.errors} chooses errors of a run; name it with --run DIR")
        excluded = {
            "--model": self.model != DEFAULT_MODEL, "--recipe": self.recipe is not None, "--set": bool(self.overrides),
            "--lang-column": self.language_column is not None,
        }  # fmt: skip
        if self.run is not None and (options := [option for option, is_given in excluded.items() if is_given]):
            raise UserError(f"{' and '.join(options)} cannot be given with --run, which reads rows as the run does")
        super().__post_init__()

    @property
    def chosen_split(self) -> Split:
        """The split.

        Raises:
            UserError: There is none of this name.
        """
        name = self.split or ("train" if self.run is None else "test")
        check_choice("--split", name, get_args(Split))
        splits: tuple[Split, ...] = get_args(Split)
        return splits[splits.index(name)]


@dataclass(frozen=True)
class Inspection:
    """Rows as the model reads them, and where they come from."""

    rows: "Sequence[InspectedRow]"
    origin: str  # a file's path, or repository@commit:files
    recipe: str
    max_length: int  # tokens per sequence
    mistakes: tuple[Mistake, ...] = ()  # of a run: what it predicts for each row
    overlap: Overlap | None = None  # of a run of a parallel task: its errors beside those in the source language
    notes: tuple[str, ...] = ()

    def to_json(self) -> list[dict[str, Any]] | dict[str, Any]:
        """Return the rows as plain JSON values; of a run, with its errors and the ids of each slice."""
        rows = [row.to_json() for row in self.rows]
        if not self.mistakes and self.overlap is None:
            return rows
        errors = [{**row, "error": asdict(mistake)} for row, mistake in zip(rows, self.mistakes, strict=True)]
        overlap = asdict(self.overlap) | {"share": self.overlap.share, "share_ci": self.overlap.share_ci} if (
            self.overlap
        ) else None  # fmt: skip
        return {"overlap": overlap, "errors": errors, "notes": list(self.notes)}


@command(InspectRequest)
def inspect(request: InspectRequest) -> Inspection:
    """Show rows as the model reads them: the data's columns, the tokens, and the label of each.

    Each row is encoded exactly as `finetune` encodes it. With `run`, the rows are those that the run got wrong.

    Returns:
        The rows with their tokens and labels.

    Raises:
        UserError: An option is wrong, or the data cannot be read.
    """
    if request.run is not None:
        return _errors_of(find_run(request.run), request)
    if request.listen:
        request.listen(ModelLoading(f"the tokenizer of {request.model}"))
    from xmodctl.data import load_rows, offers
    from xmodctl.data.inspection import inspect as inspect_rows
    from xmodctl.model import find, load_tokenizer

    chosen = fitted(settings(request), request, [request.lang])
    split, folder = request.chosen_split, request.data_folder
    # A benchmark may keep its validation data beside the training data instead of with the test data.
    published = split != "train" and offers(chosen.task, request.lang, split, folder=folder)
    rows = load_rows(
        chosen.task,
        request.lang,
        split,
        folder=folder,
        limit=request.rows,
        evaluation=published or split == "test",
        single_language=True,
    )
    tokenizer = load_tokenizer(find(str(request.model)))
    inspected = tuple(inspect_rows(rows, chosen.task, tokenizer, chosen.recipe))
    return Inspection(inspected, rows.origin, chosen.recipe.name, chosen.recipe.max_length)


def _errors_of(run: "Run", request: InspectRequest) -> Inspection:
    """Return the worst errors of a run in one language."""
    if run.plan.task.name != str(request.task):
        raise UserError(
            f"--task {request.task}: {run.folder} is of the task {run.plan.task.name}; give that, or omit it"
        )
    notes = Notes()
    suffices = partial(has_source_and, request.lang)
    rows = own_rows(rows_of_one_data_set(run, request.chosen_split, notes, suffices=suffices, data=request.data_folder))
    code = next((code for code in rows if same(code, request.lang)), None)
    if code is None:
        split = request.chosen_split
        raise UserError(f"{run.folder} has no scores of {request.lang} on the split {split}; it has {', '.join(rows)}")
    analyzer = ErrorAnalyzer(run, request.data_folder, request.rows, notes.add)
    parallel = ParallelErrors(analyzer, rows)
    overlap = parallel.overlap(code)
    mistakes = analyzer.worst(rows[code], _ids(request, run, overlap))
    if overlap:
        (mistakes,) = parallel.beside([mistakes])
    inspected = _inspected(analyzer, rows[code][0], mistakes, request.listen)
    for note in notes.lines:
        (request.listen or warn)(Notice(note))
    return replace(inspected, mistakes=mistakes, overlap=overlap, notes=notes.lines)


def _ids(request: InspectRequest, run: "Run", overlap: Overlap | None) -> tuple[str, ...] | None:
    """Return the ids of the slice, or None for all errors."""
    if request.errors == ALL:
        return None
    if overlap is None:
        raise UserError(
            f"--errors {request.errors} needs a parallel task, and scores of {request.lang} and the source language; "
            f"{run.plan.task.name} in {run.folder} does not have them: use --errors all"
        )
    return overlap.right_in_source if request.errors == RIGHT_IN_SOURCE else overlap.wrong_everywhere


def _inspected(analyzer: ErrorAnalyzer, row: Row, mistakes: Sequence[Mistake], listen: Listener | None) -> Inspection:
    """Return the rows of errors as the model reads them.

    Raises:
        UserError: Their data is missing or has changed.
    """
    from xmodctl.data.inspection import inspect as inspect_rows
    from xmodctl.model import load_tokenizer

    recipe = analyzer.run.plan.recipe
    if listen:
        listen(ModelLoading(f"the tokenizer of {analyzer.run.plan.model}"))
    rows, task = analyzer.rows_of(row)
    numbers = {id_: number for number, id_ in enumerate(rows.arrow["id"].to_pylist())}
    chosen = replace(rows, arrow=rows.arrow.take([numbers[mistake.id] for mistake in mistakes]))
    tokenizer = load_tokenizer(find_base(analyzer.run))
    return Inspection(tuple(inspect_rows(chosen, task, tokenizer, recipe)), rows.origin, recipe.name, recipe.max_length)
