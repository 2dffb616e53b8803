"""Published data: exactly the files of one split, downloaded from the Hub once and read like local files.

`datasets.load_dataset` is not used: with `data_files` to select a split, it does not find its own cache without a
network, and without `data_files` it downloads every split.
"""

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

from xmodctl.catalog.locations import HubData, Location, Split
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.core.hub import HubError
from xmodctl.core.hub_downloads import Repository, Wanted, cached, fetch
from xmodctl.data.readers import format_of
from xmodctl.data.sources import DataSource
from xmodctl.kinds import KINDS
from xmodctl.languages import MIXED


def find(task: Task, language: str, split: Split, *, evaluation: bool) -> DataSource:
    """Return the files of one language and split, downloaded from the first location that has them.

    Raises:
        UserError: The task has no such language or split, or no location has the files.
    """
    data, language, locations = _locations(task, language, split, evaluation=evaluation)
    reasons: dict[str, HubError] = {}
    patterns = [(location, data.pattern(location, language, split)) for location in locations]
    has_copy = any(_is_cached(location, pattern) for location, pattern in patterns)
    for location, pattern in patterns:
        try:
            folder, files = _fetch(location, pattern, is_replaceable=has_copy)
        except HubError as reason:
            reasons[f"{location.repository}@{location.revision}"] = reason
            continue
        name = files[0] if len(files) == 1 else pattern
        source = source_of(task, data, location, language, split)
        return replace(
            source,
            files={folder / file: f"{location.repository}:{file}" for file in files},
            origin=f"{location.repository}@{folder.name}:{name}",
        )
    raise _unavailable(f"{task.title} ({language}, {split})", reasons, option="--data DIR")


def at_hand(task: Task, language: str, split: Split) -> DataSource | None:
    """Return the files of one language and split if the local cache has them; no request is sent."""
    try:
        data, language, locations = _locations(task, language, split, evaluation=True)
    except UserError:
        return None
    for location in locations:
        pattern = data.pattern(location, language, split)
        folder = cached(_repository(location), _wanted(pattern))
        files = _matching(folder, pattern) if folder else []
        if folder and all(format_of(Path(file)) for file in files):
            source = source_of(task, data, location, language, split)
            return replace(source, files={folder / file: file for file in files}, origin=pattern)
    return None


def source_of(task: Task, data: HubData, location: Location, language: str, split: Split) -> DataSource:
    """Return how the files of one location are read."""
    part = "evaluation" if data is task.evaluation else "training"
    return DataSource(
        files={},
        origin="",
        language=language,
        split=split,
        columns={**task.columns, **data.columns, **location.columns},
        column_keys=dict.fromkeys(data.columns, f"{part}.columns"),
        numbered=task.numbered_columns,
        plain_tags=KINDS[task.kind].plain_tags,
        published=True,
        language_columns=(task.language_column,) if _is_mixed(task, data) else (),
        language_ends_at=task.language_ends_at,
        tagged_text=task.tagged_text,
        labels=data.labels,
    )


def offers(task: Task, language: str, split: Split, *, evaluation: bool) -> bool:
    """Return whether the task names a location for one language and split; nothing is downloaded."""
    try:
        _locations(task, language, split, evaluation=evaluation)
    except UserError:
        return False
    return True


def _locations(task: Task, language: str, split: Split, *, evaluation: bool) -> tuple[HubData, str, list[Location]]:
    """Return where one language and split may be, and how the language is spelled there."""
    data, language = _data_of(task, language, evaluation=evaluation)
    if data.splits and split not in data.splits:
        raise UserError(f"{task.title} has no split `{split}`; it has {', '.join(data.splits)}")
    locations = [location for location in data.locations if location.has(language, split)]
    if not locations:
        raise UserError(f"{task.title} has no split `{split}` in `{language}`; give your own data with --data DIR")
    return data, language, locations


def _data_of(task: Task, language: str, *, evaluation: bool) -> tuple[HubData, str]:
    """Return where the data is, and how the language is spelled there."""
    data = task.evaluation if evaluation or task.training is None else task.training
    if data is None:
        raise UserError(f"{task.title} is not on the Hub; give your own data with --data DIR")
    if not _by_language(data) and not _is_mixed(task, data):
        if task.is_mixed and not task.is_in_language(MIXED, language):
            raise UserError(
                f"the rows of {task.title} are in several languages and go through one adapter; to score them through "
                f"that of {language}, use --langs {MIXED}={language}"
            )
        if not task.is_in_language(task.source_language, language):
            raise UserError(
                f"{task.title} has this data in `{task.source_language}` only, not in `{language}`; "
                f"use --lang {task.source_language}, or give your own data with --data DIR"
            )
        return data, task.source_language
    spellings = task.languages if data is task.evaluation else {**task.languages, task.source_language: None}
    if language in spellings:
        return data, language
    matching = [code for code, adapter in spellings.items() if adapter == language]
    matching = matching or [code for code in spellings if task.is_in_language(code, language)]
    if task.source_language in matching:  # of several corpora of one language, the one trained on
        return data, task.source_language
    if len(matching) == 1:
        return data, matching[0]
    if matching:
        raise UserError(f"`{language}` may be {' or '.join(matching)} in {task.title}; give one of them")
    raise UserError(
        f"{task.title} has no `{language}`; it has {', '.join(spellings)}{did_you_mean(language, list(spellings))}"
    )


def _by_language(data: HubData) -> bool:
    """Return whether each language has its own files."""
    return any("{language}" in location.files for location in data.locations)


def _is_mixed(task: Task, data: HubData) -> bool:
    """Return whether files hold several languages, with a column that gives the language."""
    return data is task.evaluation and bool(task.language_column) and not _by_language(data)


def files_of(repository: str, revision: str, pattern: str) -> dict[Path, str]:
    """Download the files of a data set that match a pattern, and return them with their names in messages.

    Raises:
        UserError: The data set or the files are not available.
    """
    location = Location(repository=repository, revision=revision, files=pattern)
    try:
        folder, files = _fetch(location, pattern)
    except HubError as reason:
        reasons = {f"{repository}@{revision}": reason}
        raise _unavailable(f"{repository}:{pattern}", reasons, option="--text FILE") from reason
    return {folder / file: f"{repository}:{file}" for file in files}


def _repository(location: Location) -> Repository:
    return Repository(location.repository, "dataset", location.revision)


def _is_cached(location: Location, pattern: str) -> bool:
    return cached(_repository(location), _wanted(pattern)) is not None


def _wanted(pattern: str) -> Wanted:
    """Return which files match a pattern."""

    def choose(present: set[str]) -> list[str]:
        if matching := sorted(path for path in present if fnmatch(path, pattern)):
            return matching
        raise HubError("files", f"no file `{pattern}`", "")

    return Wanted(choose, lambda folder: bool(_matching(folder, pattern)), (pattern,))


def _matching(folder: Path, pattern: str) -> list[str]:
    """Return the files of a snapshot that match a pattern."""
    paths = (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return sorted(path for path in paths if fnmatch(path, pattern))


def _fetch(location: Location, pattern: str, *, is_replaceable: bool = False) -> tuple[Path, list[str]]:
    """Return the local snapshot (a folder named by its commit) and the files in it that match `pattern`.

    Raises:
        HubError: The files cannot be downloaded, or there are none.
    """
    folder = fetch(_repository(location), _wanted(pattern), is_replaceable=is_replaceable)
    files = _matching(folder, pattern)
    if unreadable := [file for file in files if not format_of(Path(file))]:
        raise HubError("files", f"`{unreadable[0]}` is in a format that xmodctl does not read", "")
    return folder, files


def _unavailable(title: str, reasons: Mapping[str, HubError], option: str) -> UserError:
    """Return the error that lists why each place cannot give the data, and what the user can do."""
    statuses = "; ".join(f"{place}: {reason.status}" for place, reason in reasons.items())
    # What keeps one place from giving its data matters more than that another does not have it.
    failed = [reason for reason in reasons.values() if reason.kind not in ("repository", "revision", "files")]
    remedies = dict.fromkeys(reason.remedy for reason in failed or reasons.values() if reason.remedy)
    if all(reason.kind not in ("unreachable", "silent") for reason in reasons.values()):
        remedies[f"give your own copy with `{option}`"] = None
    return UserError(f"cannot load {title} from the Hub ({statuses}); {', or '.join(remedies)}")
