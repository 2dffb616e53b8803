"""A plan: everything that determines the result of a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from xmodctl.catalog.recipe import Recipe
from xmodctl.catalog.task import Task
from xmodctl.core.schema import validator
from xmodctl.model.precision import Precision
from xmodctl.run.folder import digest_of, name_digits


@dataclass(frozen=True)
class Shots:
    """A few examples of target languages that are trained on besides the source's; each seed of a run draws its own."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    count: int  # a language
    languages: tuple[tuple[str, str], ...]  # the language as the data spells it, and the adapter it goes through
    training_seed: int  # of the head and the order of rows: the same in every draw


@dataclass(frozen=True)
class Vectors:
    """How texts become sentence embeddings, which are scored without training."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    pooling: str  # mean or cls
    layer: int | None  # None is the last
    prefix: str  # in front of each text
    run: str = ""  # the folder of the run whose trained body is scored; empty: the base model as it is
    run_digest: str = ""  # of the plan of that run

    def __str__(self) -> str:
        layer = "" if self.layer is None else f" of layer {self.layer}"
        prefix = f", {self.prefix!r} before each text" if self.prefix else ""
        return f"{'mean over tokens' if self.pooling == 'mean' else 'first token'}{layer}{prefix}"


@dataclass(frozen=True)
class AverageMember:
    """A model whose weights are averaged."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    run: str  # its folder
    seed: int
    delta_sha256: str  # of the file of its weights


@dataclass(frozen=True)
class AveragedModels:
    """The models whose weights a run is the mean of."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    members: tuple[AverageMember, ...]
    head_seed: int  # which the heads of all of them were drawn from


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a fine-tuning computes; the same plan gives the same run."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # a key of another version is reported, not ignored

    task: Task
    recipe: Recipe
    model: str  # as it can be asked for again: id, folder or mini
    revision: str | None
    config_sha256: str | None  # None only while nothing is downloaded
    source_languages: Annotated[tuple[str, ...], Field(min_length=1)]  # the adapters trained through
    data: str | None  # folder given by --data, None is the Hub
    limit: int | None
    precision: Precision
    stage_tasks: Annotated[tuple[Task, ...], Field(alias="earlier")] = ()  # of the recipe's stages, in their order
    shots: Shots | None = None
    rows: int | None = None  # trained on in total, equal numbers of each language
    vectors: Vectors | None = None  # of a run without training, which scores sentence embeddings
    average: AveragedModels | None = None  # of a run that is the mean of others

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        values = dict(validator(Plan).dump_python(self, mode="json", by_alias=True))
        for key in ("vectors", "rows", "average"):
            if values[key] is None:
                values.pop(key)  # which older runs do not have, so that a plan keeps its digest
        return values

    @property
    def adapters(self) -> tuple[str, ...]:
        """The adapters trained through: those of the source languages, then those of shots."""
        shots = [adapter for _, adapter in self.shots.languages] if self.shots else []
        return tuple(dict.fromkeys([*self.source_languages, *shots]))

    @property
    def digest(self) -> str:
        """Sha256 of the plan without remarks on its tasks: equal for plans that compute the same."""
        return digest_of(self._without_remarks())

    def _without_remarks(self) -> dict[str, Any]:
        values = self.to_json()
        for task in (values["task"], *values["earlier"]):
            for key in ("notes", "rows", "translated"):  # which older versions do not have
                task.pop(key, None)
        return values

    @property
    def is_trained(self) -> bool:
        """Whether the run is trained; one that scores vectors is not."""
        return self.vectors is None

    @property
    def folder_name(self) -> str:
        """Name of the run's folder: what it is, and six digits that keep different plans apart."""
        model = Path(self.model).name
        shots = f"-{self.shots.count}shots" if self.shots else ""
        rows = f"-{self.rows}rows" if self.rows else ""
        digits = name_digits(self._without_remarks())
        name = Path(self.data).name.partition(".")[0] if self.data and self.task.from_data else self.task.name
        if self.vectors is not None:
            body = f"{Path(self.vectors.run).name}-" if self.vectors.run else ""
            return f"{name}-{body}{model}-{digits}"
        return f"{name}-{'+'.join(self.source_languages)}{shots}{rows}-{model}-{digits}"
