"""`resume` and `doctor --run`: what is damaged is found, and the commands that are printed recover it."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
from command_line import finetune, refused, run

from xmodctl.core.safetensors_io import read_tensors, write_tensors


def flip(path: Path, share: float = 0.75) -> None:
    """Change one bit of a file."""
    raw = bytearray(path.read_bytes())
    raw[int(len(raw) * share)] ^= 4
    path.write_bytes(raw)


def recover(output: str) -> None:
    """Run the commands that `doctor --run` prints."""
    commands = [line.partition("to recover: ")[2] for line in output.splitlines() if "to recover: " in line]
    assert commands
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "xmodctl"
        result = run(*words)
        assert result.exit_code == 0, result.output


def states(folder: Path) -> dict[str, str]:
    result = run("doctor", "--run", folder, "--json")
    return {file["path"]: file["state"] for file in json.loads(result.stdout)["files"]}


@pytest.fixture(scope="module")
def scored_once(tiny_model, finished_run, tmp_path_factory) -> Path:
    """Return a run of two seeds with scores in two languages, which no test may change."""
    finished, data = finished_run
    folder = tmp_path_factory.mktemp("scored") / "run"
    shutil.copytree(finished, folder)
    assert finetune(tiny_model, data, folder, "--seeds", "1,2").exit_code == 0
    assert run("eval-transfer", "--run", folder, "--langs", "en,de", "--data", data).exit_code == 0
    return folder


@pytest.fixture
def scored(scored_once, tmp_path) -> Path:
    """Return a copy of the run for this test alone."""
    return Path(shutil.copytree(scored_once, tmp_path / "run"))


def test_a_whole_run_is_whole(scored):
    result = run("doctor", "--run", scored)
    assert result.exit_code == 0, result.output
    assert set(states(scored).values()) == {"whole"}
    assert "to recover" not in result.output


@pytest.mark.slow
def test_a_damaged_delta_is_found_and_its_seed_alone_is_trained_again(scored):
    delta, other = scored / "seed-2" / "delta.safetensors", scored / "seed-1" / "delta.safetensors"
    whole, untouched = delta.read_bytes(), other.stat().st_mtime_ns
    flip(delta)
    result = run("doctor", "--run", scored)
    assert result.exit_code == 1
    command = f"xmodctl resume {scored} --seed 2"
    assert command in " ".join(result.output.split())
    recover(result.output)
    assert delta.read_bytes() == whole
    assert other.stat().st_mtime_ns == untouched
    assert set(states(scored).values()) == {"whole"}


def test_a_sweep_with_a_damaged_delta_names_the_seed_and_the_command(scored):
    flip(scored / "seed-2" / "delta.safetensors")
    result = run("eval-transfer", "--run", scored, "--langs", "fr")
    assert result.exit_code == 1
    assert f"train seed 2 again: xmodctl resume {scored} --seed 2" in " ".join(result.output.split())


def test_changed_predictions_and_scores_are_found_and_scored_again(scored):
    results = scored / "results.jsonl"
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    flip(scored / rows[0]["predictions"])
    rows[1]["value"] += 7
    results.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = run("doctor", "--run", scored)
    assert result.exit_code == 1
    damaged = {path for path, state in states(scored).items() if state == "damaged"}
    assert damaged == {rows[0]["predictions"], rows[1]["predictions"]}
    recover(result.output)
    assert set(states(scored).values()) == {"whole"}


def test_a_delta_of_an_older_version_is_unverified_and_not_damaged(scored):
    path = scored / "seed-1" / "delta.safetensors"
    tensors, metadata = read_tensors(path)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    write_tensors(path, tensors, metadata | {"format": "xmodctl-delta-1"})
    assert run("doctor", "--run", scored).exit_code == 0
    assert states(scored)["seed-1/delta.safetensors"] == "unverified"


@pytest.mark.slow
def test_an_unfinished_seed_is_resumed_from_the_folder_alone(scored):
    (scored / "seed-1" / "delta.safetensors").unlink()
    result = run("doctor", "--run", scored)
    assert result.exit_code == 0
    recover(result.output)
    assert set(states(scored).values()) == {"whole"}


def test_a_seed_that_the_run_lacks_is_refused(scored):
    assert "has the seeds 1, 2" in refused(run("resume", scored, "--seed", 7))


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    for command in (("resume", tmp_path), ("doctor", "--run", tmp_path)):
        assert "is not a run" in refused(run(*command))


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"schema": 1}'])
def test_a_damaged_run_file_is_one_sentence_and_hides_no_other_run(scored, content):
    other = scored.parent / "other"
    other.mkdir()
    (other / "run.json").write_bytes(content)
    (scored.parent / "linked").mkdir()
    (scored.parent / "linked" / "run.json").symlink_to(scored.parent / "nothing")
    assert "run.json" in refused(run("doctor", "--run", other))
    result = run("runs", scored.parent, "--json")
    assert result.exit_code == 0
    assert [Path(row["run"]) for row in json.loads(result.stdout)] == [scored]


@pytest.mark.parametrize("line", [b"\xff\xfe", b"{}", b"[]", b"null", b"[" * 100_000])
def test_damaged_results_do_not_hide_a_run(scored, line):
    results = scored / "results.jsonl"
    results.write_bytes(line + b"\n" + results.read_bytes())
    result = run("runs", scored.parent, "--json")
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)) == 1


@pytest.mark.parametrize("out", ["/proc/x", "/dev/null/x", "x" * 300])
def test_a_folder_that_cannot_be_made_is_one_sentence(tiny_model, finished_run, out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refused(finetune(tiny_model, finished_run[1], out))
    assert "cannot use the folder" in message
    assert "--out DIR" in message


def test_too_long_sequences_are_refused_before_data_is_looked_at(tiny_model, tmp_path):
    (tmp_path / "zu.txt").write_text("the cat\n" * 50)
    (tmp_path / "data").mkdir()
    for words in (
        ("finetune", "--task", "xnli", "--lang", "en", "--data", tmp_path / "data"),
        ("finetune", "--task", "xnli", "--lang", "en", "--dry-run"),
        ("add-language", "zu", "--text", tmp_path / "zu.txt"),
        ("add-language", "zu", "--text", tmp_path / "zu.txt", "--dry-run"),
    ):
        message = refused(run(*words, "--model", tiny_model, "--set", "max_length=600", "--out", tmp_path / "out"))
        assert "max_length is 600" in message
        assert "at most 64 tokens; add --set max_length=64" in message
        assert not (tmp_path / "out").exists()
    for task in ("xnli", "xquad"):
        words = ("finetune", "--task", task, "--lang", "en", "--set", "max_length=600")
        message = refused(run(*words, "--model", "facebook/xmod-base", "--dry-run"))
        assert "facebook/xmod-base reads at most 512 tokens" in message
