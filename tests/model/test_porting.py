"""Encoders of other kinds become X-MODs that compute the same."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from command_line import refused, run
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, PreTrainedTokenizerFast

from xmodctl import model
from xmodctl.core.errors import UserError
from xmodctl.core.safetensors_io import read_entries
from xmodctl.model import porting
from xmodctl.model.porting import SAMPLE, port

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "type_vocab_size": 2,
}


def tokenizer(pad: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer of characters, padding with the id `pad`."""
    special = ["<s>", "</s>", "<unk>", "<mask>"]
    special.insert(pad, "<pad>")
    letters = sorted({letter for text in SAMPLE for letter in text if not letter.isspace()})
    numbers = {piece: number for number, piece in enumerate([*special, *letters])}
    built = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    built.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split("", "isolated")]
    )
    built.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[(token, numbers[token]) for token in ("<s>", "</s>")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=built, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
        pad_token="<pad>", unk_token="<unk>", mask_token="<mask>",
    )  # fmt: skip


@pytest.fixture
def encoder(tmp_path):
    """Return a maker of saved encoders with random weights: (class name, id of padding, **settings) -> folder."""

    def make(kind: str, pad: int = 1, *, positions: int = 40, **settings):
        words = tokenizer(pad)
        auto = getattr(transformers, kind)
        config = auto.config_class(
            **{"vocab_size": len(words), "max_position_embeddings": positions, "pad_token_id": pad, **SIZES, **settings}
        )
        torch.manual_seed(3)
        ported = auto(config)
        with torch.no_grad():
            for parameter in ported.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
        folder = tmp_path / f"{kind}-{pad}"
        ported.save_pretrained(folder)
        words.save_pretrained(folder)
        return folder

    return make


CASES = [
    ("BertModel", 0, {}),
    ("BertModel", 1, {"pad_token_id": 0}),  # multilingual MiniLM: the config's padding is not the tokenizer's
    ("BertForMaskedLM", 3, {}),
    ("BertForSequenceClassification", 0, {}),
    ("RobertaModel", 1, {}),
    ("RobertaForMaskedLM", 2, {}),
    ("XLMRobertaForMaskedLM", 1, {"type_vocab_size": 1}),
    ("XLMRobertaForTokenClassification", 1, {}),
    ("CamembertModel", 1, {}),
]


@pytest.mark.parametrize(("kind", "pad", "settings"), CASES)
def test_the_converted_model_computes_in_stock_transformers_what_its_source_does(
    encoder, tmp_path, kind, pad, settings
):
    folder = encoder(kind, pad, **settings)
    ported = port(str(folder), tmp_path / "out", ["en_XX", "gsw"])
    assert 0 <= ported.largest_difference <= porting.TOLERANCE
    source, ported = AutoModel.from_pretrained(folder).eval(), AutoModel.from_pretrained(tmp_path / "out").eval()
    ported.set_default_language("gsw")
    words = AutoTokenizer.from_pretrained(tmp_path / "out")
    batch = words(["The cat sleeps", "cat"], padding=True, return_tensors="pt")
    batch = {key: batch[key] for key in ("input_ids", "attention_mask")}
    assert (batch["input_ids"] == pad).any()
    real = batch["attention_mask"].bool()
    assert torch.allclose(ported(**batch).last_hidden_state[real], source(**batch).last_hidden_state[real], atol=1e-5)
    # The longest text that fits: as many tokens as the source has positions for.
    longest = words.model_max_length
    assert longest == (40 if kind.startswith("Bert") else 40 - pad - 1)
    long = words(" ".join(["cat"] * 40), truncation=True, max_length=longest, return_tensors="pt")["input_ids"]
    assert long.shape[1] == longest
    assert torch.allclose(ported(long).last_hidden_state, source(long).last_hidden_state, atol=1e-5)


@pytest.mark.parametrize("kind", ["BertForMaskedLM", "RobertaForMaskedLM"])
def test_the_masked_lm_head_comes_along(encoder, tmp_path, kind):
    folder = encoder(kind)
    assert port(str(folder), tmp_path / "out", ["en_XX"]).head
    ids = torch.tensor([[0, 7, 9, 12, 2]])
    source, ported = (AutoModelForMaskedLM.from_pretrained(path).eval() for path in (folder, tmp_path / "out"))
    ported.set_default_language("en_XX")
    assert torch.allclose(ported(ids).logits, source(ids).logits, atol=1e-4)


def test_the_engine_takes_the_result_with_open_languages(encoder, tmp_path):
    port(str(encoder("RobertaModel")), tmp_path / "out", ["en_XX"])
    source = model.find(str(tmp_path / "out"))
    assert (source.languages, source.open_languages) == (("en_XX",), True)
    assert model.load_tokenizer(source)("cat")["input_ids"] == tokenizer(1)("cat")["input_ids"]


def test_a_pickled_half_precision_checkpoint_is_read_by_the_restricted_reader_and_keeps_its_precision(
    encoder, tmp_path
):
    folder = encoder("RobertaModel")
    state = {name: tensor.half() for name, tensor in AutoModel.from_pretrained(folder).state_dict().items()}
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    port(str(folder), tmp_path / "out", ["en_XX"])
    entries = read_entries(tmp_path / "out" / "model.safetensors").values()
    assert {entry.dtype for entry in entries} == {"F16"}


def broken_config(folder):
    (folder / "config.json").write_text("{")


def no_config(folder):
    (folder / "config.json").unlink()


def setting(key, value):
    def change(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, key: value}))

    return change


def no_tokenizer(folder):
    for file in folder.glob("token*"):
        file.unlink()


def broken_tokenizer(folder):
    (folder / "tokenizer.json").write_text("[]")


def other_tokenizer(folder):
    words = tokenizer(1)
    words.add_tokens([f"more-{number}" for number in range(9)])
    words.save_pretrained(folder)


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def torn_weights(folder):
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-8])


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (broken_config, "is not valid JSON"),
        (no_config, "has no config.json"),
        (setting("model_type", "distilbert"), "cannot convert a model of type 'distilbert'"),
        (setting("model_type", "xmod"), "is an X-MOD model already"),
        (setting("position_embedding_type", "relative_key"), "X-MOD has only 'absolute' ones"),
        (setting("hidden_size", None), "lacks hidden_size"),
        (setting("pad_token_id", 0), "they must agree"),
        (setting("num_hidden_layers", 3), "lacks"),
        (setting("intermediate_size", 31), "but its config.json implies (31, 16)"),
        (setting("layer_norm_eps", 0.3), None),  # consistent: the source computes with it, too
        (no_tokenizer, "has no tokenizer"),
        (broken_tokenizer, "is not a JSON object"),
        (other_tokenizer, "pieces but its embeddings"),
        (no_weights, "has no weights"),
        (torn_weights, "is damaged"),
    ],
    ids=lambda value: getattr(value, "__qualname__", None),
)
def test_a_bad_source_is_refused_in_a_sentence_and_nothing_is_written(encoder, tmp_path, harm, message):
    folder = encoder("RobertaModel")
    harm(folder)
    result = run("convert", folder, tmp_path / "out", "--langs", "en")
    if message is None:
        assert result.exit_code == 0, result.output
        return
    assert message in refused(result)
    assert not (tmp_path / "out").exists()


def test_a_result_that_differs_is_not_written(encoder, tmp_path, monkeypatch):
    def wrong(config, tensors, *rest, **settings):
        ported = convert(config, tensors, *rest, **settings)
        ported.tensors["roberta.encoder.layer.1.output.dense.bias"] = (
            ported.tensors["roberta.encoder.layer.1.output.dense.bias"] * 1.1
        )
        return ported

    convert = porting.conversion.convert
    monkeypatch.setattr(porting.conversion, "convert", wrong)
    with pytest.raises(UserError, match="was not converted: the X-MOD's hidden states differ"):
        port(str(encoder("RobertaModel")), tmp_path / "out", ["en_XX"])
    assert not (tmp_path / "out").exists()


def test_the_command_names_adapters_as_x_mod_does_and_tells_the_difference(encoder, tmp_path):
    folder = encoder("BertForMaskedLM", 0)
    result = run("convert", folder, tmp_path / "out", "--langs", "en,German,zu", "--json")
    assert result.exit_code == 0, result.output
    output = json.loads(result.stdout)
    assert output["languages"] == ["en_XX", "de_DE", "zu_ZA"]
    assert output["largest_difference"] <= porting.TOLERANCE
    same = run("convert", folder, tmp_path / "out", "--langs", "en,German,zu", "--json")
    assert (same.exit_code, json.loads(same.stdout)) == (0, output)
    again = run("convert", folder, tmp_path / "out", "--langs", "en")
    assert "is not an empty folder" in refused(again)
    shutil.rmtree(tmp_path / "out")
    result = run("convert", folder, tmp_path / "out", "--langs", "en", "--reduction", 2)
    assert "hidden states of sample text differ from the source's by" in result.stderr
    assert json.loads((tmp_path / "out" / "config.json").read_text())["adapter_reduction_factor"] == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["absent-folder", "out", "--langs", "en"], "there is no model folder"),
        (["nobody/nothing", "out", "--langs", "en"], "the local cache does not have it"),
        (["SOURCE", "out", "--langs", "klingonish"], "neither an adapter"),
        (["SOURCE", "out", "--langs", ","], "names no language"),
        (["SOURCE", "out", "--langs", "en,en_XX"], "names en_XX twice"),
        (["SOURCE", "out", "--langs", "en", "--reduction", "17"], "leaves no adapter; choose 1 to 16"),
    ],
)
def test_a_wrong_argument_is_told(encoder, tmp_path, words, message):
    folder = encoder("RobertaModel")
    words = [{"SOURCE": folder, "out": tmp_path / "out"}.get(word, word) for word in words]
    assert message in refused(run("convert", *words))


def test_no_digest_of_a_temporary_file_is_remembered(encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    assert run("convert", encoder("BertModel"), out, "--langs", "en").exit_code == 0
    files = [json.loads(path.read_text())["file"] for path in (tmp_path / "cache" / "hashes").glob("*.json")]
    assert [file for file in files if not Path(file).exists()] == []
