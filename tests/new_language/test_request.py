"""A request takes what Python and the command line give, and refuses contradictions before any work."""

from pathlib import Path

import pytest

from xmodctl.core.errors import UserError
from xmodctl.new_language.request import AddLanguageRequest


def test_texts_are_a_mapping_or_pairs_with_strings_or_paths():
    mapping = AddLanguageRequest({"zu": "a.txt", "xh": [Path("b.txt"), "c.txt"]})
    pairs = AddLanguageRequest([("zu", "a.txt"), ("xh", Path("b.txt")), ("xh", "c.txt")])
    assert mapping.text_files == pairs.text_files == (("zu", "a.txt"), ("xh", "b.txt"), ("xh", "c.txt"))


def test_seeds_and_head_text_may_be_single_or_several():
    single = AddLanguageRequest({"zu": "a.txt"}, seeds=3, head_text=Path("h.txt"))
    several = AddLanguageRequest({"zu": "a.txt"}, seeds="1,2", head_text=["h.txt", "i.txt"])
    assert (single.seed_numbers, single.head_files) == ((3,), ("h.txt",))
    assert (several.seed_numbers, several.head_files) == ((1, 2), ("h.txt", "i.txt"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"texts": {}}, "no text given"),
        ({"on_exists": "replace"}, "--on-exists replace: choose from resume, redo, error"),
        ({"precision": "int8"}, "--precision int8: choose from auto, fp32, tf32, bf16, fp16"),
        ({"limit": 0}, "--limit 0: give a whole number"),
        ({"seeds": (1, 1)}, "--seeds 1,1: seeds must be different"),
    ],
)
def test_wrong_values_are_refused_with_the_name_of_the_option(options, message):
    with pytest.raises(UserError, match=message):
        AddLanguageRequest(**{"texts": {"zu": "a.txt"}, **options})
