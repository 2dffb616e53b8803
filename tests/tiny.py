"""A small X-MOD with random weights, and its tokenizer."""

from pathlib import Path

LANGUAGES = ("en_XX", "de_DE", "fr_XX", "sw_KE", "zh_CN", "zh_TW")
WORDS = ("the", "a", "cat", "dog", "sleeps", "runs", "red", "blue", "not", "never", "katze", "chat", "paka")


def build_tiny_model(folder: Path) -> Path:
    """Write a two-layer X-MOD with random weights, six languages and a tokenizer of its own; return its folder."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast, XmodConfig, XmodModel

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
        pad_token="<pad>", unk_token="<unk>", mask_token="<mask>", model_max_length=64,
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(0)
    config = XmodConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=66, type_vocab_size=1, layer_norm_eps=1e-5, adapter_reduction_factor=2,
        languages=list(LANGUAGES), pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    model = XmodModel(config, add_pooling_layer=False)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight.normal_(
            std=1.0
        )  # words that differ, so that a few steps teach something
    model.save_pretrained(folder)
    return folder
