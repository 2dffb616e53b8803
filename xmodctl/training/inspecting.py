"""`inspect`: rows of a task's data as the model reads them."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, get_args

from xmodctl.catalog.locations import Split
from xmodctl.core.arguments import check_choice
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, ModelLoading
from xmodctl.core.requests import command
from xmodctl.training.planning import fitted, settings
from xmodctl.training.request import PlanRequest

if TYPE_CHECKING:
    from xmodctl.data.inspection import InspectedRow


@dataclass(frozen=True)
class InspectRequest(PlanRequest):
    """Options of an inspection.

    Args:
        lang: The language of the data, in any spelling; the model may lack it.
        model: The model whose tokenizer reads the rows: a Hub id (optionally with `@REVISION`), a folder, or `mini`.
        limit: Has no effect; `rows` says how many rows are shown.
        precision: Has no effect.
        split: `train`, `validation`, or `test`.
        rows: How many rows to show.
        listen: Called with each event.
    """

    lang: str
    _: KW_ONLY
    split: str = "train"
    rows: int = 3
    listen: Listener | None = None

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise UserError(f"--rows {self.rows}: give a whole number, at least 1")
        _ = self.chosen_split
        super().__post_init__()

    @property
    def chosen_split(self) -> Split:
        """The split.

        Raises:
            UserError: There is none of this name.
        """
        check_choice("--split", self.split, get_args(Split))
        splits: tuple[Split, ...] = get_args(Split)
        return splits[splits.index(self.split)]


@dataclass(frozen=True)
class Inspection:
    """Rows as the model reads them, and where they come from."""

    rows: "Sequence[InspectedRow]"
    origin: str  # a file's path, or repository@commit:files
    recipe: str
    max_length: int  # tokens per sequence

    def to_json(self) -> list[dict[str, Any]]:
        """Return the rows as plain JSON values."""
        return [row.to_json() for row in self.rows]


@command(InspectRequest)
def inspect(request: InspectRequest) -> Inspection:
    """Show rows as the model reads them: the data's columns, the tokens, and the label of each.

    Each row is encoded exactly as `finetune` encodes it.

    Returns:
        The rows with their tokens and labels.

    Raises:
        UserError: An option is wrong, or the data cannot be read.
    """
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
