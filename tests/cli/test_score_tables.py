from dataclasses import replace

import pytest
from scored import labels, make_run, score

from xmodctl.cli.score_tables import report_sheet
from xmodctl.evaluation.results import report


@pytest.fixture
def rows(tmp_path):
    run = make_run(tmp_path / "run")
    return [score(run, language, labels([True, True, False])) for language in ("en", "de")]


def test_one_line_tells_what_scores_without_reading_where_that_is_the_same_everywhere(rows):
    table = report_sheet(report("run", rows))
    assert "majority baseline" not in table.columns
    assert table.rows[-1] == ("majority baseline", "", "", "34.0", "", "")


def test_a_column_tells_what_scores_without_reading_where_languages_differ(rows):
    table = report_sheet(report("run", [rows[0], replace(rows[1], baseline=40.0)]))
    place = table.columns.index("majority baseline")
    assert [row[place] for row in table.rows] == ["34.0", "40.0", "", ""]
    assert {len(row) for row in table.rows} == {len(table.columns)}
