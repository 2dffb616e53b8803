"""The masked-language-modeling head of a checkpoint that has none: trained once with all else frozen, then cached."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from xmodctl.catalog import catalog
from xmodctl.catalog.recipe import DESCRIBING, Recipe
from xmodctl.core.encoded import Encoded
from xmodctl.core.events import HeadStep, HeadTrained, Listener, Notice
from xmodctl.core.files import cache_folder, whole_file
from xmodctl.core.locks import caching
from xmodctl.core.safetensors_io import DamagedFileError, read_metadata, read_tensors, write_tensors
from xmodctl.model.precision import Precision
from xmodctl.training.masked_lm.held_out import measure_held_out
from xmodctl.training.masked_lm.masked_training import MaskedTraining
from xmodctl.training.masked_lm.masking import Masker

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from xmodctl.model import Xmod

RECIPE = "masked-lm-head"
SEED = 0
MAX_TOKENS = 600_000
"""Tokens that a head is trained on at most: it is small, and learns nothing more from others."""
MIN_STEPS = 100
"""Steps that a head is trained for at least: a short text is repeated."""
FORMAT = "xmodctl-head-2"
"""Of the cached file, which is sealed; older files name no format and have no sha256."""
VERSION = 1
"""Of the cached file; a head of another version is trained again."""


@dataclass(frozen=True)
class HeadText:
    """Text that a head is trained and measured on, packed as its recipe says."""

    training: Encoded
    held_out: Encoded
    fingerprint: str


def head_recipe(tokenizer: "PreTrainedTokenizerBase") -> Recipe:
    """Return the recipe for heads, with sequences no longer than the model takes."""
    recipe = catalog.recipe(RECIPE)
    return recipe.model_copy(update={"max_length": min(recipe.max_length, tokenizer.model_max_length)})


@dataclass(frozen=True)
class HeadTraining:
    """The training of a head on one text, through one adapter.

    The decoder is tied to the word embeddings and, like everything else, frozen; the head's dense layer, its LayerNorm
    and the bias train. The same base, text and recipe give the same head.

    Args:
        model: Loaded for masked-language modeling, with an untrained head.
        through: The adapter that the text goes through; None for no adapter.
        text: What to train on.
        tokenizer: The checkpoint's.
        base: Sha256 of all tensors of the checkpoint that the text goes through.
        precision: What matrix products are computed in.
    """

    model: "Xmod"
    through: str | None
    text: HeadText
    tokenizer: "PreTrainedTokenizerBase"
    base: str
    precision: Precision

    def run(self, listen: Listener) -> HeadTrained:
        """Put the cached head into the model, or train one and cache it.

        Args:
            listen: Is called with each step.

        Raises:
            Interrupted: The user asked to stop. Heads have no checkpoints: their training starts over.
        """
        assert self.model.initialized, "the checkpoint has a head"
        with caching(self.path):  # other processes wait for the head, and read it
            return self.read(listen) or self.trained(listen)

    def trained(self, listen: Listener) -> HeadTrained:
        """Train a head, put it into the model, and cache it."""
        started = perf_counter()
        masker = Masker.of(self.tokenizer, self.text.training, self.text.held_out)
        self.model.use(self.through)
        self.model.set_dropout(hidden=self.recipe.dropout, attention=self.recipe.attention_dropout)
        before = self.held_out_loss(masker)
        training = self.train(masker, listen)
        tensors = {name: tensor.cpu() for name, tensor in training.trained().items()}
        self.model.module.requires_grad_(False)
        after = self.held_out_loss(masker)
        facts = {"format": FORMAT, "steps": str(training.step), "before": str(before), "after": str(after)}
        self.write(tensors, facts, listen)
        put_head(self.model, tensors)
        return HeadTrained(self.identity, False, training.step, before, after, perf_counter() - started)

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe, with so many epochs that even a short text takes `MIN_STEPS` steps."""
        recipe = head_recipe(self.tokenizer)
        epochs = max(recipe.epochs, MIN_STEPS * recipe.batch_size / len(self.text.training))
        return recipe.model_copy(update={"epochs": epochs})

    @cached_property
    def identity(self) -> str:
        """The sha256 of everything that the head depends on."""
        parts = {
            "version": VERSION, "base": self.base, "text": self.text.fingerprint, "precision": self.precision,
            "recipe": self.recipe.model_dump(mode="json", exclude=set(DESCRIBING)), "seed": SEED,
            "most": MAX_TOKENS,
        }  # fmt: skip
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def path(self) -> Path:
        """The cached file."""
        return cache_folder() / "heads" / f"{self.identity}.safetensors"

    def train(self, masker: Masker, listen: Listener) -> MaskedTraining:
        """Train the head with everything else frozen."""
        model, untrained = self.model, set(self.model.initialized)
        for name, parameter in model.module.named_parameters():
            parameter.requires_grad_(name in untrained)
        training = MaskedTraining(
            model, self.text.training, masker, self.recipe,
            seed=SEED, precision=self.precision, pad_id=self.tokenizer.pad_token_id,
        )  # fmt: skip
        for step in training:
            listen(HeadStep(step))
        return training

    def held_out_loss(self, masker: Masker) -> float:
        """Return the loss of the held-out text, in nats per predicted token."""
        pad_id = self.tokenizer.pad_token_id
        text = self.text.held_out
        return measure_held_out(self.model, text, masker, precision=self.precision, pad_id=pad_id).loss

    def read(self, listen: Listener) -> HeadTrained | None:
        """Put the cached head into the model; None if there is none, or if it is damaged, which is said."""
        try:
            sealed = "format" in read_metadata(self.path)
            tensors, facts = read_tensors(self.path, sealed=sealed)
            steps, before, after = int(facts["steps"]), float(facts["before"]), float(facts["after"])
        except FileNotFoundError:
            return None
        except (DamagedFileError, OSError, KeyError, ValueError):
            listen(Notice(f"the cached head {self.path} is damaged; it is trained again", caution=True))
            return None
        if tensors.keys() != set(self.model.initialized):
            return None
        put_head(self.model, tensors)
        return HeadTrained(self.identity, True, steps, before, after, 0.0)

    def write(self, tensors: "Mapping[str, Tensor]", facts: Mapping[str, str], listen: Listener) -> None:
        """Cache the head; if the cache cannot be written, say so."""
        try:
            with whole_file(self.path) as part:
                write_tensors(part, tensors, facts, sealed=True)
        except OSError as error:
            text = f"the head is not cached in {self.path.parent} ({error.strerror or error}); it may be trained again"
            listen(Notice(text, caution=True))


def initial_head(model: "Xmod") -> "dict[str, Tensor]":
    """Return the initial values of the head that a model was loaded with; none if the checkpoint has a head."""
    parameters = dict(model.module.named_parameters())
    return {name: parameters[name].detach().clone() for name in model.initialized}


def reset_head(model: "Xmod", tensors: "Mapping[str, Tensor]") -> None:
    """Put the head back to its initial values, to be trained again."""
    put_head(model, tensors)
    model.initialized = tuple(tensors)


def put_head(model: "Xmod", tensors: "Mapping[str, Tensor]") -> None:
    """Give the model a head, named as its parameters; from here on it counts as one that its checkpoint has."""
    import torch

    parameters = dict(model.module.named_parameters())
    with torch.no_grad():
        for name, tensor in tensors.items():
            parameters[name].copy_(tensor)
    model.initialized = ()
