"""Token classification: a tag for each word, entities in IOB2."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xmodctl.catalog.task import KindName, Task
from xmodctl.kinds.spans import agreement, types_of
from xmodctl.kinds.windows import Frame, windows

if TYPE_CHECKING:
    from datasets import Dataset

    from xmodctl.core.encoded import Encoded

IGNORED = -100
"""The label of a token that has none, as `torch.nn.CrossEntropyLoss` ignores it."""

BLANKS = ("▁", "Ġ")
"""How SentencePiece and byte-level vocabularies mark the blank before a word."""


class TokenClassification:
    """Tag words; scored by the F1 of whole entities, as conlleval counts them and strictly."""

    name: KindName = "token-classification"

    def outputs(self, task: Task) -> tuple[str, ...]:
        """Return the tags: the head has one output a tag."""
        return task.labels

    def encode(self, rows: "Dataset", tokenizer: Any, *, max_length: int, stride: int) -> "Encoded":
        """Turn words into token ids, each word's tag on its first piece that has a character of it.

        Before a word that begins no piece of the vocabulary, XLM-R's tokenizer writes the mark of a blank as a piece of
        its own: before one in ten English words, most of them punctuation, and two in three Chinese ones, where words
        of WikiANN are characters. That piece is no part of the word and is left untagged.

        A sentence longer than `max_length` becomes windows that share `stride` tokens; a word belongs to the window in
        which it has most context on both sides, and the rest see it untagged. So nothing is cut off. A word that the
        tokenizer makes nothing of belongs to none.
        """
        from xmodctl.core.encoded import Encoded, Ragged

        frame = Frame.of(tokenizer, texts=1)
        before, after = frame.gaps
        tagged = "tags" in rows.column_names
        pieces: list[np.ndarray] = []
        places: list[np.ndarray] = []
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
                place = np.full(len(before) + end - begin + len(after), -1, dtype=np.int32)
                mine = first[home == number]
                place[mine - begin + len(before)] = words[mine + 1]
                pieces.append(np.array([*before, *encoding.ids[begin:end], *after], dtype=np.int32))
                places.append(place)
                owners.append(row)
                if tagged:
                    labels.append(np.array([*tags, IGNORED])[place])  # that of no word, -1, is the last
        return Encoded(
            input_ids=Ragged.of(pieces),
            rows=np.array(owners, dtype=np.int64),
            ragged={"labels": Ragged.of(labels)} if tagged else {},
            places={"word": Ragged.of(places)},
            counts={"truncated": 0, "split": split},
        )

    def weights(self, encoded: "Encoded") -> np.ndarray:
        """Return one term of the loss for each tagged token."""
        labels = encoded.ragged["labels"]
        tagged = np.concatenate([[0], np.cumsum(labels.values != IGNORED)])
        return np.diff(tagged[labels.offsets]).astype(np.float64)

    def decode(
        self, logits: Sequence[np.ndarray], encoded: "Encoded", rows: "Dataset", task: Task
    ) -> list[tuple[list[str] | None, list[str], tuple[float, ...]]]:
        """Return (gold tags, predicted tags, probability of each predicted tag) for each row.

        A word that the tokenizer makes nothing of is tagged O with probability 0.
        """
        predicted = [["O"] * len(tokens) for tokens in rows["tokens"]]
        scores = [np.zeros(len(tags)) for tags in predicted]
        for row, places, values in zip(encoded.rows, encoded.places["word"], logits, strict=True):
            seen = np.flatnonzero(places >= 0)
            words = places[seen]
            table = values[seen].astype(np.float64)
            best = table.argmax(axis=1)
            scores[row][words] = 1 / np.exp(table - table.max(axis=1, keepdims=True)).sum(axis=1)
            for word, tag in zip(words, best, strict=True):
                predicted[row][word] = task.labels[tag]
        gold: Iterable[list[str] | None] = [None] * len(rows)
        if "tags" in rows.column_names:
            gold = [[task.labels[tag] for tag in tags] for tags in rows["tags"]]
        return [
            (tags, said, tuple(shares.round(6).tolist()))
            for tags, said, shares in zip(gold, predicted, scores, strict=True)
        ]

    def statistics(self, gold: Sequence[Any], predicted: Sequence[Any], task: Task, language: str) -> np.ndarray:
        """Return per row the true positives, false positives and false negatives, lenient and strict, of each type."""
        types = types_of(task.labels)
        counts = [
            [agreement(*pair, types, strict=strict) for strict in (False, True)]
            for pair in zip(gold, predicted, strict=True)
        ]
        return np.asarray(counts, dtype=np.int64).reshape(len(counts), 2 * len(types) * 3)

    def metrics(self, totals: np.ndarray, task: Task) -> Mapping[str, np.ndarray]:
        """Return precision, recall and F1 of entities: over all types and for each, as conlleval counts and strictly.

        Where nothing was found, or nothing was there to find, the value is 0, as conlleval has it.
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

    def baseline(self, gold: Sequence[Any], rows: "Dataset", task: Task, language: str) -> float:
        """Return the score of calling every sentence one entity, of the type that fits best."""
        scores = []
        for type_ in types_of(task.labels):
            said = [[f"B-{type_}", *[f"I-{type_}"] * (len(tags) - 1)][: len(tags)] for tags in gold]
            totals = self.statistics(gold, said, task, language).sum(axis=0)
            scores.append(float(self.metrics(totals, task)[task.headline]))
        return max(scores)


def _tokenized(rows: "Dataset", tokenizer: Any) -> Iterator[tuple[Any, list[int]]]:
    """Yield each row's words as an encoding, and its tags, which are none where rows have none."""
    for batch in rows.iter(batch_size=1000):
        words = batch["tokens"]
        encodings = tokenizer(words, is_split_into_words=True, add_special_tokens=False, verbose=False).encodings
        yield from zip(encodings, batch.get("tags") or [[]] * len(words), strict=True)


def _first_pieces(words: np.ndarray, ids: np.ndarray, blanks: Sequence[int]) -> np.ndarray:
    """Return where each word's first piece is that is more than the mark of a blank, if it has one.

    Args:
        words: The word of each piece, shape (1 + pieces,), after a -1.
        ids: The pieces, shape (pieces,).
        blanks: The pieces that mark a blank.
    """
    first = np.flatnonzero(np.diff(words))
    goes_on = np.append(words[2:] == words[1:-1], False)
    found: np.ndarray = first + (np.isin(ids[first], blanks) & goes_on[first])
    return found


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return percentages, 0 where the whole is 0."""
    shares: np.ndarray = np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
    return 100 * shares
