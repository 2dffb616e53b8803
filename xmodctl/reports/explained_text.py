"""How well a base model predicts text of a language through each adapter: masked-LM loss per character."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xmodctl.core.events import Listener
from xmodctl.languages import same
from xmodctl.model.precision import resolve_precision
from xmodctl.reports.explanation import Figure, Section, ratio
from xmodctl.training.masked_lm.held_out import measure_held_out
from xmodctl.training.masked_lm.mixing import prepared
from xmodctl.training.masked_lm.ranking import IDENTITY, is_identity, use_adapter

if TYPE_CHECKING:
    from xmodctl.evaluation.results import Row
    from xmodctl.model import Source


def text_section(
    base: "Source", row: "Row", files: Sequence[str | Path], listen: Listener, add: Callable[[str], None]
) -> list[Section]:
    """Measure the masked-LM loss of text through the language's adapter, the source's, and none.

    Args:
        base: The base model; what a fine-tuning changes is not part of it.
        row: A result of the language.
        files: Text of the language; without any, nothing is measured.
        listen: Called with each event.
        add: Takes what cannot be determined.

    Raises:
        UserError: The text cannot be used.
    """
    if row.package or row.mixture:
        add("how well a mixture or a package models the language: only adapters of the base model are measured")
        return []
    if not files:
        add("how well each adapter models the language; give text in it with --text FILE")
        return []
    model, tokenizer, text, _ = prepared(row.language, [str(file) for file in files], base, listen)
    source = next((name for name in base.languages if any(same(name, each) for each in row.source_languages)), None)
    adapters = dict.fromkeys(name for name in (row.adapter, source) if name in base.languages)
    trained = [name for name in adapters if name and not is_identity(model, name)]
    names = [*trained, IDENTITY]
    losses = {}
    for name in names:
        use_adapter(model, name)
        losses[name] = measure_held_out(
            model, text.held_out, text.masker, precision=resolve_precision("auto"), pad_id=int(tokenizer.pad_token_id)
        )
    # Only some pieces are predicted; their loss stands for that of all, so it is spread over the text's characters.
    pieces = float(text.held_out.input_ids.lengths.sum() / text.characters)
    figures = []
    for name, measured in losses.items():
        value, ends = ratio(measured.losses, measured.tokens, pieces)
        title = f"through {'no adapter' if name == IDENTITY else name}"
        figures.append(Figure(title, value, "nats", ends, digits=3))
    for name in trained:
        saved = np.asarray(losses[IDENTITY].losses) - losses[name].losses
        value, ends = ratio(saved, losses[name].tokens, pieces)
        title = f"saved by {name}, same masks"
        figures.append(Figure(title, value, "nats", ends, digits=3))
    remarks = ["masked-LM loss of the base model in nats per character; lower is better"]
    if not trained:
        remarks.append("all adapters of this language and the source are identities, so one value applies to all")
    return [Section("Text", tuple(figures), tuple(remarks))]
