"""Tables of scores on terminals and in pipes, and messages on terminals."""

import io
import re
import shlex
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from scored import labels, make_run, score

from xmodctl.cli.commands.compare import show
from xmodctl.cli.display import console_for, draw, warn, wrapped
from xmodctl.cli.score_tables import difference_sheets, report_sheet
from xmodctl.evaluation.compare import compare_runs
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


def drawn(sheet, width):
    """Return the lines of a table on a terminal of this width."""
    file = io.StringIO()
    draw(sheet, Console(file=file, force_terminal=True, width=width, no_color=True))
    return re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue()).splitlines()


def lines_of(lines, *starts):
    return [line for line in lines if line.startswith(starts)]


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("controls", [False, True])
def test_a_row_of_scores_is_one_line_on_any_terminal(rows, width, controls):
    long = {"metric": "pearson", "n": 14_988, "baseline": 34.0}
    many = [replace(row, **long, seed=seed, value=row.value - seed) for row in rows for seed in (1, 2, 3)]
    many += [replace(row, control="source") for row in many if controls and row.language == "de"]
    many = [replace(row, baseline=40.0) if row.language == "de" else row for row in many]
    whole = replace(report("run", many), averages_ci={"all languages": (50.1, 60.2)}, gap=0.0, gap_ci=(-10.1, 10.2))
    gaps = tuple(replace(score, gap_ci=(-10.1, 10.2)) for score in whole.scores)
    lines = drawn(report_sheet(replace(whole, scores=gaps)), width)
    assert max(map(len, lines)) <= width
    assert len(lines) <= 4 + len(whole.scores) + 1 + len(whole.averages)
    assert len(lines_of(lines, "mean, all", "mean, ", "no source")) == len(whole.averages)
    assert any("-10.1 to 10.2" in line for line in lines) == (width == 120)


def test_a_long_name_of_an_adapter_is_folded_before_numbers(rows):
    mixture = "3*en_XX+3*hi_IN+2*ar_AR+2*sw_KE@typology"
    many = [replace(row, seed=seed, value=row.value - seed) for row in rows for seed in (1, 2)]
    many = [replace(row, adapter=mixture) if row.language == "de" else row for row in many]
    lines = drawn(report_sheet(report("run", many)), 60)
    assert max(map(len, lines)) <= 60
    (line,) = lines_of(lines, "de ")
    assert re.search(r"\d\.\d +\d+\.\d to \d+\.\d +[+-]?\d+\.\d$", line.rstrip()), line


def test_a_comparison_fits_80_columns(tmp_path):
    runs = [make_run(tmp_path / name) for name in "ab"]
    for language in ("en", "de"):
        for run, right in zip(runs, (0.4, 0.9), strict=True):
            score(run, language, labels(np.random.default_rng(0).random(200) < right))
    (sheet,) = difference_sheets(compare_runs(runs))
    lines = drawn(sheet, 80)
    assert max(map(len, lines)) <= 80
    assert len(lines_of(lines, "en ", "de ", "mean ")) == 3
    assert all("B is higher" in line for line in lines_of(lines, "en ", "de ", "mean "))


def test_every_line_of_a_comparison_breaks_between_words(tmp_path, capsys, monkeypatch):
    runs = [make_run(tmp_path / name) for name in "ab"]
    for language in ("en", "de"):
        for run, right in zip(runs, (0.4, 0.9), strict=True):
            score(run, language, labels(np.random.default_rng(0).random(200) < right))
    comparison = compare_runs(runs)
    show(comparison)
    assert comparison.verdicts[0] in capsys.readouterr().out.splitlines(), "in a pipe, a sentence is a line"
    monkeypatch.setenv("COLUMNS", "60")
    show(comparison)
    lines = capsys.readouterr().out.splitlines()[2:]  # below the names of the runs
    assert max(map(len, lines)) <= 60
    assert comparison.verdicts[0] in " ".join(lines)


def test_a_pipe_has_every_column_and_a_width_where_one_is_set(rows, monkeypatch):
    sheet = report_sheet(report("run", [rows[0], replace(rows[1], baseline=40.0)]))
    for width, whole in ((None, True), ("80", False)):
        monkeypatch.delenv("COLUMNS", raising=False)
        if width:
            monkeypatch.setenv("COLUMNS", width)
        file = io.StringIO()
        draw(sheet, console_for(file))
        assert ("mean, all languages (as in XTREME)" in file.getvalue()) == whole
        assert max(map(len, file.getvalue().splitlines()[1:])) <= int(width or 1000)


def test_messages_wrap_between_words_and_within_commands_only_where_a_shell_joins_them():
    command = "xmodctl finetune --task xnli --lang en_XX --model mini --data a/long/folder --out another/long/folder"
    text = f"this happens because of something that needs explaining in many words: {command}; or leave it"
    lines = wrapped(text, 60, taken=7).split("\n")
    place = lines.index("xmodctl finetune --task xnli --lang en_XX --model mini \\")
    assert shlex.split("".join(lines[place : place + 2]).replace("\\", "").rstrip(";")) == command.split()
    assert " ".join(lines).replace(" \\ ", " ").split() == text.split()
    assert max(map(len, lines)) <= 60
    assert len(lines[0]) <= 53
    assert wrapped("  indented\nsecond", 60) == "  indented\nsecond"


def test_prose_after_a_command_and_prose_that_begins_like_one_wraps():
    text = "score it again: xmodctl score --run runs/one (until then, its gap and the averages have no interval)"
    lines = wrapped(text, 60).split("\n")
    assert len(lines) == 2
    assert max(map(len, lines)) <= 60
    text = "the export writes a model that python reads, and whose files can be copied to another machine"
    assert max(map(len, wrapped(text, 60).split("\n"))) <= 60


def test_no_command_is_broken_within_quotes():
    command = "xmodctl eval-transfer --run runs/one --set 'columns.text=a --long name of a column in a file' --limit 20"
    lines = wrapped(command, 50).split("\n")
    assert shlex.split("".join(lines).replace("\\", "")) == shlex.split(command)
    assert [line.endswith(" \\") for line in lines] == [True, True, False]


def test_a_message_in_a_pipe_is_one_line_unless_a_width_is_set(capsys, monkeypatch):
    text = "the scores of this language are of few rows, so that its interval is wide; score more rows to narrow it"
    warn(text)
    assert capsys.readouterr().err == f"Note: {text}\n"
    monkeypatch.setenv("COLUMNS", "60")
    warn(text)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert max(map(len, lines)) <= 60
