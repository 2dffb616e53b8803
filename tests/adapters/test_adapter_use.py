"""A finetuned run uses a language that came in a package: sweeps, predictions, exports, Python."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import finetune, refused, run
from test_adapters import own_vocabulary, zulu
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from xmodctl import embed, evaluate, load, model
from xmodctl.adapters.packages import Package, write_package
from xmodctl.adapters.store import copy_to_store
from xmodctl.catalog import catalog as library
from xmodctl.core.errors import UserError
from xmodctl.core.files import sha256_of
from xmodctl.evaluation.data_sets import by_data_set
from xmodctl.evaluation.results import read_rows
from xmodctl.run.run import Run


@pytest.fixture(scope="module")
def finished(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a short run and its data, Zulu among it."""
    folder = tmp_path_factory.mktemp("adapter-use")
    for language in ("en", "de", "zu"):
        for split in ("train", "validation", "test"):
            path = folder / "data" / language / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = [
                {"premise": f"the cat umuntu {number}", "hypothesis": word, "label": label}
                for number in range(6)
                for word, label in zip(("red", "blue", "never"), library.task("xnli").labels, strict=True)
            ]
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = finetune(tiny_model, folder / "data", folder / "run", "--set", "epochs=2")
    assert result.exit_code == 0, result.output
    return folder / "run", folder / "data"


@pytest.fixture
def base(tiny_model) -> model.Source:
    return model.find(str(tiny_model))


@pytest.fixture
def package(base, tmp_path) -> Package:
    return write_package(tmp_path / "zu", base, "zu_ZA", zulu(base), {})


@pytest.fixture
def own(base, tmp_path) -> Package:
    return write_package(tmp_path / "own", base, "zu_ZA", zulu(base), {}, vocabulary=own_vocabulary(base))


@pytest.fixture(autouse=True)
def _forget_scores(finished):
    """Let each test score anew."""
    yield
    (finished[0] / "results.jsonl").unlink(missing_ok=True)


def test_a_package_is_tried_as_a_donor_and_as_the_languages_own(finished, package):
    folder, data = finished
    result = run(
        "donors", "--run", folder, "--langs", "zu,de", "--adapters", "zu_ZA,en_XX", "--adapter", package.folder,
        "--data", data, "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    cells = {(cell["language"], cell["adapter"]): cell["own"] for cell in json.loads(result.stdout)["matrix"]["cells"]}
    assert {pair: own for pair, own in cells.items() if pair[1]} == {
        ("zu", "zu_ZA"): True, ("zu", "en_XX"): False, ("de", "zu_ZA"): False, ("de", "en_XX"): False,
    }  # fmt: skip


def scored(folder: Path, *more: object) -> dict[str, dict]:
    """Score languages and return the rows of the command's JSON by language and control."""
    result = run("eval-transfer", "--run", folder, "--json", *more)
    assert result.exit_code == 0, result.output
    return {(row["language"], row["control"]): row for row in json.loads(result.stdout)["rows"]}


def test_a_run_goes_through_a_packages_adapter_and_its_row_says_which(finished, package):
    folder, _ = finished
    assert "has no adapter for 'zu'" in refused(run("eval-transfer", "--run", folder, "--langs", "zu"))
    rows = scored(folder, "--langs", "zu,de", "--adapter", package.folder, "--controls", "none")
    assert rows["zu_ZA", "own"]["adapter"] == "zu_ZA"
    assert rows["zu_ZA", "own"]["package"] == package.sha256
    assert rows["zu_ZA", "none"]["package"] is None
    assert rows["de", "own"]["package"] is None
    scores = (folder / rows["zu_ZA", "own"]["predictions"]).read_text()
    assert scores != (folder / rows["zu_ZA", "none"]["predictions"]).read_text()


def test_other_languages_score_the_same_to_the_bit_with_and_without_a_package(finished, package, own):
    folder, _ = finished
    before = scored(folder, "--langs", "de,en", "--on-exists", "redo")
    for item in (package, own):
        after = scored(folder, "--langs", "zu,de,en", "--adapter", item.folder, "--on-exists", "redo")
        for key, row in before.items():
            assert after[key]["predictions_sha256"] == row["predictions_sha256"]


def test_a_score_is_kept_for_its_package_and_one_of_another_package_is_kept_beside_it(
    finished, base, package, tmp_path
):
    folder, _ = finished
    scored(folder, "--langs", "zu", "--adapter", package.folder)
    again = run("eval-transfer", "--run", folder, "--langs", "zu", "--adapter", package.folder)
    assert again.stderr.count("scored before") == 2
    other = write_package(tmp_path / "other", base, "zu_ZA", zulu(base, seed=5), {})
    rows = scored(folder, "--langs", "zu", "--adapter", other.folder)
    assert rows["zu_ZA", "own"]["package"] == other.sha256
    kept = [row for row in read_rows(folder / "results.jsonl") if row.language == "zu_ZA"]
    assert [row.package for row in kept] == [package.sha256, other.sha256]
    for row in kept:
        assert sha256_of(row.predictions_in(folder)) == row.predictions_sha256
    first, second = by_data_set(read_rows(folder / "results.jsonl"))
    assert [(row.language, row.package) for row in first.rows[0]] == [("en", None), ("zu_ZA", other.sha256)]
    assert [row.package for row in second.rows[0]] == [package.sha256]
    assert second.name == f"{first.name}, package zu_ZA {package.sha256[:12]}"
    back = run("eval-transfer", "--run", folder, "--langs", "zu", "--adapter", package.folder)
    assert back.stderr.count("scored before") == 2


def test_a_language_with_its_own_vocabulary_is_read_with_its_own_tokenizer(finished, own, base):
    folder, data = finished
    loaded = load(folder, "zu", adapters=own.folder, device="cpu")
    assert loaded.xmod.active == "zu_ZA"
    words = own.tokenizer()
    assert loaded.tokenizer("umuntu")["input_ids"] == words("umuntu")["input_ids"]
    rows = scored(folder, "--langs", "zu", "--adapter", own.folder, "--controls", "none,source")
    task = Run.read(folder).plan.task
    lines = [json.loads(line) for line in (data / "zu" / "test.jsonl").read_text().splitlines()]
    predicted = [json.loads(line) for line in (folder / rows["zu_ZA", "own"]["predictions"]).read_text().splitlines()]
    for line, row in zip(lines, predicted, strict=True):
        batch = words(line["premise"], line["hypothesis"], return_tensors="pt")
        with torch.inference_mode():
            scores = loaded.module(input_ids=batch["input_ids"]).logits[0].softmax(-1)
        assert torch.allclose(scores, torch.tensor(row["scores"]), atol=1e-5)
        assert task.labels[int(scores.argmax())] == row["prediction"]
    # Without the adapter the model's own tokenizer reads, as it does where the package is not there.
    plain = scored(folder, "--langs", "zu=de_DE", "--controls", "none", "--on-exists", "redo")
    assert plain["zu", "none"]["predictions_sha256"] == rows["zu_ZA", "none"]["predictions_sha256"]
    loaded.use("de")
    assert loaded.tokenizer("cat")["input_ids"] == model.load_tokenizer(base)("cat")["input_ids"]
    assert loaded.xmod.vocabulary is None


def test_a_run_that_trained_its_embeddings_refuses_another_vocabulary_and_takes_the_same(
    tiny_model, finished, package, own, tmp_path
):
    _, data = finished
    result = finetune(tiny_model, data, tmp_path / "run", "--set", "epochs=1", "--set", "freeze=adapters")
    assert result.exit_code == 0, result.output
    result = run("eval-transfer", "--run", tmp_path / "run", "--langs", "zu", "--adapter", own.folder)
    assert "this run trained them: fine-tune with --set freeze=embeddings+adapters" in refused(result)
    assert scored(tmp_path / "run", "--langs", "zu", "--adapter", package.folder)["zu_ZA", "own"]["package"]


def test_a_package_replaces_a_language_of_the_model_only_with_a_caution(finished, base, tmp_path):
    folder, _ = finished
    tensors = {name.replace("zu_ZA", "de_DE"): tensor for name, tensor in zulu(base).items()}
    package = write_package(tmp_path / "de", base, "de_DE", tensors, {})
    result = run("eval-transfer", "--run", folder, "--langs", "de", "--adapter", package.folder)
    assert "instead of the model's own" in result.stderr
    assert [row.package for row in read_rows(folder / "results.jsonl")] == [None, package.sha256]


def test_a_package_of_another_base_is_refused_by_a_run(finished, base, tmp_path):
    from test_adapters import altered

    other = altered(base, tmp_path / "model")
    package = write_package(tmp_path / "other", other, "zu_ZA", zulu(base), {})
    result = run("eval-transfer", "--run", finished[0], "--langs", "zu", "--adapter", package.folder)
    assert "does not fit" in refused(result)
    assert "neither a folder nor a package in the store" in refused(
        run("eval-transfer", "--run", finished[0], "--langs", "zu", "--adapter", "absent")
    )


def test_predict_labels_text_of_a_packages_language(finished, package, own, tmp_path):
    folder, data = finished
    lines = tmp_path / "lines.jsonl"
    lines.write_text("".join((data / "zu" / "test.jsonl").read_text().splitlines(keepends=True)[:3]))
    assert "has no adapter" in refused(run("predict", lines, "--run", folder, "--lang", "zu"))
    for item in (package, own):
        result = run("predict", lines, "--run", folder, "--lang", "zu", "--adapter", item.folder)
        assert result.exit_code == 0, result.output
        predictions = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
        rows = scored(folder, "--langs", "zu", "--adapter", item.folder)
        kept = (folder / rows["zu_ZA", "own"]["predictions"]).read_text().splitlines()[:3]
        assert [row["prediction"] for row in predictions] == [json.loads(line)["prediction"] for line in kept]


def test_texts_in_a_packages_language_become_vectors_with_its_own_vocabulary(finished, package, own, base):
    folder, _ = finished
    texts = ["umuntu cat", "red"]
    for where in ({"model": base.folder}, {"run": folder}):
        with pytest.raises(UserError, match="no adapter"):
            embed(texts, "zu", **where)
        vectors = [embed(texts, "zu", adapters=item.folder, **where).vectors for item in (package, own)]
        assert not np.allclose(*vectors)
        mixed = [{"text": text, "lang": language} for text in texts for language in ("zu", "de", "zu")]
        rows = embed(mixed, adapters=own.folder, **where).vectors
        np.testing.assert_allclose(rows[[0, 2, 3, 5]], vectors[1][[0, 0, 1, 1]], atol=1e-6)
        np.testing.assert_allclose(rows[[1, 4]], embed(texts, "de", **where).vectors, atol=1e-6)


def test_an_export_with_a_packages_language_loads_in_plain_transformers(finished, package, own, tmp_path):
    folder, _ = finished
    for added, langs in ((package, "de,zu"), (own, "zu")):
        out = tmp_path / f"out-{added.folder.name}"
        result = run("export", "--run", folder, "--adapter", added.folder, "--langs", langs, "--out", out)
        assert result.exit_code == 0, result.output
        assert f"`zu_ZA` (sha256 `{added.sha256[:16]}`), which was added to it later" in (out / "README.md").read_text()
        stock = AutoModelForSequenceClassification.from_pretrained(out).eval()
        stock.set_default_language("zu_ZA")
        ours = load(folder, "zu", adapters=[added.folder], device="cpu")
        words = AutoTokenizer.from_pretrained(out)
        batch = words("umuntu cat", "red", return_tensors="pt")
        assert (
            batch["input_ids"].tolist()
            == ours.tokenizer("umuntu cat", "red", return_tensors="pt")["input_ids"].tolist()
        )
        with torch.inference_mode():
            assert torch.allclose(stock(batch["input_ids"]).logits, ours.module(batch["input_ids"]).logits, atol=1e-5)
    result = run("export", "--run", folder, "--adapter", own.folder, "--langs", "de,zu", "--out", tmp_path / "both")
    assert "has its own vocabulary, and a transformers folder contains one vocabulary" in refused(result)
    assert not (tmp_path / "both").exists()


def test_from_python_adapters_are_folders_or_names_of_the_store(finished, package):
    kept = copy_to_store(package)
    notices = []
    try:
        with pytest.raises(UserError, match="has no adapter for 'zu'"):
            evaluate(finished[0], "zu", listen=notices.append)
        report = evaluate(finished[0], "zu", adapters=["Zulu"], listen=lambda event: None)
    finally:
        for file in kept.folder.iterdir():
            file.unlink()
        kept.folder.rmdir()
    assert any("the store has an adapter for zu_ZA" in getattr(event, "text", "") for event in notices)
    assert {score.language: score.adapter for score in report.scores} == {"en": "en_XX", "zu_ZA": "zu_ZA"}


def test_a_folder_of_one_language_needs_no_folder_within_when_that_language_alone_is_asked_for(finished, package):
    folder, data = finished
    words = ("--run", folder, "--adapter", package.folder, "--data", data / "zu")
    result = run("eval-transfer", *words, "--langs", "zu")
    assert result.exit_code == 0, result.output
    assert f"{data / 'zu' / 'test.jsonl'} does not give its language; all of it is assumed to be zu_ZA" in " ".join(
        result.stderr.split()
    )
    rows = read_rows(folder / "results.jsonl")
    assert [row.language for row in rows] == ["zu_ZA"]  # and not the source language, whose data is not there
    whole = scored(folder, "--langs", "zu", "--adapter", package.folder, "--on-exists", "redo")
    assert whole["zu_ZA", "own"]["value"] == rows[0].value
    result = run("eval-transfer", *words, "--langs", "zu,de")
    assert "no column gives the row's language" in " ".join(result.output.split())
    assert "or select this language alone" in " ".join(result.output.split())


def test_a_folder_of_one_language_can_be_trained_on_and_looked_at_too(tiny_model, finished, tmp_path):
    _, data = finished
    result = finetune(tiny_model, data / "en", tmp_path / "run", "--set", "epochs=1")
    assert result.exit_code == 0, result.output
    assert "does not give its language; all of it is assumed to be en_XX" in " ".join(result.stderr.split())
    result = run("inspect", "--task", "xnli", "--lang", "en", "--model", tiny_model, "--data", data / "en")
    assert result.exit_code == 0, result.output
    result = finetune(tiny_model, data / "en", tmp_path / "two", "--lang", "en,de")
    assert "no column gives the row's language" in refused(result)


def test_a_run_can_be_told_how_other_data_is_written_and_nothing_else(finished, package, tmp_path):
    folder, data = finished
    lines = (data / "de" / "test.jsonl").read_text().replace('"premise"', '"first"').replace("entailment", "yes")
    for language in ("de", "en"):
        (tmp_path / language).mkdir()
        (tmp_path / language / "test.jsonl").write_text(lines)
    words = ("eval-transfer", "--run", folder, "--langs", "de", "--data", tmp_path)
    assert run(*words).exit_code != 0
    message = ("--set", "columns.text=first", "--set", "labels_mapped.yes=entailment")
    result = run(*words, *message, "--json")
    assert result.exit_code == 0, result.output
    same = scored(folder, "--langs", "de", "--on-exists", "redo")
    (german,) = (row for row in json.loads(result.stdout)["rows"] if row["language"] == "de")
    assert german["value"] == same["de", "own"]["value"]
    assert "anything else is an option of finetune" in refused(run(*words, "--set", "labels=[a, b]"))
    assert "did you mean labels_mapped" in refused(run(*words, "--set", "labels_maped.yes=entailment"))


def test_python_refuses_two_adapters_of_one_language(finished, base, package, tmp_path):
    other = write_package(tmp_path / "other", base, "zu_ZA", zulu(base, seed=9), {})
    with pytest.raises(UserError, match="two adapters for zu_ZA"):
        load(finished[0], "zu", adapters=[package.folder, other.folder])
