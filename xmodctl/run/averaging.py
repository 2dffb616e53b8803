"""`xmodctl runs average` as a function: the mean of the trained weights of several seeds or runs, as a new run.

Models that were trained from one start, head included, mostly lie in one basin, so that the mean of their weights is a
good model (Wortsman et al., Model soups, ICML 2022; across languages: Schmidt et al., arXiv 2305.16834, 2310.10532).
Heads that were drawn from different seeds have nothing to do with each other, and neither have the bodies trained
beneath them: their mean is no model, and is refused.
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.core.arguments import as_seeds
from xmodctl.core.errors import UserError
from xmodctl.core.files import sha256_of
from xmodctl.core.requests import command
from xmodctl.core.safetensors_io import read_entries
from xmodctl.kinds import KINDS
from xmodctl.run.deltas import load_delta, save_delta
from xmodctl.run.folder import differences
from xmodctl.run.jobs import locked
from xmodctl.run.loading import find_base, find_run
from xmodctl.run.plan import AveragedModels, AverageMember
from xmodctl.run.run import Run

if TYPE_CHECKING:
    from torch import Tensor

    from xmodctl.model import Source

SEED = 1
"""The seed of an average, which draws nothing."""


@dataclass(frozen=True)
class AverageRequest:
    """What to average, and where to keep it.

    Args:
        runs: One or several runs or their folders.
        out: The folder of the new run.
        seeds: Use only these seeds of each run; None is all of them.
    """

    runs: "Run | str | Path | Sequence[Run | str | Path]"
    _: KW_ONLY
    out: str | Path
    seeds: int | str | Sequence[int] | None = None

    @property
    def run_list(self) -> list[Run]:
        """The runs."""
        runs = [self.runs] if isinstance(self.runs, Run) else self.runs
        return [find_run(run) for run in ((runs,) if isinstance(runs, str | Path) else runs)]


@dataclass(frozen=True)
class _Model:
    """One seed of a run that is averaged."""

    run: Run
    seed: int

    def __str__(self) -> str:
        return f"{self.run.folder}, seed {self.seed}"

    @property
    def path(self) -> Path:
        return self.run.delta(self.seed)

    @property
    def head_seed(self) -> int:
        """The seed that the head was drawn from before training."""
        plan = self.run.plan
        if plan.average is not None:
            return plan.average.head_seed
        if plan.recipe.head_seed is not None:
            return plan.recipe.head_seed
        return plan.shots.training_seed if plan.shots else self.seed

    def settings(self, source: "Source") -> dict[str, Any]:
        """Return what was chosen for the task after training."""
        settings = load_delta(self.path, source, remedy=self.run.retraining(self.seed))[1].get("settings")
        return settings if isinstance(settings, dict) else {}


@command(AverageRequest)
def average(request: AverageRequest) -> Run:
    """Average the trained weights of seeds or runs into a new run, which every command reads.

    The plan of the new run is that of the first one, with the members and the sha256 of their weights.

    Returns:
        The new run; its one seed is 1.

    Raises:
        UserError: There are fewer than two models; one is not trained to its end; bases, tasks, labels, lengths, or
            trained tensors differ; heads do not share a start; or the folder holds something else.
    """
    models = _models(request)
    first = models[0]
    for model in models[1:]:
        _refuse_different(first, model)
    source = find_base(first.run)
    _refuse_different_settings(models, source)
    _refuse_different_tensors(models)
    members = tuple(AverageMember(str(each.run.folder.resolve()), each.seed, sha256_of(each.path)) for each in models)
    if len({member.delta_sha256 for member in members}) < len(members):
        raise UserError("the same weights are given twice; name each run once")
    languages = tuple(dict.fromkeys(language for each in models for language in each.run.plan.source_languages))
    plan = replace(first.run.plan, source_languages=languages, average=AveragedModels(members, first.head_seed))
    folder = Path(request.out).expanduser()
    with locked(folder):
        _refuse_other(folder, plan)
        run = Run.new(folder, plan, (SEED,), _shared_fingerprints(models))
        run.write()  # if the process is killed now, what is in the folder is known to be of this average
        tensors, facts = _mean(models, source)
        save_delta(run.delta(SEED), tensors, source, facts)
        run = replace(run, state="finished")
        run.write()
    return run


def is_average_of(run: Run, other: Run, seeds: Sequence[int]) -> bool:
    """Return whether the weights of a run are the mean of those of another run's seeds, and perhaps of more models."""
    if run.plan.average is None:
        return False
    averaged = {member.delta_sha256 for member in run.plan.average.members}
    paths = [other.delta(seed) for seed in seeds]
    return all(path.exists() and _sha256(path, path.stat().st_mtime_ns) in averaged for path in paths)


@lru_cache
def _sha256(path: Path, changed: int) -> str:  # noqa: ARG001 (part of the key: a comparison asks for each language)
    return sha256_of(path)


def averaging(run: Run) -> str:
    """Return the command that makes an average again."""
    assert run.plan.average is not None
    members = run.plan.average.members
    words = ["xmodctl", "runs", "average", *dict.fromkeys(member.run for member in members)]
    seeds = ",".join(str(seed) for seed in sorted({member.seed for member in members}))
    return shlex.join([*words, "--seeds", seeds, "--out", str(run.folder)])


def _models(request: AverageRequest) -> list[_Model]:
    wanted = as_seeds(request.seeds) if request.seeds is not None else None
    models: list[_Model] = []
    for run in request.run_list:
        if run.plan.vectors is not None:
            raise UserError(f"{run.folder} scores vectors without training; average runs of `xmodctl finetune`")
        for seed in run.seeds if wanted is None else wanted:
            if seed not in run.finished_seeds:
                finished = ", ".join(map(str, run.finished_seeds)) or "none"
                raise UserError(
                    f"{run.folder}: seed {seed} is not finished (finished: {finished}); run `xmodctl resume "
                    f"{shlex.quote(str(run.folder))}`, or name finished seeds with --seeds"
                )
            models.append(_Model(run, seed))
    if len(models) < 2:
        raise UserError(
            f"an average needs at least two models, and {', '.join(map(str, models)) or 'nothing'} is given; "
            "name another run, or a run with several seeds"
        )
    return models


def _refuse_different(first: _Model, other: _Model) -> None:
    """Refuse two models whose weights have no mean.

    Raises:
        UserError: They have none.
    """
    plan, other_plan = first.run.plan, other.run.plan
    for what, value, other_value in (
        ("base models", plan.config_sha256, other_plan.config_sha256),
        ("revisions of the base model", plan.revision, other_plan.revision),
        ("kinds of task", plan.task.kind, other_plan.task.kind),
        ("tasks", plan.task.name, other_plan.task.name),
        ("labels", KINDS[plan.task.kind].outputs(plan.task), KINDS[other_plan.task.kind].outputs(other_plan.task)),
        ("maximum lengths (`max_length`)", plan.recipe.max_length, other_plan.recipe.max_length),
        ("overlaps of windows (`stride`)", plan.recipe.overlap, other_plan.recipe.overlap),
    ):
        if value != other_value:
            raise UserError(
                f"{first.run.folder} and {other.run.folder} have different {what} and cannot be averaged; "
                "name runs that have the same"
            )
    if first.head_seed != other.head_seed:
        raise UserError(
            f"the heads of {first} and {other} start from different random weights, so their mean is not a usable "
            "model; train both from one head with `xmodctl finetune --set head_seed=1`"
        )


def _refuse_different_settings(models: Sequence[_Model], source: "Source") -> None:
    """Verify the deltas, and refuse models for which different values were chosen on validation data.

    Raises:
        UserError: A delta is damaged, or the values differ: the mean needs its own.
    """
    settings = {json.dumps(model.settings(source), sort_keys=True) for model in models}
    if len(settings) > 1:
        raise UserError(
            f"the models chose different values on validation data ({' and '.join(sorted(settings))}); train them "
            "with one value for all, such as --set threshold=0.5"
        )


def _refuse_different_tensors(models: Sequence[_Model]) -> None:
    """Refuse models, whose deltas are verified, that trained different tensors.

    Raises:
        UserError: They did.
    """
    first = models[0]
    for other in models[1:]:
        if read_entries(first.path) != read_entries(other.path):
            raise UserError(
                f"{first} and {other} trained different tensors; train both with the same `freeze`, and through the "
                "same adapters where these are trained"
            )


def _refuse_other(folder: Path, plan: Any) -> None:
    """Refuse a folder that holds anything but the same average.

    Raises:
        UserError: It does.
    """
    others = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    if not others:
        return
    if not (folder / Run.FILE).exists():
        raise UserError(f"--out {folder} contains other files ({', '.join(sorted(others)[:3])}); choose another folder")
    if differences(plan, Run.read(folder).plan):
        raise UserError(f"--out {folder} contains another run; choose another folder")


def _shared_fingerprints(models: Sequence[_Model]) -> dict[str, str]:
    """Return the fingerprints of data that no two models saw differently."""
    seen: dict[str, set[str]] = {}
    for model in models:
        for name, value in model.run.fingerprints.items():
            seen.setdefault(name, set()).add(value)
    return {name: values.pop() for name, values in seen.items() if len(values) == 1}


def _mean(models: Sequence[_Model], source: "Source") -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """Return the mean of the trained tensors, summed in double precision, and the facts of the new delta."""
    total: dict[str, Any] = {}
    dtypes, all_facts = {}, []
    for model in models:
        tensors, facts = load_delta(model.path, source, remedy=model.run.retraining(model.seed))
        all_facts.append(facts)
        for name, tensor in tensors.items():
            total[name] = total[name] + tensor.double() if name in total else tensor.double()
            dtypes[name] = tensor.dtype
    selected = dict.fromkeys(str(facts.get("selected_on", "")) for facts in all_facts)
    facts = {
        **all_facts[0],
        "seed": SEED,
        "step": max(int(facts.get("step", 0)) for facts in all_facts),
        "selected_on": f"{' and '.join(selected)}, in each of {len(models)} averaged models",
    }
    return {name: (tensor / len(models)).to(dtypes[name]) for name, tensor in total.items()}, facts
