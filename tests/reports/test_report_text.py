"""Markdown, LaTeX, CSV and frames: the same numbers, and no character that means something else there."""

import csv
import io
import re
from dataclasses import replace

import pytest
from scored_runs import scored_run

from xmodctl.reports.formats import csv as csv_format
from xmodctl.reports.formats import latex, markdown
from xmodctl.reports.gathering import gather
from xmodctl.reports.records import records

NAME = "a_b|c *d* <i>&$%#{}~^\\ [x](y)"


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    first = scored_run(folder, NAME, qualities={"en": 0.9, "de": 0.8, "jv": 0.5}, controls=("none",), seeds=(1, 2))
    two = scored_run(folder, "two", qualities={"en": 0.9, "de": 0.7}, seeds=(1,))
    return gather([first.folder], details=False), gather([first.folder, two.folder], details=False)


def rendered(text: str) -> str:
    """Return what GitHub's dialect makes of it."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table").render(text)


@pytest.mark.parametrize("number", [0, 1])
def test_markdown_is_a_table_with_a_line_a_language_and_an_average_a_line(number, studies):
    study = studies[number]
    page = rendered(markdown.render(study))
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    assert len(rows) == 1 + len(study.languages) + len(study.averages)
    assert len({row.count("<td") + row.count("<th") for row in rows}) == 1
    score = study.runs[0].score("de")
    assert f"{score.mean:.1f} ± {score.spread:.1f} ({score.ci_low:.1f} to {score.ci_high:.1f})" in page
    low, high = score.gap_ci
    assert f">{score.gap:+.1f} ({low:.1f} to {high:.1f})<" in page
    low, high = study.averages[0].intervals[0]
    assert f"<strong>{study.averages[0].values[0]:.1f}</strong> ({low:.1f} to {high:.1f})" in page


def test_what_markdown_would_read_is_shown_as_it_is(studies):
    page = rendered(markdown.render(studies[1]))
    assert "<i>" not in page
    assert "<a " not in page
    assert "a_b|c *d* &lt;i&gt;&amp;$%#{}~^\\ [x](y)" in page
    for text in ("- x", "# x", "1. x", "`x`", "a\u200bb", "x\ny", "![x](y)", "http://x"):
        assert rendered(f"- {markdown.escaped(text)}").count("<li>") == 1
    assert "U+200B" in rendered(markdown.escaped("a\u200bb"))


@pytest.mark.parametrize("number", [0, 1])
def test_latex_has_the_same_cells_in_every_line_and_names_what_it_needs(number, studies):
    text = latex.render(studies[number])
    assert text.startswith("% \\usepackage{booktabs}")
    columns = 2 + 3 * (number + 1)
    lines = [line for line in text.splitlines() if line.endswith(r"\\") and not line.startswith("%")]
    assert len(lines) > 5
    for line in lines:
        spans = [int(count) for count in re.findall(r"\\multicolumn\{(\d+)\}", line)]
        assert len(re.findall(r"(?<!\\)&", line)) + 1 + sum(spans) - len(spans) == columns, line
    for environment in ("table", "tabular"):
        assert text.count(f"\\begin{{{environment}}}") == text.count(f"\\end{{{environment}}}") == 1
    score = studies[number].runs[0].score("de")
    assert rf"{score.mean:.1f} $\pm$ {score.spread:.1f} & {score.ci_low:.1f}--{score.ci_high:.1f}" in text


def test_what_latex_would_read_is_set_as_it_is():
    assert latex.escaped("a_b & 50 % #1 $x$ {y} ~ ^ \\ <z>") == (
        r"a\_b \& 50 \% \#1 \$x\$ \{y\} \textasciitilde{} \textasciicircum{} \textbackslash{} "
        r"\textless{}z\textgreater{}"
    )
    assert latex.escaped("two\nlines") == "two lines"


def test_a_table_longer_than_a_page_may_break(studies):
    text = latex.latex_table(studies[0].table, longest=2)
    assert "\\usepackage{longtable}" in text
    assert text.count("\\begin{longtable}") == text.count("\\end{longtable}") == 1
    assert "\\begin{tabular}" not in text


def test_csv_and_frame_hold_every_row_shown_in_full(studies):
    study = studies[1]
    rows = [row for run in study.runs for row in run.rows]
    results = list(csv.DictReader(io.StringIO(csv_format.render(study))))
    assert len(results) == len(rows) == 2 * 3 * 2 + 2
    assert [float(item["value"]) for item in results] == [row.value for row in rows]
    assert {item["run"] for item in results} == {run.name for run in study.runs}
    first = study.to_frame().iloc[0]
    assert first["metrics.accuracy"] == rows[0].value
    assert list(study.to_frame().columns) == list(records(study)[0])


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_no_cell_of_a_csv_file_is_a_formula_and_numbers_stay_numbers(name, studies):
    study = studies[0]
    run = replace(study.runs[0], name=name)
    results = list(csv.DictReader(io.StringIO(csv_format.render(replace(study, runs=(run,))), newline="")))
    assert {item["run"] for item in results} == {f"'{name}"}
    assert csv_format.without_formula(-1.5) == -1.5
    assert csv_format.without_formula("a=1") == "a=1"


def test_records_tell_own_adapters_from_donors_and_the_source_from_the_rest(studies):
    values = {(record["language"], record["control"]): record for record in records(studies[0])}
    assert values["jv", "own"]["own_adapter"] is False
    assert values["de", "own"]["own_adapter"] is True
    assert values["de", "none"]["own_adapter"] is False
    assert [key for key, record in values.items() if record["source"]] == [("en", "own")]
    assert values["de", "own"]["family"] == "Indo-European"


def test_limited_is_said_in_every_format(tmp_path):
    study = gather([scored_run(tmp_path, seeds=(1,), limited=6).folder], details=False)
    assert "LIMITED to 6 rows per language" in markdown.render(study)
    assert "LIMITED to 6 rows per language" in latex.render(study)
    assert {record["limited"] for record in records(study)} == {6}
