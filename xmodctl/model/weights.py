"""Weight files of a checkpoint: checked before use, and read tensor by tensor."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.core.errors import UserError
from xmodctl.core.files import cache_folder, disk_errors, read_json, remembered_digest, sha256_of, whole_folder
from xmodctl.core.locks import holding, lock_of
from xmodctl.core.reading import OutsideFolderError, inside, open_regular
from xmodctl.core.safetensors_io import (
    DamagedFileError,
    Entry,
    check_seal,
    entry_of,
    opened,
    read_entries,
    write_stream,
)

if TYPE_CHECKING:
    from torch import Tensor

_log = logging.getLogger(__name__)

_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_PICKLED, _PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
_CHUNK_BYTES = 512 * 2**20  # of a pickled checkpoint that are mapped at a time
_DECODER = "lm_head.decoder."  # tied to the word embeddings and the head's bias in most checkpoints


class CheckpointTensors:
    """The tensors of a checkpoint folder, with their names in a transformers model with a head.

    Tensors are read on demand. A `pytorch_model.bin` is converted once, to the cache.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """Open `folder`; `name` is its name in messages."""
        self.name = name
        self.entries: dict[str, Entry] = {}
        self._files: dict[str, tuple[Path, str]] = {}
        for file in _safetensors_files(folder, name) or _safetensors_files(convert(folder, name), name):
            _verify(file)
            for stored, entry in entries_of(file).items():
                stock = stock_name(stored)
                self.entries[stock] = entry
                self._files[stock] = (file, stored)

    def read(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Return the tensors with these names, in the file's precision."""
        by_file: dict[Path, list[str]] = {}
        for name in names:
            by_file.setdefault(self._files[name][0], []).append(name)
        tensors: dict[str, Tensor] = {}
        for file, stocks in by_file.items():
            with opened(file, "pt") as stored:
                for stock in stocks:
                    tensors[stock] = stored.get_tensor(self._files[stock][1])
        return tensors

    def stream(self, names: Iterable[str]) -> Iterator[Tensor]:
        """Yield the tensors with these names in turn, with one of them in memory at a time."""
        files: dict[Path, Any] = {}
        with contextlib.ExitStack() as stack:
            for name in names:
                file, stored = self._files[name]
                if file not in files:
                    files[file] = stack.enter_context(opened(file, "pt"))
                yield files[file].get_tensor(stored)


def _verify(file: Path) -> None:
    """Verify the seal of a file that xmodctl wrote; other files have none."""
    try:
        check_seal(file, remember=True)
    except DamagedFileError as error:
        raise UserError(f"{error}; create it again with the command that wrote it, such as xmodctl convert") from error


def stock_name(stored: str) -> str:
    """Return the name of a stored tensor in transformers 5: with the body's prefix, without TensorFlow's terms."""
    name = f"roberta.{stored}" if stored.startswith(("embeddings.", "encoder.", "pooler.")) else stored
    for old, new in (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")):
        name = name.removesuffix(old) + new if name.endswith(old) else name
    return name


def check(folder: Path, name: str) -> None:
    """Check that a folder's weights exist, are complete and match the index; only headers are read.

    Raises:
        UserError: They do not.
    """
    files = _safetensors_files(folder, name)
    if files:
        for file in files:
            entries_of(file)
        return
    for file in _pickled_files(folder, name):
        try:
            with open_regular(file) as pickled:
                pickled.read(1)
        except OSError as error:
            raise UserError(f"cannot read {file}: {error.strerror}") from error


def entries_of(file: Path) -> dict[str, Entry]:
    """Return the tensors in a checkpoint's file, after checking its header against its size.

    Raises:
        UserError: The file is damaged or cannot be read.
    """
    try:
        return read_entries(file)
    except DamagedFileError as error:
        raise UserError(f"{error}; download it again") from error
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}") from error


def _safetensors_files(folder: Path, name: str) -> list[Path]:
    if (folder / _WHOLE).exists():
        return [folder / _WHOLE]
    if not (folder / _INDEX).exists():
        return []
    placed = _weight_map(folder / _INDEX, name)
    files = [folder / file for file in sorted(set(placed.values()))]
    for file in files:
        missing = {tensor for tensor, shard in placed.items() if shard == file.name} - entries_of(file).keys()
        if missing:
            raise UserError(
                f"{file} lacks the tensor {min(missing)} that {_INDEX} places there; download the file again"
            )
    return files


def _pickled_files(folder: Path, name: str) -> list[Path]:
    if (folder / _PICKLED).exists():
        return [folder / _PICKLED]
    if (folder / _PICKLED_INDEX).exists():
        files = sorted(set(_weight_map(folder / _PICKLED_INDEX, name).values()))
        return [folder / file for file in files]
    raise UserError(f"{name} has no weights: {folder} contains neither {_WHOLE} nor {_PICKLED}")


def _weight_map(index: Path, name: str) -> dict[str, str]:
    try:
        placed: dict[str, str] = read_json(index)["weight_map"]
        files = {file: inside(index.parent, file, links=True) for file in placed.values()}
        absent = sorted(file for file, path in files.items() if not path.exists())
    except OSError as error:
        raise UserError(f"cannot read {index}: {error.strerror}") from error
    except OutsideFolderError as error:
        raise UserError(f"{index} names a file that is not next to it ({error}); download it again") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{index} is not an index of weight files; download it again") from error
    if absent:
        raise UserError(f"{name} is incomplete: {index.parent} lacks {', '.join(absent)}; download it again")
    return placed


def convert(folder: Path, name: str) -> Path:
    """Return the cached folder with a pickled checkpoint's tensors as safetensors; they are converted once.

    Only the restricted unpickler is used. Memory is bounded: the file is mapped again for each half gibibyte. The
    folder's name is the sha256 of the pickled files.

    Raises:
        UserError: The files are damaged or contain other objects, or the cache cannot be written.
    """
    files = _pickled_files(folder, name)
    digests = [known_sha256(file) for file in files]
    key = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    converted = cache_folder() / "converted" / key
    with disk_errors(converted):
        converted.parent.mkdir(parents=True, exist_ok=True)
        with holding(lock_of(converted)):
            if not _is_intact(converted / _WHOLE):
                with whole_folder(converted) as part:
                    _convert_into(part / _WHOLE, files)
    return converted


def _is_intact(converted: Path) -> bool:
    """Return whether a checkpoint that was converted before is there and whole."""
    try:
        check_seal(converted, remember=True)
    except FileNotFoundError:
        return False
    except DamagedFileError as error:
        _log.warning("the checkpoint is converted again: %s", error)
        return False
    return True


def _convert_into(target: Path, files: Sequence[Path]) -> None:
    entries: dict[str, Entry] = {}
    chunks: list[tuple[Path, list[str]]] = []
    for file in files:
        state = _unpickle(file)
        tied = {tensor.data_ptr() for name, tensor in state.items() if not name.startswith(_DECODER)}
        room = 0
        for name, tensor in state.items():
            if name.endswith("position_ids") or (name.startswith(_DECODER) and tensor.data_ptr() in tied):
                continue
            if room < tensor.nbytes:
                chunks.append((file, []))
                room = max(_CHUNK_BYTES, tensor.nbytes)
            room -= tensor.nbytes
            chunks[-1][1].append(name)
            entries[name] = entry_of(tensor)
        del state

    def tensors() -> Iterator[Tensor]:
        # Each chunk maps the file again, so that the pages already written can be released.
        for file, names in chunks:
            state = _unpickle(file)
            for name in names:
                yield state[name]

    write_stream(target, entries, tensors(), sealed=True)


def _unpickle(file: Path) -> dict[str, Tensor]:
    import torch

    with open_regular(file) as pickled:
        zipped = pickled.read(4) == b"PK\x03\x04"  # files older than torch 1.6 are not zip files and cannot be mapped
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch reads or refuses the file, with or without a warning
            state = torch.load(file, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # whatever the bytes make the restricted unpickler do
        raise UserError(f"{file} is damaged or is not a PyTorch file of plain tensors; download it again") from error
    if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise UserError(f"{file} contains something other than named tensors; download it again")
    return state


def known_sha256(file: Path) -> str:
    """Return the file's sha256, which is computed once until its size or modification time changes.

    The name of a file in the Hub's cache is its sha256 already.
    """
    file = file.resolve()
    if file.parent.name == "blobs" and len(file.name) == 64:
        return file.name
    return remembered_digest(file, sha256_of)
