"""Rows in several languages whose label is the language: all of them go through one adapter."""

import json

import pytest
from command_line import SETTINGS, refused, run

from xmodctl.catalog import catalog
from xmodctl.core.errors import UserError
from xmodctl.data import coverage, load_rows
from xmodctl.evaluation.results import read_rows
from xmodctl.training.planning import resolve_plan
from xmodctl.training.request import FinetuneRequest

WORDS = {"eng_Latn": "the cat runs", "deu_Latn": "katze", "fra_Latn": "chat", "swh_Latn": "paka"}


def write_sentences(folder):
    """Write a file that says its languages in the column of the label, as the benchmark does, and has each 10 times."""
    rows = [f"{text} {number},{code}" for number in range(10) for code, text in WORDS.items()]
    file = folder / "sentences.csv"
    file.write_text("\n".join(["text,lang", *rows, ""]))
    return file


def planned(tiny_model, lang: str, data=None):
    from xmodctl.model import look_up

    return resolve_plan(FinetuneRequest("lid200", lang, model=tiny_model, data=data), look_up)[0].plan


def test_the_language_to_train_in_chooses_the_adapter_of_all_rows(tiny_model, tmp_path):
    data = write_sentences(tmp_path)
    for lang in ("de", "deu_Latn", "German"):
        plan = planned(tiny_model, lang, data)
        assert plan.source_languages == ("de_DE",)
        assert plan.task.languages == {"mul": "de_DE"}
        assert coverage(plan.task, data) == {"mul": ("train", "validation", "test")}
    assert planned(tiny_model, "mul").source_languages == ("en_XX",)


def test_several_languages_to_train_in_are_refused(tiny_model):
    with pytest.raises(UserError, match="all rows of LID-200 go through the adapter of one language; name one"):
        planned(tiny_model, "en,de")


def test_published_rows_are_of_no_single_language():
    with pytest.raises(UserError, match="to score them through that of sw, use --langs mul=sw"):
        load_rows(catalog.task("lid200"), "sw", "test")


@pytest.mark.parametrize("layout", ["sentences.csv", "test.csv", "mul/test.csv"])
def test_the_column_of_labels_never_divides_local_rows(tmp_path, layout):
    folder = tmp_path / "data"
    (folder / layout).parent.mkdir(parents=True)
    write_sentences(tmp_path).rename(folder / layout)
    data = folder / layout if layout == "sentences.csv" else folder
    task = catalog.task("lid200").with_values({"split_seed": None}, origin="test")
    rows = load_rows(task, "mul", "test", folder=data, single_language=True)
    assert len(rows) == 40
    assert {task.labels[label] for label in rows.table["label"]} == set(WORDS)


def test_a_column_that_is_the_label_is_no_column_of_languages():
    with pytest.raises(UserError, match="'lang', must not choose the adapter: all rows go through one"):
        catalog.task("lid200").with_values({"language_column": "lang"}, origin="test")
    with pytest.raises(UserError, match="'lang', must not choose the adapter: it is the label to predict"):
        catalog.task("classification").with_values(
            {"columns": {"text": "text", "label": "lang"}, "language_column": "lang"}, origin="test"
        )


def test_a_task_of_several_languages_names_one_adapter():
    values = {"name": "lid", "title": "T", "kind": "sequence-classification", "labels": ["a", "b"]}
    for languages, source in (({"mul": None}, "mul"), ({"mul": "en", "de": None}, "mul"), ({"mul": "en"}, "en")):
        with pytest.raises(UserError, match="must be the only code and `source_language`, and name the adapter"):
            catalog.task("lid200").with_values({**values, "languages": languages, "source_language": source}, origin="")


def test_all_rows_are_trained_scored_and_labeled_through_one_adapter(tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = write_sentences(tmp_path)
    words = ("--task", "lid200", "--lang", "de", "--model", tiny_model, "--data", data)
    checked = run("check", *words)
    assert checked.exit_code == 0, checked.output
    assert "script" not in checked.output.replace("in the expected script", "")
    trained = run("finetune", *words, "--out", "runs/lid", *SETTINGS)
    assert trained.exit_code == 0, trained.output
    scored = run("eval-transfer", "--langs", "all,fr,mul=sw")
    assert scored.exit_code == 0, scored.output
    rows = read_rows(tmp_path / "runs/lid/results.jsonl")
    assert [(row.language, row.adapter, row.n) for row in rows] == [
        ("mul", "de_DE", 4), ("mul", "fr_XX", 4), ("mul", "sw_KE", 4),
    ]  # fmt: skip
    assert rows[0].in_source
    assert not [text for text in (checked, trained, scored) if "does not give its language" in text.output]
    ranked = run("sources", "--task", "lid200", "--langs", "de,fr", "--model", tiny_model, "--data", data)
    assert "the rows of LID-200 are in several languages" in refused(ranked)
    assert run("report").exit_code == 0
    assert "several languages" in (tmp_path / "runs/lid/report.html").read_text()

    labeled = run("predict", data, "--format", "csv")
    assert labeled.exit_code == 0, labeled.output
    assert "rows go through de_DE, as in training" in " ".join(labeled.output.split())
    predictions = [json.loads(line) for line in labeled.output.splitlines() if line.startswith("{")]
    assert len(predictions) == 40
    assert {row["language"] for row in predictions} == {"de_DE"}
    message = refused(run("predict", data, "--lang-column", "lang"))
    assert "all rows of LID-200 go through one adapter; omit --lang-column" in message


def test_your_own_languages_to_identify_go_through_the_adapter_of_the_language_to_train_in(
    tiny_model, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    data = write_sentences(tmp_path)
    words = ("--task", "classification", "--lang", "en", "--model", tiny_model, "--data", data)
    trained = run("finetune", *words, "--set", "columns.label=lang", "--out", "runs/lid", *SETTINGS)
    assert trained.exit_code == 0, trained.output
    assert run("eval-transfer", "--langs", "all").exit_code == 0
    (row,) = read_rows(tmp_path / "runs/lid/results.jsonl")
    assert (row.language, row.adapter, row.n) == ("en", "en_XX", 4)
    labeled = run("predict", data, "--format", "csv")
    assert labeled.exit_code == 0, labeled.output
    assert labeled.output.count('"language": "en"') == 40
    message = refused(run("predict", data, "--lang-column", "lang"))
    assert "this is what Classification predicts" in message or "predicts, which must not choose" in message
