"""XLM-R's tokenizer, rebuilt from the pieces, scores and character map of the weight file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.core.files import whole_file, write_json
from xmodctl.model.mini.charsmap import compositions, precompile

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_SPECIAL = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}


def tokenizer(pieces: Sequence[tuple[str, float]], unk: int, characters: Mapping[str, str]) -> "Tokenizer":
    """Return the Unigram tokenizer whose ids are the indexes of `pieces`."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    built = Tokenizer(models.Unigram(list(pieces), unk_id=unk, byte_fallback=False))
    charsmap = precompile({**characters, **compositions(characters)})
    built.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(charsmap), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    built.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    built.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    # The space before a mask belongs to the masked word, as in XLM-R's tokenizer.
    built.add_special_tokens(
        [AddedToken(piece, normalized=False, lstrip=piece == "<mask>") for piece in dict.fromkeys(_SPECIAL.values())]
    )
    bos, eos = "<s>", "</s>"
    built.post_processor = processors.TemplateProcessing(
        single=[bos, "$A", eos],
        pair=[bos, "$A", eos, eos, "$B", eos],
        special_tokens=[(token, built.token_to_id(token)) for token in (bos, eos)],
    )
    return built


def save(built: "Tokenizer", folder: Path, *, longest: int) -> None:
    """Write the two files that `AutoTokenizer` loads; `longest` is the maximum number of tokens of a text."""
    with whole_file(folder / "tokenizer.json") as part:
        built.save(str(part), pretty=False)
    write_json(
        folder / "tokenizer_config.json",
        {
            # This class uses tokenizer.json unchanged; XLM-R's class would build another pre-tokenizer.
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": longest,
            "model_input_names": ["input_ids", "attention_mask"],
            "padding_side": "right",
            "clean_up_tokenization_spaces": False,
            **_SPECIAL,
        },
    )
