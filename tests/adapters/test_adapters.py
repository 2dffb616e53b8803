"""Adapter packages: whole or not at all, for one base and no other."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from command_line import refused, run
from transformers import AutoModel

from xmodctl import model
from xmodctl.adapters.attaching import attach
from xmodctl.adapters.merging import extract, merge_packages
from xmodctl.adapters.packages import Package, check_fits, read_package, write_package
from xmodctl.adapters.store import choose, choose_all, copy_to_store, store_folder
from xmodctl.core.errors import UserError
from xmodctl.core.files import sha256_of
from xmodctl.model import weights
from xmodctl.new_language.vocabulary import NewVocabulary, train_vocabulary

TEXTS = [f"umuntu ngumuntu ngabantu {number} the cat sleeps" for number in range(40)]


@pytest.fixture
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def base(tiny_model) -> model.Source:
    return model.find(str(tiny_model))


def zulu(base: model.Source, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return an adapter of a language the tiny model lacks, that does something."""
    made = model.read_adapter(base, "de_DE")
    generator = torch.Generator().manual_seed(seed)
    return {
        name.replace("de_DE", "zu_ZA"): torch.randn(tensor.shape, generator=generator) for name, tensor in made.items()
    }


def written(base: model.Source, folder: Path, *, seed: int = 0, own: NewVocabulary | None = None) -> Package:
    return write_package(folder, base, "zu_ZA", zulu(base, seed), {"steps": 3}, vocabulary=own)


def own_vocabulary(base: model.Source) -> NewVocabulary:
    words = model.load(base, "none", ["en_XX"]).module.embeddings.word_embeddings.weight.detach()
    return train_vocabulary(TEXTS, model.load_tokenizer(base), words, size=60, seed=0)


def altered(base: model.Source, folder: Path, **settings) -> model.Source:
    """Return a copy of the base with other settings; its weights are drawn anew where their shapes changed."""
    shutil.copytree(base.folder, folder)
    config = AutoModel.from_pretrained(folder).config
    for key, value in settings.items():
        setattr(config, key, value)
    torch.manual_seed(1)
    AutoModel.from_config(config).save_pretrained(folder)
    return model.find(str(folder))


def test_what_is_written_is_read_back_with_its_facts_and_the_files_own_sha256(base, tmp_path):
    package = written(base, tmp_path / "zu")
    again = read_package(tmp_path / "zu")
    assert again == package
    assert package.language == "zu_ZA"
    assert package.base == base.folder.name
    assert package.facts == {"steps": 3}
    assert package.geometry["hidden size"] == 16
    assert package.vocabulary is None
    assert package.sha256 == sha256_of(tmp_path / "zu" / "adapter.safetensors")
    assert all(torch.equal(tensor, package.tensors()[name]) for name, tensor in zulu(base).items())


def test_the_same_tensors_make_the_same_package_byte_by_byte(base, tmp_path):
    packages = [written(base, tmp_path / name, own=own_vocabulary(base)) for name in "ab"]
    assert packages[0].sha256 == packages[1].sha256
    assert packages[0].name == packages[1].name


def test_an_attached_language_computes_with_the_packages_tensors_and_the_others_to_the_bit_as_before(base, tmp_path):
    package = written(base, tmp_path / "zu")
    xmod = model.load(base, "masked-lm", ["en_XX", "de_DE"])
    batch = {"input_ids": torch.tensor([[0, 5, 6, 7, 2]]), "attention_mask": torch.ones(1, 5, dtype=torch.int64)}
    before = {}
    for language in ("en_XX", "de_DE"):
        xmod.use(language)
        before[language] = xmod.module(**batch).logits
    attach(xmod, package)
    xmod.use("zu_ZA")
    assert xmod.active == "zu_ZA"
    assert xmod.packages == {"zu_ZA": package.sha256}
    assert all(torch.equal(tensor, xmod.adapter("zu_ZA")[name]) for name, tensor in zulu(base).items())
    assert not torch.allclose(xmod.module(**batch).logits, before["en_XX"])
    for language, logits in before.items():
        xmod.use(language)
        assert torch.equal(xmod.module(**batch).logits, logits)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"adapter_reduction_factor": 4}, r"adapter reduction factor 2\), not for .* \(4\)"),
        ({"num_hidden_layers": 1}, r"layers 2\), not for .* \(1\)"),
        ({"vocab_size": 19}, r"vocabulary size 18\), not for .* \(19\)"),
        ({"hidden_dropout_prob": 0.2}, "does not fit"),
        ({}, "does not fit"),  # the same configuration, other weights
    ],
)
def test_a_package_of_another_geometry_vocabulary_or_body_is_refused_in_a_sentence(base, tmp_path, settings, message):
    package = written(base, tmp_path / "zu")
    other = altered(base, tmp_path / "other", **settings)
    with pytest.raises(UserError, match=message) as caught:
        attach(model.load(other, "none", ["en_XX"]), package)
    assert "xmodctl add-language zu_ZA" in str(caught.value)


def test_a_copy_of_the_base_in_another_folder_is_the_same_base(base, tmp_path):
    package = written(base, tmp_path / "zu")
    shutil.copytree(base.folder, tmp_path / "copy")
    check_fits(package, model.find(str(tmp_path / "copy")))


def test_a_changed_damaged_or_missing_file_is_told(base, tmp_path):
    folder = written(base, tmp_path / "zu", own=own_vocabulary(base)).folder
    weights = (folder / "adapter.safetensors").read_bytes()
    (folder / "adapter.safetensors").write_bytes(weights[:-1] + b"x")
    with pytest.raises(UserError, match="is damaged or was changed"):
        read_package(folder)
    (folder / "adapter.safetensors").write_bytes(weights)
    (folder / "vocabulary" / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"incomplete: cannot read vocabulary/tokenizer\.json"):
        read_package(folder)


def test_facts_that_contradict_the_weights_are_refused(base, tmp_path):
    folder = written(base, tmp_path / "zu").folder
    facts = json.loads((folder / "adapter.json").read_text())
    facts["language"] = "xh_ZA"
    (folder / "adapter.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match=r"adapter\.safetensors describe different adapters"):
        read_package(folder)


def test_a_package_cannot_name_a_place_instead_of_a_language(base, tmp_path):
    folder = written(base, tmp_path / "zu").folder
    facts = (folder / "adapter.json").read_text()
    (folder / "adapter.json").write_text(facts.replace('"zu_ZA"', '"../zu"'))
    with pytest.raises(UserError, match=r"gives the language '\.\./zu', which is not a valid adapter name"):
        read_package(folder)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format": 1}', '{"format": "xmodctl-adapter-1"}', '{"format": "xmodctl-adapter-2"}']
)
def test_what_is_no_package_is_refused(tmp_path, content):
    (tmp_path / "adapter.json").write_text(content)
    with pytest.raises(UserError, match="adapter"):
        read_package(tmp_path)
    with pytest.raises(UserError, match="is not an adapter package"):
        read_package(tmp_path / "absent")


@pytest.mark.parametrize("key", ["language", "base", "geometry", "files", "sha256", "facts"])
@pytest.mark.parametrize("value", [None, 5, ["a"], {"a": "b"}])
def test_facts_of_another_shape_are_refused(base, tmp_path, key, value):
    folder = written(base, tmp_path / "zu").folder
    facts = json.loads((folder / "adapter.json").read_text())
    (folder / "adapter.json").write_text(json.dumps({**facts, key: value}))
    if key == "facts" and isinstance(value, dict):
        assert read_package(folder).facts == value  # what was noted of the training is anybody's
        return
    with pytest.raises(UserError, match=r"adapter|incomplete|damaged"):
        read_package(folder)


def test_a_folder_with_other_files_is_not_written_over(base, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="contains other files"):
        written(base, tmp_path / "mine")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"
    (tmp_path / "mine" / "letter.txt").unlink()
    folder = written(base, tmp_path / "mine").folder
    assert written(base, folder, seed=1) == read_package(folder)  # a package is replaced
    (folder / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="contains other files"):
        written(base, folder)


def test_a_language_with_its_own_vocabulary_brings_tokenizer_and_embeddings(base, tmp_path):
    own = own_vocabulary(base)
    package = written(base, tmp_path / "zu", own=own)
    tokenizer = package.tokenizer()
    assert tokenizer("umuntu")["input_ids"] == own.tokenizer("umuntu")["input_ids"]
    xmod = model.load(base, "none", ["en_XX"])
    attach(xmod, package)
    xmod.use("zu_ZA")
    assert torch.equal(xmod.module.embeddings.word_embeddings.weight, own.embeddings)


@pytest.mark.usefixtures("_own_cache")
def test_the_store_finds_a_package_by_language_name_or_folder_for_the_base_it_fits(base, tmp_path):
    package = written(base, tmp_path / "zu")
    kept = copy_to_store(package)
    assert kept.folder.parent == store_folder()
    for wanted in ("zu_ZA", "zu", "Zulu", kept.name, str(tmp_path / "zu")):
        assert choose(wanted, base).sha256 == package.sha256
    with pytest.raises(UserError, match="neither a folder nor a package in the store, which contains zu_ZA-"):
        choose("xh_ZA", base)
    other = altered(base, tmp_path / "other")
    with pytest.raises(UserError, match="does not fit"):
        choose("zu", other)
    copy_to_store(written(other, tmp_path / "zu-other"))
    assert choose("zu", base).sha256 == package.sha256
    copy_to_store(written(base, tmp_path / "zu-second", seed=1))
    with pytest.raises(UserError, match="several fit"):
        choose("zu", base)


def test_two_packages_of_one_language_are_refused(base, tmp_path):
    first, other = written(base, tmp_path / "a"), written(base, tmp_path / "b", seed=1)
    assert len(choose_all([first.folder, first.folder], base)) == 1
    with pytest.raises(UserError, match="two adapters for zu_ZA"):
        choose_all([first.folder, other.folder], base)


@pytest.mark.usefixtures("_own_cache")
def test_the_commands_export_verify_import_and_list(tiny_model, tmp_path):
    out = tmp_path / "de"
    result = run("adapters", "export", tiny_model, "German", out)
    assert result.exit_code == 0, result.output
    result = run("adapters", "verify", out, "--model", tiny_model, "--json")
    package = json.loads(result.stdout)
    assert package["language"] == "de_DE"
    assert package["sha256"] == sha256_of(out / "adapter.safetensors")
    assert "no packages in" in run("adapters", "list").stderr
    result = run("adapters", "import", out, "--json")
    assert Path(json.loads(result.stdout)["folder"]).parent == store_folder()
    assert "de_DE-" in run("adapters", "list").stdout
    listed = json.loads(run("adapters", "list", tmp_path, "--json").stdout)
    assert [item["folder"] for item in listed] == [str(out)]
    base = model.find(str(tiny_model))
    stored = choose("German", base).tensors()
    assert all(torch.equal(tensor, stored[name]) for name, tensor in model.read_adapter(base, "de_DE").items())


def test_the_commands_refuse_what_is_not_there(tiny_model, tmp_path):
    assert "is not an adapter package" in refused(run("adapters", "verify", tmp_path))
    assert "is not an adapter package" in refused(run("adapters", "import", tmp_path / "absent"))
    assert "is not a folder" in refused(run("adapters", "list", tmp_path / "absent"))
    assert "has no adapter for 'zu'" in refused(run("adapters", "export", tiny_model, "zu", tmp_path / "zu"))
    assert not (tmp_path / "zu").exists()


def test_a_merged_model_has_the_new_language_and_every_tensor_that_was_there(base, tmp_path):
    package, german = written(base, tmp_path / "zu"), extract(base, "de_DE", tmp_path / "de")
    result = run("adapters", "merge", package.folder, "--model", base.folder, "--out", tmp_path / "merged")
    assert result.exit_code == 0, result.output
    assert "new: zu_ZA" in result.stderr
    merged = model.find(str(tmp_path / "merged"))
    assert merged.languages == (*base.languages, "zu_ZA")
    base_checkpoint, merged_checkpoint = (weights.CheckpointTensors(item.folder, item.name) for item in (base, merged))
    before, after = base_checkpoint.read(base_checkpoint.entries), merged_checkpoint.read(merged_checkpoint.entries)
    assert all(torch.equal(after.pop(name), tensor) for name, tensor in before.items())
    assert after.keys() == package.tensors().keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in package.tensors().items())

    # Stock transformers reads it, and reads Zulu as a run with the package does.
    texts = model.load_tokenizer(merged)(TEXTS[0], return_tensors="pt")
    stock = AutoModel.from_pretrained(merged.folder).eval()
    ours = model.load(base, "none", base.languages)
    attach(ours, package)
    ours.use("zu_ZA")
    with torch.inference_mode():
        states = stock(**texts, lang_ids=torch.tensor([len(base.languages)])).last_hidden_state
        assert torch.allclose(states, ours.module(**texts).last_hidden_state, atol=1e-5)

    # It is the same base: packages made for the one fit the other.
    check_fits(german, merged)
    check_fits(extract(merged, "zu_ZA", tmp_path / "again"), base)
    merge_packages(base, [package], merged.folder)  # it holds the same files already
    with pytest.raises(UserError, match=r"not an empty folder, and config.json in it differs from what this command"):
        merge_packages(base, [german], merged.folder)


def test_languages_merged_in_any_order_or_one_by_one_are_the_same_model(base, tmp_path):
    zu = written(base, tmp_path / "zu")
    tensors = {name.replace("zu_ZA", "et_EE"): tensor for name, tensor in zulu(base, 1).items()}
    et = write_package(tmp_path / "et", base, "et_EE", tensors, {})
    first = merge_packages(base, [zu, et], tmp_path / "first")
    other = merge_packages(base, [et, zu], tmp_path / "other")
    assert {file.name: file.read_bytes() for file in first.folder.iterdir()} == {
        file.name: file.read_bytes() for file in other.folder.iterdir()
    }
    folder = merge_packages(merge_packages(base, [et], tmp_path / "one"), [zu], tmp_path / "both")
    assert sha256_of(folder.folder / "model.safetensors") == sha256_of(first.folder / "model.safetensors")


def test_a_merged_adapter_takes_the_place_of_the_models_own(base, tmp_path):
    tensors = {name.replace("zu_ZA", "de_DE"): tensor for name, tensor in zulu(base).items()}
    package = write_package(tmp_path / "de", base, "de_DE", tensors, {})
    result = run("adapters", "merge", package.folder, "--model", base.folder, "--out", tmp_path / "merged", "--json")
    output = json.loads(result.stdout)
    assert output["languages"] == list(base.languages)
    merged = model.find(output["folder"])
    assert all(torch.equal(folder, tensors[name]) for name, folder in model.read_adapter(merged, "de_DE").items())
    english = model.read_adapter(base, "en_XX")
    assert all(torch.equal(folder, english[name]) for name, folder in model.read_adapter(merged, "en_XX").items())


def test_an_open_model_knows_which_of_its_adapters_were_merged(base, tmp_path):
    folder = tmp_path / "open"
    shutil.copytree(base.folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"identity_adapters": True}))
    source = model.find(str(folder))
    package = written(source, tmp_path / "zu")
    merged = merge_packages(source, [package], tmp_path / "merged")
    assert merged.placeholders == source.placeholders == set(base.languages)
    assert merged.open_languages
    check_fits(package, merged)
    listed = run("langs", "--model", merged.folder).stdout.splitlines()
    adapter = {line.split()[0]: line.split()[-1] for line in listed if line[:5] in ("zu_ZA", "de_DE")}
    assert adapter == {"zu_ZA": "yes", "de_DE": "identity"}


def test_what_cannot_be_merged_is_refused(base, tmp_path):
    own = written(base, tmp_path / "own", own=own_vocabulary(base))
    with pytest.raises(UserError, match="has its own vocabulary"):
        merge_packages(base, [own], tmp_path / "merged")
    elsewhere = altered(base, tmp_path / "other", hidden_size=32, num_attention_heads=4)
    package = written(base, tmp_path / "zu")
    words = ("adapters", "merge", package.folder, "--model", elsewhere.folder, "--out", tmp_path / "merged")
    assert "was made for" in refused(run(*words))
    assert not (tmp_path / "merged").exists()


def test_damaged_packages_are_told_and_the_others_listed(base, tmp_path):
    written(base, tmp_path / "good")
    (written(base, tmp_path / "bad").folder / "adapter.safetensors").write_bytes(b"")
    result = run("adapters", "list", tmp_path)
    assert result.stdout.count("zu_ZA-") == 1
    assert "is damaged or was changed" in result.stderr


def test_a_folder_around_a_package_is_no_package_and_the_message_names_what_is_within(base, tmp_path):
    written(base, tmp_path / "added" / "seed-1" / "zu_ZA")
    with pytest.raises(UserError, match=r"is not an adapter package.*did you mean .*added/seed-1/zu_ZA\?"):
        choose(tmp_path / "added", base)
