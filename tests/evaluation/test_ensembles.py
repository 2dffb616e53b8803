"""Ensembles: the mean of stored probabilities, scored without a model."""

import json
from pathlib import Path

import pytest
from command_line import refused, run
from scored import make_run, score

from xmodctl.catalog import catalog as library
from xmodctl.core.errors import UserError
from xmodctl.core.files import sha256_of
from xmodctl.evaluation.ensembles import ensemble
from xmodctl.run.run import Run

FIRST, SECOND, THIRD = library.task("xnli").labels


def write(folder: Path, seed: int, probabilities: list[tuple[float, float, float]], *, language: str = "en") -> Run:
    """Store predictions of rows whose gold label is the first one."""
    made = Run.read(folder) if (folder / "run.json").exists() else make_run(folder)
    best = [(FIRST, SECOND, THIRD)[shares.index(max(shares))] for shares in probabilities]
    row = score(made, language, [(FIRST, answer) for answer in best], seed=seed)
    path = row.predictions_in(folder)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text(
        "".join(json.dumps(line | {"scores": shares}) + "\n" for line, shares in zip(lines, probabilities, strict=True))
    )
    results = made.results.read_text().replace(row.predictions_sha256, sha256_of(path))
    made.results.write_text(results)
    return made


CERTAIN, DOUBTFUL, WRONG = (0.9, 0.05, 0.05), (0.4, 0.5, 0.1), (0.1, 0.8, 0.1)


def test_an_ensemble_answers_by_the_mean_of_probabilities(tmp_path: Path):
    made = write(tmp_path / "r", 1, [CERTAIN, CERTAIN, DOUBTFUL, WRONG])
    write(tmp_path / "r", 2, [CERTAIN, DOUBTFUL, CERTAIN, WRONG])
    (result,) = ensemble(made).scores
    assert (result.models, result.members, result.ensemble) == (2, 50.0, 75.0)
    assert result.ci_low < result.difference == 25.0 < result.ci_high


def test_an_ensemble_of_equal_models_is_its_members(tmp_path: Path):
    for language in ("en", "de"):
        write(tmp_path / "a", 1, [CERTAIN, DOUBTFUL, WRONG, CERTAIN], language=language)
        write(tmp_path / "b", 1, [CERTAIN, DOUBTFUL, WRONG, CERTAIN], language=language)
    shown = run("score", "--run", tmp_path / "a", "--with", tmp_path / "b", "--ensemble", "--json")
    scores = json.loads(shown.output)["scores"]
    assert [each["language"] for each in scores] == ["en", "de", None]
    assert all((each["members"], each["ensemble"], each["difference"]) == (50.0, 50.0, 0.0) for each in scores)


def test_what_is_no_ensemble_is_refused(tmp_path: Path):
    made = write(tmp_path / "r", 1, [CERTAIN, WRONG])
    with pytest.raises(UserError, match="needs two models"):
        ensemble(made)
    write(tmp_path / "other", 1, [CERTAIN, WRONG, WRONG])
    with pytest.raises(UserError, match="not scored on the same rows"):
        ensemble([tmp_path / "r", tmp_path / "other"])
    row = score(made, "en", [(FIRST, FIRST), (FIRST, SECOND)], seed=2)
    with pytest.raises(UserError, match="without probabilities"):
        ensemble(made)
    row.predictions_in(made.folder).unlink()
    with pytest.raises(UserError, match=r"is missing; score en again: xmodctl eval-transfer"):
        ensemble(made)
    tags = make_run(tmp_path / "tags", library.task("wikiann"))
    with pytest.raises(UserError, match="do not hold the probability of every answer"):
        ensemble(tags)
    assert "add --ensemble" in refused(run("score", "--run", made.folder, "--with", made.folder))
    assert "give one of them" in refused(run("score", "--run", made.folder, "--ensemble", "--update"))
