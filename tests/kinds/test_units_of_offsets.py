"""Offsets of spans that count bytes or UTF-16 units where characters are expected."""

import json

import pytest

from xmodctl.catalog import catalog
from xmodctl.data import load_rows

TASK = catalog.task("entities").with_values(
    {"columns": {"tokens": "text", "tags": "spans"}, "labels": ["O", "B-PER", "I-PER"], "languages": ["en"]}, origin=""
)
TEXTS = ("Zoë Müller läuft mit Ada", "Früh läuft Zoë nach Köln", "\N{GRINNING FACE} Ada runs to \N{GRINNING FACE} Zoë")
NAMES = (("Zoë Müller", "Ada"), ("Zoë",), ("Ada", "Zoë"))


def notes(folder, size, rows=4):
    """Return the notes on texts whose offsets count what `size` says of each text before them."""
    lines = []
    for number in range(rows * len(TEXTS)):
        text, names = TEXTS[number % 3], NAMES[number % 3]
        starts = [text.index(name) for name in names]
        spans = [
            [size(text[:start]), size(text[: start + len(name)]), "PER"]
            for start, name in zip(starts, names, strict=True)
        ]
        lines.append(json.dumps({"text": text, "spans": [span for span in spans if span[1] <= len(text)]}))
    (folder / "en").mkdir()
    (folder / "en" / "test.jsonl").write_text("\n".join(lines))
    return load_rows(TASK, "en", "test", folder=folder).notes


@pytest.mark.parametrize(
    ("unit", "size"),
    [
        ("bytes of UTF-8", lambda text: len(text.encode())),
        ("UTF-16 units", lambda text: len(text.encode("utf-16-le")) // 2),
    ],
)
def test_offsets_that_count_something_else_are_noted(tmp_path, unit, size):
    (note,) = notes(tmp_path, size)
    assert "spans begin or end inside a word, which is split there; " in note
    assert note.endswith(f" would not if offsets count {unit}: convert these")


def test_offsets_in_characters_are_not_suspected(tmp_path):
    assert notes(tmp_path, len) == ()


def test_spans_within_words_are_not_taken_for_other_offsets(tmp_path):
    (tmp_path / "en").mkdir()
    rows = [{"text": f"Zoës Auto {n} fährt nach Köln", "spans": [[0, 3, "PER"]]} for n in range(5)]
    (tmp_path / "en" / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (note,) = load_rows(TASK, "en", "test", folder=tmp_path).notes
    assert note.endswith("5 of 5 spans begin or end inside a word, which is split there")
