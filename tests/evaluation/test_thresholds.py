"""Thresholds that are chosen on validation data: stamped in rows, shown in reports and cards, used by predict."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from command_line import SETTINGS, run

from xmodctl.core.errors import UserError
from xmodctl.evaluation.results import read_rows
from xmodctl.run.deltas import load_delta, save_delta
from xmodctl.run.loading import find_base
from xmodctl.run.run import Run
from xmodctl.run.trained import settled_task

WORDS = ["the", "cat", "dog", "runs", "red", "blue", "paka", "chat"]


def write(data: Path, **counts: int) -> None:
    draw = np.random.default_rng(0)
    for name, count in counts.items():
        language, split = name.split("_")
        (data / language).mkdir(parents=True, exist_ok=True)
        lines = []
        for _ in range(count):
            words = list(draw.choice(WORDS, 3))
            labels = [label for label in ("cat", "dog", "red") if label in words]
            lines.append(json.dumps({"text": " ".join(words), "labels": labels}) + "\n")
        (data / language / f"{split}.jsonl").write_text("".join(lines))


def succeed(*words: object) -> str:
    result = run(*words)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    task = {
        "title": "Mine", "kind": "multi-label-classification", "languages": ["en", "de"], "recipe": "multi-label",
        "columns": {"text": "text", "label": "labels"}, "labels": ["cat", "dog", "red"], "threshold": "source-dev",
    }  # fmt: skip
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(task))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["last", "source-dev"])
def test_a_chosen_threshold_is_in_rows_reports_cards_and_predictions(keep, folder, tiny_model):
    trained = folder / "run"
    write(folder / "data", en_train=60, en_validation=40, en_test=30, de_test=30)
    where = ("--task", folder / "mine.yaml", "--model", tiny_model, "--data", folder / "data", "--lang", "en")
    few = ("--set", "epochs=2", "--set", f"keep={keep}", "--seeds", "1,2", "--out", trained)
    told = succeed("finetune", *where, *SETTINGS, *few)
    read = Run.read(trained)
    chosen = {seed: load_delta(read.delta(seed), find_base(read))[1]["settings"]["threshold"] for seed in (1, 2)}
    assert all(f"seed {seed}: threshold {value:g}, chosen on the validation data of en_XX" in told
               for seed, value in chosen.items())  # fmt: skip
    assert set(chosen.values()) != {0.5}

    shown = succeed("eval-transfer", "--run", trained, "--langs", "en,de")
    rows = read_rows(read.results)
    assert {(row.seed, row.threshold) for row in rows} == set(chosen.items())
    for row in rows:
        for line in (trained / row.predictions).read_text().splitlines():
            value = json.loads(line)
            shares = dict(zip(("cat", "dog", "red"), value["scores"], strict=True))
            assert value["prediction"] == [label for label, share in shares.items() if share >= row.threshold]
    note = "a label is predicted if its probability is at least"
    assert note in shown
    for name in ("report.md", "report.html"):
        succeed("report", trained, "--out", folder / name)
        assert note in (folder / name).read_text()
    assert f"{chosen[2]:g}" in (folder / "report.md").read_text().split(note)[1]

    (folder / "in.jsonl").write_text('{"text": "the cat runs"}\n')
    written = run("predict", "--run", trained, "--seed", "2", "--lang", "de", folder / "in.jsonl").stdout
    predicted = json.loads(written)
    assert set(predicted["prediction"]) == {label for label, share in predicted["scores"].items() if share >= chosen[2]}
    succeed("export", "--run", trained, "--seed", "2", "--langs", "en", "--out", folder / "exported")
    card = (folder / "exported" / "README.md").read_text()
    assert f"A label is predicted if its probability is at least {chosen[2]:g}" in card
    assert "The threshold was chosen on the validation data of the training languages" in card
    assert f'if each["score"] >= {chosen[2]:g}]' in card


@pytest.mark.slow
def test_without_validation_data_the_threshold_is_a_half_and_the_training_says_so(folder, tiny_model):
    write(folder / "data", en_train=40, en_test=20)
    where = ("--task", folder / "mine.yaml", "--model", tiny_model, "--data", folder / "data", "--lang", "en")
    told = succeed("finetune", *where, *SETTINGS, "--set", "epochs=1", "--out", folder / "run")
    assert "threshold 0.5, because there is no validation data to choose it on" in told
    read = Run.read(folder / "run")
    assert settled_task(read, read.seeds[0]).threshold == 0.5

    tensors, facts = load_delta(read.delta(read.seeds[0]), find_base(read))
    save_delta(read.delta(read.seeds[0]), tensors, find_base(read), {**facts, "settings": {"threshold": 7}})
    with pytest.raises(UserError, match=r"delta[^`]*`threshold`: 7 is not between 0 and 1"):
        settled_task(read, read.seeds[0])
    save_delta(read.delta(read.seeds[0]), tensors, find_base(read), {**facts, "settings": {"labels": ["x", "y"]}})
    assert settled_task(read, read.seeds[0]).labels == ("cat", "dog", "red")
