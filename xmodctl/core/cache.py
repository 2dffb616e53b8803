"""The cache folder: what it holds, and removing what is not needed."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xmodctl.core.errors import UserError
from xmodctl.core.files import PART, cache_folder, disk_errors, remove_leftovers
from xmodctl.core.locks import is_held, lock_of, remove_entry, remove_unused_lock

__all__ = ["CacheEntry", "Pruned", "list_cache", "prune_cache"]

ADAPTERS = "adapters"
CONTENTS = {
    "mini": "the embedded model",
    "converted": "converted checkpoints",
    "encodings": "encoded rows and texts",
    "outcomes": "example statistics",
    "heads": "masked-language-modeling heads",
    "hashes": "hashes of large files",
    ADAPTERS: "imported adapters",
}
"""The folders of the cache, and what they hold. All but imported adapters is made again when it is needed."""

_DAY = 24 * 3600  # seconds


@dataclass(frozen=True)
class CacheEntry:
    """One file or folder of the cache."""

    content: str  # a key of `CONTENTS`
    path: str
    bytes: int
    last_used: float  # seconds since 1970: the latest time of change or reading, as far as the file system records it

    def to_json(self) -> dict[str, Any]:
        """Return the entry as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Pruned:
    """What was removed from the cache, or would be."""

    removed: tuple[CacheEntry, ...]
    in_use: tuple[CacheEntry, ...]  # another process holds their lock
    kept: tuple[CacheEntry, ...]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {name: [entry.to_json() for entry in getattr(self, name)] for name in ("removed", "in_use", "kept")}


def list_cache() -> list[CacheEntry]:
    """Return what the cache contains, the largest first."""
    return sorted(_entries(), key=lambda entry: (-entry.bytes, entry.path))


def prune_cache(
    *, older_than: float | None = None, max_size: int | None = None, everything: bool = False, dry_run: bool = False
) -> Pruned:
    """Remove entries of the cache, the least recently used first. Imported adapters stay.

    Args:
        older_than: Remove what was not used for so many days.
        max_size: Then remove more until the rest has at most so many bytes.
        everything: Remove everything.
        dry_run: Remove nothing.

    Raises:
        UserError: Nothing is asked for, a value is negative, or the cache cannot be written.
    """
    if older_than is None and max_size is None and not everything:
        raise UserError("choose what to remove: --older-than DAYS, --max-size GB, or --all")
    if (older_than or 0) < 0 or (max_size or 0) < 0:
        raise UserError("an age or a size cannot be negative; use 0 to remove everything")
    entries = sorted(list_cache(), key=lambda entry: entry.last_used)
    candidates = [entry for entry in entries if entry.content != ADAPTERS]
    chosen = list(candidates) if everything else []
    if older_than is not None and not everything:
        limit = time.time() - older_than * _DAY
        chosen = [entry for entry in candidates if entry.last_used <= limit]
    if max_size is not None:
        excess = sum(entry.bytes for entry in entries if entry not in chosen) - max_size
        for entry in candidates:
            if excess > 0 and entry not in chosen:
                chosen.append(entry)
                excess -= entry.bytes
    removed, in_use = _remove(chosen, dry_run=dry_run)
    gone = {*removed, *in_use}
    return Pruned(removed, in_use, tuple(entry for entry in entries if entry not in gone))


def _remove(chosen: Sequence[CacheEntry], *, dry_run: bool) -> tuple[tuple[CacheEntry, ...], tuple[CacheEntry, ...]]:
    removed: list[CacheEntry] = []
    in_use: list[CacheEntry] = []
    for entry in chosen:
        path = Path(entry.path)
        with disk_errors(path):
            is_free = not is_held(lock_of(path)) if dry_run else remove_entry(path)
        (removed if is_free else in_use).append(entry)
    if not dry_run:
        remove_leftovers(cache_folder())
        _remove_unused_locks()
    return tuple(removed), tuple(in_use)


def _entries() -> Iterator[CacheEntry]:
    for content in CONTENTS:
        folder = cache_folder() / content
        if not folder.is_dir():
            continue
        for path in folder.iterdir():
            if path.suffix in (".lock", PART) or path.is_symlink():
                continue
            with suppress(OSError):  # removed meanwhile
                files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
                statuses = [file.stat() for file in files]
                used = max((max(status.st_mtime, status.st_atime) for status in statuses), default=path.stat().st_mtime)
                yield CacheEntry(content, str(path), sum(status.st_size for status in statuses), used)


def _remove_unused_locks() -> None:
    """Remove locks of what is no longer in the cache."""
    used = {lock_of(Path(entry.path)) for entry in _entries()}
    for content in CONTENTS:
        for lock in (cache_folder() / content).glob("*.lock"):
            if lock not in used:
                remove_unused_lock(lock)
