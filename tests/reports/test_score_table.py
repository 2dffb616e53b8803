"""The score table: one value, and every format shows its numbers."""

import re

import pytest
from scored_runs import scored_run

from xmodctl.cli.score_tables import report_sheet, runs_sheet
from xmodctl.reports.gathering import gather
from xmodctl.reports.score_table import ScoreTable


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    first = scored_run(folder, "one", qualities={"en": 0.9, "de": 0.8, "jv": 0.5}, controls=("none",), seeds=(1, 2))
    two = scored_run(folder, "two", qualities={"en": 0.9, "de": 0.7}, seeds=(1,))
    return gather([first.folder, two.folder], details=False)


def test_a_study_s_table_has_one_row_per_language_and_one_cell_per_run(study):
    table = study.table
    assert [row.language.code for row in table.rows] == [language.code for language in study.languages]
    assert [column.name for column in table.columns] == ["one", "two"]
    german = next(row for row in table.rows if row.language.code == "de")
    score = study.runs[0].score("de")
    assert german.cells[0].value == score.mean
    assert german.cells[0].spread == score.spread
    assert german.cells[0].interval == (score.ci_low, score.ci_high)
    assert (german.cells[0].gap, german.cells[0].gap_interval) == (score.gap, score.gap_ci)
    assert (german.n, german.baseline, german.role) == (score.n, score.baseline, "")
    javanese = next(row for row in table.rows if row.language.code == "jv")
    assert javanese.cells[1] is None
    assert javanese.adapters == ("id_ID",)
    assert [row.role for row in table.rows if row.is_source] == ["source"]


def test_averages_are_the_studys_and_the_gap_is_beside_the_mean_without_the_source(study):
    means = {average.name: average for average in study.table.averages}
    assert [cell.value for cell in means["all languages"].cells] == list(study.averages[0].values)
    assert [cell.gap for cell in means["without the source"].cells] == [run.shared.gap for run in study.runs]
    assert all(cell.gap is None for cell in means["all languages"].cells)
    assert means["all languages"].languages == 2


def test_a_report_s_table_has_one_row_per_score_with_controls(study):
    report = study.runs[0].report
    table = ScoreTable.of_report(report)
    assert [(row.language.code, row.control) for row in table.rows] == [
        (score.language, score.control) for score in report.scores
    ]
    assert {row.adapters for row in table.rows if row.control == "none"} == {("none",)}


def test_every_format_shows_every_score_of_the_table(study):
    pages = {name: study.render(name) for name in ("html", "markdown", "latex")}
    pages["terminal"] = "\n".join(" ".join(row) for row in runs_sheet(study.table).rows)
    pages["notebook"] = study._repr_html_()
    for row in study.table.rows:
        for cell in row.cells:
            if cell:
                low, high = cell.interval
                for name, page in pages.items():
                    assert re.search(rf"\b{cell.value:.1f}\b", page), name
                    assert re.search(rf"\b{low:.1f}( to |--){high:.1f}\b", page), name


def test_the_terminal_shows_each_run_s_column_and_a_single_run_s_controls(study):
    assert runs_sheet(study.table).columns == ("language", "name", "family", "one", "two")
    assert "not scored" in {cell for row in runs_sheet(study.table).rows for cell in row}
    assert "control" in report_sheet(study.runs[0].report).columns
    assert "control" not in report_sheet(study.runs[1].report).columns
