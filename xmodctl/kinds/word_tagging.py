"""Word tagging: one plain tag for each word, such as its part of speech."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xmodctl.core.messages import quoted
from xmodctl.core.mistakes import NoGoldError, RowError
from xmodctl.kinds.breakdown import Confusion, SeedPredictions, Subset, Texts, all_predictions, count_confusion
from xmodctl.kinds.inputs import InputRow
from xmodctl.kinds.kind import Metric, TaskView
from xmodctl.kinds.labels import Labels, sorted_labels, written_form
from xmodctl.kinds.literals import words_in
from xmodctl.kinds.rows import Raw, RowReader, SourceView, cell, read_texts, single_column
from xmodctl.kinds.tag_runs import tag_runs
from xmodctl.kinds.token_classification import TokenClassification
from xmodctl.kinds.words_in_files import WordsInFiles, words_of

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

RUNS = 3
"""Counts of runs of equal tags in the statistics of a row: true positives, false positives, and false negatives."""

UNTAGGED = ("O", "X")
"""What a word without tokens is tagged, if the task has it: `X` is other in Universal Dependencies."""


class TaggedWords(RowReader):
    """Rows of `tokens` and `tags`, as ids of labels."""

    gold_name = "tag"

    def __init__(self, labels: Labels, source: SourceView) -> None:
        """Find the columns."""
        self._tokens, self._tags = single_column(source, "tokens"), single_column(source, "tags")
        self._labels = labels
        self._allow_empty = source.published
        self._file_words = WordsInFiles()

    def schema(self) -> "pa.Schema":
        """Words as strings, tags as ids."""
        import pyarrow as pa

        return pa.schema([("tokens", pa.list_(pa.string())), ("tags", pa.list_(pa.int64()))])

    def begin(self, first: Raw, again: Callable[[], Iterable[Raw]]) -> None:
        """Find out whether every word of the file has a language as a prefix."""
        self._file_words.begin(self._words(first), lambda: map(self._words, again()))

    def _words(self, raw: Raw) -> list[str]:
        return words_of(words_in(raw.get(self._tokens)))

    def row(self, raw: Raw) -> dict[str, Any]:
        """Check and align."""
        tags = words_in(cell(raw, self._tags))
        words = words_in(cell(raw, self._tokens))
        raw = {**raw, self._tokens: self._file_words.read(words_of(words)) or words}
        tokens = read_texts(raw, self._tokens, allow_empty=self._allow_empty)
        if not isinstance(tags, list):
            raise RowError(f"`{self._tags}` is {quoted(tags)}; expected a list of tags, one per word")
        if len(tokens) != len(tags):
            raise RowError(
                f"{len(tokens)} words in `{self._tokens}`, but {len(tags)} tags in `{self._tags}`; "
                "every word needs exactly one tag: correct or remove the row",
                f"not as many tags in `{self._tags}` as words in `{self._tokens}`; every word needs exactly one tag: "
                "correct or remove the row",
            )
        return {"tokens": tokens, "tags": self._ids(tags)}

    def _ids(self, tags: Sequence[Any]) -> list[int]:
        """Return the ids of tags; all unknown ones are causes of one mistake.

        Raises:
            NoGoldError: No word has a tag.
            RowError: A word has none, or an unknown one.
        """
        ids, problems, untagged = list[int](), dict[str, None](), 0
        for tag in tags:
            try:
                ids.append(self._labels.id_of(tag, self._tags))
            except NoGoldError as error:
                problems[str(error)] = None
                untagged += 1
            except RowError as error:
                problems |= dict.fromkeys(error.causes)
        if untagged and untagged == len(tags):
            raise NoGoldError(next(iter(problems)))
        if problems:
            raise RowError(next(iter(problems)), *problems)
        return ids

    def answers(self, row: Mapping[str, Any]) -> Iterable[Hashable]:
        """Return the ids of the tags."""
        tags: list[int] = row["tags"]
        return tags

    def notes(self) -> tuple[str, ...]:
        """Say which prefixes were removed from words."""
        return tuple(self._file_words.notes())

    def remedy(self) -> str:
        """Say how tags that the training data lacks become labels."""
        return self._labels.remedy()


class WordTagging(TokenClassification):
    """Tag each word; scored by accuracy, by XTREME's F1 of runs of equal tags, and by macro-averaged F1 over words."""

    name = "word-tagging"
    headlines: ClassVar = {
        "accuracy": Metric("Accuracy", "accuracy"),
        "xtreme_f1": Metric("XTREME F1", "f1"),
        "macro_f1": Metric("Macro F1", "f1"),
    }
    task_keys = frozenset({"labels_mapped", "numbered_columns", "tagged_text"})
    recipes: ClassVar = {"default": "tagging", "mini": "tagging-mini"}
    plain_tags = True

    parts_caption = "F1 of each tag, in percent"
    wrong_means = "a sentence with a wrong tag counts as wrong"
    answers_are_text = False

    def limits(self, task: TaskView) -> tuple[str, ...]:
        """Return which tags count as others."""
        return tuple(f"The tag {label} counts as {target}" for label, target in task.labels_mapped.items())

    def label_targets(self, task: TaskView) -> Sequence[str]:
        """Return the tags."""
        return task.labels

    def row_reader(self, task: TaskView, source: SourceView) -> RowReader:
        """Read words and their tags."""
        mapped = {name: task.labels.index(label) for name, label in task.labels_mapped.items()}
        return TaggedWords(Labels(task.labels, mapped, without_ids=task.labels_are_found), source)

    def gold_names(self, value: Any) -> list[str]:
        """Return the tags of a row, each once."""
        value = words_in(value)
        tags = map(written_form, value) if isinstance(value, list) else ()
        return list(dict.fromkeys(tag for tag in tags if tag))

    def labels_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the tags, sorted."""
        return sorted_labels(names)

    def settings_of(self, row: Raw, task: TaskView) -> dict[str, Any]:
        """Return nothing: words are never cut out of a text by spans."""
        return {}

    def tag_without_tokens(self, task: TaskView) -> str:
        """Return a tag that says least: O, X, or the first one."""
        return next((tag for tag in UNTAGGED if tag in task.labels), task.labels[0])

    def statistics(self, gold: Sequence[Any], predicted: Sequence[Any], task: TaskView, language: str) -> np.ndarray:
        """Return for each row and tag the true positives, false positives, and false negatives among its words.

        After them come those of runs of equal tags, of all tags together.
        """
        order = {label: number for number, label in enumerate(task.labels)}
        counts = np.zeros((len(gold), 3, len(order)), dtype=np.int64)
        runs = np.zeros((len(gold), RUNS), dtype=np.int64)
        for row, (right, guess) in enumerate(zip(gold, predicted, strict=True)):
            for tag, other in zip(right, guess, strict=True):
                if tag == other:
                    counts[row, 0, order[tag]] += 1
                else:
                    counts[row, 1, order[other]] += 1
                    counts[row, 2, order[tag]] += 1
            in_gold, in_guess = tag_runs(right), tag_runs(guess)
            runs[row] = len(in_gold & in_guess), len(in_guess - in_gold), len(in_gold - in_guess)
        return np.concatenate([counts.reshape(len(gold), 3 * len(order)), runs], axis=1)

    def metrics(self, totals: np.ndarray, task: TaskView) -> Mapping[str, np.ndarray]:
        """Return the share of words with the right tag, XTREME's F1, and macro F1 over the tags that occur.

        The first and the last are those of scikit-learn over all words.
        """
        hit, f1, occurs = _scores(totals)
        words = hit.sum(axis=-1) + np.split(totals[..., :-RUNS].astype(np.float64), 3, axis=-1)[2].sum(axis=-1)
        number = np.maximum(np.count_nonzero(occurs, axis=-1), 1)
        right, *wrong = np.moveaxis(totals[..., -RUNS:].astype(np.float64), -1, 0)
        whole = 2 * right + sum(wrong)
        return {
            "accuracy": 100 * hit.sum(axis=-1) / np.maximum(words, 1),
            "xtreme_f1": 100 * np.divide(2 * right, whole, out=np.zeros_like(whole), where=whole > 0),
            "macro_f1": 100 * f1.sum(axis=-1) / number,
        }

    def baseline(self, gold: Sequence[Any], rows: "Dataset", task: TaskView, language: str) -> float:
        """Return the score of always predicting the most common tag."""
        counts = Counter(tag for tags in gold for tag in tags)
        common = max(task.labels, key=lambda label: counts[label])
        return self.headline_of(gold, [[common] * len(tags) for tags in gold], task, language)

    def confusion(self, task: TaskView, seeds: Sequence[SeedPredictions]) -> Confusion:
        """Count gold tags against predicted tags."""
        rows = all_predictions(seeds)
        return count_confusion(
            (pair for row in rows for pair in zip(row.gold, row.prediction, strict=True)), task.labels
        )

    def parts(self, task: TaskView, seeds: Sequence[SeedPredictions]) -> tuple[Subset, ...]:
        """Return the F1 of each tag that occurs."""
        totals = np.stack([seed.statistics.sum(axis=0) for seed in seeds])
        _, f1, occurs = _scores(totals)
        return tuple(
            Subset(label, None, float(100 * f1[:, number].mean()))
            for number, label in enumerate(task.labels)
            if occurs[:, number].any()
        )

    def describe_mistake(
        self, task: TaskView, gold: Any, predicted: Any, example: Mapping[str, Any] | None
    ) -> tuple[str, str, Texts]:
        """Name the words with another tag."""
        tokens = example["tokens"] if example else [f"word {number}" for number in range(1, len(gold) + 1)]
        wrong = [word for word in zip(tokens, gold, predicted, strict=True) if word[1] != word[2]]
        return (
            "; ".join(f"{token}: {tag}" for token, tag, _ in wrong),
            "; ".join(f"{token}: {tag}" for token, _, tag in wrong),
            (("sentence", " ".join(tokens)),) if example else (),
        )

    def counted_labels(self, gold: Any, task: TaskView) -> list[str]:
        """Return the tag of each word."""
        return [task.labels[tag] for tag in gold]

    def expected_labels(self, task: TaskView) -> tuple[str, ...]:
        """Return the tags."""
        return task.labels

    def written_prediction(
        self, row: InputRow, prediction: Any, scores: Sequence[float], task: TaskView
    ) -> dict[str, Any]:
        """Return each word with its tag and the probability of the tag."""
        return {"tokens": row.row["tokens"], "tags": prediction, "scores": list(scores)}


def _scores(totals: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return true positives, F1, and whether a tag occurs, each of shape (..., tags)."""
    hit, false_positive, false_negative = np.split(totals[..., :-RUNS].astype(np.float64), 3, axis=-1)
    whole = 2 * hit + false_positive + false_negative
    return hit, np.divide(2 * hit, whole, out=np.zeros_like(whole), where=whole > 0), whole > 0
