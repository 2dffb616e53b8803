"""`xmodctl report` as a user meets it."""

import json
import subprocess
import sys

import pytest
from scored_runs import scored_run
from typer.testing import CliRunner, Result

from xmodctl.cli.app import app


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [scored_run(folder, name, seeds=(1, 2)).folder for name in ("one", "two")]


def refused(result: Result) -> str:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return " ".join(result.stderr.split())


def test_a_report_goes_into_its_run_as_one_html_file(folders):
    result = run("report", folders[0])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"report: {folders[0] / 'report.html'}\n"
    assert "<h1>" in (folders[0] / "report.html").read_text()


def test_several_runs_go_into_a_file_here(folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("report", *folders)
    assert result.exit_code == 0, result.output
    assert result.stdout == "report: report-pairs.html\n"
    assert "two" in (tmp_path / "report-pairs.html").read_text()


def test_the_newest_run_is_taken_and_named(folders, monkeypatch):
    monkeypatch.chdir(folders[0].parent.parent)
    folders[0].parent.rename(folders[0].parent.parent / "runs")
    try:
        result = run("report", "--format", "markdown")
    finally:
        (folders[0].parent.parent / "runs").rename(folders[0].parent)
    assert result.exit_code == 0, result.output
    assert "the newest" in result.stderr


@pytest.mark.parametrize(
    ("ending", "beginning"),
    [(".md", "### Pairs"), (".tex", "% \\usepackage"), (".csv", "run,task"), (".html", "<!DOC")],
)
def test_the_ending_of_the_file_says_the_format(ending, beginning, folders, tmp_path):
    result = run("report", folders[0], "--out", tmp_path / f"r{ending}")
    assert result.exit_code == 0, result.output
    assert (tmp_path / f"r{ending}").read_text().lstrip().startswith(beginning)


@pytest.mark.parametrize(
    ("name", "message"), [("markdown", "| language |"), ("latex", "\\toprule"), ("csv", "run,task")]
)
def test_tables_go_to_standard_output_and_notes_do_not(name, message, folders):
    result = run("report", *folders, "--format", name)
    assert result.exit_code == 0, result.output
    assert message in result.stdout
    assert "Note:" not in result.stdout


@pytest.mark.parametrize("count", [1, 2])
def test_the_terminal_shows_a_table(count, folders):
    result = run("report", *folders[:count], "--format", "terminal")
    assert result.exit_code == 0, result.output
    assert "mean, without the source" in result.stdout
    assert ("two" in result.stdout) == (count == 2)


def test_json_is_one_document_and_writes_a_file_only_where_one_is_named(folders, tmp_path):
    (folders[1] / "report.html").unlink(missing_ok=True)
    output = json.loads(run("report", folders[1], "--json").stdout)
    assert output["task"] == "pairs"
    assert "file" not in output
    assert not (folders[1] / "report.html").exists()
    output = json.loads(run("report", folders[1], "--json", "--out", tmp_path / "r.html").stdout)
    assert output["file"] == str(tmp_path / "r.html")
    assert (tmp_path / "r.html").exists()


def test_texts_stay_out_of_a_file_that_is_to_be_passed_on(folders, tmp_path):
    out = tmp_path / "r.html"
    assert run("report", folders[0], "--out", out).exit_code == 0
    assert "Katze" in out.read_text()
    assert run("report", folders[0], "--out", out, "--errors", 0).exit_code == 0
    assert "Katze" not in out.read_text()
    assert "predicted <bdi>contradiction" in out.read_text()


def test_a_run_that_cannot_be_shown_is_told_and_the_rest_is_written_with_exit_code_1(folders, tmp_path):
    result = run("report", folders[0], tmp_path / "nowhere", "--out", tmp_path / "r.html")
    assert result.exit_code == 1
    assert "1 of 2 runs could not be shown" in result.stderr
    assert "is not a run" in result.stderr
    assert "A run is not shown" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "htlm"], "did you mean html"),
        (["--split", "tset"], "did you mean test"),
        (["--split", "validation"], "it has test: --split test"),
        (["--out", "r.docx"], "--format"),
        (["--format", "terminal", "--out", "r.txt"], "omit --out r.txt"),
        (["--data", "nowhere"], "nowhere is not a folder"),
    ],
)
def test_what_cannot_be_is_refused(words, message, folders):
    assert message in refused(run("report", folders[0], *words))


def test_a_full_disk_leaves_the_old_file(folders, tmp_path, monkeypatch):
    import errno

    out = tmp_path / "r.md"
    out.write_text("old")

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device", str(out))

    monkeypatch.setattr("os.fsync", full)
    assert "the disk is full" in refused(run("report", folders[0], "--out", out))
    assert out.read_text() == "old"


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        (
            "from xmodctl.cli.app import app\ntry: app(['report', '--help'])\nexcept SystemExit: pass",
            {"numpy", "jinja2"},
        ),
        ("import xmodctl.reports.report", {"pandas", "datasets"}),
    ],
)
def test_help_and_values_import_nothing_heavy(code, heavy):
    check = (
        f"import sys\n{code}\nfound = {heavy | {'torch', 'transformers'}!r} & set(sys.modules)\nassert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_report_needs_neither_torch_nor_the_terminal_s_library(folders):
    check = (
        "import sys\nfrom pathlib import Path\nfrom xmodctl.reports.gathering import gather\n"
        f"gather([Path({str(folders[0])!r})]).render('html')\n"
        "found = {'torch', 'transformers', 'datasets', 'pandas', 'rich'} & set(sys.modules)\nassert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [("report", "--format", "csv"), ("explain", "--lang", "de")])
def test_a_report_never_replaces_the_data_of_its_run(tmp_path, words):
    folder = scored_run(tmp_path, "one", seeds=(1,)).folder
    data = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    for path in data:
        message = refused(run(words[0], folder, *words[1:], "--out", path))
        assert "is data of a run, which it would replace; choose another file" in message
    assert {path: path.read_bytes() for path in data} == data
