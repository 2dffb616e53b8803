"""Writing a model as a plain folder that transformers loads without xmodctl."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from xmodctl.core.errors import UserError
from xmodctl.core.files import disk_errors, whole_folder, write_json
from xmodctl.core.safetensors_io import Entry, dtype_of, entry_of, write_stream
from xmodctl.model import weights
from xmodctl.model.building import adapter_name, adapter_shapes, bottleneck
from xmodctl.model.engine import Xmod
from xmodctl.model.folding import widen
from xmodctl.model.heads import ARCHITECTURES
from xmodctl.model.source import TRAINED_ADAPTERS, Source

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def export(
    model: Xmod,
    tokenizer: PreTrainedTokenizerBase | None,
    folder: Path,
    languages: Sequence[str],
    finish: Callable[[Path], None] | None = None,
) -> None:
    """Write `folder` from scratch: config.json, model.safetensors with the adapters of `languages`, and the tokenizer.

    Languages that are not in memory come from the checkpoint, one tensor at a time. A folder of one language names it
    as the default; with several, stock X-MOD asks for `lang_ids`, because a default would be silently wrong for all
    others. A language with a vocabulary of its own is written alone, with its own embeddings; `tokenizer` is its own.
    All adapters of a stock model are equally wide, so beside a mixture the others get units that add nothing.

    A folder that holds files already must hold the same ones. `finish` adds files before the folder appears.

    Raises:
        UserError: such a language is among others, a mixture is too wide, or the folder cannot be written.
    """
    languages = tuple(dict.fromkeys(languages))
    if not languages:
        raise UserError("an exported model needs at least one language")
    own = [language for language in languages if language in model.own_vocabularies]
    if own and len(languages) > 1:
        raise UserError(
            f"{own[0]} has its own vocabulary, and a transformers folder contains one vocabulary: "
            f"export {own[0]} alone with --langs {own[0]}, and the others without it"
        )
    before = model.vocabulary
    model.use_vocabulary(languages[0])
    try:
        _write(model, tokenizer, folder, languages, finish)
    finally:
        model.use_vocabulary(before)


def merge(
    source: Source,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    adapters: Mapping[str, Mapping[str, Tensor]],
) -> tuple[str, ...]:
    """Write `folder` as a copy of a checkpoint with more languages, and return all that it has.

    Every tensor that was there is copied as it is, but for the adapter of a language that `adapters` names too. New
    languages come last, by name, so that it does not matter in which order they are given.

    Args:
        source: the checkpoint.
        tokenizer: its tokenizer.
        folder: where the copy goes; it appears whole or not at all.
        adapters: of each language the tensors, under their stock names.

    Raises:
        UserError: the folder cannot be written.
    """
    checkpoint = weights.CheckpointTensors(source.folder, source.name)
    dtype = checkpoint.entries["roberta.embeddings.word_embeddings.weight"].dtype
    adapter_tensors = {name: tensor for language in sorted(adapters) for name, tensor in adapters[language].items()}
    base_entries = {name: entry for name, entry in checkpoint.entries.items() if name not in adapter_tensors}
    entries = base_entries | {name: Entry(dtype, tuple(tensor.shape)) for name, tensor in adapter_tensors.items()}

    def values() -> Iterator[Tensor]:
        yield from checkpoint.stream(base_entries)
        for tensor in adapter_tensors.values():
            yield tensor.to(dtype_of(dtype))

    languages = tuple(dict.fromkeys([*source.languages, *sorted(adapters)]))
    config = source.config | {"languages": list(languages)}
    if source.open_languages:
        config[TRAINED_ADAPTERS] = sorted({*languages} - (source.placeholders - adapters.keys()))
    with disk_errors(folder), whole_folder(folder, keep=True) as part:
        write_json(part / "config.json", config)
        write_stream(part / "model.safetensors", entries, values())
        tokenizer.save_pretrained(part)
    return languages


def _write(
    model: Xmod,
    tokenizer: PreTrainedTokenizerBase | None,
    folder: Path,
    languages: Sequence[str],
    finish: Callable[[Path], None] | None,
) -> None:
    factor = _reduction_factor(model, languages)
    entries, tensors = _tensors(model, languages, model.module.config.hidden_size // factor)
    with disk_errors(folder), whole_folder(folder, keep=True) as part:
        write_json(part / "config.json", _config(model, languages) | {"adapter_reduction_factor": factor})
        write_stream(part / "model.safetensors", entries, tensors)
        if tokenizer is not None:
            # The model is trained on and reads token types of 0 only, which it assumes where there are none.
            tokenizer.model_input_names = ["input_ids", "attention_mask"]
            tokenizer.save_pretrained(part)
        if finish is not None:
            finish(part)


def _reduction_factor(model: Xmod, languages: Sequence[str]) -> int:
    """Return the factor by which a stock model's adapters are narrower than its hidden states, with room for all.

    Raises:
        UserError: a mixture is wider than hidden states are.
    """
    hidden, usual = int(model.module.config.hidden_size), bottleneck(model.module.config)
    widths = {
        language: model.adapter_shapes(language)[adapter_name(0, language, "dense1.bias")][0] for language in languages
    }
    widest = max(widths, key=widths.__getitem__)
    if widths[widest] == usual:
        return int(model.module.config.adapter_reduction_factor)
    if widths[widest] > hidden:
        raise UserError(
            f"{widest} is as wide as {widths[widest] // usual} adapters, and a transformers folder of "
            f"{model.source.name} has room for {hidden // usual}: mix fewer adapters, or use it with `xmodctl predict`"
        )
    return hidden // widths[widest]


def _tensors(model: Xmod, languages: Sequence[str], width: int) -> tuple[dict[str, Entry], Iterator[Tensor]]:
    shared = {name: parameter for name, parameter in model.module.named_parameters() if ".adapter_modules." not in name}
    entries = {name: entry_of(parameter) for name, parameter in shared.items()}
    dtype = next(iter(shared.values())).dtype
    for language in languages:
        for name, shape in adapter_shapes(language, model.module.config, width).items():
            entries[model.local_name(name)] = Entry(entry_of(torch.empty(0, dtype=dtype)).dtype, shape)

    def values() -> Iterator[Tensor]:
        yield from shared.values()
        for language in languages:
            adapter = widen(model.adapter(language), language, width)
            for name in model.adapter_shapes(language):
                yield adapter[name].to(dtype)

    return entries, values()


def _config(model: Xmod, languages: Sequence[str]) -> dict[str, object]:
    config: dict[str, object] = model.module.config.to_dict()
    config["architectures"] = [ARCHITECTURES[model.head]]
    config["languages"] = list(languages)
    config["default_language"] = languages[0] if len(languages) == 1 else None
    config["dtype"] = str(next(model.module.parameters()).dtype).removeprefix("torch.")
    if model.changed_adapters:
        # An omitted language would come back as an identity that its trained adapter no longer is.
        config.pop("identity_adapters", None)
    return config
