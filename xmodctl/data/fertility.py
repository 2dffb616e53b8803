"""Fertility: how many pieces a tokenizer makes of a word, in texts that are on this disk."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.core.errors import UserError
from xmodctl.core.messages import listed
from xmodctl.kinds.annotations import word_offsets

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from xmodctl.catalog.task import Task
    from xmodctl.model import Facts

ROWS = 100
"""Rows of a language that are read."""


def fertility(tokenizer: "Tokenizer", texts: Iterable[str]) -> float | None:
    """Return the pieces per word of texts, or None if they have no words.

    A word is a run of letters and digits, and every other character alone; in scripts without spaces between words,
    each letter is a word.
    """
    texts = list(texts)
    words = sum(len(word_offsets(text)) for text in texts)
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    return sum(len(encoding.ids) for encoding in encodings) / words if words else None


class Fertilities:
    """Measures languages, each on the first of several tasks that has data of it at hand."""

    def __init__(self, facts: "Facts", folder: str | Path | None) -> None:
        """Look for the tokenizer; `remarks` says if it is missing."""
        from xmodctl.model.tokenizer import tokenizer_at_hand

        self.remarks: list[str] = []
        self.folder = folder
        self.without_text: list[str] = []
        try:
            self.tokenizer = tokenizer_at_hand(facts)
        except UserError as error:
            self.tokenizer = None
            self.remarks.append(f"no fertility: {error}")
        else:
            if self.tokenizer is None:
                self.remarks.append(f"no fertility: the tokenizer of {facts.name} is not on this disk")

    def of(self, language: str, codes: "Iterable[tuple[Task, str]]") -> float | None:
        """Return the fertility of a language, or None without a tokenizer or text.

        Args:
            language: Its name in remarks.
            codes: The tasks that have data in it, each with the code of the language there.
        """
        from xmodctl.data.rows import texts_at_hand

        if self.tokenizer is None:
            return None
        for task, code in codes:
            if texts := texts_at_hand(task, code, folder=self.folder, limit=ROWS):
                return fertility(self.tokenizer, texts)
        self.without_text.append(language)
        return None

    def all_remarks(self) -> list[str]:
        """Return why fertility was not measured: at all, or for some languages."""
        if not self.without_text:
            return self.remarks
        return [
            *self.remarks,
            f"no fertility of {listed(self.without_text)}: their data is not on this disk, or cannot be read",
        ]
