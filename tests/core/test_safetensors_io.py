"""Safetensors files: tensors, arrays and metadata come back as they went in, and damage is one error."""

import errno
import os
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from xmodctl.core import safetensors_io as io
from xmodctl.core.errors import UserError
from xmodctl.core.safetensors_io import DamagedFileError, Entry

TENSORS = {
    "b": torch.arange(6.0).reshape(2, 3).t(),
    "a": torch.ones(3, dtype=torch.bfloat16),
    "empty": torch.zeros(0, 4),
}
READERS = (io.read_entries, io.read_metadata, io.read_tensors, io.read_arrays)


@pytest.fixture
def path(tmp_path):
    io.write_tensors(tmp_path / "file", TENSORS, {"base": "x"})
    return tmp_path / "file"


def test_tensors_and_metadata_come_back(path):
    tensors, metadata = io.read_tensors(str(path))
    assert metadata == io.read_metadata(path) == {"base": "x"}
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(tensors[name], tensor)
        assert tensors[name].dtype == tensor.dtype


def test_arrays_and_metadata_come_back(tmp_path):
    arrays = {"x": np.arange(6, dtype=np.uint8).reshape(2, 3).T, "y": np.ones(2)}
    io.write_arrays(tmp_path / "file", arrays, {"n": "2"})
    back, metadata = io.read_arrays(tmp_path / "file")
    assert metadata == {"n": "2"}
    assert all(np.array_equal(back[name], array) and back[name].dtype == array.dtype for name, array in arrays.items())


def test_types_and_shapes_are_known_in_the_order_of_the_data_without_reading_it(path):
    entries = io.read_entries(path)
    assert entries == {"a": Entry("BF16", (3,)), "b": Entry("F32", (3, 2)), "empty": Entry("F32", (0, 4))}
    assert {name: io.entry_of(tensor) for name, tensor in TENSORS.items()} == entries
    assert io.dtype_of("BF16") == torch.bfloat16
    written = {"z": torch.zeros(2), "a": torch.ones(1)}
    io.write_stream(path, {name: io.entry_of(tensor) for name, tensor in written.items()}, written.values())
    assert list(io.read_entries(path)) == ["z", "a"], "a file that changed is read anew"


def test_a_file_written_tensor_by_tensor_is_what_the_library_reads(tmp_path):
    entries = {name: io.entry_of(tensor) for name, tensor in TENSORS.items()}
    io.write_stream(tmp_path / "stream", entries, iter(TENSORS.values()), {"base": "x"})
    assert io.read_metadata(tmp_path / "stream") == {"format": "pt", "base": "x"}
    read = load_file(tmp_path / "stream")
    assert all(torch.equal(read[name], tensor) for name, tensor in TENSORS.items())


def test_the_library_and_this_module_write_the_same_bytes(tmp_path):
    contiguous = {name: tensor.contiguous() for name, tensor in TENSORS.items()}
    save_file(contiguous, tmp_path / "library", {"base": "x"})
    io.write_tensors(tmp_path / "ours", TENSORS, {"base": "x"})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "library").read_bytes()


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-1],
        lambda raw: raw + b"more",
        lambda raw: raw[:20],
        lambda raw: b"",
        lambda raw: b"<html>404 Not Found</html>" * 9,
        lambda raw: (2).to_bytes(8, "little") + b"[]",
    ],
)
def test_damage_is_one_error_that_names_the_file(path, damage, read):
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DamagedFileError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path} is damaged or is not a safetensors file (")


@pytest.mark.parametrize("read", READERS)
def test_an_absent_file_is_not_damage(tmp_path, read):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "absent")


def test_a_tensor_that_the_file_lacks_is_damage(path):
    with pytest.raises(DamagedFileError), io.opened(path, "pt") as file:
        file.get_tensor("c")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a disk that is always full")
def test_a_full_disk_is_an_error_of_the_disk():
    with pytest.raises(OSError, match=r"space|full|device") as caught:
        io.write_stream("/dev/full", {"a": Entry("F32", (3,))}, [torch.ones(3)])
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize("kind", ["pt", "numpy"])
def test_every_type_is_written_as_the_library_writes_it(tmp_path, kind):
    from safetensors.numpy import save_file as save_arrays

    numbers = np.arange(6).reshape(2, 3)
    types = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
    arrays = {f"{name}{copy}": numbers.astype(name) for name in types for copy in "ab"}
    arrays |= {"scalar": np.array(1.5), "empty": np.zeros((0, 4))}
    if kind == "pt":
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()} | {"half": TENSORS["a"]}
        save_file(tensors, tmp_path / "library", {"base": "x"})
        io.write_tensors(tmp_path / "ours", tensors, {"base": "x"})
    else:
        arrays |= {"u16": numbers.astype("uint16"), "u32": numbers.astype("uint32"), "u64": numbers.astype("uint64")}
        save_arrays(arrays, tmp_path / "library", {"base": "x"})
        io.write_arrays(tmp_path / "ours", arrays, {"base": "x"})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "library").read_bytes()


def test_metadata_are_written_in_one_order(tmp_path):
    keys = [f"key{number}" for number in range(20)]
    io.write_tensors(tmp_path / "a", TENSORS, dict.fromkeys(keys, "x"))
    io.write_tensors(tmp_path / "b", dict(reversed(TENSORS.items())), dict.fromkeys(reversed(keys), "x"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def write_sealed(path, writer):
    if writer == "tensors":
        io.write_tensors(path, TENSORS, {"base": "x"}, sealed=True)
    elif writer == "arrays":
        io.write_arrays(path, {"x": np.arange(9), "y": np.ones(2)}, {"base": "x"}, sealed=True)
    else:
        entries = {name: io.entry_of(tensor) for name, tensor in TENSORS.items()}
        io.write_stream(path, entries, TENSORS.values(), {"base": "x"}, sealed=True)


@pytest.mark.parametrize("writer", ["tensors", "arrays", "stream"])
def test_a_changed_bit_anywhere_in_a_sealed_file_is_damage(tmp_path, writer):
    path = tmp_path / "file"
    write_sealed(path, writer)
    whole = path.read_bytes()
    assert io.check_seal(path, required=True)
    assert io.SEAL not in io.read_metadata(path)
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 7
        path.write_bytes(changed)
        with pytest.raises(DamagedFileError):
            io.read_arrays(path, sealed=True) if writer == "arrays" else io.read_tensors(path, sealed=True)


def test_a_file_without_a_seal_is_read_unless_one_is_required(path):
    assert not io.check_seal(path)
    with pytest.raises(DamagedFileError, match="its sha256 is missing"):
        io.read_tensors(path, sealed=True)


def test_a_remembered_seal_is_computed_again_when_the_file_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "file"
    write_sealed(path, "tensors")
    assert io.check_seal(path, remember=True)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DamagedFileError):
        io.check_seal(path, remember=True)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a disk that is always full")
@pytest.mark.parametrize("write", [io.write_tensors, io.write_arrays])
def test_a_full_disk_names_the_file(write):
    values = {"a": torch.ones(3) if write is io.write_tensors else np.ones(3)}
    with pytest.raises(OSError, match="space") as caught:
        write("/dev/full", values)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "/dev/full")


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are Unicode there")
def test_a_file_whose_path_is_not_utf8_is_not_called_damaged(path):
    folder = path.parent / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    moved = path.rename(folder / "moved")
    with pytest.raises(UserError, match="is not valid UTF-8, so models in it cannot be read"):
        io.read_tensors(moved)
