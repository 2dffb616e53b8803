"""The adapters of a language side by side: the held-out loss through each, and the differences with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from xmodctl.statistics.resampling import bootstrap
from xmodctl.training.masked_lm.held_out import HeldOutLoss
from xmodctl.training.masked_lm.packed_text import PackedText


@dataclass(frozen=True)
class LossMeasurement:
    """The held-out loss of a text through one adapter, or from piece frequencies alone."""

    label: str  # trained, start, best existing, source, none, frequencies
    adapter: str | None
    held_out: HeldOutLoss
    text: PackedText

    @property
    def nats_per_character(self) -> float:
        """The loss per character of held-out text."""
        return self.held_out.loss * int(self.text.held_out.input_ids.lengths.sum()) / self.text.characters


@dataclass(frozen=True)
class LossComparison:
    """A measurement as a package records it; the fields are the keys of its facts."""

    what: str  # trained, start, best existing, source, none, frequencies (of the pieces, without a model)
    adapter: str | None
    vocabulary: str  # the model's, or the language's own
    loss: float  # nats per predicted token
    perplexity: float
    nats_a_character: float  # roughly comparable between vocabularies: longer pieces are harder to predict
    above: float | None = None  # difference to the trained adapter's loss, if both have the same pieces
    above_low: float | None = None  # its 95% interval, from resampling sequences
    above_high: float | None = None


def compare(trained: LossMeasurement, others: Sequence[LossMeasurement]) -> tuple[LossComparison, ...]:
    """Return all measurements, those over the same pieces with their difference to the trained adapter's."""
    rows = [_row(trained)]
    for measurement in others:
        row = _row(measurement)
        if measurement.text is trained.text:
            held_out = measurement.held_out
            counts = np.stack([held_out.losses - trained.held_out.losses, trained.held_out.tokens], axis=1)
            interval = bootstrap(counts, lambda sums: sums[..., 0] / sums[..., 1])
            difference = held_out.loss - trained.held_out.loss
            row = replace(row, above=difference, above_low=interval.low, above_high=interval.high)
        rows.append(row)
    return tuple(rows)


def _row(measurement: LossMeasurement) -> LossComparison:
    held_out = measurement.held_out
    return LossComparison(
        measurement.label, measurement.adapter, measurement.text.vocabulary, held_out.loss, held_out.perplexity,
        measurement.nats_per_character,
    )  # fmt: skip
