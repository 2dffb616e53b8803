"""Data of your own with names, encodings, and layouts that are common outside English and outside one program."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from xmodctl.catalog import catalog as library
from xmodctl.core.errors import UserError
from xmodctl.core.schema import parse_override
from xmodctl.data import coverage, load_rows
from xmodctl.data.own_data import fit

ROWS = 24
LANGUAGES = ("fr", "de")


def table(header: str, *columns: tuple[str, ...], mark: str = ";") -> str:
    """Return a table with a row for each number; `{n}` in a cell is that number."""
    lines = [mark.join(each[n % len(each)].format(n=n) for each in columns) for n in range(ROWS)]
    return "\n".join([header, *lines, ""])


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(task: str, data: Path, *settings: str, lang: str = "fr") -> str:
    changes = dict(parse_override(each) for each in settings)
    with pytest.raises(UserError) as caught:
        fit(library.task(task).with_values(changes, origin="--set"), data, [lang])
    return str(caught.value)


def settings_in(message: str) -> list[str]:
    words = shlex.split(message[message.index("--set ") :].replace(", or", " , or"))
    return [words[place + 1] for place, word in enumerate(words) if word == "--set"]


@pytest.mark.parametrize(
    "header", ["Texte;Catégorie;Langue", "Nachricht;Kategorie;Sprache", "frase;etiqueta;idioma", "текст;метка;язык"]
)
def test_usual_names_in_other_languages_are_found(tmp_path, header):
    data = put(tmp_path, "d.csv", table(header, ("t {n}",), ("a", "a", "b", "b"), LANGUAGES))
    task = fit(library.task("classification"), data, ["fr"]).task
    assert [*task.columns.values(), task.language_column] == header.split(";")


@pytest.mark.parametrize(
    ("task", "header", "cells", "columns"),
    [
        ("classification", "objet;groupe;langue", (("t {n}",), ("a", "a", "b", "b")), ("objet", "groupe")),
        ("regression", "Beschwerde;Note;Sprache", (("t {n}",), ("1,5", "2")), ("Beschwerde", "Note")),
        ("choices", "Frage;Antwort A;Antwort B;richtig;Sprache", (("q {n}",), ("x",), ("y",), ("A", "B")),
         (["Antwort A", "Antwort B"], "richtig", "Frage")),
    ],
)  # fmt: skip
def test_one_command_names_all_columns_that_have_no_usual_name(tmp_path, task, header, cells, columns):
    data = put(tmp_path, "d.csv", table(header, *cells, LANGUAGES))
    settings = settings_in(refusal(task, data))
    changes = dict(parse_override(each) for each in settings)
    fitted = fit(library.task(task).with_values(changes, origin="--set"), data, ["fr"]).task
    assert tuple(fitted.columns[name] for name in fitted.columns if name != "id") == columns


def test_the_first_of_two_texts_is_found_where_a_setting_names_the_second(tmp_path):
    data = put(tmp_path, "d.csv", table("premise;hypo;label;lang", ("t {n}",), ("u",), ("a", "b"), ("fr",)))
    (setting,) = settings_in(refusal("pairs", data).partition(", or")[0])
    changes = dict([parse_override(setting)])
    columns = fit(library.task("pairs").with_values(changes, origin="--set"), data, ["fr"]).task.columns
    assert columns == {"text": "premise", "text_pair": "hypo", "label": "label"}


def test_a_header_that_is_not_utf8_is_the_mistake_and_no_row_is_taken_for_it(tmp_path):
    text = table("texte;catégorie;langue", ("été {n}", "t {n}"), ("a", "a", "b", "b"), LANGUAGES)
    for name, content in (("d.csv", text), ("d.tsv", text.replace(";", "\t"))):
        data = put(tmp_path, name, content.encode("cp1252"))
        message = refusal("classification", data)
        assert message.startswith(f"{data}: bytes that are not UTF-8; save the file as UTF-8: 13 rows (line 1:")
    data = put(tmp_path, "e.csv", text.encode("cp1252").split(b"\n", 2)[0] + b"\n" + b"plain;a;fr\n")
    assert "e.csv:1:10: byte 0xe9 is not UTF-8" in refusal("classification", data)


def test_a_number_that_begins_with_0_is_not_taken_for_a_label(tmp_path):
    header = "row,text,is_a,is_b,lang"
    data = put(tmp_path, "d.csv", table(header, ("{n}",), ("t {n}",), ("0", "1"), ("1", "1", "0"), ("fr",), mark=","))
    task = fit(library.task("multi-label"), data, ["fr"]).task
    assert task.columns["label"] == ["is_a", "is_b"]
    wrong = data.read_text().replace("3,t 3,1,1", "3,t 3,7,1").replace("5,t 5,1,0", "5,t 5,8,0")
    data.write_text(wrong)
    task = fit(
        library.task("multi-label").with_values({"split_column": "", "split_seed": None}, origin=""), data, ["fr"]
    ).task
    with pytest.raises(UserError, match=r"`is_a` is neither 0 nor 1; expected 0 or 1, .*: 2 rows \(line 5, line 7\)"):
        load_rows(task, "fr", "test", folder=data)


def test_languages_to_identify_are_offered_as_the_label(tmp_path):
    data = put(tmp_path, "d.csv", table("text;lang", ("t {n}",), LANGUAGES))
    assert refusal("classification", data).endswith(" (to identify languages: columns.label=lang)")
    task = fit(library.task("classification").with_values({"columns.label": "lang"}, origin="--set"), data, ["en"]).task
    assert (task.labels, task.language_column, task.languages) == (("de", "fr"), "", {"en": None})


WORDS = "1\tLe\tle\tDET\t_\t_\t2\tdet\t_\t_\n2\tchat\tchat\tNOUN\t_\t_\t0\troot\t_\t_\n\n"


@pytest.mark.parametrize("is_whole", [True, False])
def test_treebanks_are_read_as_universal_dependencies_publishes_them(tmp_path, is_whole):
    for name in ("UD_French-GSD/fr_gsd-ud-train", "UD_French-GSD/fr_gsd-ud-test", "UD_German-HDT/de_hdt-ud-test"):
        put(tmp_path, f"{name}.conllu", "# text = Le chat\n" + WORDS * 3)
    put(tmp_path, "UD_French-GSD/README.md", "about")
    folder = tmp_path if is_whole else tmp_path / "UD_French-GSD"
    german = {"de_hdt": ("test",)} if is_whole else {}
    for name in ("tagging", "ud-treebanks"):
        task = fit(library.task(name), folder, ["fr"]).task
        assert coverage(task, folder) == {"fr_gsd": ("train", "test"), **german}
        rows = load_rows(task, "fr", "train", folder=folder, evaluation=False)
        assert rows.table["tokens"][:] == [["Le", "chat"]] * 3


def test_files_of_words_with_another_extension_are_renamed_by_one_command(tmp_path):
    for name in ("eng.train", "eng.test", "deu.test"):
        put(tmp_path, name, "Ada B-PER\nruns O\n\n" * 3)
    task = library.task("entities").with_values({"labels": ["O", "B-PER", "I-PER"]}, origin="--set")
    with pytest.raises(UserError) as caught:
        load_rows(task, "en", "train", folder=tmp_path)
    command = re.split(r"a word and its tag, run: ", str(caught.value))[1]
    subprocess.run(command, shell=True, check=True)
    assert {*coverage(task, tmp_path)} == {"eng", "deu"}
    fitted = fit(library.task("entities"), tmp_path, ["en"]).task
    assert len(load_rows(fitted, "en", "train", folder=tmp_path)) == 3


def test_a_file_for_each_text_is_refused_with_what_to_write(tmp_path):
    for label in ("pos", "neg"):
        for number in range(3):
            put(tmp_path, f"train/{label}/{number}.txt", "A text.")
    message = refusal("classification", tmp_path)
    assert f"has a file for each text, such as {tmp_path}/train/" in message
    assert "with the columns text, label, language, and, if there are splits, split" in message


def test_a_row_in_place_of_a_header_may_have_the_same_text_twice(tmp_path):
    data = put(tmp_path, "d.csv", "".join(f"{n % 5},a text {n},{n % 5}\n" for n in range(ROWS)))
    message = refusal("regression", data)
    assert (
        "the first line of the file seems to be a row: add a header line above it, such as column1,text,label"
        in message
    )
    data.write_text(message.rpartition("such as ")[2] + "\n" + data.read_text())
    assert len(fit(library.task("regression"), data, ["en"]).task.columns) == 2


def test_lists_in_lines_are_no_document(tmp_path):
    data = put(tmp_path, "d.jsonl", '["a text", "a", "en"]\n' * 3)
    assert 'a row is a JSON object {...}, found ["a text", "a", "en"]' in refusal("classification", data)
    document = put(tmp_path, "e.jsonl", '["a text", "another"]\n')
    assert "e.jsonl is one JSON document" in refusal("classification", document)


@pytest.mark.parametrize(
    ("trained", "others", "is_offered"),
    [(("neg", "pos"), ("0", "1"), True), (("neg", "pos"), ("0.0", "1.0"), True), (("1", "2"), ("one", "two"), False),
     (("0", "1"), ("neg", "pos"), True), (("a", "b"), ("1", "2"), False)],
)  # fmt: skip
def test_names_for_ids_are_offered_only_where_the_numbers_may_be_ids(tmp_path, trained, others, is_offered):
    for place, labels in (("en/train", trained), ("en/test", others), ("de/test", others)):
        put(tmp_path, f"{place}.csv", table("text;label", ("t {n}",), labels))
    message = refusal("classification", tmp_path, lang="en")
    kinds = ("numbers", "words") if trained[0].isdecimal() else ("words", "numbers")
    assert f"labels are {kinds[0]} in the training rows" in message
    assert f"and {kinds[1]} in others" in message
    assert ("the one with id 0 first: --set labels=" in message.replace("'", "")) == is_offered
    assert message.endswith("write the same labels in all rows") != is_offered


SETS = {
    "sets of Python": ("{{'a', 'b c'}}", '{{"a"}}', "set()", "{{'b c'}}"),
    "arrays of PostgreSQL": ('{{a,"b c"}}', "{{a}}", "{{}}", '{{"b c"}}'),
}


@pytest.mark.parametrize("cells", SETS.values(), ids=[*SETS])
def test_labels_in_braces_are_sets(tmp_path, cells):
    data = put(tmp_path, "d.csv", table("text|labels", ("t {n}",), cells, mark="|"))
    task = fit(library.task("multi-label"), data, ["fr"]).task
    assert task.labels == ("a", "b c")
    whole = task.with_values({"split_seed": None}, origin="")
    assert load_rows(whole, "fr", "test", folder=data).table["label"][:4] == [[1, 1], [1, 0], [0, 0], [0, 1]]


def test_columns_of_yes_and_no_are_labels(tmp_path):
    data = put(tmp_path, "d.csv", table("text;spam;urgent", ("t {n}",), ("yes", "No"), ("no", "no", "YES")))
    task = fit(library.task("multi-label"), data, ["fr"]).task
    assert task.columns["label"] == ["spam", "urgent"]
    whole = task.with_values({"split_seed": None}, origin="")
    assert load_rows(whole, "fr", "test", folder=data).table["label"][:3] == [[1, 0], [0, 0], [1, 1]]


def test_labels_that_consist_of_others_are_noted(tmp_path):
    data = put(tmp_path, "d.csv", table("text;labels", ("t {n}",), ("a", "a/b", "b", "c/d")))
    cautions = fit(library.task("multi-label"), data, ["fr"]).cautions
    assert (
        f'{data}: "a/b": / does not separate labels, so each of these is one label; to separate them, write |'
        in cautions
    )


@pytest.mark.parametrize(("cells", "mark"), [(("10%", "20%"), "%"), (("3/5", "4/5"), "/")])
def test_numbers_with_a_unit_are_refused_with_what_is_wrong(tmp_path, cells, mark):
    data = put(tmp_path, "d.csv", table("text;score", ("t {n}",), cells))
    task = fit(library.task("regression").with_values({"split_seed": None}, origin=""), data, ["fr"]).task
    with pytest.raises(
        UserError, match=f"`score` has numbers with {mark}; write a number alone, without {mark}: 24 rows"
    ):
        load_rows(task, "fr", "test", folder=data)


def test_a_column_of_objects_is_not_suggested(tmp_path):
    data = put(tmp_path, "d.jsonl", '{"data": {"text": "t"}, "body": "t", "annotations": {"label": "a"}}\n' * 3)
    assert "annotations" not in refusal("classification", data).partition("similar")[2].partition("); ")[2]
