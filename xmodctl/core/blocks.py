"""Large files, written and hashed by several threads at a time: a training that is stopped waits for its checkpoint.

The digest of a file is the SHA-512 of the SHA-512s of its blocks, so that blocks are hashed in parallel and while they
are in memory. Without special instructions of the processor, SHA-512 takes a third of the time of SHA-256.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xmodctl.core.reading import open_regular

BLOCK = 2**24
"""Bytes. Part of what a digest means, so another size needs another `PREFIX`."""

PREFIX = "sha512-of-16-MiB-blocks:"
"""What a digest begins with."""

_MOST_THREADS = 8
"""More wait for memory and disk, and each may hold the copy of a block."""


@dataclass(frozen=True)
class Block:
    """Bytes of a file: how many there are, and a function that returns those from `start` to `end`."""

    size: int
    read: Callable[[int, int], memoryview]


def write_blocks(files: Mapping[Path, Sequence[Block]]) -> dict[Path, str]:
    """Write files whose parts follow each other; return the digest of each, as `block_digest` computes it.

    Raises:
        OSError: A file cannot be written.
    """
    writes = [(path, number * BLOCK, pieces) for path in files for number, pieces in enumerate(_cut(files[path]))]
    for path in files:
        path.write_bytes(b"")
    digests: dict[Path, list[bytes]] = {path: [] for path in files}
    for (path, _, _), digest in zip(writes, _parallel(_write_block, writes), strict=True):
        digests[path].append(digest)
    return {path: _combined(parts) for path, parts in digests.items()}


def block_digest(path: Path) -> str:
    """Return the digest of a regular file.

    Raises:
        OSError: It cannot be read, or is not regular.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
    return _combined(_parallel(lambda start: _read_block(path, start), range(0, size, BLOCK)))


def _parallel(work: Callable[[Any], bytes], items: Sequence[Any]) -> list[bytes]:
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as threads:
        return list(threads.map(work, items))


def _combined(digests: Iterable[bytes]) -> str:
    return PREFIX + hashlib.sha512(b"".join(digests)).hexdigest()


def _cut(parts: Sequence[Block]) -> Iterator[list[tuple[Block, int, int]]]:
    """Yield what each block consists of: parts, and from where to where in each."""
    block: list[tuple[Block, int, int]] = []
    room = BLOCK
    for part in parts:
        start = 0
        while start < part.size:
            end = min(part.size, start + room)
            block.append((part, start, end))
            room -= end - start
            start = end
            if not room:
                yield block
                block, room = [], BLOCK
    if block:
        yield block


def _write_block(write: tuple[Path, int, list[tuple[Block, int, int]]]) -> bytes:
    path, offset, pieces = write
    digest = hashlib.sha512()
    try:
        with open(os.open(path, os.O_WRONLY | getattr(os, "O_BINARY", 0)), "wb") as file:
            file.seek(offset)
            for part, start, end in pieces:
                content = part.read(start, end)
                file.write(content)
                digest.update(content)
    except OSError as error:
        error.filename = error.filename or str(path)  # a failed write does not name its file
        raise
    return digest.digest()


def _read_block(path: Path, start: int) -> bytes:
    with open_regular(path) as file:
        file.seek(start)
        return hashlib.sha512(file.read(BLOCK)).digest()
