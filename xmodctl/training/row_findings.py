"""Findings about rows: labels, duplicates, scripts, overlaps, lengths, and unknown tokens, one for each cause."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from xmodctl.catalog.locations import Split
from xmodctl.catalog.task import Task
from xmodctl.core.messages import ReadingNote, counted
from xmodctl.kinds import KINDS
from xmodctl.languages import name
from xmodctl.languages.scripts import script_mismatch
from xmodctl.training.findings import Finding, first_names, passed

MAJORITY = 0.9
"""If one label has a larger share of the rows, there is little to learn."""
DUPLICATES = 0.01
TRUNCATED = 0.05
UNKNOWN = 0.01
MOST_SPLITS = 8
"""Splits that a finding names."""


@dataclass(frozen=True)
class SplitFacts:
    """What the checks need to know about one language and split; the rows themselves are not kept."""

    language: str
    split: Split
    rows: int
    notes: tuple[str, ...]
    labels: Mapping[str, int]  # label, or entity type -> how often it is gold
    inputs: tuple[bytes, ...]  # a digest of each row without its gold label
    conflicting: int  # rows with the input of an earlier row but another label
    scripts: Mapping[str, int]  # Unicode script -> letters
    tokens: int = 0
    unknown: int = 0
    counts: Mapping[str, int] | None = None  # of the encoding; None without a tokenizer

    @property
    def place(self) -> str:
        """Its name in findings."""
        return f"{self.language} {self.split}"


@dataclass(frozen=True)
class _Flaw:
    """What is wrong with rows of one split."""

    place: str
    text: str  # the finding, if no other split has this flaw
    cause: str  # what the splits that have it have in common
    extent: str  # how much of it this split has


def of_rows(splits_read: Sequence[SplitFacts], task: Task) -> Iterator[Finding]:
    """Yield the findings of every check of rows: one for each cause, or one if there is no problem."""
    if not splits_read:
        return
    rows = sum(facts.rows for facts in splits_read)
    languages = counted(len({facts.language for facts in splits_read}), "language")
    read = f"{counted(rows, 'row')} in {counted(len(splits_read), 'split')} of {languages}"
    yield passed("rows", f"{read}, all well-formed and with a gold label")
    notes = dict.fromkeys(note for facts in splits_read for note in facts.notes)  # one file may hold many splits
    for note in notes:
        yield passed("rows", note) if isinstance(note, ReadingNote) else Finding("warning", "rows", note)
    checks = {
        "labels": (_labels, "no label dominates, and none is missing"),
        "duplicates": (_duplicates, "few or no rows are repeated in a file"),
        "script": (_script, "all text is in the expected script"),
        "overlap": (_overlap, "no row of validation or test data is in the training data"),
        "copies": (_copies, "no language repeats the rows of another"),
        "lengths": (_lengths, "few or no rows are too long for the recipe"),
        "vocabulary": (_vocabulary, "few or no tokens are unknown to the tokenizer"),
    }
    for check_, (find, all_clear) in checks.items():
        if (flaws := find(splits_read, task)) is not None:
            yield from _warnings(check_, list(flaws), all_clear)


def _warnings(check_: str, flaws: Sequence[_Flaw], all_clear: str) -> Iterator[Finding]:
    """Yield a finding for each cause, with the splits that have it."""
    by_cause: dict[str, list[_Flaw]] = {}
    for flaw in flaws:
        by_cause.setdefault(flaw.cause, []).append(flaw)
    for cause, (first, *others) in by_cause.items():
        extents = [f"{flaw.extent} in {flaw.place}" for flaw in (first, *others)]
        text = f"{cause}: {first_names(extents, ' splits', MOST_SPLITS)}" if others else f"{first.place}: {first.text}"
        yield Finding("warning", check_, text)
    if not flaws:
        yield passed(check_, all_clear)


def _labels(splits_read: Sequence[SplitFacts], task: Task) -> Iterator[_Flaw]:
    kind = KINDS[task.kind]
    for facts in splits_read:
        total = sum(facts.labels.values())
        if missing := ", ".join(label for label in kind.expected_labels(task) if label not in facts.labels):
            yield _Flaw(facts.place, f"no row has {missing}", "labels that no row has", missing)
        label, count = max(facts.labels.items(), key=lambda pair: pair[1], default=("", 0))
        if kind.balanced and count > MAJORITY * total:
            share = _share(count, total)
            yield _Flaw(facts.place, f"{share} are {label}", "one label dominates", f"{share} {label}")


def _duplicates(splits_read: Sequence[SplitFacts], task: Task) -> Iterator[_Flaw]:  # noqa: ARG001
    for facts in splits_read:
        again = len(facts.inputs) - len(set(facts.inputs))
        if facts.conflicting:
            rest = "with a different label from the first one"
            text = f"{counted(facts.conflicting, 'duplicate row')} {rest}"
            yield _Flaw(facts.place, text, f"duplicate rows {rest}", f"{facts.conflicting:,}")
        elif again > DUPLICATES * facts.rows:
            share = _share(again, facts.rows)
            text = f"{counted(again, 'duplicate row')} ({share})"
            yield _Flaw(facts.place, text, "duplicate rows", f"{again:,} ({share})")


def _script(splits_read: Sequence[SplitFacts], task: Task) -> Iterator[_Flaw] | None:
    """Return the splits that are not in the script of their language, or None if rows are in several languages."""
    return None if task.is_mixed else _in_other_scripts(splits_read, task)


def _in_other_scripts(splits_read: Sequence[SplitFacts], task: Task) -> Iterator[_Flaw]:
    for facts in splits_read:
        code = task.language_of(facts.language)
        if mismatch := script_mismatch(facts.scripts, code):
            of_main = f"{_share(mismatch.in_main, mismatch.total)} are {mismatch.main}"
            text = (
                f"{_share(mismatch.in_expected, mismatch.total)} of the letters are in the script of {name(code)} "
                f"({mismatch.expected}), {of_main}"
            )
            extent = f"{of_main} instead of {mismatch.expected}"
            yield _Flaw(facts.place, text, "letters that are not in the script of their language", extent)


def _overlap(splits_read: Sequence[SplitFacts], task: Task) -> Iterator[_Flaw] | None:  # noqa: ARG001
    """Return the splits that repeat training rows, or None without training data."""
    trained = {digest for facts in splits_read if facts.split == "train" for digest in facts.inputs}
    return _repeating(splits_read, trained) if trained else None


def _repeating(splits_read: Sequence[SplitFacts], trained: Collection[bytes]) -> Iterator[_Flaw]:
    for facts in splits_read:
        if facts.split != "train" and (seen := sum(digest in trained for digest in facts.inputs)):
            text = f"{seen:,} of {counted(facts.rows, 'row')} also in the training data"
            extent = f"{seen:,} of {facts.rows:,}"
            yield _Flaw(facts.place, text, "rows that are also in the training data", extent)


def _copies(splits_read: Sequence[SplitFacts], task: Task) -> Iterator[_Flaw] | None:  # noqa: ARG001
    """Return the splits whose rows are mostly those of another language, or None if there is only one language."""
    compared = [facts for facts in splits_read if facts.split != "train"]
    return _copied(compared) if len({facts.language for facts in compared}) > 1 else None


def _copied(compared: Sequence[SplitFacts]) -> Iterator[_Flaw]:
    earlier: list[tuple[SplitFacts, set[bytes]]] = []
    for facts in compared:
        inputs = set(facts.inputs)
        for other, other_inputs in earlier:
            shared = len(inputs & other_inputs)
            if other.split == facts.split and shared > len(inputs) / 2:
                count = f"{shared:,} of {len(inputs):,}"
                text = f"{count} rows are the same as in {other.language}: untranslated?"
                cause = "rows that are the same as in another language, perhaps untranslated"
                yield _Flaw(facts.place, text, cause, f"{count} of {other.language}")
                break
        earlier.append((facts, inputs))


def _lengths(splits_read: Sequence[SplitFacts], task: Task) -> Iterator[_Flaw] | None:
    """Return the splits whose rows are cut, or None without a tokenizer."""
    counted_splits = [(facts, facts.counts) for facts in splits_read if facts.counts is not None]
    return _cut(counted_splits, task) if len(counted_splits) == len(splits_read) else None


def _cut(counted_splits: Sequence[tuple[SplitFacts, Mapping[str, int]]], task: Task) -> Iterator[_Flaw]:
    problems = {"truncated": "are truncated to the recipe's max_length", **KINDS[task.kind].unreachable}
    for facts, counts in counted_splits:
        for key, problem in problems.items():
            if (count := counts.get(key, 0)) > TRUNCATED * facts.rows:
                share = _share(count, facts.rows)
                text = f"{count:,} rows ({share}) {problem}"
                yield _Flaw(facts.place, text, f"rows that {problem}", f"{count:,} ({share})")


def _vocabulary(splits_read: Sequence[SplitFacts], task: Task) -> Iterator[_Flaw] | None:  # noqa: ARG001
    """Return the splits with many unknown tokens, or None without a tokenizer."""
    return _unknown(splits_read) if all(facts.counts is not None for facts in splits_read) else None


def _unknown(splits_read: Sequence[SplitFacts]) -> Iterator[_Flaw]:
    for facts in splits_read:
        if facts.unknown > UNKNOWN * facts.tokens:
            share = _share(facts.unknown, facts.tokens)
            text = f"the tokenizer does not know {share} of the tokens"
            yield _Flaw(facts.place, text, "tokens that the tokenizer does not know", share)


def _share(count: int, total: int) -> str:
    share = 100 * count / total
    return "under 1%" if 0 < share < 1 else f"{share:.0f}%"
