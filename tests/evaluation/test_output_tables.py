import csv
import json

import pyarrow.parquet as pq
import pytest

from xmodctl.evaluation.output_tables import write_rows

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
