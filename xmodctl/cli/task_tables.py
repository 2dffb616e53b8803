"""How tasks are shown: the list by kind, and one task for people to read."""

import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from xmodctl.cli.display import Sheet, console_for, sheet
from xmodctl.core.messages import counted
from xmodctl.core.visible import one_line
from xmodctl.kinds import KINDS

if TYPE_CHECKING:
    from xmodctl.catalog.locations import HubData
    from xmodctl.catalog.task import Task
    from xmodctl.data.task_description import TaskDescription, TaskLanguage

OF_DATA = "of your data"
WIDEST = 100
"""Columns; longer lines are hard to read."""
_REMARK = re.compile(r"[;,(]| on the | for | as ")


def list_of_tasks(tasks: Iterable["Task"]) -> Sheet:
    """Return the tasks by kind, those for your own data first; on a narrow terminal, without aliases and recipes."""
    by_kind: dict[str, list[Task]] = {kind: [] for kind in KINDS}
    for task in sorted(tasks, key=lambda task: (task.evaluation is not None, task.name)):
        by_kind[task.kind].append(task)
    rows: list[tuple[str, ...]] = []
    ends = set()
    for kind, members in by_kind.items():
        rows += [(kind, "", "", "", "", "")] if members else []
        rows += [
            (
                f"  {task.name}",
                str(len(task.text_languages) or OF_DATA),
                task.headline,
                task.recipe_for("") if KINDS[kind].trains else "",
                _REMARK.split(task.license)[0].strip() if task.evaluation else OF_DATA,
                ", ".join(task.aliases),
            )
            for task in members
        ]
        ends.add(len(rows) - 1)
    columns = ("task", "languages", "metric", "recipe", "license", "aliases")
    whole = replace(sheet(columns, rows, right=("languages",)), sections=frozenset(ends))
    return replace(whole, narrower=(whole.without("aliases"), whole.without("aliases", "recipe")))


def described(description: "TaskDescription") -> str:
    """Return a task as lines of text that fit the terminal."""
    task = description.task
    title = one_line(task.title)
    lines = [title, *_wrapped(one_line(task.description), "")]
    facts = [(key, [one_line(value) for value in values if value]) for key, values in _facts(description)]
    width = max(len(key) for key, _ in facts) + 2
    lines.append("")
    for key, values in facts:
        text = [line for value in values for line in _wrapped(value, " " * width)]
        lines += [f"{key:<{width}}{text[0][width:]}", *text[1:]] if text else []
    return "\n".join(lines)


def _facts(description: "TaskDescription") -> Iterator[tuple[str, list[str]]]:
    task = description.task
    kind = KINDS[task.kind]
    aliases = f" (also: {', '.join(task.aliases)})" if task.aliases else ""
    yield "task", [f"{task.name}{aliases}"]
    yield "kind", [task.kind]
    others = ", ".join(metric for metric in kind.headlines if metric != task.headline)
    yield "metric", [task.headline + (f"; also {others}" if others else "")]
    if kind.needs_labels:
        labels = kind.expected_labels(task) if task.labels else ()
        yield "labels", [f"{len(labels)}: {', '.join(labels)}" if labels else OF_DATA]
    yield "languages", _languages(description)
    if not kind.trains:
        yield "training", ["none; scored with the sentence embeddings of a model"]
    elif task.evaluation:
        source = task.language_of(task.source_language) if task.is_mixed else task.source_language
        yield "training", [f"{source}, {'from another data set' if task.training else 'with rows of its own'}"]
    if task.rows:
        counts = "; ".join(f"{split} {count:,}" for split, count in task.rows.items())
        yield "rows", [counts if task.is_mixed else f"{counts} in one language"]
    if task.parallel:
        yield "parallel", ["rows are the same in every language"]
    if kind.trains:
        recipes = task.recipe or kind.recipes
        named = [f"{recipe} for {model}" for model, recipe in recipes.items() if model != "default"]
        yield "recipe", ["; ".join([task.recipe_for(""), *named])]
    for part, data in (("training data", task.training), ("data", task.evaluation)):
        if data:
            yield part, list(_locations(data))
    yield "license", [task.license if task.evaluation else OF_DATA]
    yield "homepage", [task.homepage]
    yield "citation", [task.citation]
    yield "notes", [f"- {note}" for note in task.notes]


def _languages(description: "TaskDescription") -> list[str]:
    languages = description.languages
    if not languages:
        return [OF_DATA]
    if not description.knows_adapters:
        reason = f"the adapters of {description.model} are not known before it is downloaded"
        return [f"{len(languages)}; {reason}", _codes(languages)]
    if description.task.is_mixed:
        (mixed,) = languages
        named = f"that of --lang ({mixed.adapter} if it is {mixed.code})"
        return [f"several at once (`{mixed.code}`), through one adapter: {named}"]
    usable = [language for language in languages if language.adapter]
    others = [language for language in languages if not language.adapter]
    count = f"{len(languages)}, {len(usable)} of them with an adapter in {description.model}"
    lines = [count, _codes(usable)]
    if others:
        lines.append(f"without an adapter: {_codes(others)}")
    return lines


def _codes(languages: Sequence["TaskLanguage"]) -> str:
    return " ".join(language.code for language in languages)


def _locations(data: "HubData") -> Iterator[str]:
    for number, location in enumerate(data.locations, start=1):
        revision = "" if location.revision == "main" else f"@{location.revision}"
        only = [counted(len(location.languages), "language")] if location.languages else []
        only += [f"only {', '.join(location.splits)}"] if location.splits else []
        place = f"{number}. {location.repository}{revision}: {location.files}"
        yield f"{place} ({'; '.join(only)})" if only else place


def _wrapped(text: str, indent: str) -> list[str]:
    width = min(console_for(sys.stdout).width, WIDEST)
    following = indent + "  " * text.startswith("- ") + "   " * bool(re.match(r"\d+\. ", text))
    return textwrap.wrap(
        text, max(width, len(indent) + 20), initial_indent=indent, subsequent_indent=following, break_on_hyphens=False
    )
