"""The stored ranking of adapters: used only as it was written, and ranked again otherwise."""

import json
from pathlib import Path

import pytest

from xmodctl.new_language.ranking import Ranking, read_ranking, write_ranking
from xmodctl.training.masked_lm.ranking import Candidate

RANKING = Ranking((Candidate("sw_KE", 5.25, 640), Candidate("en_XX", 6.125, 64)), "sw_KE")
ADAPTERS = ["en_XX", "sw_KE"]


@pytest.fixture
def path(tmp_path) -> Path:
    write_ranking(tmp_path / "zu_ZA.start.json", RANKING)
    return tmp_path / "zu_ZA.start.json"


def read(path: Path, init_from: str = "auto") -> Ranking | None:
    return read_ranking(path, init_from, lambda: ADAPTERS)


def test_a_ranking_is_read_as_it_was_written(path):
    assert read(path) == RANKING
    assert read(path.with_name("absent.json")) is None


def test_no_changed_byte_gives_another_ranking(path):
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= (1, 4, 16)[place % 3]
        path.write_bytes(damaged)
        assert read(path) in (None, RANKING), bytes(damaged)


OLD = {
    "whole": ({}, "auto", True),
    "another start": ({"start": "en_XX"}, "auto", False),
    "another start than asked for": ({"start": "en_XX"}, "identity", False),
    "what was asked for": ({"start": "identity"}, "identity", True),
    "a mixture": ({"start": "7*sw_KE+3*en_XX@text"}, "mix", True),
    "a mixture of others": ({"start": "7*sw_KE+3*xx_XX@text"}, "mix", False),
    "no mixture": ({"start": "7*sw_KE+*"}, "mix", False),
    "an unknown adapter": ({"candidates": [{"adapter": "xx_XX", "loss": 1.0, "tokens": 3}]}, "auto", False),
    "no adapter": ({"candidates": []}, "auto", False),
    "a key of nobody": ({"sha357": "0"}, "auto", False),
    "a list": ({"start": ["sw_KE"]}, "auto", False),
}


@pytest.mark.parametrize("name", OLD)
def test_a_ranking_of_an_earlier_version_has_no_digest_and_must_be_one_that_can_have_been_found(name, path):
    changes, init_from, is_read = OLD[name]
    value = json.loads(path.read_text())
    del value["sha256"]
    path.write_text(json.dumps(value | changes))
    assert (read(path, init_from) is not None) == is_read


def test_what_is_not_a_ranking_is_ranked_again(path):
    for text in ("[]", "null", "1", "{}", "[" * 3000, ""):
        path.write_text(text)
        assert read(path) is None
