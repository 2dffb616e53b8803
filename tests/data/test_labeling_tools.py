"""Texts with spans as labeling tools export them, turned into words and tags."""

import json
import time
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
from xmodctl.evaluation.input_rows import RowMaker, read_table
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


REGIONS = [result(*span)["value"] for span in SPANS]
STUDIO = {"annotator": 1, "annotation_id": 2}
WITHOUT_SPANS: dict[str, tuple[str, Any, Any]] = {  # a record with spans, and one without
    "Label Studio": (".json", {"data": {"text": TEXT}, "annotations": [{"result": [result(*span) for span in SPANS]}]},
                     {"data": {"text": TEXT}, "annotations": [{"result": []}]}),
    "Label Studio, short": (".json", {"text": TEXT, "label": REGIONS, **STUDIO}, {"text": TEXT, **STUDIO}),
    "Label Studio, CSV": (".csv", [TEXT, json.dumps(REGIONS), 1, 2], [TEXT, "", 1, 2]),
    "Prodigy": (".jsonl", {"text": TEXT, "_input_hash": 1, "spans": OBJECTS}, {"text": TEXT, "_input_hash": 2}),
    "Prodigy, null": (".jsonl", {"text": TEXT, "_input_hash": 1, "spans": OBJECTS},
                      {"text": TEXT, "_input_hash": 2, "spans": None}),
    "Prodigy, without ids": (".jsonl", {"text": TEXT, "answer": "accept", "spans": OBJECTS},
                             {"text": TEXT, "answer": "accept"}),
    "doccano": (".jsonl", {"text": TEXT, "label": SPANS}, {"text": TEXT, "label": []}),
    "spaCy": (".jsonl", {"text": TEXT, "ents": OBJECTS}, {"text": TEXT, "ents": []}),
}  # fmt: skip


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("tool", WITHOUT_SPANS)
def test_an_annotated_text_without_spans_has_no_entities(tmp_path, tool, is_first):
    extension, full, empty = WITHOUT_SPANS[tool]
    records = [empty, full] if is_first else [full, empty]
    data = tmp_path / f"export{extension}"
    if extension == ".csv":
        cells = (",".join('"' + str(cell).replace('"', '""') + '"' for cell in row) for row in records)
        data.write_text("\n".join(["text,label,annotator,annotation_id", *cells]) + "\n")
    elif extension == ".jsonl":
        data.write_text("".join(json.dumps(row) + "\n" for row in records))
    else:
        data.write_text(json.dumps(records))
    task = library.task("entities").with_values({"split_seed": None}, origin="test")
    task = fit(task, data, ["en"]).task
    rows = load_rows(task, "en", "train", folder=data).table
    assert [len(spans([task.labels[tag] for tag in row["tags"]], strict=True)) for row in rows] == (
        [0, 3] if is_first else [3, 0]
    )


SOME = ["a", "b"]
WITHOUT_CHOICES: dict[str, tuple[str, Any, Any]] = {
    "Label Studio": (".json", {"data": {"text": "t"}, "annotations": [{"result": [{"value": {"choices": SOME}}]}]},
                     {"data": {"text": "u"}, "annotations": [{"result": []}]}),
    "Label Studio, short": (".json", {"text": "t", "topic": {"choices": SOME}, **STUDIO}, {"text": "u", **STUDIO}),
    "Prodigy": (".json", {"text": "t", "_input_hash": 1, "options": [], "accept": SOME},
                {"text": "u", "_input_hash": 2, "options": []}),
}  # fmt: skip


@pytest.mark.parametrize("tool", WITHOUT_CHOICES)
def test_an_annotated_text_without_choices_has_no_labels(tmp_path, tool):
    extension, full, empty = WITHOUT_CHOICES[tool]
    data = tmp_path / f"export{extension}"
    data.write_text(json.dumps([full, empty]))
    task = library.task("multi-label").with_values({"split_seed": None}, origin="test")
    task = fit(task, data, ["en"]).task
    assert load_rows(task, "en", "train", folder=data).table["label"][:] == [[1, 1], [0, 0]]
    one = library.task("classification").with_values({"split_seed": None, "labels": ["a", "b"]}, origin="test")
    if tool != "Label Studio, short":
        data.write_text(json.dumps([empty]) if tool == "Prodigy" else json.dumps([full, empty]))
        one = fit(one.with_values({"columns": {"text": "text", "label": "label"}}, origin="test"), data, ["en"]).task
        with pytest.raises(UserError, match="is an empty list, so the row has no label; fill it in or remove the row"):
            load_rows(one, "en", "train", folder=data)


def test_spans_that_plain_data_lacks_are_refused_with_what_to_write(tmp_path):
    rows = [{"text": TEXT, "spans": SPANS}, {"text": TEXT, "spans": None}, {"text": TEXT}]
    data = tmp_path / "d.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = library.task("entities").with_values({"split_seed": None}, origin="test")
    with pytest.raises(UserError, match=r"write \[\] if there are none, or remove the row: 2 rows"):
        load_rows(fit(task, data, ["en"]).task, "en", "train", folder=data)
    document = {"text": TEXT, "tokens": [{"id": 0, "start": 0, "end": 3}]}  # of spaCy, without entities
    data.write_text("".join(json.dumps(row) + "\n" for row in [document, {**document, "ents": OBJECTS}]))
    with pytest.raises(UserError, match=r"d\.jsonl:1: `ents` is empty \(null\); write \[\]|row has no `ents`"):
        load_rows(fit(task, data, ["en"]).task, "en", "train", folder=data)


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


def test_choices_of_prodigy_without_ids_are_labels(tmp_path):
    options = [{"id": label, "text": label} for label in SOME]
    rows = [{"text": f"t {n}", "options": options, "accept": [SOME[n % 2]], "answer": "accept"} for n in range(6)]
    rows += [{"text": "t", "options": options, "answer": answer} for answer in ("reject", "ignore")]
    data = tmp_path / "en" / "train.jsonl"
    data.parent.mkdir()
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded = load_rows(fit(library.task("classification"), tmp_path, ["en"]).task, "en", "train", folder=tmp_path)
    assert loaded.table["label"][:] == [0, 1] * 3
    assert any("2 rows that the annotator did not accept: not used" in note for note in loaded.notes)


def test_answers_of_other_data_that_read_like_decisions_of_annotators_are_labels(tmp_path):
    rows = [{"text": f"t {n}", "answer": ("accept", "reject")[n % 2]} for n in range(6)]
    data = tmp_path / "en" / "train.jsonl"
    data.parent.mkdir()
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = library.task("classification").with_values({"columns.label": "answer"}, origin="test")
    task = fit(task, tmp_path, ["en"]).task
    assert load_rows(task, "en", "train", folder=tmp_path).table["label"][:] == [0, 1] * 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.spacy", "", "write `json.dumps\\(doc.to_json\\(\\)\\)` of each document as a line of d.jsonl"),
        ("d.ann", "T1\tPER 0 3\tAda", 'of d.jsonl, such as {"text": "Ada sleeps", "spans": '),
        ("d.zip", "", "archives are not read; unpack it"),
        ("d.xmi", "", "export the annotations as CoNLL 2002"),
        ("d.tsv", "#FORMAT=WebAnno TSV 3.3\n", "is in the format of WebAnno and INCEpTION.* as CoNLL 2002"),
        (
            "brat/doc.txt",
            "Ada sleeps",
            "brat's annotations are not read; write each document as a line of annotations.j",
        ),
    ],
)
def test_formats_that_are_not_read_are_told_with_what_to_export(tmp_path, name, content, message):
    data = tmp_path / name
    data.parent.mkdir(exist_ok=True)
    data.write_text(content)
    if data.parent != tmp_path:
        data.with_suffix(".ann").write_text("T1\tPER 0 3\tAda\n")
        data = data.parent
    with pytest.raises(UserError, match=message):
        load_rows(fit(library.task("entities"), data, ["en"]).task, "en", "train", folder=data)


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
    assert any("spans begin or end inside a word, which is split there" in note for note in loaded.notes)


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
    with pytest.raises(RowError, match="does not match the text"):
        tagged_text(text, [{"start": 5, "end": 9, "text": "Oslo", "labels": ["LOC"]}], "label")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[0, 99, "PER"]], "not within the text"),
        ([[3, 3, "PER"]], "not within the text"),
        ([[-1, 3, "PER"]], "not within the text"),
        ([[0, 7, "PER"], [4, 7, "LOC"]], 'the spans "Ann Lee" and "Lee" overlap'),
        ([[3, 4, "PER"]], "contains only spaces"),
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


@pytest.mark.slow
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


TEXTS = [f"text {n}" for n in range(30)]
SETS = [(["a"], ["a", "b"], ["b"])[n % 3] for n in range(30)]
ONES = ["ab"[n % 2] for n in range(30)]
HALVES = [n / 2 for n in range(30)]
MARKS = {"annotator": 1, "annotation_id": 2}
WORDS_OF_SPACY = [{"start": 0, "end": 4, "pos": "X"}, {"start": 5, "end": 6, "pos": "Y"}]
WORDS_OF_PRODIGY = [{"start": 0, "end": 4}, {"start": 5, "end": 6}]
TAGS = [{"start": 0, "end": 4, "label": "X"}, {"start": 5, "end": 6, "label": "Y"}]


def studio(answers: list[dict[str, Any]]) -> str:
    rows = zip(TEXTS, answers, strict=True)
    return json.dumps(
        [{"data": {"text": text}, "annotations": [{"result": [{"value": value}]}]} for text, value in rows]
    )


def json_lines(**columns: Any) -> str:
    rows = (dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True))
    return "".join(json.dumps(row) + "\n" for row in rows)


def quoted_csv(header: str, *columns: Any) -> str:
    rows = zip(TEXTS, *columns, strict=True)
    cells = (",".join('"' + str(cell).replace('"', '""') + '"' for cell in row) for row in rows)
    return "\n".join([header, *cells]) + "\n"


NUMBERED = {"text": TEXTS, "_input_hash": range(30)}
ANSWERS: dict[str, tuple[str, str, str, list[Any]]] = {
    "Prodigy, one label": (
        "classification", ".jsonl",
        json_lines(**NUMBERED, _view_id=["classification"] * 30, label=["a"] * 30, answer=["accept", "reject"] * 15),
        ["a", "not a"] * 15,
    ),
    "Prodigy, tags": (
        "tagging", ".jsonl",
        json_lines(**NUMBERED, tokens=[WORDS_OF_PRODIGY] * 30, spans=[TAGS] * 30), [["X", "Y"]] * 30,
    ),
    "spaCy, tags": (
        "tagging", ".jsonl", json_lines(text=TEXTS, ents=[[]] * 30, tokens=[WORDS_OF_SPACY] * 30), [["X", "Y"]] * 30,
    ),
    "spaCy, categories": (
        "classification", ".json",
        json.dumps([[text, {"cats": {"a": 1.0 - n % 2, "b": n % 2}}] for n, text in enumerate(TEXTS)]),
        ONES,
    ),
    "Label Studio, rating": ("regression", ".json", studio([{"rating": n} for n in range(30)]), [*range(30)]),
    "Label Studio, number": ("regression", ".json", studio([{"number": n / 2} for n in range(30)]), HALVES),
    "Label Studio, choices": ("multi-label", ".json", studio([{"choices": names} for names in SETS]), SETS),
    "Label Studio, short rating": (
        "regression", ".json",
        json.dumps([{"text": text, "rating": [{"rating": n % 5}], **MARKS} for n, text in enumerate(TEXTS)]),
        [n % 5 for n in range(30)],
    ),
    "Label Studio, CSV": (
        "multi-label", ".csv",
        quoted_csv(
            "text,topics,annotator,annotation_id",
            [names[0] if len(names) == 1 else json.dumps({"choices": names}) for names in SETS], range(30), range(30),
        ),
        SETS,
    ),
    "doccano, one label": ("classification", ".jsonl", json_lines(text=TEXTS, label=[[one] for one in ONES]), ONES),
    "doccano, CSV": ("multi-label", ".csv", quoted_csv("text,label", map("#".join, SETS)), SETS),
    "datasets, CSV": (
        "multi-label", ".csv", quoted_csv("text,label", [str(names).replace(",", "") for names in SETS]), SETS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ANSWERS)
def test_the_answers_of_a_tool_are_read_without_a_setting(tmp_path, case):
    name, extension, content, answers = ANSWERS[case]
    data = tmp_path / f"export{extension}"
    data.write_text(content)
    task = fit(library.task(name), data, ["en"]).task.with_values({"split_seed": None}, origin="test")
    rows = load_rows(task, "en", "train", folder=data)
    kind = KINDS[task.kind]
    assert [kind.named_row(row, task)[kind.gold_column] for row in rows.table] == answers
    assert len(rows) == len({row.get("text") or rows.table[n]["id"] for n, row in enumerate(rows.table)}) == 30


def test_tasks_without_answers_of_label_studio_are_predicted_all_the_same(tmp_path):
    file = tmp_path / "tasks.json"
    file.write_text(json.dumps([{"data": {"text": text}, "annotations": []} for text in TEXTS]))
    task = library.task("classification").with_values({"columns": {"text": "text", "label": "label"}}, origin="test")
    rows = list(read_table(file, ".json", RowMaker(task, "en_XX")))
    assert [row.row["text"] for row in rows] == TEXTS


def test_the_only_language_of_the_training_data_is_that_of_rows_that_do_not_give_one(tmp_path):
    data = tmp_path / "d.jsonl"
    data.write_text(json_lines(text=TEXTS, label=ONES))
    task, notices = fit(library.task("classification"), data, ["en"]).task, []
    rows = list(read_table(data, ".jsonl", RowMaker(task, None, listen=notices.append)))
    assert {row.adapter for row in rows} == {"en"}
    assert ["only language of the training data" in notice.text for notice in notices] == [True]
    data = tmp_path / "d.csv"
    data.write_text("\n".join([",text", *(f"{n},{text}" for n, text in enumerate(TEXTS))]))  # the index of pandas
    assert {row.adapter for row in read_table(data, ".csv", RowMaker(task, None))} == {"en"}
    data = tmp_path / "d.jsonl"
    data.write_text(json_lines(text=TEXTS, label=ONES, lang=["en", "en", "de"] * 10))
    task = fit(library.task("classification"), data, ["en"]).task
    data.write_text(json_lines(text=TEXTS))
    with pytest.raises(UserError, match="does not give its language"):
        list(read_table(data, ".jsonl", RowMaker(task, None)))


def test_a_book_with_thousands_of_spans_is_read_in_seconds():
    count = 20_000
    spans = [[5 * number, 5 * number + 9, "PER"] for number in range(0, count, 4)]
    started = time.perf_counter()
    words = tagged_text("word " * count, spans, "spans")
    assert time.perf_counter() - started < 30  # one word or span after the other; each span by each word takes minutes
    assert words.tokens == ["word"] * count
    assert words.tags == ["B-PER", "I-PER", "O", "O"] * (count // 4)
