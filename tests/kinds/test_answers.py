import json
from pathlib import Path

import pytest
from samples import task

from xmodctl.core.errors import UserError
from xmodctl.kinds import KINDS
from xmodctl.kinds.answers import Rules

ROWS = json.loads((Path(__file__).parent / "answers_reference.json").read_text(encoding="utf-8"))["rows"]
LANGUAGES = sorted({row["language"] for row in ROWS})
MLQA = sorted({row["language"] for row in ROWS if "mlqa" in row})


@pytest.mark.parametrize(
    ("rules", "reference"), [("squad", "squad"), ("tydiqa", "squad"), ("squad2", "squad2"), ("mlqa", "mlqa")]
)
def test_each_answer_scores_as_in_the_benchmarks_own_script(rules, reference):
    scored = [row for row in ROWS if reference in row]
    assert len(scored) > 100
    for row in scored:
        score = Rules(rules, row["language"]).score(row["gold"], row["prediction"])
        assert (score.exact_match, score.f1) == pytest.approx(row[reference], abs=1e-12), row


@pytest.mark.parametrize("rules", ["squad", "tydiqa", "squad2", "mlqa"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_languages_score_is_that_of_the_benchmarks_own_script(rules, language):
    reference = "squad" if rules == "tydiqa" else rules
    rows = [row for row in ROWS if row["language"] == language and reference in row]
    if not rows:
        assert rules == "mlqa"
        assert language not in MLQA
        return
    kind, ours = KINDS["question-answering"], task("question-answering", metric_rules=rules)
    statistics = kind.statistics([row["gold"] for row in rows], [row["prediction"] for row in rows], ours, language)
    values = kind.metrics(statistics.sum(axis=0), ours)
    for column, name in enumerate(("exact_match", "f1")):
        expected = 100 * sum(row[reference][column] for row in rows) / len(rows)
        assert float(values[name]) == pytest.approx(expected, abs=1e-9)


def test_mlqa_counts_every_chinese_character_as_a_word():
    rules = Rules("mlqa", "zh")
    assert rules.normalize("《红楼梦》 DNA螺旋") == "红 楼 梦 dna 螺 旋"
    assert Rules("squad", "zh").normalize("《红楼梦》") == "《红楼梦》"


@pytest.mark.parametrize("language", ["de_DE", "German", "deu_Latn"])
def test_mlqa_knows_its_languages_in_every_spelling(language):
    kind, ours = KINDS["question-answering"], task("question-answering", metric_rules="mlqa")
    assert kind.statistics([["Die Donau"]], ["der donau"], ours, language)[0, 0] == 1


def test_a_language_without_mlqa_rules_is_refused_with_a_fix():
    with pytest.raises(UserError, match=r"MLQA's rules cover ar, de, .* not fr; .*--set metric_rules=squad"):
        Rules("mlqa", "fr")


@pytest.mark.parametrize("rules", ["squad", "mlqa", "tydiqa"])
def test_a_question_without_an_answer_is_refused_by_rules_that_do_not_allow_it(rules):
    with pytest.raises(UserError, match="--set metric_rules=squad2"):
        Rules(rules, "en").score([], "")


def test_questions_with_and_without_an_answer_are_scored_separately_too():
    kind, ours = KINDS["question-answering"], task("question-answering", metric_rules="squad2")
    gold = [["Rhine"], ["the Elbe"], [], []]
    statistics = kind.statistics(gold, ["Rhine", "", "", "Oder"], ours, "en")
    values = {name: float(value) for name, value in kind.metrics(statistics.sum(axis=0), ours).items()}
    assert values == {
        "f1": 50.0, "exact_match": 50.0,
        "has_answer_f1": 50.0, "has_answer_exact_match": 50.0, "no_answer_accuracy": 50.0,
    }  # fmt: skip


def test_rules_are_refused_for_a_kind_without_answers():
    with pytest.raises(ValueError, match="multiple-choice does not have"):
        task("multiple-choice", metric_rules="mlqa")
