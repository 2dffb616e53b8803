"""Several jobs on one run: seeds and scores are shared, and what is written equals what one job writes."""

import json
import re

import pytest
from command_line import finetune, refused, run

from xmodctl import InProgressError, evaluate
from xmodctl.evaluation.results import read_rows
from xmodctl.evaluation.row_order import count_rows, put_in_order
from xmodctl.run.jobs import JOBS, joined
from xmodctl.run.run import SCORE_KEY, Run, score_key

CONTROLS = "source,none"


@pytest.fixture
def scored(trained):
    """Return a run without scores, its data, and the rows that one job writes."""
    folder, data = trained
    evaluate(folder, "de,sw", data=data, controls=CONTROLS, listen=silent)
    results = folder / "results.jsonl"
    rows = plain(results)
    results.unlink()
    return folder, data, rows


def silent(event) -> None:
    """Ignore an event: the languages of the data have the same rows, which is a caution."""


def plain(results) -> list[dict]:
    """Return the rows of a file without their times."""
    return [json.loads(line) | {"seconds": 0} for line in results.read_text().splitlines()]


def test_a_second_job_trains_the_seeds_that_are_free_and_says_who_trains_the_rest(tiny_model, pairs, tmp_path):
    words = (tiny_model, pairs, tmp_path / "run", "--set", "epochs=1", "--seeds", "1,2")
    with joined(tmp_path / "run") as jobs, jobs.claim("seed 1"):
        result = finetune(*words)
    assert result.exit_code == 3, result.output
    message = " ".join(result.stderr.split())
    assert re.search(r"one part is being done by other jobs: seed 1 \(process \d+ on .*\); repeat", message)
    assert Run.read(tmp_path / "run").finished_seeds == (2,)
    assert Run.read(tmp_path / "run").state == "training"
    before = (tmp_path / "run" / "seed-2" / "metrics.jsonl").read_bytes()
    assert finetune(*words, "--wait").exit_code == 0
    assert Run.read(tmp_path / "run").state == "finished"
    assert (tmp_path / "run" / "seed-2" / "metrics.jsonl").read_bytes() == before
    assert not (tmp_path / "run" / JOBS).exists()


def test_shards_of_a_fine_tuning_train_each_seed_once(tiny_model, pairs, tmp_path):
    words = (tiny_model, pairs, tmp_path / "run", "--set", "epochs=1", "--seeds", "1,2")
    assert finetune(*words, "--shard", "2/2").exit_code == 0
    assert Run.read(tmp_path / "run").finished_seeds == (2,)
    assert "3/2" in refused(finetune(*words, "--shard", "3/2"))
    assert "has no work, because the command has only 2 parts" in refused(finetune(*words, "--shard", "1/3"))
    assert "this is shard 1/2" in refused(finetune(*words, "--shard", "1/2", "--on-exists", "redo"))
    assert finetune(*words, "--shard", "1/2").exit_code == 0
    assert Run.read(tmp_path / "run").state == "finished"


def test_a_second_sweep_scores_what_is_free_and_the_last_one_leaves_the_rows_of_one_job(scored):
    folder, data, expected = scored
    words = ("eval-transfer", "--run", folder, "--data", data, "--langs", "de,sw", "--controls", CONTROLS)
    with joined(folder) as jobs, jobs.claim("de, test, seed 1"):
        result = run(*words)
        assert result.exit_code == 3, result.output
        assert "de, test, seed 1 (process" in " ".join(result.stderr.split())
        assert "sw" in result.stdout
        assert len(plain(folder / "results.jsonl")) == len(expected) - 1
    assert run(*words).exit_code == 0
    assert plain(folder / "results.jsonl") == expected


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_shards_of_a_sweep_leave_the_rows_of_one_job_in_any_order(scored, order):
    folder, data, expected = scored
    for number in order:
        report = evaluate(folder, "de,sw", data=data, controls=CONTROLS, shard=f"{number}/3", listen=silent)
        assert [score.language for score in report.scores] == [("en", "de", "sw")[number - 1]] * 3
    assert plain(folder / "results.jsonl") == expected


def test_a_sweep_of_which_nothing_is_free_says_so(trained):
    folder, data = trained
    with (
        joined(folder) as jobs,
        jobs.claim("de, test, seed 1"),
        pytest.raises(InProgressError, match="nothing else") as e,
    ):
        evaluate(folder, "de,-en", data=data)
    assert e.value.result is None
    assert read_rows(folder / "results.jsonl") == []


def test_scoring_again_needs_the_run_alone_unless_it_is_shared_out(scored):
    folder, data, _ = scored
    words = ("eval-transfer", "--run", folder, "--data", data, "--langs", "de", "--on-exists", "redo")
    with joined(folder):
        assert "is in use by another xmodctl process" in refused(run(*words))
        assert run(*words, "--shard", "1/2").exit_code == 0
    assert [row["language"] for row in plain(folder / "results.jsonl")] == ["en"]


def test_rows_of_other_scores_keep_their_places(tmp_path):
    results = tmp_path / "results.jsonl"

    def write(*languages: str) -> None:
        rows = [dict.fromkeys(SCORE_KEY) | {"language": language, "n": n} for n, language in enumerate(languages)]
        results.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"torn')

    order = {score_key({"language": code}): n for n, code in enumerate(("de_DE", "sw"))}
    write("sw", "fr", "de", "sw")
    put_in_order(results, order, 0)
    assert [(row["language"], row["n"]) for row in plain(results)] == [("de", 2), ("fr", 1), ("sw", 0), ("sw", 3)]
    write("sw", "fr", "de", "sw")
    put_in_order(results, order, 3)
    assert results.read_text().endswith('{"torn')
    assert count_rows(results) == 4
    put_in_order(tmp_path / "none.jsonl", order, 0)
    assert count_rows(tmp_path / "none.jsonl") == 0
