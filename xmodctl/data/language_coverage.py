"""`langs`: which languages a model has adapters for, and which a task has data in. Downloads nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xmodctl.core.arguments import DEFAULT_MODEL
from xmodctl.core.errors import UserError
from xmodctl.core.requests import command
from xmodctl.languages import family, name, resolve, script

if TYPE_CHECKING:
    from xmodctl.catalog.task import Task
    from xmodctl.model import Facts

Adapter = Literal["trained", "identity", "none"]


@dataclass(frozen=True)
class LangsRequest:
    """Which model and which task's data.

    Args:
        model: A Hub id, optionally with `@REVISION`, a folder, or `mini`.
        task: A shipped task or the path of a YAML file; without it, only adapters are listed.
        data: A folder of local data to use instead of the Hub's; needs `task`.
        language_column: The column with each row's language, for files that hold several languages.
    """

    model: str | Path = DEFAULT_MODEL
    task: str | Path | None = None
    data: str | Path | None = None
    language_column: str | None = None

    def __post_init__(self) -> None:
        """Refuse options that make no sense together.

        Raises:
            UserError: They do not.
        """
        if self.data is not None and self.task is None:
            raise UserError("--data needs --task, which defines what the files contain")


@dataclass(frozen=True)
class LanguageEntry:
    """One language: its adapter in the model, and whether the task has data in it."""

    language: str  # the adapter's name, or the data's code where the model has no adapter
    name: str  # in English
    family: str  # empty if unknown
    script: str
    adapter: Adapter
    data: bool
    reason: str = ""  # why there is no adapter

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
    """The languages of a model and of a task."""

    model: str
    task: str | None  # its title
    entries: tuple[LanguageEntry, ...]
    count: int  # languages of the model
    open_languages: bool  # whether the model takes any other language through an identity adapter

    def to_json(self) -> list[dict[str, Any]]:
        """Return the entries as plain JSON values."""
        return [entry.to_json() for entry in self.entries]


@command(LangsRequest)
def langs(request: LangsRequest) -> LanguageCoverage:
    """List the languages that a model has adapters for, and those that a task has data in. Nothing is downloaded.

    Returns:
        One entry per language: first the model's, in its order, then those with data but without an adapter.

    Raises:
        UserError: An option is wrong, or the model's languages are not known before its download.
    """
    from xmodctl.model import config_download, look_up

    model = str(request.model)
    facts = look_up(model)
    task = _task(request)
    adapters = tuple(facts.languages or ())
    if not adapters and not facts.open_languages and task is None:
        raise UserError(
            f"the languages of {model} are not known before it is downloaded; run `{config_download(model)}` first"
        )
    with_data, without_adapter = _data_languages(task, request.data, facts, model)
    names = tuple(dict.fromkeys((*adapters, *with_data)))
    trained = set(adapters) - facts.placeholders if adapters else set(names)
    entries = [_entry(code, "trained" if code in trained else "identity", data=code in with_data) for code in names]
    entries += [_entry(code, "none", data=True, reason=reason) for code, reason in without_adapter.items()]
    return LanguageCoverage(
        model=model,
        task=task.title if task else None,
        entries=tuple(entries),
        count=len(names) if adapters else facts.language_count,
        open_languages=facts.open_languages,
    )


def _task(request: LangsRequest) -> "Task | None":
    if request.task is None:
        return None
    from xmodctl.catalog import catalog

    task = catalog.task(str(request.task))
    if request.language_column:
        return task.with_values({"language_column": request.language_column}, origin="--lang-column")
    return task


def _data_languages(
    task: "Task | None", data: str | Path | None, facts: "Facts", model: str
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the adapters of languages with data; and the codes without an adapter, with the reason."""
    if task is None:
        return (), {}
    from xmodctl.data import coverage

    with_data: dict[str, None] = {}
    without_adapter: dict[str, str] = {}
    for code in coverage(task, Path(data) if data is not None else None):
        language = task.languages.get(code) or code
        try:
            match = resolve(language, facts.languages or (), model=model, open_languages=facts.open_languages)
            with_data[match.adapter] = None
        except UserError as error:
            without_adapter[code] = str(error)
    return tuple(with_data), without_adapter


def _entry(code: str, adapter: Adapter, *, data: bool, reason: str = "") -> LanguageEntry:
    return LanguageEntry(code, name(code), family(code) or "", script(code), adapter, data, reason)
