"""Token classification: one tag per word, entities in IOB2."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xmodctl.core.encoded import BLANKS
from xmodctl.kinds.annotations import is_spans, types_of_spans, word_offsets
from xmodctl.kinds.breakdown import SeedPredictions, Subset, Texts
from xmodctl.kinds.ensembling import vote
from xmodctl.kinds.entropy import mean_entropies
from xmodctl.kinds.inputs import InputRow, name_in_row
from xmodctl.kinds.kind import Kind, Metric, TaskView, Usage
from xmodctl.kinds.labels import sorted_labels
from xmodctl.kinds.literals import structure_in, words_in
from xmodctl.kinds.rows import Raw, RowReader, SourceView, read_text, read_texts
from xmodctl.kinds.scoring import Predicted
from xmodctl.kinds.sentences import SentenceReader, gold_tags
from xmodctl.kinds.spans import Span, agreement, spans, types_of
from xmodctl.kinds.tagset import types_in
from xmodctl.kinds.windows import Frame, windows

if TYPE_CHECKING:
    from datasets import Dataset

    from xmodctl.core.encoded import Encoded

IGNORED = -100
"""The label of a token that has none, as `torch.nn.CrossEntropyLoss` ignores it."""

_WORD = re.compile(r"\S+")


class TokenClassification(Kind):
    """Tag words; scored by the F1 of whole entities, as conlleval counts them and strictly."""

    name = "token-classification"
    required = ("tokens", "tags")
    optional = ("id",)
    headlines: ClassVar = {"entity_f1": Metric("Entity F1", "f1")}
    needs_labels = True
    task_keys = frozenset({"labels_mapped", "numbered_columns", "tagged_text", "word_rule"})

    recipes: ClassVar = {"default": "ner", "mini": "ner-mini"}
    head = "tokens"
    auto_class = "AutoModelForTokenClassification"
    pipeline = "token-classification"

    gold_column = "tags"
    has_entropy = True
    ensemble_rule = (
        "the tag with the highest mean probability for each word; only that of a model's own tag is stored, and the "
        "rest is divided evenly between the other tags"
    )
    parts_caption = "Entity F1 by type, in percent"
    wrong_means = "a sentence with a wrong tag counts as wrong"
    answers_are_text = True

    def outputs(self, task: TaskView) -> tuple[str, ...]:
        """Return the tags: the head has one output per tag."""
        return task.labels

    def limits(self, task: TaskView) -> tuple[str, ...]:
        """Return which entity types count as no entity, and which as another type."""
        dropped = [name for name, target in task.labels_mapped.items() if target == "O"]
        merged = [f"{name} entities count as {target}" for name, target in task.labels_mapped.items() if target != "O"]
        return tuple([f"{', '.join(dropped)} entities count as no entity", *merged] if dropped else merged)

    def label_targets(self, task: TaskView) -> Sequence[str]:
        """Return entity types, and O."""
        return [label[2:] if label[1:2] == "-" else label for label in task.labels]

    def row_reader(self, task: TaskView, source: SourceView) -> RowReader:
        """Read words and their tags."""
        return SentenceReader(task, source)

    def gold_names(self, value: Any) -> list[str]:
        """Return the types of entities in a list of tags or spans."""
        value = structure_in(value)
        return types_of_spans(value) if is_spans(value) else types_in(words_in(value))

    def no_label(self, column: str, value: str) -> str:
        """Say what is expected: spans, or tags of entities; numbers may be ids of tags."""
        numbers = structure_in(value.strip('"'))
        are_numbers = isinstance(numbers, list) and bool(numbers) and all(isinstance(item, int) for item in numbers)
        named = "; if these are numbers of tags, name all tags in their order, as in --set labels='[O, B-PER, I-PER]'"
        expected = named if are_numbers else "; expected tags, such as O and B-PER, or spans of entities"
        return f"no training row has a label in `{column}`, whose first value is {value}{expected}"

    def settings_of(self, row: Raw, task: TaskView) -> dict[str, Any]:
        """Return how `predict` divides texts if rows have texts instead of words."""
        text, tags = row.get(str(task.columns["tokens"])), structure_in(row.get(str(task.columns["tags"])))
        has_spans = isinstance(structure_in(text), str) and (is_spans(tags) or tags in ("", []))
        return {"word_rule": "spans"} if has_spans else {}

    def labels_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return O, and the IOB2 tags of each type, sorted."""
        return ("O", *(f"{mark}-{name}" for name in sorted_labels(names) for mark in "BI"))

    def encode(self, rows: "Dataset", tokenizer: Any, *, max_length: int, stride: int) -> "Encoded":
        """Turn words into token ids; a word's tag is on its first piece that has a character of the word.

        If the vocabulary has no piece that begins the word together with its space mark, XLM-R's tokenizer writes the
        mark as a separate piece: before one in ten English words, most of them punctuation, and two in three Chinese
        words, which are single characters in WikiANN. That piece is not part of the word and has no tag.

        A sentence longer than `max_length` becomes windows that share `stride` tokens. A word belongs to the window in
        which it has the most context on both sides, and is untagged in the others, so nothing is cut off. A word that
        has no tokens belongs to no window.
        """
        from xmodctl.core.encoded import Encoded, Ragged

        frame = Frame.of(tokenizer, texts=1)
        before, after = frame.gaps
        tagged = "tags" in rows.column_names
        pieces: list[np.ndarray] = []
        word_numbers: list[np.ndarray] = []
        labels: list[np.ndarray] = []
        owners: list[int] = []
        split = 0
        blanks = [piece for piece in map(tokenizer.convert_tokens_to_ids, BLANKS) if piece != tokenizer.unk_token_id]
        for row, (encoding, tags) in enumerate(_tokenized(rows, tokenizer)):
            words = np.array([-1, *encoding.word_ids])
            first = _first_pieces(words, np.array(encoding.ids), blanks)
            parts = list(windows(len(encoding), max_length - frame.size, overlap=stride))
            context = [np.minimum(first - begin, end - 1 - first) for begin, end in parts]
            home = np.argmax(context, axis=0)
            split += len(parts) > 1
            for number, (begin, end) in enumerate(parts):
                numbers = np.full(len(before) + end - begin + len(after), -1, dtype=np.int32)
                inside = first[home == number]
                numbers[inside - begin + len(before)] = words[inside + 1]
                pieces.append(np.array([*before, *encoding.ids[begin:end], *after], dtype=np.int32))
                word_numbers.append(numbers)
                owners.append(row)
                if tagged:
                    labels.append(np.array([*tags, IGNORED])[numbers])  # -1, no word, is the last
        return Encoded(
            input_ids=Ragged.of(pieces),
            rows=np.array(owners, dtype=np.int64),
            ragged={"labels": Ragged.of(labels)} if tagged else {},
            offsets={"word": Ragged.of(word_numbers)},
            counts={"truncated": 0, "split": split},
        )

    def weights(self, encoded: "Encoded") -> np.ndarray:
        """Return one loss term for each tagged token."""
        labels = encoded.ragged["labels"]
        tagged = np.concatenate([[0], np.cumsum(labels.values != IGNORED)])
        return np.diff(tagged[labels.bounds]).astype(np.float64)

    def decode(
        self, logits: Sequence[np.ndarray], encoded: "Encoded", rows: "Dataset", task: TaskView
    ) -> list[tuple[list[str] | None, list[str], tuple[float, ...]]]:
        """Return (gold tags, predicted tags, probability of each predicted tag) for each row.

        Gold tags are those of the data, also where an entity begins with I- although the data is IOB2.
        A word that has no tokens has the tag of `tag_without_tokens` and probability 0.
        """
        predicted = [[self.tag_without_tokens(task)] * len(tokens) for tokens in rows["tokens"]]
        scores = [np.zeros(len(tags)) for tags in predicted]
        for row, numbers, values in zip(encoded.rows, encoded.offsets["word"], logits, strict=True):
            seen = np.flatnonzero(numbers >= 0)
            words = numbers[seen]
            table = values[seen].astype(np.float64)
            best = table.argmax(axis=1)
            scores[row][words] = 1 / np.exp(table - table.max(axis=1, keepdims=True)).sum(axis=1)
            for word, tag in zip(words, best, strict=True):
                predicted[row][word] = task.labels[tag]
        gold: Iterable[list[str] | None] = [None] * len(rows)
        if "tags" in rows.column_names:
            gold = [[task.labels[tag] for tag in tags] for tags in gold_tags(rows)]
        return [
            (tags, guess, tuple(shares.round(6).tolist()))
            for tags, guess, shares in zip(gold, predicted, scores, strict=True)
        ]

    def entropy(self, logits: Sequence[np.ndarray], encoded: "Encoded", units: np.ndarray) -> np.ndarray:
        """Return the mean entropy over the tags of each unit's words; 0 without words."""
        words = (encoded.offsets["word"][unit] for unit in units)
        return mean_entropies(
            values[: len(numbers)][numbers >= 0] for numbers, values in zip(words, logits, strict=True)
        )

    def combined(self, members: Sequence[Predicted], task: TaskView) -> tuple[list[str], tuple[float, ...]]:
        """Return the tag of each word that has the highest mean probability, and the means."""
        words = zip(
            zip(*(member.prediction for member in members), strict=True),
            zip(*(member.scores for member in members), strict=True),
            strict=True,
        )
        chosen = [vote(tags, shares, len(task.labels) - 1) for tags, shares in words]
        return [tag for tag, _ in chosen], tuple(share for _, share in chosen)

    def tag_without_tokens(self, task: TaskView) -> str:
        """Return the tag of a word that the tokenizer makes nothing of."""
        return "O"

    def statistics(self, gold: Sequence[Any], predicted: Sequence[Any], task: TaskView, language: str) -> np.ndarray:
        """Return for each row the true positives, false positives, and false negatives of each type.

        The lenient counts come first, then the strict ones.
        """
        types = types_of(task.labels)
        counts = [
            [agreement(*pair, types, strict=strict) for strict in (False, True)]
            for pair in zip(gold, predicted, strict=True)
        ]
        return np.asarray(counts, dtype=np.int64).reshape(len(counts), 2 * len(types) * 3)

    def metrics(self, totals: np.ndarray, task: TaskView) -> Mapping[str, np.ndarray]:
        """Return precision, recall, and F1 of entities: over all types and for each, as conlleval counts and strictly.

        Where no entity is predicted, or there is none, the value is 0, as in conlleval.
        """
        types = types_of(task.labels)
        counts = totals.reshape(*totals.shape[:-1], 2, len(types), 3).astype(np.float64)
        values: dict[str, np.ndarray] = {}
        for mode, prefix in enumerate(("", "strict_")):
            groups = {"": counts[..., mode, :, :].sum(axis=-2)}
            groups |= {f".{type_}": counts[..., mode, number, :] for number, type_ in enumerate(types)}
            for suffix, group in groups.items():
                hit, false_positive, false_negative = np.moveaxis(group, -1, 0)
                values[f"{prefix}entity_f1{suffix}"] = _share(2 * hit, 2 * hit + false_positive + false_negative)
                values[f"{prefix}precision{suffix}"] = _share(hit, hit + false_positive)
                values[f"{prefix}recall{suffix}"] = _share(hit, hit + false_negative)
        return values

    def baseline(self, gold: Sequence[Any], rows: "Dataset", task: TaskView, language: str) -> float:
        """Return the score of predicting that every sentence is one entity, of the type that scores best."""
        scores = []
        for type_ in types_of(task.labels):
            guess = [[f"B-{type_}", *[f"I-{type_}"] * (len(tags) - 1)][: len(tags)] for tags in gold]
            scores.append(self.headline_of(gold, guess, task, language))
        return max(scores)

    def metric_features(self) -> tuple[Any, Any]:
        """Return lists of IOB2 tags, one per word."""
        from datasets import List, Value

        return List(Value("string")), List(Value("string"))

    def parts(self, task: TaskView, seeds: Sequence[SeedPredictions]) -> tuple[Subset, ...]:
        """Return the F1 of each entity type."""
        prefix = "entity_f1."
        names = [name for name in seeds[0].metrics if name.startswith(prefix)]
        return tuple(
            Subset(name.removeprefix(prefix), None, sum(seed.metrics[name] for seed in seeds) / len(seeds))
            for name in names
        )

    def wrongness(self, task: TaskView, seed: SeedPredictions) -> np.ndarray:
        """Return the sum, over words with a wrong tag, of the probability of that tag."""
        return np.array(
            [0.0 if row.gold == row.prediction else _confidence_in_wrong_tags(row) for row in seed.predictions]
        )

    def describe_mistake(
        self, task: TaskView, gold: Any, predicted: Any, example: Mapping[str, Any] | None
    ) -> tuple[str, str, Texts]:
        """Name the entities that only one side has; those that both have are correct."""
        tokens = example["tokens"] if example else None
        in_gold, in_predicted = spans(gold, strict=False), spans(predicted, strict=False)
        return (
            _entities([span for span in in_gold if span not in in_predicted], tokens),
            _entities([span for span in in_predicted if span not in in_gold], tokens),
            (("sentence", " ".join(tokens)),) if tokens else (),
        )

    def inspect_labels(
        self, encoded: "Encoded", feature: int, task: TaskView, row: Mapping[str, Any]
    ) -> tuple[Mapping[int, str], str | None]:
        """Return the tag of each token that has one."""
        labels = encoded.ragged["labels"][feature]
        return {token: task.labels[label] for token, label in enumerate(labels) if label >= 0}, None

    def named_row(self, row: Mapping[str, Any], task: TaskView) -> dict[str, Any]:
        """Return the words and the names of their tags."""
        return {"tokens": row["tokens"], "tags": [task.labels[tag] for tag in row["tags"]]}

    def gold_and_texts(self, row: Mapping[str, Any], task: TaskView) -> tuple[Any, list[str]]:
        """Return the tags and the words."""
        return row["tags"], row["tokens"]

    def counted_labels(self, gold: Any, task: TaskView) -> list[str]:
        """Return the type of each entity."""
        return [task.labels[tag][2:] for tag in gold if task.labels[tag].startswith("B-")]

    def expected_labels(self, task: TaskView) -> tuple[str, ...]:
        """Return the entity types."""
        return types_of(task.labels)

    def takes_plain_text(self, task: TaskView) -> bool:
        """Return True: plain text is divided into words, at whitespace or as texts with spans are."""
        return True

    def plain_text_row(self, line: str, row_id: Any, task: TaskView) -> InputRow:
        """Return the words of a line and where they are in it."""
        words = word_offsets(line) if task.word_rule == "spans" else [word.span() for word in _WORD.finditer(line)]
        return InputRow(row_id, {"tokens": [line[start:end] for start, end in words]}, tuple(words), line)

    def json_row(self, raw: Mapping[str, Any], row_id: Any, task: TaskView, connectives: Mapping[str, str]) -> InputRow:
        """Return the words of `tokens`, whose offsets count in their text joined by spaces, or those of `text`."""
        names = ("tokens", str(task.columns["tokens"]), "text")
        has_words = any(isinstance(structure_in(raw.get(name)), list) for name in names[:2])
        column = next((name for name in names if isinstance(raw.get(name), str)), None)
        if column and not has_words:
            return self.plain_text_row(read_text(raw, str(column)), row_id, task)
        tokens = read_texts(raw, name_in_row(raw, "tokens", task.columns))
        ends = [sum(map(len, tokens[: count + 1])) + count for count in range(len(tokens))]
        offsets = tuple((end - len(token), end) for token, end in zip(tokens, ends, strict=True))
        return InputRow(row_id, {"tokens": tokens}, offsets, " ".join(tokens))

    def example_value(self, column: str) -> Any:
        """Return words as a list."""
        return ["a", "word"]

    def written_prediction(
        self, row: InputRow, prediction: Any, scores: Sequence[float], task: TaskView
    ) -> dict[str, Any]:
        """Return the entities with their offsets, and each word's tag and its probability."""
        entities = []
        for type_, first, end in spans(prediction, strict=False):
            start, stop = row.offsets[first][0], row.offsets[end - 1][1]
            score = min(scores[first:end])  # an entity is as certain as its least certain word
            entities.append({"type": type_, "text": row.text[start:stop], "start": start, "end": stop, "score": score})
        return {"entities": entities, "tokens": row.row["tokens"], "tags": prediction, "scores": list(scores)}

    def usage(self, task: TaskView) -> Usage:
        """Return a call with one text."""
        return Usage(
            inputs='tokenizer("A text of words .".split(), is_split_into_words=True, return_tensors="pt")',
            output="pieces = [*zip(inputs.tokens(), inputs.word_ids(), outputs.logits[0].argmax(-1).tolist())]\n"
            "tags = {word: tag for piece, word, tag in reversed(pieces) "
            f"if word is not None and piece not in {BLANKS}}}\n"
            "print([model.config.id2label[tag] for tag in [*tags.values()][::-1]])",
            note="A word's tag is that of its first piece with a character of the word: where the tokenizer writes the "
            "space before a word as a piece of its own (`▁`), that of the next piece.",
            pipeline='text = "A text of words ."\n'
            "(pieces,) = predict([text.split()], is_split_into_words=True)\n"
            f'pieces = [piece for piece in reversed(pieces) if piece["word"] not in {BLANKS}]\n'
            'tags = {text.count(" ", 0, piece["start"]): piece["entity"] for piece in pieces}\n'
            "print(list(tags.values())[::-1])",
            settings="ignore_labels=[]",
        )


def _tokenized(rows: "Dataset", tokenizer: Any) -> Iterator[tuple[Any, list[int]]]:
    """Yield each row's words as an encoding, and its tags, which are none where rows have none."""
    for batch in rows.iter(batch_size=1000):
        words = batch["tokens"]
        encodings = tokenizer(words, is_split_into_words=True, add_special_tokens=False, verbose=False).encodings
        yield from zip(encodings, batch.get("tags") or [[]] * len(words), strict=True)


def _first_pieces(words: np.ndarray, ids: np.ndarray, blanks: Sequence[int]) -> np.ndarray:
    """Return the first piece of each word that is more than the mark of a blank, if it has one.

    Args:
        words: The word of each piece, shape (1 + pieces,), after a -1.
        ids: The pieces, shape (pieces,).
        blanks: The pieces that mark a blank.
    """
    first = np.flatnonzero(np.diff(words))
    continues = np.append(words[2:] == words[1:-1], False)
    pieces: np.ndarray = first + (np.isin(ids[first], blanks) & continues[first])
    return pieces


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return percentages, 0 where the whole is 0."""
    shares: np.ndarray = np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
    return 100 * shares


def _confidence_in_wrong_tags(row: Predicted) -> float:
    return sum(score for gold, tag, score in zip(row.gold, row.prediction, row.scores, strict=True) if gold != tag)


def _entities(entities: Sequence[Span], tokens: Sequence[str] | None) -> str:
    """Name entities by their words, or by their positions if the words are not available."""
    descriptions = []
    for type_, begin, end in entities:
        position = f"word {begin + 1}" if end - begin == 1 else f"words {begin + 1} to {end}"
        descriptions.append(f"{type_}: {' '.join(tokens[begin:end]) if tokens else position}")
    return "; ".join(descriptions) or "no others"
