"""Which languages a model has adapters for, and which tasks have data in them. Downloads nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xmodctl.core.arguments import DEFAULT_MODEL
from xmodctl.core.errors import UserError
from xmodctl.languages import family, name, resolve, script

if TYPE_CHECKING:
    from xmodctl.catalog.task import Task
    from xmodctl.model import Facts

Adapter = Literal["trained", "identity", "none"]

MOST_TASKS = 40


@dataclass(frozen=True)
class LangsRequest:
    """Which model and which tasks' data.

    Args:
        model: A Hub id, optionally with `@REVISION`, a folder, or `mini`.
        task: A shipped task or the path of a YAML file, or several (in text between commas); without it, only adapters
            are listed.
        data: A folder of local data to use instead of the Hub's; needs one `task`.
        language_column: The column with each row's language, for files that contain several languages.
        fertility: Also measure how many pieces the model's tokenizer makes of a word, where the tokenizer and data are
            on this disk. By default, if there are several tasks or `out` is given.
        out: Also write the languages as a map into this HTML file.
    """

    model: str | Path = DEFAULT_MODEL
    task: str | Path | Sequence[str | Path] | None = None
    data: str | Path | None = None
    language_column: str | None = None
    fertility: bool | None = None
    out: str | Path | None = None

    def __post_init__(self) -> None:
        """Refuse options that make no sense together.

        Raises:
            UserError: They do not.
        """
        if self.data is not None and self.task is None:
            raise UserError("--data needs --task, which defines what the files contain")
        if self.data is not None and len(self.task_names) > 1:
            raise UserError("--data needs a single --task, which defines what the files contain")
        if self.fertility and self.task is None:
            raise UserError("--fertility needs --task, whose data is measured")
        if len(self.task_names) > MOST_TASKS:
            raise UserError(f"--task names {len(self.task_names)} tasks; give at most {MOST_TASKS}")
        if self.out is not None and not str(self.out).endswith((".html", ".htm")):
            raise UserError(f"--out {self.out}: the map is an HTML page; give a name that ends in .html")

    @property
    def task_names(self) -> tuple[str, ...]:
        """The tasks, each once."""
        if self.task is None:
            return ()
        names = self.task.split(",") if isinstance(self.task, str) else self.task
        names = [names] if isinstance(names, Path) else names
        return tuple(dict.fromkeys(text for each in names if (text := str(each).strip())))

    @property
    def measures_fertility(self) -> bool:
        """Whether fertility is measured."""
        chosen = len(self.task_names) > 1 or self.out is not None
        return bool(self.task_names) and (chosen if self.fertility is None else self.fertility)


@dataclass(frozen=True)
class LanguageEntry:
    """One language: its adapter in the model, and which tasks have data in it."""

    language: str  # the adapter's name, or the data's code where the model has no adapter
    name: str  # in English
    family: str  # empty if unknown
    script: str
    adapter: Adapter
    data: bool  # in any of the tasks
    reason: str = ""  # why there is no adapter
    tasks: tuple[str, ...] = ()  # the names of those that have data
    fertility: float | None = None  # pieces per word; None if it was not measured

    def to_json(self) -> dict[str, Any]:
        """Return the entry as plain JSON values."""
        return {
            "language": self.language,
            "name": self.name,
            "adapter": self.adapter != "none",
            "data": self.data,
            **({"why": self.reason} if self.adapter == "none" else {}),
        }


@dataclass(frozen=True)
class LanguageCoverage:
    """The languages of a model and of tasks."""

    model: str
    task: str | None  # its title; of several, their titles between commas
    entries: tuple[LanguageEntry, ...]
    count: int  # languages of the model
    open_languages: bool  # whether the model takes any other language through an identity adapter
    tasks: tuple[str, ...] = ()  # their names
    measures_fertility: bool = False
    remarks: tuple[str, ...] = ()  # why fertility was not measured

    def to_json(self) -> list[dict[str, Any]]:
        """Return the entries as plain JSON values; of several tasks, with the names of those that have data."""
        values = []
        for entry in self.entries:
            value = entry.to_json()
            if len(self.tasks) > 1:
                value["tasks"] = list(entry.tasks)
            if self.measures_fertility:
                value["fertility"] = None if entry.fertility is None else round(entry.fertility, 4)
            values.append(value)
        return values

    def usable(self, task: str) -> tuple[int, int]:
        """Return how many languages a task has, and how many of them have an adapter."""
        covered = [entry for entry in self.entries if task in entry.tasks]
        return len(covered), sum(entry.adapter != "none" for entry in covered)


def language_coverage(request: LangsRequest) -> LanguageCoverage:
    """List the languages that a model has adapters for, and those that tasks have data in. Nothing is downloaded.

    Returns:
        One entry per language: first the model's, in its order, then those with data but without an adapter.

    Raises:
        UserError: An option is wrong, or the model's languages are not known before its download.
    """
    from xmodctl.model import config_download, look_up

    model = str(request.model)
    facts = look_up(model)
    tasks = list(_tasks(request))
    adapters = tuple(facts.languages or ())
    if not adapters and not facts.open_languages and not tasks:
        raise UserError(
            f"the languages of {model} are not known before it is downloaded; run `{config_download(model)}` first"
        )
    places = _Places()
    for task in tasks:
        places.add(task, request.data, facts, model)
    names = tuple(dict.fromkeys((*adapters, *places.with_adapter)))
    trained = set(adapters) - facts.placeholders if adapters else set(names)
    entries = [
        _entry(code, "trained" if code in trained else "identity", places.with_adapter.get(code)) for code in names
    ]
    entries += [
        _entry(code, "none", codes, reason=places.reasons[code]) for code, codes in places.without_adapter.items()
    ]
    remarks: tuple[str, ...] = ()
    if request.measures_fertility:
        entries, remarks = _measured(entries, places, facts, request.data)
    return LanguageCoverage(
        model=model,
        task=", ".join(task.title for task in tasks) if tasks else None,
        entries=tuple(entries),
        count=len(names) if adapters else facts.language_count,
        open_languages=facts.open_languages,
        tasks=tuple(task.name for task in tasks),
        measures_fertility=request.measures_fertility,
        remarks=remarks,
    )


def _tasks(request: LangsRequest) -> "Iterator[Task]":
    """Yield the tasks, each once.

    Raises:
        UserError: There is no such task, or two have one name.
    """
    if not request.task_names:
        return
    from xmodctl.catalog import catalog

    seen: dict[str, Task] = {}
    for each in request.task_names:
        task = catalog.task(each)
        if (other := seen.get(task.name)) is not None:
            if other != task:
                raise UserError(f"two tasks are called {task.name}; rename the file of one of them")
            continue
        seen[task.name] = task
        if request.language_column:
            task = task.with_values({"language_column": request.language_column}, origin="--lang-column")
        yield task


Codes = list[tuple["Task", str]]
"""The tasks that have data in a language, each with the code of the language there."""


@dataclass
class _Places:
    """Where there is data in each language."""

    with_adapter: dict[str, Codes] = field(default_factory=dict)  # by adapter
    without_adapter: dict[str, Codes] = field(default_factory=dict)  # by the data's code
    reasons: dict[str, str] = field(default_factory=dict)  # why there is no adapter

    def add(self, task: "Task", data: str | Path | None, facts: "Facts", model: str) -> None:
        """Add the languages that a task has data in."""
        for code in _codes(task, data):
            language = task.language_of(code)
            try:
                match = resolve(language, facts.languages or (), model=model, open_languages=facts.open_languages)
                self.with_adapter.setdefault(match.adapter, []).append((task, code))
            except UserError as error:
                # The same language may have other codes in other tasks.
                known = next((other for other in self.without_adapter if name(other) == name(language)), code)
                self.without_adapter.setdefault(known, []).append((task, code))
                self.reasons.setdefault(known, str(error))


def _codes(task: "Task", data: str | Path | None) -> Iterator[str]:
    if data is None:
        from xmodctl.data.published import coverage as published

        yield from task.text_languages if task.is_mixed else published(task)
    else:
        from xmodctl.data import coverage

        yield from coverage(task, Path(data))


def _entry(code: str, adapter: Adapter, codes: Codes | None, *, reason: str = "") -> LanguageEntry:
    tasks = tuple(dict.fromkeys(task.name for task, _ in codes or ()))
    return LanguageEntry(code, name(code), family(code) or "", script(code), adapter, bool(tasks), reason, tasks)


def _measured(
    entries: Sequence[LanguageEntry], places: _Places, facts: "Facts", data: str | Path | None
) -> tuple[list[LanguageEntry], tuple[str, ...]]:
    """Return the entries with their fertility, and why it is missing for some."""
    from xmodctl.data.fertility import Fertilities

    fertilities = Fertilities(facts, data)
    by_language = {**places.without_adapter, **places.with_adapter}
    measured = []
    for entry in entries:
        codes = by_language.get(entry.language, [])
        measured.append(replace(entry, fertility=fertilities.of(entry.language, codes)) if codes else entry)
    return measured, tuple(fertilities.all_remarks())
