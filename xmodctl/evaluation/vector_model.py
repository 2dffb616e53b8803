"""The model whose hidden states become vectors: a base model, or the body that a run trained; without a head."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.adapters.attaching import attach
from xmodctl.model.sentence_folders import stored_settings
from xmodctl.run.deltas import body_tensors, load_delta
from xmodctl.run.loading import chosen_seed, find_base, find_run
from xmodctl.run.plan import Vectors

if TYPE_CHECKING:
    from xmodctl.adapters.mixtures import Attached
    from xmodctl.model import Source, Xmod
    from xmodctl.run.run import Run


@dataclass(frozen=True)
class VectorModel:
    """A model that is found, and how its hidden states become vectors."""

    label: str  # the base model, or the folder of the run
    name: str  # the base model
    source: "Source"
    settings: Vectors
    run: "Run | None" = None
    seed: int = 0

    def load(self, adapter: str, packages: "Sequence[Attached]", *, device: str | None = None) -> "Xmod":
        """Load it with one language and packages."""
        from xmodctl.model import apply_delta, load
        from xmodctl.model.inference import best_device

        added = {package.language for package in packages}
        first = self.source.languages[0] if adapter in added else adapter
        model = load(self.source, "none", [first], device=device or best_device())
        if self.run is not None:
            remedy = self.run.retraining(self.seed)
            tensors, _ = load_delta(self.run.delta(self.seed), self.source, remedy=remedy)
            apply_delta(model, body_tensors(tensors))
        for package in packages:
            attach(model, package)
        if adapter not in model.languages:
            model.swap([adapter])
        return model


def find_vector_model(
    model: str | Path | None,
    run: "Run | str | Path | None",
    seed: int | None,
    *,
    pooling: str | None = None,
    layer: int | None = None,
    prefix: str | None = None,
) -> VectorModel:
    """Find a model, and settle how its hidden states become vectors: as is said, or else as the model's files say.

    Args:
        model: A base model, or None.
        run: A run, or None; its own settings are used if it scores vectors.
        seed: The seed of the run; None is its first.
        pooling: `mean` or `cls`.
        layer: The layer.
        prefix: What is put in front of each text.

    Raises:
        UserError: There is no such model, run, seed, or layer.
    """
    from xmodctl.model import find
    from xmodctl.model.embedding import check_layer

    chosen = None if run is None else find_run(run)
    number = 0 if chosen is None else chosen_seed(chosen, seed)
    source = find(str(model)) if chosen is None else find_base(chosen)
    own = chosen.plan.vectors if chosen is not None else None
    if own is None:
        stored = stored_settings(source, pooling=pooling, prefix=prefix)
        own = Vectors(stored.pooling, None, stored.prefix)
    settings = Vectors(
        own.pooling if pooling is None else pooling,
        own.layer if layer is None else layer,
        own.prefix if prefix is None else prefix,
    )
    check_layer(settings.layer, source)
    if chosen is None:
        return VectorModel(source.name, source.name, source, settings)
    return VectorModel(str(chosen.folder), chosen.plan.model, source, settings, chosen, number)
