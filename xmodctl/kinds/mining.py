"""Mining of translations: pairs of texts that are near each other by a margin, and the F1 of those that are right.

The score is the ratio margin of Artetxe and Schwenk (2019, arXiv 1811.01136): a cosine, divided by the mean cosine of
both texts with their nearest neighbors. Pairs are chosen and scored as XTREME does for BUCC 2018 (Hu et al. 2020,
`third_party/utils_retrieve.py`: `mine_bitext` with its defaults, `bucc_optimize`, `bucc_extract`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

NEIGHBORS = 4
"""How many nearest neighbors of each text a cosine is compared with: `neighborhood` in XTREME's script."""

ROWS_AT_A_TIME = 1024


class Mined(NamedTuple):
    """Candidates, from the highest score; no text and no pair is in two of them. All have the shape (candidates,)."""

    texts: Integers
    pairs: Integers
    scores: Floats


def mined(texts: Floats, pairs: Floats) -> Mined:
    """Return the candidates of both directions in the order of their scores, each text and pair once.

    Args:
        texts: Vectors of length 1, shape (texts, dimensions).
        pairs: Vectors of length 1, shape (pairs, dimensions).
    """
    near_pairs, of_texts = _nearest(texts, pairs)
    near_texts, of_pairs = _nearest(pairs, texts)
    means = of_texts.mean(axis=1), of_pairs.mean(axis=1)
    pair, forward = _best(near_pairs, of_texts, means[0], means[1])
    text, backward = _best(near_texts, of_pairs, means[1], means[0])
    first = np.concatenate([np.arange(len(texts)), text])
    second = np.concatenate([pair, np.arange(len(pairs))])
    scores = np.concatenate([forward, backward])
    seen: tuple[set[int], set[int]] = set(), set()
    kept = []
    for number in np.argsort(-scores, kind="stable"):
        if first[number] not in seen[0] and second[number] not in seen[1]:
            seen[0].add(first[number])
            seen[1].add(second[number])
            kept.append(number)
    return Mined(first[kept], second[kept], scores[kept])


def extracted(candidates: Mined, gold: int) -> NDArray[np.bool_]:
    """Return which candidates reach the threshold with the best F1; a candidate is right if text and pair are of a row.

    The threshold lies between the scores of two candidates. As in XTREME's script, it is chosen on the pairs that are
    scored.

    Args:
        candidates: From the highest score.
        gold: The number of pairs that are right.
    """
    correct = np.cumsum(candidates.texts == candidates.pairs)
    f1 = 2 * correct / (np.arange(1, len(correct) + 1) + gold)
    if not len(correct) or not correct[-1]:
        return np.ones(len(correct), dtype=bool)
    last = int(f1.argmax())
    after = candidates.scores[min(last + 1, len(correct) - 1)]
    return np.asarray(candidates.scores >= (candidates.scores[last] + after) / 2)


def first_of_equal(texts: Sequence[str]) -> tuple[Integers, NDArray[np.bool_]]:
    """Return the positions of the first of equal texts, in order, and of each, whether it is the only one."""
    positions: dict[str, int] = {}
    repeated = set()
    for number, text in enumerate(texts):
        if positions.setdefault(text, number) != number:
            repeated.add(text)
    first = np.array(list(positions.values()), dtype=np.int64)
    return first, np.array([text not in repeated for text in positions], dtype=bool)


def _nearest(queries: Floats, candidates: Floats) -> tuple[Integers, Floats]:
    """Return the nearest candidates of each query, from the nearest, and their cosines, both (queries, neighbors)."""
    count = min(NEIGHBORS, len(candidates))
    nearest = np.empty((len(queries), count), dtype=np.int64)
    cosines = np.empty((len(queries), count))
    for start in range(0, len(queries), ROWS_AT_A_TIME):
        part = slice(start, start + ROWS_AT_A_TIME)
        table = queries[part] @ candidates.T
        near = np.argpartition(-table, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(table, near, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        nearest[part] = np.take_along_axis(near, order, axis=1)
        cosines[part] = np.take_along_axis(values, order, axis=1)
    return nearest, cosines


def _best(near: Integers, cosines: Floats, own: Floats, of_others: Floats) -> tuple[Integers, Floats]:
    """Return the neighbor of each text with the highest margin, and the margin, both of shape (texts,).

    Args:
        near: The neighbors of each text, shape (texts, neighbors).
        cosines: Their cosines.
        own: The mean cosine of each text with its neighbors, shape (texts,).
        of_others: That of each text of the other side.
    """
    margins = cosines / ((own[:, None] + of_others[near]) / 2)
    best = margins.argmax(axis=1)
    rows = np.arange(len(near))
    return near[rows, best], margins[rows, best]
