"""Failures of the Hub: each class of them is one sentence with its remedy."""

import errno

import pytest
from huggingface_hub import errors
from huggingface_hub.utils import hf_raise_for_status

from xmodctl.core import hub
from xmodctl.core.errors import UserError


def answer(status, code=None, message=None):
    """Return the error that the client raises for an answer of the Hub."""
    http = __import__(errors.HTTPError.__module__.split(".")[0])
    headers = {"X-Error-Code": code or "", "X-Error-Message": message or ""}
    request = http.Request("GET", "https://hub.example/api/models/a/b")
    with pytest.raises(errors.HfHubHTTPError) as caught:
        hf_raise_for_status(http.Response(status, headers=headers, request=request))
    return caught.value


def wrapped(inner, outer):
    """Return an error as the client wraps it around what really happened."""
    outer.__context__ = inner
    return outer


@pytest.fixture(params=[True, False], ids=["reachable", "unreachable"])
def reachable(request, monkeypatch):
    monkeypatch.setattr(hub, "is_reachable", lambda: request.param)
    return request.param


@pytest.mark.parametrize(
    ("error", "kind", "status", "remedy"),
    [
        (errors.HFValidationError("bad"), "name", "not a valid repository name", "OWNER/NAME"),
        (answer(403, "GatedRepo", "Restricted"), "gated", "its owner restricts access", "accept the terms"),
        (answer(404, "RevisionNotFound"), "revision", "no such revision", "branch, tag, or commit"),
        (answer(404, "RepoNotFound"), "repository", "no such repository, or a private one", "check its name"),
        (answer(401, "RepoNotFound"), "repository", "no such repository, or a private one", "`hf auth login`"),
        (answer(403), "denied", "access denied (HTTP 403)", "a token that has access"),
        (answer(503), "status", "the Hub answers with HTTP status 503", "try again later"),
        (
            answer(429, message="Slow down"),
            "status",
            "HTTP status 429) (Slow down)",
            "in a few minutes",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "disk", "No space left on device", "HF_HOME"),
        (OSError("Consistency check failed: file is 1 B, not 2 B"), "interrupted", "the connection was lost", "again"),
        (ValueError("first line\nsecond line"), "other", "first line", "try again later"),
    ],
)
def test_each_failure_has_its_sentence_and_remedy_however_deep_it_is(error, kind, status, remedy, reachable):
    for raised in (error, wrapped(error, errors.LocalEntryNotFoundError("not found")), wrapped(error, OSError("x"))):
        if kind == "other" and raised is not error:
            continue
        failure = hub.classify(raised)
        assert failure.kind == kind
        assert status in failure.status
        assert remedy in failure.remedy
        assert str(failure) == f"{failure.status}; {failure.remedy}"
        assert "\n" not in str(failure)


@pytest.mark.parametrize(
    "error",
    [errors.HTTPError("peer closed connection"), ConnectionError("reset"), wrapped(ConnectionError(), ValueError())],
)
def test_a_lost_connection_is_told_from_a_hub_that_does_not_answer(error, reachable):
    failure = hub.classify(error)
    assert failure.kind == ("interrupted" if reachable else "unreachable")


@pytest.mark.parametrize("offline", [True, False])
def test_what_the_cache_lacks_is_unreachable_and_the_remedies_need_no_network(offline, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://hub.example")
    failure = hub.classify(errors.LocalEntryNotFoundError("not in the cache"))
    why = "offline mode is on" if offline else "https://hub.example does not answer"
    assert failure.status == f"{why}, and the local cache does not have it"
    for way in ("--model mini", "--data DIR", "--text FILE", "xmodctl demo"):
        assert way in failure.remedy


@pytest.mark.parametrize("error", [answer(503), errors.EntryNotFoundError("gone"), OSError("x"), ValueError("x")])
def test_every_error_of_the_client_is_classified(error):
    with pytest.raises(hub.HubError) as caught, hub.classified():
        raise error
    assert caught.value.__cause__ is error


def test_a_bug_is_not_taken_for_a_failure_of_the_hub():
    with pytest.raises(KeyError), hub.classified():
        raise KeyError("bug")


def test_offline_mode_is_never_asked(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "_answers", lambda endpoint: pytest.fail("the Hub is asked"))
    assert not hub.is_reachable()


@pytest.mark.parametrize(("error", "login"), [(answer(403), True), (answer(500), False)])
def test_a_failed_upload_names_the_folder_that_stays_and_how_to_upload_it(error, login, monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", refuse)
    with pytest.raises(UserError, match="--push me/mine: the upload failed") as caught:
        hub.upload(tmp_path, "me/mine", private=True)
    assert ("hf auth login" in str(caught.value)) == login
    assert f"hf upload me/mine {tmp_path}" in str(caught.value)
