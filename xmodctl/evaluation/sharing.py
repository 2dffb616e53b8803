"""Inference shared among processes: the first one reads, scores, and writes; all of them compute batches of one plan.

The batches are those of one process, so outputs have the same bits. Each batch is computed whole by one process.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xmodctl.adapters.mixtures import Mixture
from xmodctl.adapters.store import choose_all
from xmodctl.core.blocks import block_digest
from xmodctl.core.encoded import Encoded, Ragged
from xmodctl.core.errors import LostProcessError, UserError
from xmodctl.evaluation.routed_input import activate
from xmodctl.model.inference import batches_of, predict
from xmodctl.model.precision import Precision
from xmodctl.run.loading import find_base, find_run
from xmodctl.run.run import Run
from xmodctl.run.trained import Trained
from xmodctl.training.world import GRACE, World

if TYPE_CHECKING:
    from xmodctl.adapters.mixtures import Attached
    from xmodctl.model import Source, Xmod
    from xmodctl.model.embedding import Pooling


@dataclass(frozen=True)
class Work:
    """Encoded rows to be computed through one adapter: their logits, or their vectors if there is a `pooling`."""

    encoded: Encoded
    adapter: str | None
    pad_id: int
    pooling: "Pooling | None" = None
    chosen: NDArray[np.int64] | None = None  # units; None is all

    @property
    def units(self) -> NDArray[np.int64]:
        """The units to be computed."""
        return np.arange(len(self.encoded)) if self.chosen is None else self.chosen

    def packed(self) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        """Return what another process needs."""
        ids = self.encoded.input_ids
        head: dict[str, Any] = {"adapter": self.adapter, "pad_id": self.pad_id, "choices": self.encoded.choices}
        head["pooling"] = None if self.pooling is None else asdict(self.pooling)
        return head, [ids.values, ids.bounds, self.encoded.rows, self.units]

    @classmethod
    def unpacked(cls, head: dict[str, Any], arrays: Sequence[NDArray[Any]]) -> "Work":
        """Return the work that another process packed."""
        pooling = None
        if head["pooling"] is not None:
            from xmodctl.model.embedding import Pooling

            pooling = Pooling(**head["pooling"])
        values, bounds, rows, chosen = arrays
        encoded = Encoded(Ragged(values, bounds), rows, choices=head["choices"])
        return cls(encoded, head["adapter"], head["pad_id"], pooling, chosen)

    def outputs(
        self, model: "Xmod", batches: Sequence[NDArray[np.int64]], precision: Precision
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Yield the units and outputs of batches, through the adapter that is active."""
        if self.pooling is None:
            yield from predict(model, self.encoded, precision=precision, pad_id=self.pad_id, batches=batches)
            return
        from xmodctl.model.embedding import vectors_in

        yield from vectors_in(model, self.encoded, self.pooling, batches, precision=precision, pad_id=self.pad_id)


@dataclass
class Processes:
    """The processes of a sweep or a prediction, of which this is the first; by default, it is the only one."""

    world: World = World()  # noqa: RUF009 (frozen)
    result: Any = None  # JSON values: what the other processes return in the end

    @property
    def count(self) -> int:
        """How many there are."""
        return self.world.size

    def open(self, run: Run) -> None:
        """Name the run, whose base model is found, so that the others find it too."""
        self.world.from_first({"run": str(run.folder.resolve())})

    def load(self, run: Run, seed: int, language: str, packages: "Sequence[Attached]", precision: Precision) -> None:
        """Let the others load the model of a seed, at the same time as this one."""
        if self.count > 1:
            mixed = [(each.shares, each.by, each.details) for each in packages if isinstance(each, Mixture)]
            load = {"seed": seed, "language": language, "mixtures": mixed, "precision": precision}
            self.world.from_first({"load": load | {"delta": block_digest(run.delta(seed))}})

    def compute(
        self,
        model: "Xmod",
        works: Sequence[Work],
        precision: Precision,
        *,
        keep: bool = False,
        on_batch: Callable[[int], None] | None = None,
    ) -> list[list[Any]]:
        """Return the outputs of each work, by the number of the unit; None for units that are not chosen.

        Args:
            model: The model; the adapter of the last work is active afterwards.
            works: What to compute.
            precision: The precision of matrix products.
            keep: Whether adapters that were used stay in memory, up to a number of them.
            on_batch: Called after each batch with a number of units; the numbers add up to that of all units.

        Raises:
            UserError: There is not enough memory for a single unit, or another process cannot load the model.
            LostProcessError: Another process has ended.
        """
        if self.count > 1:
            packed = [work.packed() for work in works]
            head = {"works": [head for head, _ in packed], "precision": precision, "keep": keep}
            self.world.message(head, [array for _, arrays in packed for array in arrays])
        own, values, error = _computed(self.world, model, works, precision, keep=keep, on_batch=on_batch)
        outputs: list[list[Any]] = [[None] * len(work.encoded) for work in works]
        for (numbers, problem), arrays in self.world.gather((own, error), values):
            if problem is not None:
                raise UserError(problem)
            for number, units, rows in zip(numbers, arrays[::2], arrays[1::2], strict=True):
                for unit, row in zip(units.tolist(), rows, strict=True):
                    assert outputs[number][unit] is None, "a unit was computed twice"
                    outputs[number][unit] = row
        for work, computed in zip(works, outputs, strict=True):
            assert all(computed[unit] is not None for unit in work.units), "a unit was not computed"
        return outputs

    @contextmanager
    def leading(self) -> "Iterator[Processes]":
        """Let the others end when the block does; a lost process and a signal end them anyway."""
        try:
            yield self
        except (LostProcessError, KeyboardInterrupt):
            raise
        except BaseException:
            self.world.from_first({"end": None})
            raise
        self.world.from_first({"end": self.result})


def _computed(
    world: World,
    model: "Xmod",
    works: Sequence[Work],
    precision: Precision,
    *,
    keep: bool,
    on_batch: Callable[[int], None] | None = None,
) -> tuple[list[int], list[NDArray[Any]], str | None]:
    """Compute this process's share of the batches.

    Returns:
        The number of the work of each batch, the units and outputs of each batch in turns, and what went wrong.
    """
    batches_of_works = [batches_of(work.encoded, model.module.device, work.chosen) for work in works]
    plan = [(number, batch) for number, batches in enumerate(batches_of_works) for batch in batches]
    sizes = np.array([works[number].encoded.lengths[batch].sum() for number, batch in plan], dtype=np.int64)
    share = [plan[index] for index in world.share(sizes)]
    everything, own = (sum(len(batch) for _, batch in part) for part in (plan, share))
    numbers: list[int] = []
    values: list[NDArray[Any]] = []
    done = shown = 0
    try:
        for number, work in enumerate(works):
            if work.adapter is not None and keep:
                activate(model, work.adapter)
            else:
                model.use(work.adapter)
            batches = [batch for owner, batch in share if owner == number]
            for units, outputs in work.outputs(model, batches, precision):
                numbers.append(number)
                values += [units, outputs]
                done += len(units)
                if on_batch:
                    on_batch(everything * done // own - shown)
                    shown = everything * done // own
    except UserError as error:
        return [], [], str(error)
    return numbers, values, None


def follow(world: World, run: "Run | str | Path | None", packages: Sequence[str | Path]) -> Any:
    """Compute what the first process sends until it ends; return its result.

    Args:
        world: The processes, of which this is not the first.
        run: The run; None is that of the first process.
        packages: Adapter packages, as the first process has them.

    Raises:
        UserError: This process has different files from the first.
        LostProcessError: The first process has ended, or has no result.
    """
    opened = world.from_first(None)
    if "end" in opened:  # the first process has found no run
        return opened["end"]
    own_run = find_run(run or opened["run"])
    follower = _Follower(world, own_run, find_base(own_run), packages)
    while True:
        message, arrays = world.message(None)
        if "end" in message:
            return message["end"]
        if "load" in message:
            follower.load(**message["load"])
        else:
            follower.compute(message, arrays)


def compute_share(world: World, model: "Xmod", head: dict[str, Any], arrays: Sequence[NDArray[Any]]) -> None:
    """Compute this process's share of what `Processes.compute` of the first process sent, and send it back."""
    works = [Work.unpacked(each, arrays[4 * n : 4 * n + 4]) for n, each in enumerate(head["works"])]
    numbers, values, problem = _computed(world, model, works, head["precision"], keep=head["keep"])
    world.gather((numbers, problem), values)


def result_of(value: Any) -> Any:
    """Return the result of the first process.

    Raises:
        LostProcessError: It has none: its message says why.
    """
    if value is None:
        sleep(GRACE)
        raise LostProcessError("the first process ended without a result")
    return value


class _Follower:
    """A process that is not the first, and its model."""

    def __init__(self, world: World, run: Run, source: "Source", packages: Sequence[str | Path]) -> None:
        self.world, self.run, self.source = world, run, source
        self.packages = choose_all(packages, source)
        self.trained: Trained | None = None
        self.problem: str | None = None

    def load(self, seed: int, language: str, mixtures: Sequence[Any], delta: str, precision: Precision) -> None:
        """Load a model; what goes wrong is reported with the next work, unless it does in the first process, too."""
        self.trained = self.problem = None
        try:
            if block_digest(self.run.delta(seed)) != delta:
                raise UserError(
                    f"process {self.world.rank} has a different model of seed {seed} in {self.run.folder} from the "
                    "first process; copy that run's folder to this machine"
                )
            mixed = [
                Mixture(
                    tuple((adapter, share) for adapter, share in shares),
                    {each.language: each for each in self.packages if each.language in dict(shares)},
                    by,
                    details,
                )
                for shares, by, details in mixtures
            ]
            self.trained = Trained.load(self.run, self.source, seed, language, packages=(*self.packages, *mixed))
            self.trained.model.store_for_scoring(precision)
        except UserError as error:
            self.problem = str(error)

    def compute(self, head: dict[str, Any], arrays: Sequence[NDArray[Any]]) -> None:
        """Compute this process's share, and send it to the first process."""
        if self.trained is None:
            self.world.gather(([], self.problem), [])
            return
        compute_share(self.world, self.trained.model, head, arrays)
