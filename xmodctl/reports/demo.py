"""`demo`: a small real model, trained and scored on the data that comes with the package."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.core.arguments import check_choice
from xmodctl.core.events import Listener
from xmodctl.core.requests import command
from xmodctl.data.demonstrations import TASKS, demonstration_folder

if TYPE_CHECKING:
    from xmodctl.evaluation.results import Report
    from xmodctl.run.run import Run

SOURCE_LANGUAGE = "en_XX"


@dataclass(frozen=True)
class DemoRequest:
    """Options of a demonstration.

    Args:
        task: `nli` (sentence pairs), `ner` (named entities), `qa` (question answering), or `mc` (multiple choice).
        out: The run's folder; by default `runs/demo-TASK`.
        redo: Whether to train and score again if the run exists.
        listen: Called with each event; without it, cautions become Python warnings.
    """

    task: str = "nli"
    _: KW_ONLY
    out: str | Path | None = None
    redo: bool = False
    listen: Listener | None = None

    def __post_init__(self) -> None:
        check_choice("--task", self.task, TASKS)


@dataclass(frozen=True)
class Demonstration:
    """The run of a demonstration, and its scores in fifteen languages."""

    run: "Run"
    report: "Report"

    def _repr_html_(self) -> str:
        """Return the scores as a table for notebooks."""
        return self.report._repr_html_()

    def to_json(self) -> dict[str, Any]:
        """Return the report and its rows as plain JSON values."""
        return {"report": self.report.to_json(), "rows": [row.to_json() for row in self.report.rows]}


@command(DemoRequest)
def demo(request: DemoRequest) -> Demonstration:
    """Train a small real model in English, then score it in fourteen other languages.

    Needs no network and no GPU: the embedded model and the demonstration sentences come with the package. The sentences
    show how the tool works; they are not a benchmark.

    Returns:
        The run and its scores.

    Raises:
        UserError: An option is wrong, or the embedded model is not installed.
        KeyboardInterrupt: The training was interrupted; the same call resumes it.
    """
    from xmodctl.catalog import catalog
    from xmodctl.evaluation.evaluate import evaluate
    from xmodctl.run.home import runs_folder
    from xmodctl.training.finetune import finetune

    data = demonstration_folder(request.task)
    run = finetune(
        catalog.task(request.task).name, SOURCE_LANGUAGE, model="mini", recipe=f"demo-{request.task}", data=data,
        out=request.out or runs_folder() / f"demo-{request.task}", on_exists="redo" if request.redo else "resume",
        shard="1/1", listen=request.listen,
    )  # fmt: skip
    return Demonstration(run, evaluate(run, "all", data=data, shard="1/1", listen=request.listen))
