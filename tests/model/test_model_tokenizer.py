"""The tokenizer is the one the embeddings were trained with, or none."""

import json
import shutil

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from xmodctl import model
from xmodctl.core.errors import UserError
from xmodctl.model import tokenizer as tokenizers_of

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def save_tokenizer(folder, size, pad="<pad>"):
    words = {word: number for number, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *map(str, range(size - 4))])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=pad, **SPECIAL)
    fast.save_pretrained(folder)
    return fast


def test_a_checkpoints_own_tokenizer_is_used_with_its_length_limit(checkpoint):
    _, folder = checkpoint()
    save_tokenizer(folder, 120)
    tokenizer = model.load_tokenizer(model.find(str(folder)))
    assert tokenizer("5 7 strange")["input_ids"] == [9, 11, 3]
    assert tokenizer.model_max_length == 32


def test_stock_gives_a_tokenizer_of_five_tokens_where_there_is_none_and_we_refuse(checkpoint):
    _, folder = checkpoint()
    assert len(AutoTokenizer.from_pretrained(folder)) == 5
    with pytest.raises(UserError, match=r"has no tokenizer files, and with 120 pieces its vocabulary is not XLM-R's"):
        model.load_tokenizer(model.find(str(folder)))


@pytest.mark.parametrize("size", [5, 100, 121])
def test_a_tokenizer_of_another_size_is_refused(size, checkpoint):
    _, folder = checkpoint()
    save_tokenizer(folder, size)
    with pytest.raises(UserError, match=rf"has {size} pieces but its embeddings have 120"):
        model.load_tokenizer(model.find(str(folder)))


def test_a_tokenizer_that_pads_with_another_token_is_refused(checkpoint):
    _, folder = checkpoint()
    save_tokenizer(folder, 120, pad="</s>")
    with pytest.raises(UserError, match=r"pads with 2, but its config.json says 1"):
        model.load_tokenizer(model.find(str(folder)))


def test_xlm_rs_tokenizer_stands_in_for_a_checkpoint_of_its_vocabulary(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(tokenizers_of, "_XLM_R_VOCABULARY", 120)
    _, folder = checkpoint()
    snapshot = tmp_path / "hub" / "models--FacebookAI--xlm-roberta-base" / "snapshots" / ("c" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("c" * 40)
    save_tokenizer(snapshot, 120)
    (snapshot / "config.json").write_text(json.dumps({"model_type": "xlm-roberta"}))
    assert model.load_tokenizer(model.find(str(folder)))("5")["input_ids"] == [9]


def test_an_exported_folder_carries_its_tokenizer(checkpoint, tmp_path):
    _, folder = checkpoint()
    save_tokenizer(folder, 120)
    source = model.find(str(folder))
    ours = model.load(source, "none", ["de_DE"])
    model.export(ours, model.load_tokenizer(source), tmp_path / "out", ["de_DE"])
    assert AutoTokenizer.from_pretrained(tmp_path / "out")("5 7")["input_ids"] == [9, 11]
    assert model.load_tokenizer(model.find(str(tmp_path / "out")))("5 7")["input_ids"] == [9, 11]


DAMAGE = {
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "a web page": b"<html><body>404 Not Found</body></html>",
    "nothing": b"",
    "a list": b"[]",
    "null": b"null",
    "a number": b"7",
    "not UTF-8": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
}


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("damage", [*DAMAGE, "cut off"])
def test_a_damaged_file_of_a_tokenizer_is_one_sentence_that_names_it(name, damage, checkpoint):
    _, folder = checkpoint()
    save_tokenizer(folder, 120)
    path = folder / name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage == "cut off" else DAMAGE[damage])
    with pytest.raises(UserError) as caught:
        model.load_tokenizer(model.find(str(folder)))
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert "download the file again" in message


def problem(folder) -> str:
    """Return why a folder's tokenizer is refused; empty if it is not."""
    try:
        model.load_tokenizer(model.find(str(folder)))
    except UserError as error:
        return str(error)
    return ""


def test_values_of_another_type_in_a_tokenizers_files_are_at_most_one_sentence(checkpoint):
    _, folder = checkpoint()
    save_tokenizer(folder, 120)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        path = folder / name
        whole = json.loads(path.read_text())
        for key in whole:
            values = [whole | {key: value} for value in (None, 7, [], {}, "text", [[]], True)]
            without = {other: value for other, value in whole.items() if other != key}
            for changed in (*values, without):
                path.write_text(json.dumps(changed))
                assert "\n" not in problem(folder), changed
        path.write_text(json.dumps(whole))


def test_code_that_a_tokenizers_files_name_is_not_run(checkpoint):
    _, folder = checkpoint()
    save_tokenizer(folder, 120)
    (folder / "evil.py").write_text("raise SystemExit('code of the model was run')\n")
    path = folder / "tokenizer_config.json"
    named = {"auto_map": {"AutoTokenizer": [None, "evil.Evil"]}, "tokenizer_class": "Evil"}
    path.write_text(json.dumps(json.loads(path.read_text()) | named))
    assert "\n" not in problem(folder)


def test_a_template_whose_special_tokens_are_missing_is_refused(tiny_model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    path = folder / "tokenizer.json"
    definition = json.loads(path.read_text())
    tokens = definition["post_processor"]["special_tokens"]
    tokens["other"] = tokens.pop("<s>") | {"id": "other"}
    path.write_text(json.dumps(definition))
    with pytest.raises(UserError, match=r"tokenizer.*download"):
        model.load_tokenizer(model.find(str(folder)))
