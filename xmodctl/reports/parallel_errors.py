"""Errors beside the source language: on a parallel task, what a run predicts for the same row there and elsewhere."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from xmodctl.catalog.task import Task
from xmodctl.evaluation.example_statistics import NOT_OF_THE_TASK
from xmodctl.evaluation.results import Row
from xmodctl.kinds import KINDS
from xmodctl.reports.error_analysis import ErrorAnalysis, ErrorAnalyzer, Mistake, SourceRow
from xmodctl.statistics.intervals import wilson
from xmodctl.statistics.student import TAIL, t_quantile

MISMATCHED = 0.1
"""The share of rows with different gold answers above which two files are taken to be of different examples."""


@dataclass(frozen=True)
class Overlap:
    """How a language's errors on a parallel task relate to those in the source language and in all languages.

    An example is wrong if most seeds are not fully right: another label, an answer with an F1 below 1, or a sentence
    with a wrong tag.
    """

    language: str
    source: str
    n: int  # examples in both languages with the same gold answer
    languages: int  # that `wrong_everywhere` is over, the source included
    wrong: tuple[str, ...]  # ids
    right_in_source: tuple[str, ...]  # ids of the wrong ones that are right in the source language
    wrong_everywhere: tuple[str, ...]  # ids of the wrong ones that are wrong in every language scored
    only_right_here: int  # examples that are right here and wrong in the source language
    seeds: int = 1  # of the language

    @property
    def share(self) -> float | None:
        """The share of the errors that are right in the source language, percent; None without errors."""
        return 100 * len(self.right_in_source) / len(self.wrong) if self.wrong else None

    @property
    def share_ci(self) -> tuple[float, float] | None:
        """Wilson's 95% interval of `share`, percent."""
        if not self.wrong:
            return None
        low, high = wilson(len(self.right_in_source) / len(self.wrong), len(self.wrong), t_quantile(TAIL))
        return 100 * low, 100 * high

    @property
    def with_seeds(self) -> str:
        """With how many seeds a wrong example is wrong; empty with one."""
        most = "both" if self.seeds == 2 else f"more than half of the {self.seeds}"
        return f"wrong with {most} seeds" if self.seeds > 1 else ""

    @property
    def summary(self) -> str:
        """The counts in one sentence."""
        right, wrong = len(self.right_in_source), len(self.wrong)
        low, high = self.share_ci or (0.0, 0.0)
        share = f" ({self.share:.0f}%, {low:.0f} to {high:.0f})" if self.share is not None else ""
        everywhere = len(self.wrong_everywhere)
        return (
            f"{self.language}: {wrong:,} of {self.n:,} examples {_are(wrong)} {self.with_seeds or 'wrong'}; "
            f"{right:,}{share} of these {_are(right)} right in {self.source}, and {everywhere:,} {_are(everywhere)} "
            f"wrong in all {self.languages} languages scored"
        )


@dataclass(frozen=True)
class Verdicts:
    """Which examples of one language are wrong with most seeds, and their gold answers."""

    wrong: Mapping[str, bool]  # by id
    gold: Mapping[str, object]


class ParallelErrors:
    """The errors of one run of a parallel task, in the languages that it was scored in."""

    def __init__(self, analyzer: ErrorAnalyzer, rows: Mapping[str, Sequence[Row]]) -> None:
        """Read the stored predictions.

        Args:
            analyzer: Reads the predictions of the run.
            rows: The rows that represent each language, one per seed.
        """
        self.analyzer, self.rows = analyzer, rows
        self.source = next((code for code, each in rows.items() if each[0].is_in_source), "")
        self.verdicts: dict[str, Verdicts] = {}
        if not is_parallel(analyzer.run.plan.task) or len(rows) < 2:
            return
        if not self.source:
            analyzer.add_note("errors are shown without the same row in the source language, which was not scored", "")
            return
        self.verdicts |= {code: verdicts for code in rows if (verdicts := self._verdicts(code))}
        for code in list(self.verdicts) if self.source in self.verdicts else ():
            self._exclude_other_examples(code)

    def _verdicts(self, language: str) -> Verdicts | None:
        """Return the verdicts on a language, or None where its predictions cannot be read."""
        task = self.analyzer.run.plan.task
        seeds = self.analyzer.seeds(self.rows[language])
        if not seeds:
            return None
        try:
            wrongness = np.stack([KINDS[task.kind].wrongness(task, seed) > 0 for seed in seeds])
        except NOT_OF_THE_TASK:
            return None  # the analysis of the language says so
        most = wrongness.mean(axis=0) > 0.5
        rows = seeds[0].predictions
        wrong = {row.id: bool(value) for row, value in zip(rows, most, strict=True)}
        return Verdicts(wrong, {row.id: row.gold for row in rows})

    def _exclude_other_examples(self, language: str) -> None:
        """Exclude a language whose rows are not those of the source language, such as a file in another order."""
        shared, ids = self._pairs(language)
        different = len(shared) - len(ids)
        if different > MISMATCHED * len(shared):
            self.analyzer.add_note(
                f"{different:,} of {len(shared):,} rows have a different gold answer from the row with the same id in "
                f"{self.source}: the files are not of the same examples, so no errors are compared",
                language,
            )
            del self.verdicts[language]

    def _pairs(self, language: str) -> tuple[list[str], list[str]]:
        """Return the ids that a language shares with the source language, and those of the same gold answer."""
        verdicts, source = self.verdicts[language], self.verdicts[self.source]
        shared = [id_ for id_ in verdicts.wrong if id_ in source.wrong]
        return shared, [id_ for id_ in shared if self._may_be_the_same(verdicts.gold[id_], source.gold[id_])]

    @cached_property
    def everywhere(self) -> tuple[str, ...]:
        """The ids of the examples that are wrong in every language, in the order of the source language."""
        if self.source not in self.verdicts or len(self.verdicts) < 2:
            return ()
        sides = self.verdicts.values()
        wrong = self.verdicts[self.source].wrong
        gold = self.verdicts[self.source].gold
        return tuple(
            id_
            for id_ in wrong
            if all(side.wrong.get(id_, False) and self._may_be_the_same(side.gold[id_], gold[id_]) for side in sides)
        )

    def _may_be_the_same(self, first: object, second: object) -> bool:
        """Return whether gold answers can be those of one example: labels are the same, text and tags need not be."""
        kind = KINDS[self.analyzer.run.plan.task.kind]
        return first == second or kind.answers_are_text or "tokens" in kind.required

    def overlap(self, language: str) -> Overlap | None:
        """Return how a language's errors relate to those elsewhere, or None if nothing can be paired."""
        if language == self.source or not {language, self.source} <= self.verdicts.keys():
            return None
        verdicts, source_verdicts = self.verdicts[language], self.verdicts[self.source]
        shared, ids = self._pairs(language)
        if len(ids) < len(shared):
            count = f"{len(shared) - len(ids):,} of {len(shared):,}"
            self.analyzer.add_note(
                f"{count} rows have a different gold answer from the row with the same id in {self.source}, so they "
                "are not compared with it",
                language,
            )
        if not ids:
            return None
        wrong = tuple(id_ for id_ in ids if verdicts.wrong[id_])
        everywhere = set(self.everywhere)
        return Overlap(
            language, self.source, len(ids), len(self.verdicts), wrong,
            tuple(id_ for id_ in wrong if not source_verdicts.wrong[id_]),
            tuple(id_ for id_ in wrong if id_ in everywhere),
            sum(source_verdicts.wrong[id_] and not verdicts.wrong[id_] for id_ in ids), len(self.rows[language]),
        )  # fmt: skip

    def beside(self, lists: Sequence[Sequence[Mistake]]) -> Iterator[tuple[Mistake, ...]]:
        """Yield lists of mistakes with the same rows in the source language, and the predictions there.

        The rows are read once for all lists.
        """
        rows = self.rows[self.source]
        verdicts = self.verdicts[self.source]
        ids = dict.fromkeys(each.id for mistakes in lists for each in mistakes if each.id in verdicts.wrong)
        described = {each.id: each for each in self.analyzer.described(rows, list(ids))} if ids else {}
        everywhere = set(self.everywhere)

        def with_source(mistake: Mistake) -> Mistake:
            source = described.get(mistake.id)
            if source is None or not self._may_be_the_same(mistake.gold, source.gold):
                return mistake
            side = SourceRow(
                self.source, source.gold, source.predicted, not verdicts.wrong[mistake.id], source.wrong_seeds,
                source.seeds, source.texts,
            )  # fmt: skip
            return replace(mistake, source=side, is_wrong_everywhere=mistake.id in everywhere)

        for mistakes in lists:
            yield tuple(map(with_source, mistakes))

    def completed(self, analyses: Mapping[str, ErrorAnalysis]) -> dict[str, ErrorAnalysis]:
        """Return analyses with what the source language shows beside each error, where there is something."""
        if self.source not in self.verdicts:
            return dict(analyses)
        most = self.analyzer.most
        overlaps = {code: self.overlap(code) for code in analyses}
        paired = [code for code, overlap in overlaps.items() if overlap]
        lists: list[Sequence[Mistake]] = []
        for code in paired:
            overlap = overlaps[code]
            assert overlap is not None
            ids = overlap.right_in_source if most else ()
            lists += [analyses[code].mistakes, self.analyzer.worst(self.rows[code], ids)]
        listed = list(self.beside(lists))
        completed = dict(analyses)
        for number, code in enumerate(paired):
            worst, lost = listed[2 * number], listed[2 * number + 1]
            completed[code] = replace(analyses[code], mistakes=worst, lost=lost, overlap=overlaps[code])
        if paired and most and self.source in analyses:
            worst = self.analyzer.worst(self.rows[self.source], self.everywhere)
            completed[self.source] = replace(analyses[self.source], everywhere=worst)
        return completed


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def is_parallel(task: Task) -> bool:
    """Return whether rows of a task with one id are the same example in every language, and are right or wrong."""
    return task.parallel and not KINDS[task.kind].targets_are_numbers
