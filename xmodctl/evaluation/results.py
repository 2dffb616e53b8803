"""Results as values: one row per score, an append-only file of rows, and reports over languages."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from xmodctl.adapters.mixtures import check_record, described_all
from xmodctl.core import jsonl
from xmodctl.core.errors import UserError
from xmodctl.core.files import sha256_of
from xmodctl.core.reading import OutsideFolderError, inside
from xmodctl.core.schema import validator
from xmodctl.evaluation.notebook import data_frame, html_table
from xmodctl.evaluation.training_notes import training_notes
from xmodctl.kinds.scoring import Predicted
from xmodctl.languages import same
from xmodctl.run.data_sets import data_set_of, fingerprint_of
from xmodctl.run.run import score_key

if TYPE_CHECKING:
    import pandas

    from xmodctl.evaluation.comparison import Comparison

SCHEMA = 2
"""Version of the row format; a reader refuses a newer one.

Up to version 1, a score replaced an earlier one of the same language on other data, together with its predictions.
"""

ALL, WITHOUT_SOURCE, OWN_ADAPTER = "all languages", "without the source", "with an adapter of their own"
"""The names of the averages."""

MAJORITY_BASELINE = "majority baseline"
"""The name of a row's `baseline` in tables: the score of always giving the most common answer."""


@dataclass(frozen=True, repr=False)
class Row:
    """One score: one seed's model of a run, on one language's data, through one adapter."""

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
    baseline: float  # the headline metric of the majority baseline, percent
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
    truncated: int  # rows longer than the recipe's max_length
    predictions: str  # path relative to the run folder
    predictions_sha256: str
    tool: str  # version of xmodctl
    schema: int = SCHEMA
    shots: int = 0  # training examples in this language; with 0 the score is zero-shot
    training_seed: int | None = None  # with shots, `seed` draws the shots and this is the seed of the training
    in_source: bool | None = None  # whether the data is in a source language; None in rows of earlier versions
    package: str | None = None  # sha256 of the adapter's package, read back from the model
    read_as: str = ""  # what was set for reading this data, where the run's own settings were not used
    folder: str | None = None  # of local data, as --data takes it; None on the Hub, and in rows of earlier versions
    package_folder: str | None = None  # where the adapter's package was
    translated: tuple[str, ...] = ()  # source languages whose training data is machine-translated
    code_switching: float = 0.0  # the probability that a word of a training text was replaced by a near one
    members: int = 0  # models whose mean the weights are; 0: the weights were trained
    mixture: dict[str, Any] | None = None  # adapters whose outputs are mixed, their weights, and how these were found
    threshold: float | None = None  # the probability from which a label was predicted, of kinds that have one
    also_in: tuple[str, ...] = ()  # other data sets with the same rows, of which a sweep took this score

    @property
    def is_in_source(self) -> bool:
        """Whether the data is in a source language."""
        if self.in_source is None:
            return any(same(self.language, source) for source in self.source_languages)
        return self.in_source

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two rows the same measurement: a score of other data or another adapter is another one."""
        return (*score_key(vars(self)), self.fingerprint)

    @property
    def fingerprint(self) -> str:
        """A hash of the data, as it was read."""
        return fingerprint_of(self.data)

    @property
    def data_set(self) -> str:
        """The data set: the folder that holds its languages, or the Hub's benchmark."""
        return data_set_of(self.data, self.language, self.task, self.folder)

    def predictions_in(self, folder: Path) -> Path:
        """Return the file of the row's predictions in a run's folder; a name that leads out of it is a UserError."""
        try:
            return inside(folder, self.predictions)
        except OutsideFolderError as error:
            raise UserError(f"{folder / 'results.jsonl'}: `predictions`: {error}; remove that line") from error

    def __repr__(self) -> str:
        """Return the row in short."""
        through = f" through {self.adapter or 'no adapter'}" if self.adapter != self.language else ""
        score = f"{self.metric} {self.value:.1f}"
        return f"<Row {self.task} {self.split} {self.language}{through}, seed {self.seed}: {score}>"

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any], *, origin: str = "a result row") -> Self:
        """Rebuild a row; `origin` is its place in messages.

        Raises:
            UserError: The row was written by a newer version.
            ValueError: It is not a row.
        """
        if value.get("schema", 0) > SCHEMA:
            raise UserError(
                f"{origin} has schema {value['schema']}, newer than {SCHEMA}; run: pip install --upgrade xmodctl"
            )
        numbers = _numbers({name: value[name] for name in ("value", "baseline", "ci_low", "ci_high")})
        kept = {column.name: value[column.name] for column in fields(cls) if column.name in value}
        check_record(kept.get("mixture"))
        row: Self = validator(cls).validate_python({**kept, **numbers, "metrics": _numbers(value["metrics"])})
        return row


def _numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return numbers of a row; what is not finite is null in JSON."""
    return {name: nan if number is None else number for name, number in values.items()}


@dataclass(frozen=True)
class Failure:
    """A language that could not be scored, and why."""

    language: str
    adapter: str | None
    seed: int
    reason: str


def read_rows(path: Path) -> list[Row]:
    """Read `results.jsonl`. Of two rows with the same key, the later one counts; a torn last line is skipped.

    Scores of different data are all returned, except those whose predictions an earlier version overwrote.

    Raises:
        UserError: A line is not a row, or was written by a newer version.
    """
    if not path.exists():
        return []
    rows: dict[tuple[Any, ...], Row] = {}
    owners: dict[tuple[Any, ...], tuple[Any, ...]] = {}  # file of predictions -> key of the row that it is of
    remedy = "remove that line, and its language is scored again"
    for number, value in jsonl.read(path, remedy=remedy, append_only=True):
        try:
            row = Row.from_json(value, origin=f"{path}:{number}")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}:{number} is not a result row; {remedy}") from error
        file = (*row.key[:-2], row.predictions)  # a package that an earlier version replaced wrote the same file
        known = rows.get(row.key)
        if known is None or replace(known, also_in=row.also_in) != row:  # else the earlier row keeps its place
            rows.pop(owners.get(file, row.key), None)
            rows.pop(row.key, None)
        owners[file] = row.key
        rows[row.key] = row
    return list(rows.values())


def append_row(path: Path, row: Row) -> None:
    """Append one row; a torn last line of an earlier crash is cut off first."""
    jsonl.append(path, row.to_json())


def write_predictions(path: Path, predictions: Iterable[Predicted]) -> str:
    """Write one JSON object per line, atomically, and return the file's sha256."""
    jsonl.write(path, map(asdict, predictions))
    return sha256_of(path)


@dataclass(frozen=True, repr=False)
class Score:
    """One line of a report: a language through one adapter, over all seeds."""

    language: str
    adapter: str | None
    control: str
    n: int
    values: tuple[float, ...]  # one per seed, percent
    ci_low: float
    ci_high: float
    baseline: float
    is_source: bool
    gap: float | None  # source score minus this one, points; None without a source score, or if this is the source
    ci_method: str = ""
    gap_ci: tuple[float, float] | None = None  # None if the predictions of either are not available
    shots: int = 0  # training examples in this language

    def __repr__(self) -> str:
        """Return the score in short."""
        through = f" through {self.adapter or 'no adapter'}" if self.adapter != self.language else ""
        return f"<Score {self.language}{through}: {self.mean:.1f} ({self.ci_low:.1f} to {self.ci_high:.1f})>"

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


@dataclass(frozen=True, repr=False)
class Report:
    """Scores of one run in many languages.

    `averages` are unweighted over languages, each through its own adapter where it has one: over all of them, which is
    what XTREME's tables hold (Hu et al. 2020, arXiv 2003.11080); without the source; and over those with an adapter of
    their own. `gap` is XTREME's transfer gap: the source's score (the mean over several sources) minus the mean of the
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
    averages_ci: dict[str, tuple[float, float]] = field(default_factory=dict)  # where predictions are available
    gap: float | None = None  # points; None without a source score, or without others
    gap_ci: tuple[float, float] | None = None
    ci_method: str = ""  # of the intervals of gaps and averages
    notes: tuple[str, ...] = ()  # what you should know about the scores
    rows: tuple[Row, ...] = ()  # what the report was made from
    control_comparison: "Comparison | None" = None  # own adapters against the controls, if these were scored
    data_set: str = ""  # which one, if the run was scored on several

    def __repr__(self) -> str:
        """Return the report in short."""
        mean = f", mean {self.averages[ALL]:.1f}" if ALL in self.averages else ""
        failed = f", {len(self.failures)} failures" if self.failures else ""
        return f"<Report {self.run} {self.split}: {self.metric}, {len(self.scores)} scores{mean}{failed}>"

    def _repr_html_(self) -> str:
        columns = ("language", "adapter", "control", "n", self.metric, "95% interval", MAJORITY_BASELINE, "gap")
        lines = [
            (
                score.language,
                score.adapter or "none",
                score.control,
                f"{score.n:,}",
                f"{score.mean:.1f}",
                f"{score.ci_low:.1f} to {score.ci_high:.1f}",
                f"{score.baseline:.1f}",
                "" if score.gap is None else f"{score.gap:+z.1f}",
            )
            for score in self.scores
        ]
        means = [f"mean, {name}: {value:.1f}" for name, value in self.averages.items()]
        failed = [f"{failure.language} failed: {failure.reason}" for failure in self.failures]
        return html_table(f"{self.run}, {self.task}, {self.split}", columns, lines, [*means, *self.notes, *failed])

    def to_frame(self) -> "pandas.DataFrame":
        """Return one row per score as a pandas data frame."""
        return data_frame(
            {
                "language": score.language,
                "adapter": score.adapter,
                "control": score.control,
                "n": score.n,
                self.metric: score.mean,
                "spread": score.spread,
                "ci_low": score.ci_low,
                "ci_high": score.ci_high,
                "baseline": score.baseline,
                "gap": score.gap,
            }
            for score in self.scores
        )

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values, with means and spreads; without `rows` and `control_comparison`."""
        value = asdict(replace(self, rows=(), control_comparison=None))
        del value["rows"], value["control_comparison"]
        for score_value, score in zip(value["scores"], self.scores, strict=True):
            score_value |= {"mean": score.mean, "spread": score.spread}
        return value


def report(run: str, rows: Sequence[Row], failures: Sequence[Failure] = ()) -> Report:
    """Summarize rows of one run, task, split, and limit: one score per language and adapter, in order of appearance.

    Intervals of gaps and averages need predictions: `xmodctl.evaluation.measurements.with_intervals` adds them.
    """
    assert rows, "a report has at least one row"
    first = rows[0]
    sources = {row.language for row in rows if row.is_in_source}
    chosen = own_rows(rows)
    means = {language: _mean(language_rows) for language, language_rows in chosen.items()}
    source_means = [value for language, value in means.items() if language in sources]
    source_mean = sum(source_means) / len(source_means) if source_means else None
    averages = {}
    gap = None
    if len(means) > 1:
        averages[ALL] = sum(means.values()) / len(means)
        others = [value for language, value in means.items() if language not in sources]
        if source_mean is not None and others:
            averages[WITHOUT_SOURCE] = sum(others) / len(others)
            gap = source_mean - averages[WITHOUT_SOURCE]
    groups: dict[tuple[str, str | None, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.language, row.adapter, row.control), []).append(row)
    shots = {row.language: row.shots for row in rows if row.shots and row.control == "own"}
    return Report(
        run=run,
        task=first.task,
        metric=first.metric,
        split=first.split,
        source_languages=first.source_languages,
        seeds=tuple(sorted({row.seed for row in rows})),
        limited=first.limited,
        scores=tuple(
            _score(group, source_mean, is_source=language in sources and group[0] in chosen.get(language, ()))
            for (language, *_), group in groups.items()
        ),
        failures=tuple(failures),
        averages=averages,
        gap=gap,
        notes=(
            *training_notes(shots, first.training_seed, first.translated, first.members, first.code_switching),
            *described_all([row.mixture for row in rows if row.control == "own"]),
        ),
        rows=tuple(rows),
    )


def _score(rows: Sequence[Row], source_mean: float | None, *, is_source: bool) -> Score:
    """Return the score over seeds."""
    first = rows[0]
    low, high = (sum(getattr(row, end) for row in rows) / len(rows) for end in ("ci_low", "ci_high"))
    return Score(
        language=first.language,
        adapter=first.adapter,
        control=first.control,
        n=first.n,
        values=tuple(row.value for row in rows),
        ci_low=low,
        ci_high=high,
        baseline=first.baseline,
        is_source=is_source,
        gap=None if source_mean is None or is_source else source_mean - _mean(rows),
        ci_method=first.ci_method,
        shots=first.shots,
    )


def own_rows(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows that stand for each language: through its own adapter, or else through the first one scored."""
    by_adapter: dict[str, dict[str | None, list[Row]]] = {}
    for row in rows:
        if row.control == "own":
            by_adapter.setdefault(row.language, {}).setdefault(row.adapter, []).append(row)
    return {language: _own(language, adapters) for language, adapters in by_adapter.items()}


def _own(language: str, adapters: dict[str | None, list[Row]]) -> list[Row]:
    own = (rows for adapter, rows in adapters.items() if adapter and same(adapter, language))
    return next(own, next(iter(adapters.values())))


def _mean(rows: Sequence[Row]) -> float:
    return sum(row.value for row in rows) / len(rows)
