"""The model of a sweep, its tokenizers, and its precision: each is made when it is first needed."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from xmodctl.adapters.attaching import load_tokenizers
from xmodctl.core.encoded import Encoded
from xmodctl.evaluation.outputs import joined, works_of
from xmodctl.evaluation.sharing import Processes
from xmodctl.languages import Target
from xmodctl.model.precision import Precision, resolve_precision
from xmodctl.run.run import Run
from xmodctl.run.trained import Trained

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xmodctl.adapters.mixtures import Attached
    from xmodctl.model import Source


class SweepModel:
    """The models of a run's seeds, one of which is in memory.

    Args:
        run: The run.
        source: Its base model.
        packages: Adapters of languages that the base model lacks.
        precision: auto, fp32, tf32, bf16, or fp16; a device that lacks it is refused at once.
        processes: Those that compute its outputs.
    """

    def __init__(
        self, run: Run, source: "Source", packages: "Sequence[Attached]", precision: str, processes: Processes
    ) -> None:
        self.processes = processes
        self.run, self.source, self.packages, self.requested = run, source, tuple(packages), precision
        self.trained: Trained | None = None
        if precision not in ("auto", "fp32"):
            self.precision  # noqa: B018 (the others are resolved when the model is loaded)

    @cached_property
    def precision(self) -> Precision:
        """What matrix products are computed in."""
        return resolve_precision(self.requested)

    @cached_property
    def tokenizers(self) -> "Mapping[str | None, PreTrainedTokenizerBase]":
        """The base model's tokenizer under None, and those of packages under their language."""
        return load_tokenizers(self.source, self.packages)

    @property
    def pad_id(self) -> int:
        """The number of the padding token."""
        return int(self.tokenizers[None].pad_token_id)

    def is_loaded(self, seed: int) -> bool:
        """Return whether the model of a seed is in memory."""
        return self.trained is not None and self.trained.seed == seed

    def load(self, seed: int, target: Target) -> Trained:
        """Return the model of a seed; that of the last seed is in memory."""
        if self.trained is None or self.trained.seed != seed:
            self.trained = None
            self.processes.load(self.run, seed, target.adapter, self.packages, self.precision)
            self.trained = Trained.load(self.run, self.source, seed, target.adapter, packages=self.packages)
            self.trained.model.store_for_scoring(self.precision)
        return self.trained

    def outputs(
        self,
        encodings: Mapping[str | None, Encoded],
        adapters: tuple[str | None, str | None],
        on_batch: Callable[[int], None],
    ) -> list[np.ndarray]:
        """Return the logits of each unit, or its vector if the run scores vectors; the first adapter is active then.

        Args:
            encodings: The encoding for each adapter.
            adapters: The adapters of a row, or of `text` and `text_pair`.
            on_batch: Called after each batch with the number of its units.
        """
        assert self.trained is not None
        works = works_of(encodings, adapters, self.run.plan, pad_id=self.pad_id)
        return joined(self.processes.compute(self.trained.model, works, self.precision, on_batch=on_batch))
