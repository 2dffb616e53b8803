"""Where a benchmark's data is on the Hub: candidate locations, and how each names languages, splits, and columns."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    field_validator,
    model_serializer,
)

from xmodctl.core.schema import Described, mapping_of_names

Split = Literal["train", "validation", "test"]

ColumnName = Annotated[str, StringConstraints(strip_whitespace=False)]
"""A header may have spaces around a name."""
ColumnNames = dict[str, ColumnName | list[ColumnName]]


class TaggedText(Described):
    """Text whose tagged parts are in brackets, each after its tag: `wake me [date : tomorrow]`."""

    column: str = Field(description="the column of the text; words and tags are made from it")
    by_character: tuple[str, ...] = Field(
        (), description="languages whose words are single characters, except where they are ASCII"
    )


class Location(Described):
    """One repository on the Hub that may have the data; the first that is available is used."""

    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", description="id of the data set on the Hub, as owner/name")
    revision: str = Field("main", description="branch, tag, or commit")
    files: str = Field(description="files of one split: a pattern with {language} and {split}")
    languages: dict[str, str | None] = Field(
        default_factory=dict,
        description="languages in this repository, if not all; with {language} in its files, if that differs",
    )
    splits: dict[Split, str | None] = Field(
        default_factory=dict, description="splits in this repository, if not all; with {split} in its files"
    )
    columns: ColumnNames = Field(
        default_factory=dict, description="columns whose names in this repository differ from the other locations'"
    )

    @field_validator("languages", "splits", mode="before")
    @classmethod
    def _as_a_list(cls, value: object) -> object:
        """Accept `[de, en]` for `{de: , en: }`."""
        return mapping_of_names(value)

    @model_serializer(mode="wrap")
    def _as_older_versions(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Dump what older versions have as they do, so that a plan keeps its digest."""
        values: dict[str, Any] = dump(self)
        for key in ("languages", "splits"):
            if key in values and not any(values[key].values()):
                values[key] = list(values[key])
        if not self.columns:
            values.pop("columns", None)
        return values

    def has(self, language: str, split: Split) -> bool:
        """Return whether this repository may have one language and split."""
        return (not self.languages or language in self.languages) and (not self.splits or split in self.splits)

    def pattern(self, language: str, split: Split, split_name: str) -> str:
        """Return the files of one language and split, which the data set calls `split_name`."""
        files = self.files.replace("{language}", self.languages.get(language) or language)
        return files.replace("{split}", self.splits.get(split) or split_name)


class HubData(Described):
    """Where one part of a benchmark is on the Hub, and how it names its splits and columns."""

    locations: tuple[Location, ...] = Field(min_length=1, description="repositories, tried in order")
    splits: dict[Split, str] = Field(default_factory=dict, description="xmodctl's split names -> the data set's")
    columns: ColumnNames = Field(default_factory=dict, description="columns whose names differ from the task's")
    labels: tuple[str, ...] = Field(
        (), description="the names of the task's labels in this data, in the order of `labels`"
    )

    def pattern(self, location: Location, language: str, split: Split) -> str:
        """Return the files of one language and split in one of the locations."""
        return location.pattern(language, split, self.splits.get(split, split))


def without_columns(data: Mapping[str, Any], dropped: Collection[str], *, of_locations: bool = False) -> dict[str, Any]:
    """Return the values of a `HubData` without what they say of some of the kind's columns.

    Args:
        data: The values.
        dropped: The kind's columns.
        of_locations: Keep what is said for all locations together.
    """
    values = dict(data) if of_locations else _lacking(data, dropped)
    if isinstance(locations := values.get("locations"), list | tuple):
        values["locations"] = [_lacking(part, dropped) if isinstance(part, Mapping) else part for part in locations]
    return values


def without_none(values: dict[str, Any], optional: Collection[str]) -> dict[str, Any]:
    """Return the values of a task without the optional columns that say `none`, in all of its parts."""
    if not isinstance(columns := values.get("columns"), dict):
        return values
    dropped = {name for name in optional if _is_none(columns.get(name, name))}
    if not dropped:
        return values
    parts = {part: values[part] for part in ("training", "evaluation") if isinstance(values.get(part), dict)}
    return {**_lacking(values, dropped), **{part: without_columns(data, dropped) for part, data in parts.items()}}


def _is_none(name: object) -> bool:
    return name is None or (isinstance(name, str) and name.strip().casefold() in ("none", "null", ""))


def _lacking(part: Mapping[str, Any], dropped: Collection[str]) -> dict[str, Any]:
    if not isinstance(columns := part.get("columns"), Mapping):
        return dict(part)
    return {**part, "columns": {name: value for name, value in columns.items() if name not in dropped}}
