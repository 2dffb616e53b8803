"""The Hugging Face Hub: a quick check whether it is reachable, uploads, and one classifier of its failures.

Failures are classified by the client's own error classes, wherever they are in the chain of causes.
"""

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

Kind = Literal[
    "name",
    "gated",
    "revision",
    "repository",
    "files",
    "denied",
    "status",
    "interrupted",
    "disk",
    "unreachable",
    "other",
]

_OFFLINE_REMEDY = (
    "without a network, use `--model mini` and your own files (`--data DIR`, `--text FILE`), or try `xmodctl demo`"
)


class HubError(Exception):
    """The Hub, or the client, failed: `status` says how, `remedy` what the user can do, both without the repository."""

    def __init__(self, kind: Kind, status: str, remedy: str) -> None:
        super().__init__(f"{status}; {remedy}")
        self.kind = kind
        self.status = status
        self.remedy = remedy


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
            "give a branch, tag or commit of the repository",
        ),
        errors.RepositoryNotFoundError: (
            "repository",
            "no such repository, or a private one",
            "check its name, or run `hf auth login`",
        ),
    }
    return next((HubError(*meaning) for kind, meaning in meanings.items() if _any(chain, kind)), None)


def _by_http_status(chain: Sequence[BaseException]) -> HubError | None:
    from huggingface_hub.errors import HfHubHTTPError

    answered = next((link for link in chain if isinstance(link, HfHubHTTPError)), None)
    if answered is None:
        return None
    status = answered.response.status_code
    if status in (401, 403):
        return HubError("denied", f"access denied (HTTP {status})", "run `hf auth login` with a token that has access")
    message = f" ({answered.server_message})" if answered.server_message else ""
    return HubError("status", f"the Hub answers with HTTP status {status}{message}", "try again later")


def _by_disk(chain: Sequence[BaseException]) -> HubError | None:
    from huggingface_hub import constants

    for link in chain:
        if isinstance(link, OSError) and link.errno in DISK_ERRORS:
            status = f"cannot write to the cache {constants.HF_HUB_CACHE}: {link.strerror}"
            return HubError("disk", status, "free some space there, or set HF_HOME to another folder")
    return None


def _by_connection(chain: Sequence[BaseException]) -> HubError | None:
    """Distinguish a lost connection from a Hub that cannot be reached."""
    from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError  # type: ignore[attr-defined]

    incomplete = any("consistency check failed" in str(link).lower() for link in chain)
    disconnected = _any(chain, HTTPError, ConnectionError)
    if incomplete or (disconnected and is_reachable()):
        return HubError("interrupted", "the connection was lost", "run the command again to continue")
    if disconnected or _any(chain, LocalEntryNotFoundError):
        return HubError("unreachable", f"{why_unreachable()}, and the local cache does not have it", _OFFLINE_REMEDY)
    return None


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
