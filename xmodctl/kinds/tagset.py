"""Tags of entities: any IOB-like scheme is read, IOB2 is returned."""

from collections.abc import Mapping, Sequence

from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.core.messages import quoted
from xmodctl.core.mistakes import RowError

_BEGINS = frozenset("BUS")  # U(nit) and S(ingle) are entities of one word
_ENDS = frozenset("LEUS")  # L(ast) and E(nd) close an entity


class Tagset:
    """The IOB2 tags of a task in the order of their ids; other types may be mapped to one of its types, or to O."""

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
                f"the `labels` of a task about entities must be IOB2 tags, such as [O, B-PER, I-PER]; see {wrong[0]!r}"
            )

    def iob2(self, tags: Sequence[str | int], column: str) -> list[int]:
        """Return the ids of the IOB2 tags that mark the same entities.

        IOB1, IOB2, BILOU, IOBES, and IOE are read as conlleval reads them: an entity begins where a tag says so, where
        its type differs from the previous tag, or where the previous tag is O or ends an entity. Numbers are ids.

        Raises:
            RowError: A tag is not a tag of these schemes, or of an unknown type.
        """
        ids: list[int] = []
        open_type: str | None = None
        for position, tag in enumerate(tags, start=1):
            mark, type_ = self._parts(tag, position, column)
            if type_ in (None, "O"):
                ids.append(self._ids["O"])
                open_type = None
                continue
            begins = mark in _BEGINS or type_ != open_type
            ids.append(self._ids[f"{'B' if begins else 'I'}-{type_}"])
            open_type = None if mark in _ENDS else type_
        return ids

    def _parts(self, given: str | int, position: int, column: str) -> tuple[str, str | None]:
        """Return a tag's mark and entity type; no type for O."""
        tag = given
        if isinstance(given, int) and not isinstance(given, bool):
            if not 0 <= given < len(self.tags):
                raise RowError(f"`{column}` item {position} is {given}; ids go from 0 to {len(self.tags) - 1}")
            tag = self.tags[given]
        if not isinstance(tag, str):
            raise RowError(f"`{column}` item {position} is {quoted(given)}; expected a tag such as B-PER, or its id")
        mark, hyphen, type_ = tag.partition("-")
        if tag in ("O", "o"):
            return "O", None
        if not hyphen or mark not in ("B", "I", "E", "S", "L", "U"):
            raise RowError(
                f"`{column}` item {position} is {quoted(tag)}; "
                "expected O or a tag such as B-PER (IOB1, IOB2, BILOU, or IOBES)"
            )
        known = self._types.get(type_.casefold())
        if known is None:
            guess = did_you_mean(type_, self.types)
            if not guess and type_.isidentifier():
                guess = f" (to count it as no entity: --set labels_mapped.{type_}=O)"
            raise RowError(f"`{column}` item {position} is {quoted(tag)}; the types are {', '.join(self.types)}{guess}")
        return mark, known
