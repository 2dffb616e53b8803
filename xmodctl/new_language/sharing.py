"""The training of adapters in several processes: the first one reads text, ranks, measures, and writes.

It sends the others what their steps need: the packed text, its masker, and the head. So they read no text, and a text
may come from standard input.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from xmodctl.core.encoded import Encoded, Ragged
from xmodctl.core.signals import stop_signals
from xmodctl.model.inference import best_device
from xmodctl.new_language.plan import LanguagePlan
from xmodctl.training.masked_lm.heads import put_head
from xmodctl.training.masked_lm.masked_training import MaskedTraining
from xmodctl.training.masked_lm.masking import Masker
from xmodctl.training.world import World

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from xmodctl.model import Source, Xmod


@dataclass(frozen=True)
class SharedLanguage:
    """What the steps of a language's trainings need."""

    language: str
    epochs: float  # of the language's recipe; the rest of it is the plan's
    text: Encoded
    masker: Masker
    pad_id: int
    pieces: int | None  # of the language's own vocabulary; None: it uses the model's
    head: "Mapping[str, NDArray[Any]]"  # empty if the checkpoint has one
    width: int | None  # units of the new adapter's bottleneck; None: as many as the model's have

    def send(self, world: World) -> None:
        """Let the other processes prepare for the language."""
        masker, ids = self.masker, self.text.input_ids
        head = {
            "language": self.language, "epochs": self.epochs, "mask_id": masker.mask_id, "pad_id": self.pad_id,
            "pieces": self.pieces, "head": list(self.head), "width": self.width,
        }  # fmt: skip
        world.message(head, [ids.values, ids.bounds, masker.maskable, masker.candidates, *self.head.values()])

    @classmethod
    def received(cls, message: "Mapping[str, Any]", arrays: "Sequence[NDArray[Any]]") -> Self:
        """Return what the first process sent."""
        values, bounds, maskable, candidates, *head = arrays
        return cls(
            message["language"],
            message["epochs"],
            Encoded(Ragged(values, bounds), np.arange(len(bounds) - 1)),
            Masker(message["mask_id"], maskable, candidates),
            message["pad_id"],
            message["pieces"],
            dict(zip(message["head"], head, strict=True)),
            message["width"],
        )


def start_loading(world: World) -> None:
    """Let the other processes load the model, at the same time as this one."""
    world.from_first({"load": True})


def start_seed(world: World, seed: int) -> None:
    """Let the other processes train the language's adapter with a seed."""
    world.from_first({"seed": seed})


def end(world: World) -> None:
    """Let the other processes end."""
    world.from_first({"end": True})


def follow(plan: LanguagePlan, source: "Source", world: World) -> None:
    """Take the steps that the first process takes, and write nothing.

    Raises:
        Interrupted: One of the processes was asked to stop.
        LostProcessError: Another process has ended.
    """
    model: Xmod | None = None
    shared: SharedLanguage | None = None
    with stop_signals(), world.agreed_stops():
        while "end" not in (received := world.message(None))[0]:
            message, arrays = received
            if "load" in message:
                from xmodctl.model import load

                model = load(source, "masked-lm", source.languages[:1], device=best_device())
                continue
            assert model is not None, "the first process lets the others load the model first"
            if "language" in message:
                if shared:
                    unload(model, shared.language)
                shared = SharedLanguage.received(message, arrays)
                _prepare(model, shared, plan)
            else:
                assert shared is not None, "a seed belongs to a language"
                _take_steps(model, shared, plan, message["seed"], world)


def place_adapter(
    model: "Xmod", language: str, tensors: "Mapping[str, Tensor]", own_embeddings: "tuple[Tensor, Tensor | None] | None"
) -> int:
    """Make an adapter the only one in memory and the only part that trains; return its parameters.

    Args:
        model: The model.
        language: The new language.
        tensors: The adapter's initial values.
        own_embeddings: Those of the language's own vocabulary, and the head's bias; None: it uses the model's.
    """
    from xmodctl.model import freeze_all_but

    model.put_adapter(language, tensors)
    model.use(language)
    model.swap([language])
    if own_embeddings:
        model.put_embeddings(language, *own_embeddings)
    return freeze_all_but(model, language)


def unload(model: "Xmod", language: str) -> None:
    """Remove a finished adapter from memory, so that memory is that of one language."""
    if others := [other for other in model.source.languages if other != language]:
        model.swap(others[:1])
        model.forget(language)


def _prepare(model: "Xmod", shared: SharedLanguage, plan: LanguagePlan) -> None:
    """Give the model the head and the dropout of the first process's."""
    import torch

    put_head(model, {name: torch.from_numpy(values.copy()) for name, values in shared.head.items()})
    model.set_dropout(hidden=plan.recipe.dropout, attention=plan.recipe.attention_dropout)
    model.variable_length = plan.recipe.variable_length


def _take_steps(model: "Xmod", shared: SharedLanguage, plan: LanguagePlan, seed: int, world: World) -> None:
    """Train an adapter from the values and the step of the first process."""
    import torch

    from xmodctl.model.building import adapter_shapes

    shapes = adapter_shapes(shared.language, model.module.config, shared.width)
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    words = None if shared.pieces is None else torch.zeros(shared.pieces, model.module.config.hidden_size)
    place_adapter(model, shared.language, tensors, None if words is None else (words, None))
    training = MaskedTraining(
        model, shared.text, shared.masker, plan.recipe.model_copy(update={"epochs": shared.epochs}),
        seed=seed, precision=plan.precision, pad_id=shared.pad_id, world=world,
    )  # fmt: skip
    training.spread()
    for batch in training.remaining():
        training.take(batch)
