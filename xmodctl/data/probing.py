"""Whether the Hub has what task files say: each location's repository, files, and columns, without downloading data."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from xmodctl.catalog.locations import HubData, Location, Split
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.hub import HubError, is_reachable, why_unreachable
from xmodctl.core.hub_downloads import Repository, list_files, read_part
from xmodctl.core.messages import counted, listed
from xmodctl.core.mistakes import Mistakes
from xmodctl.core.temporary import temporary_folder
from xmodctl.data.hub import source_of
from xmodctl.data.published import SPLITS
from xmodctl.data.readers import format_of, read
from xmodctl.data.sources import DataSource, names_of

State = Literal["found", "incomplete", "other columns", "missing", "no answer"]

BEGINNING = 2**16
"""Bytes of a file that are read for its columns: the first ones or, of a Parquet file, the last ones."""
LARGEST_FOOTER = 2**24
"""Bytes at the end of a Parquet file that are read."""
SHOWN = 5
"""Files that a line names."""


@dataclass(frozen=True)
class Probe:
    """What the Hub has at one location of a task."""

    task: str
    part: Literal["evaluation", "training"]
    place: str  # repository, and its revision if that is not `main`
    state: State
    detail: str = ""  # what is missing, or what was not checked

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def probe(tasks: Iterable[Task]) -> Iterator[Probe]:
    """Ask the Hub for every location of some tasks, one after the other.

    Raises:
        UserError: While iterating: the Hub cannot be reached.
    """
    if not is_reachable():
        raise UserError(f"--online: {why_unreachable()}; run the command again with access to the Hub")
    for task in tasks:
        if task.evaluation:
            yield from _probe_part(task, "evaluation", task.evaluation)
        if task.training:
            yield from _probe_part(task, "training", task.training)


def _probe_part(task: Task, part: Literal["evaluation", "training"], data: HubData) -> Iterator[Probe]:
    for location in data.locations:
        place = location.repository + ("" if location.revision == "main" else f"@{location.revision}")
        try:
            state, detail = _look(task, data, location)
        except HubError as error:
            is_missing = error.kind in ("repository", "revision", "name")
            state, detail = ("missing" if is_missing else "no answer"), error.status
        yield Probe(task.name, part, place, state, detail)


def _look(task: Task, data: HubData, location: Location) -> tuple[State, str]:
    """Return what is at a location.

    Raises:
        HubError: The Hub does not have the repository, or does not answer.
    """
    repository = Repository(location.repository, "dataset", location.revision)
    present = list_files(repository)
    wanted = _wanted(task, data, location)
    first_paths = {pattern: next((path for path in present if fnmatch(path, pattern)), None) for pattern in wanted}
    absent = [pattern for pattern, path in first_paths.items() if path is None]
    if len(absent) == len(first_paths):
        return "missing", f"no file `{absent[0]}`" if absent else "the task names no files"
    state: State = "incomplete" if absent else "found"
    details = [f"no {_shown(absent)}"] if absent else []
    pattern, path = next((pattern, path) for pattern, path in first_paths.items() if path is not None)
    language, split = wanted[pattern]
    source = source_of(task, data, location, language, split)
    try:
        columns = _columns(repository, path, source)
    except (UserError, HubError, OSError) as error:
        details.append(f"columns not checked: {error.status if isinstance(error, HubError) else error}")
    else:
        if lacking := _lacking(source, columns):
            state = "other columns"
            details.append(f"{path} has no {listed(lacking)}; it has {listed(columns)}")
    return state, "; ".join(details)


def _wanted(task: Task, data: HubData, location: Location) -> dict[str, tuple[str, Split]]:
    """Return the patterns of files that a location should have, each with a language and split that it is for."""
    wanted: dict[str, tuple[str, Split]] = {}
    for_all = data is task.evaluation
    languages = list(task.languages) if for_all else list(location.languages or (task.source_language,))
    splits = [split for split in SPLITS if split in (data.splits or SPLITS)]
    for split in reversed(splits) if for_all else splits:
        for language in languages:
            if location.has(language, split):
                wanted.setdefault(data.pattern(location, language, split), (language, split))
    return wanted


def _shown(patterns: list[str]) -> str:
    more = len(patterns) - SHOWN
    return ", ".join([*patterns[:SHOWN], *([f"and {counted(more, 'other pattern')}"] if more > 0 else [])])


def _lacking(source: DataSource, columns: list[str]) -> list[str]:
    """Return the columns that the task names and a file does not have."""
    named = {column: names for column, names in source.columns.items() if column != "id"}
    lacking: list[str] = []
    if source.tagged_text and source.tagged_text.column in columns:
        named = {column: names for column, names in named.items() if column not in ("tokens", "tags")}
    lacking += [name for name in names_of(named) if name not in columns]
    if source.language_columns and not set(source.language_columns) & set(columns):
        lacking += source.language_columns
    return lacking


def _columns(repository: Repository, path: str, source: DataSource) -> list[str]:
    """Return the columns of a file on the Hub, of which only a part is read.

    Raises:
        UserError: That part does not have them.
        HubError: The Hub does not give it.
    """
    if format_of(Path(path)) == ".parquet":
        return _columns_of_parquet(repository, path)
    with temporary_folder() as folder:
        beginning = folder / PurePosixPath(path).name
        content = read_part(repository, path, BEGINNING)
        whole_lines = content[: content.rfind(b"\n") + 1] if len(content) == BEGINNING else content
        beginning.write_bytes(whole_lines or content)
        _, rows = read(
            beginning, path, source.columns, Mistakes(path),
            all_columns=True, numbered=source.numbered, plain_tags=source.plain_tags,
        )  # fmt: skip
        first = next(rows, None)
    if first is None:
        raise UserError(f"{path} does not begin with a row")
    return list(first[1])


def _columns_of_parquet(repository: Repository, path: str) -> list[str]:
    import pyarrow
    import pyarrow.parquet

    end = read_part(repository, path, BEGINNING, at_end=True)
    length = struct.unpack("<I", end[-8:-4])[0] + 8 if len(end) >= 8 else LARGEST_FOOTER + 1
    if length > LARGEST_FOOTER or not end.endswith(b"PAR1"):
        raise UserError(f"{path} is not a Parquet file")
    if length > len(end):
        end = read_part(repository, path, length, at_end=True)
    try:
        schema = pyarrow.parquet.read_schema(pyarrow.BufferReader(b"PAR1" + end))
    except pyarrow.ArrowException as error:
        raise UserError(f"{path} is not a Parquet file") from error
    return list(schema.names)
