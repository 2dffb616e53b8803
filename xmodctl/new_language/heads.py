"""The masked-language-modelling head of a checkpoint that has none: trained once, everything else frozen, and kept."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from xmodctl.catalog import catalog as library
from xmodctl.catalog.recipe import Recipe
from xmodctl.core.encoded import Encoded
from xmodctl.core.errors import UserError
from xmodctl.core.events import StepTaken
from xmodctl.core.files import cache_folder, whole_file
from xmodctl.core.safetensors_io import DamagedFileError, read_tensors, write_tensors
from xmodctl.model.precision import Precision
from xmodctl.new_language.masked_training import MaskedTraining
from xmodctl.new_language.masking import Masker, held_out

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from xmodctl.model import Xmod

RECIPE = "masked-lm-head"
SEED = 0
MOST_TOKENS = 600_000
"""Tokens a head is trained on at most: it is small, and learns no more from others."""
LEAST_STEPS = 100
"""Steps a head is trained for at least: a short text comes round several times."""
VERSION = 1
"""Of what is kept; another one is trained anew."""


@dataclass(frozen=True)
class HeadTrained:
    """The head is in place."""

    identity: str  # sha256 of what it was made from
    known: bool  # from an earlier command
    steps: int
    before: float  # held-out loss, nats a predicted token
    after: float
    seconds: float


@dataclass(frozen=True)
class HeadStep:
    """One step of a head's training was taken."""

    step: StepTaken


@dataclass(frozen=True)
class HeadText:
    """What a head is trained and measured on, packed as its recipe says."""

    training: Encoded
    held_out: Encoded
    fingerprint: str


def recipe(tokenizer: "PreTrainedTokenizerBase") -> Recipe:
    """Return how heads are trained, on sequences no longer than the model takes."""
    found = library.recipe(RECIPE)
    return found.model_copy(update={"max_length": min(found.max_length, tokenizer.model_max_length)})


def head(
    model: "Xmod",
    through: str | None,
    text: HeadText,
    tokenizer: "PreTrainedTokenizerBase",
    base: str,
    *,
    precision: Precision,
) -> Iterator[HeadStep | HeadTrained]:
    """Put a head on a model that was loaded without one, training it if it is not kept already.

    The decoder is tied to the word embeddings and, like everything else, frozen; the head's dense layer, its LayerNorm
    and the bias train. The same base, text and recipe give the same head.

    Args:
        model: Loaded for masked-language modelling; its head was drawn.
        through: The adapter that the text goes through; None for none.
        text: What to train on.
        tokenizer: The checkpoint's.
        base: Sha256 of every tensor of the checkpoint that the text goes through.
        precision: What matrix products are computed in.
    """
    assert model.initialised, "the checkpoint has a head"
    started, how = perf_counter(), recipe(tokenizer)
    epochs = max(how.epochs, LEAST_STEPS * how.batch_size / len(text.training))
    how = how.model_copy(update={"epochs": epochs})
    parts = {
        "version": VERSION, "base": base, "text": text.fingerprint, "precision": precision,
        "recipe": how.model_dump(mode="json", exclude={"name", "title", "source"}), "seed": SEED, "most": MOST_TOKENS,
    }  # fmt: skip
    identity = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    path = cache_folder() / "heads" / f"{identity}.safetensors"
    if (kept := _read(path, model)) is not None:
        tensors, facts = kept
        _put(model, tensors)
        yield HeadTrained(identity, True, int(facts["steps"]), float(facts["before"]), float(facts["after"]), 0.0)
        return
    model.use(through)
    model.set_dropout(hidden=how.dropout, attention=how.attention_dropout)
    masker = Masker.of(tokenizer, text.training, text.held_out)
    pad = tokenizer.pad_token_id

    def loss() -> float:
        return held_out(model, text.held_out, masker, precision=precision, pad_id=pad).loss

    before = loss()
    names = set(model.initialised)
    for name, parameter in model.module.named_parameters():
        parameter.requires_grad_(name in names)
    training = MaskedTraining(model, text.training, masker, how, seed=SEED, precision=precision, pad_id=pad)
    for step in training:
        yield HeadStep(step)
    tensors = {name: tensor.cpu() for name, tensor in training.trained().items()}
    model.module.requires_grad_(False)
    after = loss()
    _keep(path, tensors, {"steps": str(training.step), "before": str(before), "after": str(after)})
    _put(model, tensors)
    yield HeadTrained(identity, False, training.step, before, after, perf_counter() - started)


def drawn(model: "Xmod") -> "dict[str, Tensor]":
    """Return the head as it was drawn; nothing, if the checkpoint has one."""
    own = dict(model.module.named_parameters())
    return {name: own[name].detach().clone() for name in model.initialised}


def put_drawn(model: "Xmod", tensors: "Mapping[str, Tensor]") -> None:
    """Put a head back as it was drawn, to be trained."""
    _put(model, tensors)
    model.initialised = tuple(tensors)


def _put(model: "Xmod", tensors: "Mapping[str, Tensor]") -> None:
    """Give the model its head; from here on it is a checkpoint that has one."""
    import torch

    own = dict(model.module.named_parameters())
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)
    model.initialised = ()


def _read(path: Path, model: "Xmod") -> "tuple[dict[str, Tensor], dict[str, str]] | None":
    """Return a kept head and its facts; None if there is none or it is damaged."""
    try:
        tensors, facts = read_tensors(path)
    except (FileNotFoundError, DamagedFileError):
        return None
    return (tensors, facts) if tensors.keys() == set(model.initialised) else None


def _keep(path: Path, tensors: "dict[str, Tensor]", facts: dict[str, str]) -> None:
    try:
        with whole_file(path) as part:
            write_tensors(part, tensors, facts)
    except OSError as error:
        raise UserError(
            f"cannot keep the head in {path}: {error.strerror}; choose another cache with XMODCTL_CACHE"
        ) from error
