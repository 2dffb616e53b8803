"""Possible causes of a weak language, measured on the rows that were scored: tokenizer, data, and errors."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from xmodctl.catalog.task import Task
from xmodctl.kinds import KINDS
from xmodctl.kinds.annotations import word_offsets
from xmodctl.kinds.breakdown import SeedPredictions
from xmodctl.kinds.scoring import headline_of_draws
from xmodctl.languages import name
from xmodctl.languages.scripts import script_mismatch, script_of
from xmodctl.languages.text_check import cautions
from xmodctl.reports.error_analysis import ErrorAnalyzer
from xmodctl.reports.explanation import Figure, Section, difference, ratio, share
from xmodctl.statistics.intervals import score_interval

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xmodctl.evaluation.results import Row

SAMPLE = 500
"""Rows whose script and words are checked."""
IN_ANOTHER_SCRIPT = "rows in a different script"
"""What a score of these rows is called."""
LETTERS = 10
"""Letters of a text without which its script is not judged."""
BINS = ("short", "medium", "long")
"""Thirds of a language's rows by their length in pieces."""
LEAST_SCORED = 10
"""Rows in a different script without which they have no score of their own."""
ROWS_NAMED = 5
"""Rows whose ids are named at most."""
LABELS_SHOWN = 8
"""Labels that are shown at most."""


@dataclass(frozen=True)
class LanguageRows:
    """The rows of one language as they were scored."""

    language: str
    ids: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]  # of each row, as the model reads them
    labels: tuple[tuple[str, ...], ...]  # of each row, as they are counted
    golds: tuple[Any, ...]
    truncated: int  # rows
    seeds: tuple[SeedPredictions, ...]
    tokenizer: "PreTrainedTokenizerBase"
    is_words: bool = False  # whether the texts of a row are its words

    @classmethod
    def read(
        cls, analyzer: ErrorAnalyzer, rows: Sequence["Row"], tokenizer: "PreTrainedTokenizerBase"
    ) -> "LanguageRows":
        """Read the rows that were scored.

        Raises:
            UserError: The data is missing or has changed.
        """
        table, task = analyzer.rows_of(rows[0])
        kind = KINDS[task.kind]
        both = [kind.gold_and_texts(row, task) for row in table.table]
        labels = tuple(tuple(kind.counted_labels(gold, task)) if kind.expected_labels(task) else () for gold, _ in both)
        return cls(
            rows[0].language, tuple(table.table["id"]), tuple(tuple(texts) for _, texts in both), labels,
            tuple(gold for gold, _ in both), rows[0].truncated, tuple(analyzer.seeds(rows)), tokenizer,
            "tokens" in kind.required,
        )  # fmt: skip

    @cached_property
    def pieces(self) -> list[list[int]]:
        """The ids of each row's pieces, without special tokens."""
        flat = [text for texts in self.texts for text in texts]
        encoded = iter(self.tokenizer(flat, add_special_tokens=False, verbose=False)["input_ids"] if flat else ())
        return [[id_ for _ in texts for id_ in next(encoded)] for texts in self.texts]

    @cached_property
    def lengths(self) -> np.ndarray:
        """The number of pieces of each row."""
        return np.array([len(pieces) for pieces in self.pieces])

    @cached_property
    def words(self) -> list[int]:
        """The number of words of each row, as `langs` counts them for the fertility."""
        return [sum(len(word_offsets(text)) for text in texts) for texts in self.texts]

    @cached_property
    def letters(self) -> list[int]:
        """The number of pieces of each row that are a single letter."""
        ids = list({id_ for row in self.pieces for id_ in row})
        written = (token.removeprefix("▁") for token in self.tokenizer.convert_ids_to_tokens(ids))
        single = {id_ for id_, token in zip(ids, written, strict=True) if len(token) == 1 and token.isalpha()}
        return [sum(id_ in single for id_ in row) for row in self.pieces]

    @property
    def unknown(self) -> list[int]:
        """The number of pieces of each row that the vocabulary lacks."""
        return [row.count(self.tokenizer.unk_token_id) for row in self.pieces]

    @cached_property
    def in_another_script(self) -> list[str]:
        """The ids of rows with a text that has most of its letters in a different script from the language's."""
        rows = ([" ".join(texts)] if self.is_words else texts for texts in self.texts)
        return [
            id_
            for id_, texts in zip(self.ids, rows, strict=True)
            if any(_is_in_another_script(text, self.language) for text in texts)
        ]

    @cached_property
    def duplicates(self) -> list[str]:
        """The ids of rows whose texts are those of an earlier row."""
        first = {texts: id_ for id_, texts in zip(reversed(self.ids), reversed(self.texts), strict=True)}
        return [id_ for id_, texts in zip(self.ids, self.texts, strict=True) if first[texts] != id_]

    @property
    def characters(self) -> float:
        """The median number of characters of a row."""
        return float(np.median([sum(map(len, texts)) for texts in self.texts]))


def _is_in_another_script(text: str, language: str) -> bool:
    letters = Counter(filter(None, map(script_of, text)))
    mismatch = script_mismatch(letters, language)
    return mismatch is not None and mismatch.total >= LETTERS and mismatch.in_expected < mismatch.total / 2


def _beside(
    title: str, tops: str, bottoms: str, side: LanguageRows, source: LanguageRows, unit: str = "", digits: int = 2
) -> Figure:
    """Return a ratio of two counts of a side, beside that of the source language."""
    factor = 100 if unit == "%" else 1
    (value, ends), (elsewhere, its_ends) = (
        ratio(getattr(each, tops), getattr(each, bottoms), factor) for each in (side, source)
    )
    return Figure(title, value, unit, ends, elsewhere, its_ends, digits)


def tokenizer_section(side: LanguageRows, source: LanguageRows, task: Task) -> Section:
    """Measure how the tokenizer splits the language."""
    figures = [_beside("pieces per word", "lengths", "words", side, source)]
    if task.parallel and (pairs := _paired(side, source)):
        tops, bottoms = (
            [each.lengths[place] for place in places] for each, places in zip((side, source), pairs, strict=True)
        )
        value, ends = ratio(tops, bottoms)
        figures.append(Figure(f"pieces per piece of the same row in {source.language}", value, "", ends, digits=2))
    figures.append(_beside("single-letter pieces", "letters", "lengths", side, source, "%", 1))
    figures.append(_beside("unknown pieces", "unknown", "lengths", side, source, "%", 2))
    counts = [(each.truncated, len(each.ids)) for each in (side, source)]
    figures.append(share("rows that lose text to the length limit", *counts))
    return Section("Tokenizer", tuple(figures))


def _paired(side: LanguageRows, source: LanguageRows) -> tuple[list[int], list[int]] | None:
    """Return the places of the rows that both languages have."""
    places = {id_: place for place, id_ in enumerate(source.ids)}
    shared = [(place, places[id_]) for place, id_ in enumerate(side.ids) if id_ in places]
    return ([first for first, _ in shared], [second for _, second in shared]) if shared else None


def data_section(side: LanguageRows, source: LanguageRows) -> Section:
    """Compare the rows of the language with those of the source language."""
    figures = [
        share(
            "rows with a text in a different script",
            *((len(each.in_another_script), len(each.ids)) for each in (side, source)),
        ),
        share(
            "rows with the texts of an earlier row", *((len(each.duplicates), len(each.ids)) for each in (side, source))
        ),
        Figure("characters per row, median", side.characters, "", None, source.characters, digits=0),
        Figure(
            "pieces per row, median",
            float(np.median(side.lengths)),
            "",
            None,
            float(np.median(source.lengths)),
            digits=0,
        ),
    ]
    remarks = [*cautions(side.language, [text for texts in side.texts[:SAMPLE] for text in texts])]
    remarks = remarks or [
        f"most letters are in the script of {name(side.language)}, and no other language's frequent words dominate"
    ]
    for title, ids in (("in a different script", side.in_another_script), ("that repeat one", side.duplicates)):
        if ids:
            more = f", and {len(ids) - ROWS_NAMED:,} more" if len(ids) > ROWS_NAMED else ""
            remarks.append(f"rows {title}: {', '.join(ids[:ROWS_NAMED])}{more}")
    if any(side.labels):
        figures += label_shift(side, source)
        if not any(figure.name.startswith("label") for figure in figures):
            remarks.append(f"no label's share differs significantly from that in {source.language}")
    return Section("Data", tuple(figures), tuple(remarks))


def label_shift(side: LanguageRows, source: LanguageRows) -> Iterator[Figure]:
    """Yield the labels whose share differs from the source language's by more than chance."""
    totals = [Counter(label for labels in each.labels for label in labels) for each in (side, source)]
    wholes = [total.total() for total in totals]
    shifts = []
    for label in totals[0] | totals[1]:
        counts = [(total[label], whole) for total, whole in zip(totals, wholes, strict=True)]
        low, high = difference(*counts)
        if low > 0 or high < 0:
            shifts.append((max(low, -high), share(f"label {label}", *counts)))
    shifts.sort(key=lambda pair: -pair[0])
    yield from (figure for _, figure in shifts[:LABELS_SHOWN])


def error_section(side: LanguageRows, source: LanguageRows, task: Task) -> Section:
    """Measure which labels, lengths, and rows in a different script fail, beside the source language."""
    by_rows = "intervals of lengths are those of the rows, without the variance between training runs"
    remarks = (by_rows,) if len(side.seeds) > 1 else ()
    parts = (_by_label, _by_length, _by_script)
    return Section("Errors", tuple(figure for part in parts for figure in part(side, source, task)), remarks)


def _by_label(side: LanguageRows, source: LanguageRows, task: Task) -> Iterator[Figure]:
    kind = KINDS[task.kind]
    both = [kind.confusion(task, each.seeds) for each in (side, source)]
    recalls: list[Mapping[str, tuple[int, int]]] = []
    for each, confusion in zip((side, source), both, strict=True):
        if confusion is None:
            break
        counts = zip(confusion.labels, confusion.counts, strict=True)
        seeds = len(each.seeds)
        recalls.append({
            label: (round(row[number] / seeds), round(sum(row) / seeds))
            for number, (label, row) in enumerate(counts) if sum(row)
        })  # fmt: skip
    if len(recalls) == 2:
        labels = [label for label in recalls[0] if label in recalls[1]]
        yield from (
            share(f"right, gold {label}", recalls[0][label], recalls[1][label]) for label in labels[:LABELS_SHOWN]
        )
        return
    elsewhere = {part.name: part.value for part in kind.parts(task, source.seeds)}
    totals = side.seeds[0].statistics.sum(axis=0)
    for part in kind.parts(task, side.seeds)[:LABELS_SHOWN]:
        title, metric = f"{task.headline}, {part.name}", f"{task.headline}.{part.name}"
        if part.name in elsewhere and metric in kind.metrics(totals, task):  # the part is a metric, with an interval
            yield _beside_source(*(
                _measured(title, each, task, np.arange(len(each.ids)), metric) for each in (side, source)
            ))  # fmt: skip
        else:
            yield Figure(title, part.value, "%", None, elsewhere.get(part.name))


def _by_length(side: LanguageRows, source: LanguageRows, task: Task) -> Iterator[Figure]:
    """Yield the headline metric on thirds of the rows by their length; in the source language, on as long rows."""
    edges = np.quantile(side.lengths, [1 / 3, 2 / 3])
    same_rows = _paired(side, source) if task.parallel else None
    bins = np.searchsorted(edges, side.lengths, side="left")
    if same_rows:
        source_bins = np.full(len(source.ids), -1)
        source_bins[same_rows[1]] = bins[same_rows[0]]
    else:
        source_bins = np.searchsorted(edges, source.lengths, side="left")
    for number, title in enumerate(BINS):
        places = np.flatnonzero(bins == number), np.flatnonzero(source_bins == number)
        if len(places[0]) > 1:
            figure = _measured(f"{task.headline}, {title} rows", side, task, places[0])
            yield _beside_source(figure, _measured("", source, task, places[1])) if len(places[1]) > 1 else figure


def _by_script(side: LanguageRows, source: LanguageRows, task: Task) -> Iterator[Figure]:
    """Yield the headline metric on the rows in a different script; on a parallel task beside the same rows there."""
    odd = set(side.in_another_script)
    if not LEAST_SCORED <= len(odd) < len(side.ids):
        return
    places, same_rows = (np.flatnonzero([id_ in odd for id_ in each.ids]) for each in (side, source))
    figure = _measured(f"{task.headline}, {IN_ANOTHER_SCRIPT}", side, task, places)
    is_paired = task.parallel and len(same_rows) == len(places)
    yield _beside_source(figure, _measured("", source, task, same_rows)) if is_paired else figure


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
