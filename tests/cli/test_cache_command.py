import json
import os
import time
from pathlib import Path

import pytest
from filelock import FileLock

from tests.command_line import run

DAYS = {"old": 40, "middle": 10, "new": 0}


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """Return a cache with three encodings of 1,000 bytes and different ages, a model, and an imported adapter."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XMODCTL_CACHE", str(folder))
    entries = {f"encodings/{name}.safetensors": days for name, days in DAYS.items()}
    for name, days in {**entries, "mini/model/weights.bin": 40, "adapters/zu/adapter.json": 400}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1000)
        used = time.time() - days * 24 * 3600
        os.utime(path, (used, used))
    return folder


def files(cache: Path) -> list[str]:
    return sorted(
        str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"
    )


def test_the_list_shows_each_content_with_its_size(cache):
    result = run("cache", "list")
    assert "encoded rows and texts" in result.stdout
    assert "3 kB" in result.stdout
    assert "5 kB in" in result.stderr
    rows = json.loads(run("cache", "list", "--json").stdout)
    assert sorted(row["content"] for row in rows) == ["adapters", "encodings", "encodings", "encodings", "mini"]
    assert {row["bytes"] for row in rows} == {1000}


def test_what_was_not_used_is_removed_and_adapters_stay(cache):
    before = files(cache)
    assert "would be removed: 2 kB in 2 entries" in run("cache", "prune", "--older-than", 30, "--dry-run").stdout
    assert files(cache) == before
    assert "removed: 2 kB in 2 entries" in run("cache", "prune", "--older-than", 30).stdout
    assert files(cache) == [
        "adapters/zu/adapter.json", "encodings/middle.safetensors", "encodings/new.safetensors",
    ]  # fmt: skip


def test_a_size_removes_the_least_recently_used_first(cache):
    value = json.loads(run("cache", "prune", "--max-size", 0.000002, "--json").stdout)
    assert len(value["removed"]) == 3
    assert files(cache) == ["adapters/zu/adapter.json", "encodings/new.safetensors"]


def test_what_another_process_writes_stays(cache):
    with FileLock(cache / "encodings" / "old.lock"), FileLock(cache / "mini" / ".model.lock"):
        result = run("cache", "prune", "--all")
    assert "in use by another process, and kept: 2 kB" in result.stderr
    assert files(cache) == [
        "adapters/zu/adapter.json", "encodings/old.safetensors", "mini/model/weights.bin",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"), [((), "choose what to remove: --older-than DAYS"), (("--max-size", -1), "cannot be negative")]
)
def test_a_request_without_a_limit_is_refused(cache, words, message):
    before = files(cache)
    result = run("cache", "prune", *words)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert files(cache) == before


def test_an_empty_cache_is_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "none"))
    assert "0 B in" in run("cache", "list").stderr
    assert "removed: 0 B in 0 entries" in run("cache", "prune", "--all").stdout
