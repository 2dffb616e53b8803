"""Numbers are standardized in training, and predicted as the data has them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from command_line import run

from xmodctl.core.encoded import Encoded, Ragged
from xmodctl.training.target_scale import TargetScale

ROWS = [(f"the {first}", f"the {second}") for first in ("cat", "dog", "red") for second in ("cat", "dog", "red")] * 4


def predictions(model: Path, folder: Path, scale: float, offset: float, *more: str) -> np.ndarray:
    """Train on numbers of a scale, and return what is predicted for the training rows."""
    task = {
        "title": "T", "kind": "text-regression", "languages": ["en"], "recipe": "regression",
        "columns": {"text": "a", "text_pair": "b", "label": "y"},
    }  # fmt: skip
    (folder / "data" / "en").mkdir(parents=True)
    (folder / "task.yaml").write_text(yaml.safe_dump(task))
    lines = [json.dumps({"a": a, "b": b, "y": offset + scale * (a == "the cat")}) + "\n" for a, b in ROWS]
    for split in ("train", "validation", "test"):
        (folder / "data" / "en" / f"{split}.jsonl").write_text("".join(lines))
    settings = ("epochs=20", "batch_size=9", "learning_rate=0.01", "dropout=0", "attention_dropout=0", *more)
    result = run(
        "finetune", "--task", folder / "task.yaml", "--lang", "en", "--model", model, "--data", folder / "data",
        "--out", folder / "run", *[word for setting in settings for word in ("--set", setting)],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    result = run("predict", "--run", folder / "run", "--lang", "en", folder / "data" / "en" / "test.jsonl")
    assert result.exit_code == 0, result.output
    return np.array([json.loads(line)["prediction"] for line in result.stdout.splitlines()])


@pytest.mark.slow
def test_predictions_follow_the_scale_of_the_data(tiny_model, tmp_path):
    units = predictions(tiny_model, tmp_path / "units", 1.0, 0.0)
    prices = predictions(tiny_model, tmp_path / "prices", 5e3, 4e4)
    assert prices == pytest.approx(4e4 + 5e3 * units, rel=1e-3)
    assert np.ptp(units) > 0.3


def test_the_best_epoch_is_kept_also_where_correlations_are_negative(tiny_model, tmp_path):
    predicted = predictions(tiny_model, tmp_path, 1.0, 0.0, "keep=source-dev", "epochs=1", "learning_rate=1e-9")
    assert len(predicted) == len(ROWS)


def test_weights_of_an_earlier_stage_are_taken_over_on_the_new_scale():
    scale = TargetScale(mean=3.0, deviation=2.0)
    names = ("classifier.out_proj.weight", "classifier.out_proj.bias", "other")
    weights = {name: torch.randn(1, 4) if name.endswith("weight") else torch.randn(1) for name in names}
    back = scale.of_training(scale.of_data(weights))
    assert all(torch.allclose(back[name], weights[name], atol=1e-6) for name in names)
    assert torch.allclose(scale.of_data(weights)[names[1]], weights[names[1]] * 2 + 3, atol=1e-6)
    assert not torch.equal(scale.of_data(weights)[names[0]], weights[names[0]])


def test_other_targets_are_not_touched():
    rows = Encoded(Ragged.of([[1], [2]]), np.arange(2), {"labels": np.array([0, 1])})
    assert TargetScale().standardized(rows) is rows
    standardized = TargetScale(1.0, 2.0).standardized(rows).scalars["labels"]
    assert standardized.dtype == np.float32
    assert standardized.tolist() == [-0.5, 0.0]
