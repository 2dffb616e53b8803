"""What a model makes of encoded rows: the logits of its head, or the vectors of both texts of a pair."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from xmodctl.adapters.attaching import available_languages
from xmodctl.core.encoded import Encoded
from xmodctl.data import Rows
from xmodctl.data.encoding import encode
from xmodctl.kinds import KINDS, Kind
from xmodctl.kinds.sentence_pairs import SIDE
from xmodctl.languages import resolve
from xmodctl.model.inference import logits_of
from xmodctl.model.precision import Precision
from xmodctl.run.plan import Plan

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xmodctl.adapters.mixtures import Attached
    from xmodctl.model import Source, Xmod


def encodings_of(
    kind: Kind,
    rows: Rows,
    plan: Plan,
    tokenizers: "Mapping[str | None, PreTrainedTokenizerBase]",
    adapters: Collection[str | None],
) -> dict[str | None, Encoded]:
    """Return the encoding of rows for each adapter: with the adapter's own tokenizer if it has one."""
    prefix = plan.vectors.prefix if plan.vectors else ""
    encodings: dict[str | None, Encoded] = {}
    for own in {adapter if adapter in tokenizers else None for adapter in adapters}:
        encodings[own] = encode(kind, rows, tokenizers[own], plan.recipe, prefix=prefix)
    return {adapter: encodings[adapter if adapter in tokenizers else None] for adapter in adapters}


def pair_adapter(plan: Plan, code: str, source: "Source", packages: "Sequence[Attached]") -> str | None:
    """Return the adapter of `text_pair` in the data of a language, or None if it is that of `text`."""
    if language := plan.task.pair_languages.get(code):
        languages = available_languages(source, packages)
        return resolve(language, languages, model=source.name, open_languages=source.open_languages).adapter
    return plan.source_languages[0] if KINDS[plan.task.kind].pair_in_source else None


def outputs_of(
    model: "Xmod",
    encodings: Mapping[str | None, Encoded],
    adapters: tuple[str | None, str | None],
    plan: Plan,
    *,
    precision: Precision,
    pad_id: int,
    on_batch: Callable[[int], None],
) -> list[np.ndarray]:
    """Return the logits of each unit, or its vector if the run scores vectors; the first adapter is active then.

    Args:
        model: The model.
        encodings: The encoding for each adapter.
        adapters: The adapters of a row, or of `text` and `text_pair`.
        plan: The plan of the run.
        precision: The precision of matrix products.
        pad_id: The id of the padding token.
        on_batch: Called after each batch with the number of its units.
    """
    adapter, pair_adapter = adapters
    if plan.vectors is None:
        model.use(adapter)
        return logits_of(model, encodings[adapter], precision=precision, pad_id=pad_id, on_batch=on_batch)
    from xmodctl.model.embedding import Pooling, vectors_of

    pooling = Pooling(plan.vectors.pooling, plan.vectors.layer)
    outputs: dict[int, np.ndarray] = {}
    for side, language in ((1, pair_adapter), (0, adapter)):
        model.use(language)
        encoded = encodings[language]
        units = np.flatnonzero(encoded.scalars[SIDE] == side)
        vectors = vectors_of(
            model, encoded, pooling, precision=precision, pad_id=pad_id, on_batch=on_batch, chosen=units
        )
        outputs |= dict(zip(units.tolist(), vectors, strict=True))
    return [outputs[unit] for unit in range(len(outputs))]
