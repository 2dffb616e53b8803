"""Entities in a sentence's tags, and how they are compared: as in conlleval, and strictly."""

from collections.abc import Sequence

import numpy as np

Span = tuple[str, int, int]
"""An entity: its type, its first word, and the word after its last."""


def spans(tags: Sequence[str], *, strict: bool) -> list[Span]:
    """Return the entities of a sentence tagged with `O`, `B-TYPE` and `I-TYPE`.

    An entity continues while `I-` follows with its type. Any `B-` begins an entity. An `I-` that continues nothing
    begins one too, unless `strict`: then it belongs to no entity, because IOB2 does not allow it.

    Source: `endOfChunk` and `startOfChunk` of conlleval, the script of the CoNLL-2000 to 2003 shared tasks (Tjong Kim
    Sang and Buchholz 2000); seqeval's default mode is the same and its `mode="strict", scheme=IOB2` is `strict`.
    """
    entities: list[Span] = []
    begin, open_type = 0, ""
    for word, tag in enumerate([*tags, "O"]):
        prefix, _, type_ = tag.partition("-")
        if prefix == "I" and type_ == open_type:
            continue
        if open_type:
            entities.append((open_type, begin, word))
        begins = prefix == "B" or (prefix == "I" and not strict)
        begin, open_type = word, type_ if begins else ""
    return entities


def types_of(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the entity types of IOB2 labels, in the order of their first label."""
    return tuple(dict.fromkeys(label.partition("-")[2] for label in labels if label != "O"))


def agreement(gold: Sequence[str], predicted: Sequence[str], types: Sequence[str], *, strict: bool) -> np.ndarray:
    """Return the true positives, false positives, and false negatives of each type in a sentence, shape (types, 3)."""
    counts = np.zeros((len(types), 3), dtype=np.int64)
    order = {type_: row for row, type_ in enumerate(types)}
    in_gold, in_predicted = set(spans(gold, strict=strict)), set(spans(predicted, strict=strict))
    for column, entities in enumerate((in_gold & in_predicted, in_predicted - in_gold, in_gold - in_predicted)):
        for type_, _, _ in entities:
            counts[order[type_], column] += 1
    return counts
