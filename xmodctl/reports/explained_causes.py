"""Possible causes of a weak language, measured on the rows that were scored: tokenizer and data."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from xmodctl.catalog.task import Task
from xmodctl.core.messages import listed
from xmodctl.kinds import KINDS
from xmodctl.kinds.annotations import has_words_of_one_letter, word_offsets
from xmodctl.kinds.breakdown import SeedPredictions
from xmodctl.languages import name
from xmodctl.languages.scripts import script_mismatch, script_of
from xmodctl.languages.text_check import cautions
from xmodctl.reports.error_analysis import ErrorAnalyzer
from xmodctl.reports.explanation import Figure, Section, difference, ratio, share

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xmodctl.evaluation.results import Row

SAMPLE = 500
"""Rows whose script and words are checked."""
LETTERS = 10
"""Letters of a text without which its script is not judged."""
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
    def are_words_letters(self) -> bool:
        """Whether most words are single letters, as in scripts without spaces between words."""
        return has_words_of_one_letter(" ".join(text for texts in self.texts[:SAMPLE] for text in texts))

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
        """The ids of rows with a text that has most of its words in a different script from the language's."""
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
    """Return whether most words are in another script; a Latin name has more letters than a sentence of Chinese."""
    if sum(map(str.isalpha, text)) < LETTERS:
        return False
    of_letters = (next(filter(None, map(script_of, text[start:end])), None) for start, end in word_offsets(text))
    mismatch = script_mismatch(Counter(filter(None, of_letters)), language)
    return mismatch is not None and mismatch.in_expected < mismatch.total / 2


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
    words = _beside("pieces per word", "lengths", "words", side, source)
    are_letters = [each.are_words_letters for each in (side, source)]
    remarks = []
    if any(are_letters):
        names = [each.language for each, is_letter in zip((side, source), are_letters, strict=True) if is_letter]
        remarks.append(f"a word is a letter in {listed(names)}, which has no spaces between words")
    if are_letters[0] != are_letters[1]:  # such words cannot be compared
        words = replace(words, source=None, source_ci=None)
    figures = [words]
    if task.parallel and (pairs := paired_rows(side, source)):
        tops, bottoms = (
            [each.lengths[place] for place in places] for each, places in zip((side, source), pairs, strict=True)
        )
        value, ends = ratio(tops, bottoms)
        figures.append(Figure(f"pieces per piece of the same row in {source.language}", value, "", ends, digits=2))
    figures.append(_beside("single-letter pieces", "letters", "lengths", side, source, "%", 1))
    figures.append(_beside("unknown pieces", "unknown", "lengths", side, source, "%", 2))
    counts = [(each.truncated, len(each.ids)) for each in (side, source)]
    figures.append(share("rows that lose text to the length limit", *counts))
    return Section("Tokenizer", tuple(figures), tuple(remarks))


def paired_rows(side: LanguageRows, source: LanguageRows) -> tuple[list[int], list[int]] | None:
    """Return the places of the rows that both languages have, or None if there are none."""
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
        if not any(source.labels):
            remarks.append(f"no row in {source.language} has a label, so shares of labels are not compared")
        elif not any(figure.name.startswith("label") for figure in figures):
            remarks.append(f"no label's share differs significantly from that in {source.language}")
    return Section("Data", tuple(figures), tuple(remarks))


def label_shift(side: LanguageRows, source: LanguageRows) -> Iterator[Figure]:
    """Yield the labels whose share differs from the source language's by more than chance."""
    totals = [Counter(label for labels in each.labels for label in labels) for each in (side, source)]
    wholes = [total.total() for total in totals]
    if not all(wholes):
        return
    shifts = []
    for label in totals[0] | totals[1]:
        counts = [(total[label], whole) for total, whole in zip(totals, wholes, strict=True)]
        low, high = difference(*counts)
        if low > 0 or high < 0:
            shifts.append((max(low, -high), share(f"label {label}", *counts)))
    shifts.sort(key=lambda pair: -pair[0])
    yield from (figure for _, figure in shifts[:LABELS_SHOWN])
