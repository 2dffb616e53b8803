"""Checkpoints from a Hub, served on the loopback to the real client."""

import errno

import pytest
from hub_server import local_hub

from xmodctl import model
from xmodctl.core.errors import UserError


@pytest.fixture
def hub(monkeypatch):
    """Return a Hub of our own, with an empty cache."""
    from huggingface_hub import constants

    with local_hub() as served:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", served.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        yield served


@pytest.fixture
def files(checkpoint):
    """Return the files of a small checkpoint."""
    _, folder = checkpoint()
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_only_the_needed_files_are_fetched_and_the_commit_is_known(hub, files):
    extra = {"tf_model.h5": b"x", "pytorch_model.bin": b"y", "README.md": b"z", "tokenizer.json": b"{}"}
    commit = hub.add("models", "someone/some-xmod", {**files, **extra})
    source = model.find("someone/some-xmod", languages=["de_DE"])
    assert (source.id, source.revision) == ("someone/some-xmod", commit)
    assert hub.fetched() == {"config.json", "model.safetensors", "tokenizer.json"}
    assert model.load(source, "masked-lm", ["de_DE"]).languages == ("de_DE",)
    assert model.find(f"someone/some-xmod@{commit}").folder == source.folder


def test_a_pickled_checkpoint_is_fetched_where_there_is_no_other(hub, files):
    files.pop("model.safetensors")
    hub.add("models", "someone/some-xmod", {**files, "pytorch_model.bin": b"y", "flax_model.msgpack": b"x"})
    model.find("someone/some-xmod")
    assert hub.fetched() == {"config.json", "pytorch_model.bin"}


def test_what_was_fetched_is_found_when_the_hub_is_gone(hub, files, monkeypatch):
    hub.add("models", "someone/some-xmod", files)
    source = model.find("someone/some-xmod")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    count = len(hub.requests)
    assert model.find("someone/some-xmod").folder == source.folder
    assert model.look_up("someone/some-xmod").origin == "cache"
    assert len(hub.requests) == count


def test_a_language_that_the_fetched_checkpoint_lacks_is_refused(hub, files):
    hub.add("models", "someone/some-xmod", files)
    with pytest.raises(UserError, match="someone/some-xmod has no adapter for 'gsw'"):
        model.find("someone/some-xmod", languages=["gsw"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("someone/nothing", "cannot download someone/nothing: no such repository, or a private one"),
        ("someone/some-xmod@v9", "someone/some-xmod@v9: no such revision .HTTP 404.; give a branch"),
        ("someone/locked", r"someone/locked: its owner restricts access .HTTP 403.; accept the terms on its page"),
        ("someone/broken", r"someone/broken: the Hub answers with HTTP status 503; try again later"),
        ("someone/torn", r"someone/torn: the connection was lost; run the command again to continue"),
        ("someone/bert", r"is not an X-MOD model \(its config.json has the model_type 'bert'\)"),
        ("someone/empty", r"someone/empty has no weights"),
        ("someone/nameless", r"someone/nameless is not a checkpoint"),
    ],
)
def test_what_the_hub_does_not_give_is_told_in_one_sentence(name, message, hub, files, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)  # the client's pauses before it tries again
    hub.add("models", "someone/some-xmod", files)
    hub.add("models", "someone/locked", {**files, "README.md": b"locked"})
    hub.add("models", "someone/broken", {**files, "README.md": b"broken"})
    hub.add("models", "someone/torn", {**files, "README.md": b"torn"})
    hub.add("models", "someone/bert", {"config.json": b'{"model_type": "bert"}', "model.safetensors": b"x"})
    hub.add("models", "someone/empty", {"config.json": files["config.json"]})
    hub.add("models", "someone/nameless", {"README.md": b"hello"})
    hub.faults.update({"someone/locked": "gated", "someone/broken": "unavailable", "someone/torn": "truncated"})
    with pytest.raises(UserError, match=message) as failure:
        model.find(name)
    assert len(str(failure.value).splitlines()) == 1


def test_a_full_disk_is_told_from_a_missing_network(hub, files, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    hub.add("models", "someone/some-xmod", files)
    monkeypatch.setattr("huggingface_hub.snapshot_download", full)
    with pytest.raises(
        UserError, match=r"someone/some-xmod: cannot write to the cache .*: No space left on device; free some space"
    ):
        model.find("someone/some-xmod")
