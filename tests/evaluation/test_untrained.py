"""Scores without training: retrieval and similarity by the vectors of a base model, or of a run's body."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner, Result

import xmodctl
from xmodctl.cli.app import app
from xmodctl.core.errors import UserError
from xmodctl.evaluation.results import read_rows
from xmodctl.training.world import World

SENTENCES = [
    "the cat", "a dog runs", "red dog", "blue cat sleeps", "never", "not a dog", "the red cat", "a blue dog", "runs",
    "the cat sleeps", "chat", "paka",
]  # fmt: skip
TEXTS = {"de": SENTENCES, "sw": [f"{sentence} paka" for sentence in SENTENCES], "de-en": SENTENCES}
ENGLISH = [
    "cat the", "dog a runs never", "red", "cat blue", "not never", "a dog", "red the cat", "dog blue a", "never runs",
    "sleeps cat", "the chat", "a paka",
]  # fmt: skip


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return pairs in two languages."""
    for language in ("de", "sw"):
        path = tmp_path / "data" / language / "test.jsonl"
        path.parent.mkdir(parents=True)
        rows = [{"text": text, "translation": pair} for text, pair in zip(TEXTS[language], ENGLISH, strict=True)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "data"


def accuracy(**where: object) -> dict[str, float]:
    """Return the accuracy of finding each German and Swahili text, from vectors that `embed` returns."""
    pairs = xmodctl.embed(ENGLISH, "en", **where).vectors
    shares = {}
    for language in ("de", "sw"):
        found = (pairs @ xmodctl.embed(TEXTS[language], language, **where).vectors.T).argmax(axis=1)
        shares[language] = 100 * float(np.mean(found == np.arange(len(ENGLISH))))
    return shares


def values(folder: Path) -> dict[str, float]:
    return {row.language: row.value for row in read_rows(folder / "results.jsonl")}


def test_a_base_model_is_scored_and_reported_like_a_run(tiny_model, data, tmp_path):
    out = tmp_path / "base"
    result = run("eval-transfer", "--task", "retrieval", "--model", tiny_model, "--data", data, "--langs", "all",
                 "--out", out)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "text_pair from `translation`" in result.stderr
    assert "accuracy in percent, without training" in result.stdout
    assert values(out) == pytest.approx(accuracy(model=tiny_model))
    rows = read_rows(out / "results.jsonl")
    assert {row.adapter for row in rows} == {"de_DE", "sw_KE"}
    assert not any(row.is_in_source or row.source_languages for row in rows)
    assert rows[0].baseline == pytest.approx(100 / 12)

    again = run("eval-transfer", "--run", out, "--langs", "all")
    assert again.stderr.count("(scored before)") == 2
    rescored = run("score", "--run", out)
    assert "2 of 2 scores match" in rescored.stderr
    page = run("report", out, "--out", tmp_path / "report.md")
    assert page.exit_code == 0, page.output
    text = (tmp_path / "report.md").read_text()
    assert "without training, vectors: mean over tokens, seed 0" in text
    assert "without the source" not in text
    assert "variance between training runs" not in text
    assert run("report", out, "--out", tmp_path / "report.html").exit_code == 0
    assert "without training, vectors" in (tmp_path / "report.html").read_text()
    assert "without training" in repr(xmodctl.Run.read(out))
    assert [summary.language for summary in xmodctl.runs(tmp_path)] == [""]


@pytest.mark.parametrize("split", ["split", "part"])
def test_only_test_rows_of_a_file_with_a_column_split_are_scored_and_the_plan_names_it(tiny_model, tmp_path, split):
    file, out = tmp_path / "pairs.jsonl", tmp_path / "run"
    rows = [
        {"text": text, "text_pair": pair, "language": "de", split: "train" if number % 3 else "test"}
        for number, (text, pair) in enumerate(zip(SENTENCES, ENGLISH, strict=True))
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    xmodctl.evaluate(None, "de", task="retrieval", model=tiny_model, data=file, out=out)
    has_split = split == "split"  # any other column may be anything, and all rows are scored
    assert read_rows(out / "results.jsonl")[0].n == (4 if has_split else 12)
    task = xmodctl.Run.read(out).plan.task
    assert task.split_column == ("split" if has_split else "")
    assert ("split_column" in task.from_data) == has_split


def test_the_body_of_a_run_is_scored_and_compared_with_its_base(trained, data, tmp_path):
    folder, _ = trained
    model = xmodctl.Run.read(folder).plan.model
    options = {"task": "retrieval", "data": data}
    base = xmodctl.evaluate(None, "all", model=model, out=tmp_path / "base", **options)
    tuned = xmodctl.evaluate(folder, "all", out=tmp_path / "tuned", **options)
    assert {score.language: score.mean for score in tuned.scores} == pytest.approx(accuracy(run=folder))
    assert {score.language: score.mean for score in base.scores} == pytest.approx(accuracy(model=model))
    comparison = xmodctl.compare([tmp_path / "tuned", tmp_path / "base"])
    assert comparison.verdicts
    assert not (folder / "results.jsonl").exists(), "a run keeps the scores of its own task only"
    again = xmodctl.evaluate(folder, "all", out=tmp_path / "tuned", **options)
    assert again == tuned


def test_two_base_models_are_compared_without_a_word_about_training(tiny_model, data, tmp_path):
    for name, pooling in (("mean", "mean"), ("cls", "cls")):
        xmodctl.evaluate(
            None, "all", task="retrieval", model=tiny_model, data=data, out=tmp_path / name,
            overrides={"pooling": pooling},
        )  # fmt: skip
    comparison = xmodctl.compare([tmp_path / "mean", tmp_path / "cls"])
    assert not [note for note in comparison.notes if "training" in note or "seed" in note]


def test_settings_of_the_vectors_are_part_of_the_plan(tiny_model, data, tmp_path):
    settings = {"pooling": "cls", "layer": 2, "prefix": "red ", "max_length": 16}
    xmodctl.evaluate(
        None, "all", task="retrieval", model=tiny_model, data=data, out=tmp_path / "cls", overrides=settings
    )
    where = {"model": tiny_model, "pooling": "cls", "layer": 2, "prefix": "red "}
    sides = xmodctl.embed(TEXTS["de"], "de", **where).vectors, xmodctl.embed(ENGLISH, "en", **where).vectors
    lines = (tmp_path / "cls" / "predictions" / "test" / "de.seed-0.jsonl").read_text().splitlines()
    np.testing.assert_allclose(
        [json.loads(line)["scores"][2] for line in lines], (sides[0] * sides[1]).sum(1), atol=1e-5
    )
    with pytest.raises(UserError, match=r"a different plan .*; choose another folder with --out$"):
        xmodctl.evaluate(None, "all", task="retrieval", model=tiny_model, data=data, out=tmp_path / "cls")


def test_controls_change_the_adapter_of_the_text_alone(tiny_model, data, tmp_path):
    xmodctl.evaluate(
        None, "de", task="retrieval", model=tiny_model, data=data, out=tmp_path / "run", controls=["source", "none"]
    )
    rows = {row.control: row for row in read_rows(tmp_path / "run" / "results.jsonl")}
    assert {control: row.adapter for control, row in rows.items()} == {"own": "de_DE", "source": "en_XX", "none": None}
    pairs = xmodctl.embed(ENGLISH, "en", model=tiny_model).vectors
    found = (pairs @ xmodctl.embed(SENTENCES, "en", model=tiny_model).vectors.T).argmax(axis=1)
    assert rows["source"].value == pytest.approx(100 * float(np.mean(found == np.arange(12))))


@pytest.fixture
def similar(tmp_path: Path) -> Path:
    """Return pairs of German with English sentences, and of Swahili sentences, with a number."""
    for code in ("de-en", "sw"):
        path = tmp_path / "sts" / code / "test.jsonl"
        path.parent.mkdir(parents=True)
        rows = [
            {"text": text, "text_pair": pair, "label": number % 5}
            for number, (text, pair) in enumerate(zip(TEXTS[code], ENGLISH, strict=True))
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "sts"


def test_each_side_of_a_pair_goes_through_the_adapter_of_its_language(tiny_model, similar, tmp_path):
    task = tmp_path / "sts.yaml"
    task.write_text(
        "title: STS\nkind: sentence-similarity\nmetric: spearman\n"
        "columns: {text: text, text_pair: text_pair, label: label}\n"
        "languages: {de-en: de_DE, sw: }\npair_languages: {de-en: en}\n"
    )
    xmodctl.evaluate(None, "@task", task=task, model=tiny_model, data=similar, out=tmp_path / "run")
    rows = {row.language: row for row in read_rows(tmp_path / "run" / "results.jsonl")}
    gold = [number % 5 for number in range(12)]
    for code, sides in (("de-en", ("de", "en")), ("sw", ("sw", "sw"))):
        texts = xmodctl.embed(TEXTS[code], sides[0], model=tiny_model).vectors.astype(float)
        pairs = xmodctl.embed(ENGLISH, sides[1], model=tiny_model).vectors.astype(float)
        cosines = (texts * pairs).sum(axis=1)
        assert rows[code].value == pytest.approx(100 * stats.spearmanr(cosines, gold).statistic, abs=1e-6)
        assert rows[code].metrics["pearson"] == pytest.approx(100 * stats.pearsonr(cosines, gold).statistic, abs=1e-3)


def test_data_of_text_regression_is_scored_without_training_by_cosines(tiny_model, similar, tmp_path):
    notices: list[object] = []
    report = xmodctl.evaluate(
        None, "sw", task="regression", model=tiny_model, data=similar, out=tmp_path / "run", listen=notices.append
    )
    assert report.metric == "pearson"
    assert read_rows(tmp_path / "run" / "results.jsonl")[0].kind == "sentence-similarity"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "xnli", "model": "TINY"}, "xmodctl finetune --task xnli"),
        ({"task": "retrieval"}, "give the model with --model MODEL"),
        ({"task": "retrieval", "model": "TINY", "data": None}, "reads your own data; give it with --data"),
        ({"model": "TINY"}, "--model needs --task TASK"),
        ({"task": "retrieval", "model": "TINY", "overrides": {"layer": 9}}, "has the layers 1 to 2"),
        ({"task": "retrieval", "model": "TINY", "overrides": {"pooling": "max"}}, "choose from mean, cls"),
        ({"task": "retrieval", "model": "TINY", "overrides": {"max_length": 4}}, "from 8 to 64"),
        ({"task": "retrieval", "model": "TINY", "overrides": {"pooing": "cls"}}, "did you mean"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_a_sentence(tiny_model, data, tmp_path, options, message):
    options = {"data": data, "out": tmp_path / "run", **options}
    options = {key: str(tiny_model) if value == "TINY" else value for key, value in options.items()}
    if "task" not in options:
        options.pop("out")
    with pytest.raises(UserError, match=message):
        xmodctl.evaluate(None, "de", **options)
    assert not (tmp_path / "run").exists()


def test_commands_that_need_training_say_what_to_do_instead(tiny_model, data, tmp_path, monkeypatch):
    out = tmp_path / "run"
    xmodctl.evaluate(None, "de", task="retrieval", model=tiny_model, data=data, out=out)
    with pytest.raises(UserError) as refusal:
        xmodctl.finetune("retrieval", "en", model=tiny_model, data=data, out=tmp_path / "trained")
    monkeypatch.chdir(tmp_path)
    result = run(*shlex.split(str(refusal.value).partition("run: xmodctl ")[2]))
    assert result.exit_code == 0, result.output
    with pytest.raises(UserError, match="xmodctl embed --run"):
        xmodctl.predict(out, "de", ["a"])
    with pytest.raises(UserError, match="has no head; add --format sentence-transformers"):
        xmodctl.export(tmp_path / "exported", run=out)


@pytest.mark.parametrize("of_run", [False, True])
def test_what_is_damaged_is_made_again_by_the_command_that_the_message_names(
    tiny_model, trained, data, tmp_path, of_run, monkeypatch
):
    out = tmp_path / "run"
    where = {"run": trained[0]} if of_run else {"run": None, "model": tiny_model}
    before = xmodctl.evaluate(langs="de", task="retrieval", data=data, out=out, **where).scores
    delta = next(out.glob("seed-*/delta.safetensors"))
    whole = delta.read_bytes()
    delta.write_bytes(whole[:-3])
    with pytest.raises(UserError, match="create it again: xmodctl resume") as refusal:
        xmodctl.evaluate(out, "de", on_exists="redo")
    result = run(*shlex.split(str(refusal.value).partition("again: xmodctl ")[2]))
    assert result.exit_code == 0, result.output
    assert delta.read_bytes() == whole
    assert xmodctl.evaluate(out, "de", on_exists="redo").scores == before
    assert "has the seeds" in run("resume", out, "--seed", "77").stderr
    with monkeypatch.context() as patched:
        patched.setattr(World, "join", lambda command: World(0, 2))
        with pytest.raises(UserError, match=r"needs no training, .* omit --processes"):
            xmodctl.resume(out)
    if of_run:
        xmodctl.finetune("xnli", "en", model=tiny_model, data=trained[1], out=trained[0], on_exists="redo",
                         overrides={"epochs": 1, "batch_size": 8, "max_length": 32})  # fmt: skip
        delta.unlink()
        with pytest.raises(UserError, match="its plan differs"):
            xmodctl.resume(out)


def test_repeated_texts_are_noted(tiny_model, tmp_path):
    path = tmp_path / "data" / "de" / "test.jsonl"
    path.parent.mkdir(parents=True)
    rows = [{"text": "the cat", "text_pair": "katze"}, {"text": "the cat", "text_pair": "a cat"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = run("eval-transfer", "--task", "retrieval", "--model", tiny_model, "--data", tmp_path / "data",
                 "--langs", "de", "--out", tmp_path / "run")  # fmt: skip
    assert "1 rows repeat an earlier `text`; of equal texts, only the first can be found" in result.stderr


def test_a_file_without_languages_is_in_the_language_that_is_named(tiny_model, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("de,en\n" + "".join(f"{text},{pair}\n" for text, pair in zip(SENTENCES, ENGLISH, strict=True)))
    where = ["--task", "retrieval", "--model", tiny_model, "--data", path, "--set", "columns.text=de",
             "--set", "columns.text_pair=en", "--out", tmp_path / "run"]  # fmt: skip
    result = run("eval-transfer", *where, "--langs", "de")
    assert result.exit_code == 0, result.output
    assert values(tmp_path / "run") == pytest.approx({"de": accuracy(model=tiny_model)["de"]})
    (row,) = read_rows(tmp_path / "run" / "results.jsonl")
    assert row.n == 12, "all rows of a file are scored"
    refused = run("eval-transfer", *where, "--langs", "all")
    assert refused.exit_code == 2
    assert "does not give the language of its rows; name one language" in refused.stderr
