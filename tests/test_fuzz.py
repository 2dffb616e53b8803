"""Damaged files are refused in one sentence, within seconds, and a damaged weight file is never used.

The long form is `python -m bench.fuzz`; `XMODCTL_FUZZ_EXAMPLES` sets how many files of each kind the slow test damages.
"""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import fuzz as fuzz_module
from bench.fuzz import fuzz, table
from bench.fuzz_mutations import mutated
from bench.fuzz_targets import TARGETS, Target
from xmodctl.core.errors import UserError

SHORT = (
    "data: pairs.jsonl", "data: pairs.csv", "data: questions.json", "data: tags.txt", "data: pairs.arrow",
    "own data: Label Studio", "tasks and recipes", "--set", "model: configuration", "model: converted",
    "run: checkpoints", "text",
)  # fmt: skip
SHORT_EXAMPLES = 20

pytestmark = pytest.mark.filterwarnings("ignore")  # of libraries


@pytest.mark.parametrize("name", SHORT)
def test_a_damaged_file_is_refused_or_still_valid(name, tmp_path):
    count = fuzz(name, SHORT_EXAMPLES, tmp_path)
    assert not count.faults, count.reports
    assert count.files >= SHORT_EXAMPLES // 2
    assert count.files == count.refused + count.read


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_many_damaged_files_are_refused_or_still_valid(name, tmp_path):
    count = fuzz(name, int(os.environ.get("XMODCTL_FUZZ_EXAMPLES", "30")), tmp_path, seed=1)
    assert not count.faults, count.reports


def _write(folder: Path) -> None:
    (folder / "file.json").write_text(json.dumps({"a": [1, 2], "b": "x"}))


@pytest.mark.parametrize(
    ("read", "fault"),
    [
        (lambda folder: json.loads((folder / "file.json").read_bytes()), "traceback"),
        (lambda folder: (folder / "file.json").read_bytes(), "damage used"),
    ],
)
def test_the_fuzzer_finds_readers_that_crash_and_readers_that_use_damage(read, fault, tmp_path, monkeypatch):
    monkeypatch.setattr("bench.fuzz_targets.TARGETS", {"x": Target(_write, ("file.json",), read, sealed=True)})
    count = fuzz("x", 20, tmp_path)
    assert count.faults[fault]
    assert "file.json" in count.reports[0]


def test_the_fuzzer_finds_readers_that_are_slow(tmp_path, monkeypatch):
    def read(folder: Path) -> None:
        if (folder / "file.json").read_bytes()[:1] != b"{":
            while True:
                pass

    monkeypatch.setattr("bench.fuzz.SECONDS", 0)
    monkeypatch.setattr("bench.fuzz_targets.TARGETS", {"x": Target(_write, ("file.json",), read)})
    assert fuzz("x", 1, tmp_path, seed=3).faults.keys() <= {"slow"}


def _peak_can_be_reset() -> bool:
    """Return whether the peak falls again after memory is released; some sandboxes ignore the reset."""
    fuzz_module._forget_peak()
    before = fuzz_module._peak()
    block = bytearray(64 * 2**20)
    held = fuzz_module._peak()
    del block
    fuzz_module._forget_peak()
    return held - before > 48 * 2**20 and held - fuzz_module._peak() > 48 * 2**20


@pytest.mark.slow
def test_the_fuzzer_finds_readers_that_hold_much_memory_whatever_the_process_holds(tmp_path, monkeypatch):
    held = bytearray(64 * 2**20)
    if not _peak_can_be_reset():
        pytest.skip("this system does not reset the peak memory of a process")

    # An allocator may serve blocks of up to 32 MiB from memory that the process holds already.
    def read(folder: Path) -> int:
        return len(bytearray((folder / "file.json").stat().st_size and 96 * 2**20))

    monkeypatch.setattr("bench.fuzz_targets.TARGETS", {"x": Target(_write, ("file.json",), read)})
    monkeypatch.setattr("bench.fuzz.BYTES", 128 * 2**20)
    assert not fuzz("x", 20, tmp_path / "below").faults
    monkeypatch.setattr("bench.fuzz.BYTES", 64 * 2**20)
    assert fuzz("x", 20, tmp_path / "above").faults["memory"]
    assert held


def test_a_refusal_is_no_fault(tmp_path, monkeypatch):
    def read(folder: Path) -> None:
        try:
            json.loads((folder / "file.json").read_bytes())
        except (ValueError, RecursionError) as error:
            raise UserError("damaged") from error

    monkeypatch.setattr("bench.fuzz_targets.TARGETS", {"x": Target(_write, ("file.json",), read)})
    count = fuzz("x", 20, tmp_path)
    assert not count.faults
    assert count.refused
    assert count.read
    counts = {"x": {"files": 2, "refused": 1, "read": 1, "faults": {}, "slowest": 0.1, "largest": 10**9}}
    assert list(table(counts))[-1] == "| total | 2 | 1 | 1 | 0 | 0.1 | 1.00 |"


@settings(max_examples=30, derandomize=True)
@given(st.data())
def test_mutations_change_documents_lines_and_headers(data):
    content = data.draw(
        st.sampled_from(
            [
                '{"a": 1}\n{"a": 2}\n'.encode("utf-16-le"),
                b'{"a": [1, {"b": null}]}',
                b'{"a": 1}\n{"a": 2}\n',
                b'\x08\0\0\0\0\0\0\0{"a":{}}',
                b"x",
            ]
        )
    )
    assert isinstance(data.draw(mutated(content)), bytes)
