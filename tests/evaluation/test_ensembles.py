"""Ensembles: the mean of stored probabilities, scored without a model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from command_line import refused, run
from scored import make_run, score

from xmodctl.catalog import catalog as library
from xmodctl.core.errors import UserError
from xmodctl.core.files import sha256_of
from xmodctl.evaluation.ensembles import ensemble
from xmodctl.evaluation.results import Row
from xmodctl.run.run import Run

FIRST, SECOND, THIRD = library.task("xnli").labels


def write(folder: Path, seed: int, probabilities: list[tuple[float, float, float]], *, language: str = "en") -> Run:
    """Store predictions of rows whose gold label is the first one."""
    made = Run.read(folder) if (folder / "run.json").exists() else make_run(folder)
    best = [(FIRST, SECOND, THIRD)[shares.index(max(shares))] for shares in probabilities]
    store(made, score(made, language, [(FIRST, answer) for answer in best], seed=seed), probabilities)
    return made


def store(made: Run, row: Row, scores: Sequence[Sequence[float]], **facts: Any) -> None:
    """Store the scores of a row's predictions, and facts of the row."""
    path = row.predictions_in(made.folder)
    lines = [
        json.loads(line) | {"scores": each} for line, each in zip(path.read_text().splitlines(), scores, strict=True)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = [json.loads(line) for line in made.results.read_text().splitlines()]
    rows[-1] |= {"predictions_sha256": sha256_of(path), **facts}
    made.results.write_text("".join(json.dumps(each) + "\n" for each in rows))


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


def test_taggers_vote_for_each_word_with_their_probabilities(tmp_path: Path):
    made = make_run(tmp_path / "r", library.task("wikiann"))
    gold = ["B-PER", "O", "B-LOC"]
    store(made, score(made, "en", [(gold, ["B-PER", "O", "O"])], seed=1), [(0.6, 0.9, 0.4)])
    store(made, score(made, "en", [(gold, ["O", "O", "B-LOC"])], seed=2), [(0.5, 0.9, 0.7)])
    result = ensemble(made)
    assert "tag with the highest mean probability" in result.rule
    (only,) = result.scores
    assert (round(only.members, 1), only.ensemble) == (66.7, 100.0)


def test_several_labels_are_chosen_by_the_mean_of_the_thresholds(tmp_path: Path):
    labels = ("cold", "warm")
    task = library.task("multi-label").model_copy(update={"labels": labels, "threshold": "source-dev"})
    made = make_run(tmp_path / "r", task)
    store(made, score(made, "en", [(["cold"], ["cold"])], seed=1), [(0.5, 0.1)], threshold=0.2)
    store(made, score(made, "en", [(["cold"], ["warm"])], seed=2), [(0.5, 0.6)], threshold=0.6)
    (result,) = ensemble(made).scores
    assert (result.members, result.ensemble) == (50.0, 100.0)  # 0.5 and 0.35 against 0.4


def test_what_is_no_ensemble_is_refused(tmp_path: Path):
    made = write(tmp_path / "r", 1, [CERTAIN, WRONG])
    with pytest.raises(UserError, match="needs two models"):
        ensemble(made)
    write(tmp_path / "other", 1, [CERTAIN, WRONG, WRONG])
    with pytest.raises(UserError, match="not scored on the same rows"):
        ensemble([tmp_path / "r", tmp_path / "other"])
    row = score(made, "en", [(FIRST, FIRST), (FIRST, SECOND)], seed=2)
    with pytest.raises(UserError, match=r"has 0 of 3 probabilities\); score en again: xmodctl"):
        ensemble(made)
    row.predictions_in(made.folder).unlink()
    with pytest.raises(UserError, match=r"is missing; score en again: xmodctl eval-transfer"):
        ensemble(made)
    pairs = make_run(tmp_path / "pairs", library.task("tatoeba"))
    with pytest.raises(UserError, match="sentence-retrieval, which has no ensembles"):
        ensemble(pairs)
    assert "add --ensemble" in refused(run("score", "--run", made.folder, "--with", made.folder))
    assert "give one of them" in refused(run("score", "--run", made.folder, "--ensemble", "--update"))


def test_an_ensemble_of_numbers_has_the_interval_of_a_correlation(tmp_path: Path):
    made = make_run(tmp_path / "r", library.task("regression"))
    gold = [float(number) for number in range(12)]

    def numbers(turned: float, noise: float) -> list[tuple[float, float]]:
        return [(number, 20 + number + turned * (number % 3) + noise * (number % 2)) for number in gold]

    for seed, turned in ((1, 1.0), (2, -1.0)):
        score(made, "en", numbers(turned, 0.1), seed=seed)
    (result,) = ensemble(made).scores
    assert result.members < result.ensemble < 99.999
    assert result.ci_low > 0
    for seed, turned in ((1, 1.0), (2, -1.0)):
        score(made, "en", numbers(turned, 0.0), seed=seed)
    (perfect,) = ensemble(made).scores
    assert perfect.ensemble == pytest.approx(100.0)
    assert perfect.ci_low < 0 < perfect.difference < perfect.ci_high  # as of two shares, one of which is 100%


def test_an_ensemble_says_of_which_rows_it_is_and_which_adapters_they_went_through(tmp_path: Path):
    first, second = (write(tmp_path / name, 1, [CERTAIN, DOUBTFUL]) for name in ("a", "b"))
    facts = {"split": "validation", "limited": 2}
    for made, adapter in ((first, "en_XX"), (second, "de_DE+sw_KE")):
        rows = [json.loads(line) | facts | {"adapter": adapter} for line in made.results.read_text().splitlines()]
        made.results.write_text("".join(json.dumps(each) + "\n" for each in rows))
    words = ("score", "--run", first.folder, "--with", second.folder, "--ensemble")
    assert "has no scores of the test split (it has validation)" in refused(run(*words))
    result = run(*words, "--split", "validation")
    assert result.exit_code == 0, result.output
    shown = " ".join(result.stdout.split())
    runs = f"{first.folder} + {second.folder}"
    assert f"xnli, validation: accuracy in percent, {runs}, LIMITED to 2 rows per language" in shown
    assert "en went through different adapters: en_XX, de_DE+sw_KE" in result.output
    assert "add --ensemble, or omit it" in refused(run("score", "--run", first.folder, "--split", "test"))
    with pytest.raises(UserError, match="--split tset"):
        ensemble([first, second], split="tset")


def test_runs_without_a_language_in_common_have_no_ensemble(tmp_path: Path):
    first = write(tmp_path / "a", 1, [CERTAIN, DOUBTFUL])
    second = write(tmp_path / "b", 1, [CERTAIN, DOUBTFUL], language="de")
    with pytest.raises(UserError, match=r"no language was scored by every run \(.*a: en; .*b: de\)"):
        ensemble([first, second])


def test_the_newest_run_is_named(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = write(tmp_path / "runs" / "new", 1, [CERTAIN, DOUBTFUL])
    write(made.folder, 2, [CERTAIN, DOUBTFUL])
    result = run("score", "--ensemble")
    assert result.exit_code == 0, result.output
    assert "runs/new (the newest; choose another one with --run)" in " ".join(result.output.split())
