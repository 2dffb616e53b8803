"""Tags of entities: any IOB-like scheme is read, IOB2 is returned."""

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.core.messages import NAMES_SHOWN, listed, quoted, shell_setting_of_mapping
from xmodctl.core.mistakes import RowError

_BEGINS = frozenset("BUS")  # U(nit) and S(ingle) are entities of one word
_ENDS = frozenset("LEUS")  # L(ast) and E(nd) close an entity
MARKS = ("B", "I", "E", "S", "L", "U")
"""What may precede the type in a tag."""
_PLAIN = re.compile(r"[A-Za-z][\w-]*")  # needs no quotes in YAML

Parts = tuple[str, str | None, str]
"""A tag's mark, its type in the task (None for O), and its type as written."""


class Tagset:
    """The IOB2 tags of a task in the order of their ids; other types may be mapped to one of its types, or to O."""

    def __init__(self, tags: Sequence[str], mapped: Mapping[str, str] | None = None) -> None:
        self.tags = tags
        self.dropped: Counter[str] = Counter()
        """Entities of types that are mapped to O, by type."""
        self._ids = {tag: index for index, tag in enumerate(tags)}
        self.types = list(dict.fromkeys(tag[2:] for tag in tags if tag != "O"))
        self._types = {name.casefold(): name for name in self.types}
        self._types |= {name.casefold(): target for name, target in (mapped or {}).items()}
        self._unknown: dict[str, None] = {}
        expected = {"O"} | {f"{mark}-{name}" for name in self.types for mark in "BI"}
        if set(tags) != expected:
            names = dict.fromkeys(tag[2:] if tag[:2] in ("B-", "I-") else tag for tag in tags if tag != "O")
            raise UserError(
                "the labels of a task about entities are IOB2 tags: O, and one that begins with B- and one with I- for "
                f"each type; write {_labels_setting(names)}"
            )

    def iob2(self, tags: Sequence[str | int], column: str) -> list[int]:
        """Return the ids of the IOB2 tags that mark the same entities.

        IOB1, IOB2, BILOU, IOBES, and IOE are read as conlleval reads them: an entity begins where a tag says so, where
        its type differs from the previous tag, or where the previous tag is O or ends an entity. Numbers are ids.

        Raises:
            RowError: A tag is not a tag of these schemes, or of an unknown type.
        """
        parts = [self._parts(tag, position, column) for position, tag in enumerate(tags, start=1)]
        self._refuse_unknown(tags, parts, column)
        ids: list[int] = []
        open_type: str | None = None
        before = "O"  # the previous type as written
        ended = False
        for mark, type_, written in parts:
            begins = mark in _BEGINS or ended or written != before
            if type_ in (None, "O"):
                ids.append(self._ids["O"])
                open_type = None
                if type_ and begins:
                    self.dropped[written] += 1
            else:
                ids.append(self._ids[f"{'B' if mark in _BEGINS or type_ != open_type else 'I'}-{type_}"])
                open_type = None if mark in _ENDS else type_
            before, ended = written, mark in _ENDS
        return ids

    def written(self, tags: Sequence[str | int]) -> list[int] | None:
        """Return the ids of tags as they are written, or None if they are not O, B-, and I- alone.

        The tags are those of a row that `iob2` reads.
        """
        parts = [self._split(self._name(tag)) for tag in tags]
        if any(mark not in "OBI" for mark, _ in parts):
            return None
        types = [self._types[type_.casefold()] if type_ else "O" for _, type_ in parts]
        return [
            self._ids["O" if type_ == "O" else f"{mark}-{type_}"] for (mark, _), type_ in zip(parts, types, strict=True)
        ]

    def shows_iob2(self, tags: Any) -> bool:
        """Return whether tags are O, B-, and I- alone, with a B- after O or another type, which IOB1 does not have."""
        if not isinstance(tags, list):
            return False
        parts = [self._split(self._name(tag)) for tag in tags]
        before = ["", *(type_.casefold() for _, type_ in parts)]
        return all(mark in ("O", "B", "I") for mark, _ in parts) and any(
            mark == "B" and type_.casefold() != earlier for (mark, type_), earlier in zip(parts, before, strict=False)
        )

    def remedy(self) -> str:
        """Say how the unknown types that were seen are learned, or count as no entity; empty if there were none."""
        if not self._unknown:
            return ""
        types = list(self._unknown)
        if len(types) > NAMES_SHOWN:  # commands with all of them would fill the screen
            return (
                f"\nThe {len(types):,} types that are unknown begin with {listed(types[:3])}. To learn them, write O, "
                "and a tag with B- and one with I- for each type, as `labels` of a task file of your own; to count "
                "them as no entity, map them to O with its `labels_mapped`"
            )
        mapped = " ".join(f"--set labels_mapped.{name}=O" for name in types)
        if not all(map(_PLAIN.fullmatch, types)):
            mapped = shell_setting_of_mapping("labels_mapped", dict.fromkeys(types, "O"))
        which, them = ("the type", "it") if len(types) == 1 else ("the types", "them")
        return (
            f"\nTo learn {which}, train with {_labels_setting([*self.types, *types])}. To count {them} as no entity, "
            f"which results and model cards report: {mapped}"
        )

    def _refuse_unknown(self, tags: Sequence[str | int], parts: Sequence[Parts], column: str) -> None:
        """Refuse tags of unknown types, all of them with one message.

        Raises:
            RowError: There are some.
        """
        unknown = [position for position, (mark, type_, _) in enumerate(parts) if type_ is None and mark != "O"]
        if not unknown:
            return
        types = list(dict.fromkeys(parts[position][2] for position in unknown))
        self._unknown |= dict.fromkeys(types)
        guess = did_you_mean(types[0], self.types)
        others = f" (the row also has {', '.join(types[1:])})" if types[1:] else ""
        known = f"the types are {', '.join(self.types)}"
        raise RowError(
            f"`{column}` item {unknown[0] + 1} is {quoted(tags[unknown[0]])}{others}; {known}{guess}",
            *(f"type {name}" for name in types),
        )

    def _parts(self, written: str | int, position: int, column: str) -> Parts:
        """Return the parts of a tag; the type of an unknown one is None."""
        if isinstance(written, int) and not isinstance(written, bool) and not 0 <= written < len(self.tags):
            raise RowError(
                f"`{column}` item {position} is {written}; ids go from 0 to {len(self.tags) - 1}",
                f"`{column}` has {written}; ids go from 0 to {len(self.tags) - 1}",
            )
        tag = self._name(written)
        if not isinstance(tag, str):
            raise RowError(f"`{column}` item {position} is {quoted(written)}; expected a tag such as B-PER, or its id")
        mark, type_ = self._split(tag)
        if mark == "O":
            return "O", None, "O"
        if mark not in MARKS:
            expected = "expected O or a tag such as B-PER (IOB1, IOB2, BILOU, or IOBES)"
            raise RowError(
                f"`{column}` item {position} is {quoted(tag)}; {expected}", f"`{column}` has {quoted(tag)}; {expected}"
            )
        return mark, self._types.get(type_.casefold()), type_

    def _name(self, tag: Any) -> Any:
        """Return the name of a tag that is given as its id."""
        is_id = isinstance(tag, int) and not isinstance(tag, bool) and 0 <= tag < len(self.tags)
        return self.tags[tag] if is_id else tag

    @staticmethod
    def _split(tag: Any) -> tuple[str, str]:
        """Return a tag's mark and type; the mark of what is no tag is empty."""
        if tag in ("O", "o"):
            return "O", ""
        mark, hyphen, type_ = tag.partition("-") if isinstance(tag, str) else ("", "", "")
        return (mark, type_) if hyphen else ("", "")


def types_in(tags: Any) -> list[str]:
    """Return the types that a list of tags names, each once; what is no tag is ignored."""
    names = [tag.partition("-") for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    return list(dict.fromkeys(name for mark, hyphen, name in names if hyphen and name and mark in MARKS))


def _yaml(name: str) -> str:
    """Return a name as an item of a YAML list."""
    return name if _PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _labels_setting(types: Iterable[str]) -> str:
    """Return the option that sets `labels` to the tags of entity types, as a shell passes it on."""
    tags = ["O", *(f"{mark}-{name}" for name in types for mark in "BI")]
    return "--set labels=" + shlex.quote(f"[{', '.join(map(_yaml, tags))}]")
