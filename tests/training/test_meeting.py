"""Processes that do not meet say who is missing, or what is wrong."""

import socket
from datetime import timedelta

import pytest
import torch
from torch.distributed import TCPStore

from tests.launched import free_port
from xmodctl.core.errors import LostProcessError, UserError
from xmodctl.training import meeting
from xmodctl.training.meeting import meet


@pytest.fixture
def port(monkeypatch):
    chosen = free_port()
    for name, value in {"MASTER_ADDR": "localhost", "MASTER_PORT": str(chosen)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    return chosen


@pytest.fixture
def store(port):
    """Return what the first of three processes has for all to see, which waits for them."""
    hosted = TCPStore("localhost", port, is_master=True, wait_for_workers=False)
    hosted.set("xmodctl/size", "3")
    hosted.add("xmodctl/0", 1)
    return hosted


@pytest.mark.parametrize("limit", ["JOINING", "STARTING"])
def test_an_address_that_never_answers_is_reported_although_torch_still_waits(limit, port, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "xmodctl-1" if limit == "STARTING" else "another")
    with socket.socket() as silent:
        silent.bind(("localhost", port))
        silent.listen()
        assert meeting.JOINING.seconds < 45
        monkeypatch.setattr(meeting, limit, timedelta(seconds=1))
        with pytest.raises(UserError, match=f"process 1 of 2 cannot reach the others at localhost:{port}: .* in 1 s"):
            meet(1, 2)


def test_the_first_process_says_which_do_not_come(port, monkeypatch):
    monkeypatch.setattr(meeting, "JOINING", timedelta(seconds=4))
    with pytest.raises(UserError, match=f"process 0 of 3 .* localhost:{port}: process 1, process 2 have not come"):
        meet(0, 3)


def test_only_one_process_says_that_another_does_not_come(store, monkeypatch):
    monkeypatch.setattr(meeting, "JOINING", timedelta(seconds=4))
    with pytest.raises(UserError, match=r"process 1 of 3 cannot reach the others at .*: process 2 has not come; check"):
        meet(1, 3)
    with pytest.raises(LostProcessError):  # started later than the one that has given up
        meet(2, 3)


@pytest.mark.parametrize(
    ("rank", "size", "message"),
    [
        (1, 2, "process 1 was started with WORLD_SIZE=2, the first one with 3; start all processes of a command alike"),
        (2, 3, "another process with RANK=2 at localhost:.*; give every process a RANK of its own, .* MASTER_PORT of"),
    ],
)
def test_processes_that_do_not_belong_to_each_other_end_at_once(rank, size, message, store):
    store.add("xmodctl/2", 1)
    with pytest.raises(UserError, match=message):
        meet(rank, size)
    assert store.check(["xmodctl/over"])


def test_a_process_without_a_gpu_of_its_own_is_refused(monkeypatch):
    taken = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert meeting.take_device() == "cuda"
    assert taken == [1]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(
        UserError, match=r"process 2 of this machine has no GPU of its own: torch finds 1 GPU; start one"
    ):
        meeting.take_device()
    assert taken == [1]
