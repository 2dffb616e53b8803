"""A run on a disk that cannot be written."""

import os

import pytest

from tests.command_line import run
from xmodctl.run import folder as run_folder


@pytest.fixture
def read_only(trained, monkeypatch):
    """Return a run with scores in German, in a folder that takes nothing more."""
    folder, _ = trained
    assert run("eval-transfer", "--run", folder, "--langs", "de").exit_code == 0
    (folder / ".lock").unlink(missing_ok=True)
    access = os.access
    monkeypatch.setattr(
        run_folder.os, "access", lambda path, mode: mode != os.W_OK and access(path, mode)
    )  # root may write everywhere
    return folder


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_its_scores_are_shown_and_nothing_is_written(read_only):
    before = files(read_only)
    shown = run("eval-transfer", "--run", read_only, "--langs", "de")
    assert shown.exit_code == 0, shown.output
    assert "de_DE" in shown.stdout
    assert files(read_only) == before


def test_a_new_score_is_refused_with_the_command_that_copies_the_run(read_only):
    before = files(read_only)
    refused = run("eval-transfer", "--run", read_only, "--langs", "sw")
    message = " ".join(refused.output.split())
    assert refused.exit_code != 0
    assert "cannot be written, so only the scores that it contains can be shown" in message
    assert f"copy it and name the copy with --run: cp -r {read_only}" in message
    assert files(read_only) == before
