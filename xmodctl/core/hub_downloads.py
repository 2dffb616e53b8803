"""Downloads from the Hub into its local cache, with a time limit on every step.

A download that makes no progress ends after `LIMITS.patience` seconds. If the cache has an older copy, the Hub has
`LIMITS.preflight` seconds to answer, then the copy is used, and a notice says so. Interrupted downloads continue where
they stopped, and what arrives is compared with its hash.
"""

import glob
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xmodctl.core import hub_patience
from xmodctl.core.events import Notice, report
from xmodctl.core.hub import HubError, classified, unreachable, web_page
from xmodctl.core.hub_patience import Patience, Result, allowed_seconds, limit_client, read_seconds, within
from xmodctl.core.locks import has_name
from xmodctl.core.visible import one_line

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

_OF_THE_HUB = ("status", "interrupted", "silent", "slow", "page", "unreachable")  # rather than of one repository


@dataclass(frozen=True)
class Repository:
    """A model or data set on the Hub, at a branch, tag or commit."""

    id: str
    kind: Literal["model", "dataset"]
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.id}@{self.revision}" if self.revision else self.id


@dataclass(frozen=True)
class Wanted:
    """Which files of a repository are needed."""

    choose: Callable[[set[str]], list[str]]  # the paths to download, from those that the repository has
    is_complete: Callable[[Path], bool]  # whether a snapshot in the cache has all that is needed
    patterns: tuple[str, ...] = ()  # files of which the cache must have all that the repository has


def cached(repository: Repository, wanted: Wanted) -> Path | None:
    """Return the snapshot in the local cache if it has all files; no request is sent.

    Raises:
        HubError: The repository's name is not valid.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with classified():
        try:
            folder = snapshot_download(
                repository.id,
                repo_type=repository.kind,
                revision=repository.revision,
                allow_patterns=list(wanted.patterns),
                local_files_only=True,
            )
        except LocalEntryNotFoundError:
            return None
    return Path(folder) if wanted.is_complete(Path(folder)) else None


def fetch(repository: Repository, wanted: Wanted, *, is_replaceable: bool = False) -> Path:
    """Return the local snapshot, a folder named by its commit, with the wanted files.

    Args:
        repository: What to download.
        wanted: Which of its files.
        is_replaceable: Another repository in the cache can replace this one, so the Hub is not waited for.

    Raises:
        HubError: The Hub does not give the files, and the cache does not have them.
    """
    from huggingface_hub import constants

    copy = cached(repository, wanted)
    if constants.HF_HUB_OFFLINE:
        if copy is None:
            raise unreachable()
        return copy
    seconds = allowed_seconds(has_copy=copy is not None or is_replaceable)
    try:
        _recall(seconds)
        return _download(repository, wanted, copy, Patience(seconds))
    except HubError as error:
        _remember(error, seconds)
        if copy is None or error.kind in ("name", "files"):
            raise
        status = error.status.removesuffix(", and the local cache does not have it")
        text = f"{repository}: {status}; the copy in the local cache is used ({copy.name[:12]})"
        if text not in _reported:
            _reported.add(text)
            report(Notice(text, caution=True))
        return copy


def list_files(repository: Repository) -> list[str]:
    """Return the files that a repository has; nothing is downloaded.

    Raises:
        HubError: The Hub does not have the repository, or does not answer.
    """
    return _of_the_hub(lambda patience: _names(_listing(repository, patience)))


def read_part(repository: Repository, path: str, size: int, *, at_end: bool = False) -> bytes:
    """Return the first or the last bytes of a file on the Hub, without the others. The cache is not used.

    Raises:
        HubError: The Hub does not give them.
    """
    return _of_the_hub(lambda patience: _part(repository, path, size, patience, at_end=at_end))


def _of_the_hub(ask: Callable[[Patience], Result]) -> Result:
    """Ask for what is not in the cache, and remember a failure of the Hub."""
    seconds = allowed_seconds(has_copy=False)
    limit_client()
    try:
        _recall(seconds)
        return ask(Patience(seconds))
    except HubError as error:
        _remember(error, seconds)
        raise


def _part(repository: Repository, path: str, size: int, patience: Patience, *, at_end: bool) -> bytes:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        build_hf_headers,
        get_session,
        hf_raise_for_status,
    )

    url = hf_hub_url(repository.id, path, repo_type=repository.kind, revision=repository.revision)
    facts = patience.persist(lambda: get_hf_file_metadata(url, timeout=read_seconds()))
    start = max(0, (facts.size or 0) - size) if at_end else 0
    span = {"Accept-Encoding": "identity", "Range": f"bytes={start}-{start + size - 1}"}

    def get() -> bytes:
        session = get_session()
        request = session.build_request("GET", url, headers={**build_hf_headers(), **span})
        response = session.send(request, stream=True)
        try:
            if response.status_code >= 400:
                response.read()
            hf_raise_for_status(response)
            if start and response.status_code != 206:
                raise HubError("other", "the Hub does not serve parts of files", "try again later")
            content = bytearray()
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) >= size:
                    break
            return bytes(content[:size])
        finally:
            response.close()

    return patience.persist(get)


def _listing(repository: Repository, patience: Patience) -> Any:
    """Return what the Hub knows about a repository."""
    from huggingface_hub import HfApi

    return patience.persist(
        lambda: HfApi().repo_info(
            repository.id, repo_type=repository.kind, revision=repository.revision, timeout=read_seconds()
        )
    )


def _names(listing: Any) -> list[str]:
    return sorted(sibling.rfilename for sibling in listing.siblings or ())


def _download(repository: Repository, wanted: Wanted, copy: Path | None, patience: Patience) -> Path:
    from huggingface_hub import snapshot_download

    limit_client()
    listing = _listing(repository, patience)
    if copy is not None and copy.name == listing.sha:
        return copy
    paths = wanted.choose(set(_names(listing)))
    for path in paths:
        _File(repository, path, listing.sha, patience).download()
    # The content is in the cache; the client records the commit and links the files.
    return Path(
        patience.persist(
            lambda: snapshot_download(
                repository.id,
                repo_type=repository.kind,
                revision=repository.revision,
                allow_patterns=[glob.escape(path) for path in paths],
                etag_timeout=read_seconds(),
                max_workers=1,
            )
        )
    )


class _File:
    """One file of a snapshot, downloaded into the cache as a blob named by its hash."""

    def __init__(self, repository: Repository, path: str, commit: str, patience: Patience) -> None:
        self.repository = repository
        self.path = path
        self.commit = commit
        self.patience = patience
        self.best = 0  # bytes, in the attempt that got furthest

    def download(self) -> None:
        """Download the file unless the cache has it; continue what an earlier command began.

        Raises:
            HubError: The download failed. What has arrived is kept.
        """
        from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
        from huggingface_hub.file_download import repo_folder_name

        url = hf_hub_url(self.repository.id, self.path, repo_type=self.repository.kind, revision=self.commit)
        facts = self.patience.persist(lambda: get_hf_file_metadata(url, timeout=read_seconds()))
        etag = facts.etag or ""
        if not re.fullmatch(r"[0-9A-Za-z_-]+", etag):
            return  # the client downloads it
        folder = repo_folder_name(repo_id=self.repository.id, repo_type=self.repository.kind)
        blob = Path(constants.HF_HUB_CACHE) / folder / "blobs" / etag
        if blob.exists():
            return
        with classified():
            blob.parent.mkdir(parents=True, exist_ok=True)
            with _partial(blob) as part:
                self.patience.persist(lambda: self._continue(url, part, facts), is_timed=False)
                _check_hash(part, etag, self.path)
                part.replace(blob)

    def _continue(self, url: str, part: Path, facts: "HfFileMetadata") -> None:
        """Download what `part` lacks."""
        from huggingface_hub.utils import (  # type: ignore[attr-defined]
            build_hf_headers,
            get_session,
            hf_raise_for_status,
            tqdm,
        )

        size = part.stat().st_size if part.exists() else 0
        self.best = max(self.best, size)
        if facts.size is not None and size >= facts.size:
            return
        session = get_session()
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"} | ({"Range": f"bytes={size}-"} if size else {})
        response = within(
            self.patience.left, lambda: session.send(session.build_request("GET", url, headers=headers), stream=True)
        )
        try:
            if response.status_code >= 400:
                within(self.patience.left, response.read)
            hf_raise_for_status(response)
            if "text/html" in response.headers.get("Content-Type", "") and not self.path.endswith((".html", ".htm")):
                raise web_page()
            reached = size if response.status_code == 206 else 0
            with (
                part.open("r+b" if reached else "wb") as file,
                tqdm(  # type: ignore[no-untyped-call]
                    total=facts.size, initial=reached, unit="B", unit_scale=True, desc=one_line(self.path)[-40:]
                ) as bar,
            ):
                file.seek(reached)
                for chunk in response.iter_bytes():
                    file.write(chunk)
                    bar.update(len(chunk))
                    reached += len(chunk)
                    self.patience.receive(max(0, reached - self.best))
                    self.best = max(self.best, reached)
        finally:
            response.close()
        if facts.size is not None and reached < facts.size:
            raise HubError("interrupted", "the connection was lost", "run the command again to continue")


@contextmanager
def _partial(blob: Path) -> Iterator[Path]:
    """Yield the file to download into; a second command that downloads the same file at the same time has its own."""
    import fcntl

    part = blob.with_name(f"{blob.name}.xmodctl.incomplete")
    with part.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = has_name(lock.fileno(), part)  # another command may have finished it in the meantime
        except OSError:
            is_ours = False
        if not is_ours:
            private = blob.with_name(f"{blob.name}.{os.getpid()}.incomplete")
            try:
                yield private
            finally:
                private.unlink(missing_ok=True)
            return
        yield part


def _check_hash(part: Path, etag: str, path: str) -> None:
    """Compare the content with its name, a SHA-256 or Git's SHA-1.

    Raises:
        HubError: They differ; the file is removed.
    """
    with part.open("rb") as file:
        if re.fullmatch(r"[0-9a-f]{64}", etag):
            arrived = hashlib.file_digest(file, "sha256").hexdigest()
        elif re.fullmatch(r"[0-9a-f]{40}", etag):
            digest = hashlib.sha1(b"blob %d\0" % part.stat().st_size, usedforsecurity=False)
            while block := file.read(1 << 20):
                digest.update(block)
            arrived = digest.hexdigest()
        else:
            return
    if arrived != etag:
        part.unlink()
        raise HubError(
            "interrupted", f"{path} was damaged during the download", "run the command again to download it again"
        )


@dataclass(frozen=True)
class _Failure:
    """A failure of the Hub: the error, when, and how many seconds the Hub had."""

    error: HubError
    moment: float
    seconds: float


_reported: set[str] = set()
"""Notices that were given; a sweep over many languages asks for the same repository many times."""

_failures: dict[str, _Failure] = {}
"""The last failure of each Hub, by its address."""


def forget() -> None:
    """Forget earlier failures, so that the Hub is asked again at once."""
    _failures.clear()
    _reported.clear()


def _recall(seconds: float) -> None:
    """Do not ask a Hub again that failed a short time ago.

    Raises:
        HubError: It had as much time as it would have now.
    """
    from huggingface_hub import constants

    last = _failures.get(constants.ENDPOINT)
    if last and last.seconds >= seconds and time.monotonic() - last.moment < hub_patience.LIMITS.memory:
        raise last.error


def _remember(error: HubError, seconds: float) -> None:
    from huggingface_hub import constants

    last = _failures.get(constants.ENDPOINT)
    if error.kind in _OF_THE_HUB and not (last and last.error is error):
        _failures[constants.ENDPOINT] = _Failure(error, time.monotonic(), seconds)
