"""YAML files as values that know where each key is, with what a file includes from others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.core.messages import quoted
from xmodctl.core.reading import read_text
from xmodctl.core.yaml_text import YamlError, load

Place = tuple[int | str, ...]

LARGEST_FILE = 2**20
"""Bytes; tasks and recipes have a few thousand."""

INCLUDE = "include"
"""The key that names the files whose keys a file has, too."""


@dataclass(frozen=True)
class YamlFile:
    """The keys of a YAML file."""

    values: Mapping[str, Any]
    places: Mapping[Place, str]  # where each key is, as messages say it: `line 3`
    mistakes: tuple[str, ...]  # keys that are given twice


def read_yaml_file(path: Path) -> YamlFile:
    """Read a YAML file of keys and values.

    Raises:
        UserError: The file cannot be read, or is something else.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UserError(
                f"{path} is larger than {LARGEST_FILE // 2**20} MiB; a task or a recipe is a short YAML file"
            )
        text = read_text(path, most=LARGEST_FILE, encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    try:
        values, document = load(text)
    except YamlError as error:
        line = f":{error.line}" if error.line else ""
        raise UserError(f"{path}{line}: this is not YAML ({error})") from error
    if not isinstance(values, dict) or document is None:
        raise UserError(f"{path}: expected `key: value` lines, found {quoted(values)}")
    lines, twice = lines_of(document)
    return YamlFile(values, {place: f"line {line}" for place, line in lines.items()}, tuple(twice))


def read_with_included(path: Path, shared: Path) -> YamlFile:
    """Read a YAML file together with the files that its key `include` names.

    A key of the file itself replaces that of an included file, and of two included files the later one counts. An
    included file is beside the including one, or in `shared`.

    Raises:
        UserError: A file cannot be read, is not in these folders, or includes itself; the message names both files.
    """
    return _Including(shared).read(path, ())


class _Including:
    """Reads files with what they include, each of them once."""

    def __init__(self, shared: Path) -> None:
        self.shared = shared
        self.files: dict[Path, YamlFile] = {}

    def read(self, path: Path, trail: tuple[Path, ...]) -> YamlFile:
        """Read a file that the last one of `trail` includes, which the one before it includes, and so on."""
        real = path.resolve()
        if real in trail:
            circle = [*trail[trail.index(real) :], real]
            chain = ", which includes ".join(str(file) for file in circle[1:])
            raise UserError(f"{circle[0]} includes {chain}; remove one of these `{INCLUDE}`")
        if real not in self.files:
            self.files[real] = self._read(path, (*trail, real))
        return self.files[real]

    def _read(self, path: Path, trail: tuple[Path, ...]) -> YamlFile:
        try:
            file = read_yaml_file(path)
        except UserError as error:
            if len(trail) == 1:
                raise
            raise UserError(f"{trail[-2]} includes {path}: {error}") from error
        if INCLUDE not in file.values:
            return file
        values: dict[str, Any] = {}
        places: dict[Place, str] = {}
        mistakes: list[str] = []
        for name in _names(file, path):
            target = self._find(name, path)
            included = self.read(target, trail)
            values |= included.values
            mistakes += [f"{target}, which is included: {mistake}" for mistake in included.mistakes]
            places = {place: where for place, where in places.items() if place[0] not in included.values}
            places |= {place: _in_file(where, target) for place, where in included.places.items()}
        own = {key: value for key, value in file.values.items() if key != INCLUDE}
        places = {place: where for place, where in places.items() if place[0] not in own}
        return YamlFile(values | own, {**places, **file.places}, (*mistakes, *file.mistakes))

    def _find(self, name: str, path: Path) -> Path:
        """Return the included file: beside the including one, or in the shared folder."""
        file = name if name.endswith((".yaml", ".yml")) else f"{name}.yaml"
        folders = [path.parent, self.shared]
        if "/" in file or "\\" in file or file.startswith(".") or not file.isprintable():
            raise UserError(
                f"{path}: `{INCLUDE}` is {quoted(name)}; give the name of a file without a folder: it is looked for "
                f"next to this file and in {self.shared}"
            )
        for folder in folders:
            if (folder / file).is_file() and (folder / file).resolve().parent in [home.resolve() for home in folders]:
                return folder / file
        known = [other.stem for folder in folders for other in sorted(folder.glob("*.y*ml")) if other != path]
        raise UserError(
            f"{path}: `{INCLUDE}` names {quoted(name)}, and there is no {file} next to it or in {self.shared}"
            f"{did_you_mean(name, known)}"
        )


def _names(file: YamlFile, path: Path) -> Sequence[str]:
    value = file.values[INCLUDE]
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise UserError(f"{path}: `{INCLUDE}` is {quoted(value)}; give the name of a file, or a list of names")
    return names


def _in_file(where: str, path: Path) -> str:
    return where if " of " in where else f"{where} of {path}"


def lines_of(document: yaml.Node) -> tuple[dict[Place, int], list[str]]:
    """Return the line of every key of a YAML document, and a sentence for each duplicate key."""
    lines: dict[Place, int] = {}
    twice: list[str] = []

    def walk(node: yaml.Node, place: Place) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                inner = (*place, key.value)
                line = key.start_mark.line + 1
                if inner in lines:
                    twice.append(f"line {line}: `{'.'.join(map(str, inner))}` is given twice (first on {lines[inner]})")
                lines[inner] = line
                walk(value, inner)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                lines[*place, index] = value.start_mark.line + 1
                walk(value, (*place, index))

    walk(document, ())
    return lines, twice
