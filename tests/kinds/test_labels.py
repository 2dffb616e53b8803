"""Labels as data writes them."""

import csv
import json
import re
import shlex
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.mistakes import NoGoldError, RowError
from xmodctl.core.schema import parse_override
from xmodctl.data import load_rows
from xmodctl.kinds.labels import Labels

STARS = ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")


@pytest.mark.parametrize(
    ("names", "value", "label"),
    [
        (("1.0", "0.0"), "1.0", 0),  # as it is written
        (("1.0", "0.0"), 1.0, 0),
        (("1.0", "0.0"), Decimal("1.0"), 0),
        (("1.0", "2.0", "3.0"), 1.0, 0),
        (("1.0", "2.0", "3.0"), "3.0", 2),
        (("0.0", "1.0"), 1, 1),  # label and id agree
        (("-1", "0", "1"), -1, 0),
        (("0.5", "1.5"), 1.5, 1),
        (("0.50", "1.50"), 1.5, 1),
        (("1", "2", "3"), 2.0, 1),
        (("1", "2", "3"), "2.0", 1),
        (("1", "2", "3"), Decimal("2.00"), 1),
        (("bad", "good"), 0.0, 0),
        (("bad", "good"), "1.0", 1),
        (("bad", "good"), Decimal("1.0"), 1),
        (("bad", "good"), True, 1),
        (("bad", "good"), "False", 0),
        (("true", "false"), True, 0),
        (("True", "False"), False, 1),
        (("False", "True"), "true", 1),
        (STARS, "5 stars", 4),
        (STARS, 5, 4),
        (("0 stars", "1 star"), 1, 1),
        (("yes", "no"), "No", 1),
    ],
)
def test_a_label_is_read_as_written_then_as_a_number(names, value, label):
    assert Labels(names).id_of(value, "y") == label


@pytest.mark.parametrize("value", [1, 2, 3, 4, "1", "4", 4.0, "2.0"])
def test_a_number_that_may_be_the_label_or_the_id_of_another_is_refused(value):
    with pytest.raises(RowError, match=r"may mean the label .* whose id is \d; say which with `--set"):
        Labels(STARS).id_of(value, "y")


def test_numbers_in_the_names_of_positions_say_nothing():
    assert Labels(("choice1", "choice2"), by_position=True).id_of(1, "label") == 1


@pytest.mark.parametrize(("names", "value"), [(("1.0", "0.0"), 1), (("1.0", "0.0"), "0"), (("2", "3"), 0)])
def test_a_number_that_is_written_differently_is_never_taken_for_a_position(names, value):
    with pytest.raises(RowError):
        Labels(names).id_of(value, "y")


@pytest.mark.parametrize("value", [-1, "-1", -1.0, "-1.0", Decimal("-1.0"), "-"])
def test_no_label_is_written_in_many_ways(value):
    with pytest.raises(NoGoldError):
        Labels(("bad", "good")).id_of(value, "y")


@pytest.mark.parametrize("value", [0.5, "0.5", Decimal("0.5")])
def test_a_number_with_a_fraction_is_refused_in_every_format(value):
    with pytest.raises(RowError, match=r"labels are classes \(for numbers: `kind: text-regression`\)"):
        Labels(("bad", "good")).id_of(value, "y")


@pytest.mark.parametrize("value", [True, [1], None, "maybe", 3, "9" * 5000])
def test_what_is_no_label_is_refused(value):
    with pytest.raises(RowError, match="the labels are"):
        Labels(("a", "b", "c")).id_of(value, "y")


TASK = Task(
    name="mine", title="Mine", kind="sequence-classification", columns={"text": "t", "label": "y", "id": "key"},
    labels=STARS, languages=["en"], recipe="nli",
)  # fmt: skip


def as_csv(rows: list[dict[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


FORMATS = {
    "jsonl": lambda rows, path: path.write_text("".join(json.dumps(row) + "\n" for row in rows)),
    "json": lambda rows, path: path.write_text(json.dumps(rows)),
    "csv": as_csv,
    "tsv": lambda rows, path: path.write_text(
        "".join("\t".join(map(str, line)) + "\n" for line in [list(rows[0]), *(row.values() for row in rows)])
    ),
    "parquet": lambda rows, path: pq.write_table(pa.Table.from_pylist(rows), path),
}


@pytest.mark.parametrize(
    ("labels", "values", "ids"),
    [
        (["1.0", "0.0"], [1.0, 0.0], [0, 1]),
        (["1.0", "2.0", "3.0"], [1.0, 3.0], [0, 2]),
        (["bad", "good"], [0.0, 1.0], [0, 1]),
        (["bad", "good"], [True, False], [1, 0]),
        (["true", "false"], [True, False], [0, 1]),
        (["1", "2"], [2.0, 1.0], [1, 0]),
    ],
)
def test_the_same_labels_and_ids_mean_the_same_in_every_format(tmp_path, labels, values, ids):
    task = TASK.with_values({"labels": labels}, origin="--set")
    tables = {}
    for format_, write in FORMATS.items():
        folder = tmp_path / format_ / "en"
        folder.mkdir(parents=True)
        rows = [{"t": "x", "y": value, "key": 7.5 + row} for row, value in enumerate(values)]
        write(rows, folder / f"test.{format_}")
        tables[format_] = load_rows(task, "en", "test", folder=folder.parent).arrow
    assert tables["jsonl"]["label"].to_pylist() == ids
    assert tables["jsonl"]["id"].to_pylist() == ["7.5", "8.5"]
    assert all(table.equals(tables["jsonl"]) for table in tables.values())


@pytest.mark.parametrize(("remedy", "ids"), [(0, [0, 3]), (1, [1, 4])])
def test_either_remedy_for_an_ambiguous_number_works_as_it_is_given(tmp_path, remedy, ids):
    (tmp_path / "en").mkdir()
    (tmp_path / "en/test.jsonl").write_text('{"t": "x", "y": 1}\n{"t": "x", "y": 4}\n')
    with pytest.raises(UserError) as caught:
        load_rows(TASK, "en", "test", folder=tmp_path)
    option, setting = shlex.split(re.findall("`(--set .*?)`", str(caught.value))[remedy])
    assert option == "--set"
    changes = dict([parse_override(setting)])
    rows = load_rows(TASK.with_values(changes, origin="--set"), "en", "test", folder=tmp_path)
    assert rows.arrow["label"].to_pylist() == ids
