"""Results as values: one row a score, an append-only file of rows, predictions, and averages over languages."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from xmodctl.core import jsonl
from xmodctl.core.errors import UserError
from xmodctl.core.files import sha256_of
from xmodctl.kinds.scoring import Predicted
from xmodctl.languages import same

SCHEMA = 1
"""Version of the row format; a reader refuses a newer one."""

ALL, WITHOUT_SOURCE, OWN_ADAPTER = "all languages", "without the source", "with an adapter of their own"
"""What averages are called."""

MAJORITY_BASELINE = "majority baseline"
"""What tables call the score of the best answer that ignores the input: a row's `baseline`."""


@dataclass(frozen=True)
class Row:
    """One score: a run's model, one seed, one language's data through one adapter."""

    task: str
    kind: str
    split: str
    language: str  # of the data, as the benchmark spells it
    adapter: str | None  # the adapter that ran, read back from the model; None is no adapter
    control: str  # own, source or none
    source_languages: tuple[str, ...]
    model: str  # id@revision
    data: str  # origin#fingerprint
    n: int
    metric: str
    value: float  # percent
    metrics: dict[str, float]  # every metric of the kind, percent
    baseline: float  # the headline metric of the best answer that ignores the input, percent
    ci_low: float
    ci_high: float
    ci_method: str
    seed: int
    step: int
    selected_on: str
    limited: int | None  # --limit, where one was given
    precision: str
    device: str
    seconds: float
    truncated: int  # rows that were longer than the recipe's max_length
    predictions: str  # path relative to the run folder
    predictions_sha256: str
    tool: str  # version of xmodctl
    schema: int = SCHEMA
    shots: int = 0  # examples of this language trained on besides the source's: without any the score is zero-shot
    training_seed: int | None = None  # where shots are drawn, `seed` is that of the draw and this the training's
    in_source: bool | None = None  # the data is in a language trained in; None in rows of earlier versions
    package: str | None = None  # sha256 of the package the adapter came in, read back from the model

    @property
    def is_in_source(self) -> bool:
        """Whether the data is in a language trained in."""
        if self.in_source is None:
            return any(same(self.language, one) for one in self.source_languages)
        return self.in_source

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two rows the same measurement."""
        return (self.seed, self.language, self.adapter, self.split, self.control, self.limited)

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any], *, origin: str = "a result row") -> Self:
        """Rebuild a row; one of a newer version is refused, `origin` says where it stands."""
        if value.get("schema", 0) > SCHEMA:
            raise UserError(
                f"{origin} has schema {value['schema']}, newer than {SCHEMA}; run: pip install --upgrade xmodctl"
            )
        known = {one.name for one in fields(cls)}
        return cls(
            **{**{k: v for k, v in value.items() if k in known}, "source_languages": tuple(value["source_languages"])}
        )


@dataclass(frozen=True)
class Failure:
    """A language that could not be scored, and why."""

    language: str
    adapter: str | None
    seed: int
    reason: str


def read_rows(path: Path) -> list[Row]:
    """Read `results.jsonl`; of rows measured twice the later counts, and a torn last line is not a row."""
    if not path.exists():
        return []
    rows: dict[tuple[Any, ...], Row] = {}
    remedy = "remove that line, its language is scored again"
    for number, value in jsonl.read(path, remedy=remedy, append_only=True):
        try:
            row = Row.from_json(value, origin=f"{path}:{number}")
        except (KeyError, TypeError) as error:
            raise UserError(f"{path}:{number} is not a result row; {remedy}") from error
        rows.pop(row.key, None)
        rows[row.key] = row
    return list(rows.values())


def append_row(path: Path, row: Row) -> None:
    """Append one row; a torn last line from an earlier crash is cut off first."""
    jsonl.append(path, row.to_json())


def write_predictions(path: Path, predictions: Iterable[Predicted]) -> str:
    """Write one JSON object a line, whole or not at all, and return the file's sha256."""
    jsonl.write(path, map(asdict, predictions))
    return sha256_of(path)


@dataclass(frozen=True)
class Score:
    """One language of a report: the mean over seeds, each seed, and how far it lies from the source."""

    language: str
    adapter: str | None
    control: str
    n: int
    values: tuple[float, ...]  # one a seed, percent
    ci_low: float
    ci_high: float
    baseline: float
    is_source: bool
    gap: float | None  # source score minus this one, points; None where there is no source score, or it is the source
    ci_method: str = ""
    gap_ci: tuple[float, float] | None = None  # None where the predictions of both are not at hand
    shots: int = 0  # examples of the language that were trained on, besides the source's

    @property
    def mean(self) -> float:
        """Mean over seeds, percent."""
        return sum(self.values) / len(self.values)

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over seeds, points; None for one seed."""
        if len(self.values) < 2:
            return None
        return float((sum((v - self.mean) ** 2 for v in self.values) / (len(self.values) - 1)) ** 0.5)


@dataclass(frozen=True)
class Report:
    """Scores of one run in many languages.

    `averages` are unweighted over languages, each through its own adapter where it has one: over all of them, which is
    what XTREME's tables hold (Hu et al. 2020, arXiv 2003.11080), without the source, and over those with an adapter of
    their own. `gap` is XTREME's transfer gap: the source's score (of several sources, their mean) minus the mean of the
    others.
    """

    run: str
    task: str
    metric: str
    split: str
    source_languages: tuple[str, ...]
    seeds: tuple[int, ...]
    limited: int | None
    scores: tuple[Score, ...]
    failures: tuple[Failure, ...] = ()
    averages: dict[str, float] = field(default_factory=dict)
    averages_ci: dict[str, tuple[float, float]] = field(default_factory=dict)  # where predictions are at hand
    gap: float | None = None  # points; None without a source score, or without others
    gap_ci: tuple[float, float] | None = None
    ci_method: str = ""  # of the intervals of gaps and averages
    notes: tuple[str, ...] = ()  # what a reader should know of the intervals

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values, means and spreads included."""
        value = asdict(self)
        for told, score in zip(value["scores"], self.scores, strict=True):
            told |= {"mean": score.mean, "spread": score.spread}
        return value


def report(run: str, rows: Sequence[Row], failures: Sequence[Failure] = ()) -> Report:
    """Gather rows of one run, task, split and limit into scores a language, in the order the rows first appear.

    Intervals of gaps and averages need predictions: `xmodctl.evaluation.measurements.with_intervals` adds them.
    """
    assert rows, "a report has at least one row"
    first = rows[0]
    sources = {row.language for row in rows if row.is_in_source}
    groups: dict[tuple[str, str | None, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.language, row.adapter, row.control), []).append(row)
    chosen = own_rows(rows)
    own = {language: _mean(found) for language, found in chosen.items()}
    source = [value for language, value in own.items() if language in sources]
    at_source = sum(source) / len(source) if source else None
    scores = []
    for (language, adapter, control), found in groups.items():
        is_source = language in sources and control == "own" and adapter == chosen[language][0].adapter
        gap = None if at_source is None or is_source else at_source - _mean(found)
        low, high = (sum(getattr(row, end) for row in found) / len(found) for end in ("ci_low", "ci_high"))
        scores.append(
            Score(
                language=language,
                adapter=adapter,
                control=control,
                n=found[0].n,
                values=tuple(row.value for row in found),
                ci_low=low,
                ci_high=high,
                baseline=found[0].baseline,
                is_source=is_source,
                gap=gap,
                ci_method=found[0].ci_method,
                shots=found[0].shots,
            )
        )
    shots = {row.language: row.shots for row in rows if row.shots and row.control == "own"}
    averages = {}
    gap_to_others = None
    if len(own) > 1:
        averages[ALL] = sum(own.values()) / len(own)
        others = [value for language, value in own.items() if language not in sources]
        if source and others:
            averages[WITHOUT_SOURCE] = sum(others) / len(others)
            gap_to_others = sum(source) / len(source) - averages[WITHOUT_SOURCE]
    return Report(
        run=run,
        task=first.task,
        metric=first.metric,
        split=first.split,
        source_languages=first.source_languages,
        seeds=tuple(sorted({row.seed for row in rows})),
        limited=first.limited,
        scores=tuple(scores),
        failures=tuple(failures),
        averages=averages,
        gap=gap_to_others,
        notes=(_told_of_shots(shots, first.training_seed),) if shots else (),
    )


def _told_of_shots(shots: Mapping[str, int], training_seed: int | None) -> str:
    """Say which scores are not zero-shot, and what the seeds of such a run are."""
    return (
        f"not zero-shot: {', '.join(f'{count} examples of {language}' for language, count in shots.items())} were "
        f"trained on; each seed drew its own, the training's seed is {training_seed} in all"
    )


def own_rows(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows that stand for each language: through its own adapter, or else through the first one measured."""
    ways: dict[str, dict[str | None, list[Row]]] = {}
    for row in rows:
        if row.control == "own":
            ways.setdefault(row.language, {}).setdefault(row.adapter, []).append(row)
    return {language: _own(language, found) for language, found in ways.items()}


def _own(language: str, ways: dict[str | None, list[Row]]) -> list[Row]:
    own = [found for adapter, found in ways.items() if adapter and same(adapter, language)]
    return next(iter([*own, *ways.values()]))


def _mean(rows: Sequence[Row]) -> float:
    return sum(row.value for row in rows) / len(rows)
