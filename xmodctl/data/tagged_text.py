"""Text whose tagged parts are in brackets, as in MASSIVE, as words and their tags: `wake me [date : tomorrow]`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from xmodctl.catalog.locations import TaggedText
from xmodctl.core.errors import UserError
from xmodctl.core.messages import listed, quoted, shell_setting
from xmodctl.core.mistakes import Mistakes, RowError
from xmodctl.data.files import DataFile, Numbered
from xmodctl.data.readers import read
from xmodctl.kinds.rows import Columns, Raw
from xmodctl.languages import same

EXAMPLE = "wake me [date : tomorrow]"

_PART = re.compile(r"\[(?P<tag>[^\[\]:]*):(?P<text>[^\[\]]*)\]|(?P<outside>[^\[\]]+)")


@dataclass(frozen=True)
class Tagging:
    """Which column has the text, and the columns that are made from it."""

    column: str
    tokens: str
    tags: str
    by_character: bool = False

    @classmethod
    def of(cls, tagged_text: TaggedText | None, columns: Columns, language: str = "") -> "Tagging | None":
        """Return how the text of one language is read; None where rows have words and tags themselves."""
        tokens, tags = columns.get("tokens"), columns.get("tags")
        if tagged_text is None or not isinstance(tokens, str) or not isinstance(tags, str):
            return None
        codes = tagged_text.by_character
        by_character = any(code == language or (language and same(code, language)) for code in codes)
        return cls(tagged_text.column, tokens, tags, by_character)

    def check(self, raw: Raw, place: str) -> None:
        """Refuse a file whose first row has neither the text nor words and tags.

        Raises:
            UserError: It names the columns that the row has.
        """
        if self.column not in raw and not {self.tokens, self.tags} <= set(raw):
            raise UserError(
                f"{place}: no column `{self.column}` for the text with tagged parts (found {listed(raw) or 'none'}); "
                f"give the column with {shell_setting('tagged_text.column', 'NAME')}"
            )

    def row(self, raw: Raw) -> Raw:
        """Return a row with words and tags; one that has them already stays as it is.

        Raises:
            RowError: The text cannot be read.
        """
        if self.column not in raw:
            return raw
        text = raw[self.column]
        if not isinstance(text, str):
            raise RowError(f"`{self.column}` is {quoted(text)}; expected text such as {quoted(EXAMPLE)}")
        tokens, tags = list[str](), list[str]()
        for type_, part in _parts(text, self.column):
            words = list(_words(part, by_character=self.by_character))
            tokens += words
            tags += [f"{'I' if number else 'B'}-{type_}" if type_ else "O" for number in range(len(words))]
        return {**raw, self.tokens: tokens, self.tags: tags}


def read_rows(
    path: Path,
    name: str,
    columns: Columns,
    mistakes: Mistakes,
    *,
    all_columns: bool,
    numbered: Mapping[str, int],
    plain_tags: bool,
    tagging: Tagging | None,
) -> tuple[DataFile, Numbered]:
    """Return the raw rows of a file as `read` does, with words and tags made from text if `tagging` says so.

    Raises:
        UserError: While iterating: the file cannot be read, is damaged, changed in the meantime, or lacks the text.
    """
    columns = {**columns, "tagged_text": tagging.column} if tagging else columns
    file, rows = read(path, name, columns, mistakes, all_columns=all_columns, numbered=numbered, plain_tags=plain_tags)
    return file, _tagged(file, rows, tagging) if tagging else rows


def _tagged(file: DataFile, rows: Numbered, tagging: Tagging) -> Numbered:
    """Yield rows with words and tags made from text; text that cannot be read is a mistake."""
    for position, (number, raw) in enumerate(rows):
        if not position:
            tagging.check(raw, file.at(number))
        try:
            yield number, tagging.row(raw)
        except RowError as error:
            file.mistakes.add(file.at(number), str(error), *error.causes)


def _parts(text: str, column: str) -> Iterator[tuple[str, str]]:
    """Yield the parts of a text with their tags; that of the text outside brackets is empty.

    Raises:
        RowError: A bracket is not closed, or holds no tag.
    """
    position = 0
    while position < len(text):
        match = _PART.match(text, position)
        type_ = match["tag"].strip() if match and match["tag"] is not None else ""
        if not match or (match["outside"] is None and not (type_ and match["text"].strip())):
            reason = f"has a bracket that is not closed or contains no tag; expected text such as {quoted(EXAMPLE)}"
            raise RowError(f"`{column}` is {quoted(text)}, which {reason}", f"`{column}` {reason}")
        yield type_, match["text"] if type_ else match["outside"]
        position = match.end()


def _words(text: str, *, by_character: bool) -> Iterator[str]:
    for word in text.split():
        if by_character and not word.isascii():
            yield from word
        else:
            yield word
