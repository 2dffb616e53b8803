"""Sentence embeddings: the vectors themselves, what texts are read from, and what is written."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open
from typer.testing import CliRunner, Result

import xmodctl
from xmodctl.cli.app import app
from xmodctl.core.errors import UserError

TEXTS = ["the cat sleeps", "a red dog runs never", "katze"]
MIXED = [{"text": TEXTS[0], "lang": "en"}, {"text": TEXTS[1], "lang": "sw"}, {"text": TEXTS[2], "lang": "de"}]


def run(*words: object, standard_input: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], input=standard_input)


def reference(folder: Path, texts: list[str], language: str, *, mode: str = "mean", layer: int = -1) -> np.ndarray:
    """Compute unnormalized vectors with the stock model, text by text, without padding."""
    import torch
    from transformers import AutoTokenizer, XmodModel

    model = XmodModel.from_pretrained(folder, add_pooling_layer=False).eval()
    model.set_default_language(language)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    vectors = []
    for text in texts:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            states = model(ids, output_hidden_states=True).hidden_states[layer][0].double().numpy()
        vectors.append(states.mean(axis=0) if mode == "mean" else states[0])
    return np.stack(vectors)


@pytest.mark.parametrize("mode", ["mean", "cls"])
@pytest.mark.parametrize("layer", [None, 0, 1, 2])
def test_a_vector_is_the_mean_over_the_tokens_of_a_layer_or_its_first_token(tiny_model, mode, layer):
    embeddings = xmodctl.embed(TEXTS, "de", model=tiny_model, pooling=mode, layer=layer, normalize=False)
    wanted = reference(tiny_model, TEXTS, "de_DE", mode=mode, layer=-1 if layer is None else layer)
    np.testing.assert_allclose(embeddings.vectors, wanted, atol=2e-6)


def test_vectors_have_length_one_unless_they_are_not_to_be_normalized(tiny_model):
    plain = xmodctl.embed(TEXTS, "en", model=tiny_model, normalize=False).vectors
    unit = xmodctl.embed(TEXTS, "en", model=tiny_model).vectors
    np.testing.assert_allclose(unit, plain / np.linalg.norm(plain, axis=1, keepdims=True), atol=1e-6)


def test_each_row_goes_through_the_adapter_of_its_language_in_its_order(tiny_model):
    embeddings = xmodctl.embed(MIXED, model=tiny_model, rows_at_a_time=2)
    for number, language in enumerate(("en", "sw", "de")):
        (alone,) = xmodctl.embed([TEXTS[number]], language, model=tiny_model).vectors
        np.testing.assert_allclose(embeddings.vectors[number], alone, atol=1e-6)
    assert [row["language"] for row in embeddings.rows] == ["en", "sw", "de"]


def test_a_prefix_is_read_in_front_of_each_text(tiny_model):
    with_prefix = xmodctl.embed(TEXTS, "en", model=tiny_model, prefix="red blue ").vectors
    written_out = xmodctl.embed([f"red blue {text}" for text in TEXTS], "en", model=tiny_model).vectors
    np.testing.assert_array_equal(with_prefix, written_out)
    assert not np.allclose(with_prefix, xmodctl.embed(TEXTS, "en", model=tiny_model).vectors)


def test_a_run_gives_the_vectors_of_its_trained_body(trained):
    folder, _ = trained
    base = xmodctl.Run.read(folder).plan.model
    tuned = xmodctl.embed(TEXTS, "de", run=folder, normalize=False).vectors
    assert not np.allclose(tuned, xmodctl.embed(TEXTS, "de", model=base, normalize=False).vectors)
    xmodctl.export(folder.parent / "exported", run=folder, langs="de")
    np.testing.assert_allclose(tuned, reference(folder.parent / "exported", TEXTS, "de_DE"), atol=2e-6)


def test_the_result_is_a_value_that_shows_what_it_is(tiny_model):
    embeddings = xmodctl.embed(
        [{"id": "a", "text": TEXTS[0], "topic": "cats"}], "en", model=tiny_model, keep_input=True
    )
    assert repr(embeddings) == f"<Embeddings {tiny_model}: 0 texts so far, 16 dimensions, mean, normalized>"
    frame = embeddings.to_frame()
    assert list(frame.columns) == ["id", "text", "topic", "embedding"]
    assert frame["embedding"][0].shape == (16,)
    assert repr(embeddings) == f"<Embeddings {tiny_model}: 1 text, 16 dimensions, mean, normalized>"
    assert [row["id"] for row in embeddings] == ["a"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "tickets.csv"
    rows = [f"t{number},{row['lang']},{row['text']}" for number, row in enumerate(MIXED * 100)]
    path.write_text("\n".join(["id,lang,body", *rows]) + "\n")
    return path


def contents(path: Path) -> tuple[list[str], np.ndarray]:
    match path.suffix:
        case ".npy":
            vectors = np.load(path)
        case ".safetensors":
            with safe_open(path, "numpy") as file:
                vectors, metadata = file.get_tensor("embeddings"), file.metadata()
            assert metadata["pooling"] == "mean"
            assert metadata["prefix"] == ""
        case ".parquet":
            rows = pq.read_table(path)
            assert rows.schema.metadata[b"xmodctl.normalize"] == b"true"
            return rows["id"].to_pylist(), np.array(rows["embedding"].to_pylist(), dtype=np.float32)
        case _:
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            return [row["id"] for row in lines], np.array([row["embedding"] for row in lines], dtype=np.float32)
    lines = path.with_name(f"{path.name}.rows.jsonl").read_text().splitlines()
    return [json.loads(line)["id"] for line in lines], vectors


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".parquet", ".jsonl"])
def test_every_format_holds_the_same_vectors_with_ids(tiny_model, table, suffix):
    out = table.with_name(f"vectors{suffix}")
    result = run("embed", table, "--model", tiny_model, "--out", out)
    assert result.exit_code == 0, result.output
    assert "embedded 300 texts: 16 dimensions" in result.stderr
    assert "text is read from `body`" in result.stderr
    ids, vectors = contents(out)
    assert ids == [f"t{number}" for number in range(300)]
    wanted = xmodctl.embed(MIXED, model=tiny_model).vectors
    np.testing.assert_allclose(vectors[:3], wanted, atol=1e-6)
    np.testing.assert_allclose(vectors[-3:], wanted, atol=1e-6)
    assert vectors.dtype == np.float32
    assert not [path for path in table.parent.iterdir() if path.name.endswith(".part")]


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".parquet", ".jsonl"])
def test_at_a_row_that_cannot_be_used_the_vectors_before_it_are_kept(tiny_model, table, suffix):
    with table.open("a") as file:
        file.write("t300,en,\n")
    out = table.with_name(f"vectors{suffix}")
    result = run("embed", table, "--model", tiny_model, "--out", out)
    assert result.exit_code == 2
    assert "tickets.csv:302" in result.stderr
    assert f"The vectors before it are in {out}.partial" in result.stderr
    assert not out.exists()
    kept = out.with_name(f"{out.name}.partial").rename(table.with_name(f"kept{suffix}"))
    rows = out.with_name(f"{out.name}.rows.jsonl.partial")
    if rows.exists():
        rows.rename(table.with_name(f"kept{suffix}.rows.jsonl"))
    ids, vectors = contents(kept)
    assert len(ids) == len(vectors) == 300


def test_texts_on_the_command_line_are_printed_as_json_lines(tiny_model):
    result = run("embed", "--model", tiny_model, "--lang", "de", "--text", TEXTS[0], "--text", TEXTS[1])
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    wanted = xmodctl.embed(TEXTS[:2], "de", model=tiny_model).vectors
    np.testing.assert_array_equal(np.array([row["embedding"] for row in rows], dtype=np.float32), wanted)
    assert [row["id"] for row in rows] == [1, 2]


def test_the_column_with_the_text_can_be_named(tiny_model, tmp_path):
    path = tmp_path / "posts.csv"
    path.write_text("text,title,lang\nthe cat,a dog,en\n")
    named = list(xmodctl.embed(path, model=tiny_model, text_column="title", keep_input=True))
    (alone,) = xmodctl.embed(["a dog"], "en", model=tiny_model)
    assert named[0]["embedding"] == alone["embedding"]
    assert named[0]["text"] == "the cat"
    with pytest.raises(UserError, match="no column `titel`; the row has text, title, lang"):
        xmodctl.embed(path, model=tiny_model, text_column="titel")


@pytest.mark.parametrize("name", ["head.csv", "head.tsv", "empty.json"])
def test_a_table_without_rows_is_refused(tiny_model, trained, tmp_path, name):
    path = tmp_path / name
    path.write_text("[]" if name == "empty.json" else "text\n")
    with pytest.raises(UserError, match=r"(holds|contains) no rows"):
        xmodctl.embed(path, "en", model=tiny_model)
    with pytest.raises(UserError, match=r"(holds|contains) no rows"):
        xmodctl.predict(trained[0], "en", path)


def test_a_text_that_is_too_long_is_cut_and_counted(tiny_model):
    embeddings = xmodctl.embed([" ".join(["cat"] * 30), "cat"], "en", model=tiny_model, max_length=8)
    cut = xmodctl.embed([" ".join(["cat"] * 6)], "en", model=tiny_model)
    np.testing.assert_allclose(embeddings.vectors[0], cut.vectors[0], atol=1e-6)
    assert embeddings.truncated == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give the model with --model MODEL"),
        ({"model": "mini", "run": "runs/x"}, "not both"),
        ({"model": "mini", "seed": 1}, "a base model has no seeds"),
        ({"model": "mini", "pooling": "max"}, "choose from mean, cls"),
        ({"model": "mini", "max_length": 2}, "at least 3 tokens"),
        ({"model": "TINY", "layer": 3}, "has the layers 1 to 2, and 0 for its embeddings"),
        ({"model": "TINY", "max_length": 100}, "reads at most 64 tokens"),
    ],
)
def test_what_cannot_be_computed_is_refused_in_a_sentence(tiny_model, options, message):
    options = {key: tiny_model if value == "TINY" else value for key, value in options.items()}
    with pytest.raises(UserError, match=message):
        xmodctl.embed(TEXTS, "en", **options)


@pytest.mark.parametrize(
    ("out", "message"),
    [("vectors.csv", "vectors are written as .npy"), ("t.jsonl", "which it would replace"), (".", "written as .npy")],
)
def test_an_output_that_cannot_be_written_is_refused_before_the_model_is_loaded(tmp_path, out, message):
    (tmp_path / "t.jsonl").write_text('{"text": "a"}\n')
    result = run("embed", tmp_path / "t.jsonl", "--lang", "en", "--model", "mini", "--out", tmp_path / out)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.slow
def test_mini_finds_translations_with_the_prefix_that_it_was_trained_with():
    english = ["The cat sleeps on the sofa.", "It will rain tomorrow.", "Where is the station?", "I lost my keys."]
    german = ["Die Katze schläft auf dem Sofa.", "Morgen regnet es.", "Wo ist der Bahnhof?", "Mein Schlüssel ist weg."]
    sides = [xmodctl.embed(texts, lang, model="mini") for texts, lang in ((english, "en"), (german, "de"))]
    assert [side.prefix for side in sides] == ["query: ", "query: "]
    cosines = sides[0].vectors @ sides[1].vectors.T
    assert (cosines.argmax(axis=1) == np.arange(4)).all()
    assert (cosines.argmax(axis=0) == np.arange(4)).all()
    written_out = xmodctl.embed([f"query: {text}" for text in english], "en", model="mini", prefix="")
    np.testing.assert_allclose(written_out.vectors, sides[0].vectors, atol=1e-6)
