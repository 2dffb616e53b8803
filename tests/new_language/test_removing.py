"""`runs rm`: removes what xmodctl wrote, and nothing else."""

import json
import shutil

import pytest
from command_line import refused, run

import xmodctl
from xmodctl.core.errors import UserError
from xmodctl.run.jobs import locked


@pytest.fixture
def folder(finished_run, tmp_path):
    """Return a finished run in a folder of runs."""
    return shutil.copytree(finished_run[0], tmp_path / "runs" / "first")


def test_a_run_is_removed_with_its_folder(folder):
    size = xmodctl.runs(folder)[0].size
    result = run("runs", "rm", folder, "--yes", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == [{"run": str(folder), "size": size, "kept": []}]
    assert not folder.exists()
    assert folder.parent.exists()


def test_without_a_terminal_it_needs_yes_and_a_dry_run_removes_nothing(folder):
    assert "add --yes" in refused(run("runs", "rm", folder))
    result = run("runs", "rm", folder, "--dry-run")
    assert result.exit_code == 0
    assert "would remove 1 run" in result.stderr
    assert (folder / "seed-1" / "delta.safetensors").exists()


@pytest.mark.parametrize(("answer", "code"), [(True, 0), (False, 1)])
def test_the_answer_to_the_question_decides(folder, monkeypatch, answer, code):
    from xmodctl.cli.commands import runs

    questions: list[str] = []
    monkeypatch.setattr(runs, "_agrees", lambda question: questions.append(question) or answer)
    assert run("runs", "rm", folder).exit_code == code
    assert questions[0].startswith("Remove 1 run, ")
    assert folder.exists() is not answer


def test_files_of_the_user_and_what_links_lead_to_stay(folder, tmp_path):
    outside = tmp_path / "outside"
    (outside / "checkpoints" / "step-1").mkdir(parents=True)
    (outside / "delta.safetensors").write_text("precious")
    (folder / "seed-2").symlink_to(outside)
    (folder / "notes.txt").write_text("mine")
    (folder / "seed-1" / "mine.txt").write_text("mine")
    result = run("runs", "rm", folder, "--yes")
    assert result.exit_code == 0, result.output
    assert "still contains files that xmodctl did not write: notes.txt, seed-1/mine.txt, seed-2" in result.stderr
    assert (outside / "delta.safetensors").read_text() == "precious"
    assert (outside / "checkpoints" / "step-1").exists()
    assert sorted(path.name for path in folder.rglob("*")) == ["mine.txt", "notes.txt", "seed-1", "seed-2"]


def test_a_link_to_a_file_is_removed_and_the_file_stays(folder, tmp_path):
    (folder / "seed-1" / "delta.safetensors").replace(tmp_path / "kept.safetensors")
    (folder / "seed-1" / "delta.safetensors").symlink_to(tmp_path / "kept.safetensors")
    xmodctl.remove_runs(folder)
    assert not folder.exists()
    assert (tmp_path / "kept.safetensors").exists()


def test_nothing_is_removed_if_a_folder_is_refused(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(folder)
    for other, reason in (
        (tmp_path / "empty", "is not a run"),
        (tmp_path / "link", "is a link"),
        ("nope", "not a run"),
    ):
        assert reason in refused(run("runs", "rm", folder, other, "--yes"))
    with locked(folder):
        assert "in use by another xmodctl process" in refused(run("runs", "rm", folder, "--yes"))
    assert (folder / "seed-1" / "delta.safetensors").exists()
    assert len(xmodctl.runs(folder.parent)) == 1


def test_a_removal_that_is_stopped_leaves_no_run_and_the_same_command_finishes_it(folder, monkeypatch):
    from xmodctl.new_language import removing

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(removing, "_owned", stop)
    with pytest.raises(KeyboardInterrupt):
        removing._remove(xmodctl.Run, folder)
    monkeypatch.undo()
    assert (folder / "seed-1" / "delta.safetensors").exists()
    assert xmodctl.runs(folder.parent) == []
    with pytest.raises(UserError, match="is not a run"):
        xmodctl.Run.read(folder)
    assert run("runs", "rm", folder, "--yes").exit_code == 0
    assert not folder.exists()


def test_added_languages_are_removed_too(tmp_path):
    folder = tmp_path / "add"
    (folder / "seed-1" / "zu_ZA").mkdir(parents=True)
    (folder / "seed-1" / "zu_ZA" / "adapter.json").write_text("{}")
    (folder / "extension.json").write_text("{}")
    xmodctl.remove_runs([folder])
    assert not folder.exists()
