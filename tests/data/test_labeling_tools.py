"""Texts with spans as labeling tools export them, turned into words and tags."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmodctl.catalog import catalog as library
from xmodctl.core.errors import UserError
from xmodctl.core.mistakes import RowError
from xmodctl.data import load_rows
from xmodctl.data.own_data import fit
from xmodctl.kinds import KINDS
from xmodctl.kinds.annotations import tagged_text, word_offsets
from xmodctl.kinds.spans import spans

TEXT = "Ann Lee flew to Oslo, then to Rome."
SPANS = [(0, 7, "PER"), (16, 20, "LOC"), (30, 34, "LOC")]
WORDS = ["Ann", "Lee", "flew", "to", "Oslo", ",", "then", "to", "Rome", "."]
OBJECTS = [{"start": start, "end": end, "label": label} for start, end, label in SPANS]


def result(start: int, end: int, label: str) -> dict[str, Any]:
    value = {"start": start, "end": end, "text": TEXT[start:end], "labels": [label]}
    return {"type": "labels", "from_name": "label", "to_name": "text", "value": value}


EXPORTS: dict[str, tuple[str, Any]] = {
    "doccano": (".jsonl", {"id": 1, "text": TEXT, "label": [list(span) for span in SPANS]}),
    "doccano with relations": (
        ".jsonl",
        {
            "text": TEXT,
            "entities": [{"id": 1, "label": t, "start_offset": s, "end_offset": e} for s, e, t in SPANS],
            "relations": [],
        },
    ),
    "Prodigy": (
        ".jsonl",
        {
            "text": TEXT,
            "_input_hash": 7,
            "tokens": [{"text": "Ann", "start": 0, "end": 3, "id": 0}],
            "spans": OBJECTS,
            "answer": "accept",
        },
    ),
    "spaCy Doc.to_json": (".jsonl", {"text": TEXT, "ents": OBJECTS, "tokens": [{"id": 0, "start": 0, "end": 3}]}),
    "spaCy examples": (".json", [TEXT, {"entities": [list(span) for span in SPANS]}]),
    "Label Studio": (
        ".json",
        {
            "id": 3,
            "data": {"text": TEXT},
            "annotations": [{"was_cancelled": True, "result": []}, {"result": [result(*span) for span in SPANS]}],
        },
    ),
    "Label Studio, short": (".json", {"text": TEXT, "label": [result(*span)["value"] for span in SPANS]}),
    "CSV with JSON": (".csv", ("text,spans\n" + '"{}","{}"\n').format(TEXT, json.dumps(SPANS).replace('"', '""'))),
}


def write(path: Path, content: Any, copies: int = 3) -> Path:
    if isinstance(content, str):
        header, row = content.split("\n", 1)
        path.write_text(f"{header}\n" + row * copies)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(content) + "\n" for _ in range(copies)))
    else:
        path.write_text(json.dumps([content] * copies))
    return path


@pytest.mark.parametrize("tool", EXPORTS)
def test_the_export_of_a_tool_gives_words_and_tags_without_a_setting(tmp_path, tool):
    extension, content = EXPORTS[tool]
    data = tmp_path / "en" / f"train{extension}"
    data.parent.mkdir()
    write(data, content)
    task = fit(library.task("entities"), tmp_path, ["en"]).task
    assert task.labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert task.word_rule == "spans"
    row = load_rows(task, "en", "train", folder=tmp_path).table[0]
    assert row["tokens"] == WORDS
    tags = [task.labels[tag] for tag in row["tags"]]
    assert spans(tags, strict=True) == [("PER", 0, 2), ("LOC", 4, 5), ("LOC", 8, 9)]


def test_spacys_old_training_json_has_words_and_tags(tmp_path):
    tokens = [{"orth": word, "ner": tag} for word, tag in [("Ann", "U-PER"), ("sleeps", "O")]]
    document = {"id": 0, "paragraphs": [{"raw": "Ann sleeps", "sentences": [{"tokens": tokens}]}]}
    task = fit(library.task("entities"), write(tmp_path / "old.json", document), ["en"]).task
    rows = load_rows(task, "en", "train", folder=tmp_path / "old.json")
    assert rows.table[0]["tokens"] == ["Ann", "sleeps"]
    assert [task.labels[tag] for tag in rows.table[0]["tags"]] == ["B-PER", "O"]


def test_what_annotators_rejected_is_not_used_and_counted(tmp_path):
    rows = [{"text": TEXT, "spans": OBJECTS, "_input_hash": n, "answer": "accept"} for n in range(3)]
    rows += [{"text": TEXT, "_input_hash": 9, "answer": answer} for answer in ("reject", "ignore")]
    data = tmp_path / "en" / "train.jsonl"
    data.parent.mkdir()
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded = load_rows(fit(library.task("entities"), tmp_path, ["en"]).task, "en", "train", folder=tmp_path)
    assert len(loaded) == 3
    assert any("2 rows that the annotator did not accept: not used" in note for note in loaded.notes)


def test_choices_of_label_studio_are_labels(tmp_path):
    rows = [
        {"data": {"text": f"{label} {n}"}, "annotations": [{"result": [{"value": {"choices": [label]}}]}]}
        for n in range(10)
        for label in ("good", "bad")
    ]
    (tmp_path / "export.json").write_text(json.dumps(rows))
    assert fit(library.task("classification"), tmp_path / "export.json", ["en"]).task.labels == ("bad", "good")


@pytest.mark.parametrize("damaged", [3, "x", {"value": {}}])
def test_an_annotation_that_is_no_list_is_not_used_and_counted(damaged, tmp_path):
    rows = [
        {
            "id": n,
            "data": {"text": TEXT},
            "annotations": [{"result": [result(*span) for span in SPANS] if n else damaged}],
        }
        for n in range(20)
    ]
    (tmp_path / "export.json").write_text(json.dumps(rows))
    task = fit(library.task("entities"), tmp_path / "export.json", ["en"]).task
    loaded = load_rows(task, "en", "train", folder=tmp_path / "export.json")
    assert any("1 row whose annotation is not a list of results: not used" in note for note in loaded.notes)


def test_a_span_within_a_word_divides_it_and_is_counted(tmp_path):
    tagged = tagged_text("prefix-anti-EUisch, ok", [[12, 14, "ORG"]], "spans")
    assert tagged.tokens == ["prefix", "-", "anti", "-", "EU", "isch", ",", "ok"]
    assert (tagged.tags[4], tagged.spans, tagged.cut) == ("B-ORG", 1, 1)
    data = write(tmp_path / "cut.jsonl", {"text": "in Oslos Hafen", "spans": [[3, 7, "LOC"]]}, copies=20)
    loaded = load_rows(fit(library.task("entities"), data, ["de"]).task, "de", "train", folder=data)
    assert any("spans begin or end inside a word, which is divided there" in note for note in loaded.notes)


def test_words_keep_their_marks_and_letters_of_scripts_without_spaces_are_words():
    assert [text_of("हिन्दी में", part) for part in word_offsets("हिन्दी में")] == ["हिन्दी", "में"]
    assert [text_of("北京2024年", part) for part in word_offsets("北京2024年")] == ["北", "京", "2024", "年"]
    assert [text_of("don't stop", part) for part in word_offsets("don't stop")] == ["don", "'", "t", "stop"]


def text_of(text: str, part: tuple[int, int]) -> str:
    return text[part[0] : part[1]]


def test_offsets_in_utf16_are_converted_by_the_text_of_the_span():
    text = "\N{GRINNING FACE} Oslo is far"
    tagged = tagged_text(text, [{"start": 3, "end": 7, "text": "Oslo", "labels": ["LOC"]}], "label")
    assert dict(zip(tagged.tokens, tagged.tags, strict=True))["Oslo"] == "B-LOC"
    with pytest.raises(RowError, match="is not what the text has"):
        tagged_text(text, [{"start": 5, "end": 9, "text": "Oslo", "labels": ["LOC"]}], "label")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[0, 99, "PER"]], "not within the text"),
        ([[3, 3, "PER"]], "not within the text"),
        ([[-1, 3, "PER"]], "not within the text"),
        ([[0, 7, "PER"], [4, 7, "LOC"]], 'the spans "Ann Lee" and "Lee" overlap'),
        ([[3, 4, "PER"]], "holds only spaces"),
        ([[0, "7", "PER"]], "expected spans"),
        ([{"start": 0, "end": 3}], "expected spans"),
        ("[[0, 3", "expected spans"),
        ("Oslo", "expected spans"),
    ],
)
def test_spans_that_cannot_be_used_are_refused(value, message):
    with pytest.raises(RowError, match=message):
        tagged_text(TEXT, value, "spans")


def test_overlapping_spans_in_many_rows_are_one_finding(tmp_path):
    overlapping = {"text": TEXT, "spans": [[0, 7, "PER"], [4, 7, "LOC"]]}
    data = tmp_path / "d.jsonl"
    lines = [{"text": f"{TEXT} {n}", "spans": SPANS} for n in range(30)]
    lines += [{**overlapping, "text": f"{TEXT} and {n}"} for n in range(30)]
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    task = fit(library.task("entities"), data, ["en"]).task
    with pytest.raises(UserError, match=r"spans overlap; .*: \d+ rows \(line \d+") as caught:
        load_rows(task, "en", "train", folder=data)
    assert str(caught.value).count("spans overlap") == 1


def test_equal_spans_and_spaces_at_ends_lose_nothing():
    tagged = tagged_text(TEXT, [[0, 8, "PER"], [0, 7, "PER"]], "spans")
    assert tagged.tags[:3] == ["B-PER", "I-PER", "O"]


@given(st.text(min_size=1, max_size=30), st.data())
def test_no_span_is_lost(text, data):
    edges = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    given_spans = [
        [start, end, "AB"[number % 2]]
        for number, (start, end) in enumerate(zip(edges[::2], edges[1::2], strict=False))
        if any(a < end and start < b for a, b in word_offsets(text)) and text[start:end].strip()
    ]
    tagged = tagged_text(text, given_spans, "spans")
    assert len(spans(tagged.tags, strict=True)) == len(given_spans)


def test_predict_divides_a_text_as_the_training_data_was_divided(tmp_path):
    task = fit(library.task("entities"), write(tmp_path / "d.jsonl", EXPORTS["doccano"][1]), ["en"]).task
    kind = KINDS[task.kind]
    assert kind.plain_text_row(TEXT, 1, task).row["tokens"] == WORDS
    row = kind.json_row({"text": TEXT}, 1, task, {})
    assert [TEXT[start:end] for start, end in row.offsets] == WORDS
    plain = task.with_values({"word_rule": "spaces"}, origin="test")
    assert kind.plain_text_row(TEXT, 1, plain).row["tokens"] == TEXT.split()
