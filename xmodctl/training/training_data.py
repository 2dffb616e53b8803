"""The training data of a plan: rows per language, of the task and of its stages, and a few shots of target languages.

Whatever is drawn from target languages is recorded, so that a sweep never scores what was trained on.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from xmodctl.catalog.locations import Split
from xmodctl.catalog.recipe import Recipe
from xmodctl.catalog.task import Task
from xmodctl.core.encoded import Encoded
from xmodctl.core.errors import UserError
from xmodctl.core.events import DataEncoded
from xmodctl.core.messages import listed
from xmodctl.core.visible import one_line
from xmodctl.data import Rows, load_rows, offers
from xmodctl.data.encoding import encode
from xmodctl.kinds import KINDS
from xmodctl.run.plan import Plan
from xmodctl.training.optimization import total_steps
from xmodctl.training.row_budget import drawn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

POOLS: tuple[Split, ...] = ("train", "validation")
"""Where shots are drawn from: the first of these that a language has. Never the test data."""


@dataclass(frozen=True)
class LanguageData:
    """Rows of one language, and the adapter they go through."""

    adapter: str
    rows: Rows


@dataclass(frozen=True)
class TrainingData:
    """The rows of one training: of a stage, or of the run's own task, which comes last."""

    task: Task
    recipe: Recipe
    training: tuple[LanguageData, ...]
    validation: tuple[LanguageData, ...]  # of the training languages that have some
    pools: tuple[LanguageData, ...] = ()  # what each seed draws its shots from
    stage: str = ""  # the task's name, if this is a stage

    @property
    def rows(self) -> int:
        """Training rows over all languages, without shots."""
        return sum(len(language.rows) for language in self.training)

    @property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each part, by name: `train`, or `train de_DE` with several languages."""
        fingerprints = {}
        parts = (("train", self.training), ("validation", self.validation), ("shots", self.pools))
        for name, languages in parts:
            for language in languages:
                adapter = language.adapter if len(self.training) > 1 or name == "shots" else ""
                fingerprints[" ".join(filter(None, (self.stage, name, adapter)))] = language.rows.fingerprint
        return fingerprints


@dataclass(frozen=True)
class EncodedTrainingData:
    """The rows of one training as the model reads them."""

    data: TrainingData
    tokenizer: "PreTrainedTokenizerBase"
    training: tuple[Encoded, ...]
    validation: tuple[Encoded, ...]

    @classmethod
    def encode(cls, data: TrainingData, tokenizer: "PreTrainedTokenizerBase") -> Self:
        """Encode what every seed trains on."""
        kind, recipe = KINDS[data.task.kind], data.recipe
        training = tuple(encode(kind, language.rows, tokenizer, recipe) for language in data.training)
        validation = tuple(encode(kind, language.rows, tokenizer, recipe) for language in data.validation)
        return cls(data, tokenizer, training, validation)

    @property
    def adapters(self) -> tuple[str, ...]:
        """The adapters that training goes through."""
        return tuple(language.adapter for language in self.data.training)

    @property
    def longest(self) -> int:
        """The number of tokens of the longest sequence."""
        parts = (*self.training, *self.validation)
        return max((int(encoded.input_ids.lengths.max(initial=0)) for encoded in parts), default=0)

    def describe(self, units: np.ndarray) -> str:
        """Name the rows that units are of, in messages.

        Args:
            units: Their numbers, counted over all languages.
        """
        starts = np.cumsum([0, *(len(encoded) for encoded in self.training)])
        names = []
        for language, encoded, start, end in zip(self.data.training, self.training, starts, starts[1:], strict=False):
            chosen = units[(units >= start) & (units < end)] - start
            if len(chosen):
                numbers = dict.fromkeys(encoded.rows[encoded.first[chosen]].tolist())
                ids = [str(language.rows.table["id"][number]) for number in numbers]
                names.append(f"{language.rows.origin} (ids {one_line(listed(ids))})")
        return "rows of " + " and ".join(names)

    @property
    def summary(self) -> DataEncoded:
        """The event that describes the data."""
        data = self.data
        return DataEncoded(
            rows=data.rows,
            tokens=sum(int(encoded.input_ids.lengths.sum()) for encoded in self.training),
            truncated=sum(encoded.counts["truncated"] for encoded in self.training),
            validation_rows=sum(len(language.rows) for language in data.validation),
            notes=tuple(dict.fromkeys(self._notes())),
            stage=data.stage,
        )

    def _notes(self) -> Iterator[str]:
        data = self.data
        for language in (*data.training, *data.validation, *data.pools):
            yield from language.rows.notes
        for language, encoded in zip(data.training, self.training, strict=True):
            problems = KINDS[data.task.kind].unreachable_answers(encoded, len(language.rows))
            yield from (f"{language.rows.origin}: {problem}" for problem in problems)
        for language in data.pools:
            yield f"shots of {language.adapter} are drawn from {language.rows.origin}"

    @property
    def total_steps(self) -> int:
        """Optimizer steps of a training without shots."""
        weights = KINDS[self.data.task.kind].weights
        return total_steps(sum(int((weights(encoded) > 0).sum()) for encoded in self.training), self.data.recipe)

    def with_shots(self, shots: Sequence[Rows]) -> "EncodedTrainingData":
        """Return the data with the examples that a seed drew from each pool."""
        kind, recipe = KINDS[self.data.task.kind], self.data.recipe
        drawn = [LanguageData(pool.adapter, rows) for pool, rows in zip(self.data.pools, shots, strict=True)]
        return replace(
            self,
            data=replace(self.data, training=(*self.data.training, *drawn), pools=()),
            training=(*self.training, *(encode(kind, language.rows, self.tokenizer, recipe) for language in drawn)),
        )


def load_training_data(plan: Plan, *, folder: Path | None) -> tuple[TrainingData, ...]:
    """Load the rows of each training of a plan: those of its stages, then those of its own task.

    Raises:
        UserError: They cannot be loaded.
    """
    stages = []
    for task, stage in zip(plan.stage_tasks, plan.recipe.stages, strict=True):
        recipe, data = plan.recipe.of_stage(stage), Path(stage.data) if stage.data else None
        try:
            # Only the languages that the stage's data has: Social IQa, say, is in English only.
            available = [
                language
                for language in plan.source_languages
                if offers(task, language, "train", folder=data, evaluation=False)
            ]
            loaded = _load(task, recipe, available or plan.source_languages, data, plan.limit)
        except UserError as error:
            raise UserError(
                f"the stage {task.name}: {error} (name its data folder with --set 'stages=[{{task: {task.name}, "
                "data: DIR}]', or train without stages with --set 'stages=[]')"
            ) from error
        stages.append(replace(loaded, stage=task.name))
    last = _load(plan.task, plan.recipe, plan.source_languages, folder, plan.limit)
    if plan.rows is not None:
        rows = drawn([language.rows for language in last.training], plan.rows)
        pairs = zip(last.training, rows, strict=True)
        last = replace(last, training=tuple(replace(language, rows=part) for language, part in pairs))
    return (*stages, replace(last, pools=_load_pools(plan, folder)))


def _load(task: Task, recipe: Recipe, languages: Sequence[str], folder: Path | None, limit: int | None) -> TrainingData:
    training, validation = [], []
    single = len(languages) == 1
    for language in languages:
        rows = load_rows(task, language, "train", folder=folder, limit=limit, evaluation=False, single_language=single)
        training.append(LanguageData(language, rows))
        # The benchmark's own validation data, or else that of the data set trained on.
        choices = [
            evaluation
            for evaluation in (True, False)
            if offers(task, language, "validation", folder=folder, evaluation=evaluation)
        ]
        if choices or recipe.keep == "source-dev":
            evaluation = next(iter(choices), True)
            rows = load_rows(
                task, language, "validation", folder=folder, limit=limit, evaluation=evaluation, single_language=single
            )
            validation.append(LanguageData(language, rows))
    return TrainingData(task, recipe, tuple(training), tuple(validation))


def _load_pools(plan: Plan, folder: Path | None) -> tuple[LanguageData, ...]:
    if plan.shots is None:
        return ()
    pools = []
    for language, adapter in plan.shots.languages:
        split = next((split for split in POOLS if offers(plan.task, language, split, folder=folder)), None)
        if split is None:
            raise UserError(
                f"--shots: {plan.data or plan.task.title} has neither training nor validation data in {language} to "
                "draw examples from, and test data is never trained on; choose other languages with --shot-langs"
            )
        rows = load_rows(plan.task, language, split, folder=folder, limit=plan.limit)
        if len(rows) < plan.shots.count:
            raise UserError(
                f"--shots {plan.shots.count}: {rows.origin} has only {len(rows)} rows; use a smaller number with "
                "--shots"
            )
        pools.append(LanguageData(adapter, rows))
    return tuple(pools)


def draw_shots(pool: Rows, count: int, seed: int) -> Rows:
    """Draw examples by `seed` and the pool's language alone; rows with labels are drawn evenly over the labels."""
    language = hashlib.sha256(pool.language.encode()).digest()[:8]
    order = np.random.default_rng([seed, int.from_bytes(language, "big")]).permutation(len(pool))
    if "label" in pool.table.column_names:
        labels = np.unique([str(label) for label in pool.table["label"]], return_inverse=True)[1][order]
        rank = np.zeros(len(order), dtype=np.int64)  # rows of the same label that come before
        for label in np.unique(labels):
            is_label = labels == label
            rank[is_label] = np.arange(is_label.sum())
        order = order[np.argsort(rank, kind="stable")]
    chosen = np.sort(order[:count])
    digest = hashlib.sha256(f"{pool.fingerprint} {chosen.tolist()}".encode()).hexdigest()
    return replace(pool, arrow=pool.arrow.take(chosen), fingerprint=digest)
