"""Word tagging: plain tags in lists and in files of tagged words, and their scores."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xmodctl.catalog import catalog as library
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.data import load_rows
from xmodctl.data.own_data import fit
from xmodctl.kinds import KINDS
from xmodctl.kinds.breakdown import SeedPredictions
from xmodctl.kinds.scoring import Predicted

KIND = KINDS["word-tagging"]
FACTS: dict[str, Any] = {
    "name": "t", "title": "T", "kind": KIND.name, "columns": {"tokens": "tokens", "tags": "tags"},
    "labels": ["NOUN", "VERB", "SYM", "X"], "languages": ["en"], "recipe": "tagging",
}  # fmt: skip
TASK = Task.model_validate(FACTS)


def read(tmp_path: Path, text: str, name: str, **changes: Any) -> list[tuple[list[str], list[int]]]:
    path = tmp_path / "en" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    table = load_rows(Task.model_validate(FACTS | changes), "en", "test", folder=tmp_path).table
    return list(zip(table["tokens"][:], table["tags"][:], strict=True))


CONLLU = """# sent_id = 1
# text = Dogs don't run
1\tDogs\tdog\tNOUN\tNNS\t_\t4\tnsubj\t_\t_
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdo\tdo\tVERB\tVBP\t_\t4\taux\t_\t_
2.1\tsilent\t_\tX\t_\t_\t_\t_\t_\t_
3\tn't\tnot\tX\tRB\t_\t4\tadvmod\t_\t_
4\trun\trun\tVERB\tVB\t_\t0\troot\t_\t_

"""


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("test.jsonl", '{"tokens": ["a", "b"], "tags": ["noun", "VERB"]}\n', [(["a", "b"], [0, 1])]),
        ("test.jsonl", '{"tokens": ["a", "b"], "tags": [0, 3]}\n', [(["a", "b"], [0, 3])]),
        ("test.conllu", CONLLU, [(["Dogs", "do", "n't", "run"], [0, 1, 3, 1])]),
        ("test.conll", "dogs NOUN\nrun VERB\n\nb X\n", [(["dogs", "run"], [0, 1]), (["b"], [3])]),
        ("test.tsv", "#\tSYM\ndogs\tNOUN\n", [(["#", "dogs"], [2, 0])]),
        ("test.txt", "# SYM\ndogs NOUN\n\n# a comment here\nrun VERB\n", [(["#", "dogs"], [2, 0]), (["run"], [1])]),
        ("test.txt", "dogs O NOUN\nrun B-PER VERB\n", [(["dogs", "run"], [0, 1])]),
    ],
)
def test_tags_are_read_from_lists_and_from_files_of_tagged_words(tmp_path, name, text, expected):
    assert read(tmp_path, text, name) == expected


def test_columns_can_be_named(tmp_path):
    columns = {"columns": {"tokens": "tokens", "tags": "2"}}
    assert read(tmp_path, "dogs NOUN O O\nrun VERB O O\n", "test.conll", **columns) == [(["dogs", "run"], [0, 1])]
    with pytest.raises(UserError, match=r"name the columns with --set columns\.tokens=2 --set columns\.tags=3"):
        read(tmp_path, "1 dogs NOUN\n2 run VERB\n", "test.conll")
    columns = {"columns": {"tokens": "2", "tags": "3"}}
    assert read(tmp_path, "1 dogs NOUN\n2 run VERB\n", "test.conll", **columns) == [(["dogs", "run"], [0, 1])]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tokens": ["a"], "tags": ["NOUN", "X"]}, "1 words in `tokens`, but 2 tags in `tags`"),
        (
            {"tokens": ["a"], "tags": ["NOUNS"]},
            r"test\.jsonl:1: `tags` is \"NOUNS\"; the labels are NOUN, VERB, SYM, X",
        ),
        ({"tokens": ["a"], "tags": 5}, "expected a list of tags, one per word"),
        ({"tokens": ["a"], "tags": [9]}, "the labels are"),
        ({"tokens": ["a"], "tags": [-1]}, "means that there is no gold label"),
    ],
)
def test_what_is_no_tag_is_refused_with_its_line(tmp_path, row, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, json.dumps(row) + '\n{"tokens": ["a", "b"], "tags": ["X", "VERB"]}\n', "test.jsonl")


def test_unknown_tags_are_findings_of_their_own(tmp_path):
    row = '{"tokens": ["a", "b"], "tags": ["FOO", "BAR"]}\n'
    with pytest.raises(UserError) as caught:
        read(tmp_path, row * 3, "test.jsonl")
    assert str(caught.value).count("3 rows") == 2


def test_the_generic_task_finds_the_tags_of_a_treebank(tmp_path):
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "train.conllu").write_text(CONLLU)
    (tmp_path / "en" / "test.conllu").write_text(CONLLU)
    task = fit(library.task("tagging"), tmp_path, ["en"]).task
    assert task.labels == ("NOUN", "VERB", "X")
    assert load_rows(task, "en", "test", folder=tmp_path).table["tags"][0] == [0, 1, 2, 1]


def random_tags(draw: np.random.Generator, sentences: int) -> list[list[str]]:
    return [list(draw.choice(TASK.labels[:3], 7)) for _ in range(sentences)]


@pytest.mark.parametrize("seed", range(4))
def test_scores_are_those_of_scikit_learn(seed):
    metrics = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(seed)
    gold, guess = random_tags(draw, 30), random_tags(draw, 30)
    scores = KIND.metrics(KIND.statistics(gold, guess, TASK, "en").sum(axis=0), TASK)
    flat = [tag for tags in gold for tag in tags], [tag for tags in guess for tag in tags]
    assert scores["accuracy"] == pytest.approx(100 * metrics.accuracy_score(*flat), abs=1e-9)
    assert scores["macro_f1"] == pytest.approx(100 * metrics.f1_score(*flat, average="macro"), abs=1e-9)


REFERENCE = json.loads((Path(__file__).parent / "tag_runs_reference.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("reference", REFERENCE["sets"], ids=["parts of speech", "few tags", "chunk tags"])
def test_the_second_score_is_that_of_xtremes_script(reference):
    task = TASK.with_values({"labels": reference["labels"]}, origin="test")
    gold, guess = ([pair[side].split() for pair in reference["sentences"]] for side in (0, 1))
    scores = KIND.metrics(KIND.statistics(gold, guess, task, "en").sum(axis=0), task)
    assert scores["xtreme_f1"] == pytest.approx(reference["f1"], abs=1e-9)
    assert task.with_values({"metric": "xtreme_f1"}, origin="--set").headline == "xtreme_f1"


def test_runs_of_equal_tags_are_what_xtremes_script_counts():
    task = TASK.with_values({"labels": ["NOUN", "VERB", "SYM"]}, origin="test")
    gold, guess = [["NOUN", "NOUN", "VERB", "SYM", "SYM"]], [["NOUN", "VERB", "VERB", "SYM", "SYM"]]
    scores = KIND.metrics(KIND.statistics(gold, guess, task, "en").sum(axis=0), task)
    assert scores["accuracy"] == 80.0
    assert scores["xtreme_f1"] == 50.0  # both SYM are right; neither of the other two runs is


def test_the_baseline_is_the_most_common_tag():
    gold = [["NOUN", "NOUN", "VERB"], ["NOUN"]]
    assert KIND.baseline(gold, None, TASK, "en") == 75.0


def test_reports_show_words_with_another_tag():
    rows = [Predicted("1", ["NOUN", "VERB"], ["NOUN", "NOUN"], (0.9, 0.7)), Predicted("2", ["X"], ["X"], (0.9,))]
    seed = SeedPredictions(KIND, TASK, "en", rows, {})
    assert KIND.describe_mistake(TASK, rows[0].gold, rows[0].prediction, {"tokens": ["dogs", "run"]}) == (
        "run: VERB", "run: NOUN", (("sentence", "dogs run"),),
    )  # fmt: skip
    assert KIND.wrongness(TASK, seed).tolist() == [0.7, 0.0]
    assert {part.name: round(part.value, 1) for part in KIND.parts(TASK, [seed])} == {"NOUN": 66.7, "VERB": 0, "X": 100}
    confusion = KIND.confusion(TASK, [seed])
    assert confusion.counts[1][0] == 1


def test_a_word_without_tokens_has_the_tag_that_says_least():
    assert KIND.tag_without_tokens(TASK) == "X"
    assert KIND.tag_without_tokens(TASK.with_values({"labels": ["A", "B"]}, origin="--set")) == "A"
