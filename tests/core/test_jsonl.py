"""JSON lines: one reader for every file of them, one rule for lines that a crash tore."""

import json

import pytest

from xmodctl.core import jsonl
from xmodctl.core.errors import UserError
from xmodctl.core.mistakes import RowError

ROWS = [{"id": str(number), "text": "ü" * number} for number in range(5)]


@pytest.fixture
def path(tmp_path):
    jsonl.write(tmp_path / "rows.jsonl", ROWS)
    return tmp_path / "rows.jsonl"


def refusal(path, **options):
    with pytest.raises(UserError) as caught:
        list(jsonl.read(path, remedy="write it again", **options))
    return str(caught.value)


def test_rows_come_back_as_they_were_written_with_their_lines(path):
    assert list(jsonl.read(str(path), remedy="")) == list(enumerate(ROWS, start=1))
    assert path.read_bytes() == b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in ROWS)


def test_blank_lines_are_skipped_and_counted(path):
    path.write_bytes(b'\n{"a": 1}\n  \n{"a": 2}')
    assert list(jsonl.read(path, remedy="")) == [(2, {"a": 1}), (4, {"a": 2})]


def test_an_empty_file_holds_no_rows(path):
    path.write_bytes(b"")
    assert list(jsonl.read(path, remedy="")) == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"a": 1', "this is not JSON (Expecting ',' delimiter, column 8); the line seems truncated"),
        (b'{"a": 1}, {"a": 2}', "this is not JSON (Extra data, column 9)"),
        (b"[1, 2]", "a row is a JSON object {...}, found [1, 2]"),
        (b'"\xff"', "byte 2 of the line is not UTF-8"),
        (b"[" * 200_000, "this is not JSON (nested too deeply)"),
        (b'{"a": ' + b"9" * 5000 + b"}", "this is not JSON (Exceeds the limit"),
    ],
)
def test_a_damaged_line_is_named_with_its_file_and_number(path, line, problem):
    whole = path.read_bytes()
    path.write_bytes(whole + line + b"\n" + whole)
    for append_only in (False, True):
        message = refusal(path, append_only=append_only)
        assert message.startswith(f"{path}:6: {problem}")
        assert message.endswith("; write it again")


def test_an_object_that_is_spread_over_lines_is_damage_even_where_the_number_of_objects_fits(path):
    path.write_bytes(b'{"a": 1\n"b": 2}\n{"c": 3}, {"d": 4}\n')
    assert f"{path}:1:" in refusal(path)


def test_a_torn_last_line_is_skipped_in_a_file_that_grows_and_damage_in_any_other(path):
    with path.open("ab") as file:
        file.write(b'{"id": "5", "te')
    assert [row for _, row in jsonl.read(path, remedy="", append_only=True)] == ROWS
    assert f"{path}:6: " in refusal(path)


def test_a_torn_last_line_is_cut_off_before_the_next_is_appended(path):
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(b'{"id": "' + b"5" * 200_000)
    jsonl.append(str(path), {"id": "new"})
    assert path.read_bytes() == whole + b'{"id": "new"}\n'


def test_a_file_of_one_torn_line_starts_anew(tmp_path):
    path = tmp_path / "new" / "rows.jsonl"
    jsonl.append(path, {"a": 1}, durable=False)
    path.write_bytes(b'{"a"')
    jsonl.append(path, {"a": 2}, durable=False)
    assert path.read_bytes() == b'{"a": 2}\n'


def test_lines_beyond_a_block_keep_their_numbers(tmp_path):
    path = tmp_path / "long.jsonl"
    rows = [{"text": "x" * 1000, "number": number} for number in range(3000)]
    jsonl.write(path, rows)
    assert [row["number"] for _, row in jsonl.read(path, remedy="")] == list(range(3000))
    with path.open("ab") as file:
        file.write(b"torn\n")
    assert f"{path}:3001: this is not JSON" in refusal(path)


def test_a_line_alone_is_parsed_by_the_same_rule():
    assert jsonl.parse_object('{"a": 1}') == {"a": 1}
    with pytest.raises(RowError, match="a row is a JSON object"):
        jsonl.parse_object("3")
