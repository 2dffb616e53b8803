import errno
import os
import signal
import threading
import time

import pytest
import torch

from xmodctl.core import blocks
from xmodctl.core import safetensors_io as io
from xmodctl.core.blocks import Block, block_digest, write_blocks
from xmodctl.core.safetensors_io import write_tensor_files

TENSORS = {
    "wide": torch.arange(40, dtype=torch.float64),
    "turned": torch.arange(6.0).reshape(2, 3).t(),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "flags": torch.tensor([True, False, True]),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 4),
}


@pytest.mark.parametrize("block", [1, 7, 64, 2**24])
def test_blocks_of_any_size_give_the_file_that_is_written_in_one_go_and_its_digest(tmp_path, monkeypatch, block):
    monkeypatch.setattr(blocks, "BLOCK", block)
    io.write_tensors(tmp_path / "whole", TENSORS)
    paths = tmp_path / "a", tmp_path / "b"
    digests = write_tensor_files({paths[0]: TENSORS, paths[1]: {"wide": TENSORS["wide"] + 1}})
    assert paths[0].read_bytes() == (tmp_path / "whole").read_bytes()
    assert digests == {path: block_digest(path) for path in paths}
    assert digests[paths[0]] == block_digest(tmp_path / "whole") != digests[paths[1]]


def test_each_bit_that_changes_changes_the_digest(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 32)
    path = tmp_path / "file"
    expected = write_tensor_files({path: {"a": torch.ones(3)}})[path]
    raw = path.read_bytes()
    for place in range(len(raw)):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 1 << place % 8]) + raw[place + 1 :])
        assert block_digest(path) != expected
    for other in (raw[:-1], raw + b"\0", raw[32:64] + raw[:32] + raw[64:]):
        path.write_bytes(other)
        assert block_digest(path) != expected


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a disk that is always full")
def test_a_full_disk_names_the_file(tmp_path):
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    with pytest.raises(OSError, match="space") as caught:
        write_tensor_files({full: {"a": torch.ones(3)}})
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(full))


def test_a_second_signal_ends_the_write_without_the_blocks_that_have_not_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 1)
    count, written = 200, []

    def read(start: int, _: int) -> memoryview:
        written.append(start)
        if len(written) == 5:
            threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
        time.sleep(0.02)
        return memoryview(b"x")

    with pytest.raises(KeyboardInterrupt):
        write_blocks({tmp_path / "file": [Block(count, read)]})
    assert 5 <= len(written) < count / 2
