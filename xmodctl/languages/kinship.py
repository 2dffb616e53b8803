"""Related languages: families from a table, scripts from CLDR."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from xmodctl.languages.tags import load_table, read, script


def lineage(text: str) -> tuple[str, ...]:
    """Return the family and its branches, widest first; empty if the table does not have the language."""
    tag = read(text)
    if tag is None:
        return ()
    return _lineages().get(tag.variety) or _lineages().get(tag.language, ())


def family(text: str) -> str | None:
    """Return the family and its branches as text (`Indo-European, Germanic, West`), or None if unknown."""
    return ", ".join(lineage(text)) or None


def shared_branch(a: str, b: str) -> tuple[str, ...]:
    """Return the branches that two languages share, widest first; empty if they are not known to be related."""
    shared = []
    for branch, other in zip(lineage(a), lineage(b), strict=False):
        if branch != other:
            break
        shared.append(branch)
    return tuple(shared)


def related(text: str, adapters: Sequence[str]) -> list[str]:
    """Return the adapters of the same family, best first: by shared branches, same script, then their order."""
    written_in = script(text)
    relatives = [adapter for adapter in adapters if shared_branch(text, adapter)]
    return sorted(relatives, key=lambda adapter: (-len(shared_branch(text, adapter)), script(adapter) != written_in))


@lru_cache(maxsize=1)
def _lineages() -> dict[str, tuple[str, ...]]:
    return dict(_leaves(load_table("families.yaml"), ()))


def _leaves(node: Mapping[str, Any] | list[str], path: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
    if isinstance(node, list):
        return [(language, path) for language in node]
    return [leaf for branch, below in node.items() for leaf in _leaves(below, (*path, branch))]
