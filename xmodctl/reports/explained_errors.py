"""Where a weak language fails: labels, lengths, and rows in a different script, beside the source language.

A part of a language that is far behind the source language falls behind like all of its rows, unless its gap is wider.
How much wider, and whether that may be chance, is measured by resampling rows; on a parallel task, both languages have
the same resamples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xmodctl.catalog.task import Task
from xmodctl.kinds import KINDS
from xmodctl.kinds.breakdown import SeedPredictions
from xmodctl.kinds.scoring import headline_of_draws
from xmodctl.reports.explained_causes import LABELS_SHOWN, LanguageRows, paired_rows
from xmodctl.reports.explanation import Figure, Section, Wider, share
from xmodctl.statistics.intervals import score_interval
from xmodctl.statistics.resampling import Metric
from xmodctl.statistics.student import TAIL, t_quantile

IN_ANOTHER_SCRIPT = "rows in a different script"
"""What a score of these rows is called."""
BINS = ("short", "medium", "long")
"""Thirds of a language's rows by their length in pieces."""
LEAST_SCORED = 10
"""Rows in a different script without which they have no score of their own."""
DRAWS = 500
"""Resamples for a standard error: enough for its first two digits."""


@dataclass(frozen=True)
class Tables:
    """Counts of one language's rows that add up, (rows, counts) for each seed, and what they amount to."""

    counts: Sequence[np.ndarray]
    metric: Metric  # percent

    def values(self, times: np.ndarray) -> np.ndarray:
        """Return the mean over seeds when row i occurs `times[draw, i]` times, shape (draws,)."""
        values: np.ndarray = np.mean([self.metric(times @ counts) for counts in self.counts], axis=0)
        return values

    def only(self, places: np.ndarray) -> "Tables":
        """Return the same for some rows."""
        chosen = np.zeros((len(self.counts[0]), 1))
        chosen[places] = 1
        return replace(self, counts=[counts * chosen for counts in self.counts])


@dataclass(frozen=True)
class ErrorPart:
    """A part of a language's errors, beside the same of the source language."""

    figure: Figure
    tables: tuple[Tables, Tables] | None = None  # of the language and the source language


def error_section(side: LanguageRows, source: LanguageRows, task: Task) -> Section:
    """Measure which labels, lengths, and rows in a different script fail, beside the source language."""
    parts = [part for yielded in (_by_label, _by_length, _by_script) for part in yielded(side, source, task)]
    figures = [part.figure for part in parts]
    by_rows = "intervals of labels and lengths are those of the rows, without the variance between training runs"
    remarks = (by_rows,) if len(side.seeds) > 1 and figures else ()
    compared = [number for number, part in enumerate(parts) if part.tables]
    if compared and headline_of_draws(KINDS[task.kind], task) is None:
        every = (_tables(side, task), _tables(source, task))
        times = _times(side, source, is_parallel=task.parallel)
        for number in compared:
            wider = _wider(parts[number].tables or every, every, times, len(compared))
            figures[number] = replace(figures[number], wider=wider)
    return Section("Errors", tuple(figures), remarks)


def _wider(part: tuple[Tables, Tables], every: tuple[Tables, Tables], times: tuple[np.ndarray, ...], of: int) -> Wider:
    """Return by how much the gap of a part is wider than that of all rows, with Bonferroni's interval for `of` parts.

    The first draw has each row once.
    """
    gaps = [[side.values(drawn) for side, drawn in zip(sides, times, strict=True)] for sides in (part, every)]
    excess = (gaps[0][1] - gaps[0][0]) - (gaps[1][1] - gaps[1][0])
    half = t_quantile(TAIL / of) * float(np.nanstd(excess[1:], ddof=1))
    return Wider(float(excess[0]), (float(excess[0]) - half, float(excess[0]) + half))


def _times(side: LanguageRows, source: LanguageRows, *, is_parallel: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each row of both languages occurs: once, then in each resample; shapes (1 + draws, rows)."""
    draw = np.random.default_rng(0)

    def of(count: int) -> np.ndarray:
        drawn = draw.multinomial(count, np.full(count, 1 / count), size=DRAWS)
        return np.concatenate([np.ones((1, count)), drawn])

    times = of(len(side.ids))
    if is_parallel and len(side.ids) == len(source.ids) and (pairs := paired_rows(side, source)):
        own, other = pairs
        if len(own) == len(side.ids):
            same = np.empty_like(times)
            same[:, other] = times[:, own]
            return times, same
    return times, of(len(source.ids))


def _tables(side: LanguageRows, task: Task, metric: str = "") -> Tables:
    """Return what a metric, by default the headline, is computed from."""
    kind, name = KINDS[task.kind], metric or task.headline
    return Tables([seed.statistics for seed in side.seeds], lambda totals: kind.metrics(totals, task)[name])


def _by_label(side: LanguageRows, source: LanguageRows, task: Task) -> Iterator[ErrorPart]:
    kind = KINDS[task.kind]
    confusions = [kind.confusion(task, each.seeds) for each in (side, source)]
    if all(confusions):
        labels = [confusion.labels for confusion in confusions if confusion]
        for label in [label for label in labels[0] if label in labels[1]][:LABELS_SHOWN]:
            both = [_recalls(each, label, names) for each, names in zip((side, source), labels, strict=True)]
            counts = [np.mean([table.sum(axis=0) for table in tables.counts], axis=0) for tables in both]
            if all(total for _, total in counts):
                rounded = [(round(right), round(total)) for right, total in counts]
                yield ErrorPart(share(f"right, gold {label}", *rounded), (both[0], both[1]))
        return
    elsewhere = {part.name: part for part in kind.parts(task, source.seeds)}
    totals = side.seeds[0].statistics.sum(axis=0)
    for part in kind.parts(task, side.seeds)[:LABELS_SHOWN]:
        title, metric = f"{task.headline}, {part.name}", f"{task.headline}.{part.name}"
        if part.name in elsewhere and metric in kind.metrics(totals, task):  # the part is a metric, with an interval
            figures = [_measured(title, each, task, np.arange(len(each.ids)), metric) for each in (side, source)]
            tables = (_tables(side, task, metric), _tables(source, task, metric))
            yield ErrorPart(_beside_source(figures[0], figures[1]), tables)
        elif part.rows is not None:
            other = elsewhere.get(part.name)
            source_places = None if other is None or other.rows is None else np.array(other.rows, dtype=np.int64)
            yield _of_rows(title, side, source, task, np.array(part.rows, dtype=np.int64), source_places)
        else:
            source_value = elsewhere[part.name].value if part.name in elsewhere else None
            yield ErrorPart(Figure(title, part.value, "%", None, source_value))


def _recalls(side: LanguageRows, label: str, labels: Sequence[str]) -> Tables:
    """Return how often a gold label occurs in each row, and how often it is predicted there."""

    def is_label(gold: object) -> bool:
        return gold == label or (isinstance(gold, int) and labels[gold] == label)

    def counts(seed: SeedPredictions) -> np.ndarray:
        table = np.zeros((len(seed.predictions), 2))
        for row, each in enumerate(seed.predictions):
            golds = each.gold if isinstance(each.gold, list) else [each.gold]
            predicted = each.prediction if isinstance(each.gold, list) else [each.prediction]
            hits = [gold == guess for gold, guess in zip(golds, predicted, strict=True) if is_label(gold)]
            table[row] = sum(hits), len(hits)
        return table

    tables = [counts(seed) for seed in side.seeds]
    return Tables(tables, lambda totals: 100 * totals[..., 0] / np.maximum(totals[..., 1], 1e-9))


def _by_length(side: LanguageRows, source: LanguageRows, task: Task) -> Iterator[ErrorPart]:
    """Yield the headline metric on thirds of the rows by their length; in the source language, on as long rows."""
    edges = np.quantile(side.lengths, [1 / 3, 2 / 3])
    bins, source_bins = (np.searchsorted(edges, each.lengths, side="left") for each in (side, source))
    if len(set(bins.tolist())) < 2:  # as good as all rows are equally long
        return
    for number, title in enumerate(BINS):
        places = np.flatnonzero(bins == number)
        if len(places) > 1:
            source_places = np.flatnonzero(source_bins == number)
            yield _of_rows(f"{task.headline}, {title} rows", side, source, task, places, source_places)


def _by_script(side: LanguageRows, source: LanguageRows, task: Task) -> Iterator[ErrorPart]:
    """Yield the headline metric on the rows in a different script; on a parallel task beside the same rows there."""
    odd = set(side.in_another_script)
    if LEAST_SCORED <= len(odd) < len(side.ids):
        places = np.flatnonzero([id_ in odd for id_ in side.ids])
        yield _of_rows(f"{task.headline}, {IN_ANOTHER_SCRIPT}", side, source, task, places, None)


def _of_rows(
    title: str,
    side: LanguageRows,
    source: LanguageRows,
    task: Task,
    places: np.ndarray,
    source_places: np.ndarray | None,
) -> ErrorPart:
    """Return the headline metric on some rows, beside the same rows of a parallel task, or others of the source.

    Args:
        title: The name of the figure.
        side: The language.
        source: The source language.
        task: The task.
        places: Its rows.
        source_places: Rows of the source language to compare with if the task is not parallel; None for none.
    """
    if task.parallel and (pairs := paired_rows(side, source)):
        place_in_source = dict(zip(*pairs, strict=True))
        shared = [place_in_source[place] for place in places.tolist() if place in place_in_source]
        source_places = np.array(shared, dtype=np.int64)
    figure = _measured(title, side, task, places)
    if source_places is None or len(source_places) < 2:
        return ErrorPart(figure)
    tables = (_tables(side, task).only(places), _tables(source, task).only(source_places))
    return ErrorPart(_beside_source(figure, _measured("", source, task, source_places)), tables)


def _beside_source(figure: Figure, elsewhere: Figure) -> Figure:
    return replace(figure, source=elsewhere.value, source_ci=elsewhere.ci)


def _measured(title: str, side: LanguageRows, task: Task, places: np.ndarray, metric: str = "") -> Figure:
    """Return a metric (by default the headline) on some rows: the mean over seeds, and that of their intervals."""
    kind, metric = KINDS[task.kind], metric or task.headline
    values, ends = [], []
    headline = kind.headlines.get(metric)  # None for a part of it, such as the F1 of one type
    for seed in side.seeds:
        statistics = seed.statistics[places]
        values.append(float(kind.metrics(statistics.sum(axis=0), task)[metric]))
        interval = score_interval(
            statistics, lambda totals: kind.metrics(totals, task)[metric],
            is_share=headline is not None and headline.is_share,
            is_correlation=headline is not None and headline.is_correlation,
            of_draws=headline_of_draws(kind, task) if metric == task.headline else None, resamples=1_000,
        )  # fmt: skip
        ends.append((interval.low, interval.high))
    low, high = (float(np.mean(end)) for end in zip(*ends, strict=True))
    return Figure(title, float(np.mean(values)), "%", (low, high))
