"""Tables of scores and of comparisons in the terminal, as sheets that `display` draws."""

from dataclasses import replace
from typing import TYPE_CHECKING

from xmodctl.cli.display import Sheet
from xmodctl.evaluation.results import ALL, MAJORITY_BASELINE
from xmodctl.reports import numbers
from xmodctl.reports.score_table import BRIEF_MEANS, ScoreTable

MEAN = "mean, "
"""What the names of averages begin with; where there is little room, that of the first alone."""

if TYPE_CHECKING:
    from xmodctl.evaluation.comparison import Comparison, Difference
    from xmodctl.evaluation.results import Report
    from xmodctl.reports.score_table import Cell, ScoreRow


def report_sheet(report: "Report") -> Sheet:
    """Return the table of one run's report: one line per language, adapter, and control, then the averages.

    In less room, averages have brief names and gaps no intervals; then there is no baseline, then no number of
    examples, and at last no standard deviation over seeds.
    """
    table = ScoreTable.of_report(report)
    brief = _report_sheet(table, brief=True)
    few = brief.without(MAJORITY_BASELINE)
    fewer = few.without("n")
    value = fewer.columns.index(table.metric)
    heads = [row[0] for row in fewer.rows]
    heads[len(table.rows) + 1 :] = [head.removeprefix(MEAN) for head in heads[len(table.rows) + 1 :]]
    rows = tuple(
        (head, *row[1:value], row[value].partition(" ±")[0], *row[value + 1 :])
        for head, row in zip(heads, fewer.rows, strict=True)
    )
    return replace(_report_sheet(table), narrower=(brief, few, fewer, replace(fewer, rows=rows)))


def _report_sheet(table: ScoreTable, *, brief: bool = False) -> Sheet:
    controls = any(row.control != "own" for row in table.rows)
    # Where the baseline is the same in every language, as with balanced labels, one line shows it.
    separate = table.common_baseline is None
    numeric = ("n", table.metric, "95% interval", *((MAJORITY_BASELINE,) if separate else ()), "gap")
    columns = ("language", "adapter", *(("control",) if controls else ()), *numeric)
    rows = []
    for row in table.rows:
        value, interval, gap = _cells(row.cells[0], brief=brief)
        baseline = (numbers.score(row.baseline),) if separate else ()
        control = (row.control,) if controls else ()
        rows.append((_language(row), *row.adapters, *control, f"{row.n:,}", value, interval, *baseline, gap))
    last = len(rows) - 1
    before = ("",) * (len(columns) - len(numeric))
    for average in table.averages:
        value, interval, gap = _cells(average.cells[0], brief=brief)
        name = average.title + (" (as in XTREME)" if average.name == ALL else "")
        if brief:
            name = BRIEF_MEANS.get(average.name, average.title)
        rows.append((name, *before, value, interval, *(("",) if separate else ()), gap))
    if not separate:
        rows.append((MAJORITY_BASELINE, *before, numbers.score(table.common_baseline), "", ""))
    return Sheet(columns, tuple(rows), _title(table), frozenset(numeric), frozenset({last}))


def runs_sheet(table: ScoreTable) -> Sheet:
    """Return the table of several runs: one line per language, one column per run, then the averages."""
    names = tuple(column.name for column in table.columns)
    rows = []
    for row in table.rows:
        scores = [_score(cell) if cell else "not scored" for cell in row.cells]
        rows.append((row.language.code, row.language.name, row.language.family, *scores))
    last = len(rows) - 1
    for average in table.averages:
        rows.append((average.title, "", "", *(_score(cell) for cell in average.cells if cell)))
    scored = f"{table.task}, {table.split}{table.on_data}"
    title = f"{scored}: {table.metric} in percent (95% interval){_limited(table.limited)}"
    columns = ("language", "name", "family", *names)
    sheet = Sheet(columns, tuple(rows), title, frozenset(names), frozenset({last}))
    brief = replace(
        sheet,
        rows=tuple(
            (BRIEF_MEANS.get(row[0].removeprefix(MEAN), row[0]), *row[1:]) if number > last else row
            for number, row in enumerate(rows)
        ),
    )
    return replace(sheet, narrower=(brief.without("family"), brief.without("family", "name")))


def difference_sheets(comparison: "Comparison") -> list[Sheet]:
    """Return a table for each pair of sides: one line per language, then the mean."""
    sheets = []
    for (of, against), differences in comparison.pairs.items():
        columns = ("language", "n", against, of, "difference", "95% interval", "p (Holm)", "")
        on_data = f", data set {comparison.data_set}" if comparison.data_set else ""
        title = f"{comparison.task}, {comparison.split}{on_data}: {comparison.metric} in percent, {of} minus {against}"
        rows = tuple(_difference(difference) for difference in differences)
        has_mean = differences[-1].language is None
        sheet = Sheet(
            columns=columns,
            rows=rows,
            title=title + _limited(comparison.limited),
            right=frozenset(columns[1:-1]),
            sections=frozenset({len(rows) - 2}) if has_mean else frozenset(),
        )
        brief = replace(sheet, rows=(*rows[:-1], ("mean", *rows[-1][1:])) if has_mean else rows).without("n")
        sheets.append(replace(sheet, narrower=(brief, brief.without("95% interval"))))
    return sheets


def _difference(difference: "Difference") -> tuple[str, ...]:
    higher = difference.of if difference.value > 0 else difference.against
    low, high = difference.ci
    return (
        difference.language or "mean over languages",
        f"{difference.n:,}",
        *(numbers.score(value) for value in reversed(difference.values)),
        numbers.points(difference.value),
        f"{numbers.points(low)} to {numbers.points(high)}",
        numbers.p_value(difference.p_corrected),
        f"{higher} is higher" if difference.significant else "not significant",
    )


def _language(row: "ScoreRow") -> str:
    return f"{row.language.code} ({row.role})" if row.role else row.language.code


def _cells(cell: "Cell | None", *, brief: bool) -> tuple[str, str, str]:
    assert cell is not None, "a report's own rows are scored"
    gap = numbers.with_interval(numbers.points(cell.gap), None if brief else cell.gap_interval)
    return numbers.score(cell.value, cell.spread), numbers.interval(cell.interval), gap


def _score(cell: "Cell") -> str:
    return numbers.with_interval(numbers.score(cell.value), cell.interval)


def _title(table: ScoreTable) -> str:
    column = table.columns[0]
    seeds = f", seeds {', '.join(map(str, column.seeds))}" if len(column.seeds) > 1 else ""
    metric = f"{table.metric} in percent, {column.training('+')}"
    return f"{table.task}, {table.split}{table.on_data}: {metric}{seeds}{_limited(table.limited)}"


def _limited(limit: int | None) -> str:
    return f", LIMITED to {limit:,} rows per language" if limit else ""
