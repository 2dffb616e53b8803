"""The table of languages that `langs` shows."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from xmodctl.cli.display import Sheet, sheet

if TYPE_CHECKING:
    from xmodctl.data.language_coverage import LanguageCoverage

ADAPTERS = {"trained": "yes", "identity": "identity", "none": "no"}

LONGEST_NAME = 20
"""Characters of a language's name on a narrow terminal."""


def task_lines(coverage: "LanguageCoverage") -> Iterator[str]:
    """Yield a line for each of several tasks: its number in narrow tables, and its languages."""
    if len(coverage.tasks) > 1:
        for number, task in enumerate(coverage.tasks, start=1):
            covered, usable = coverage.usable(task)
            yield f"{number}  {task}: data in {covered} languages, {usable} with an adapter"


def language_sheet(coverage: "LanguageCoverage") -> Sheet:
    """Return the languages as a table; on a narrow terminal, families are missing, and tasks are numbered
    or, if they are many, listed by number."""
    entries = coverage.entries
    columns = ["language", "name", "family", "script", "adapter"]
    rows = [[entry.language, entry.name, entry.family, entry.script, ADAPTERS[entry.adapter]] for entry in entries]
    right = ["fertility"] if any(entry.fertility is not None for entry in entries) else []
    if right:
        columns += right
        for row, entry in zip(rows, entries, strict=True):
            row.append("" if entry.fertility is None else f"{entry.fertility:.2f}")
    title = f"{coverage.model}: {coverage.count} languages"
    if len(coverage.tasks) > 1:
        return _map(coverage, columns, rows, title, right)
    if coverage.task is not None:
        columns.append("data")
        for row, entry in zip(rows, entries, strict=True):
            row.append("yes" if entry.data else "no")
        covered, usable = coverage.usable(coverage.tasks[0])
        title += f"; {coverage.task} has data in {covered}, {usable} with an adapter"
    whole = sheet(columns, rows, title=title, right=right)
    return replace(whole, narrower=(whole.without("family"),))


def _map(
    coverage: "LanguageCoverage", columns: list[str], rows: list[list[str]], title: str, right: list[str]
) -> Sheet:
    cells = [["data" if task in entry.tasks else "" for task in coverage.tasks] for entry in coverage.entries]
    whole = sheet(
        [*columns, *coverage.tasks], [[*row, *marks] for row, marks in zip(rows, cells, strict=True)],
        title=title, right=right,
    )  # fmt: skip
    numbers = [str(number) for number, _ in enumerate(coverage.tasks, start=1)]
    crosses = [[*row, *("x" if mark else "" for mark in marks)] for row, marks in zip(rows, cells, strict=True)]
    numbered = sheet([*columns, *numbers], crosses, right=right).without("family")
    short = tuple((row[0], row[1][:LONGEST_NAME], *row[2:]) for row in numbered.rows)
    listed = [(*row[: len(columns)], _ranges(row[len(columns) :])) for row in crosses]
    compact = sheet([*columns, "tasks"], [(row[0], row[1][:LONGEST_NAME], *row[2:]) for row in listed], right=right)
    return replace(
        whole,
        narrower=(
            whole.without("family"), numbered, replace(numbered, rows=short).without("script"),
            compact.without("family", "script"),
        ),
    )  # fmt: skip


def _ranges(crosses: Sequence[str]) -> str:
    """Return the numbers from 1 of those that are set: `1-3, 7`."""
    ranges: list[list[int]] = []
    for number, cross in enumerate(crosses, start=1):
        if cross and ranges and ranges[-1][-1] == number - 1:
            ranges[-1][1:] = [number]
        elif cross:
            ranges.append([number])
    return ", ".join("-".join(map(str, each)) for each in ranges)
