"""The columns of local data: rows that lack some, and the column of the language by what it holds."""

import json
import shlex
from pathlib import Path

import pytest
import yaml

from xmodctl.catalog import catalog
from xmodctl.core.errors import UserError
from xmodctl.data import load_rows
from xmodctl.data.own_data import fit

ROWS = [
    {"text": f"text {n}", "label": "ab"[n % 2], "lang": ("en", "de")[n // 2 % 2], "split": "train" if n % 5 else "test"}
    for n in range(40)
]


def write(folder: Path, rows: list[dict[str, str]]) -> Path:
    file = folder / "d.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("text", "d.jsonl:1: the row has no `text`, only label, lang, split; fill it in or remove the row"),
        ("label", "d.jsonl:1: the row has no `label`, only text, lang, split; fill it in or remove the row"),
        ("lang", "d.jsonl:1: `lang` is null; write the row's language, or remove the row"),
        ("split", "d.jsonl:1: `split` is null; expected train, "),
    ],
)
def test_a_column_that_only_later_rows_have_is_read_and_the_row_without_it_is_named(tmp_path, column, message):
    first, *others = ROWS[1:]
    data = write(tmp_path, [{name: value for name, value in first.items() if name != column}, *others])

    def load() -> None:
        load_rows(fit(catalog.task("classification"), data, ["en"]).task, "en", "train", folder=data)

    with pytest.raises(UserError) as caught:
        load()
    assert message in str(caught.value)


def test_rows_that_give_their_language_after_others_that_do_not_are_refused(tmp_path):
    train = write(tmp_path, [{key: row[key] for key in ("text", "label")} for row in ROWS])
    task = fit(catalog.task("classification"), train, ["en"]).task
    data = tmp_path / "other.jsonl"
    data.write_text('{"text": "a", "label": "a"}\n{"text": "b", "label": "b", "lang": "de"}\n')
    with pytest.raises(UserError, match=r"other.jsonl:2: the row has `lang`, and the first one has not"):
        load_rows(task.with_values({"split_seed": None}, origin="--set"), "en", "test", folder=data)


@pytest.mark.parametrize(
    ("languages", "found"),
    [
        (("en", "de"), "Mundart"),
        (("eng_Latn", "deu_Latn"), "Mundart"),
        (("de", "sw"), ""),  # not a language to train in
        (("en", "en"), ""),  # says nothing
        (("en", "q1"), ""),
    ],
)
def test_a_column_with_several_known_languages_gives_the_language(tmp_path, languages, found):
    rows = [{"text": f"t {n}", "label": "ab"[n % 2], "Mundart": languages[n // 2 % 2]} for n in range(40)]
    fitted = fit(catalog.task("classification"), write(tmp_path, rows), ["en"])
    assert fitted.task.language_column == found
    assert any("language from `Mundart`" in remark for remark in fitted.remarks) == bool(found)


def test_countries_are_no_languages_and_of_two_columns_with_languages_one_is_named(tmp_path):
    rows = [{"text": f"t {n}", "label": "ab"[n % 2], "x": ("en", "de")[n // 2 % 2]} for n in range(40)]
    countries = write(tmp_path, [{**row, "country_code": row["x"]} for row in rows])
    assert fit(catalog.task("classification"), countries, ["en"]).task.language_column == "x"
    both = write(tmp_path, [{**row, "y": row["x"]} for row in rows])
    with pytest.raises(
        UserError, match="several columns may give the language of a row: x, y; name it with --lang-col"
    ):
        fit(catalog.task("classification"), both, ["en"])


@pytest.mark.parametrize("name", ["txt", "Bemerkung", "내용", "text.content"])
def test_a_header_with_a_known_name_is_not_taken_for_a_row(tmp_path, name):
    path = tmp_path / "d.csv"
    path.write_text(f"{name},label\n" + "".join(f"text {number},{'ab'[number % 2]}\n" for number in range(20)))
    with pytest.raises(UserError, match=r"no column is called text .*; name it with --set '?columns.text=") as refusal:
        fit(catalog.task("classification"), path, ["en"])
    assert "first line" not in str(refusal.value)
    setting = shlex.split(str(refusal.value))[-1].partition("=")[2]
    task = catalog.task("classification").with_values({"columns.text": yaml.safe_load(setting)}, origin="--set")
    assert fit(task, path, ["en"]).task.columns == {"text": name, "label": "label"}


def test_no_column_of_another_role_is_suggested(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("sentence1,sentence2,label\n" + "a b,c d,x\ne f,g h,y\n" * 9)
    task = catalog.task("pairs").with_values({"columns.text": "label"}, origin="--set")
    with pytest.raises(UserError, match="no column is called label") as refusal:
        fit(task, path, ["en"])
    assert "columns.label=" not in str(refusal.value)
