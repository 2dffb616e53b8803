import bz2
import csv
import gzip
import json
import lzma
import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xmodctl.catalog.catalog import task
from xmodctl.core.errors import UserError
from xmodctl.data import coverage, load_examples, load_rows, readers

PAIRS = [
    {"premise": "A dog runs.", "hypothesis": "An animal moves.", "label": "entailment"},
    {"premise": "Ein Hund läuft.", "hypothesis": "Es „regnet“,\tsagt er.", "label": "neutral"},
    {"premise": "犬が走る。", "hypothesis": "犬は眠っている。", "label": "contradiction"},
]


def jsonl(rows: Iterable[Any]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def as_csv(rows: list[dict[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def as_tsv(rows: list[dict[str, Any]], path: Path) -> None:
    lines = [list(rows[0]), *([str(value).replace("\t", " ") for value in row.values()] for row in rows)]
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")


WRITERS: dict[str, Callable[[list[dict[str, Any]], Path], object]] = {
    ".jsonl": lambda rows, path: path.write_bytes(jsonl(rows)),
    ".json": lambda rows, path: path.write_text(json.dumps(rows, indent=1), encoding="utf-8"),
    ".csv": as_csv,
    ".tsv": as_tsv,
    ".parquet": lambda rows, path: pq.write_table(pa.Table.from_pylist(rows), path),
}


def zstandard(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)  # a frame, as `zstd` writes


def refusal(task, folder: Path, language: str = "en", split: str = "test", **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        load_rows(task, language, split, folder=folder, **options)
    return str(caught.value)


# --- what is read -----------------------------------------------------------------------------------------------------


def test_rows_come_in_the_kinds_own_columns_with_labels_as_ids(tmp_path, nli):
    path = put(tmp_path, "en/test.jsonl", jsonl(PAIRS))
    rows = load_rows(nli, "en", "test", folder=tmp_path)
    assert rows.table[:] == {
        "id": ["0", "1", "2"],
        "text": [row["premise"] for row in PAIRS],
        "text_pair": [row["hypothesis"] for row in PAIRS],
        "label": [0, 1, 2],
    }
    assert (rows.split, rows.language, rows.origin, rows.notes) == ("test", "en", str(path), ())
    assert len(rows) == 3


def test_a_few_rows_are_loaded_by_their_ids_with_the_fingerprint_of_the_whole_split(tmp_path, nli):
    put(tmp_path, "en/test.jsonl", jsonl(PAIRS))
    whole = load_rows(nli, "en", "test", folder=tmp_path)
    examples, fingerprint = load_examples(nli, "en", "test", ["2", "0", "7"], folder=tmp_path)
    assert examples == {id_: whole.table[int(id_)] for id_ in ("0", "2")}
    assert fingerprint == whole.fingerprint


@pytest.mark.parametrize("ending", WRITERS)
def test_every_format_gives_the_same_rows(tmp_path, nli, ending):
    plain = [{**row, "hypothesis": row["hypothesis"].replace("\t", " ")} for row in PAIRS]
    put(tmp_path, "a/en/test.jsonl", jsonl(plain))
    (tmp_path / "b/en").mkdir(parents=True)
    WRITERS[ending](plain, tmp_path / f"b/en/test{ending}")
    first, other = (load_rows(nli, "en", "test", folder=tmp_path / name) for name in "ab")
    assert first.fingerprint == other.fingerprint
    assert first.table[:] == other.table[:]


@pytest.mark.parametrize(
    ("ending", "compress"),
    [(".gz", gzip.compress), (".xz", lzma.compress), (".bz2", bz2.compress), (".zst", zstandard)],
)
def test_compressed_files_are_read(tmp_path, nli, ending, compress):
    put(tmp_path, f"en/test.jsonl{ending}", compress(jsonl(PAIRS)))
    assert load_rows(nli, "en", "test", folder=tmp_path).table["label"][:] == [0, 1, 2]


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path, nli):
    put(tmp_path, "a/en/test.jsonl", jsonl(PAIRS))
    put(tmp_path, "b/en/test.jsonl", b"\xef\xbb\xbf" + jsonl(PAIRS).replace(b"\n", b"\r\n"))
    text = "premise,hypothesis,label\r\n" + "".join(
        f'"{r["premise"]}","{r["hypothesis"]}",{r["label"]}\r\n' for r in PAIRS
    )
    put(tmp_path, "c/en/test.csv", b"\xef\xbb\xbf" + text.encode())
    prints = {load_rows(nli, "en", "test", folder=tmp_path / name).fingerprint for name in "abc"}
    assert len(prints) == 1


def test_json_with_rows_under_data_and_json_lines_called_json_are_read(tmp_path, nli):
    put(tmp_path, "a/en/test.json", json.dumps({"version": 1, "data": PAIRS}).encode())
    put(tmp_path, "b/en/test.json", jsonl(PAIRS))
    for name in "ab":
        assert len(load_rows(nli, "en", "test", folder=tmp_path / name)) == 3


def test_csv_fields_may_hold_commas_quotes_line_breaks_and_much_text(tmp_path, nli):
    long = {"premise": 'He said "no",\nthen left.', "hypothesis": "x" * 300_000, "label": "neutral"}
    (tmp_path / "en").mkdir()
    as_csv([long, *PAIRS], tmp_path / "en/test.csv")
    assert load_rows(nli, "en", "test", folder=tmp_path).table[0] == {
        "id": "0", "text": long["premise"], "text_pair": long["hypothesis"], "label": 1,
    }  # fmt: skip


def test_quotes_in_tab_separated_files_are_text(tmp_path, nli):
    put(
        tmp_path,
        "en/test.tsv",
        b'premise\thypothesis\tlabel\n"Stop," he said.\tHe "spoke\tneutral\nA.\tB.\tentailment\n',
    )
    assert load_rows(nli, "en", "test", folder=tmp_path).table["text"][0] == '"Stop," he said.'


def test_a_line_of_ten_megabytes_is_read(tmp_path, nli):
    put(tmp_path, "en/test.jsonl", jsonl([{**PAIRS[0], "premise": "word " * 2_000_000}, *PAIRS]))
    assert len(load_rows(nli, "en", "test", folder=tmp_path).table[0]["text"]) == 10_000_000


@pytest.mark.parametrize(
    "labels",
    [
        ["entailment", "neutral", "contradiction"],
        ["Entailment", " NEUTRAL ", "contradiction"],
        [0, 1, 2],
        ["0", "1", "2"],
        [0.0, 1.0, 2.0],
    ],
)
def test_labels_are_words_in_any_case_or_ids_in_the_tasks_order(tmp_path, nli, labels):
    put(tmp_path, "en/test.jsonl", jsonl([{**row, "label": label} for row, label in zip(PAIRS, labels, strict=True)]))
    assert load_rows(nli, "en", "test", folder=tmp_path).table["label"][:] == [0, 1, 2]


def test_label_names_that_are_digits_are_never_read_as_ids(tmp_path, nli):
    numbered = nli.model_copy(update={"labels": ("1", "2", "3")})
    put(tmp_path, "en/test.jsonl", jsonl([{**PAIRS[0], "label": label} for label in (1, "3", 2)]))
    assert load_rows(numbered, "en", "test", folder=tmp_path).table["label"][:] == [0, 2, 1]
    put(tmp_path, "de/test.jsonl", jsonl([{**PAIRS[0], "label": label} for label in (0, 1, 2)]))
    assert "`label` is 0; the labels are 1, 2, 3" in refusal(numbered, tmp_path, "de")


@pytest.mark.parametrize("extension", [".parquet", ".arrow"])
def test_a_table_whose_text_is_not_utf_8_is_damaged(extension, tmp_path, nli):
    text = pa.array([b"\xff\xfe"]).cast(pa.binary())
    table = pa.table({"premise": pa.Array.from_buffers(pa.string(), 1, text.buffers()), "hypothesis": ["b"],
                      "label": ["neutral"]})  # fmt: skip
    (tmp_path / "en").mkdir()
    path = tmp_path / "en" / f"test{extension}"
    if extension == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    with pytest.raises(UserError, match=r"is damaged or is not an? (Parquet|Arrow) file"):
        load_rows(nli, "en", "test", folder=tmp_path)


def test_label_names_stored_in_a_parquet_file_decide_over_their_order(tmp_path, nli):
    import datasets

    names = ["contradiction", "entailment", "neutral"]  # not the task's order
    features = datasets.Features(
        {
            "premise": datasets.Value("string"),
            "hypothesis": datasets.Value("string"),
            "label": datasets.ClassLabel(names=names),
        }
    )
    (tmp_path / "en").mkdir()
    datasets.Dataset.from_list(PAIRS, features=features).to_parquet(tmp_path / "en/test.parquet")
    assert load_rows(nli, "en", "test", folder=tmp_path).table["label"][:] == [0, 1, 2]


def test_single_texts_need_no_second_column(tmp_path, nli):
    single = nli.model_copy(update={"columns": {"text": "sentence", "label": "y"}})
    put(tmp_path, "en/test.jsonl", jsonl([{"sentence": "a", "y": 0}, {"sentence": "b", "y": 1}]))
    assert load_rows(single, "en", "test", folder=tmp_path).table.column_names == ["id", "text", "label"]


def test_the_datas_own_ids_are_kept_where_the_task_names_them(tmp_path, nli):
    named = nli.model_copy(update={"columns": {**nli.columns, "id": "uid"}})
    put(tmp_path, "en/test.jsonl", jsonl([{**row, "uid": uid} for row, uid in zip(PAIRS, ["x", 7, "z"], strict=True)]))
    assert load_rows(named, "en", "test", folder=tmp_path).table["id"][:] == ["x", "7", "z"]


def test_a_limit_takes_the_first_rows_and_changes_the_fingerprint(tmp_path, nli):
    put(tmp_path, "en/test.jsonl", jsonl(PAIRS * 100))
    whole = load_rows(nli, "en", "test", folder=tmp_path)
    some = load_rows(nli, "en", "test", folder=tmp_path, limit=10)
    assert some.table[:] == whole.table[:10]
    assert some.fingerprint != whole.fingerprint


def test_a_limit_within_rows_of_one_label_is_not_taken_for_hidden_labels(tmp_path, nli):
    put(tmp_path, "en/test.jsonl", jsonl([PAIRS[0]] * 5 + [PAIRS[1]]))
    assert load_rows(nli, "en", "test", folder=tmp_path, limit=3).table["label"][:] == [0, 0, 0]


def test_the_fingerprint_tells_content_and_order_and_nothing_else(tmp_path, nli, monkeypatch):
    put(tmp_path, "a/en/test.jsonl", jsonl(PAIRS))
    put(tmp_path, "b/en/test.jsonl", jsonl([{**row, "unused": 1} for row in PAIRS]))
    put(tmp_path, "c/en/test.jsonl", jsonl(PAIRS[::-1]))
    put(tmp_path, "d/en/test.jsonl", jsonl([{**PAIRS[0], "premise": "A dog ran."}, *PAIRS[1:]]))
    a, b, c, d = (load_rows(nli, "en", "test", folder=tmp_path / name).fingerprint for name in "abcd")
    assert a == b
    assert len({a, c, d}) == 3
    monkeypatch.setattr("xmodctl.data.tables.ROWS_AT_A_TIME", 2)
    assert load_rows(nli, "en", "test", folder=tmp_path / "a").fingerprint == a


# --- folders ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["de", "de_DE", "deu", "German", "de-DE"])
@pytest.mark.parametrize("stored", ["de", "de_DE", "deu_Latn", "german"])
def test_a_languages_folder_is_found_in_any_spelling(tmp_path, nli, spelling, stored):
    put(tmp_path, f"{stored}/test.jsonl", jsonl(PAIRS))
    put(tmp_path, "en/test.jsonl", jsonl(PAIRS))
    assert load_rows(nli, spelling, "test", folder=tmp_path).language == stored


def test_two_folders_for_one_language_are_refused(tmp_path, nli):
    for name in ("de", "deu"):
        put(tmp_path, f"{name}/test.jsonl", jsonl(PAIRS))
    assert "two folders for `de` (German), de and deu" in refusal(nli, tmp_path, "de")


def test_a_missing_folder_language_or_split_says_what_there_is(tmp_path, nli):
    put(tmp_path, "en/test.jsonl", jsonl(PAIRS))
    put(tmp_path, "en/train.jsonl", jsonl(PAIRS))
    put(tmp_path, "sw/test.jsonl", jsonl(PAIRS))
    assert "nowhere does not exist" in refusal(nli, tmp_path / "nowhere")
    assert "no language `fr` (French); it has en, sw" in refusal(nli, tmp_path, "fr")
    assert "no split `validation`; it has train, test" in refusal(nli, tmp_path, "en", "validation")


@pytest.mark.parametrize(
    "name", ["hr/xnli.test.de.csv", "hr/en_test.csv", "xnli.test.hr.csv", "other/TEST-hr.csv", "hr/data.csv"]
)
def test_a_file_with_another_name_is_named_with_a_command_that_renames_it(tmp_path, nli, name):
    folder = tmp_path / "it's data"
    path = put(folder, name, b"premise,hypothesis,label\na,b,0\na,b,1\n")
    put(folder, "en/test.jsonl", jsonl(PAIRS))
    put(folder, "README.md", b"about")
    message = refusal(nli, folder, "hr")
    assert f"there is {path}" in message
    command = message.rpartition(": ")[2]
    subprocess.run(command, shell=True, check=True)
    assert load_rows(nli, "hr", "test", folder=folder).table["label"][:] == [0, 1]


def test_a_file_in_no_format_that_is_read_is_named(tmp_path, nli):
    path = put(tmp_path, "hr/test.ods", b"PK")
    message = refusal(nli, tmp_path, "hr")
    assert f"there is {path}, in none of the formats that are read (.jsonl, .ndjson, .json, .csv" in message


def test_a_split_that_is_missing_beside_others_is_looked_for_under_other_names(tmp_path, nli):
    put(tmp_path, "hr/train.jsonl", jsonl(PAIRS))
    path = put(tmp_path, "hr/xnli.dev.hr.jsonl", jsonl(PAIRS))
    message = refusal(nli, tmp_path, "hr", "validation")
    assert "no split `validation`; it has train" in message
    assert message.endswith(f"rename it: mv {path} {path.parent}/validation.jsonl")


def test_two_files_for_one_split_are_refused(tmp_path, nli):
    put(tmp_path, "en/dev.jsonl", jsonl(PAIRS))
    put(tmp_path, "en/validation.csv.gz", b"")
    assert "two files for the split `validation`, dev.jsonl and validation.csv.gz" in refusal(
        nli, tmp_path, "en", "validation"
    )


def test_coverage_of_a_folder_is_its_languages_and_their_splits(tmp_path, nli):
    put(tmp_path, "en/train.jsonl", b"")
    put(tmp_path, "en/test.jsonl.gz", b"")
    put(tmp_path, "sw/dev.parquet", b"")
    put(tmp_path, "figures/plot.png", b"")
    put(tmp_path, ".git/test.jsonl", b"")
    assert coverage(nli, tmp_path) == {"en": ("train", "test"), "sw": ("validation",)}


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_a_missing_column_names_the_place_the_columns_seen_and_the_remedy(tmp_path, nli):
    rows = [{"premise": "a", "hypothesis": "b", "gold_label": "neutral"}]
    path = put(tmp_path, "en/test.jsonl", jsonl(rows))
    message = refusal(nli, tmp_path)
    assert message.startswith(f"{path}:1: no column `label`")
    assert "premise, hypothesis, gold_label" in message
    assert "--set columns.label=gold_label" in message


def test_the_missing_column_is_told_once_also_for_csv_and_parquet(tmp_path, nli):
    rows = [{"premise": "a", "label": "neutral"}] * 20
    for ending in (".csv", ".parquet"):
        folder = tmp_path / ending[1:]
        (folder / "en").mkdir(parents=True)
        WRITERS[ending](rows, folder / f"en/test{ending}")
        message = refusal(nli, folder)
        assert message.count("no column `hypothesis`") == 1
        assert "--set columns.text_pair=" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "entails"}, "`label` is \"entails\"; the labels are entailment, neutral, contradiction"),
        ({"label": 3}, "`label` is 3; the labels are"),
        ({"label": True}, "`label` is true; the labels are"),
        ({"label": None}, "`label` is empty (null)"),
        ({"label": 0.5}, "`label` is 0.5; labels are classes (for numbers: `kind: text-regression`)"),
        ({"label": ["a", "b"]}, "`label` is [\"a\", \"b\"]; each text has one label here"),
        ({"premise": ""}, "`premise` is empty"),
        ({"premise": " \u3000\n"}, "`premise` is empty"),
        ({"premise": None}, "`premise` is empty (null)"),
        ({"premise": 7}, "`premise` is 7; expected text"),
        ({"hypothesis": ["a", "b"]}, "`hypothesis` is [\"a\", \"b\"]; expected text"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_is_told_with_its_line(tmp_path, nli, change, message):
    path = put(tmp_path, "en/test.jsonl", jsonl([PAIRS[0], {**PAIRS[1], **change}, PAIRS[2]]))
    assert refusal(nli, tmp_path).startswith(f"{path}:2: {message}")


def test_a_row_that_lacks_a_column_which_others_have_is_told(tmp_path, nli):
    path = put(tmp_path, "en/test.jsonl", jsonl([*PAIRS, {"premise": "x", "label": 1}]))
    assert (
        refusal(nli, tmp_path)
        == f"{path}:4: the row has no `hypothesis`, only premise, label; fill it in or remove the row"
    )


def test_half_a_character_is_told(tmp_path, nli):
    path = put(tmp_path, "en/test.jsonl", jsonl(PAIRS) + b'{"premise": "\\ud83d", "hypothesis": "b", "label": 0}\n')
    assert refusal(nli, tmp_path).startswith(f"{path}:4: `premise` contains an unpaired surrogate")


def test_many_mistakes_are_told_together_and_counted(tmp_path, nli):
    path = put(tmp_path, "en/test.jsonl", jsonl([*PAIRS, *({**PAIRS[0], "label": f"odd {i}"} for i in range(17))]))
    first, *lines = refusal(nli, tmp_path).splitlines()
    assert first == f"{path} has 17 mistakes:"
    assert [line.split(": ")[0] for line in lines[:-1]] == [f"  {path}:{number}" for number in range(4, 9)]
    assert lines[-1] == "  and 12 more"


def test_bytes_that_are_not_utf8_are_told_with_line_and_byte(tmp_path, nli):
    path = put(tmp_path, "en/test.jsonl", jsonl(PAIRS[:1]) + '{"premise": "caf\u00e9"}'.encode("latin-1"))
    assert refusal(nli, tmp_path).startswith(f"{path}:2:17: byte 0xe9 is not UTF-8")


def test_a_line_that_is_cut_off_is_told(tmp_path, nli):
    path = put(tmp_path, "en/test.jsonl", jsonl(PAIRS)[:-20])
    message = refusal(nli, tmp_path)
    assert message.startswith(f"{path}:3: this is not JSON")
    assert "the line seems truncated" in message


def test_a_file_that_is_cut_off_within_a_character_is_told(tmp_path, nli):
    whole = jsonl(PAIRS)
    path = put(tmp_path, "en/test.jsonl", whole[: whole.index("犬".encode()) + 1])
    assert refusal(nli, tmp_path).startswith(f"{path}:3:14: the file ends in the middle of a character")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"[1, 2]", "found [1, 2]"),
        (b'"x"', 'found "x"'),
        (b"{'a': 1}", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_line_that_is_no_object_is_told(tmp_path, nli, line, message):
    put(tmp_path, "en/test.jsonl", jsonl(PAIRS) + line + b"\n")
    assert message in refusal(nli, tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("test.json", b'[{"premise": "a",\n "label": ]', "test.json:2: this is not JSON"),
        ("test.json", b'"text"', "expected a list of rows"),
        ("test.json", b'[{"premise": "a", "hypothesis": "b", "label": 0}, 5]', "test.json row 2: a row is a JSON"),
        ("test.csv", b"premise,hypothesis,label\na,b,0\na,b,c,1\n", "test.csv:3: the row has 4 fields, the header 3"),
        ("test.csv", b'premise,hypothesis,label\na,b,0\n"a,b,1\n', "is a closing quote missing"),
        ("test.tsv", b"premise\thypothesis\tlabel\na\tb\n", "test.tsv:2: the row has 2 fields, the header 3"),
        ("test.csv", b"premise,hypothesis,label\n", "contains no rows"),
        ("test.parquet", b"PAR1 and then nothing", "test.parquet is damaged or is not a Parquet file"),
        ("test.jsonl.gz", gzip.compress(jsonl(PAIRS) * 50, mtime=0)[:-20], "test.jsonl.gz is damaged or truncated"),
        ("test.jsonl.gz", jsonl(PAIRS), "test.jsonl.gz is damaged or truncated"),
        ("test.jsonl.xz", lzma.compress(jsonl(PAIRS) * 50)[:-20], "test.jsonl.xz is damaged or truncated"),
        ("test.jsonl.zst", zstandard(jsonl(PAIRS) * 50)[:-5], "test.jsonl.zst"),
        ("test.jsonl", b"", "is empty"),
        ("test.jsonl", b"\n\n", "contains no rows"),
    ],
)  # fmt: skip
def test_a_broken_file_is_told(tmp_path, nli, name, content, message):
    put(tmp_path, f"en/{name}", content)
    assert message in refusal(nli, tmp_path)


def test_an_id_that_comes_twice_is_told(tmp_path, nli):
    named = nli.model_copy(update={"columns": {**nli.columns, "id": "uid"}})
    path = put(tmp_path, "en/test.jsonl", jsonl({**row, "uid": "same"} for row in PAIRS[:2]))
    assert refusal(named, tmp_path).startswith(f'{path}:2: `uid` "same" is also the id of an earlier row')


def test_a_file_that_cannot_be_read_is_told(tmp_path, nli):
    put(tmp_path, "en/test.jsonl", b"").unlink()
    (tmp_path / "en/test.jsonl").symlink_to(tmp_path / "gone")
    assert "cannot read" in refusal(nli, tmp_path)


@pytest.mark.parametrize("change", ["longer", "touched", "replaced"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, nli, monkeypatch, change):
    path = put(tmp_path, "en/test.jsonl", jsonl(PAIRS))
    predicted = readers.json.loads

    def meanwhile(line: str, **options: Any) -> Any:
        if change == "longer":
            path.write_bytes(jsonl(PAIRS * 2))
        elif change == "touched":
            os.utime(path, (1, 1))
        else:
            new = path.with_suffix(".new")
            new.write_bytes(jsonl(PAIRS[::-1]))
            os.utime(new, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
            new.replace(path)
        return predicted(line, **options)

    monkeypatch.setattr(readers.json, "loads", meanwhile)
    assert "changed while it was being read" in refusal(nli, tmp_path)


# --- hidden labels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", [-1, -1.0, "-1", "-1.0", "-"])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_labels_that_stand_for_none_are_a_hidden_test_set(tmp_path, nli, split, label):
    put(tmp_path, f"en/{split}.jsonl", jsonl({**row, "label": label} for row in PAIRS))
    assert "hidden test set" in refusal(nli, tmp_path, split=split)


@pytest.mark.parametrize("count", [2, 3, 300])
@pytest.mark.parametrize("label", [0, "neutral"])
def test_a_diagnostic_set_of_one_class_is_read_with_a_note(tmp_path, nli, count, label):
    path = put(tmp_path, "en/test.jsonl", jsonl({**PAIRS[0], "label": label} for _ in range(count)))
    rows = load_rows(nli, "en", "test", folder=tmp_path)
    assert len(rows) == count
    (note,) = rows.notes
    assert note.startswith(f"{path}: every row has the same label; if the true ones are hidden")


def test_labels_that_never_vary_teach_nothing(tmp_path, nli):
    put(tmp_path, "en/train.jsonl", jsonl([PAIRS[0]] * 10))
    assert "nothing to learn" in refusal(nli, tmp_path, split="train")


@pytest.mark.parametrize("label", ["-", -1])
def test_training_rows_without_a_gold_label_are_left_out_and_counted(tmp_path, nli, label):
    path = put(tmp_path, "en/train.jsonl", jsonl([PAIRS[0], {**PAIRS[1], "label": label}, PAIRS[2]]))
    rows = load_rows(nli, "en", "train", folder=tmp_path)
    assert rows.table["id"][:] == ["0", "2"]
    assert rows.notes == (f"{path}: 1 of 3 rows have no gold label and are excluded",)


def test_a_single_row_without_a_gold_label_in_an_evaluation_split_is_a_mistake(tmp_path, nli):
    path = put(tmp_path, "en/test.jsonl", jsonl([*PAIRS, {**PAIRS[0], "label": "-"}]))
    assert refusal(nli, tmp_path).startswith(f'{path}:4: `label` is "-", which means that there is no gold label')


# --- size and real files ----------------------------------------------------------------------------------------------


def test_the_table_of_many_rows_is_built_in_parts(tmp_path, nli):
    count = 2 * readers.ROWS_AT_A_TIME + 5
    put(tmp_path, "en/train.jsonl", jsonl(PAIRS[i % 3] for i in range(count)))
    rows = load_rows(nli, "en", "train", folder=tmp_path)
    assert len(rows) == count
    assert rows.table["id"][count - 1] == str(count - 1)
    assert rows.table["label"][count - 1] == (count - 1) % 3


@pytest.mark.realdata
def test_the_real_xnli_files_are_parallel():
    folder = os.environ.get("XMODCTL_REALDATA")
    if not folder:
        pytest.skip("XMODCTL_REALDATA names no folder with benchmark files")
    xnli = task("xnli")
    codes = coverage(xnli, Path(folder) / "xnli")
    assert set(codes) == set(xnli.languages)
    gold = {tuple(load_rows(xnli, language, "test", folder=Path(folder) / "xnli").table["label"]) for language in codes}
    assert len(gold) == 1


# --- what is long, strange or in another encoding ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "entry"),
    [
        ("test.jsonl", json.dumps({**PAIRS[0], "label": "x" * 10**6}), "the labels are entailment"),
        ("test.jsonl", "x" * 10**6, "this is not JSON"),
        ("test.csv", f"premise,hypothesis,label\np,h,neutral\n\"{'x' * 10**6},h,neutral\nq,h,neutral\n",
         ":3: the row that starts here is not valid CSV"),
        ("test.csv", ",".join(f"c{n}" for n in range(10**5)) + "\n" + "," * (10**5 - 1) + "\n",
         "no column `premise` for the text (found c0, c1,"),
    ],
)  # fmt: skip
def test_a_message_about_much_text_is_short(tmp_path, nli, name, content, entry):
    put(tmp_path, f"de/{name}", content.encode())
    message = refusal(nli, tmp_path, "de")
    assert entry in message
    assert len(message) < 700


UTF16 = {
    "jsonl": '{"premise": "東京 \U0001f600", "hypothesis": "h\u2028", "label": "neutral"}\r\n' * 2,
    "ndjson": '{"premise": "東京 \U0001f600", "hypothesis": "h\u2028", "label": "neutral"}\n' * 2,
    "json": '[{"premise": "東京 \U0001f600", "hypothesis": "h\u2028", "label": "neutral"},\n'
    '{"premise": "東京 \U0001f600", "hypothesis": "h\u2028", "label": "neutral"}]',
    "csv": "premise,hypothesis,label\r\n" + "東京 \U0001f600,h\u2028,neutral\r\n" * 2,
    "csv.gz": "premise\thypothesis\tlabel\r\n" + "東京 \U0001f600\th\u2028\tneutral\r\n" * 2,
    "tsv": "premise\thypothesis\tlabel\n" + "東京 \U0001f600\th\u2028\tneutral\n" * 2,
}


@pytest.mark.parametrize("ending", UTF16)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_is_read_with_and_without_its_mark_and_noted_once(tmp_path, nli, ending, encoding):
    content = UTF16[ending].encode(encoding)
    put(tmp_path, f"de/test.{ending}", gzip.compress(content) if ending.endswith(".gz") else content)
    rows = load_rows(nli, "de", "test", folder=tmp_path)
    assert [(row["text"], row["text_pair"]) for row in rows.table] == [("東京 \U0001f600", "h\u2028")] * 2
    assert sum("is in UTF-16 and is read as such" in note for note in rows.notes) == 1


@pytest.mark.parametrize("damage", [b"a", b"\x00\xd8a\x00"])
def test_utf16_that_is_cut_off_or_has_half_a_character_is_told(tmp_path, nli, damage):
    put(tmp_path, "de/test.csv", UTF16["csv"].encode("utf-16") + damage)
    assert "not all of it is UTF-16 text" in refusal(nli, tmp_path, "de")


def test_zero_bytes_are_told(tmp_path, nli):
    put(tmp_path, "de/test.csv", b"premise,hyp\0othesis,label\n")
    assert "contains zero bytes, so it is not text in UTF-8" in refusal(nli, tmp_path, "de")


@pytest.mark.parametrize("ending", ["jsonl", "csv", "tsv"])
def test_line_ends_of_cr_alone_are_told(tmp_path, nli, ending):
    put(tmp_path, f"de/test.{ending}", b"premise\thypothesis\tlabel\rp\th\tneutral\r")
    assert "ends its lines with CR alone" in refusal(nli, tmp_path, "de")


def test_many_languages_in_a_column_are_not_all_listed(tmp_path, nli):
    put(tmp_path, "test.jsonl", jsonl([{**PAIRS[0], "lang": f"q{number:03}"} for number in range(90)]))
    message = refusal(nli, tmp_path, "de")
    assert "q000, q001" in message
    assert "and 70 more" in message
