"""Files as programs and people write them: what is read, and what is refused with one clear sentence."""

import gzip
import json
import shlex
from pathlib import Path

import datasets
import pytest

from xmodctl.catalog import catalog as library
from xmodctl.core.errors import UserError
from xmodctl.core.schema import parse_override
from xmodctl.data import coverage, load_rows
from xmodctl.data.own_data import FittedTask, fit
from xmodctl.data.splitting import SplittableRow, split_rows

WORDS = ("shipping", "billing", "login")
HEADER = "text,label,language"


def lines(count: int = 30, mark: str = ",", end: str = "", gap: str = "") -> list[str]:
    rows = [(f"text {number}", WORDS[number % 3], ("en", "de")[number // 3 % 2]) for number in range(count)]
    return [(mark + gap).join(row) + end for row in rows]


def document(header: str = HEADER, rows: list[str] | None = None) -> str:
    return "\n".join([header, *(lines() if rows is None else rows)]) + "\n"


OBJECTS = [dict(zip(HEADER.split(","), line.split(","), strict=True)) for line in lines()]


def fit_file(folder: Path, name: str, content: str | bytes, task: str = "classification") -> FittedTask:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return fit(library.task(task), folder / name, ["en"])


READ = {
    "a delimiter at the end of all lines": ("d.csv", document(HEADER + ",", lines(end=","))),
    "a delimiter at the end of rows": ("d.csv", document(rows=lines(end=","))),
    "a delimiter at the end of rows and tabs": (
        "d.tsv",
        document(HEADER.replace(",", "\t"), lines(mark="\t", end="\t")),
    ),
    "spaces after delimiters": ("d.csv", document("text, label, language", lines(gap=" "))),
    "blank lines above the header": ("d.csv", "\n  \n" + document()),
    "the delimiter above the header": ("d.csv", "sep=;\n" + document("text;label;language", lines(mark=";"))),
    "a comma in the name of a column": ("d.csv", document("text;label;language;a, b", lines(mark=";", end=";c"))),
    "an index without a name": ("d.csv", document("," + HEADER, [f"7,{line}" for line in lines()])),
    "a byte order mark and semicolons": ("d.csv", "\ufeff" + document("text;label;language", lines(mark=";"))),
    "CRLF": ("d.csv", document().replace("\n", "\r\n")),
    "a list of objects": ("d.json", json.dumps(OBJECTS, indent=1)),
}


@pytest.mark.parametrize("case", READ)
def test_what_programs_write_is_read(tmp_path, case):
    task = fit_file(tmp_path, *READ[case]).task
    assert task.labels == tuple(sorted(WORDS))
    name = READ[case][0]
    parts = [load_rows(task, "en", split, folder=tmp_path / name) for split in ("train", "validation", "test")]
    assert sorted(text for part in parts for text in part.table["text"]) == sorted(
        row["text"] for row in OBJECTS if row["language"] == "en"
    )
    assert len({*parts[2].table["id"]}) == len(parts[2])


def test_tabs_with_quoted_fields_are_refused_with_a_name_by_which_they_are_read(tmp_path):
    content = "text\tlabel\n" + "".join(f'"text {n}\nmore"\t{WORDS[n % 3]}\n' for n in range(30))
    with pytest.raises(UserError, match=r"if fields are in quotes, rename the file to d\.csv: 30 rows"):
        fit_file(tmp_path, "d.tsv", content)
    assert fit_file(tmp_path, "d.csv", content).task.labels == tuple(sorted(WORDS))


def test_the_index_of_pandas_is_not_the_language_of_rows(tmp_path):
    rows = [f"{n},text {n},{n % 2},{n // 2 % 2}" for n in range(60)]
    for header, task in ((",text,good,bad", "multi-label"), (",text,label,other", "classification")):
        fitted = fit_file(tmp_path, "d.csv", document(header, rows), task).task
        assert coverage(fitted, tmp_path / "d.csv") == {"en": ("train", "validation", "test")}
        sizes = [len(load_rows(fitted, "en", split, folder=tmp_path / "d.csv")) for split in ("train", "test")]
        assert sizes == [48, 6]


def test_a_row_of_several_lines_is_named_by_its_first_line(tmp_path):
    rows = [f'"text {n}\nand more",{WORDS[n % 3]},en' for n in range(30)]
    rows[4:5] = ["", '" \n",billing,en']  # after a blank line
    task = fit_file(tmp_path, "d.csv", document(rows=rows)).task.with_values({"split_seed": None}, origin="test")
    with pytest.raises(UserError, match=r"d\.csv:11: `text` is empty"):
        load_rows(task, "en", "train", folder=tmp_path / "d.csv")


REFUSED = {
    "a workbook": ("d.csv", b"PK\x03\x04\x14\x00\x06", "d.csv is an Excel workbook or a ZIP archive; give"),
    "an old workbook": ("d.csv", b"\xd0\xcf\x11\xe0\xa1\xb1", "an old Office program; save it as CSV in UTF-8"),
    "compressed": ("d.csv", gzip.compress(b"text,label"), "compressed with gzip; give it a name that ends in .gz"),
    "a Parquet file": ("d.jsonl", b"PAR1\x15\x04", "a Parquet file; give it a name that ends in .parquet"),
    "only spaces": ("d.csv", "   \n\n  \n", "contains no rows; give a header line"),
    "no rows in JSON": ("d.json", "[]", "contains no rows; a row is an object, such as"),
    "a title above the header": ("d.csv", "My survey\n\n" + document(), 'one column, "My survey", and line 3 has 3'),
    "commas in place of tabs": ("d.tsv", document(), "no tabs in its first line; if commas separate"),
    "a JSON document as lines": ("d.jsonl", json.dumps(OBJECTS), "one JSON document, not one row per line"),
    "an indented JSON document": ("d.jsonl", json.dumps(OBJECTS, indent=1), "one JSON document, not one row per line"),
    "columns of pandas": (
        "d.json",
        json.dumps({key: {str(n): row[key] for n, row in enumerate(OBJECTS)} for key in OBJECTS[0]}),
        "one list or object per column; write one object per row",
    ),
    "lists of columns": (
        "d.json",
        json.dumps({key: [row[key] for row in OBJECTS] for key in OBJECTS[0]}),
        "one list or object per column; write one object per row",
    ),
    "lists in place of objects": (
        "d.json",
        json.dumps([list(row.values()) for row in OBJECTS]),
        "not a list or a value; with pandas, to_json(FILE, orient='records', lines=True): 30 rows",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_one_sentence(tmp_path, case):
    name, content, message = REFUSED[case]
    with pytest.raises(UserError) as caught:
        fit_file(tmp_path, name, content)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


HEADERS = {
    "a label before its text": ("d.tsv", "a\tsome text\nb\tother text\n", "label, text, separated by tabs"),
    "an index and a date": (
        "d.csv",
        "0|some text|a|en|2026\n1|other text|b|en|2026\n",
        "column1|text|label|language|column5",
    ),
    "no rows": ("d.tsv", "text\tlabel\n", "text, label, language, separated by tabs, and rows after it"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_an_example_of_a_header_has_a_name_for_each_column_and_the_files_delimiter(tmp_path, case):
    name, content, example = HEADERS[case]
    with pytest.raises(UserError) as caught:
        fit_file(tmp_path, name, content)
    assert str(caught.value).endswith(f"such as {example}")


@pytest.mark.parametrize("header", ["arvostelu,tunne,kieli", "arvostelu,kieli,tunne", "kieli,arvostelu,tunne"])
def test_a_column_of_languages_is_never_named_as_another_column(tmp_path, header):
    cells = {"arvostelu": "tuote {n} on", "tunne": "{label}", "kieli": "{language}"}
    row = ",".join(cells[name] for name in header.split(","))
    rows = [row.format(n=n, label="ab"[n // 2 % 2], language=("en", "fi")[n % 2]) for n in range(40)]
    task = library.task("classification")
    (tmp_path / "d.csv").write_text(document(header, rows))
    for column, name in (("text", "arvostelu"), ("label", "tunne")):
        with pytest.raises(UserError, match="no column is called") as caught:
            fit(task, tmp_path / "d.csv", ["en"])
        assert ("add a header line" in str(caught.value)) == (column == "text")
        if column == "label":
            assert str(caught.value).endswith(f"name it with --set columns.label={name}")
        task = task.with_values({f"columns.{column}": name}, origin="--set")
    fitted = fit(task, tmp_path / "d.csv", ["en"])
    assert fitted.task.language_column == "kieli"


def test_languages_with_too_few_rows_for_test_rows_are_named_before_the_training(tmp_path):
    rows = [*lines(), *(f"few {n},{WORDS[n % 3]},fr" for n in range(3)), "x,login,eng", "x,login,qqz"]
    cautions = fit_file(tmp_path, "d.csv", document(rows=rows)).cautions
    assert [caution for caution in cautions if "too few" in caution] == [
        f"{tmp_path}/d.csv: too few rows for test rows in fr (3 rows); add rows, or score another file with --data FILE"
    ]


def test_spellings_of_a_language_are_one_language(tmp_path):
    rows = [line.replace(",en", (",en", ",EN", ",English")[number % 3]) for number, line in enumerate(lines(90))]
    fitted = fit_file(tmp_path, "d.csv", document(rows=[*rows, "more,login,en"]))
    assert list(fitted.task.languages) == ["en", "de"]
    assert [*coverage(fitted.task, tmp_path / "d.csv")] == ["de", "en"]
    sizes = [
        len(load_rows(fitted.task, "en", split, folder=tmp_path / "d.csv")) for split in ("train", "validation", "test")
    ]
    assert sum(sizes) == 46
    folder = tmp_path / "splits"
    folder.mkdir()
    (folder / "test.csv").write_text(document(rows=rows))
    assert set(coverage(fitted.task, folder)) == {"de", "en"}


def test_rows_with_one_id_stay_together_through_chains_of_texts():
    rows = [SplittableRow(i, (("en", "de")[i % 2],), f"text {i}", id=str(i // 2)) for i in range(400)]
    rows.append(SplittableRow(400, ("en",), "TEXT 0", id="last"))  # the text of 0
    rows.append(SplittableRow(401, ("fr",), "another", id="last"))
    splits = split_rows(rows, seed=1)
    assert all(splits[i] == splits[i + 1] for i in range(0, 400, 2))
    assert splits[0] == splits[400] == splits[401]
    counts = [sum(split == name for split in splits.values()) for name in ("train", "validation", "test")]
    assert counts[0] == pytest.approx(322, abs=4)
    assert counts[1] == pytest.approx(counts[2], abs=4)
    assert split_rows(reversed(rows), seed=1).keys() == splits.keys()


@pytest.mark.parametrize("ids", ["shared", "of customers"])
def test_translations_are_in_one_split_if_languages_share_ids(tmp_path, ids):
    rows = []
    for number in range(120):
        id_ = number if ids == "shared" else number % 7
        rows += [f"{id_},english {number},{'ab'[number % 2]},en", f"{id_},deutsch {number},{'ab'[number % 2]},de"]
    task = fit_file(tmp_path, "d.csv", document("id,text,label,lang", rows)).task
    numbers = {
        code: {
            split: {text.split()[1] for text in load_rows(task, code, split, folder=tmp_path / "d.csv").table["text"]}
            for split in ("train", "test")
        }
        for code in ("en", "de")
    }
    crossed = numbers["en"]["train"] & numbers["de"]["test"]
    assert not crossed if ids == "shared" else crossed


def test_the_split_does_not_depend_on_how_sets_of_labels_are_written(tmp_path):
    sets = [["a"], ["a", "b"], ["b", "c"], ["c", "a"], [], ["d"]]
    rows = [{"text": f"t {n}", "labels": sets[n % 6], "lang": "en"} for n in range(60)]
    written = [f"{row['text']},{'|'.join(row['labels'])},en" for row in rows]
    divided = []
    for name, content in (("d.json", json.dumps(rows)), ("d.csv", document("text,labels,lang", written))):
        task = fit_file(tmp_path, name, content, "multi-label").task
        parts = [load_rows(task, "en", split, folder=tmp_path / name) for split in ("train", "validation", "test")]
        divided.append([part.table["text"][:] for part in parts])
        assert any(row[3] for row in parts[2].table["label"])  # the rarest label is in every part
    assert divided[0] == divided[1]


def test_older_runs_divide_a_file_as_they_did(tmp_path):
    rows = [f"{n},english {n},{'ab'[n % 2]},en\n{n},deutsch {n},{'ab'[n % 2]},de" for n in range(40)]
    task = fit_file(tmp_path, "d.csv", document("id,text,label,lang", rows), "multi-label").task
    assert task.split_rule == 2
    older = task.with_values({"split_rule": 1}, origin="")
    assert "split_rule" not in older.model_dump()
    first, second = (
        [row.split()[1] for row in load_rows(of, "de", "test", folder=tmp_path / "d.csv").table["text"]]
        for of in (older, task)
    )
    assert first != second


TAGS = {"tokens": ["a", "0"], "tags": [0, 1]}
ANSWER = {"answers": {"text": ["Y"], "answer_start": [2]}}
CELLS: dict[str, tuple[str, str, str, dict[str, object]]] = {
    "words Python prints": ("tagging", "tokens,tags", "\"['a', '{n}']\",\"['X', '{t}']\"", TAGS),
    "words between spaces": ("tagging", "tokens,tags", "a {n},X {t}", TAGS),
    "tags between commas": ("entities", "sentence,tags", 'a {n},"O,B-{t}"', TAGS),
    "tags Python prints": ("entities", "words,ner_tags", "\"['a', '{n}']\",\"['O', 'B-{t}']\"", TAGS),
    "spans Python prints": (
        "entities",
        "text,entities",
        "a {n},\"[(0, 1, '{t}')]\"",
        {"tokens": ["a", "0"], "tags": [1, 0]},
    ),
    "sets Python prints": ("multi-label", "text,labels", "a {n},\"['X', '{t}']\"", {"label": [1, 1, 0]}),
    "columns of 0 and 1": ("multi-label", "text,Y,Z", "a {n},{f},1", {"label": [0, 1]}),
    "answers in two columns": ("answers", "context,question,answer_text,answer_start", "a {t} b {n},q,{t},2", ANSWER),
    "answers of floats": ("answers", "context,question,answer,start", "a {t} b {n},q,{t},2.0", ANSWER),
    "answers without offsets": ("answers", "context,question,answer", "a {t} b {n},q,{t}", ANSWER),
    "answers Python prints": (
        "answers",
        "context,question,answers",
        "a {t} b {n},q,\"{{'text': ['{t}'], 'answer_start': [2]}}\"",
        ANSWER,
    ),
    "no answer in two columns": (
        "answers",
        "context,question,answer,start",
        "a b {n},q,,\na {t} b {n},q,{t},2",
        {"answers": {"text": [], "answer_start": []}},
    ),
    "letters of choices": ("choices", "question,option_a,option_b,answer", "q {n},u,v,{l}", {"label": 0}),
    "choices in columns of letters": (
        "choices",
        "question,B,A,C,answer",
        "q {n},v,u,w,{l}",
        {"choices": ["u", "v", "w"]},
    ),
    "names of choices": (
        "choices",
        "ending1,ending0,label",
        "v {n},u,ending{f}",
        {"choices": ["u", "v 0"], "label": 0},
    ),
    "texts of choices": ("choices", "question,option_a,option_b,answer", "q {n},Z,Y,{t}", {"label": 1}),
}


@pytest.mark.parametrize("case", CELLS)
def test_cells_of_text_hold_lists_answers_and_choices(tmp_path, case):
    kind, header, row, expected = CELLS[case]
    rows = [row.format(n=n, t="YZ"[n % 2], f=n % 2, l="AB"[n % 2]) for n in range(40)]
    rows = [f"{line},train" for row in rows for line in row.split("\n")]
    task = fit_file(tmp_path, "d.csv", document(f"{header},split", rows), kind).task
    first = load_rows(task, "en", "train", folder=tmp_path / "d.csv", single_language=True).table[0]
    assert {column: first[column] for column in expected} == expected


def test_one_of_several_groups_of_choices_is_named_by_the_user(tmp_path):
    data = document("A,B,choice1,choice2,label", [f"u,v {n},w,x,0" for n in range(20)])
    with pytest.raises(
        UserError, match="several groups of columns may be the choices: choice1, choice2; A, B;"
    ) as error:
        fit_file(tmp_path, "d.csv", data, "choices")
    option, value = shlex.split(str(error.value).rpartition("with ")[2])
    assert (option, value) == ("--set", 'columns.choices=["choice1", "choice2"]')
    task = library.task("choices").with_values(dict((parse_override(value),)), origin="--set")
    assert fit(task, tmp_path / "d.csv", ["en"]).task.columns["choices"] == ["choice1", "choice2"]


def test_an_answer_that_occurs_twice_needs_its_offset(tmp_path):
    task = fit_file(tmp_path, "d.csv", document("context,question,answer", ["x b x,q,x", "x c,q,x"]), "answers").task
    with pytest.raises(UserError, match=r"occurs 2 times in `context`; add a column `answer_start`"):
        load_rows(task, "en", "train", folder=tmp_path / "d.csv", single_language=True)


@pytest.mark.parametrize("are_numbers", [True, False])
def test_labels_that_are_words_here_and_numbers_there_are_one_mistake(tmp_path, are_numbers):
    words, numbers = ("en", "de") if not are_numbers else ("de", "en")
    rows = [f"text {n},{('neg', 'pos')[n % 2]},{words},{'train' if words == 'en' else 'test'}" for n in range(20)]
    rows += [f"texte {n},{n % 2},{numbers},{'train' if numbers == 'en' else 'test'}" for n in range(20)]
    with pytest.raises(UserError) as caught:
        fit_file(tmp_path, "d.csv", document("text,label,lang,split", rows))
    message = str(caught.value)
    assert "labels are " + ("numbers" if are_numbers else "words") + " in the training rows" in message
    named = library.task("classification").with_values({"labels": ["neg", "pos"]}, origin="--set")
    assert """--set 'labels=["neg", "pos"]'""" in message
    task = fit(named, tmp_path / "d.csv", ["en"]).task
    for language, split in (("en", "train"), ("de", "test")):
        assert load_rows(task, language, split, folder=tmp_path / "d.csv").table["label"][:4] == [0, 1, 0, 1]


def test_numbers_among_words_are_mentioned(tmp_path):
    fitted = fit_file(tmp_path, "d.csv", document(rows=[*lines(), *(f"more {n},{n % 3},en" for n in range(9))]))
    assert any("some labels are numbers (0, 1, 2) and others are words" in caution for caution in fitted.cautions)


@pytest.mark.parametrize("ids", [True, False])
def test_a_folder_with_a_file_per_language_is_divided_as_one_file_is(tmp_path, ids):
    rows = [(f"{n},", f"text {n},{'ab'[n % 2]}") for n in range(60)]
    for code in ("en", "German"):
        lines_of_file = [(id_ if ids else "") + f"{code} {row}" for id_, row in rows]
        (tmp_path / f"{code}.csv").write_text(document("id,text,label" if ids else "text,label", lines_of_file))
    fitted = fit(library.task("classification"), tmp_path, ["en"])
    assert [*fitted.task.languages] == ["German", "en"]
    assert coverage(fitted.task, tmp_path) == dict.fromkeys(("German", "en"), ("train", "validation", "test"))
    numbers = {}
    for language in ("en", "de"):
        parts = [load_rows(fitted.task, language, split, folder=tmp_path) for split in ("train", "validation", "test")]
        assert [len(part) for part in parts] == [48, 6, 6]
        assert parts[0].origin.endswith({"en": "en.csv", "de": "German.csv"}[language])
        numbers[language] = [{text.split()[-1] for text in part.table["text"]} for part in parts]
    assert (numbers["en"] == numbers["de"]) == ids
    with pytest.raises(UserError, match="no file for the language sw"):
        load_rows(fitted.task, "sw", "train", folder=tmp_path)


def test_files_of_languages_have_a_split_column_all_or_none(tmp_path):
    (tmp_path / "en.csv").write_text(document("text,label,split", ["a,x,train", "b,y,train", "c,x,test"]))
    (tmp_path / "de.csv").write_text(document("text,label,split", ["a,x,test", "b,y,test"]))
    task = fit(library.task("classification"), tmp_path, ["en"]).task
    assert coverage(task, tmp_path) == {"de": ("test",), "en": ("train", "test")}
    assert len(load_rows(task, "de", "test", folder=tmp_path)) == 2
    (tmp_path / "de.csv").write_text(document("text,label", ["a,x", "b,y"]))
    with pytest.raises(UserError, match=r"de\.csv has no split column, but other files do"):
        fit(library.task("classification"), tmp_path, ["en"])


def test_files_of_splits_with_a_language_column_are_read(tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text(document())
    task = fit(library.task("classification"), tmp_path, ["en"]).task
    assert coverage(task, tmp_path) == {"de": ("train", "test"), "en": ("train", "test")}


def test_choices_numbered_after_any_prefix_and_a_context_by_its_usual_name_are_found(tmp_path):
    header = "flores_passage,question,mc_answer1,mc_answer2,mc_answer3,mc_answer4,correct_answer_num,dialect"
    rows = [f"p {n},q,a,b,c,d,{n % 4 + 1},{('eng', 'deu')[n % 3 // 2]}_Latn" for n in range(40)]
    data = tmp_path / "d.csv"
    data.write_text("\n".join([header, *rows]) + "\n")
    task = library.task("choices").with_values({"labels": ["1", "2", "3", "4"]}, origin="--set")
    fitted = fit(task, data, ["en"])
    assert fitted.task.columns["choices"] == [f"mc_answer{n}" for n in (1, 2, 3, 4)]
    assert fitted.task.columns["context"] == "flores_passage"
    assert fitted.task.language_column == "dialect"
    assert {*load_rows(fitted.task, "en", "train", folder=data).table["label"]} == {0, 1, 2, 3}


def test_values_that_are_no_split_are_one_finding_and_another_task_is_offered_for_single_texts(tmp_path):
    rows = [f"text {n},{'ab'[n % 2]},{n % 3 + 1},{n}" for n in range(30)]
    data = tmp_path / "d.csv"
    data.write_text("\n".join(["text,label,split,key", *rows]) + "\n")
    with pytest.raises(UserError, match=r"`split` is no split; expected train, .*: 30 rows \(line 2, line 3, line 4"):
        fit(library.task("classification"), data, ["en"])
    with pytest.raises(UserError, match="or use --task classification if the rows have no text_pair"):
        fit(library.task("pairs"), data, ["en"])


def test_a_file_of_another_language_is_never_renamed(tmp_path):
    (tmp_path / "xquad.de.csv").write_text("text,label\na,a\n")
    task = library.task("classification").with_values({"labels": ["a", "b"]}, origin="--set")
    with pytest.raises(UserError) as caught:
        load_rows(task, "en", "train", folder=tmp_path)
    assert "there is" in str(caught.value)
    assert "rename" not in str(caught.value)


def test_numbers_that_may_be_choices_or_their_texts_are_refused_and_other_texts_are_read(tmp_path):
    header = "question,A,B,C,D,answer,lang"
    rows = [f"q {n},10,2,30,1{n},{('10', '30', f'1{n}')[n % 3]},en" for n in range(10, 40)]
    data = tmp_path / "d.csv"
    data.write_text("\n".join([header, *rows]) + "\n")
    task = fit(library.task("choices"), data, ["en"]).task
    assert {*load_rows(task, "en", "train", folder=data).table["label"]} == {0, 2, 3}
    data.write_text("\n".join([header, *rows, "q,3,1,0,9,1,en", "q,3,0,1,9,1,en", "q,3,0,1,9,1,en"]) + "\n")
    everything = task.with_values({"split_seed": None}, origin="--set")
    with pytest.raises(UserError, match=r"of one choice and the number of another.*: 2 rows \(line 33, line 34\)"):
        load_rows(everything, "en", "test", folder=data)
    data.write_text("\n".join([header, *(f"q {n},3,0,1,9,{n % 4},en" for n in range(40))]) + "\n")
    numbered = everything.with_values({"labels": ["0", "1", "2", "3"]}, origin="--set")
    assert load_rows(numbered, "en", "test", folder=data).table["label"][:4] == [0, 1, 2, 3]


def test_answers_beside_their_offsets_are_one_finding(tmp_path):
    rows = [
        {"context": f"{'a' * n} cat {n}", "question": "q", "answer": f"cat {n}", "answer_start": n} for n in range(40)
    ]
    data = tmp_path / "d.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = fit(library.task("answers"), data, ["en"]).task
    with pytest.raises(UserError, match=r"offset gives; correct the offsets, which count from 0.*: 32 rows") as caught:
        load_rows(task, "en", "train", folder=data)
    assert "\n" not in str(caught.value)


def test_labels_that_are_numbers_from_0_get_names_as_the_remark_says(tmp_path):
    data = tmp_path / "d.jsonl"
    rows = [{"tokens": ["a", "b", str(n)], "pos_tags": [0, 1, 2]} for n in range(40)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    fitted = fit(library.task("tagging"), data, ["en"])
    assert fitted.task.labels == ("0", "1", "2")
    (remark,) = (remark for remark in fitted.remarks if "are the numbers" in remark)
    assert remark.startswith("the labels are the numbers from 0 to 2; to name them in this order: --set ")
    name, value = parse_override(shlex.split(remark)[-1])
    named = fit(library.task("tagging").with_values({name: value}, origin="--set"), data, ["en"])
    assert named.task.labels == ("NAME0", "NAME1", "NAME2")
    assert load_rows(named.task, "en", "train", folder=data).table["tags"][0] == [0, 1, 2]


@pytest.mark.parametrize("other", ["ship\u200bping", "shi\uff50ping", "shipping "])
def test_labels_that_only_look_the_same_are_noted_with_a_setting_that_makes_them_one(tmp_path, other):
    rows = [line.replace("shipping", other) if number % 4 else line for number, line in enumerate(lines(90))]
    fitted = fit_file(tmp_path, "d.csv", document(rows=rows))
    is_one = other.strip() == "shipping"  # spaces at the ends never count
    assert len(fitted.task.labels) == (3 if is_one else 4)
    notes = [note for note in fitted.cautions if "look the same but are different labels" in note]
    assert len(notes) == (0 if is_one else 1)
    for note in notes:
        assert note.isascii()
        key, value = parse_override(shlex.split(note[note.index("--set") :])[1])
        task = library.task("classification").with_values({key: value}, origin="test")
        again = fit(task, tmp_path / "d.csv", ["en"])
        assert again.task.labels == tuple(sorted(WORDS))
        assert not any("look the same" in note for note in again.cautions)
        labels = load_rows(again.task, "en", "train", folder=tmp_path / "d.csv").table["label"]
        assert {*labels} == {0, 1, 2}
    if not is_one:
        apart = [line for line in rows if other not in line or line.endswith("de")]
        with pytest.raises(UserError, match=r"look the same but .* --set 'labels_mapped=") as caught:
            fit_file(tmp_path, "d.csv", document(rows=apart))
        assert str(caught.value).isascii()


@pytest.mark.parametrize(("one", "other"), [("İYİ", "iyi"), ("KIZ", "kız")])
def test_labels_that_are_equal_in_turkish_are_noted_as_they_are_written(tmp_path, one, other):
    rows = [f"text {number},{(one, other, 'x')[number % 3]}" for number in range(90)]
    fitted = fit_file(tmp_path, "d.csv", document("text,label", rows))
    (note,) = (note for note in fitted.cautions if "look the same but are different labels" in note)
    assert one in note
    assert other in note


def with_column(name: str, values: tuple[str, ...]) -> str:
    return document(f"{HEADER},{name}", [f"{line},{values[n % len(values)]}" for n, line in enumerate(lines(90))])


@pytest.mark.parametrize("name", ["Split", "SPLIT", "set", "partition"])
def test_a_column_of_splits_is_found_by_its_name_or_by_what_it_holds(tmp_path, name):
    fitted = fit_file(tmp_path, "d.csv", with_column(name, ("train", "train", "TEST", "dev")))
    assert any(f"split from `{name}`" in remark for remark in fitted.remarks)
    sizes = [len(load_rows(fitted.task, "de", split, folder=tmp_path / "d.csv")) for split in ("train", "test")]
    assert sizes == [23, 7]
    mixed = fit_file(tmp_path, "d.csv", with_column("set", ("train", "test", "other")))
    assert not mixed.task.split_column
    with pytest.raises(UserError, match=r"several columns may give the split .* --set split_column=set"):
        fit_file(tmp_path, "d.csv", with_column("set,fold", ("train,train", "test,dev")))


def test_a_column_of_splits_without_training_rows_is_named(tmp_path):
    content = with_column("split", ("test", "dev"))
    with pytest.raises(UserError, match="no training rows in en: `split` is `train` in no row; correct the column"):
        fit_file(tmp_path, "d.csv", content)
    rows = [f"{line},{'train' if line.endswith('de') else 'test'}" for line in lines()]
    with pytest.raises(UserError, match=r"no training rows in en; it has some in de \(15 rows\); try --lang de"):
        fit_file(tmp_path, "d.csv", document(f"{HEADER},split", rows))


LAYOUTS = {
    "LANGUAGE/SPLIT": "{language}/{split}.csv",
    "SPLIT/LANGUAGE": "{split}/{language}.csv",
    "SPLIT.LANGUAGE": "{split}.{language}.csv",
    "LANGUAGE_SPLIT": "{language}_{split}.csv",
    "NAME-LANGUAGE-NAME-SPLIT": "my-{language}-ud-{split}.csv",
    "LANGUAGE/LANGUAGE_SPLIT": "{language}/{language}_{split}.csv",
    "LANGUAGE/NAME.SPLIT.LANGUAGE": "{language}/xnli.{split}.{language}.csv",
    "SPLIT": "{split}.csv",
    "NAME_SPLIT": "tickets_{split}.csv",
    "SPLIT, with parts": "{split}-{part:05}-of-00002.csv",
    "NAME.SPLIT, with parts": "tickets.{split}-{part}-of-2.csv",
    "SPLIT/PART": "{split}/{part:04}.csv",
    "LANGUAGE/SPLIT, with parts": "{language}/{split}-{part:05}-of-00002.csv",
    "SPLIT/ANY": "{split}/data.csv",
    "LANGUAGE": "{language}.csv",
    "LANGUAGE/ANY": "{language}/tickets.csv",
    "LANGUAGE/ANY, with tabs": "{language}/tickets.tsv",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_a_folder_is_read_without_a_setting(tmp_path, layout):
    name = LAYOUTS[layout]
    written: dict[str, dict[str, set[str]]] = {}
    files: dict[Path, list[str]] = {}
    for language, part in (("en", 0), ("pt-BR", 0), ("sw", 1)):
        for split in ("train", "dev", "test"):
            texts = {f"{language} {split} {n}" for n in range(12)}
            written.setdefault(language, {})["validation" if split == "dev" else split] = texts
            rows = [f"{text},{WORDS[n % 3]},{language}" for n, text in enumerate(sorted(texts))]
            for number in (0, 1) if "{language}" in name and "{part" in name else (part,):
                path = tmp_path / name.format(language=language, split=split, part=number)
                files.setdefault(path, []).extend(rows[number::2] if "{language}" in name and "{part" in name else rows)
    for name_of_about in ("README.txt", "dataset_info.json"):
        (tmp_path / name_of_about).write_text("[]")
    for path, rows in files.items():
        path.parent.mkdir(exist_ok=True)
        text = document(HEADER if "{language}" not in name else "text,label,note", rows)
        path.write_text(text.replace(",", "\t") if path.suffix == ".tsv" else text)
    fitted = fit(library.task("classification"), tmp_path, ["en"])
    assert not any("not read" in caution for caution in fitted.cautions)
    covered = coverage(fitted.task, tmp_path)
    assert {code: set(splits) for code, splits in covered.items()} == {code: {*written[code]} for code in written}
    for language, splits in written.items():
        loaded = {split: {*load_rows(fitted.task, language, split, folder=tmp_path).table["text"]} for split in splits}
        if "{split}" in name:
            assert loaded == splits
        else:  # divided
            assert set.union(*loaded.values()) == set.union(*splits.values())


@pytest.mark.parametrize("test", ["test/{language}.csv", "{language}/test.csv", "{language}/tickets_test.csv"])
@pytest.mark.parametrize("header", ["text,label", HEADER])
def test_a_training_file_beside_test_files_of_languages_is_read(tmp_path, test, header):
    columns = header.count(",") + 1
    rows = [",".join([*line.split(",")[:2], "en"])[: -3 if columns == 2 else None] for line in lines()]
    (tmp_path / "train.csv").write_text(document(header, rows))
    for language in ("en", "de"):
        path = tmp_path / test.format(language=language)
        path.parent.mkdir(exist_ok=True)
        path.write_text(document("text,label", [f"{language} {n},{WORDS[n % 3]}" for n in range(9)]))
    fitted = fit(library.task("classification"), tmp_path, ["en"])
    assert not any("not read" in caution for caution in fitted.cautions)
    covered = coverage(fitted.task, tmp_path)
    assert {code: {*splits} for code, splits in covered.items()} == {"en": {"train", "test"}, "de": {"test"}}
    assert len(load_rows(fitted.task, "en", "train", folder=tmp_path, single_language=True)) == 30
    assert load_rows(fitted.task, "de", "test", folder=tmp_path).table["text"][0] == "de 0"


@pytest.mark.parametrize("are_trained", [True, False])
def test_files_of_languages_beside_a_folder_of_test_files_are_for_training(tmp_path, are_trained):
    names = ["{language}.csv", "test/{language}.csv", *([] if are_trained else ["train/{language}.csv"])]
    for name in names:
        for language in ("en", "de"):
            path = tmp_path / name.format(language=language)
            path.parent.mkdir(exist_ok=True)
            path.write_text(document("text,label", [f"{name} {n},{WORDS[n % 3]}" for n in range(9)]))
    fitted = fit(library.task("classification"), tmp_path, ["en"])
    texts = load_rows(fitted.task, "de", "train", folder=tmp_path).table["text"][:]
    assert texts == [f"{names[0 if are_trained else -1]} {n}" for n in range(9)]
    assert len(load_rows(fitted.task, "de", "test", folder=tmp_path)) == 9
    assert any("not read, because" in caution for caution in fitted.cautions) != are_trained


def test_a_saved_data_set_with_splits_has_no_file_that_is_not_read(tmp_path):
    rows = [{"text": f"t {n}", "label": WORDS[n % 3]} for n in range(9)]
    data = datasets.Dataset.from_list(rows)
    datasets.DatasetDict({"train": data, "test": data}).save_to_disk(tmp_path / "saved")
    assert not any(
        "not read" in each for each in fit(library.task("classification"), tmp_path / "saved", ["en"]).cautions
    )


def test_parts_of_a_split_are_complete_and_have_rows_of_a_language_in_one_of_them(tmp_path):
    for part, language in enumerate(("en", "de")):
        rows = [f"{language} {n},{WORDS[n % 3]},{language}" for n in range(9)]
        (tmp_path / f"train-{part}-of-2.csv").write_text(document(rows=rows))
    task = fit(library.task("classification"), tmp_path, ["en"]).task
    rows = load_rows(task, "de", "train", folder=tmp_path)
    assert rows.table["text"][:] == [f"de {n}" for n in range(9)]
    assert rows.origin == f"{tmp_path}/train-0-of-2.csv and 1 further part"
    with pytest.raises(UserError, match=r"no fr rows in .*further part \(its language column has de, en\)"):
        load_rows(task, "fr", "train", folder=tmp_path)
    (tmp_path / "train-0-of-2.csv").unlink()
    with pytest.raises(UserError, match=r"lacks a part of the split `train`: train-0-of-2\.csv; copy it there"):
        load_rows(task, "de", "train", folder=tmp_path)
    for format_ in ("jsonl", "csv"):
        (tmp_path / f"train-0-of-2.{format_}").write_text(document())
    with pytest.raises(UserError, match="two files for the split `train`"):
        load_rows(task, "de", "train", folder=tmp_path)


def test_names_that_only_look_like_a_layout_are_not_read_as_one(tmp_path):
    (tmp_path / "my_train.csv").write_text(document())
    (tmp_path / "my_test.csv").write_text(document())
    assert coverage(library.task("xnli"), tmp_path) == {}
    for name in ("a", "b"):
        (tmp_path / f"{name}_dev.csv").write_text(document())
    assert coverage(library.task("xnli"), tmp_path) == {}
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "en.csv").write_text(document())
    (tmp_path / "train" / "notes.csv").write_text(document())
    assert coverage(library.task("xnli"), tmp_path) == {}
