"""Tags of entities: any IOB-like scheme in, IOB2 out."""

from collections.abc import Mapping, Sequence

from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.core.mistakes import RowError
from xmodctl.data.readers import said

_BEGINS = frozenset("BUS")  # U(nit) and S(ingle) are entities of one word
_ENDS = frozenset("LEUS")  # L(ast) and E(nd) close an entity


class Tagset:
    """The IOB2 tags of a task in the order of their ids; types that it does not have may be mapped to one, or to O."""

    def __init__(self, tags: Sequence[str], mapped: Mapping[str, str] | None = None) -> None:
        self.tags = tags
        self._ids = {tag: index for index, tag in enumerate(tags)}
        self.types = list(dict.fromkeys(tag[2:] for tag in tags if tag != "O"))
        self._types = {name.casefold(): name for name in self.types}
        self._types |= {name.casefold(): target for name, target in (mapped or {}).items()}
        expected = {"O"} | {f"{mark}-{name}" for name in self.types for mark in "BI"}
        if set(tags) != expected:
            wrong = sorted(set(tags) ^ expected)
            raise UserError(
                f"`labels` of a token-classification task are IOB2 tags, such as [O, B-PER, I-PER]; see {wrong[0]!r}"
            )

    def iob2(self, tags: Sequence[str | int], column: str) -> list[int]:
        """Return the ids of the IOB2 tags that mark the same entities.

        IOB1, IOB2, BILOU, IOBES and IOE come in; the reading is conlleval's: an entity begins where a tag says so, or
        where its type differs from the tag before, or where the tag before is O or ends an entity. Numbers are ids.
        """
        ids: list[int] = []
        open_type: str | None = None
        for position, given in enumerate(tags, start=1):
            mark, kind = self._parts(given, position, column)
            if kind in (None, "O"):
                ids.append(self._ids["O"])
                open_type = None
                continue
            begins = mark in _BEGINS or kind != open_type
            ids.append(self._ids[f"{'B' if begins else 'I'}-{kind}"])
            open_type = None if mark in _ENDS else kind
        return ids

    def _parts(self, given: str | int, position: int, column: str) -> tuple[str, str | None]:
        """Return a tag's mark and entity type; no type for O."""
        tag = given
        if isinstance(given, int) and not isinstance(given, bool):
            if not 0 <= given < len(self.tags):
                raise RowError(f"`{column}` number {position} is {given}; ids go from 0 to {len(self.tags) - 1}")
            tag = self.tags[given]
        if not isinstance(tag, str):
            raise RowError(f"`{column}` number {position} is {said(given)}; a tag is text such as B-PER, or an id")
        mark, hyphen, kind = tag.partition("-")
        if tag in ("O", "o"):
            return "O", None
        if not hyphen or mark not in ("B", "I", "E", "S", "L", "U"):
            raise RowError(
                f"`{column}` number {position} is {said(tag)}; a tag of IOB1, IOB2, BILOU or IOBES is O or like B-PER"
            )
        known = self._types.get(kind.casefold())
        if known is None:
            guess = did_you_mean(kind, self.types)
            if not guess and kind.isidentifier():
                guess = f" (--set labels_mapped.{kind}=O counts it as no entity)"
            raise RowError(f"`{column}` number {position} is {said(tag)}; the types are {', '.join(self.types)}{guess}")
        return mark, known
