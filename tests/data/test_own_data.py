"""Data that no task describes: its columns, languages, labels, and splits."""

import json
import re
import shlex
import subprocess
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from xmodctl.catalog import catalog as library
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.schema import parse_override
from xmodctl.data import coverage, load_rows
from xmodctl.data.own_data import FittedTask, fit
from xmodctl.data.splitting import SplittableRow, split_rows
from xmodctl.languages import same

LABELS = ("billing", "login", "shipping")


def csv_text(rows: list[tuple[str, ...]], header: str = "body,category,lang", mark: str = ",") -> str:
    lines = [header.replace(",", mark), *(mark.join(f'"{cell}"' for cell in row) for row in rows)]
    return "\n".join(lines) + "\n"


def tickets(count: int = 60) -> list[tuple[str, ...]]:
    return [(f"text {i}", LABELS[i % 3], ("en", "de")[i % 2]) for i in range(count)]


def put(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(task: str | Task, data: Path, *languages: str) -> str:
    with pytest.raises(UserError) as caught:
        fit(library.task(task) if isinstance(task, str) else task, data, languages or ["en"])
    return str(caught.value)


def remedied(task: str, data: Path, message: str) -> FittedTask:
    """Fit again with each `--set` and `--lang-column` of a message, as a shell would pass them."""
    words = shlex.split(message[message.index("--") :].replace(",", " , "))
    pairs = list(pairwise(words))
    changes = dict(parse_override(value.replace(" , ", ",")) for word, value in pairs if word == "--set")
    changes |= dict(("language_column", value) for word, value in pairs if word == "--lang-column")  # noqa: C402
    assert changes, message
    return fit(library.task(task).with_values(changes, origin="--set"), data, ["en"])


def test_one_file_gives_columns_languages_labels_and_splits(tmp_path):
    data = put(tmp_path, "tickets.csv", csv_text(tickets()))
    fitted = fit(library.task("classification"), data, ["en"])
    task = fitted.task
    assert task.columns == {"text": "body", "label": "category"}
    assert (task.labels, task.language_column, list(task.languages)) == (LABELS, "lang", ["en", "de"])
    assert set(task.from_data) == {"columns", "language_column", "languages", "labels"}
    assert not task.is_open
    assert not fitted.cautions
    assert "text from `body`, label from `category`, language from `lang`" in fitted.remarks[0]
    assert coverage(task, data) == dict.fromkeys(("de", "en"), ("train", "validation", "test"))
    loaded = {
        (language, split): load_rows(task, language, split, folder=data).table["text"][:]
        for language in ("en", "de")
        for split in ("train", "validation", "test")
    }
    texts = [text for part in loaded.values() for text in part]
    assert sorted(texts) == sorted(row[0] for row in tickets())
    assert [len(loaded["en", split]) for split in ("train", "validation", "test")] == [24, 3, 3]


def test_a_stored_task_is_complete_and_reads_the_same_rows(tmp_path):
    data = put(tmp_path, "tickets.csv", csv_text(tickets()))
    task = fit(library.task("classification"), data, ["en"]).task
    again = Task.model_validate(json.loads(json.dumps(task.model_dump(mode="json"))))
    assert again == task
    assert (
        load_rows(again, "en", "test", folder=data).fingerprint
        == load_rows(task, "en", "test", folder=data).fingerprint
    )
    assert fit(task, data, ["en"]).task.labels == task.labels


def test_a_split_column_is_used_and_a_language_need_not_be_given(tmp_path):
    rows = [(f"t{i}", LABELS[i % 2], ("train", "Dev", "test")[i % 3]) for i in range(12)]
    data = put(tmp_path, "one.tsv", "".join("\t".join(row) + "\n" for row in [("text", "label", "split"), *rows]))
    task = fit(library.task("classification"), data, ["German"]).task
    assert (task.split_column, list(task.languages)) == ("split", ["German"])
    assert coverage(task, data) == {"German": ("train", "validation", "test")}
    assert load_rows(task, "de", "validation", folder=data).table["text"][:] == ["t1", "t4", "t7", "t10"]
    with pytest.raises(UserError, match="no column gives the row's language"):
        load_rows(task, "fr", "test", folder=data)


@pytest.mark.parametrize("layout", ["en/train.csv de/test.csv", "train.csv test.csv"])
def test_a_folder_of_languages_or_of_splits_is_read(tmp_path, layout):
    for name in layout.split():
        language = name.partition("/")[0] if "/" in name else "en"
        put(tmp_path, name, csv_text([(row[0], row[1], language) for row in tickets(12)]))
    task = fit(library.task("classification"), tmp_path, ["en"]).task
    assert task.labels == LABELS
    assert "train" in coverage(task, tmp_path)["en"]


def test_rows_with_the_same_text_stay_together_and_strata_are_divided_alike():
    rows = [SplittableRow(i, ("en", str(i % 2)), f"Text  {i // 3 % 200}") for i in range(1200)]
    rows += [SplittableRow(2000 + i, ("de", "0"), f" text {i} ") for i in range(200)]
    splits = split_rows(rows, 1)
    by_text: dict[str, set[str]] = {}
    for row in rows:
        by_text.setdefault(row.content.strip().casefold().replace("  ", " "), set()).add(splits[row.number])
    assert all(len(parts) == 1 for parts in by_text.values())
    assert splits == split_rows(list(rows), 1)
    assert splits != split_rows(rows, 2)
    for label in "01":
        counts = Counter(splits[row.number] for row in rows if row.stratum == ("en", label))
        assert counts["train"] / counts.total() == pytest.approx(0.8, abs=0.05)
        assert counts["test"] / counts.total() == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize(
    ("count", "parts"), [(1, {"train"}), (2, {"train", "test"}), (3, {"train", "test", "validation"})]
)
def test_few_rows_are_trained_on_first(count, parts):
    assert set(split_rows([SplittableRow(i, ("en",), str(i)) for i in range(count)], 1).values()) == parts


@pytest.mark.parametrize(
    ("names", "header"),
    [
        (("Englisch", "Deutsch"), "Sprache"),
        (("anglais", "allemand"), "langue"),
        (("Inglés", "Alemán"), "idioma"),
        (("английский", "немецкий"), "язык"),
    ],
)
def test_a_column_with_names_of_languages_in_another_language_gives_the_language(tmp_path, names, header):
    rows = [(text, label, names[code == "de"]) for text, label, code in tickets()]
    data = put(tmp_path, "tickets.csv", csv_text(rows, header=f"body,category,{header}"))
    fitted = fit(library.task("classification"), data, ["en"])
    assert fitted.task.language_column == header
    assert {*fitted.task.languages} == {*names}
    assert len(load_rows(fitted.task, "de", "train", folder=data).table) == 24
    assert any(f"language from `{header}`" in remark for remark in fitted.remarks)


def test_a_semicolon_is_noticed_and_quoted_line_breaks_are_kept(tmp_path):
    rows = [(f"a; b\n{i}", *row[1:]) for i, row in enumerate(tickets())]
    data = put(tmp_path, "tickets.csv", csv_text(rows, mark=";"))
    task = fit(library.task("classification"), data, ["en"]).task
    loaded = load_rows(task, "en", "train", folder=data)
    assert all("a; b\n" in text for text in loaded.table["text"])
    assert any('separated by ";"' in note for note in loaded.notes)


@pytest.mark.parametrize(
    ("header", "column"),
    [("text,comment,label,lang", None), ("review,comment,label,lang", "review"), ("blurb,x,label,lang", "blurb")],
)
def test_a_column_is_found_only_if_it_is_clear_which(tmp_path, header, column):
    rows = [(row[0], "other", row[1], row[2]) for row in tickets()]
    data = put(tmp_path, "d.csv", csv_text(rows, header=header))
    if column is None:
        assert fit(library.task("classification"), data, ["en"]).task.columns["text"] == "text"
        return
    message = refusal("classification", data)
    assert f"--set columns.text={column}" in message
    assert remedied("classification", data, message).task.columns["text"] == column


def test_several_language_columns_are_refused_with_the_option_that_chooses(tmp_path):
    rows = [(*row[:2], row[2], "en_US") for row in tickets()]
    data = put(tmp_path, "d.csv", csv_text(rows, header="text,label,lang,locale"))
    message = refusal("classification", data)
    assert remedied("classification", data, message).task.language_column == "lang"


def test_a_label_that_no_training_row_has_is_reported_once_with_its_rows(tmp_path):
    rows = [*tickets(), *[(f"back {i}", "refund", "de") for i in range(15)]]
    data = put(tmp_path, "d.csv", csv_text(rows))
    message = refusal("classification", data)
    assert 'no training row has the label "refund" (15 rows: ' in message
    fitted = remedied("classification", data, message)
    assert fitted.task.labels == ("billing", "login", "refund", "shipping")
    assert "refund" in [
        fitted.task.labels[label] for label in load_rows(fitted.task, "de", "train", folder=data).table["label"]
    ]


def test_numbers_in_place_of_words_are_never_ids(tmp_path):
    put(tmp_path, "en/train.csv", csv_text(tickets()))
    put(tmp_path, "de/test.csv", csv_text([(row[0], str(i % 3), row[2]) for i, row in enumerate(tickets())]))
    assert "labels are words in the training rows" in refusal("classification", tmp_path)
    (tmp_path / "de/test.csv").unlink()
    task = fit(library.task("classification"), tmp_path, ["en"]).task
    put(tmp_path, "de/test.csv", csv_text([(row[0], str(i % 3), row[2]) for i, row in enumerate(tickets())]))
    with pytest.raises(UserError, match='`category` is "0", which no row of the training data has: 20 rows'):
        load_rows(task, "de", "test", folder=tmp_path)


def test_labels_that_are_numbers_are_ordered_by_value(tmp_path):
    rows = [(row[0], str(number % 12), row[2]) for number, row in enumerate(tickets(96))]
    task = fit(library.task("classification"), put(tmp_path, "d.csv", csv_text(rows)), ["en", "de"]).task
    assert task.labels == tuple(map(str, range(12)))


def test_labels_that_differ_in_case_are_the_same_and_reported(tmp_path):
    rows = [*tickets(), ("more", "Billing", "en"), ("again", "Billing", "en")]
    fitted = fit(library.task("classification"), put(tmp_path, "d.csv", csv_text(rows)), ["en"])
    assert fitted.task.labels == LABELS
    assert "differ only in case" in fitted.cautions[0]


def test_rows_in_no_known_language_are_counted(tmp_path):
    codes = ["x1", "x1", "Germn", "x1", "jp"]
    rows = [*tickets(), *[(f"odd {i}", "login", code) for i, code in enumerate(codes)]]
    data = put(tmp_path, "d.csv", csv_text(rows))
    fitted = fit(library.task("classification"), data, ["en"])
    first = len(tickets()) + 2
    assert fitted.cautions[0] == (
        f"{data}: not the code or the name of a known language: `x1`: 3 rows: {data}:{first}, {data}:{first + 1}, "
        f"{data}:{first + 3}; `Germn` (did you mean de?): 1 row: {data}:{first + 2}; `jp` (did you mean ja?): 1 row: "
        f"{data}:{first + 4}. Correct this in the file, or such rows are scored only with "
        "--langs x1=ADAPTER,Germn=ADAPTER,jp=ADAPTER"
    )


RENAMED = {
    "folders": ["en/my_train.csv", "en/my_test.csv", "de/my_test.csv", "sw/my_test.csv", "sw/my_dev.csv"],
    "beside folders that are read": ["en/train.csv", "en/test.csv", "de/my_test.csv", "sw/my_test.csv"],
    "names": ["train_English.csv", "test_English.csv", "test_German.csv", "test_Swahili.csv", "test_klingonish.csv"],
    "other words": ["en/it's training.csv", "en/testing 2.csv", "de/testing 2.csv", "sw/testing 2.csv"],
}


@pytest.mark.parametrize("files", RENAMED.values(), ids=[*RENAMED])
def test_one_command_renames_the_files_of_all_languages(tmp_path, files):
    folder = tmp_path / "my data"
    for name in files:
        put(folder, name, csv_text([(row[0], row[1], "") for row in tickets()], header="text,label,note"))
    task = library.task("classification")
    try:
        fitted = fit(task, folder, ["en"])
        load_rows(fitted.task, "en", "train", folder=folder)
        (message,) = fitted.cautions
    except UserError as error:
        message = str(error)
    command = re.split(r"rename (?:it|them): |to read what is clear, run: ", message)[1]
    subprocess.run(command, shell=True, check=True)
    fitted = fit(task, folder, ["en"])
    covered = coverage(fitted.task, folder)
    assert {code for language in ("en", "de", "sw") for code in covered if same(code, language)} == {*covered}
    assert len(covered) == 3
    assert all("test" in splits for splits in covered.values())
    assert not [text for text in fitted.cautions if "not read" in text and "klingonish" not in text]


def test_a_file_whose_name_says_another_split_is_not_renamed_to_the_one_that_is_missing(tmp_path):
    path = put(tmp_path, "de/my_test.csv", "text,label\na,a\n")
    task = library.task("classification").with_values({"labels": ["a", "b"]}, origin="--set")
    with pytest.raises(UserError) as caught:
        load_rows(task, "de", "train", folder=tmp_path)
    assert str(caught.value).endswith(f"rename it: mv {path} {path.parent}/test.csv")


BAD: dict[str, tuple[str, str]] = {
    "a header only": ("text,label,lang\n", "contains no rows"),
    "nothing": ("", "is empty"),
    "one class": (csv_text([(row[0], "a", row[2]) for row in tickets()]), 'every training row has the label "a"'),
    "no labels": (csv_text([(row[0], "", row[2]) for row in tickets()]), "no training row has a label"),
    "an empty language": (csv_text([*tickets(), ("x", "login", ""), ("y", "login", "")]), '`lang` is ""; write the'),
    "no rows in the language": (csv_text([(*row[:2], "de") for row in tickets()]), "try --lang de"),
    "no header": (csv_text(tickets(), header="My text,shipping,en"), "add a header line above it"),
    "an unknown split": (csv_text([(*row, "A") for row in tickets()], header="text,label,lang,split"), "`split`"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_with_one_clear_message(tmp_path, case):
    text, expected = BAD[case]
    message = refusal("classification", put(tmp_path, "d.csv", text))
    assert expected in message
    assert "d.csv" in message
    assert message.count("\n") <= 1


def test_mixed_encodings_are_one_finding(tmp_path):
    text = csv_text([*tickets(), *[("straße", "login", "de")] * 7]).encode()
    data = put(tmp_path, "d.csv", text.replace("ß".encode(), "ß".encode("latin-1")))
    assert "not UTF-8; save the file as UTF-8: 7 rows" in refusal("classification", data)


def test_an_empty_label_is_reported_by_its_line(tmp_path):
    data = put(tmp_path, "d.csv", csv_text([*tickets(), ("x", "", "en")]))
    task = fit(library.task("classification"), data, ["en"]).task
    splits = ("train", "validation", "test")
    with pytest.raises(UserError, match=r"d.csv:62: `category` is empty; fill it in"):
        [load_rows(task, "en", split, folder=data) for split in splits]


def test_ids_are_used_only_if_they_are_unique(tmp_path):
    rows = [(*row, "7") for row in tickets()]
    fitted = fit(library.task("classification"), put(tmp_path, "d.csv", csv_text(rows, "text,label,lang,id")), ["en"])
    assert "id" not in fitted.task.columns
    assert "not unique" in fitted.cautions[0]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    return put(path.parent, path.name, "".join(json.dumps(row) + "\n" for row in rows))


def test_the_other_kinds_find_their_columns_and_labels(tmp_path):
    entities = [{"tokens": ["a", "b"], "ner_tags": ["B-PER", "O"], "lang": "en"} for _ in range(4)]
    task = fit(library.task("entities"), write_rows(tmp_path / "e.jsonl", entities), ["en"]).task
    assert (task.columns["tags"], task.labels) == ("ner_tags", ("O", "B-PER", "I-PER"))

    pairs = [{"premise": f"a{i}", "hypothesis": "b", "label": ("yes", "no")[i % 2]} for i in range(20)]
    task = fit(library.task("pairs"), write_rows(tmp_path / "p.jsonl", pairs), ["en"]).task
    assert task.columns == {"text": "premise", "text_pair": "hypothesis", "label": "label"}
    assert task.labels == ("no", "yes")

    words = [{"tokens": ["a", "b"], "upos": ["DET", ("X", "NOUN")[i % 2]]} for i in range(20)]
    task = fit(library.task("tagging"), write_rows(tmp_path / "w.jsonl", words), ["en"]).task
    assert (task.columns["tags"], task.labels) == ("upos", ("DET", "NOUN", "X"))

    sets = [{"text": f"a{i}", "topics": "b|c" if i % 2 else ["a"]} for i in range(20)]
    task = fit(library.task("multi-label"), write_rows(tmp_path / "m.jsonl", sets), ["en"]).task
    assert task.labels == ("a", "b", "c")

    numbers = "sentence1,sentence2,score\n" + "".join(f"a{i},b,{i / 7}\n" for i in range(20))
    task = fit(library.task("regression"), put(tmp_path, "n.csv", numbers), ["en"]).task
    assert task.columns == {"text": "sentence1", "text_pair": "sentence2", "label": "score"}
    assert len(load_rows(task, "en", "test", folder=tmp_path / "n.csv")) == 2

    choices = "premise,choice1,choice2,label\n" + "".join(f"p{i},x,y,{i % 2}\n" for i in range(20))
    task = fit(library.task("choices"), put(tmp_path, "c.csv", choices), ["en"]).task
    assert task.columns == {"context": "premise", "choices": ["choice1", "choice2"], "label": "label"}

    questions = [
        {"context": f"The cat {i}", "question": "who?", "answers": {"text": ["cat"], "answer_start": [4]}}
        for i in range(20)
    ]
    task = fit(library.task("answers"), write_rows(tmp_path / "q.jsonl", questions), ["en"]).task
    assert coverage(task, tmp_path / "q.jsonl") == {"en": ("train", "validation", "test")}


def test_numbers_of_tags_are_refused_with_what_names_them(tmp_path):
    data = write_rows(tmp_path / "e.jsonl", [{"tokens": ["a", "b"], "ner_tags": [0, 1]} for _ in range(9)])
    message = refusal("entities", data)
    assert "no training row has a label in `ner_tags`, whose first value is [0, 1]; if these are numbers" in message
    named = library.task("entities").with_values({"labels": ["O", "B-A", "I-A"]}, origin="--set")
    assert load_rows(fit(named, data, ["en"]).task, "en", "train", folder=data).table["tags"][0] == [0, 1]


def test_files_of_tagged_words_and_squad_documents_are_read(tmp_path):
    put(tmp_path, "words/en/train.conll", "Oslo B-LOC\nsleeps O\n\nAnn B-PER\nruns O\n")
    assert fit(library.task("entities"), tmp_path / "words", ["en"]).task.labels[1:] == (
        "B-LOC",
        "I-LOC",
        "B-PER",
        "I-PER",
    )


def test_the_guides_five_lines_are_a_task(tmp_path):
    guide = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
    text = guide.split("<!-- five lines -->\n```yaml\n")[1].split("```")[0]
    assert len(text.splitlines()) == 5
    task = library.task(str(put(tmp_path, "tickets.yaml", text)))
    assert task.recipe_for("mini") == "nli-mini"
    data = put(tmp_path, "tickets.csv", csv_text(tickets()))
    fitted = fit(task, data, ["en"]).task
    assert fitted.labels == ("billing", "shipping", "login")
    assert len(load_rows(fitted, "de", "test", folder=data)) == 3


def test_numbers_with_a_fraction_are_sent_to_regression(tmp_path):
    rows = [(row[0], f"{number % 7}.5", row[2]) for number, row in enumerate(tickets())]
    data = put(tmp_path, "d.csv", csv_text(rows, "text,score,lang"))
    assert "use --task regression" in refusal("classification", data)
    assert fit(library.task("regression"), data, ["en"]).task.columns == {"text": "text", "label": "score"}


@pytest.mark.parametrize("is_file", [True, False])
def test_arrow_files_and_streams_are_read(tmp_path, is_file):
    import pyarrow as pa
    import pyarrow.ipc

    table = pa.table(dict(zip(("text", "label", "lang"), map(list, zip(*tickets(), strict=True)), strict=True)))
    path = tmp_path / "d.arrow"
    with (pa.ipc.new_file if is_file else pa.ipc.new_stream)(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    task = fit(library.task("classification"), path, ["en"]).task
    assert len(load_rows(task, "en", "train", folder=path)) == 24
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="is not an Arrow file"):
        load_rows(task, "en", "train", folder=path)


def test_a_folder_with_a_single_file_names_the_file(tmp_path):
    data = put(tmp_path / "my data", "tickets.csv", csv_text(tickets()))
    message = refusal("classification", data.parent)
    assert shlex.split(message[message.index("--data") :]) == ["--data", str(data)]


def test_what_stands_for_no_label_is_no_label_and_reported(tmp_path):
    rows = [(row[0], str(number % 3 - 1), row[2]) for number, row in enumerate(tickets())]
    data = put(tmp_path, "d.csv", csv_text(rows))
    fitted = fit(library.task("classification"), data, ["en"])
    assert fitted.task.labels == ("0", "1")
    assert "-1 counts as no label (8 training rows)" in fitted.cautions[0]
    assert remedied("classification", data, fitted.cautions[0]).task.labels == ("-1", "0", "1")


@pytest.mark.parametrize("write", [lambda path: path.resolve(), lambda path: path, lambda path: Path("link") / path])
@pytest.mark.parametrize("name", ["tickets.csv", "a-folder"])
def test_a_path_may_be_written_in_another_way_than_before(name, write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [f"the text number {number},{'ab'[number % 2]},en" for number in range(40)]
    Path("a-folder").mkdir()
    Path("link").symlink_to(tmp_path)
    for path in (Path("tickets.csv"), Path("a-folder/en.csv")):
        path.write_text("\n".join(["text,label,language", *lines]) + "\n")
    task = fit(library.task("classification"), Path(name), ["en"]).task
    rows = {split: load_rows(task, "en", split, folder=Path(name)).fingerprint for split in ("train", "test")}
    again = {split: load_rows(task, "en", split, folder=write(Path(name))).fingerprint for split in ("train", "test")}
    assert again == rows
    assert len(fit(task, write(Path(name)), ["en"]).task.labels) == 2
