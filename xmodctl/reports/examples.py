"""Examples behind the scores: a run's prediction files, read one language at a time, and their texts where at hand."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from xmodctl.catalog.task import Split
from xmodctl.core import jsonl
from xmodctl.core.errors import UserError
from xmodctl.core.files import sha256_of
from xmodctl.evaluation.results import Row
from xmodctl.kinds.scoring import Predicted
from xmodctl.languages import same
from xmodctl.reports.breakdowns import BREAKDOWNS, Breakdown, Scored
from xmodctl.reports.study import Examples, Mistake
from xmodctl.run.run import Run

Tell = Callable[[str, str], None]
"""Takes what cannot be shown: (why, of which language)."""


def read_predictions(run: Run, row: Row) -> list[Predicted]:
    """Read the predictions that a row was scored from.

    Raises:
        UserError: They are gone, or are not those that were scored.
    """
    path = run.folder / row.predictions
    try:
        digest = sha256_of(path)
    except OSError:
        raise UserError("predictions are gone; score again with eval-transfer") from None
    remedy = "score again with --on-exists redo"
    if digest != row.predictions_sha256:
        raise UserError(f"predictions were changed after they were scored; {remedy}")
    return [Predicted(**value) for _, value in jsonl.read(path, remedy=remedy)]


@dataclass(frozen=True)
class Reader:
    """Reads what stands behind a run's scores."""

    run: Run
    data: Path | None  # --data: where the texts are, if not where they were
    mistakes: int  # the most that are shown of a language
    tell: Tell

    def read(self, rows: Sequence[Row]) -> Examples:
        """Return what the predictions of one language tell; `rows` are its scores, one a seed."""
        task = self.run.plan.task
        breakdown = BREAKDOWNS[task.kind](task)
        seeds: list[Scored] = []
        for row in rows:
            try:
                seeds.append(Scored(task, row, read_predictions(self.run, row)))
            except UserError as problem:
                self.tell(str(problem), f"{row.language} (seed {row.seed})")
        # Seeds that were scored on other examples than the first cannot be laid over each other.
        seeds = [seed for seed in seeds if _fingerprint(seed.row) == _fingerprint(seeds[0].row)]
        if not seeds:
            return Examples()
        worst = self._worst(breakdown, seeds) if self.mistakes else ()
        return Examples(breakdown.confusion(seeds), breakdown.parts(seeds), worst)

    def _worst(self, breakdown: Breakdown, seeds: Sequence[Scored]) -> tuple[Mistake, ...]:
        wrong = np.stack([breakdown.wrongness(seed) for seed in seeds])
        badness = wrong.mean(axis=0)
        worst = [int(place) for place in np.argsort(-badness, kind="stable")[: self.mistakes] if badness[place] > 0]
        texts = self._texts(seeds[0].row, [seeds[0].predictions[place].id for place in worst])
        mistakes = []
        for place in worst:
            missed = [seed.predictions[place] for seed, value in zip(seeds, wrong[:, place], strict=True) if value > 0]
            # What most seeds said: answers may be lists, and are compared as they are written.
            said, _ = Counter(json.dumps(one.prediction) for one in missed).most_common(1)[0]
            first = missed[0]
            right, answer, told = breakdown.told(first.gold, json.loads(said), texts.get(first.id))
            mistakes.append(Mistake(first.id, right, answer, len(missed), len(seeds), float(badness[place]), told))
        return tuple(mistakes)

    def _texts(self, row: Row, ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """Return the rows that were scored by their ids; none where the data is gone or another."""
        from xmodctl.data import load_examples

        origin, _, fingerprint = row.data.rpartition("#")
        folder = self.data or _folder_of(origin, row.language, self.run)
        task, split = self.run.plan.task, cast(Split, row.split)
        try:
            if folder is None and not _is_published(origin, self.run):
                raise UserError(f"{origin} is gone")
            examples, loaded = load_examples(task, row.language, split, ids, folder=folder, limit=row.limited)
        except UserError:
            self.tell("its data cannot be read again, so examples have no text; name it with --data", row.language)
            return {}
        if loaded != fingerprint:
            self.tell("its data has changed since it was scored, so examples have no text", row.language)
            return {}
        return examples


def _fingerprint(row: Row) -> str:
    return row.data.rpartition("#")[2]


def _folder_of(origin: str, language: str, run: Run) -> Path | None:
    """Return the data folder that a file came from: DIR of DIR/<language>/<split>.<ext>, or of DIR/<split>.<ext>."""
    path = Path(origin)
    if path.exists():
        return path.parent.parent if same(path.parent.name, language) else path.parent
    folder = Path(run.plan.data) if run.plan.data else None
    return folder if folder and folder.is_dir() else None


def _is_published(origin: str, run: Run) -> bool:
    """Say whether rows came from the Hub; then they are still in its cache, or there."""
    places = run.plan.task.evaluation.locations if run.plan.task.evaluation else ()
    return any(origin.startswith(f"{place.repository}@") for place in places)
