import hashlib

import numpy as np
import pytest
from tokenizers.normalizers import Precompiled

from xmodctl.model.mini.charsmap import compositions, precompile
from xmodctl.model.mini.weights import WeightFile, locate


def test_the_trie_replaces_what_it_was_given_and_nothing_else():
    chance = np.random.default_rng(5)
    alphabet = [
        chr(code) for code in (*range(33, 127), *range(0xA1, 0x600), *range(0x900, 0xA00), *range(0x1E00, 0x2000))
    ]
    replacements = {
        char: str(chance.choice(["", " ", "x", "é", "두 자"])) for char in chance.permutation(alphabet)[:1500]
    }
    normalizer = Precompiled(precompile(replacements))
    for char in alphabet:
        assert normalizer.normalize_str(char) == replacements.get(char, char), hex(ord(char))


def test_a_key_that_another_key_begins_with_keeps_its_own_value():
    normalizer = Precompiled(precompile({"a": "1", "ab": "2", "é": "3", "è": "4"}))
    assert normalizer.normalize_str("baéèc") == "b134c"


def test_a_base_and_its_mark_are_one_grapheme():
    normalizer = Precompiled(precompile(compositions({})))
    assert normalizer.normalize_str("e\u0301a\u0302\u0063 e") == "éâc e"


@pytest.mark.slow
def test_the_compositions_are_those_of_sentencepiece(mini_folder):
    """The digest is of the reachable keys of SentencePiece's own `nmt_nfkc` map, read from XLM-R's tokenizer."""
    pairs = compositions(WeightFile.open(locate()).characters)
    lines = "".join(f"{key}\t{value}\n" for key, value in sorted(pairs.items()))
    assert len(pairs) == 675
    assert hashlib.sha256(lines.encode()).hexdigest() == (
        "a72bb4a0d131161e647ee8031efaa82317d307bf4e4a60333bff1b24fc9b280d"
    )
