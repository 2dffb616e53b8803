"""A small X-MOD with random weights whose tokenizer knows the texts that it reads: commands with it take seconds."""

import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

LANGUAGES = ("en_XX", "de_DE", "sw_KE", "ur_PK", "fr_XX", "hi_IN", "ar_AR", "tr_TR")
"""More than reach the second round of `add-language`'s ranking of adapters."""

PIECES = 400
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")


def write_small_model(folder: Path, texts: Iterable[str], **changes: Any) -> Path:
    """Write a model of two layers; return its folder.

    Args:
        folder: The folder to write.
        texts: What the tokenizer is trained on.
        changes: Values of the configuration, such as `hidden_size`.
    """
    import torch
    from transformers import XmodConfig, XmodModel

    size = _write_tokenizer(folder, texts)
    torch.manual_seed(0)
    config: dict[str, Any] = {
        "vocab_size": size, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 130, "type_vocab_size": 1, "layer_norm_eps": 1e-5,
        "adapter_reduction_factor": 2, "languages": list(LANGUAGES), "pad_token_id": 1, "bos_token_id": 0,
        "eos_token_id": 2,
    }  # fmt: skip
    model = XmodModel(XmodConfig(**{**config, **changes}), add_pooling_layer=False)
    with torch.no_grad():  # adapters and words that differ
        for name, parameter in model.named_parameters():
            if "adapter_modules" in name or "word_embeddings" in name:
                parameter.normal_(std=0.3)
    model.save_pretrained(folder)
    return folder


def _write_tokenizer(folder: Path, texts: Iterable[str]) -> int:
    """Write a Unigram tokenizer like XLM-R's, and return the number of its pieces."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    texts = [unicodedata.normalize("NFKC", text) for text in texts]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    alphabet = sorted(set("".join(texts)) - {" ", "\n"})
    trainer = trainers.UnigramTrainer(
        vocab_size=len(alphabet) + PIECES, special_tokens=[*SPECIAL, "<mask>"], unk_token="<unk>",
        initial_alphabet=alphabet, show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
        pad_token="<pad>", unk_token="<unk>", mask_token="<mask>", model_max_length=128,
    ).save_pretrained(folder)  # fmt: skip
    return int(tokenizer.get_vocab_size())
