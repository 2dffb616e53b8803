"""`sources`: the ranking finds texts that are near, on vectors that are known and through a model."""

import json

import numpy as np
import pytest
from command_line import refused, run

from xmodctl.evaluation.sources import ranked


def near(center: np.ndarray, count: int, seed: int) -> np.ndarray:
    vectors = center + 0.3 * np.random.default_rng(seed).normal(size=(count, len(center)))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_the_candidate_whose_texts_are_nearest_is_first_and_shares_add_up():
    first, second, third = np.eye(8)[:3]
    target = near(first + 0.5 * second, 60, 0)
    candidates = {"far": near(third, 40, 1), "close": near(first, 40, 2), "between": near(second, 40, 3)}
    ranking = ranked(target, candidates)
    assert [each.language for each in ranking] == ["close", "between", "far"]
    assert sum(each.share for each in ranking) == pytest.approx(100)
    assert all(each.ci[0] <= each.share <= each.ci[1] for each in ranking)
    assert ranking[0].ci[0] > ranking[1].ci[1]


def test_the_target_itself_is_no_candidate_and_text_may_come_from_a_file(tiny_model, pairs, tmp_path):
    words = ("sources", "--task", "xnli", "--model", tiny_model, "--data", pairs, "--rows", "20", "--json")
    (tmp_path / "sw.txt").write_text("".join(f"the cat sleeps {number}\n\n" for number in range(30)))
    result = run(*words, "--langs", "de,sw", "--sources", "en,de,fr", "--text", f"sw={tmp_path / 'sw.txt'}")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert {each["language"] for each in value["targets"]["de"]} == {"en", "fr"}
    assert {each["language"] for each in value["targets"]["sw"]} == {"en", "de", "fr"}
    assert set(value["rows"].values()) == {20}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--langs", "de", "--rows", "3"), "--rows 3: give at least 20"),
        (("--langs", "de", "--text", "sw.txt"), "--text sw.txt: write the language and the file"),
        (("--langs", "de", "--text", "sw=nowhere.txt"), "there is no file nowhere.txt"),
        (("--langs", "de", "--text", "sw=."), "cannot read .: it is not a regular file but a folder, a pipe"),
        (("--langs", "de", "--sources", "en"), "needs at least two candidate languages"),
    ],
)
def test_what_cannot_be_ranked_is_refused(words, message, tiny_model, pairs):
    assert message in refused(run("sources", "--task", "xnli", "--model", tiny_model, "--data", pairs, *words))


def test_too_few_texts_are_refused_with_the_option_that_gives_more(tiny_model, pairs, tmp_path):
    (tmp_path / "sw.txt").write_text("one\ntwo\n")
    words = ("sources", "--task", "xnli", "--model", tiny_model, "--data", pairs, "--langs", "sw", "--sources", "en,de")
    assert "give more with --text sw=FILE" in refused(run(*words, "--text", f"sw={tmp_path / 'sw.txt'}"))
