"""A survey of local data: which languages and labels its rows have, and where."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xmodctl.catalog.locations import Split
from xmodctl.catalog.task import Task
from xmodctl.core.messages import counted, quoted
from xmodctl.core.mistakes import PLACES_SHOWN, Mistakes
from xmodctl.data import single_file
from xmodctl.data.sources import joined_spellings, language_in
from xmodctl.data.tagged_text import Tagging, read_rows
from xmodctl.kinds import KINDS
from xmodctl.kinds.labels import written_form
from xmodctl.kinds.rows import Raw
from xmodctl.languages import same

DataFileOf = tuple[Path, str, Split | None]
"""A file, the language of its folder or an empty text, and its split; None if it holds several."""


@dataclass
class Uses:
    """The rows in which something occurs."""

    count: int = 0
    places: list[str] = field(default_factory=list)

    def add(self, place: str) -> None:
        """Count a row."""
        self.count += 1
        if len(self.places) < PLACES_SHOWN:
            self.places.append(place)

    def join(self, other: "Uses") -> None:
        """Count the rows of another one."""
        self.count += other.count
        self.places = [*self.places, *other.places][:PLACES_SHOWN]

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.places) else ""
        return f"{counted(self.count, 'row')}: {', '.join(self.places)}{more}"


@dataclass
class Survey:
    """What the rows of local data hold."""

    languages: dict[str, Uses] = field(default_factory=dict)
    trained: Counter[str] = field(default_factory=Counter)  # names of labels in the training rows of the sources
    elsewhere: dict[str, Uses] = field(default_factory=dict)  # names of labels in other rows
    training_rows: int = 0
    trainable: Counter[str] = field(default_factory=Counter)  # language -> rows of the split train
    tested: set[str] = field(default_factory=set)  # languages with rows of the split test
    unnamed: str = ""  # the first gold value of a training row that has no label in it, as a message shows it
    ids_differ: bool = True  # whether the ids of each language and split do

    def join_spellings(self) -> None:
        """Count the codes of one language together."""
        spelling = joined_spellings({code: uses.count for code, uses in self.languages.items()})
        joined: dict[str, Uses] = {}
        for code, uses in self.languages.items():
            joined.setdefault(spelling[code], Uses()).join(uses)
        self.languages = joined


def survey_rows(task: Task, files: Sequence[DataFileOf], languages: Sequence[str], single: Path | None) -> Survey:
    """Read all rows once; `single` is the data if its files hold several splits.

    Raises:
        UserError: A file cannot be read, or the language of a row is empty.
    """
    survey, kind = Survey(), KINDS[task.kind]
    gold = task.columns.get(kind.gold_column)
    ids: dict[tuple[str, Split], set[str]] = {}
    is_source: dict[str, bool] = {}
    for place, raw, language, split in _rows(task, files, languages, single):
        survey.languages.setdefault(language, Uses()).add(place)
        if language not in is_source:
            is_source[language] = any(same(language, source) for source in languages)
        trained = split == "train" and is_source[language]
        survey.training_rows += trained
        survey.trainable[language] += split == "train"
        survey.tested |= {language} if split == "test" else set()
        names = kind.gold_names(raw.get(gold)) if isinstance(gold, str) else []
        if trained and not names and isinstance(gold, str) and not survey.unnamed:
            survey.unnamed = quoted(raw.get(gold))
        for name in names:
            if trained:
                survey.trained[name] += 1
            else:
                survey.elsewhere.setdefault(name, Uses()).add(place)
        if survey.ids_differ and split != "train" and isinstance(column := task.columns.get("id"), str):
            seen, id_ = ids.setdefault((language, split), set()), written_form(raw.get(column)) or ""
            survey.ids_differ = bool(id_) and id_ not in seen
            seen.add(id_)
    survey.join_spellings()
    survey.trainable = +survey.trainable
    return survey


def _rows(
    task: Task, files: Sequence[DataFileOf], languages: Sequence[str], single: Path | None
) -> Iterator[tuple[str, Raw, str, Split]]:
    """Yield each row with its place, language, and split."""
    for path, folder_language, file_split in files:
        mistakes = Mistakes(str(path))
        splits = single_file.contents_of(task, single).splits_of(path) if single else None
        file, rows = read_rows(
            path,
            str(path),
            task.columns,
            mistakes,
            all_columns=True,
            numbered=task.numbered_columns,
            plain_tags=KINDS[task.kind].plain_tags,
            tagging=Tagging.of(task.tagged_text, task.columns),
        )
        for number, raw in rows:
            language: str | None = folder_language
            if not folder_language and task.language_column:
                language = language_in(raw.get(task.language_column), task.language_ends_at)
                if language is None:
                    value = quoted(raw.get(task.language_column))
                    reason = f"`{task.language_column}` is {value}; write the row's language, or remove the row"
                    mistakes.add(file.at(number), reason)
                    continue
            split = file_split or (splits.get(number, "train") if splits else "train")
            yield file.at(number), raw, language or languages[0], split
        mistakes.raise_any()
