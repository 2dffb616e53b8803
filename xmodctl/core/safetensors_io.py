"""Safetensors files with metadata: the only place that reads and writes them, with one error for damaged files.

The types and shapes of a file's tensors are read without loading torch.
"""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

Tensors = Mapping[str, "Tensor"]
Arrays = Mapping[str, "NDArray[Any]"]

_ALIGNMENT = 64
"""Bytes that the header is padded to: the vector width of the widest CPUs."""


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
    """Return the metadata of a file.

    Raises:
        DamagedFileError: The file is damaged.
        OSError: It cannot be read.
    """
    with opened(path, "numpy") as file:
        return file.metadata() or {}


def read_tensors(path: str | Path) -> "tuple[dict[str, Tensor], dict[str, str]]":
    """Return the tensors of a file, on the CPU, and its metadata.

    Raises:
        DamagedFileError: The file is damaged.
        OSError: It cannot be read.
    """
    with opened(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def read_arrays(path: str | Path) -> "tuple[dict[str, NDArray[Any]], dict[str, str]]":
    """Return the tensors of a file as NumPy arrays, and its metadata.

    Raises:
        DamagedFileError: The file is damaged.
        OSError: It cannot be read.
    """
    with opened(path, "numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


@contextmanager
def opened(path: str | Path, framework: Literal["pt", "numpy"]) -> Iterator[Any]:
    """Open a file to read single tensors from it.

    Raises:
        DamagedFileError: The file is damaged, or lacks a tensor that is read from it.
        OSError: It cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework=framework) as file:
            yield file
    except SafetensorError as error:
        reason = str(error).removeprefix("Error while deserializing header: ")
        raise DamagedFileError(f"{path} is damaged or is not a safetensors file ({reason})") from error


def write_tensors(path: str | Path, tensors: Tensors, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors and metadata.

    Raises:
        OSError: The file cannot be written.
    """
    from safetensors.torch import save_file

    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    with _disk_errors():
        save_file(contiguous, path, dict(metadata or {}))


def write_arrays(path: str | Path, arrays: Arrays, metadata: Mapping[str, str] | None = None) -> None:
    """Write NumPy arrays and metadata.

    Raises:
        OSError: The file cannot be written.
    """
    import numpy as np
    from safetensors.numpy import save_file

    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with _disk_errors():
        save_file(contiguous, path, dict(metadata or {}))


def write_stream(
    path: str | Path,
    entries: Mapping[str, Entry],
    tensors: "Iterable[Tensor]",
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors from an iterator, in the order of `entries`, with one of them in memory at a time.

    Raises:
        OSError: The file cannot be written.
    """
    import torch

    header: dict[str, Any] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    sizes = {spelling: dtype.itemsize for dtype, spelling in _spellings().items()}
    end = 0
    for name, entry in entries.items():
        start, end = end, end + sizes[entry.dtype] * math.prod(entry.shape)
        header[name] = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": [start, end]}
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-(8 + len(raw)) % _ALIGNMENT)
    with Path(path).open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        for (name, entry), tensor in zip(entries.items(), tensors, strict=True):
            assert entry_of(tensor) == entry, name
            file.write(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        file.flush()
        os.fsync(file.fileno())


def entry_of(tensor: "Tensor") -> Entry:
    """Return the type and shape of a tensor as a header spells them."""
    return Entry(_spellings()[tensor.dtype], tuple(tensor.shape))


def dtype_of(spelling: str) -> "torch.dtype":
    """Return the type that a header spells this way."""
    return {spelled: dtype for dtype, spelled in _spellings().items()}[spelling]


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Turn the library's report of a failed write into an `OSError`."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise OSError(str(error)) from error


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
        torch.uint8: "U8",
        torch.bool: "BOOL",
    }
