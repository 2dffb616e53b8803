"""What a few examples of a language bring: a training like the explained one that also sees them, scored alike."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener
from xmodctl.core.messages import counted
from xmodctl.data import offers
from xmodctl.evaluation.compare import compare_rows
from xmodctl.evaluation.evaluate import evaluate
from xmodctl.evaluation.results import Row
from xmodctl.reports.explanation import Figure, Section
from xmodctl.run.plan import Shots
from xmodctl.run.run import Run
from xmodctl.training.finetune import train_plan
from xmodctl.training.repeating import refuse_changed_data
from xmodctl.training.training_data import POOLS

if TYPE_CHECKING:
    from xmodctl.model import Source

GAIN = "points above training without rows in the language"
"""The figure that a recommendation rests on."""


@dataclass(frozen=True)
class ShotTrial:
    """A training that repeats the plan of a run and adds examples of one language.

    Args:
        run: The run that is explained.
        rows: Its results of the language, one per seed.
        count: How many examples are drawn.
        data: Where the data is now, if it was moved.
    """

    run: Run
    rows: Sequence[Row]
    count: int
    data: Path | None

    @property
    def obstacle(self) -> str:
        """Why the plan of the run cannot be repeated with examples; empty if it can."""
        plan, row = self.run.plan, self.rows[0]
        if plan.shots is not None:
            return f"{self.run.folder} was trained with examples of target languages already"
        if plan.average is not None or plan.vectors is not None:
            return f"{self.run.folder} was not trained by `finetune`"
        if row.adapter is None or row.package or row.mixture:
            return (
                f"{self.run.folder} was scored in {row.language} without an adapter of its model, which training on "
                "examples needs"
            )
        folder = Path(plan.data) if plan.data else None
        if not any(offers(plan.task, row.language, split, folder=folder) for split in POOLS):
            return (
                f"{plan.data or plan.task.title} has neither training nor validation data in {row.language} to draw "
                "examples from"
            )
        return ""

    def check(self) -> None:
        """Refuse a run whose plan cannot be repeated with examples.

        Raises:
            UserError: It cannot.
        """
        if self.obstacle:
            raise UserError(f"--shots {self.count}: {self.obstacle}; remove --shots")

    def section(self, source: "Source", listen: Listener) -> Section:
        """Train, score, and compare; what was done before is not repeated.

        Args:
            source: The base model.
            listen: Called with each event.

        Raises:
            UserError: The language has no data to draw examples from, or the training data has changed.
        """
        row = self.rows[0]
        shots = Shots(self.count, ((row.language, str(row.adapter)),), self.run.seeds[0])
        plan = replace(self.run.plan, shots=shots)
        folder = self.run.folder.parent / Run.folder_of(plan).name
        same_data = partial(refuse_changed_data, self.run, f"or remove --shots {self.count}")
        trained = train_plan(plan, (1,), source, folder, "resume", (), listen, check=same_data)
        without_source = [f"-{adapter}" for adapter in plan.source_languages]  # no gap is needed
        report = evaluate(
            trained,
            langs=[f"{row.language}={row.adapter}", *without_source],
            split=row.split,
            data=self.data,
            limit=row.limited,
            precision=row.precision,
            listen=listen,
        )
        (difference, *_) = compare_rows([self.run, trained], [self.rows, report.rows]).differences
        (score,) = report.scores
        figures = (
            Figure(f"{row.metric} with {counted(self.count, 'row')}", score.mean, "%", (score.ci_low, score.ci_high)),
            Figure(GAIN, difference.value, "points", difference.ci),
        )
        remark = (
            f"trained like {self.run.folder} with seed {shots.training_seed} and one draw of rows, in {folder}; the "
            "interval does not include the variance between draws, which `finetune --shot-seeds 5` shows"
        )
        newest = f"commands that name no run may use {folder} from now on, because it is newer than {self.run.folder}"
        return Section("Shots", figures, (remark, newest))
