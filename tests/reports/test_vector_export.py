"""A folder of sentence-transformers: it gives the vectors of `embed`, read back by its own files."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import xmodctl
from xmodctl.cli.app import app
from xmodctl.core.errors import UserError

TEXTS = ["the cat sleeps", "a red dog runs never", "katze " * 90]
FORMAT = "sentence-transformers"


def by_its_files(folder: Path, texts: list[str]) -> np.ndarray:
    """Return vectors as sentence-transformers computes them from the files of a folder, text by text."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    types = [module["type"].rpartition(".")[2] for module in json.loads((folder / "modules.json").read_text())]
    assert types == ["Transformer", "Pooling", "Normalize"]
    settings = json.loads((folder / "sentence_bert_config.json").read_text())
    prompts = json.loads((folder / "config_sentence_transformers.json").read_text())
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    prefix = prompts["prompts"].get(prompts["default_prompt_name"], "")
    model = AutoModel.from_pretrained(folder, **settings["model_args"]).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    vectors = []
    for text in texts:
        batch = tokenizer(prefix + text, truncation=True, max_length=settings["max_seq_length"], return_tensors="pt")
        with torch.no_grad():
            states = model(**batch).last_hidden_state[0]
        vector = states.mean(dim=0) if pooling["pooling_mode_mean_tokens"] else states[0]
        vectors.append((vector / vector.norm()).numpy())
    assert len(vectors[0]) == pooling["word_embedding_dimension"]
    return np.stack(vectors)


@pytest.mark.parametrize("settings", [{}, {"pooling": "cls", "prefix": "red "}])
def test_a_base_model_in_one_language_gives_the_vectors_of_embed(tiny_model, tmp_path, settings):
    exported = xmodctl.export(tmp_path / "out", model=tiny_model, langs="de", format=FORMAT, **settings)
    assert (exported.languages, exported.auto_class) == (("de_DE",), "SentenceTransformer")
    wanted = xmodctl.embed(TEXTS, "de", model=tiny_model, **settings).vectors
    np.testing.assert_allclose(by_its_files(tmp_path / "out", TEXTS), wanted, atol=2e-6)
    again = xmodctl.embed(TEXTS, "de", model=tmp_path / "out")
    np.testing.assert_allclose(again.vectors, wanted, atol=2e-6)
    assert again.prefix == settings.get("prefix", "")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "library_name: sentence-transformers" in card
    assert "adapter `de_DE`" in card


def test_a_run_gives_the_vectors_of_its_trained_body(trained, tmp_path):
    folder, _ = trained
    result = CliRunner().invoke(
        app, ["export", "--format", FORMAT, "--run", str(folder), "--langs", "sw", "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    assert f"model = SentenceTransformer({str(tmp_path / 'out')!r})" in result.stderr
    wanted = xmodctl.embed(TEXTS, "sw", run=folder).vectors
    np.testing.assert_allclose(by_its_files(tmp_path / "out", TEXTS), wanted, atol=2e-6)
    assert not np.allclose(wanted, xmodctl.embed(TEXTS, "sw", model=xmodctl.Run.read(folder).plan.model).vectors)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["architectures"] == ["XmodModel"]


def test_the_settings_of_a_run_that_scores_vectors_hold_for_embed_and_export(tiny_model, tmp_path):
    path = tmp_path / "data" / "de" / "test.jsonl"
    path.parent.mkdir(parents=True)
    rows = [{"text": text, "text_pair": text[::-1]} for text in TEXTS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"pooling": "cls", "prefix": "red "}
    xmodctl.evaluate(
        None, "de", task="retrieval", model=tiny_model, data=path.parents[1], overrides=settings, out=tmp_path / "run"
    )
    wanted = xmodctl.embed(TEXTS, "de", model=tiny_model, **settings).vectors
    np.testing.assert_array_equal(xmodctl.embed(TEXTS, "de", run=tmp_path / "run").vectors, wanted)
    xmodctl.export(tmp_path / "out", run=tmp_path / "run", langs="de", format=FORMAT)
    np.testing.assert_allclose(by_its_files(tmp_path / "out", TEXTS), wanted, atol=2e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}, "names no pooling that xmodctl has"),
        ({"pooling_mode_cls_token": True}, "names no pooling that xmodctl has"),
        ([], "is not a JSON object"),
    ],
)
def test_a_pooling_that_is_not_known_is_refused(tiny_model, tmp_path, change, message):
    xmodctl.export(tmp_path / "out", model=tiny_model, langs="de", format=FORMAT)
    path = tmp_path / "out" / "1_Pooling" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change} if change else change))
    with pytest.raises(UserError, match=message):
        xmodctl.embed(TEXTS, "de", model=tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": FORMAT, "model": "mini"}, "--langs all: a folder of sentence-transformers contains one language"),
        ({"format": FORMAT, "model": "mini", "langs": "de,fr"}, "contains one language"),
        ({"format": FORMAT, "langs": "de"}, "give the model with --model MODEL"),
        ({"format": FORMAT, "langs": "de", "model": "mini", "pooling": "max"}, "choose from mean, cls"),
        ({"format": "gguf", "langs": "de"}, "choose from transformers, sentence-transformers"),
        ({"format": "onnx"}, "--langs all: a folder of onnx contains one language"),
        ({"model": "mini"}, "--model applies to vectors; add --format sentence-transformers"),
        ({"prefix": "a"}, "--prefix applies to vectors"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        xmodctl.export(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("prefix", [None, "red "])
def test_the_package_itself_gives_the_same_vectors(tiny_model, tmp_path, prefix):
    package = pytest.importorskip("sentence_transformers")
    xmodctl.export(tmp_path / "out", model=tiny_model, langs="de", format=FORMAT, prefix=prefix)
    vectors = package.SentenceTransformer(str(tmp_path / "out"), device="cpu").encode(TEXTS)
    wanted = xmodctl.embed(TEXTS, "de", model=tiny_model, prefix=prefix).vectors
    np.testing.assert_allclose(vectors, wanted, atol=2e-6)
