"""A task: one benchmark with its kind, data, columns, labels, languages, and metric (`tasks/*.yaml`)."""

from collections.abc import Iterable, Iterator, Mapping
from math import nan
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from xmodctl.catalog.locations import ColumnName, ColumnNames, HubData, Split, TaggedText, without_columns, without_none
from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.core.schema import Described, mapping_of_names
from xmodctl.kinds import KINDS
from xmodctl.kinds.answers import MetricRules
from xmodctl.languages import MIXED, base, is_corpus, same

Presence = Literal["required", "optional"]


class Task(Described):
    """One benchmark; `xmodctl tasks show NAME --yaml` prints the file."""

    name: str = Field(description="the file's name without .yaml")
    title: str = Field(description="the benchmark's name as it appears in papers")
    kind: str = Field(description="the kind of task, by the Hub's name")
    aliases: tuple[str, ...] = Field((), description="other names of the task")
    description: str = Field("", description="what the model does, in one sentence")
    columns: ColumnNames = Field(
        default_factory=dict,
        description="the kind's columns -> the columns of the data; missing columns are looked for in local data",
    )
    find: dict[str, Presence] = Field(
        default_factory=dict,
        description="the kind's columns that are looked for in local data by their usual names -> `required` or "
        "`optional`. Default: what the kind needs",
    )
    pair_languages: dict[str, str] = Field(
        default_factory=dict,
        description="if `text_pair` is in a different language from `text`: the benchmark's language code -> the "
        "language of `text_pair`",
    )
    language_column: ColumnName = Field(
        "", description="the column with the language, in files with several languages; common names are recognized"
    )
    language_ends_at: str = Field(
        "", description="the text after the language in the language column: `-` if a cell is `english-42`"
    )
    split_column: ColumnName = Field(
        "", description="the column with the split of each row, in a single file; `split` is recognized"
    )
    split_seed: int | None = Field(
        1,
        description="the seed of the split of a single file without a split column; none: all rows belong to the split "
        "that is requested",
    )
    split_rule: Literal[1, 2] = Field(
        1,
        description="the version of the rule that splits a single file; set by `finetune`. With 2, strata are those of "
        "the rarest label of a row, and translations that share an id stay together",
    )
    numbered_columns: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict,
        description="in files without column names whose first column counts the words: the columns, counted from 1",
    )
    labels: tuple[str, ...] = Field(
        (), description="label names in the order of their ids. Default: those of the local training data, sorted"
    )
    from_data: tuple[str, ...] = Field(
        (), description="the keys whose values were found in the data; set by `finetune`"
    )
    labels_mapped: dict[str, str] = Field(
        default_factory=dict,
        description="labels (of entities: types) of the data that the task does not have -> what replaces each",
    )
    threshold: float | Literal["source-dev"] = Field(
        0.5,
        description="the lowest probability at which a label is predicted, if a text may have several labels; or "
        "`source-dev`: the one that scores best on the validation data of the training languages, chosen for each seed",
    )
    word_rule: Literal["spaces", "spans"] = Field(
        "spaces",
        description=(
            "how `predict` splits a text into words: at spaces, or in the same way as training data that consists of "
            "texts with spans; set by `finetune`"
        ),
    )
    tagged_text: TaggedText | None = Field(
        None,
        description="the column with text whose tagged parts are in brackets; it gives `tokens` and `tags`",
    )
    connectives: dict[str, dict[str, str]] = Field(
        default_factory=dict,
        description="language -> value of `question` (cause, effect) -> its wording in that language",
    )
    languages: dict[str, str | None] = Field(
        default_factory=dict,
        description="the benchmark's language codes -> the X-MOD language, or nothing if it is obvious. Default: those "
        "of the local data",
    )
    metric: str = Field("", description="the headline metric; empty: the kind's first")
    metric_rules: MetricRules = Field(
        "squad", description="the benchmark whose script compares answers; with squad2, a question may have no answer"
    )
    recipe: dict[str, str] = Field(
        default_factory=dict,
        description="the recipe to use: `default`, and models that need another. Default: the kind's",
    )
    parallel: bool = Field(False, description="whether row i is the same example in every language")
    source_language: str = Field("en", description="the usual training language, as the benchmark spells it")
    translated: tuple[str, ...] = Field((), description="the languages whose training data is machine-translated")
    training: HubData | None = Field(
        None, description="the training data, if it is not the same data set as `evaluation`"
    )
    evaluation: HubData | None = Field(None, description="the benchmark itself; without it, the task needs --data")
    license: str = Field(
        "",
        description="the data's license as its authors state it",
        validation_alias=AliasChoices("license", "licence"),
        serialization_alias="licence",  # in the plans of runs, whose digests it is a part of
    )
    homepage: str = Field("", description="where the benchmark is described")
    citation: str = Field("", description="the paper to cite")
    rows: dict[Split, int] = Field(
        default_factory=dict, description="the number of rows of each split in one language, as stated by its authors"
    )
    notes: tuple[str, ...] = Field((), description="what users of the benchmark need to know")

    @field_validator("languages", mode="before")
    @classmethod
    def _languages_as_a_list(cls, value: object) -> object:
        """Accept `[de, en]` for `{de: , en: }`, and explain the YAML booleans that look like languages."""
        if isinstance(value, dict | list | tuple):
            if any(isinstance(code, bool) for code in value):
                raise ValueError("YAML reads an unquoted no, on, or yes as true or false; write 'no'")
            return mapping_of_names(value)
        return value

    @field_validator("columns", mode="before")
    @classmethod
    def _columns_by_number(cls, value: object) -> object:
        """Accept `tokens: 2` for the second column of a file without names."""
        if isinstance(value, dict):
            return {key: str(name) if isinstance(name, int) else name for key, name in value.items()}
        return value

    @field_validator("numbered_columns")
    @classmethod
    def _both_columns(cls, columns: dict[str, int]) -> dict[str, int]:
        if columns and (set(columns) != {"tokens", "tags"} or len(set(columns.values())) < 2):
            raise ValueError(
                "`numbered_columns` needs the columns of `tokens` and `tags`, for example {tokens: 2, tags: 3}"
            )
        return columns

    @field_validator("threshold", mode="before")
    @classmethod
    def _is_probability(cls, value: object) -> object:
        try:
            number = 0.5 if value == "source-dev" else float(str(value))
        except ValueError:
            number = nan
        if not 0 < number < 1:
            raise ValueError(f"{value} is not between 0 and 1; give a probability such as 0.5, or `source-dev`")
        return value if value == "source-dev" else number

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(labels)) < len(labels):
            raise ValueError(f"`labels` contains a label twice: {', '.join(labels)}")
        return labels

    @field_validator("recipe", mode="before")
    @classmethod
    def _one_recipe_for_all(cls, value: object) -> object:
        """Accept `recipe: nli` for `recipe: {default: nli}`."""
        return {"default": value} if isinstance(value, str) else value

    @field_validator("kind")
    @classmethod
    def _is_known_kind(cls, kind: str) -> str:
        if kind not in KINDS:
            guess = did_you_mean(kind, list(KINDS))
            raise ValueError(f"{kind!r} is not a kind of task{guess}; the kinds are {', '.join(KINDS)}")
        return kind

    @model_serializer(mode="wrap")
    def _without_new_keys(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Dump a key that older runs do not have only if it is used, so that a plan keeps its digest."""
        values: dict[str, Any] = dump(self)
        if not self.numbered_columns:
            values.pop("numbered_columns", None)
        for key in _NEW_KEYS:
            if getattr(self, key) == type(self).model_fields[key].get_default(call_default_factory=True):
                values.pop(key, None)
        return values

    def with_values(self, changes: Mapping[str, Any], *, origin: str) -> Self:
        """Return a copy with dotted keys replaced and validated; a column that is renamed has its new name everywhere.

        What `evaluation.columns` and `training.columns` name stays as it is unless they are changed themselves.
        """
        values: dict[str, Any] = dict(changes)
        for part in ("training", "evaluation"):
            data: HubData | None = getattr(self, part)
            named = {key.rpartition(".")[2] for key in changes if key.startswith(("columns.", f"{part}.columns."))}
            named |= {name for key in ("columns", f"{part}.columns") for name in changes.get(key) or ()}
            if data and part not in changes and any(named & set(location.columns) for location in data.locations):
                kept = without_columns(data.model_dump(exclude_unset=True), named, of_locations=True)
                values = {f"{part}.locations": kept["locations"], **values}
        return super().with_values(values, origin=origin)

    @model_validator(mode="before")
    @classmethod
    def _without_optional_columns(cls, values: object) -> object:
        """Accept `id: none` for an optional column that the data does not have, or that is not to be read."""
        kind = KINDS.get(str(values.get("kind"))) if isinstance(values, dict) else None
        return without_none(values, kind.optional) if kind and isinstance(values, dict) else values

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        kind = KINDS[self.kind]
        known = (*kind.required, *kind.optional)
        if self.recipe and "default" not in self.recipe:
            raise ValueError("`recipe` needs `default`, the recipe for every model that it does not list")
        is_published = bool(self.evaluation or self.training)
        if is_published and (missing := [column for column in kind.required if column not in self.columns]):
            raise ValueError(f"`columns` lacks {', '.join(missing)}, which {kind.name} needs")
        if wrong := [column for column in self.find if column not in known]:
            raise ValueError(f"`find` has {', '.join(wrong)}; {kind.name} has {', '.join(known)}")
        if unknown := [column for column in self.columns if column not in known]:
            raise ValueError(f"`columns` has {', '.join(unknown)}; {kind.name} has {', '.join(known)}")
        if kind.needs_labels and len(self.labels) < (2 if is_published else min(2, 2 * len(self.labels))):
            raise ValueError(f"{kind.name} needs `labels`, at least two")
        if is_published and not self.languages:
            raise ValueError("`languages` is missing; list the codes of the benchmark")
        if self.is_mixed and (len(self.languages) > 1 or not self.languages[MIXED] or self.source_language != MIXED):
            raise ValueError(
                f"`languages` has {MIXED}, for rows in several languages that go through one adapter; it must be the "
                f"only code and `source_language`, and name the adapter: {{{MIXED}: en_XX}}"
            )
        if self.language_column and (self.is_mixed or self.language_column == self.columns.get(kind.gold_column)):
            reason = "all rows go through one" if self.is_mixed else f"it is the {kind.gold_column} to predict"
            raise ValueError(f"`language_column`, {self.language_column!r}, must not choose the adapter: {reason}")
        if self.metric and self.metric not in kind.headlines:
            raise ValueError(f"`metric` is {self.metric!r}; {kind.name} has {', '.join(kind.headlines)}")
        if self.language_ends_at and not self.language_column:
            raise ValueError("`language_ends_at` needs `language_column`, the column that it applies to")
        for key, purpose in self._optional_keys():
            if key not in kind.task_keys:
                other = "; use `labels_mapped`" if key == "data_labels" and "labels_mapped" in kind.task_keys else ""
                raise ValueError(f"{purpose} {kind.name} does not have{other}")
        self._check_labels()
        self._check_connectives()
        kind.check_task(self)
        return self

    def _optional_keys(self) -> Iterator[tuple[str, str]]:
        """Yield the keys of this task that only some kinds read, each with the beginning of its refusal."""
        if self.metric_rules != "squad":
            yield "metric_rules", "`metric_rules` compare answers to questions, which"
        if self.labels_mapped:
            yield "labels_mapped", "`labels_mapped` renames labels, which"
        if self.threshold != type(self).model_fields["threshold"].default:
            yield "threshold", "`threshold` decides on each of several labels, which"
        if self.tagged_text:
            yield "tagged_text", "`tagged_text` has words and their tags, which"
        if self.word_rule != "spaces":
            yield "word_rule", "`word_rule` divides texts into words, which"
        if self.numbered_columns:
            yield "numbered_columns", "`numbered_columns` are those of `tokens` and `tags`, which"
        for name in ("training", "evaluation"):
            if (data := getattr(self, name)) and data.labels:
                yield "data_labels", f"`{name}.labels` renames the labels of whole examples, which"
        if self.pair_languages:
            yield "pair_languages", "`pair_languages` send both texts through different adapters, which"
        if self.connectives:
            yield "connectives", "`connectives` replace the `question` of a choice, which"

    def _check_labels(self) -> None:
        if KINDS[self.kind].needs_labels and not self.labels:
            return  # they are not known yet
        targets = set(KINDS[self.kind].label_targets(self))
        for label, target in self.labels_mapped.items():
            if target not in targets:
                raise ValueError(f"`labels_mapped.{label}` is {target!r}; expected one of {', '.join(sorted(targets))}")
            if label in targets:
                raise ValueError(f"`labels_mapped.{label}` maps a label that the task has; remove it there or here")
        for name in ("training", "evaluation"):
            data: HubData | None = getattr(self, name)
            if data and data.labels and len(data.labels) != len(self.labels):
                raise ValueError(
                    f"`{name}.labels` has {len(data.labels)} labels, and `labels` has {len(self.labels)}; "
                    "they must correspond one to one"
                )

    def _check_connectives(self) -> None:
        tables = list(self.connectives.items())
        for language, table in tables[1:]:
            first, expected = tables[0]
            if set(table) != set(expected):
                raise ValueError(
                    f"`connectives.{language}` has {', '.join(table)}; that of {first} has {', '.join(expected)}"
                )

    def is_in_language(self, code: str, language: str) -> bool:
        """Return whether the benchmark's data under `code` is in a language: `en_ewt` is in `en_XX`.

        A corpus is the data of its own name only: nothing else is in `en_ewt`.
        """
        if is_corpus(language):
            return code == language
        if is_corpus(code):
            return same(self.language_of(code), language)
        return same(code, language) or same(self.language_of(code), language)

    def language_of(self, code: str) -> str:
        """Return the language of the benchmark's data under `code`, in a spelling that `xmodctl.languages` reads."""
        return self.languages.get(code) or code

    @property
    def is_mixed(self) -> bool:
        """Whether the data has rows in several languages that all go through one adapter, as to identify languages."""
        return MIXED in self.languages

    @property
    def text_languages(self) -> dict[str, str | None]:
        """The codes of the languages that texts are in, each as `languages` has them: of mixed data, its labels."""
        return dict.fromkeys(self.labels) if self.is_mixed else self.languages

    def base_language(self, language: str) -> str:
        """Return the code of a language without script, region, or corpus: `de` for `de_DE`."""
        return base(language)

    def translated_among(self, languages: Iterable[str]) -> tuple[str, ...]:
        """Return the languages whose training data is machine-translated."""
        return tuple(
            language for language in languages if any(self.is_in_language(code, language) for code in self.translated)
        )

    def connectives_in(self, language: str, *, remedy: str) -> dict[str, str]:
        """Return the values of `question`, in lowercase -> their wording in a language.

        A task without connectives has none in any language: its questions stay as they are.

        Raises:
            UserError: The task has connectives, but none in this language; `remedy` ends the message.
        """
        for code, table in self.connectives.items():
            if self.is_in_language(code, language):
                return {question.casefold(): wording for question, wording in table.items()}
        if self.connectives:
            known = ", ".join(self.connectives)
            raise UserError(f"{self.title} has no connectives in `{language}`, only in {known}; {remedy}")
        return {}

    def recipe_for(self, model: str) -> str:
        """Return the name of the default recipe of a model."""
        recipes = self.recipe or KINDS[self.kind].recipes
        return recipes.get(model, recipes["default"])

    @property
    def missing(self) -> dict[str, Presence]:
        """The kind's columns that local data must or can show, because `columns` does not name them."""
        needed: dict[str, Presence] = dict.fromkeys(KINDS[self.kind].required, "required")
        wanted = self.find or (needed if self.columns else {**needed, "id": "optional"})
        return {column: presence for column, presence in wanted.items() if column not in self.columns}

    @property
    def is_open(self) -> bool:
        """Whether local data must show its columns or labels."""
        kind = KINDS[self.kind]
        return "required" in self.missing.values() or (kind.needs_labels and not self.labels)

    @property
    def labels_are_found(self) -> bool:
        """Whether the labels are those of the training data, sorted: then no number is an id."""
        return "labels" in self.from_data

    @property
    def headline(self) -> str:
        """The metric that a table shows."""
        return self.metric or next(iter(KINDS[self.kind].headlines))


_NEW_KEYS = (
    "threshold", "word_rule", "find", "split_column", "split_seed", "split_rule", "from_data", "tagged_text", "notes",
    "pair_languages", "rows", "translated",
)  # fmt: skip
"""Keys that older runs do not have."""


TaskName = Annotated[str, "a shipped task's name or alias, or the path of a YAML file"]
