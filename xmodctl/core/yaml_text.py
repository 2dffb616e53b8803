"""YAML text as values, safely: scalars stay as they are written, and no text takes long or nests without limit.

YAML 1.1 turns `no` into False, `1.0` into a number and `2024-01-05` into a date, which loses how they were written.
Here every plain scalar but an empty one, `null` and `~` is text; the type of the field that it is for decides what it
means, so that `yes` can be a label and `true` a switch.
"""

from typing import Any

import yaml

MOST_NESTED = 50
"""Levels of brackets and indentation."""
MOST_NODES = 100_000
"""Values in a document, with each alias counted as often as it is used."""

_STRING = "tag:yaml.org,2002:str"


class YamlError(Exception):
    """A text is not YAML that can be used; the message says why, without the place."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        """Take the problem and the line, from 1, where it is known."""
        super().__init__(problem)
        self.line = line


class _TextLoader(yaml.SafeLoader):
    """Resolves only nulls and merge keys; every other plain scalar is a string."""


_TextLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":null", ":merge"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load(text: str) -> tuple[Any, yaml.Node | None]:
    """Return the value of a YAML text, and the node that it comes from (None for an empty text).

    Raises:
        YamlError: The text is not YAML, names a type with a tag, nests too deeply, or is too large with its aliases.
    """
    try:
        _check_events(text)
        loader = _TextLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None, None
        _measure(node)
        return loader.construct_document(node), node
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(str(error.problem or error.context), mark.line + 1 if mark else None) from error
    except (yaml.YAMLError, ValueError) as error:  # an unprintable character
        raise YamlError(" ".join(str(error).split())) from error


def _check_events(text: str) -> None:
    """Refuse what must not even be composed; the events come one at a time."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else None
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MOST_NESTED:
                raise YamlError(f"more than {MOST_NESTED} levels of brackets or indentation", line)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        tag = getattr(event, "tag", None)
        if tag not in (None, "!", _STRING):
            raise YamlError(f"the tag {tag.replace('tag:yaml.org,2002:', '!!')} is not supported; remove it", line)


def _measure(root: yaml.Node) -> None:
    """Refuse aliases that contain themselves or multiply without limit."""
    sizes: dict[int, tuple[int, int]] = {}  # of finished nodes: values, levels
    open_nodes: set[int] = set()

    def measure(node: yaml.Node, depth: int) -> tuple[int, int]:
        key, line = id(node), node.start_mark.line + 1 if node.start_mark else None
        if key in open_nodes:
            raise YamlError("an alias (*) refers to something that contains it", line)
        if key not in sizes:
            open_nodes.add(key)
            size, levels = 1, 0
            for child in _children(node):
                if depth >= MOST_NESTED:
                    raise YamlError(f"aliases (*) nest more than {MOST_NESTED} levels", line)
                inner = measure(child, depth + 1)
                size, levels = size + inner[0], max(levels, inner[1] + 1)
            open_nodes.remove(key)
            sizes[key] = size, levels
        if sizes[key][0] > MOST_NODES:
            raise YamlError(f"more than {MOST_NODES:,} values, counting aliases (*) as often as they are used", line)
        if depth + sizes[key][1] > MOST_NESTED:
            raise YamlError(f"aliases (*) nest more than {MOST_NESTED} levels", line)
        return sizes[key]

    measure(root, 0)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []
