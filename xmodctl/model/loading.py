"""Loading a checkpoint with one head and only the adapters in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from xmodctl.core.errors import UserError
from xmodctl.core.memory import enough_memory
from xmodctl.core.visible import one_line
from xmodctl.model.building import build, fill
from xmodctl.model.engine import Xmod
from xmodctl.model.memory import more_memory
from xmodctl.model.modules import routed
from xmodctl.model.source import Source, check_languages
from xmodctl.model.tokenizer import LONGEST_REASON
from xmodctl.model.weights import CheckpointTensors


def load(
    source: Source,
    head: str,
    languages: Sequence[str],
    *,
    num_labels: int | None = None,
    id2label: Mapping[int, str] | None = None,
    problem_type: str | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    seed: int = 0,
) -> Xmod:
    """Load a checkpoint with `head` and the adapters of `languages` only.

    The model is ready to predict: in evaluation mode, with every tensor frozen until `freeze` says what trains, and
    with the language active if there is only one. Head weights that the checkpoint lacks are drawn from `seed`; any
    other missing tensor is an error. Without `num_labels` and `id2label` the checkpoint's own labels are used.
    `problem_type` is how transformers computes the loss of whole texts and what its pipeline makes of their logits;
    without it, the loss is that of a single label.

    Raises:
        UserError: the head or a language does not exist, the weights are incomplete, or there is not enough memory for
        them.
    """
    languages = tuple(dict.fromkeys(languages))
    check_languages(source, languages)
    try:
        module = build(
            source.config, head, languages, num_labels=num_labels, id2label=id2label, problem_type=problem_type
        )
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"{source.folder / 'config.json'} does not describe a model ({one_line(str(error))[:LONGEST_REASON]}); "
            "download the file again"
        ) from error
    checkpoint = CheckpointTensors(source.folder, source.name)
    body = routed(module)
    if head == "none" and "roberta.pooler.dense.weight" not in checkpoint.entries:
        body.pooler = None
    model = Xmod(module, source, head, checkpoint)
    with enough_memory(f"the model {source.name}", more_memory(torch.device(device))):
        model.initialized = fill(module, source, checkpoint, dtype=dtype, seed=seed)
        module.to(device)
    module.eval().requires_grad_(False)
    model.settle_active()
    return model


def read_adapter(source: Source, language: str) -> dict[str, Tensor]:
    """Return a language's adapter of a checkpoint without loading anything else; names as in `Xmod.adapter`.

    Raises:
        UserError: The checkpoint has none.
    """
    check_languages(source, [language])
    checkpoint = CheckpointTensors(source.folder, source.name)
    return Xmod(build(source.config, "none", [language]), source, "none", checkpoint).stored_adapters([language])
