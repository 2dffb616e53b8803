"""Sweeps and predictions that several processes share give the bytes of one process."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from xmodctl.core.encoded import Encoded, Ragged
from xmodctl.core.errors import UserError
from xmodctl.evaluation.routed_input import grouped
from xmodctl.evaluation.sharing import Work, follow
from xmodctl.model.embedding import Pooling
from xmodctl.model.inference import batches_of
from xmodctl.training.world import World

SHARING = """
import os
import sys
from pathlib import Path
from xmodctl import evaluate, predict

run, data, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])

def compute(name):
    for file in sorted(folder.glob("*.rows.jsonl")):
        predictions = predict(run, None, file, rows_at_a_time=5, listen=lambda event: None)
        predictions.write(folder / file.name.replace("rows", name))
    report = evaluate(
        run, "de,sw", controls="none", data=data, on_exists="redo", listen=lambda event: None
    )
    return [row.metrics for row in report.rows]

shared = compute("shared")
if os.environ["RANK"] == "0":
    Path(run, "predictions").rename(folder / "shared")
    os.environ["WORLD_SIZE"] = "1"
    assert compute("alone") == shared
"""
"""Computes with the processes of a launcher, and then with one of them alone."""


@pytest.mark.parametrize("pooling", [None, Pooling("cls", 1)])
def test_work_arrives_as_it_was_sent(pooling):
    encoded = Encoded(Ragged.of([[1, 2, 3], [4], [5, 6]]), np.array([0, 0, 1]), choices=True)
    work = Work(encoded, "de_DE", 1, pooling, np.array([1]))
    head, arrays = work.packed()
    again = Work.unpacked(json.loads(json.dumps(head)), arrays)
    assert (again.adapter, again.pad_id, again.pooling) == (work.adapter, work.pad_id, work.pooling)
    assert [row.tolist() for row in again.encoded.input_ids] == [[1, 2, 3], [4], [5, 6]]
    assert again.units.tolist() == [1]
    assert again.encoded.sizes.tolist() == encoded.sizes.tolist()


@pytest.mark.parametrize("processes", [2, 3, 4])
@pytest.mark.parametrize("rows", [1000, 1500, 2490])
def test_the_shares_of_a_sweep_have_about_as_many_tokens(rows, processes):
    lengths = np.random.default_rng(rows).lognormal(np.log(40), 0.48, rows).clip(4, 128).astype(int)  # as XNLI's
    encoded = Encoded(Ragged.of([np.zeros(length) for length in lengths]), np.arange(rows))
    batches = batches_of(encoded, torch.device("cpu"))
    tokens = np.array([lengths[batch].sum() for batch in batches])
    shares = [tokens[World(rank, processes).share(tokens)].sum() for rank in range(processes)]
    assert max(shares) < 1.1 * sum(shares) / processes


def test_batches_of_an_accelerator_are_larger_than_those_of_a_cpu():
    encoded = Encoded(Ragged.of(np.zeros((1000, 32))), np.arange(1000))
    on_cpu, on_gpu = ([len(batch) for batch in batches_of(encoded, torch.device(name))] for name in ("cpu", "cuda"))
    assert sum(on_cpu) == sum(on_gpu) == 1000
    assert (max(on_cpu), max(on_gpu)) == (2048 / 32, 8192 / 32)


def test_one_process_has_its_own_message_and_results():
    values = [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((0, 4))]
    message, arrays = World().message({"a": 1}, values)
    assert message == {"a": 1}
    assert [array.shape for array in arrays] == [(2, 3), (0, 4)]
    assert World().gather("own", values)[0][0] == "own"


def test_a_process_ends_when_the_first_one_has_found_no_run(monkeypatch):
    monkeypatch.setattr(World, "from_first", lambda self, value: {"end": None})
    assert follow(World(1, 2), None, ()) is None


def test_parts_before_one_that_cannot_be_read_are_yielded():
    def reading():
        yield from ([1], [2], [3])
        raise UserError("row 4")

    parts = grouped(reading(), 2)
    assert [next(parts), next(parts)] == [[[1], [2]], [[3]]]
    with pytest.raises(UserError, match="row 4"):
        next(parts)


@pytest.mark.slow
def test_predictions_and_scores_of_two_processes_have_the_bytes_of_one(trained, tmp_path):
    run, data = trained
    languages = ("en", "de", "sw", "fr", "zh")
    counts = (1, 2, 7, 97)
    for count in counts:
        rows = [
            {"premise": "the cat " * (number % 9 + 1), "hypothesis": "red", "language": languages[number * 7 % 5]}
            for number in range(count)
        ]
        (tmp_path / f"{count}.rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    script = tmp_path / "sharing.py"
    script.write_text(SHARING)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    result = subprocess.run(
        [*launcher, str(script), str(run), str(data), str(tmp_path)],
        check=False, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    for count in counts:
        alone, shared = ((tmp_path / f"{count}.{name}.jsonl").read_bytes() for name in ("alone", "shared"))
        assert alone.count(b"\n") == count
        assert shared == alone
    alone, shared = (
        {path.name: path.read_bytes() for path in folder.rglob("*.jsonl")}
        for folder in (run / "predictions", tmp_path / "shared")
    )
    assert len(alone) == 6
    assert shared == alone
