"""Local data that no task describes: its columns, languages, and labels, found and reported."""

import json
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xmodctl.catalog import catalog
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.messages import NAMES_SHOWN, counted, listed, shell_setting
from xmodctl.data import local, single_file
from xmodctl.data.columns import nearest
from xmodctl.data.delimited import delimiter_of, header_of, other_delimiter
from xmodctl.data.headers import (
    example_header,
    first_row,
    flag_columns,
    is_language,
    language_column,
    names_or_values,
    split_column,
)
from xmodctl.data.layouts import data_files_in
from xmodctl.data.misnamed import clear_moves, conversion_of, is_annotation, renaming, texts_alone
from xmodctl.data.own_labels import label_cautions, labels_in, remarks_on_numbers, shown_labels
from xmodctl.data.readers import format_of
from xmodctl.data.sources import SPLIT_NAMES, names_of
from xmodctl.data.survey import DataFileOf, Survey, Uses, survey_rows
from xmodctl.data.usual_names import (
    SPLIT_COLUMN,
    column_of_one_word,
    columns_alike,
    numbered_choices,
    parted_answers,
    usual_columns,
    usual_language_columns,
    usual_split_columns,
)
from xmodctl.kinds import KINDS
from xmodctl.kinds.rows import Raw
from xmodctl.languages import likely_meant, same
from xmodctl.languages.tags import read as read_language


@dataclass(frozen=True)
class FittedTask:
    """A task with what local data showed, and what the user should know about it."""

    task: Task
    remarks: tuple[str, ...] = ()  # what was chosen
    cautions: tuple[str, ...] = ()  # what may be wrong
    training_rows: int = 0  # in the languages to train in; 0 if they were not counted


def fit(task: Task, data: Path, languages: Sequence[str]) -> FittedTask:
    """Return a task with the columns, languages, and labels of local data, as far as it does not name them.

    Args:
        task: The task.
        data: A file, or a folder of files.
        languages: The languages to train in, as the user spells them.

    Raises:
        UserError: A column is missing or may be one of several, or the labels cannot be learned.
    """
    is_single = single_file.is_single(data)
    is_known = not (task.is_open or is_single or not task.languages)
    if is_known and "word_rule" not in KINDS[task.kind].task_keys:
        return FittedTask(task)
    files = _files(data, is_single=is_single)
    if not files:
        if task.is_open:
            _refuse_other_folders(task, data)
        return FittedTask(task)  # what is missing is reported where it is needed
    first = first_row(task, files[0][0])
    if is_known:
        return FittedTask(_with_settings(task, first, data))
    changes, origin = _columns(task, first, files[0][0])
    guessed_id = "id" in changes.get("columns", {}) and "id" not in task.columns
    changes |= _language_and_split(task, first, files[0], changes, languages)
    is_divided = is_single and "split_column" not in changes and not task.split_column and task.split_seed is not None
    rule = {"split_rule": 2} if is_divided else {}
    remarks = _column_remarks(task, data, changes)
    task = _with_settings(task.with_values({**changes, **rule, "find": {}}, origin=origin), first, data)
    survey = survey_rows(task, files, languages, data if is_single else None)
    cautions = _language_cautions(data, survey, is_divided=is_divided)
    if not is_single and (unread := local.unread_files(data)):
        names = listed(str(path.relative_to(data)) for path in unread)
        moves = clear_moves(data, SPLIT_NAMES)
        remedy = f"; to read what is clear, run: {renaming(moves)}" if moves else ""
        cautions.append(f"{data}: not read, because their names do not give their split: {names}{remedy}")
    if guessed_id and not survey.ids_differ:
        task = task.with_values({"columns.id": None}, origin=origin)
        cautions.append(f"{data}: the values of `id` are not unique, so rows are numbered")
    shown: dict[str, Any] = {}
    if not task.languages:
        shown["languages"] = dict.fromkeys(survey.languages)
        counts = ", ".join(f"{code} ({uses.count:,})" for code, uses in survey.languages.items())
        remarks.append(f"{data}: rows by language: {counts}")
    if not survey.training_rows and KINDS[task.kind].trains:
        raise UserError(_no_training_rows(task, data, languages, survey))
    if KINDS[task.kind].needs_labels and not task.labels:
        shown["labels"] = labels_in(task, data, survey)
        remarks.append(f"labels, from the training data: {listed(shown_labels(shown['labels']))}")
        remarks += remarks_on_numbers(shown["labels"])
        cautions += label_cautions(task, data, survey, shown["labels"])
    sources = [code for code in survey.languages if any(same(code, language) for language in languages)]
    if is_divided:
        remarks += _split_remarks(data, task, survey, sources)
    if shown and sources and KINDS[task.kind].trains:
        shown["source_language"] = sources[0]
    keys = (*changes, *(key for key in shown if key != "source_language"))
    task = task.with_values({**shown, "from_data": [*task.from_data, *keys]}, origin=origin)
    return FittedTask(task, tuple(remarks), tuple(cautions), survey.training_rows)


def _language_and_split(
    task: Task, first: Raw, file: DataFileOf, changes: dict[str, Any], languages: Sequence[str]
) -> dict[str, str]:
    """Return the columns that give the language and the split of a row, if the task does not name them."""
    path, folder_language, file_split = file
    used = [*names_of(changes.get("columns", task.columns)), *usual_split_columns([*first])]
    of_language = "" if task.language_column or folder_language else language_column(task, first, path, used, languages)
    used = [*names_of(changes.get("columns", task.columns)), of_language]
    of_split = ""
    if file_split is None and not task.split_column:
        # Data that is only scored has the usual name or none: all of its rows are for tests without it.
        is_only_scored, usual = task.split_seed is None, SPLIT_COLUMN if SPLIT_COLUMN in first else ""
        of_split = usual if is_only_scored else split_column(task, first, path, used)
    return {
        **({"language_column": of_language} if of_language else {}),
        **({"split_column": of_split} if of_split else {}),
    }


def _split_remarks(data: Path, task: Task, survey: Survey, sources: Sequence[str]) -> Iterator[str]:
    strata = "language and label" if KINDS[task.kind].needs_labels else "language"
    yield (
        f"{data} has no column `{SPLIT_COLUMN}`: of each {strata}, 80% of the rows are for training, 10% for "
        f"validation, and 10% for tests; rows with the same text stay together, as do translations with the same id "
        f"(split_seed={task.split_seed})"
    )
    if sources and (others := [code for code in survey.languages if code not in sources]):
        yield (
            f"{data}: of the rows in {listed(others)}, too, only one in ten is scored; to score all of them, add a "
            f"column `{SPLIT_COLUMN}` that says `test` for them"
        )


def _files(data: Path, *, is_single: bool) -> list[DataFileOf]:
    """Return the files with their language and split, training data first."""
    if is_single:
        parts = single_file.parts_of(data)
        for path in parts:
            single_file.check_format(path)
        return [(path, language, None) for path, language in parts.items()]
    return sorted(local.data_files(data), key=lambda file: file[2] != "train")


def _refuse_other_folders(task: Task, folder: Path) -> None:
    """Refuse a folder with one file, whose name gives no split, or with annotations or texts that are not read.

    Raises:
        UserError: It is one.
    """
    if any(map(is_annotation, folder.iterdir())):
        raise UserError(f"{folder}: {conversion_of(folder / 'annotations.ann')}")
    if "text" in KINDS[task.kind].required and len(texts := texts_alone(folder)) > 1:
        gold = KINDS[task.kind].gold_column
        raise UserError(
            f"{folder} has a file for each text, such as {texts[0]}, which is not read; write all texts into one file, "
            f"such as {folder}.csv, with the columns text, {gold}, language, and, if there are splits, split"
        )
    files = data_files_in(folder)
    if len(files) == 1:
        option = shlex.join(["--data", str(files[0])])
        raise UserError(f"{folder} has no train, validation, or test file; to read its only file, give {option}")


def _with_settings(task: Task, row: Raw, data: Path) -> Task:
    """Return the task with what a row shows besides columns and labels."""
    settings = KINDS[task.kind].settings_of(row, task)
    return task.with_values(settings, origin=str(data)) if settings else task


def _columns(task: Task, first: Raw, path: Path) -> tuple[dict[str, Any], str]:
    """Return the columns that are found, as a change of the task, and the name of their origin.

    Raises:
        UserError: A column is missing, or may be one of several.
    """
    header = [*first]
    used = {name for names in task.columns.values() for name in ([names] if isinstance(names, str) else names)}
    used |= {task.language_column, task.split_column, *usual_language_columns(header), *usual_split_columns(header)}
    columns: dict[str, Any] = {}
    for column, presence in task.missing.items():
        free = [name for name in header if name not in used]
        wanted = (*task.missing, *task.columns)
        candidates = usual_columns(column, free, wanted)
        others = {name for other in _roles(task, column) for name in usual_columns(other, free, wanted)}
        several = _several_columns(task, column, free, candidates, first, path)
        if several:
            columns[column] = several
            used.update(several)
        elif len(candidates) == 1:
            columns[column] = candidates[0]
            used.add(candidates[0])
        elif len(candidates) > 1:
            raise UserError(
                f"{path}: several columns may be the {column}: {listed(candidates)}; name it with "
                f"{shell_setting(f'columns.{column}', candidates[0])}"
            )
        elif presence == "required":
            unfound = [column, *_unfound(task, column, columns, free)]
            free = [name for name in free if name not in others]
            free = [name for name in free if not isinstance(first[name], dict)]
            likely = [name for name in free if not (is_language(first[name]) or single_file.split_in(first[name]))]
            has_names = any(name in used or name in others for name in header if name)
            raise UserError(_no_column(task, unfound, likely or free, header, path, has_names=has_names))
    return ({"columns": {**task.columns, **columns}} if columns else {}), str(path)


def _roles(task: Task, column: str) -> set[str]:
    """Return the kind's other columns, also those that the task or a setting names."""
    kind = KINDS[task.kind]
    return {*task.missing, *kind.required, *kind.optional} - {column}


def _unfound(task: Task, first: str, columns: Collection[str], free: Sequence[str]) -> list[str]:
    """Return the columns that must be in the data besides the first and those found, and have no usual name either."""
    needed = [column for column, presence in task.missing.items() if presence == "required"]
    others = [column for column in needed if column != first and column not in columns]
    return [
        column
        for column in others
        if not usual_columns(column, free, (*task.missing, *task.columns))
        and not (column == "choices" and numbered_choices(free))
    ]


def _several_columns(
    task: Task, column: str, free: Sequence[str], candidates: Sequence[str], first: Raw, path: Path
) -> list[str]:
    """Return the columns that are one of the kind's together, or an empty list.

    Raises:
        UserError: Several groups of columns may be.
    """
    if column == "answers":
        return parted_answers(free) if column not in candidates else []
    if candidates:
        return []
    if column == "choices":
        groups = numbered_choices(free)
        if len(groups) > 1:
            raise UserError(
                f"{path}: several groups of columns may be the choices: {'; '.join(map(listed, groups))}; name one "
                f"with --set {shlex.quote(f'columns.choices={json.dumps(groups[0])}')}"
            )
        return groups[0] if groups else []
    if column == KINDS[task.kind].gold_column and KINDS[task.kind].takes_flags:
        flags = flag_columns(task, first, path, free)
        return flags if len(flags) > 1 else []
    return []


def _no_column(
    task: Task, unfound: Sequence[str], free: Sequence[str], header: Sequence[str], path: Path, *, has_names: bool
) -> str:
    """Return what is missing, and what to do; `has_names`: some name is known, so the first line is no row."""
    column = unfound[0]
    names = listed(map(str, header)) or "none"
    problem = f"{path}: no column is called {' or '.join(unfound)} or similar (the columns are {names})"
    others = [
        f"--task {other.name}"
        for other in catalog.tasks().values()
        if other.kind == task.kind and not other.languages and column not in other.missing
    ]
    is_table = format_of(path) in (".csv", ".tsv") and not has_names
    fields = header_of(path) if is_table else header  # a row may have the same text twice
    mark = other_delimiter(fields[0]) if len(fields) == 1 and format_of(path) == ".csv" else ""
    first_line = names_or_values(fields)
    if column == "tokens" and (word := column_of_one_word(header)):
        rows = "groupby('SENTENCE', sort=False).agg(list)"
        return (
            f"{path} has one word per row, in `{word}`; write one sentence per row, with lists of words and tags (with "
            f"pandas, {rows} and to_json('FILE.jsonl', orient='records', lines=True)), or one word and its tag per "
            "line, with an empty line between sentences, in a file whose name ends in .tsv"
        )
    in_header = (
        f"add a header line above it, such as {example_header(task, fields, delimiter_of(path))}" if is_table else ""
    )
    if mark:
        return f"{problem}; {mark}, or, if the first line of the file is a row, {in_header}"
    if is_table and first_line == "values":
        return f"{problem}; the first line of the file seems to be a row: {in_header}"
    if len(free) < (2 if column == "choices" else 1):
        added = "columns for two choices or more" if column == "choices" else "one"
        languages = usual_language_columns(header) if column == "label" else []
        used = " or ".join(others) or "another task: `xmodctl tasks list`"
        predicted = "".join(f" (to identify languages: columns.{column}={name})" for name in languages[:1])
        return f"{problem}; add {added}, or use {used}{predicted}"
    pronoun = "it" if len(unfound) == 1 and column != "choices" else "them"
    remedy = f"name {pronoun} with {_settings_for(task, unfound, free)}"
    if column != "choices":
        remedy += "".join(f", or use {other} if the rows have no {column}" for other in others)
    if is_table and first_line == "unclear":
        return f"{problem}; if the first line of the file is a row, {in_header}; if not, {remedy}"
    return f"{problem}; {remedy}" + (f", or, if the first line of the file is a row, {in_header}" if is_table else "")


def _settings_for(task: Task, unfound: Sequence[str], free: Sequence[str]) -> str:
    """Return the settings that name columns of the data, as far as there are some for all of them."""
    settings, left = list[str](), [*free]
    if "choices" in unfound:
        alike = [names for names in columns_alike(free) if 1 < len(names) <= len(free) - len(unfound) + 1]
        choices = alike[0] if alike else free[1:-1] if len(free) > 3 else free[: max(2, len(free) - 1)]
        settings.append(f"--set {shlex.quote(f'columns.choices={json.dumps(choices, ensure_ascii=False)}')}")
        left = [name for name in free if name not in choices]
    for column in [column for column in unfound if column != "choices"][: len(left)]:
        guess = nearest(column, left) or left[-1 if column == KINDS[task.kind].gold_column else 0]
        left.remove(guess)
        settings.append(shell_setting(f"columns.{column}", guess))
    return " ".join(settings)


def _column_remarks(task: Task, data: Path, changes: dict[str, Any]) -> list[str]:
    """Say what is read from which column."""
    columns = {key: name for key, name in changes.get("columns", {}).items() if key not in task.columns}
    if "language_column" in changes:
        columns["language"] = changes["language_column"]
    if "split_column" in changes:
        columns["split"] = changes["split_column"]
    if not columns:
        return []
    read_from = ", ".join(
        f"{key} from {'`' + name + '`' if isinstance(name, str) else listed(name)}" for key, name in columns.items()
    )
    return [f"{data}: {read_from} (to use another column: --set columns.{next(iter(columns))}=NAME)"]


def _language_cautions(data: Path, survey: Survey, *, is_divided: bool) -> list[str]:
    unknown = {code: uses for code, uses in survey.languages.items() if read_language(code) is None}
    untested = [
        f"{code} ({counted(uses.count, 'row')})"
        for code, uses in survey.languages.items()
        if code not in unknown and not any(same(code, tested) for tested in survey.tested)
    ]
    few = f"{data}: too few rows for test rows in {listed(untested)}; add rows, or score another file with --data FILE"
    return [
        *([f"{data}: {_unknown_languages(unknown)}"] if unknown else []),
        *([few] if is_divided and untested else []),
    ]


def _unknown_languages(unknown: Mapping[str, Uses]) -> str:
    """Return one finding on all codes that name no known language, and what to do about all of them."""
    shown = [*unknown][:NAMES_SHOWN]
    guesses = {code: guess for code in shown if (guess := likely_meant(code))}
    meant = {code: f" (did you mean {guess}?)" for code, guess in guesses.items()}
    parts = [f"`{code}`{meant.get(code, '')}: {unknown[code]}" for code in shown]
    parts += [f"and {len(unknown) - len(shown)} more"] if len(unknown) > len(shown) else []
    pairs = shlex.quote(",".join(f"{code}=ADAPTER" for code in unknown))
    return (
        f"not the code or the name of a known language: {'; '.join(parts)}. Correct this in the file, or such rows are "
        f"scored only with --langs {pairs}"
    )


def _no_training_rows(task: Task, data: Path, languages: Sequence[str], survey: Survey) -> str:
    problem = f"{data} has no training rows in {', '.join(languages)}"
    if survey.trainable:
        counts = ", ".join(f"{code} ({counted(count, 'row')})" for code, count in survey.trainable.most_common())
        return f"{problem}; it has some in {counts}; try --lang {survey.trainable.most_common(1)[0][0]}"
    if task.split_column:
        column = f"`{task.split_column}`"
        return (
            f"{problem}: {column} is `train` in no row; correct the column, or remove it, so that the rows are divided "
            "into training, validation, and test rows"
        )
    return f"{problem}; add a file for the split train"
