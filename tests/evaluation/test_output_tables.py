import csv
import json

import pyarrow.parquet as pq
import pytest

from xmodctl.core.errors import UserError
from xmodctl.evaluation.output_tables import arrow_table, write_rows

ROWS = [
    {"id": "a\ud800", "label": "yes", "scores": {"yes\udfff": 0.5}},
    {"id": "b", "label": "no", "scores": {"yes\udfff": 1.0}},
]


@pytest.mark.parametrize("extension", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_lone_surrogates_are_written_as_escapes(tmp_path, extension):
    path = tmp_path / f"out{extension}"
    write_rows(path, extension, [ROWS])
    match extension:
        case ".parquet":
            row = pq.read_table(path).to_pylist()[0]
            assert row == {"id": "a\\ud800", "label": "yes", "scores": {"yes\\udfff": 0.5}}
        case ".jsonl":
            assert json.loads(path.read_text().splitlines()[0]) == ROWS[0]
        case _:
            with path.open(newline="") as file:
                row = next(csv.DictReader(file, delimiter="\t" if extension == ".tsv" else ","))
            assert row == {"id": "a\\ud800", "label": "yes", "score.yes\\udfff": "0.5"}


@pytest.mark.parametrize("identity", [{"a": 1}, ["a"], "a", 2**70])
def test_values_that_one_parquet_column_cannot_hold_are_refused(tmp_path, identity):
    rows = [{"id": 0, "label": "yes"}, {"id": identity, "label": "no"}]
    with pytest.raises(UserError, match=r"do not fit into one Parquet table .*; write to a \.jsonl file"):
        write_rows(tmp_path / "out.parquet", ".parquet", [rows])
    with pytest.raises(UserError, match=r"do not fit into one Parquet table"):
        arrow_table(rows)
