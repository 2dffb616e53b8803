"""Texts with spans, as labeling tools write them -> words and their tags, without losing a span."""

import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

from xmodctl.core.messages import quoted
from xmodctl.core.mistakes import RowError
from xmodctl.kinds.literals import structure_in

_ALONE = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF), (0x20000, 0x3FFFF),
)  # fmt: skip
"""Letters of scripts without spaces between words, each of which is a word: Thai, Lao, Burmese, Khmer, Kana, Han."""

_EXPECTED = (
    'expected spans, such as [[0, 4, "PER"]] or [{"start": 0, "end": 4, "label": "PER"}], or [] for none; correct or '
    "remove the row"
)


@dataclass(frozen=True, order=True)
class Annotation:
    """A piece of a text with its type: `text[start:end]`."""

    start: int
    end: int
    type: str


@dataclass(frozen=True)
class AnnotatedWords:
    """The words of a text, their IOB2 tags, and how many spans begin or end inside a word, which is split there."""

    tokens: list[str]
    tags: list[str]
    spans: int
    cut: int
    units: tuple[str, ...] = ()  # what offsets may count instead of characters: then no span of the text cuts a word


def tagged_text(text: str, value: Any, column: str) -> AnnotatedWords:
    """Return the words and tags of a text with spans.

    Args:
        text: The text.
        value: The spans: lists of start, end and type, or objects with these; or JSON of such a list.
        column: The name of their column in messages.

    Raises:
        RowError: A span is not in the text, or overlaps another one.
    """
    written = list(annotations(value, column, text))
    spans = sorted({_trimmed(text, span, column) for span in written})
    for before, after in pairwise(spans):
        if after.start < before.end:
            pair = f"{quoted(text[before.start : before.end])} and {quoted(text[after.start : after.end])}"
            reason = "overlap; a word has one tag, so remove one of them"
            raise RowError(f"`{column}`: the spans {pair} {reason}", f"`{column}`: spans {reason}")
    words = word_offsets(text)
    edges = sorted({edge for span in spans for edge in (span.start, span.end)})
    cut = sum(any(_is_inside(edge, words) for edge in (span.start, span.end)) for span in spans)
    units = tuple(unit for unit in _SIZES if _fits(text, written, words, unit)) if cut and not text.isascii() else ()
    words = [part for word in words for part in _divided(word, edges)]
    tags = ["O"] * len(words)
    for span in spans:  # words are in order and do not overlap, and none reaches over an edge
        first = bisect_left(words, (span.start, 0))
        last = bisect_left(words, (span.end, 0))
        if first == last:
            reason = "contains no word, only marks or invisible characters"
            raise RowError(f"`{column}`: the {span.type} span at {span.start} {reason}", f"`{column}`: a span {reason}")
        tags[first:last] = [f"B-{span.type}", *[f"I-{span.type}"] * (last - first - 1)]
    return AnnotatedWords([text[start:end] for start, end in words], tags, len(spans), cut, units)


_SIZES: Mapping[str, Callable[[str], int]] = {
    "bytes of UTF-8": lambda character: len(character.encode("utf-8", "surrogatepass")),
    "UTF-16 units": lambda character: 1 + (ord(character) > 0xFFFF),
}
"""What offsets count in other programs, and how many of these a character has."""


def _fits(text: str, spans: Iterable[Annotation], words: Sequence[tuple[int, int]], unit: str) -> bool:
    """Return whether spans whose offsets count units begin and end where words do."""
    edges = [0, *accumulate(map(_SIZES[unit], text))]
    starts, ends = ({edges[word[side]] for word in words} for side in (0, 1))
    return all(span.start in starts and span.end in ends for span in spans)


def word_offsets(text: str) -> list[tuple[int, int]]:
    """Return where each word begins and ends: runs of letters, digits and marks, and each other character alone.

    In scripts without spaces between words, each letter with its marks is a word.
    """
    words: list[list[int]] = []
    before = ""
    for position, character in enumerate(text):
        kind = _kind(character)
        if words and before and kind and words[-1][1] == position and (kind == "mark" or kind == before == "letter"):
            words[-1][1] = position + 1
        elif kind:
            words.append([position, position + 1])
        before = before if kind == "mark" and before else kind
    return [(start, end) for start, end in words]


def has_words_of_one_letter(text: str) -> bool:
    """Return whether most letters of a text are words of their own, as `word_offsets` counts them."""
    kinds = Counter(map(_kind, text))
    return kinds["alone"] > kinds["letter"]


def types_of_spans(value: Any) -> list[str]:
    """Return the types of spans, each once; what is no span is ignored."""
    try:
        return list(dict.fromkeys(span.type for span in annotations(value, "spans", "")))
    except RowError:
        return []


def annotations(value: Any, column: str, text: str) -> Iterator[Annotation]:
    """Yield spans as they are written; offsets that count UTF-16 units are converted where the span has its text.

    Raises:
        RowError: The value is not a list of spans.
    """
    if isinstance(value := structure_in(value), str):
        raise RowError(f"`{column}` is {quoted(value)}; {_EXPECTED}", f"`{column}` is not a list; {_EXPECTED}")
    if not isinstance(value, list):
        raise RowError(f"`{column}` is {quoted(value)}; {_EXPECTED}")
    for item in value:
        start, end, type_ = _parts(item)
        is_span = all(isinstance(place, int) and not isinstance(place, bool) for place in (start, end))
        if not is_span or not isinstance(type_, str) or not type_.strip():
            raise RowError(
                f"`{column}` contains {quoted(item)}; {_EXPECTED}",
                f"`{column}` contains an item that is not a span; {_EXPECTED}",
            )
        written = item.get("text") if isinstance(item, dict) else None
        if isinstance(written, str) and text and text[start:end] != written:
            start, end = _from_utf16(text, start, end, written, column)
        yield Annotation(start, end, type_.strip())


def is_spans(value: Any) -> bool:
    """Return whether a gold cell holds spans rather than a tag per word."""
    if isinstance(value, str):
        return value.lstrip().startswith("[")
    return isinstance(value, list) and any(isinstance(item, list | tuple | dict) for item in value)


def _parts(item: Any) -> tuple[Any, Any, Any]:
    if isinstance(item, list | tuple) and len(item) == 3:
        return item[0], item[1], item[2]
    if not isinstance(item, dict):
        return None, None, None
    label = _first(item, ("label", "type", "entity", "labels", "entity_group"))
    if isinstance(label, list) and len(label) == 1:
        label = label[0]
    return _first(item, ("start", "start_offset")), _first(item, ("end", "end_offset")), label


def _first(item: Mapping[str, Any], keys: Iterable[str]) -> Any:
    return next((item[key] for key in keys if item.get(key) is not None), None)


def _from_utf16(text: str, start: int, end: int, written: str, column: str) -> tuple[int, int]:
    """Return the offsets in characters of a span that counts in UTF-16 units, as browsers do."""
    units = text.encode("utf-16-le", "surrogatepass")
    before, piece = units[: 2 * start], units[2 * start : 2 * end]
    if piece.decode("utf-16-le", "replace") == written:
        begin = len(before.decode("utf-16-le", "replace"))
        return begin, begin + len(written)
    reason = "does not match the text at its offsets; correct the offsets"
    raise RowError(f"`{column}`: the span {quoted(written)} {reason}", f"`{column}`: the text of a span {reason}")


def _trimmed(text: str, span: Annotation, column: str) -> Annotation:
    """Return a span without the spaces at its ends.

    Raises:
        RowError: It is not in the text, or holds nothing but spaces.
    """
    if not 0 <= span.start < span.end <= len(text):
        place = f"from {span.start} to {span.end}"
        raise RowError(
            f"`{column}`: the {span.type} span {place} is not within the text, which has {len(text):,} characters; "
            "correct it, or remove the row",
            f"`{column}`: a span is not within the text; correct it, or remove the row",
        )
    piece = text[span.start : span.end]
    if piece.isspace():
        raise RowError(
            f"`{column}`: the {span.type} span at {span.start} contains only spaces",
            f"`{column}`: a span contains only spaces",
        )
    start = span.start + len(piece) - len(piece.lstrip())
    return Annotation(start, start + len(piece.strip()), span.type)


def _is_inside(place: int, words: Sequence[tuple[int, int]]) -> bool:
    """Return whether a place is within a word, not at its ends; words are in order."""
    before = bisect_left(words, (place, 0)) - 1
    return before >= 0 and place < words[before][1]


def _divided(word: tuple[int, int], edges: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the parts of a word between edges, which are in order."""
    start, end = word
    bounds = [start, *edges[bisect_right(edges, start) : bisect_left(edges, end)], end]
    yield from pairwise(bounds)


@lru_cache(maxsize=65536)
def _kind(character: str) -> str:
    """Return whether a character is a letter of a word, a word by itself, a mark of what precedes it, or a space."""
    category = unicodedata.category(character)
    if category[0] == "M" or category == "Cf":
        return "mark"
    if character.isspace() or category[0] in "ZC":
        return ""
    if category[0] not in "LN":
        return "other"
    return "alone" if any(first <= ord(character) <= last for first, last in _ALONE) else "letter"
