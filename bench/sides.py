"""The two sides: stock transformers as an experienced user runs it, and xmodctl as its commands run it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from xmodctl.catalog.recipe import Recipe
from xmodctl.core.encoded import Encoded
from xmodctl.model import Xmod, find, freeze, freeze_all_but, load
from xmodctl.model.batches import collate
from xmodctl.model.heads import ARCHITECTURES
from xmodctl.model.inference import predict
from xmodctl.model.precision import Precision
from xmodctl.new_language.adapter_initialization import copied_tensors
from xmodctl.training.loop import Training
from xmodctl.training.masked_lm.masked_training import MaskedTraining
from xmodctl.training.masked_lm.masking import Masker
from xmodctl.training.peak_memory import needs_of
from xmodctl.training.world import World

PAD, MASK = 1, 4
BATCH = 32
LABELS = {"sequence": 3, "tokens": 7, "span": 2, "choice": 2}


def stock(folder: Path, head: str, languages: Sequence[str] | None, dtype: torch.dtype, device: str) -> Any:
    """Load a stock model with all languages or the given ones, frozen by its own method."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    config = transformers.AutoConfig.from_pretrained(folder)
    if languages is not None:
        config.languages = list(languages)
    config.num_labels = LABELS[head]
    architecture = getattr(transformers, ARCHITECTURES[head])
    module = architecture.from_pretrained(folder, config=config, dtype=dtype).to(device)
    module.freeze_embeddings_and_language_adapters()
    return module


class StockTraining:
    """Batches of random rows, padded to a fixed width or to their longest; fused AdamW; gradient clipping.

    With `mixed`, weights are fp32, and autocast casts the operands of matrix products to this type.
    """

    def __init__(self, module: Any, rows: Encoded, device: str, mixed: torch.dtype | None = None) -> None:
        self.module, self.rows, self.device, self.mixed = module, rows, device, mixed
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)

    def steps(self, numbers: Sequence[np.ndarray], *, attention: str, width: int | None, language: int) -> None:
        """Take one optimizer step per set of rows."""
        self.module.set_attn_implementation(attention)
        self.module.train()
        for chosen in numbers:
            batch = stock_batch(self.rows, chosen, width, language, self.device)
            with torch.autocast(self.device, self.mixed, enabled=self.mixed is not None):
                loss = self.module(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(
                [parameter for parameter in self.module.parameters() if parameter.requires_grad], 1.0
            )
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)


def stock_batch(
    rows: Encoded, chosen: np.ndarray, width: int | None, language: int, device: str
) -> dict[str, torch.Tensor]:
    """Return a padded batch with language ids; stock multiple choice takes a single id."""
    batch = collate(rows, chosen, pad_id=PAD)
    if width is not None:
        missing = width - batch["input_ids"].shape[-1]
        filler = {"input_ids": PAD, "attention_mask": 0, "labels": -100}
        for name in ("input_ids", "attention_mask", *rows.ragged):
            batch[name] = torch.nn.functional.pad(batch[name], (0, missing), value=filler[name])
    count = 1 if rows.choices else len(chosen)
    batch["lang_ids"] = torch.full((count,), language)
    return {name: tensor.to(device) for name, tensor in batch.items()}


def stock_sweep(module: Any, rows: Encoded, *, width: int | None, language: int, device: str) -> None:
    """Predict rows in the order of the file, as an example script does."""
    module.eval()
    with torch.inference_mode():
        for start in range(0, len(rows), BATCH):
            chosen = np.arange(start, min(start + BATCH, len(rows)))
            batch = stock_batch(rows, chosen, width, language, device)
            batch.pop("labels")
            module(**batch).logits.float().cpu()


def ours(folder: Path, head: str, languages: Sequence[str], device: str) -> Xmod:
    """Load xmodctl's model with the default freezing, as `finetune` does."""
    model = load(find(str(folder)), head, languages, num_labels=LABELS.get(head), device=device)
    model.activate(languages[0])
    freeze(model, "embeddings+adapters")
    return model


def without_padding(model: Xmod) -> Xmod:
    """Let a GPU compute a model's batches without padding, which needs attention without dropout."""
    model.variable_length = True
    model.set_dropout(attention=0.0)
    return model


def our_training(
    model: Xmod,
    rows: Encoded,
    precision: Precision,
    tokens: int = 4096,
    batch: int = BATCH,
    world: World = World(),  # noqa: B008 (frozen)
    *,
    compiled: bool = False,
    seed: int = 0,
) -> Training:
    """Return the training loop of `finetune`, with compiled steps if asked for."""
    recipe = our_recipe(model, tokens, batch).model_copy(update={"compile": compiled})
    return Training(model, rows, np.ones(len(rows)), recipe, seed=seed, precision=precision, pad_id=PAD, world=world)


def our_recipe(model: Xmod, tokens: int = 4096, batch: int = BATCH, **settings: Any) -> Recipe:
    """Return the recipe of measured trainings."""
    return Recipe(
        batch_size=batch,
        learning_rate=1e-5,
        tokens_per_step=tokens,
        variable_length=model.variable_length,
        **settings,
    )


def predicted_memory(model: Xmod, precision: Precision, length: int) -> int:
    """Return the bytes that `finetune --dry-run` predicts for a measured training with texts of `length` tokens."""
    recipe = our_recipe(model, max_length=length)
    needs = needs_of(model, recipe, precision)
    return needs.peak(needs.tokens(recipe))


def our_adding(model: Xmod, rows: Encoded, recipe: Recipe, precision: Precision, pieces: int) -> Training:
    """Return the training loop of `add-language`, which predicts among `pieces` tokens of the vocabulary."""
    language = "zz_ZZ"
    model.put_adapter(language, copied_tensors(model, model.languages[0], language))
    model.use(language)
    model.swap([language])
    freeze_all_but(model, language)
    maskable = np.ones(model.module.config.vocab_size, dtype=np.bool_)
    masker = Masker(mask_id=MASK, maskable=maskable, candidates=np.arange(pieces))
    return MaskedTraining(model, rows, masker, recipe, seed=0, precision=precision, pad_id=PAD)


def our_sweep(model: Xmod, rows: Encoded, language: str, precision: Precision) -> None:
    """Swap a language in and predict, as `eval-transfer` does."""
    model.use(language)
    for _ in predict(model, rows, precision=precision, pad_id=PAD):
        pass


def typical(batches: Sequence[Any], rows: Encoded, count: int, offset: int) -> list[Any]:
    """Return `count` representative batches: evenly spaced in the order of their numbers of tokens."""
    by_size = sorted(batches, key=lambda parts: sum(int(rows.tokens[part].sum()) for part in parts))
    ranks = ((np.arange(count) + 0.5 + 0.13 * (offset % 4)) / count * len(by_size)).astype(int)
    return [by_size[min(rank, len(by_size) - 1)] for rank in ranks]
