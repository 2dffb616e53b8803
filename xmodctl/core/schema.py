"""YAML files with a schema: one declaration per field gives the key, its type, bounds and help.

`Described` is the base class of every such file (task, recipe). Unknown keys are errors, and the message about a bad
file lists all its mistakes, each with its line.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.core.messages import LONGEST_SHOWN, shell_setting, shortened
from xmodctl.core.yaml_files import Place, lines_of, read_with_included, read_yaml_file
from xmodctl.core.yaml_text import YamlError, load


class Described(BaseModel):
    """The content of a YAML file: frozen, typed, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    def with_values(self, changes: Mapping[str, Any], *, origin: str) -> Self:
        """Return a copy with dotted keys replaced and validated; messages show `origin` in place of a file's name."""
        values = self.model_dump(exclude_unset=True)
        for key, value in changes.items():
            *path, last = key.split(".")
            place = values
            for part in path:
                step = place.setdefault(part, {})
                if not isinstance(step, dict):
                    raise UserError(f"{origin}: `{key}` names a key inside `{part}`, which has no keys")
                place = step
            place[last] = value
        return parse(type(self), values, origin=origin, lines={})


D = TypeVar("D", bound=Described)


def read(kind: type[D], path: Path, *, shared: Path | None = None, **added_values: Any) -> D:
    """Read a described value from a YAML file.

    Args:
        kind: The type of the value.
        path: The file.
        shared: The folder of files that it may include, besides those that are beside it; without it, `include` is
            not a key.
        added_values: Values that come from elsewhere, as the file's name does.

    Raises:
        UserError: The file cannot be read, is not YAML, or has mistakes; the message lists all of them.
    """
    file = read_yaml_file(path) if shared is None else read_with_included(path, shared)
    if taken := sorted(set(added_values) & set(file.values)):
        raise UserError(f"{path}: `{taken[0]}` is not a key of this file (it comes from the file's name); remove it")
    return parse(kind, {**file.values, **added_values}, origin=str(path), lines=file.places, mistakes=file.mistakes)


def parse(
    kind: type[D], values: Mapping[str, Any], *, origin: str, lines: Mapping[Place, str], mistakes: Sequence[str] = ()
) -> D:
    """Validate `values` as a `kind`.

    Raises:
        UserError: There are mistakes; the message lists all of them.
    """
    problems = list(mistakes)
    result: D | None = None
    try:
        result = kind.model_validate(values)
    except ValidationError as error:
        errors: dict[Place, list[ErrorDetails]] = {}
        for details in error.errors(include_url=False):
            errors.setdefault(_place(details, values), []).append(details)
        problems += [_sentence(kind, place, each, lines) for place, each in errors.items()]
    if result is None or problems:
        count = f"{len(problems)} mistakes" if len(problems) > 1 else "a mistake"
        raise UserError(f"{origin} has {count}:\n" + "\n".join(f"  {problem}" for problem in problems))
    return result


def parse_override(text: str) -> tuple[str, Any]:
    """Split one `KEY=VALUE` of `--set`; the value is YAML, such as `1e-4`, `true` or `[a, b]`.

    Raises:
        UserError: It has no key, or the value is not YAML.
    """
    key, equals, raw = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {text}: expected KEY=VALUE, such as --set learning_rate=1e-5")
    try:
        value, node = load(raw)
        if node is not None and (twice := lines_of(node)[1]):
            raise YamlError(twice[0].partition(": ")[2].partition(" (first")[0])
        return key.strip(), value
    except YamlError as error:
        quoted = shell_setting(key.strip(), raw.strip())
        remedy = f": {quoted}" if len(quoted) <= LONGEST_SHOWN else ""
        raise UserError(
            f"--set {shortened(text)}: the value is not YAML ({error}); if it is text, put it in quotes{remedy}"
        ) from error


def mapping_of_names(value: object) -> object:
    """Return a list of names as a mapping of each to nothing, and anything else as it is, which validation refuses.

    Raises:
        ValueError: An item is a list or a mapping, and so no name.
    """
    if not isinstance(value, list | tuple):
        return value
    for item in value:
        if isinstance(item, list | tuple | dict):
            raise ValueError(f"{_quoted(item)} is not a name; expected a list of names, such as [a, b]")
    return dict.fromkeys(value)


def keys_of(kind: type[Described]) -> list[str]:
    """Return the keys of a described file in the order of their declaration."""
    return list(kind.model_fields)


EXPECTED = {
    "tuple_type": "a list, such as [a, b]",
    "list_type": "a list, such as [a, b]",
    "dict_type": "names with values, such as {a: b}",
    "mapping_type": "names with values, such as {a: b}",
    "model_type": "names with values, such as {a: b}",
    "model_attributes_type": "names with values, such as {a: b}",
    "dataclass_type": "names with values, such as {a: b}",
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}
"""What a value should be, by pydantic's type of error, whose own words are those of Python."""


def _place(error: ErrorDetails, values: Any) -> Place:
    """Return the keys of the value that an error is about, without pydantic's names of validators and alternatives."""
    place: list[str | int] = []
    for part in error["loc"]:
        is_key = isinstance(values, Mapping) and part in values
        is_item = isinstance(values, list | tuple) and isinstance(part, int) and part < len(values)
        if is_key or is_item:
            values = values[part]
            place.append(part)
    is_absent = error["type"] == "missing" and error["loc"][-1:] != tuple(place[-1:])
    return (*place, error["loc"][-1]) if is_absent else tuple(place)


def _sentence(kind: type[Described], place: Place, errors: Sequence[ErrorDetails], lines: Mapping[Place, str]) -> str:
    """Return what is wrong with one value; several errors are those of its alternatives."""
    error = next((each for each in errors if each["type"] == "string_type"), errors[0])
    key = ".".join(str(part) for part in place)
    line = next((lines[place[:end]] for end in range(len(place), 0, -1) if place[:end] in lines), None)
    where = f"{line}: " if line else ""
    match error["type"]:
        case "extra_forbidden":
            known = _known_keys(kind, place[:-1])
            guess = did_you_mean(str(place[-1]), known) or f"; known keys: {', '.join(known)}"
            return f"{where}there is no key `{key}`{guess}"
        case "missing":
            return f"{where}the key `{key}` is missing"
        case "value_error" | "assertion_error":
            return f"{where}{f'`{key}`: ' if key else ''}{problem(error)}"
        case "string_type" if error["input"] is None:
            return f"{where}`{key}` is empty: YAML reads an empty value, null, and ~ as nothing; put text in quotes"
        case _:
            expected = " or ".join(dict.fromkeys(problem(each).removeprefix("it should be ") for each in errors))
            return f"{where}`{key}` is {_quoted(error['input'])}; it should be {expected}"


def problem(error: "ErrorDetails") -> str:
    """Return what is wrong with a value, in words that are not Python's."""
    match error["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            return "there is no such key"
        case "missing" | "missing_argument" | "missing_keyword_only_argument":
            return "it is missing"
        case "value_error" | "assertion_error":
            return error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        case kind:
            return f"it should be {EXPECTED.get(kind) or error['msg'].removeprefix('Input should be ')}"


def _known_keys(kind: type[Described], path: Place) -> list[str]:
    """Return the keys that are declared at `path`."""
    for part in path:
        if isinstance(part, int):
            continue
        field = kind.model_fields.get(part)
        inner = _described_within(field.annotation) if field else None
        if inner is None:
            return []
        kind = inner
    return keys_of(kind)


def _described_within(annotation: Any) -> type[Described] | None:
    if isinstance(annotation, type) and issubclass(annotation, Described):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        if described := _described_within(part):
            return described
    return None


def _quoted(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True).split("\n")[0]
    return shortened(text)


_VALIDATORS: dict[type, TypeAdapter[Any]] = {}


def validator(kind: type) -> TypeAdapter[Any]:
    """Return the converter of a dataclass to and from plain values; making one is slow, so it is kept."""
    if kind not in _VALIDATORS:
        _VALIDATORS[kind] = TypeAdapter(kind)
    return _VALIDATORS[kind]
