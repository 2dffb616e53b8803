"""`xmodctl compare`, `score` and `donors` as a user meets them."""

import json

import numpy as np
import pytest
from command_line import refused, run
from scored import labels, make_run, score

from xmodctl.evaluation.results import read_rows


def right(share: float, n: int = 200) -> np.ndarray:
    return np.random.default_rng(0).random(n) < share


@pytest.fixture
def folders(tmp_path):
    runs = [make_run(tmp_path / name) for name in ("first", "second")]
    for language, shares in {"en": (0.8, 0.8), "de": (0.7, 0.7), "sw": (0.5, 0.7)}.items():
        for item, share in zip(runs, shares, strict=True):
            score(item, language, labels(right(share)))
    return [item.folder for item in runs]


# compare


def test_compare_prints_each_language_and_a_verdict_and_says_how(folders):
    result = run("compare", *folders)
    assert result.exit_code == 0, result.output
    assert f"A: {folders[0]}, seed 1" in result.stdout
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    assert "B is higher" in lines["sw"]
    assert "<0.001" in lines["sw"]
    assert "not significant" in lines["de"]
    assert "B minus A" in result.stdout
    assert "B scores significantly higher than A in 1 of 3 languages (sw)" in result.stdout
    assert "McNemar's mid-p test" in result.stderr
    assert "one seed per side" in result.stderr


def test_compare_as_json_is_one_document(folders):
    output = json.loads(run("compare", *folders, "--langs", "sw,de", "--json").stdout)
    assert [difference["language"] for difference in output["differences"]] == ["sw", "de", None]
    assert output["sides"][1]["name"] == str(folders[1])


@pytest.mark.parametrize("command", ["compare", "score"])
def test_commands_that_read_stored_predictions_load_no_model(folders, command):
    import subprocess
    import sys

    words = ["compare", *map(str, folders)] if command == "compare" else ["score", "--run", str(folders[0])]
    check = (
        "import sys\nfrom xmodctl.cli.app import app\n"
        f"try: app({words!r})\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'transformers', 'datasets', 'scipy', 'pandas'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["compare", "score", "donors"])
def test_help_says_what_a_command_is_for(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"xmodctl {command}" in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--split", "tset"], "did you mean test"),
        (["--split", "validation"], "no scores of the validation split"),
        (["--langs", "ge"], "choose from en, de, sw"),
    ],
)
def test_a_comparison_that_cannot_be_is_refused(folders, words, message):
    assert message in refused(run("compare", *folders, *words))


def test_a_run_that_is_none_is_refused(folders, tmp_path):
    assert "is not a run" in refused(run("compare", folders[0], tmp_path / "none"))
    assert "--controls source,none" in refused(run("compare", folders[0]))


def test_a_run_of_a_newer_schema_is_refused(folders):
    path = folders[1] / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99}))
    assert "pip install --upgrade xmodctl" in refused(run("compare", *folders))


# score


def test_score_tells_that_everything_is_as_stored(folders):
    result = run("score", "--run", folders[0])
    assert result.exit_code == 0, result.output
    assert result.stdout.count("as stored") == 3
    assert "3 of 3 scores match the stored values" in result.stderr


def test_score_tells_what_differs_or_was_edited_and_updates_only_what_the_predictions_vouch_for(folders):
    results = folders[0] / "results.jsonl"
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    truth = lines[1]["value"]
    lines[1] |= {"value": 99.0, "metrics": {**lines[1]["metrics"], "accuracy": 99.0}}
    results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    edited = folders[0] / lines[2]["predictions"]
    edited.write_text(edited.read_text().replace('"prediction": "neutral"', '"prediction": "entailment"'))

    result = run("score", "--run", folders[0], "--json")
    assert result.exit_code == 1
    assert [entry["state"] for entry in json.loads(result.stdout)] == ["as stored", "differs", "edited"]
    assert "2 of 3 scores do not match the stored values" in result.stderr

    result = run("score", "--run", folders[0], "--update")
    assert result.exit_code == 1
    assert "1 of 3 scores do not match the stored values" in result.stderr
    values = {row.language: row.value for row in read_rows(results)}
    assert values["de"] == pytest.approx(truth)
    assert values["sw"] == lines[2]["value"]
    assert results.read_text().count("\n") == 4  # appended, never rewritten


def test_score_tells_missing_predictions_and_a_run_without_scores(folders, tmp_path):
    (folders[0] / read_rows(folders[0] / "results.jsonl")[0].predictions).unlink()
    result = run("score", "--run", folders[0])
    assert result.exit_code == 1
    assert "is missing" in result.stderr
    assert "has no scores" in refused(run("score", "--run", make_run(tmp_path / "new").folder))


# What a sweep says beyond scores


def test_a_sweep_shows_intervals_of_gaps_and_averages_and_whether_adapters_mattered(trained):
    folder, _ = trained
    result = run("eval-transfer", "--run", folder, "--langs", "de,sw", "--controls", "source,none")
    assert result.exit_code == 0, result.output
    assert "mean, all languages (as in XTREME)" in result.stdout
    assert "own minus source" in result.stdout
    assert "own minus none" in result.stdout
    output = json.loads(
        run("eval-transfer", "--run", folder, "--langs", "de,sw", "--controls", "source,none", "--json").stdout
    )
    german = next(
        difference
        for difference in output["report"]["scores"]
        if (difference["language"], difference["control"]) == ("de", "own")
    )
    assert german["gap_ci"][0] <= german["gap"] <= german["gap_ci"][1]
    assert set(output["report"]["averages_ci"]) == {"all languages", "without the source"}
    assert "by id, the same in every language" in output["report"]["ci_method"]
    assert {(difference["against"], difference["language"]) for difference in output["controls"]["differences"]} >= {
        ("source", "sw"), ("none", "sw"), ("none", "en"), ("source", None),
    }  # fmt: skip


def test_a_sweep_of_the_source_alone_has_nothing_to_compare_its_adapter_with_and_says_so(trained):
    folder, _ = trained
    result = run("eval-transfer", "--run", folder, "--langs", "en", "--controls", "source")
    assert result.exit_code == 0, result.output
    assert "no scores through another adapter" in result.stderr


def test_compare_of_one_run_compares_its_controls(trained):
    folder, _ = trained
    assert run("eval-transfer", "--run", folder, "--langs", "de,sw", "--controls", "none").exit_code == 0
    result = run("compare", folder, "--langs", "sw,en")
    assert result.exit_code == 0, result.output
    assert "none: no adapter" in result.stdout
    assert "mean over languages" in result.stdout


# donors


def test_donors_prints_a_matrix_and_a_second_call_scores_only_what_is_missing(trained):
    folder, _ = trained
    words = ("donors", "--run", folder, "--split", "validation", "--langs", "sw,fr")
    result = run(*words, "--adapters", "de,sw")
    assert result.exit_code == 0, result.output
    header, *lines = result.stdout.splitlines()[1:3]
    assert header.split()[:4] == ["text", "de_DE", "no", "adapter"]
    assert [line.split()[0] for line in lines] == ["sw"]
    before = (folder / "results.jsonl").read_bytes()
    output = json.loads(run(*words, "--adapters", "de,sw,en", "--json").stdout)
    matrix = output["matrix"]
    assert {(item["language"], item["adapter"]) for item in matrix["cells"]} == {
        (text, adapter) for text in ("sw", "fr") for adapter in ("de_DE", "sw_KE", "en_XX", None)
    }
    assert [item["adapter"] for item in matrix["cells"] if item["own"]] == ["sw_KE"]
    added = (folder / "results.jsonl").read_bytes().removeprefix(before)
    assert [(row["language"], row["adapter"]) for row in map(json.loads, added.splitlines())] == [
        ("sw", "en_XX"), ("fr", "en_XX"),
    ]  # fmt: skip
    assert {item["language"] for item in matrix["donors"]} == {"sw", "fr"}
    assert all(item["adapter"] != "sw_KE" for item in matrix["donors"] if item["language"] == "sw")


def test_donors_of_a_language_that_no_adapter_is_of(trained):
    folder, data = trained
    (data / "jv").mkdir(exist_ok=True)
    (data / "jv" / "validation.jsonl").write_bytes((data / "de" / "validation.jsonl").read_bytes())
    result = run("donors", "--run", folder, "--langs", "jv,de,-fr")
    assert result.exit_code == 0, result.output
    assert "jv has no adapter of its own" in result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines()[2:4]] == ["jv", "de"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--langs", "de,-de"], "selects no text"),
        (["--langs", "de", "--adapters", "klingonish"], "klingonish"),
        (["--langs", "de", "--split", "dev"], "choose from train, validation, test"),
        (["--langs", "de", "--on-exists", "error"], "choose from missing, redo"),
    ],
)
def test_a_search_for_donors_that_cannot_be_is_refused(trained, words, message):
    assert message in refused(run("donors", "--run", trained[0], *words))
