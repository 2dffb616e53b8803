"""Safetensors files with metadata: the only place that reads and writes them, with one error for damaged files.

The same tensors and metadata always give the same bytes. A file can be sealed: its metadata then holds the sha256 of
the whole file, computed with zeros in place of the digest, so that a copy carries its own proof. A seal is verified
when a process reads the file for the first time. Types and shapes are read without loading torch.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xmodctl.core.blocks import Block, write_blocks
from xmodctl.core.files import remembered_digest
from xmodctl.core.reading import check_regular, check_utf8, open_regular

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

Tensors = Mapping[str, "Tensor"]
Arrays = Mapping[str, "NDArray[Any]"]

SEAL = "file_sha256"
"""Key of the metadata that holds the sha256 of a sealed file."""

_UNSEALED = "0" * 64
_LONGEST_HEADER = 100_000_000
"""Bytes, as in the safetensors library."""

_ALIGNMENT = 64
"""Bytes that the header of a stream is padded to: the vector width of the widest CPUs."""

_LIBRARY_ALIGNMENT = 8
_CLOCK_STEP = 2_000_000_000
"""Nanoseconds; no file system records times of change more coarsely."""

_BLOCK = 2**22
_LIBRARY_ORDER = (
    *("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "I16", "U16", "F16", "BF16", "I32", "U32", "F32", "F64", "I64", "U64"),
)
"""The library stores wide types first, in the reverse of this order, and then sorts by name."""


class DamagedFileError(Exception):
    """A file is cut off, was changed, or is not a safetensors file; the message names the file and the reason."""


@dataclass(frozen=True)
class Entry:
    """A tensor as the header describes it: its type in the format's own spelling (`F32`), and its shape."""

    dtype: str
    shape: tuple[int, ...]


def read_entries(path: str | Path) -> dict[str, Entry]:
    """Return the tensors that a file holds, in the order of their data; no tensor is read.

    Raises:
        DamagedFileError: The file is damaged.
        OSError: It cannot be read.
    """
    path = Path(path)
    status = path.stat()
    return _entries(path, status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=16)
def _entries(path: Path, *_: int) -> dict[str, Entry]:
    """Parse a header once for as long as its file stays the same."""
    with opened(path, "numpy") as file:
        slices = {name: file.get_slice(name) for name in file.offset_keys()}
        return {name: Entry(part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}


def read_metadata(path: str | Path) -> dict[str, str]:
    """Return the metadata of a file, without its seal, which is not verified.

    Raises:
        DamagedFileError: The file is damaged.
        OSError: It cannot be read.
    """
    with opened(path, "numpy") as file:
        return _facts(file)


def read_tensors(path: str | Path, *, sealed: bool = False) -> "tuple[dict[str, Tensor], dict[str, str]]":
    """Return the tensors of a file, on the CPU, and its metadata; a seal is verified.

    Args:
        path: The file.
        sealed: Whether a file without a seal counts as damaged.

    Raises:
        DamagedFileError: The file is damaged.
        OSError: It cannot be read.
    """
    return _contents(path, "pt", sealed=sealed)


def read_arrays(path: str | Path, *, sealed: bool = False) -> "tuple[dict[str, NDArray[Any]], dict[str, str]]":
    """Like `read_tensors`, with NumPy arrays; torch is not loaded."""
    return _contents(path, "numpy", sealed=sealed)


def _contents(
    path: str | Path, framework: Literal["pt", "numpy"], *, sealed: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    check_seal(path, required=sealed)
    with opened(path, framework) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, _facts(file)  # noqa: SIM118


def check_seal(path: str | Path, *, required: bool = False, remember: bool = False) -> bool:
    """Verify the seal of a file, once per process for as long as the file stays the same.

    Args:
        path: The file.
        required: Whether a file without a seal counts as damaged.
        remember: Whether the cache folder remembers the digest, with the file's size and time of change, so that other
            processes need not read a large file as a whole.

    Returns:
        Whether the file has a seal.

    Raises:
        DamagedFileError: The file is not what was written.
        OSError: It cannot be read.
    """
    path = Path(path)
    status = path.stat()
    state = (status.st_size, status.st_mtime_ns, status.st_ino)
    is_settled = time.time_ns() - status.st_mtime_ns > _CLOCK_STEP  # else a later change may leave the time as it is
    expected, actual = (_seals if is_settled else _seals.__wrapped__)(path, remember, *state)
    if expected is None and not required:
        return False
    if expected is None or expected != actual:
        reason = "its sha256 is missing" if expected is None else "its sha256 does not match its content"
        raise DamagedFileError(f"{path} is damaged or was changed ({reason})")
    return True


@lru_cache(maxsize=64)
def _seals(path: Path, remember: bool, *_: int) -> tuple[str | None, str | None]:
    """Return the sha256 that a file states, and the one that it has."""
    expected = _stated_seal(path)
    if expected is None:
        return None, None
    return expected, remembered_digest(path, _actual_seal, "seal") if remember else _actual_seal(path)


def _stated_seal(path: Path) -> str | None:
    with opened(path, "numpy") as file:
        stated: str | None = (file.metadata() or {}).get(SEAL)
    return stated


def _actual_seal(path: Path) -> str:
    """Return the sha256 of a sealed file with zeros in place of its seal."""
    stated = _stated_seal(path) or ""
    with open_regular(path) as file:
        length = file.read(8)
        header = file.read(min(int.from_bytes(length, "little"), _LONGEST_HEADER))
        digest = hashlib.sha256(length + header.replace(stated.encode(), _UNSEALED.encode(), 1))
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _facts(file: Any) -> dict[str, str]:
    return {name: value for name, value in (file.metadata() or {}).items() if name != SEAL}


@contextmanager
def opened(path: str | Path, framework: Literal["pt", "numpy"]) -> Iterator[Any]:
    """Open a file to read single tensors from it.

    Raises:
        DamagedFileError: The file is damaged, or lacks a tensor that is read from it.
        OSError: It cannot be read.
        UserError: Its path is not UTF-8.
    """
    from safetensors import SafetensorError, safe_open

    check_utf8(path)
    check_regular(path)
    try:
        with safe_open(path, framework=framework) as file:
            yield file
    except SafetensorError as error:
        reason = str(error).removeprefix("Error while deserializing header: ")
        raise DamagedFileError(f"{path} is damaged or is not a safetensors file ({reason})") from error


def write_tensors(
    path: str | Path, tensors: Tensors, metadata: Mapping[str, str] | None = None, *, sealed: bool = False
) -> None:
    """Write tensors and metadata: without a seal, the bytes that the library writes, with sorted metadata.

    Raises:
        OSError: The file cannot be written.
    """
    entries = {name: entry_of(tensor) for name, tensor in tensors.items()}
    _write_library_order(path, entries, lambda name: _bytes_of(tensors[name]), metadata, sealed=sealed)


def write_tensor_files(files: Mapping[Path, Tensors]) -> dict[Path, str]:
    """Write several files as `write_tensors` does, with several threads; return the `block_digest` of each.

    Raises:
        OSError: A file cannot be written.
    """
    return write_blocks({path: list(_parts(tensors)) for path, tensors in files.items()})


def _parts(tensors: Tensors) -> Iterator[Block]:
    """Yield the header and the tensors; copied is only what is on a device or is not contiguous."""
    order = _library_order({name: entry_of(tensor) for name, tensor in tensors.items()})
    raw = memoryview(_Header(order, {}, sealed=False, alignment=_LIBRARY_ALIGNMENT).encoded())
    yield Block(len(raw), lambda start, end: raw[start:end])
    for name in order:
        flat = _flat(tensors[name])
        yield Block(len(flat), partial(_range_of, flat))


def _range_of(flat: "Tensor", start: int, end: int) -> memoryview:
    return _bytes_of(flat[start:end])


def write_arrays(
    path: str | Path, arrays: Arrays, metadata: Mapping[str, str] | None = None, *, sealed: bool = False
) -> None:
    """Like `write_tensors`, with NumPy arrays; torch is not loaded."""
    import numpy as np

    def array_bytes(name: str) -> memoryview:
        return np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data

    entries = {name: Entry(_array_spelling(array.dtype), tuple(array.shape)) for name, array in arrays.items()}
    _write_library_order(path, entries, array_bytes, metadata, sealed=sealed)


def _write_library_order(
    path: str | Path,
    entries: Mapping[str, Entry],
    bytes_of: Callable[[str], memoryview],
    metadata: Mapping[str, str] | None,
    *,
    sealed: bool,
) -> None:
    order = _library_order(entries)
    _write(path, _Header(order, metadata or {}, sealed, _LIBRARY_ALIGNMENT), map(bytes_of, order))


def write_stream(
    path: str | Path,
    entries: Mapping[str, Entry],
    tensors: "Iterable[Tensor]",
    metadata: Mapping[str, str] | None = None,
    *,
    sealed: bool = False,
) -> None:
    """Write tensors from an iterator, in the order of `entries`, with one of them in memory at a time.

    Raises:
        OSError: The file cannot be written.
    """

    def parts() -> Iterator[memoryview]:
        for (name, entry), tensor in zip(entries.items(), tensors, strict=True):
            assert entry_of(tensor) == entry, name
            yield _bytes_of(tensor)

    header = _Header(entries, {"format": "pt", **(metadata or {})}, sealed, _ALIGNMENT)
    _write(path, header, parts(), durable=True)


@dataclass(frozen=True)
class _Header:
    """What comes before the data of a file."""

    entries: Mapping[str, Entry]
    metadata: Mapping[str, str]
    sealed: bool
    alignment: int

    def encoded(self) -> bytes:
        """Return the bytes of the header and of its length, with zeros in place of the seal."""
        metadata = {**self.metadata, **({SEAL: _UNSEALED} if self.sealed else {})}
        header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
        end = 0
        for name, entry in self.entries.items():
            start, end = end, end + _itemsize(entry.dtype) * math.prod(entry.shape)
            header[name] = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": [start, end]}
        raw = json.dumps(header, separators=(",", ":")).encode()
        raw += b" " * (-(8 + len(raw)) % self.alignment)
        return len(raw).to_bytes(8, "little") + raw


def _write(path: str | Path, header: _Header, parts: Iterable[memoryview], *, durable: bool = False) -> None:
    """Write a header and the data, in one pass; the seal is put into its place at the end."""
    raw = header.encoded()
    digest = hashlib.sha256(raw)
    try:
        with Path(path).open("wb") as file:
            file.write(raw)
            for part in parts:
                file.write(part)
                if header.sealed:
                    digest.update(part)
            if header.sealed:
                file.seek(raw.index(f'"{SEAL}":"{_UNSEALED}"'.encode()) + len(SEAL) + len('"":"'))
                file.write(digest.hexdigest().encode())
            file.flush()
            if durable:
                os.fsync(file.fileno())
    except OSError as error:
        error.filename = error.filename or str(path)  # a failed write does not name its file
        raise


def _library_order(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    return dict(sorted(entries.items(), key=lambda item: (-_LIBRARY_ORDER.index(item[1].dtype), item[0])))


def _flat(tensor: "Tensor") -> "Tensor":
    """Return the bytes of a tensor, as a tensor on the same device."""
    import torch

    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def _bytes_of(tensor: "Tensor") -> memoryview:
    return _flat(tensor.cpu()).numpy().data if tensor.numel() else memoryview(b"")


def _array_spelling(dtype: Any) -> str:
    return "BOOL" if dtype.kind == "b" else f"{dtype.kind.upper()}{8 * dtype.itemsize}"


def _itemsize(spelling: str) -> int:
    return 1 if spelling == "BOOL" else int("".join(filter(str.isdigit, spelling.partition("_")[0]))) // 8


def entry_of(tensor: "Tensor") -> Entry:
    """Return the type and shape of a tensor as a header spells them."""
    return Entry(_spellings()[tensor.dtype], tuple(tensor.shape))


def dtype_of(spelling: str) -> "torch.dtype":
    """Return the type that a header spells this way."""
    return {spelled: dtype for dtype, spelled in _spellings().items()}[spelling]


@cache
def _spellings() -> "dict[torch.dtype, str]":
    import torch

    return {
        torch.float32: "F32",
        torch.float16: "F16",
        torch.bfloat16: "BF16",
        torch.float64: "F64",
        torch.int64: "I64",
        torch.int32: "I32",
        torch.int16: "I16",
        torch.int8: "I8",
        torch.uint8: "U8",
        torch.bool: "BOOL",
    }
