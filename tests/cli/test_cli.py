"""The command line as a user meets it: exit codes, one message, nothing half-written."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import finetune, refused, run
from scored import make_run, score
from typer.main import get_command

from xmodctl.cli.app import app
from xmodctl.cli.group import fail_system
from xmodctl.evaluation.results import read_rows

COMMANDS = tuple(get_command(app).commands)
HEAVY = {"torch", "transformers", "datasets", "accelerate", "evaluate", "numpy"}


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_imports_nothing_heavy(command):
    check = (
        "import sys\n"
        "from xmodctl.cli.app import app\n"
        f"try: app({[*command, '--help']!r})\n"
        "except SystemExit as end: assert not end.code\n"
        f"heavy = {HEAVY!r} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_finetune_then_eval_transfer_prints_a_transfer_table_and_a_second_sweep_only_reads(trained):
    folder, data = trained
    result = run("eval-transfer", "--run", folder, "--langs", "de,sw_KE")
    assert result.exit_code == 0, result.output
    assert "en (source)" in result.stdout
    assert "mean, without the source" in result.stdout
    assert f"data: {data}, as in the run" in result.stderr
    before = (folder / "results.jsonl").read_bytes()
    again = run("eval-transfer", "--run", folder, "--langs", "de,sw_KE,fr")
    assert again.exit_code == 0, again.output
    assert again.stderr.count("scored before") == 3
    after = (folder / "results.jsonl").read_bytes()
    assert after.startswith(before)
    rows = read_rows(folder / "results.jsonl")
    assert [(row.language, row.adapter) for row in rows][:4] == [
        ("en", "en_XX"), ("de", "de_DE"), ("sw", "sw_KE"), ("fr", "fr_XX"),
    ]  # fmt: skip
    assert all((folder / row.predictions).exists() for row in rows)
    assert all(row.value > 60 > row.baseline for row in rows if row.language == "en"), "the hypothesis tells the label"


def test_json_is_one_document_on_standard_output(trained):
    folder, _ = trained
    result = run("eval-transfer", "--run", folder, "--langs", "de", "--limit", "6", "--json")
    output = json.loads(result.stdout)
    assert [row["limited"] for row in output["rows"]] == [6, 6]
    assert output["report"]["scores"][0]["is_source"]


def test_a_limited_table_says_so_and_its_rows_do_not_stand_for_whole_ones(trained):
    folder, _ = trained
    assert "LIMITED to 9 rows" in run("eval-transfer", "--run", folder, "--langs", "fr", "--limit", "9").stdout
    assert "LIMITED" not in run("eval-transfer", "--run", folder, "--langs", "fr").stdout


def test_the_source_is_left_out_where_that_is_said(trained):
    folder, _ = trained
    result = run("eval-transfer", "--run", folder, "--langs", "de,-en_XX", "--limit", "5", "--json")
    assert [row["language"] for row in json.loads(result.stdout)["rows"]] == ["de"]


def test_controls_score_the_same_text_through_the_source_adapter_and_through_none(trained):
    folder, _ = trained
    result = run("eval-transfer", "--run", folder, "--langs", "sw", "--controls", "source,none", "--json")
    assert result.exit_code == 0, result.output
    rows = [row for row in json.loads(result.stdout)["rows"] if row["language"] == "sw"]
    assert [(row["control"], row["adapter"]) for row in rows] == [("own", "sw_KE"), ("source", "en_XX"), ("none", None)]


def test_text_can_go_through_another_languages_adapter(trained):
    folder, _ = trained
    result = run("eval-transfer", "--run", folder, "--langs", "fr=de_DE", "--json")
    rows = [row for row in json.loads(result.stdout)["rows"] if row["language"] == "fr"]
    assert [row["adapter"] for row in rows] == ["de_DE"]


def test_zh_means_simplified_and_says_so(trained):
    folder, _ = trained
    result = run("eval-transfer", "--run", folder, "--langs", "zh")
    assert result.exit_code == 0, result.output
    assert "zh_CN" in result.stdout
    assert "zh_TW" in result.stderr


def test_a_group_of_languages_leaves_out_with_a_note_what_has_no_data(trained):
    folder, _ = trained
    result = run("eval-transfer", "--run", folder, "--langs", "@task")
    assert result.exit_code == 0, result.output
    assert "Note: ar is skipped: " in result.stderr


def test_a_language_that_fails_costs_the_others_nothing_and_the_exit_code_is_1(trained):
    folder, data = trained
    (data / "fr" / "validation.jsonl").rename(data / "fr" / "kept")
    try:
        result = run("eval-transfer", "--run", folder, "--langs", "fr,de", "--split", "validation")
    finally:
        (data / "fr" / "kept").rename(data / "fr" / "validation.jsonl")
    assert result.exit_code == 1
    assert "de_DE" in result.stdout
    assert "1 could not be scored" in result.stderr


def test_an_exported_run_gives_the_same_predictions_in_plain_transformers(trained, tmp_path):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder, data = trained
    assert run("eval-transfer", "--run", folder, "--langs", "de").exit_code == 0
    result = run("export", "--run", folder, "--out", tmp_path / "model", "--langs", "de_DE,en_XX", "--json")
    assert result.exit_code == 0, result.output
    exported = json.loads(result.stdout)
    assert "set_default_language('en_XX')" in exported.pop("lines")
    assert exported == {
        "folder": str(tmp_path / "model"), "languages": ["de_DE", "en_XX"], "url": None,
        "auto_class": "AutoModelForSequenceClassification",
    }  # fmt: skip
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    model.set_default_language("de_DE")
    rows = [json.loads(line) for line in (data / "de" / "test.jsonl").read_text().splitlines()]
    inputs = tokenizer(
        [row["premise"] for row in rows], [row["hypothesis"] for row in rows], padding=True, return_tensors="pt"
    )
    inputs.pop("token_type_ids", None)
    with torch.no_grad():
        results = [model.config.id2label[int(best)] for best in model(**inputs).logits.argmax(-1)]
    path = folder / "predictions" / "test" / "de.seed-1.jsonl"
    assert results == [json.loads(line)["prediction"] for line in path.read_text().splitlines()]


def test_a_dry_run_tells_each_value_with_its_origin_and_writes_nothing(tiny_model, pairs, tmp_path):
    result = finetune(tiny_model, pairs, tmp_path / "run", "--dry-run")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["epochs", "30", "--set"] in lines
    assert ["weight_decay", "0.01", "default"] in lines
    assert ["optimizer", "steps", "per", "seed", "180"] in lines
    assert not (tmp_path / "run").exists()


def test_a_dry_run_of_the_default_model_needs_no_download():
    result = run("finetune", "--task", "xnli", "--lang", "en_XX", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    output = json.loads(result.stdout)
    assert output["plan"]["model"] == "facebook/xmod-base"
    assert round(output["parameters"]["trainable"] / 1e6, 1) == 85.6
    assert output["steps"] is None


def test_the_same_finetune_command_again_trains_nothing_and_says_so(trained, tiny_model):
    folder, data = trained
    result = finetune(tiny_model, data, folder)
    assert result.exit_code == 0, result.output
    assert "already trained" in result.stderr


BAD = {
    "task": (["--task", "xnly"], "did you mean xnli"),
    "recipe": (["--recipe", "nli-mimi"], "did you mean nli-mini"),
    "key": (["--set", "learnin_rate=1"], "did you mean learning_rate"),
    "value": (["--set", "learning_rate=fast"], "`learning_rate` is 'fast'"),
    "language": (["--lang", "klingonish"], "klingonish"),
    "absent language": (["--lang", "zu"], "sw_KE"),
    "a language twice": (["--lang", "en,en_XX"], "names en_XX twice"),
    "a source without training data": (["--lang", "en,de"], "de has no split `train`"),
    "shots of no language": (["--shots", "2"], "--shot-langs"),
    "languages of no shots": (["--shot-langs", "de"], "--shots 10"),
    "draws of no shots": (["--shot-seeds", "3"], "--shots 10"),
    "shots of the source": (["--shots", "2", "--shot-langs", "en"], "en_XX is a source language"),
    "shots and seeds": (["--shots", "2", "--shot-langs", "de", "--seeds", "1,2"], "give one seed"),
    "more shots than rows": (["--shots", "99", "--shot-langs", "de"], "has only 12 rows"),
    "a stage of another kind": (["--set", "stages=[{task: xquad}]"], "is a question-answering task, but xnli"),
    "a stage with other labels": (["--set", "stages=[{task: paws-x}]"], "has the labels"),
    "seeds": (["--seeds", "1,1"], "--seeds"),
    "precision": (["--precision", "fp8"], "choose from auto, fp32, tf32, bf16, fp16"),
    "on-exists": (["--on-exists", "resumed"], "did you mean resume"),
    "guessed model": (["--model", "facebook/xmod-large"], "facebook/xmod-large-prenorm"),
    "model that does not exist": (["--model", "facebook/xmod-base"], "--model mini"),
    "data folder": (["--data", "nowhere"], "nowhere is not a folder"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_the_user_can_mend_is_one_message_and_exit_code_2(name, tiny_model, pairs, tmp_path):
    words, message = BAD[name]
    assert message in refused(finetune(tiny_model, pairs, tmp_path / "run", *words))
    assert not (tmp_path / "run" / "run.json").exists()


DATA = {
    "no such column": ('{"premise": "a", "hypothesis": "b", "gold": "neutral"}\n', "`label`"),
    "unknown label": ('{"premise": "a", "hypothesis": "b", "label": "maybe"}\n', "maybe"),
    "hidden labels": ('{"premise": "a", "hypothesis": "b", "label": -1}\n' * 3, "no row has a label"),
    "constant labels": ('{"premise": "a", "hypothesis": "b", "label": "neutral"}\n' * 3, "same label"),
    "empty text": ('{"premise": "", "hypothesis": "b", "label": "neutral"}\n', "train.jsonl:1"),
    "truncated line": ('{"premise": "a", "hypothesis": "b", "label": "neutral"}\n{"premise": "a", "hyp', ":2"),
    "empty file": ("", "train.jsonl"),
}


@pytest.mark.parametrize("name", DATA)
def test_bad_rows_are_told_with_their_place_and_no_run_is_left(name, tiny_model, pairs, tmp_path):
    text, entry = DATA[name]
    (pairs / "en" / "train.jsonl").write_text(text)
    message = refused(finetune(tiny_model, pairs, tmp_path / "run"))
    assert entry in message
    assert not (tmp_path / "run" / "run.json").exists()


def test_bytes_that_are_no_text_are_told_with_their_line(tiny_model, pairs, tmp_path):
    path = pairs / "en" / "train.jsonl"
    path.write_bytes(path.read_bytes() + b'{"premise": "\xff"}\n')
    assert "train.jsonl:49" in refused(finetune(tiny_model, pairs, tmp_path / "run"))


def test_a_missing_language_or_split_is_told_with_those_that_exist(trained, tiny_model, pairs, tmp_path):
    message = refused(finetune(tiny_model, pairs, tmp_path / "run", "--lang", "de"))
    assert "validation" in message
    folder, data = trained
    (data / "empty").mkdir(exist_ok=True)
    message = refused(run("eval-transfer", "--run", folder, "--langs", "de", "--data", data / "empty"))
    assert "empty" in message


def test_a_folder_that_is_no_checkpoint_is_told(pairs, tmp_path):
    (tmp_path / "other").mkdir()
    assert "config.json" in refused(finetune(tmp_path / "other", pairs, tmp_path / "run"))
    (tmp_path / "other" / "config.json").write_text('{"model_type": "bert"}')
    assert "bert" in refused(finetune(tmp_path / "other", pairs, tmp_path / "run"))


def test_an_output_folder_that_is_a_file_is_told(tiny_model, pairs, tmp_path):
    (tmp_path / "run").write_text("")
    assert "run" in refused(finetune(tiny_model, pairs, tmp_path / "run" / "inner"))


def test_a_full_disk_is_told_with_the_remedy(tiny_model, pairs, tmp_path, monkeypatch):
    from xmodctl.training import resumable

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "run" / "x"))

    monkeypatch.setattr(resumable, "save_checkpoint", full)
    assert "the disk is full; free some space" in refused(finetune(tiny_model, pairs, tmp_path / "run"))


def test_too_small_a_disk_is_refused_before_training(tiny_model, pairs, tmp_path, monkeypatch):
    from collections import namedtuple

    monkeypatch.setattr("shutil.disk_usage", lambda _: namedtuple("Usage", "total used free")(10, 9, 1))
    assert "GB free but this run needs" in refused(finetune(tiny_model, pairs, tmp_path / "run"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--langs", "de_CH"], "de_DE"),
        (["--langs", "de", "--split", "tests"], "did you mean test"),
        (["--langs", "de", "--controls", "sauce"], "did you mean source"),
        (["--langs", "zu"], "sw_KE"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(trained, words, message):
    folder, _ = trained
    assert message in refused(run("eval-transfer", "--run", folder, *words))


def test_a_run_that_is_none_is_told(tmp_path):
    assert "is not a run" in refused(run("eval-transfer", "--run", tmp_path, "--langs", "de"))


def test_export_into_a_folder_with_files_is_refused(trained, tmp_path):
    (tmp_path / "mine").write_text("")
    assert "not an empty folder" in refused(run("export", "--run", trained[0], "--out", tmp_path))


def test_langs_tells_adapters_and_data_without_a_download():
    result = run("langs", "--task", "xnli", "--json")
    assert result.exit_code == 0, result.output
    output = json.loads(result.stdout)
    assert sum(item["adapter"] for item in output) == 81
    assert sum(item["data"] for item in output) == 15


def test_tasks_and_recipes_are_listed_shown_and_copied(tmp_path):
    assert "xnli" in run("tasks", "list").stdout
    assert "nli-mini" in run("recipes", "list").stdout
    assert "learning_rate" in run("recipes", "keys").stdout
    keys = {entry["key"]: entry for entry in json.loads(run("recipes", "keys", "--json").stdout)}
    assert keys["epochs"]["meaning"]
    assert keys["freeze"]["default"] == "embeddings+adapters"
    assert "learning_rate: 2.0e-5" in run("recipes", "show", "nli").stdout
    assert run("recipes", "copy", "nli", tmp_path / "mine.yaml").exit_code == 0
    assert "exists" in refused(run("recipes", "copy", "nli", tmp_path / "mine.yaml"))
    assert "epochs: 5" in run("recipes", "show", tmp_path / "mine.yaml").stdout


def test_runs_are_listed(trained):
    folder, _ = trained
    output = json.loads(run("runs", folder.parent, "--json").stdout)
    assert [(item["run"], item["state"], item["finished_seeds"]) for item in output] == [(str(folder), "finished", [1])]
    assert "no runs under" in run("runs", folder / "predictions").stderr


def test_runs_with_long_names_have_a_line_each_in_80_columns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for length in (10, 26, 33, 42, 46):
        made = make_run(tmp_path / "runs" / ("x" * length))
        score(made, "en", [("neutral", "neutral")])
        lines = run("runs").stdout.splitlines()
        assert max(map(len, lines)) <= 80, lines
        assert sum(f"runs/{'x' * length} " in f"{line} " for line in lines) == 1, lines


def test_doctor_looks_at_the_machine_and_the_presets(tiny_model):
    result = run("doctor", "--model", tiny_model, "--json")
    assert result.exit_code == 0, result.output
    output = json.loads(result.stdout)
    assert output["machine"]["precision auto"] in ("fp32", "bf16")
    assert output["parameters"]["none"]["share"] == 100


EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_is_killed_goes_on_when_it_is_given_again(number, tiny_model, pairs, tmp_path):
    """A real process: an interrupted one saves, a killed one loses at most an epoch."""
    command = [
        sys.executable, "-m", "xmodctl", "finetune", "--task", "xnli", "--lang", "en", "--model", str(tiny_model),
        "--data", str(pairs), "--out", str(tmp_path / "run"), "--set", "epochs=60", "--set", "batch_size=8",
    ]  # fmt: skip
    log = tmp_path / "run" / "seed-1" / "metrics.jsonl"
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ)
    deadline = time.monotonic() + 120
    while not (log.exists() and len(log.read_text().splitlines()) > 20) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, message = process.communicate(timeout=60)
    assert process.returncode == EXIT_CODES[number], message
    if number != signal.SIGKILL:
        assert "to continue, run: " in message
        assert not list((tmp_path / "run").rglob("*.part"))
    again = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert again.returncode == 0, again.stderr
    assert "resuming at step" in again.stderr
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines() if "loss" in line]
    assert steps == list(range(1, len(steps) + 1))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_sweep_that_is_killed_keeps_the_languages_that_are_done(number, trained, tmp_path, write_pairs):
    folder, _ = trained
    languages = ("en", "de", "fr", "sw", "zh")
    for language in languages:
        write_pairs(tmp_path / "many", language, "test", 1500)
    command = [
        sys.executable, "-m", "xmodctl", "eval-transfer", "--run", str(folder), "--langs", "de,fr,sw,zh",
        "--data", str(tmp_path / "many"), "--json",
    ]  # fmt: skip
    results = folder / "results.jsonl"
    before = len(read_rows(results))
    lines = results.read_text().count("\n") if results.exists() else 0
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and (results.read_text().count("\n") if results.exists() else 0) == lines:
        time.sleep(0.01)
    process.send_signal(number)
    _, message = process.communicate(timeout=60)
    assert process.returncode == EXIT_CODES[number], message
    kept = results.read_bytes()
    assert len(read_rows(results)) >= before
    again = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert again.returncode == 0, again.stderr
    assert "scored before" in again.stderr
    assert results.read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])
    told_rows = json.loads(again.stdout)["rows"]
    assert sorted(row["language"] for row in told_rows) == sorted(languages)
    assert all(row["n"] == 1500 for row in told_rows)
    results.unlink()


QUICK = [word for change in ("epochs=1", "batch_size=8", "max_length=32") for word in ("--set", change)]


def test_shots_are_told_wherever_their_scores_are_and_never_scored_themselves(tiny_model, pairs, tmp_path):
    folder = tmp_path / "run"
    more = ("--shots", 3, "--shot-langs", "de", "--shot-seeds", 2, "--seeds", 7, *QUICK)
    plan = finetune(tiny_model, pairs, folder, *more, "--dry-run")
    assert "3 examples per language and draw: de" in plan.stdout
    assert "1, 2; all trained with seed 7" in plan.stdout
    assert finetune(tiny_model, pairs, folder, *more).exit_code == 0
    result = run("eval-transfer", "--run", folder, "--langs", "de,sw")
    assert "de (3 shots)" in result.stdout
    assert "not zero-shot: the run was trained on 3 examples in de" in " ".join(result.stderr.split())
    rows = {(row.language, row.seed): row for row in read_rows(folder / "results.jsonl")}
    assert len(rows) == 6
    assert [(row.shots, row.training_seed, row.in_source) for row in (rows["de", 2], rows["sw", 2], rows["en", 2])] == [
        (3, 7, False), (0, 7, False), (0, 7, True),
    ]  # fmt: skip
    refusal = run("eval-transfer", "--run", folder, "--langs", "de,sw", "--split", "validation", "--json")
    assert refusal.exit_code == 1
    report = json.loads(refusal.stdout)["report"]
    assert {score["language"] for score in report["scores"]} == {"en", "sw"}
    assert "3 of the 12 rows of de validation were trained on" in report["failures"][0]["reason"]


def test_several_sources_are_all_marked_and_gaps_are_measured_from_their_mean(tiny_model, pairs, tmp_path, write_pairs):
    write_pairs(pairs, "de", "train", 24)
    folder = tmp_path / "run"
    assert finetune(tiny_model, pairs, folder, "--lang", "en,de", *QUICK).exit_code == 0
    result = run("eval-transfer", "--run", folder, "--langs", "sw,fr", "--json")
    report = json.loads(result.stdout)["report"]
    scores = {score["language"]: score for score in report["scores"]}
    assert [language for language, score in scores.items() if score["is_source"]] == ["en", "de"]
    sources = (scores["en"]["mean"] + scores["de"]["mean"]) / 2
    assert scores["sw"]["gap"] == pytest.approx(sources - scores["sw"]["mean"])
    assert report["gap"] == pytest.approx(sources - report["averages"]["without the source"])
    assert report["source_languages"] == ["en_XX", "de_DE"]
    table = run("eval-transfer", "--run", folder, "--langs", "sw,fr").stdout
    assert "de (source)" in table
    assert "trained in en_XX+de_DE" in table
    for form in ("markdown", "latex", "csv"):
        message = run("report", folder, "--format", form)
        assert message.exit_code == 0, message.output
        assert "de" in message.stdout
    assert "trained in en\\_XX \\+ de\\_DE" in run("report", folder, "--format", "markdown").stdout


def test_a_stage_is_planned_checked_trained_and_told(tiny_model, pairs, tmp_path, write_pairs):
    write_pairs(tmp_path / "first", "en", "train", 24, seed=5)
    stage = ("--set", f"stages=[{{task: xnli, epochs: 2, data: {tmp_path / 'first'}}}]")
    plan = finetune(tiny_model, pairs, tmp_path / "run", *stage, *QUICK, "--dry-run")
    assert "xnli (2 epochs)" in plan.stdout
    assert "24 rows, 6 steps per seed" in plan.stdout
    output = json.loads(finetune(tiny_model, pairs, tmp_path / "run", *stage, *QUICK, "--dry-run", "--json").stdout)
    assert output["stages"] == [{"task": "xnli", "rows": 24, "steps": 6}]
    words = ("--task", "xnli", "--lang", "en", "--model", tiny_model, "--data", pairs, *stage)
    assert "XNLI is trained on first, in en_XX" in run("check", *words).stdout
    trained = finetune(tiny_model, pairs, tmp_path / "run", *stage, *QUICK)
    assert trained.exit_code == 0, trained.output
    assert "xnli: 24 training rows" in trained.stderr
    assert "seed 1, xnli: training for 6 steps" in trained.stderr
    refusal = refused(finetune(tiny_model, pairs, tmp_path / "run", *QUICK))
    assert "recipe.stages.1.epochs: 2" in refusal
    assert len(refusal) < 900


def corpora(folder: Path, **splits: tuple[str, ...]) -> Path:
    sentence = {"tokens": ["cat", "runs"], "ner_tags": ["B-PER", "O"]}
    for code, names in splits.items():
        for split in names:
            path = folder / code / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{json.dumps(sentence)}\n" * 4)
    return folder


def test_a_treebank_is_named_wherever_a_language_is(tiny_model, tmp_path):
    whole = ("train", "validation", "test")
    data = corpora(tmp_path / "data", en_ewt=whole, en_lines=whole, de_gsd=("test",), de_hdt=("test",))
    words = ("--task", "wikiann", "--model", tiny_model, "--data", data, *QUICK, "--out", tmp_path / "run")
    choice = run("finetune", "--lang", "en", *words)
    assert choice.exit_code == 2
    assert "give en_ewt or en_lines as the language" in " ".join(choice.stderr.split())
    absent = run("finetune", "--lang", "en_gum", *words)
    assert absent.exit_code == 2
    assert "has no `en_gum`; in this language, it has en_ewt, en_lines" in " ".join(absent.stderr.split())
    trained = run("finetune", "--lang", "en_lines", *words)
    assert trained.exit_code == 0, trained.output
    result = run("eval-transfer", "--run", tmp_path / "run", "--langs", "de_hdt,de", "--json")
    assert result.exit_code == 0, result.output
    scores = json.loads(result.stdout)["report"]["scores"]
    assert [(score["language"], score["is_source"]) for score in scores] == [
        ("en_lines", True), ("de_hdt", False), ("de_gsd", False),
    ]  # fmt: skip


def test_an_absent_treebank_is_a_note(tiny_model, tmp_path):
    data = corpora(tmp_path / "data", en_ewt=("train", "validation"))
    words = ("--task", "uner", "--lang", "en_ewt", "--model", tiny_model, "--data", data, *QUICK)
    trained = run("finetune", *words, "--out", tmp_path / "run")
    assert trained.exit_code == 0, trained.output
    other = corpora(tmp_path / "other", en_pud=("test",))
    result = run("eval-transfer", "--run", tmp_path / "run", "--langs", "en", "--data", other, "--json")
    assert result.exit_code == 0, result.output
    assert f"en is en_pud here; {other} has no en_ewt" in " ".join(result.stderr.split()).replace("- ", "-")
    assert [score["language"] for score in json.loads(result.stdout)["report"]["scores"]] == ["en_pud"]


def test_every_corpus_of_the_source_language_is_marked_and_counts_as_no_transfer(tiny_model, tmp_path):
    sentence = {"tokens": ["cat", "runs"], "ner_tags": ["B-PER", "O"]}
    for code, splits in {"en_ewt": ("train", "validation", "test"), "en_pud": ("test",), "de_pud": ("test",)}.items():
        for split in splits:
            path = tmp_path / "data" / code / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{json.dumps(sentence)}\n" * 4)
    words = ("--task", "uner", "--lang", "en_XX", "--model", tiny_model, "--data", tmp_path / "data", *QUICK)
    trained = run("finetune", *words, "--out", tmp_path / "run")
    assert trained.exit_code == 0, trained.output
    assert re.search(r"epoch 1: validation entity_f1 \d+\.\d \(majority baseline \d+\.\d\)\n", trained.stderr)
    result = run("eval-transfer", "--run", tmp_path / "run", "--langs", "@task", "--json")
    report = json.loads(result.stdout)["report"]
    assert [(score["language"], score["is_source"]) for score in report["scores"]] == [
        ("en_ewt", True), ("de_pud", False), ("en_pud", True),
    ]  # fmt: skip
    german = next(score["mean"] for score in report["scores"] if score["language"] == "de_pud")
    assert report["averages"]["without the source"] == german


@pytest.mark.parametrize(("number", "remedy"), [(errno.EFBIG, "ulimit -f"), (errno.EMFILE, "ulimit -n")])
def test_a_limit_of_the_shell_is_named(number, remedy, capsys):
    assert fail_system(OSError(number, os.strerror(number), "x.jsonl")) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "x.jsonl: " in message
    assert remedy in message
