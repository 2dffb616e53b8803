"""What a model makes of encoded rows: the logits of its head, or the vectors of both texts of a pair."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from xmodctl.adapters.attaching import available_languages
from xmodctl.core.encoded import Encoded
from xmodctl.data import Rows
from xmodctl.data.encoding import encode
from xmodctl.evaluation.sharing import Work
from xmodctl.kinds import KINDS, Kind
from xmodctl.kinds.sentence_pairs import SIDE
from xmodctl.languages import resolve
from xmodctl.run.plan import Plan

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xmodctl.adapters.mixtures import Attached
    from xmodctl.model import Source


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


def works_of(
    encodings: Mapping[str | None, Encoded], adapters: tuple[str | None, str | None], plan: Plan, *, pad_id: int
) -> list[Work]:
    """Return what computes the logits of each unit, or its vector if the run scores vectors.

    Args:
        encodings: The encoding for each adapter.
        adapters: The adapters of a row, or of `text` and `text_pair`; that of the last work is the first of them.
        plan: The plan of the run.
        pad_id: The id of the padding token.
    """
    adapter, pair_adapter = adapters
    if plan.vectors is None:
        return [Work(encodings[adapter], adapter, pad_id)]
    from xmodctl.model.embedding import Pooling

    pooling = Pooling(plan.vectors.pooling, plan.vectors.layer)
    return [
        Work(encodings[way], way, pad_id, pooling, np.flatnonzero(encodings[way].scalars[SIDE] == side))
        for side, way in ((1, pair_adapter), (0, adapter))
    ]


def joined(outputs: Sequence[Sequence[np.ndarray | None]]) -> list[np.ndarray]:
    """Return the output of each unit, which one of the works has computed."""
    return [next(output for output in unit if output is not None) for unit in zip(*outputs, strict=True)]
