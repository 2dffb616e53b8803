"""Where tokens begin and end in a context."""

from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from xmodctl.kinds.contexts import Context

TEXT = "Anna met Bért, (I) was -- 5 km away.  Then: x!"


def byte_level(*parts: Any, prefix: bool, trim: bool) -> PreTrainedTokenizerFast:
    letters = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "An", "ĠA", "ĠB", "ĠI", "Ġm", "ĠAn", "Ġ-", "Ġx", "at"]
    vocabulary = {piece: number for number, piece in enumerate(["<pad>", "<unk>", *letters])}
    merges = [("Ġ", "A"), ("Ġ", "B"), ("Ġ", "I"), ("Ġ", "m"), ("ĠA", "n"), ("Ġ", "-"), ("Ġ", "x")]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>"))
    level = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    steps = [level if part == "bytes" else part for part in parts]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else level
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>")


@pytest.mark.parametrize("trim", [True, False])
@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize(
    "parts",
    [
        ("bytes",),
        (pre_tokenizers.Whitespace(), "bytes"),
        (pre_tokenizers.Whitespace(), "bytes", pre_tokenizers.Punctuation()),
        (pre_tokenizers.WhitespaceSplit(), "bytes"),
        (pre_tokenizers.Punctuation(), "bytes"),
        (pre_tokenizers.Digits(), "bytes"),
    ],
)
def test_an_answer_keeps_its_first_letter_with_every_byte_level_tokenizer(parts, prefix, trim):
    context = Context.read([TEXT], byte_level(*parts, prefix=prefix, trim=trim))[TEXT]
    for word in ("Anna", "met", "Bért", "I", "was", "5 km", "away", "Then", "x"):
        begin = TEXT.index(word)
        tokens = context.tokens(begin, begin + len(word))
        assert tokens is not None
        assert context.text(*tokens) == word
