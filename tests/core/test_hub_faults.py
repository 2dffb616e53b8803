"""An ill Hub, on the loopback: a warm cache is used and a notice says why; a cold one ends in one true sentence."""

import os
import re
from dataclasses import replace

import pytest
from hub_server import FAULTS, FILE_FAULTS, HTML, PAGE, Illness, local_hub

from xmodctl.core import hub as core_hub
from xmodctl.core import hub_downloads, hub_patience
from xmodctl.core.errors import UserError
from xmodctl.core.events import listening
from xmodctl.core.hub import HubError
from xmodctl.core.hub_downloads import Repository, Wanted
from xmodctl.core.hub_patience import Limits

SHORT = Limits(preflight=0.4, read=0.4, patience=1.5, least_rate=100)
PATIENT = Limits(preflight=20, read=0.4, patience=20, least_rate=100)
SLOW = ("502", "504", "stall in the headers", "1 byte a second", "reset in the headers", "a proxy's page, 403")
CANARY = "hf_CANARYcanary0123456789"
CONTENT = os.urandom(60_000)
REPOSITORY = Repository("someone/pairs", "dataset", "main")
WANTED = Wanted(lambda present: ["a.bin"], lambda folder: (folder / "a.bin").is_file(), ("a.bin",))

SENTENCES = {
    "401": "HTTP 401.*hf auth login",
    "403": "HTTP 403.*hf auth login",
    "404": "HTTP status 404.*check the name",
    "429": "HTTP status 429.*run the command again in a few minutes",
    "429, Retry-After: 3600": "HTTP status 429.*run the command again in 3600 seconds",
    "500": "HTTP status 500; try again later",
    "502": "HTTP status 502; try again later",
    "503": "HTTP status 503; try again later",
    "504": "HTTP status 504; try again later",
    "a proxy's page": "a web page.*sign in to your network",
    "a proxy's page, 403": "a web page.*HTTP status 403.*sign in to your network",
    "silence": "does not answer in time; try again later",
    "stall in the headers": "does not answer in time; try again later",
    "stall in the answer": "does not answer in time; try again later",
    "1 byte a second": "does not answer in time; try again later",
    "reset at once": "the connection was lost; run the command again to continue",
    "reset in the headers": "the connection was lost; run the command again to continue",
    "reset in the answer": "the connection was lost; run the command again to continue",
    "403 for files": "HTTP 403.*hf auth login",
    "404 for files": "HTTP status 404.*check the name",
    "503 for files": "HTTP status 503; try again later",
    "a proxy's page for files": "a web page.*sign in to your network",
    "stall before a file": "does not answer in time; try again later",
    "stall in a file": "standstill|does not answer in time.*try again later",
    "1 byte a second in files": "standstill|does not answer in time.*try again later",
    "reset in a file": "the connection was lost; run the command again to continue",
}


def quick_and_slow(names):
    """Return the names as parameters; those that resemble another are slow."""
    return [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in names]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return a Hub on the loopback with one data set, short limits and an empty cache."""
    from huggingface_hub import close_session, constants

    with local_hub() as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", served.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        monkeypatch.setattr(hub_patience, "LIMITS", PATIENT)
        served.add("datasets", REPOSITORY.id, {"a.bin": CONTENT, "b.bin": b"not wanted"})
        yield served
    close_session()


def fetch(hub):
    """Return the content of the file, and the texts of the notices."""
    notices = []
    is_ill = hub.illness != Illness() and hub.illness.times is None
    hub_patience.LIMITS = SHORT if is_ill else PATIENT  # the fixture restores it
    with listening(notices.append):
        folder = hub_downloads.fetch(REPOSITORY, WANTED)
    return (folder / "a.bin").read_bytes(), [notice.text for notice in notices]


@pytest.mark.parametrize("name", quick_and_slow(FAULTS))
def test_a_warm_cache_is_used_and_a_notice_says_why(name, hub):
    fetch(hub)
    hub.illness = FAULTS[name]
    content, notices = fetch(hub)
    assert content == CONTENT
    assert len(notices) == 1
    assert "the copy in the local cache is used" in notices[0]
    assert "does not have it" not in notices[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", quick_and_slow({**FAULTS, **FILE_FAULTS}))
def test_with_a_cold_cache_one_sentence_names_the_status_and_the_remedy(name, hub):
    hub.illness = {**FAULTS, **FILE_FAULTS}[name]
    with pytest.raises(HubError) as caught:
        fetch(hub)
    assert re.search(SENTENCES[name], str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", quick_and_slow(FILE_FAULTS))
def test_an_older_copy_is_used_when_the_new_one_cannot_be_downloaded(name, hub):
    fetch(hub)
    hub.add("datasets", REPOSITORY.id, {"a.bin": CONTENT[::-1]})
    hub.illness = FILE_FAULTS[name]
    content, notices = fetch(hub)
    assert content == CONTENT
    assert len(notices) == 1
    hub.illness = Illness()
    hub_downloads.forget()
    assert fetch(hub) == (CONTENT[::-1], [])


def test_an_ill_hub_is_not_asked_again_and_the_notice_comes_once(hub):
    fetch(hub)
    hub.illness = FAULTS["503"]
    assert len(fetch(hub)[1]) == 1
    count = len(hub.requests)
    assert fetch(hub) == (CONTENT, [])
    assert len(hub.requests) == count


def test_a_failure_that_passes_is_not_noticed(hub):
    hub.illness = Illness(503, times=1)
    assert fetch(hub) == (CONTENT, [])
    assert sum("/api/" in line for line in hub.requests) > 1


@pytest.mark.parametrize("illness", [FILE_FAULTS["stall in a file"], FILE_FAULTS["reset in a file"]])
def test_a_download_continues_where_it_stopped(illness, hub):
    hub.illness = replace(illness, times=1)
    assert fetch(hub) == (CONTENT, [])
    assert len(hub.ranges) == 1
    assert 0 < int(hub.ranges[0].removeprefix("bytes=").removesuffix("-")) < len(CONTENT)


@pytest.mark.slow
def test_a_later_command_continues_what_an_earlier_one_began(hub, tmp_path):
    hub.illness = Illness(stall_at=10_000, only_files=True)
    with pytest.raises(HubError):
        fetch(hub)
    hub.illness = Illness()
    hub.ranges.clear()
    arrived = next((tmp_path / "hub").rglob("*.incomplete")).stat().st_size
    assert 0 < arrived < len(CONTENT)
    hub_downloads.forget()
    assert fetch(hub) == (CONTENT, [])
    assert hub.ranges == [f"bytes={arrived}-"]
    assert not list((tmp_path / "hub").rglob("*.incomplete"))


def test_what_arrives_damaged_is_not_kept(hub, tmp_path):
    hub.illness = Illness(200, {"Content-Type": "application/octet-stream"}, CONTENT[:-1] + b"?", only_files=True)
    with pytest.raises(HubError, match=r"a\.bin was damaged during the download; run the command again"):
        fetch(hub)
    assert not [
        path for path in (tmp_path / "hub").rglob("*") if path.is_file() and path.stat().st_size > len(CONTENT) // 2
    ]
    hub.illness = Illness()
    hub_downloads.forget()
    assert fetch(hub) == (CONTENT, [])


def test_every_request_of_the_client_has_a_time_limit(hub):
    from huggingface_hub.utils import get_session

    limits = []
    hub_patience.limit_client()
    session = get_session()
    session.event_hooks["request"].append(lambda request: limits.append(request.extensions["timeout"]))
    try:
        fetch(hub)
    finally:
        session.event_hooks["request"].pop()
    assert len(limits) >= 4
    assert all(value for limit in limits for value in limit.values())


@pytest.mark.parametrize(
    "illness",
    [
        Illness(403, {"X-Error-Message": "no access for {authorization}"}),
        Illness(500, {"X-Error-Message": "trace: {authorization}"}),
        Illness(200, HTML, PAGE),
    ],
)
def test_a_token_is_in_no_message_and_no_file(illness, hub, monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("HF_TOKEN", CANARY)
    monkeypatch.setenv("WANDB_API_KEY", "canary-of-a-tracker")
    hub.illness = illness
    with pytest.raises(HubError) as caught:
        fetch(hub)
    hub.illness = Illness()
    hub_downloads.forget()
    fetch(hub)
    hub.illness = illness
    _, notices = fetch(hub)
    monkeypatch.setattr(core_hub, "is_reachable", lambda: True)
    with pytest.raises(UserError) as refusal:
        core_hub.upload(tmp_path, "me/mine", private=True)
    texts = [str(caught.value), caught.value.status, *notices, str(refusal.value), *capfd.readouterr()]
    for text in texts:
        assert "canary" not in text.lower(), text
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"canary" not in path.read_bytes().lower()


def test_secrets_and_passwords_are_replaced_and_the_rest_is_kept(monkeypatch):
    monkeypatch.setenv("MY_SECRET", "s3cr3t-value")
    monkeypatch.setenv("PLAIN", "a plain value")
    text = "s3cr3t-value at https://user:pass@mirror.example/x\n\x1b[31m, a plain value"
    assert core_hub.without_secrets(text) == "*** at https://***@mirror.example/x [31m, a plain value"
