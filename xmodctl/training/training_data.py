"""What a plan trains on: rows a language, of the task and of the stages before it, and a few shots of target languages.

Whatever is drawn from target languages is recorded, so that a sweep never scores what was trained on.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xmodctl.catalog.recipe import Recipe
from xmodctl.catalog.task import Split, Task
from xmodctl.core.errors import UserError
from xmodctl.data import Rows, load_rows, offers
from xmodctl.run.plan import Plan

POOLS: tuple[Split, ...] = ("train", "validation")
"""Where shots are drawn from: the first of these that a language has. Never the test data."""


@dataclass(frozen=True)
class Corpus:
    """Rows of one language, and the adapter they go through."""

    adapter: str
    rows: Rows


@dataclass(frozen=True)
class Material:
    """What one training takes in: that of a stage, or the last, which is the task's own."""

    task: Task
    recipe: Recipe
    training: tuple[Corpus, ...]
    validation: tuple[Corpus, ...]  # of the source languages that have some
    pools: tuple[Corpus, ...] = ()  # what each seed draws its shots from
    stage: str = ""  # the task's name, of a stage before the last

    @property
    def rows(self) -> int:
        """Training rows over all languages, without shots."""
        return sum(len(one.rows) for one in self.training)

    @property
    def fingerprints(self) -> dict[str, str]:
        """What the rows are called -> their fingerprint: `train`, or `train de_DE` where there are several."""
        found = {}
        for name, corpora in (("train", self.training), ("validation", self.validation), ("shots", self.pools)):
            for one in corpora:
                several = len(self.training) > 1 or name == "shots"
                words = (self.stage, name, one.adapter if several else "")
                found[" ".join(filter(None, words))] = one.rows.fingerprint
        return found


def gather(plan: Plan, *, folder: Path | None) -> tuple[Material, ...]:
    """Load the rows of each training of a plan: those of its stages, then the task's own.

    Raises:
        UserError: They cannot be loaded.
    """
    earlier = []
    for task, stage in zip(plan.earlier, plan.recipe.stages, strict=True):
        recipe, data = plan.recipe.of_stage(stage), Path(stage.data) if stage.data else None
        try:
            # Of several languages those that it has: Social IQa, say, is in English only.
            there = [one for one in plan.source_languages if offers(task, one, "train", folder=data, evaluation=False)]
            found = _material(task, recipe, there or plan.source_languages, data, plan.limit)
        except UserError as error:
            raise UserError(
                f"the stage {task.name}: {error} (a folder for it: --set 'stages=[{{task: {task.name}, data: DIR}}]'; "
                "without it: --set 'stages=[]')"
            ) from error
        earlier.append(replace(found, stage=task.name))
    own = _material(plan.task, plan.recipe, plan.source_languages, folder, plan.limit)
    return (*earlier, replace(own, pools=_pools(plan, folder)))


def _material(task: Task, recipe: Recipe, languages: Sequence[str], folder: Path | None, limit: int | None) -> Material:
    training, validation = [], []
    sole = len(languages) == 1
    for language in languages:
        rows = load_rows(task, language, "train", folder=folder, limit=limit, evaluation=False, sole=sole)
        training.append(Corpus(language, rows))
        # The benchmark's own validation data, or else that of the data set trained on.
        places = [one for one in (True, False) if offers(task, language, "validation", folder=folder, evaluation=one)]
        if places or recipe.keep == "source-dev":
            evaluation = next(iter(places), True)
            rows = load_rows(task, language, "validation", folder=folder, limit=limit, evaluation=evaluation, sole=sole)
            validation.append(Corpus(language, rows))
    return Material(task, recipe, tuple(training), tuple(validation))


def _pools(plan: Plan, folder: Path | None) -> tuple[Corpus, ...]:
    pools = []
    for language, adapter in plan.shots.languages if plan.shots else ():
        split = next((one for one in POOLS if offers(plan.task, language, one, folder=folder)), None)
        if split is None:
            raise UserError(
                f"--shots: {plan.data or plan.task.title} has neither training nor validation data in {language} to "
                "draw examples from, and test data is never trained on; choose other languages with --shot-langs"
            )
        rows = load_rows(plan.task, language, split, folder=folder, limit=plan.limit)
        assert plan.shots
        if len(rows) < plan.shots.count:
            raise UserError(
                f"--shots {plan.shots.count}: {rows.origin} has {len(rows)} rows; ask for at most as many with --shots"
            )
        pools.append(Corpus(adapter, rows))
    return tuple(pools)


def draw(pool: Rows, count: int, seed: int) -> Rows:
    """Draw examples by `seed` and the pool's language alone; where rows have a label, as many of each as can be."""
    words = hashlib.sha256(pool.language.encode()).digest()[:8]
    order = np.random.default_rng([seed, int.from_bytes(words, "big")]).permutation(len(pool))
    if "label" in pool.table.column_names:
        labels = np.asarray(pool.table["label"])[order]
        earlier = np.zeros(len(order), dtype=np.int64)  # rows of the same label that come before
        for label in np.unique(labels):
            mine = labels == label
            earlier[mine] = np.arange(mine.sum())
        order = order[np.argsort(earlier, kind="stable")]
    chosen = np.sort(order[:count])
    told = f"{pool.fingerprint} {chosen.tolist()}"
    return replace(pool, arrow=pool.arrow.take(chosen), fingerprint=hashlib.sha256(told.encode()).hexdigest())
