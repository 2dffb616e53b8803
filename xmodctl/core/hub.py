"""The Hugging Face Hub: a quick check whether it is reachable, uploads, and one classifier of its failures.

Failures are classified by the client's own error classes, wherever they are in the chain of causes.
"""

import os
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Literal

from xmodctl.core.errors import UserError
from xmodctl.core.files import DISK_ERRORS

PREFLIGHT_SECONDS = 2.0
_REQUEST_TIMEOUT, _TOO_MANY, _SERVER_ERROR = 408, 429, 500
_OF_THE_HUB = ("X-Error-Code", "X-Error-Message", "X-Request-Id", "X-Amzn-Trace-Id")
"""Headers of the Hub's own answers; a proxy's page has none of them."""

Kind = Literal[
    "name",
    "gated",
    "revision",
    "repository",
    "files",
    "denied",
    "refused",
    "status",
    "interrupted",
    "silent",
    "slow",
    "page",
    "disk",
    "unreachable",
    "other",
]

_OFFLINE_REMEDY = (
    "without a network, use `--model mini` and your own files (`--data DIR`, `--text FILE`), or try `xmodctl demo`"
)


class HubError(Exception):
    """The Hub, or the client, failed: `status` says how, `remedy` what the user can do, both without the repository.

    `wait` is how many seconds the Hub asks to wait. Secrets of the environment never appear in the text.
    """

    def __init__(self, kind: Kind, status: str, remedy: str, wait: float = 0.0) -> None:
        self.kind = kind
        self.status = without_secrets(status)
        self.remedy = without_secrets(remedy)
        self.wait = wait
        super().__init__(f"{self.status}; {self.remedy}")


_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_?KEY|CREDENTIAL", re.IGNORECASE)
_LEAST_SECRET = 6  # a shorter value may be a word


def without_secrets(text: str) -> str:
    """Return `text` on one line, without tokens and keys from the environment and passwords in addresses."""
    from huggingface_hub import get_token

    secrets = {value.strip() for name, value in os.environ.items() if _SECRET_NAME.search(name)} | {get_token() or ""}
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _LEAST_SECRET:
            text = text.replace(secret, "***")
    text = re.sub(r"\bhf_[A-Za-z0-9]{8,}", "***", text)
    text = re.sub(r"(\w://)[^/\s@]+@", r"\1***@", text)
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


@contextmanager
def classified() -> Iterator[None]:
    """Turn each failure of the client inside the block into a `HubError`."""
    from huggingface_hub import errors

    declared = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    failures: tuple[type[Exception], ...] = (OSError, ValueError, *declared)
    try:
        yield
    except failures as error:
        raise classify(error) from error


def classify(error: BaseException) -> HubError:
    """Return what a failure of the client means."""
    chain = _chain(error)
    return (
        _by_class(chain)
        or _by_http_status(chain)
        or _by_disk(chain)
        or _by_content(chain)
        or _by_connection(chain)
        or HubError("other", next(iter(str(error).splitlines()), type(error).__name__), "try again later")
    )


def _by_class(chain: Sequence[BaseException]) -> HubError | None:
    """Classify the failures for which the client has a specific class."""
    from huggingface_hub import errors

    meanings: dict[type[Exception], tuple[Kind, str, str]] = {
        errors.HFValidationError: (
            "name",
            "not a valid repository name",
            "give a model or data set as OWNER/NAME, such as facebook/xmod-base",
        ),
        errors.GatedRepoError: (  # before its parent, RepositoryNotFoundError
            "gated",
            "its owner restricts access",
            "accept the terms on its page, then run `hf auth login`",
        ),
        errors.RevisionNotFoundError: (
            "revision",
            "no such revision",
            "give a branch, tag, or commit of the repository",
        ),
        errors.RepositoryNotFoundError: (
            "repository",
            "no such repository, or a private one",
            "check its name, or run `hf auth login`",
        ),
    }
    for kind, (name, status, remedy) in meanings.items():
        if failure := next((link for link in chain if isinstance(link, kind)), None):
            answer = getattr(failure, "response", None)
            return HubError(name, f"{status} (HTTP {answer.status_code})" if answer is not None else status, remedy)
    return None


def _by_http_status(chain: Sequence[BaseException]) -> HubError | None:
    from huggingface_hub.errors import HfHubHTTPError

    answered = next((link for link in chain if isinstance(link, HfHubHTTPError)), None)
    if answered is None:
        return None
    status, headers = answered.response.status_code, answered.response.headers
    is_page = "text/html" in headers.get("Content-Type", "") and not any(name in headers for name in _OF_THE_HUB)
    if is_page and status < _SERVER_ERROR and status != _TOO_MANY:
        return web_page(f" (HTTP status {status})")
    if status in (401, 403):
        return HubError("denied", f"access denied (HTTP {status})", "run `hf auth login` with a token that has access")
    message = f" ({answered.server_message})" if answered.server_message else ""
    if status == _TOO_MANY:
        pause = headers.get("Retry-After", "")
        wait = float(pause) if pause.isascii() and pause.isdigit() else 0.0
        after = f"in {wait:.0f} seconds" if wait else "in a few minutes"
        remedy = f"run the command again {after}, or run `hf auth login` for a higher limit"
        return HubError("status", f"too many requests (HTTP status {status}){message}", remedy, wait)
    if status < _SERVER_ERROR and status != _REQUEST_TIMEOUT:
        status_text = f"the Hub refuses the request with HTTP status {status}{message}"
        return HubError("refused", status_text, "check the name, or run `hf auth login`")
    return HubError("status", f"the Hub answers with HTTP status {status}{message}", "try again later")


def _by_disk(chain: Sequence[BaseException]) -> HubError | None:
    from huggingface_hub import constants

    for link in chain:
        if isinstance(link, OSError) and link.errno in DISK_ERRORS:
            status = f"cannot write to the cache {constants.HF_HUB_CACHE}: {link.strerror}"
            return HubError("disk", status, "free some space there, or set HF_HOME to another folder")
    return None


def _by_content(chain: Sequence[BaseException]) -> HubError | None:
    """Recognize an answer that is not the Hub's, such as the page of a proxy."""
    from json import JSONDecodeError

    from huggingface_hub.errors import FileMetadataError

    if not _any(chain, JSONDecodeError, FileMetadataError):
        return None
    return web_page()


def web_page(status: str = "") -> HubError:
    """Return the error for a page that a proxy or a network's sign-in sends instead of what was asked for."""
    from huggingface_hub import constants

    return HubError(
        "page",
        f"received a web page, such as a proxy's, instead of a response from {constants.ENDPOINT}{status}",
        "sign in to your network, or check HTTPS_PROXY and HF_ENDPOINT, then run the command again",
    )


def _by_connection(chain: Sequence[BaseException]) -> HubError | None:
    """Distinguish a Hub that cannot be reached, one that does not answer, and a lost connection."""
    from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError  # type: ignore[attr-defined]

    kinds = {kind.__name__ for link in chain for kind in type(link).__mro__}  # httpx, by whatever name it is installed
    if kinds & {"ConnectError", "ConnectTimeout", "ProxyError"}:
        return unreachable()
    if "TimeoutException" in kinds:
        return silent()
    if kinds & {"ReadError", "WriteError", "RemoteProtocolError"}:
        return HubError("interrupted", "the connection was lost", "run the command again to continue")
    incomplete = any("consistency check failed" in str(link).lower() for link in chain)
    disconnected = _any(chain, HTTPError, ConnectionError)
    if incomplete or (disconnected and is_reachable()):
        return HubError("interrupted", "the connection was lost", "run the command again to continue")
    if disconnected or _any(chain, LocalEntryNotFoundError):
        return unreachable()
    return None


def unreachable() -> HubError:
    """Return the error for what the cache lacks while the Hub cannot be asked."""
    return HubError("unreachable", f"{why_unreachable()}, and the local cache does not have it", _OFFLINE_REMEDY)


def silent() -> HubError:
    """Return the error for a Hub that accepts a request and does not answer in time."""
    return HubError("silent", f"{why_unreachable()} in time", f"try again later; {_OFFLINE_REMEDY}")


def _any(chain: Sequence[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(link, kinds) for link in chain)


def is_reachable() -> bool:
    """Return whether the Hub answers within 2 seconds; in Hugging Face's offline mode, no request is sent."""
    from huggingface_hub import constants

    return not constants.HF_HUB_OFFLINE and _answers(constants.ENDPOINT)


def why_unreachable() -> str:
    """Return why the Hub cannot be reached: offline mode, or no answer."""
    from huggingface_hub import constants

    return "offline mode is on" if constants.HF_HUB_OFFLINE else f"{constants.ENDPOINT} does not answer"


def check_upload(repository: str) -> None:
    """Refuse an upload that cannot succeed before anything is written.

    Raises:
        UserError: The name is wrong, the Hub is unreachable, or you are not logged in.
    """
    from huggingface_hub import get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise UserError(f"--push {repository}: give the repository as OWNER/NAME, letters, digits, `-._`") from error
    if not is_reachable():
        raise UserError(
            f"--push {repository}: {why_unreachable()}; export without --push, and upload the folder later with "
            f"`hf upload {repository} DIR`"
        )
    if get_token() is None:
        raise UserError(f"--push {repository}: you are not logged in to the Hub; run `hf auth login`")


def upload(folder: str | Path, repository: str, *, private: bool) -> str:
    """Upload an exported folder to the Hub, and return the repository's address.

    Raises:
        UserError: The upload failed; the folder stays.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        with classified():
            address = api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload a model made with xmodctl")
    except HubError as error:
        token = "run `hf auth login` with a token that can write, then " if error.kind in ("denied", "gated") else ""
        raise UserError(
            f"--push {repository}: the upload failed ({error.status}); the complete model is in {folder}; "
            f"{token}upload it with `hf upload {repository} {folder}`"
        ) from error
    return str(address)


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and its causes, the last raised first: the client wraps the original error."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain


@cache
def _answers(endpoint: str) -> bool:
    """Ask once per process, in a thread, because looking up a host name has no time limit of its own."""
    answered = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(endpoint, method="HEAD")  # noqa: S310 (the user's own endpoint)
        try:
            urllib.request.urlopen(request, timeout=PREFLIGHT_SECONDS).close()  # noqa: S310
        except urllib.error.HTTPError as answer:  # any status is an answer
            answer.close()
        except (OSError, ValueError):
            return
        answered.set()

    threading.Thread(target=ask, daemon=True).start()
    return answered.wait(PREFLIGHT_SECONDS)
