"""The labels of local data that no task describes: those of its training rows, and what is remarkable about them."""

import json
import re
import shlex
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.messages import counted, listed, quoted
from xmodctl.data.survey import Survey
from xmodctl.kinds import KINDS
from xmodctl.kinds.labels import absent_labels_remedy

NO_LABEL = ("-", "-1", "-1.0")
"""What stands for no label in data."""
_MISSING = ("nan", "none", "null", "n/a", "na", "#n/a")
"""What programs write in place of a missing value."""
_WHOLE = re.compile(r"-?\d+(\.0+)?")
_FRACTION = re.compile(r"[+-]?\d*\.\d*[1-9]\d*")


def labels_in(task: Task, data: Path, survey: Survey) -> tuple[str, ...]:
    """Return the labels of the training rows.

    Raises:
        UserError: There are too few to learn anything, or other rows have others.
    """
    kind = KINDS[task.kind]
    column = task.columns[kind.gold_column]
    if not isinstance(column, str):
        return tuple(column)  # one column per label
    counted_names = survey.trained.most_common()
    names = [name for name, _ in counted_names if name not in task.labels_mapped and name not in NO_LABEL]
    if numbers := [name for name in (*names, *survey.elsewhere) if _FRACTION.fullmatch(name)]:
        raise UserError(
            f"{data}: `{column}` contains numbers with a fraction, such as {numbers[0]}, which are not labels; to "
            "predict numbers, use --task regression"
        )
    labels = kind.labels_of(names)
    known = {name.casefold() for name in (*names, *labels, *task.labels_mapped, *NO_LABEL)}
    absent = {name: uses for name, uses in survey.elsewhere.items() if name.casefold() not in known}
    if len(labels) < 2 and not absent:
        if not names:
            raise UserError(f"{data}: {kind.no_label(column, survey.unnamed)}")
        only = quoted(names[0])
        raise UserError(
            f"{data}: every training row has the label {only}, so there is nothing to learn; add rows with other labels"
        )
    if problem := next((each for name in absent for each in _look_alikes([*labels, name])), ""):
        raise UserError(f"{data}: {problem}")
    if absent:
        first = list(absent.items())[:5]
        shown = "; ".join(f"{quoted(name)} ({uses})" for name, uses in first)
        more = f"; and {len(absent) - 5:,} more" if len(absent) > 5 else ""
        have = listed(map(str, shown_labels(labels))) or "none"
        if names and _are_numbers(names) != _are_numbers([*absent]) and all(map(_are_alike, (names, [*absent]))):
            words, numbers = ([*absent], names) if _are_numbers(names) else (names, [*absent])
            order = shlex.quote(f"labels={json.dumps(kind.labels_of(words), ensure_ascii=False)}")
            ids = f"if the numbers are ids of words, name the words in order, the one with id 0 first: --set {order}"
            raise UserError(
                f"{data}: labels are {'numbers' if _are_numbers(names) else 'words'} in the training rows ({have}) and "
                f"{'words' if _are_numbers(names) else 'numbers'} in others ({shown}{more}); write the same labels in "
                f"all rows{f', or, {ids}' if _may_be_ids(numbers, words) else ''}"
            )
        raise UserError(
            f"{data}: no training row has the {'label' if len(absent) == 1 else 'labels'} {shown}{more}; the training "
            f"rows have {have}{absent_labels_remedy(kind.labels_of([*names, *absent]))}"
        )
    return labels


def _are_numbers(names: Sequence[str]) -> bool:
    return all(map(_WHOLE.fullmatch, names))


def _may_be_ids(numbers: Iterable[str], words: Sequence[str]) -> bool:
    """Return whether numbers may be the ids of words, counted from 0."""
    return all(0 <= float(number) < len(words) for number in numbers)


def _are_alike(names: Sequence[str]) -> bool:
    """Return whether all names are numbers, or none is."""
    return len({_are_numbers([name]) for name in names}) == 1


def shown_labels(labels: Sequence[str]) -> list[str]:
    """Return labels as a message lists them: IOB2 tags by their type."""
    types = [label[2:] for label in labels if label[:2] == "B-"]
    return types if types and labels[0] == "O" and len(labels) == 2 * len(types) + 1 else list(labels)


def remarks_on_numbers(labels: Sequence[str]) -> list[str]:
    """Say how labels that are all numbers from 0, and so perhaps ids, get names."""
    if list(labels) != [str(number) for number in range(len(labels))]:
        return []
    example = shlex.quote(f"labels=[{', '.join(f'NAME{number}' for number in range(min(len(labels), 3)))}]")
    return [f"the labels are the numbers from 0 to {len(labels) - 1}; to name them in this order: --set {example}"]


def label_cautions(task: Task, data: Path, survey: Survey, labels: Sequence[str]) -> list[str]:
    """Name what stands for no label, and labels that are equal but for their case."""
    cautions = []
    for name in (name for name in NO_LABEL if name in survey.trained):
        setting = shlex.quote(f"labels={json.dumps([name, *labels], ensure_ascii=False)}")
        count = counted(survey.trained[name], "training row")
        cautions.append(f"{data}: {name} counts as no label ({count}); if it is a label: --set {setting}")
    for name in (name for name in survey.trained if name.casefold() in _MISSING):
        count = counted(survey.trained[name], "training row")
        cautions.append(
            f"{data}: {quoted(name)} counts as a label ({count}); if it means that there is none, remove these rows"
        )
    numbers = [name for name in labels if _are_numbers([name])]
    if numbers and len(numbers) < len(labels):
        cautions.append(f"{data}: some labels are numbers ({listed(numbers)}) and others are words; is that intended?")
    cautions += [f"{data}: {each}" for each in _joined_labels(labels)] if KINDS[task.kind].takes_flags else []
    return [*cautions, *_spelling_cautions(data, [name for name in survey.trained if name not in task.labels_mapped])]


def _joined_labels(labels: Sequence[str]) -> Iterator[str]:
    """Say of labels that consist of other labels that they are read as one."""
    for mark in "/+&#":
        joined = [label for label in labels if mark in label and {*map(str.strip, label.split(mark))} <= {*labels}]
        if joined:
            shown = listed(map(quoted, joined))
            yield f"{shown}: {mark} does not separate labels, so each of these is one label; to separate them, write |"


def _spelling_cautions(data: Path, names: Sequence[str]) -> Iterator[str]:
    """Name labels that are equal but for their case, and labels that only look equal."""
    spellings: dict[str, list[str]] = {}
    for name in names:
        spellings.setdefault(name.casefold(), []).append(name)
    for written in (" and ".join(map(quoted, each)) for each in spellings.values() if len(each) > 1):
        yield f"{data}: {written} differ only in case and are treated as the same label"
    yield from (f"{data}: {problem}" for problem in _look_alikes(each[0] for each in spellings.values()))


def _look_alikes(names: Iterable[str]) -> Iterator[str]:
    """Say of labels that only look equal what they are, and how to make one of them."""
    alike: dict[str, dict[str, str]] = {}  # how labels look -> those that are different
    for name in names:
        alike.setdefault(_folded(name), {}).setdefault(name.casefold(), name)
    for different in (each.values() for each in alike.values() if len(each) > 1):
        plain, *others = sorted(different, key=lambda name: name != _look(name))
        codes = len({_look(name).casefold() for name in different}) == 1  # of what cannot be seen
        written = " and ".join(json.dumps(name, ensure_ascii=codes) for name in (plain, *others))
        setting = shlex.quote(f"labels_mapped={json.dumps(dict.fromkeys(others, plain), ensure_ascii=codes)}")
        yield (
            f"{written} look the same but are different labels; write them in the same way, or, to treat them as one "
            f"label: --set {setting}"
        )


def _folded(name: str) -> str:
    """Return how a label looks in lower case, whether its letter I is meant as in Turkish or not."""
    return _look(name).casefold().replace("i\u0307", "i").replace("ı", "i")


def _look(name: str) -> str:
    """Return a label without what cannot be seen, with one space between words."""
    visible = (mark for mark in unicodedata.normalize("NFKC", name) if unicodedata.category(mark) != "Cf")
    return " ".join("".join(visible).split())
