"""What to try for a weak language: each recommendation rests on a figure that was measured."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from xmodctl.evaluation.comparison import LEVEL
from xmodctl.languages.scripts import FOREIGN_LETTERS
from xmodctl.reports.explained_errors import IN_ANOTHER_SCRIPT
from xmodctl.reports.explained_remedies import Remedies
from xmodctl.reports.explained_shots import GAIN
from xmodctl.reports.explanation import EXPECTED, MEASURED, POSSIBLE, Figure, Recommendation, Section
from xmodctl.reports.parallel_errors import Overlap
from xmodctl.statistics.significance import mcnemar

PREMIUM = 1.5
"""A language with this many times the pieces of the source language, per row or word, is split finely."""
LEAST = 2.0
"""Points, or percent of the rows, below which nothing is recommended."""
DUPLICATES, SHIFT = 5.0, 10.0
"""Percent of the rows that are duplicates, and points between the shares of a label, below which it does not matter."""


def recommendations(
    sections: Sequence[Section], overlap: Overlap | None, language: str, source: str, remedies: Remedies
) -> Iterator[Recommendation]:
    """Yield what the figures speak for.

    Args:
        sections: What was measured.
        overlap: The errors beside those in the source language.
        language: The language.
        source: The source language.
        remedies: The commands that work for the language.
    """
    figures = {figure.name: figure for section in sections for figure in section.figures}
    yield from _adapters(figures)
    yield from _shots(figures, language)
    yield from _errors(overlap, figures.get(f"gap to {source}, points"), language, source, remedies)
    yield from _rows(figures, language, source, remedies)
    yield from _weak_part(sections, language, source)
    yield from _labels(figures, language, source)
    yield from _pieces(figures, language, source, remedies)
    yield from _script(sections)


def _adapters(figures: Mapping[str, Figure]) -> Iterator[Recommendation]:
    """Yield another way through the model if it is significantly better."""
    for title, figure in figures.items():
        if title.startswith("points above ") and figure.ci and figure.ci[1] < 0:
            other = title.removeprefix("points above ")
            low, high = -figure.ci[1], -figure.ci[0]
            written = "none" if other == "no adapter" else other.removeprefix("the adapter of ")
            yield Recommendation(
                f"use {other} (--lang {written} in predict)",
                f"it scores {-figure.value:.1f} points more ({low:.1f} to {high:.1f})",
                MEASURED,
                low,
            )


def _shots(figures: Mapping[str, Figure], language: str) -> Iterator[Recommendation]:
    """Yield examples of the language if a training with them was significantly better."""
    figure = figures.get(GAIN)
    if figure and figure.ci and figure.ci[0] > 0:
        low, high = figure.ci
        yield Recommendation(
            f"also train on a few rows in {language}, as this command tried",
            f"the rows gain {figure.value:.1f} points ({low:.1f} to {high:.1f})",
            MEASURED,
            low,
        )


def _errors(
    overlap: Overlap | None, gap: Figure | None, language: str, source: str, remedies: Remedies
) -> Iterator[Recommendation]:
    """Yield what the errors beside those in the source language speak for.

    Where an answer can be right in part, rows say how many are at stake, and the gap by how many points at most.
    """
    if overlap is None or not overlap.wrong:
        return
    lost, everywhere = len(overlap.right_in_source), len(overlap.wrong_everywhere)
    low, high = overlap.share_ci or (0.0, 0.0)
    net = 100 * (lost - overlap.only_right_here) / overlap.n
    is_lost = np.arange(lost + overlap.only_right_here) < lost  # the rows that are right on one side only
    is_part = gap is not None and gap.value < net - 0.05
    stake = f"the gap of {gap.value:.1f} points" if gap and is_part else f"{net:.1f} points"
    if net >= LEAST and mcnemar(is_lost, ~is_lost) < LEVEL:
        ways = [
            f"{way} ({command})"
            for way, command in (
                (f"train also on a few rows of {language}", remedies.shots),
                (f"train an adapter on text in {language}", remedies.text),
            )
            if command
        ]
        yield Recommendation(
            f"improve the transfer: {', or '.join(ways) or f'train also in a language near {language}'}",
            f"{overlap.share:.0f}% ({low:.0f} to {high:.0f}) of the errors are right in {source}: {lost} rows, against "
            f"{overlap.only_right_here} the other way, so {stake} at most",
            EXPECTED,
            max(0.0, gap.value) if gap and is_part else net,
        )
    size = 100 * everywhere / overlap.n
    if overlap.languages > 2 and size >= LEAST:
        yield Recommendation(
            f"improve the task itself in {source} (more rows, another recipe), and read some of these rows, whose gold "
            f"answers may be wrong{f' ({remedies.everywhere})' if remedies.everywhere else ''}",
            f"{everywhere} of {len(overlap.wrong)} errors ({size:.1f}% of the rows) are wrong in all "
            f"{overlap.languages} languages scored, {source} included",
            EXPECTED,
            size / overlap.languages,  # no matter of this language alone
        )


def _rows(figures: Mapping[str, Figure], language: str, source: str, remedies: Remedies) -> Iterator[Recommendation]:
    """Yield what is wrong with more rows than in the source language.

    Rows in a different script fail, as far as is known, only if they score lower than all rows, and are no problem
    where they do not.
    """
    scored = next((each for title, each in figures.items() if title.endswith(f", {IN_ANOTHER_SCRIPT}")), None)
    every = next((each for title, each in figures.items() if scored and scored.name.startswith(f"{title}, ")), None)
    is_lower = bool(scored and scored.ci and every and every.ci and scored.ci[1] < every.ci[0])
    result = f"; their {every.name} is {scored.written}, that of all rows {every.written}" if scored and every else ""
    actions = {
        "rows with a text in a different script": (
            f"read these rows of {language}, and correct or exclude them",
            EXPECTED if is_lower else POSSIBLE,
            LEAST,
        ),
        "rows that lose text to the length limit": (
            f"train and score with a larger max_length ({remedies.longer})" if remedies.longer else "",
            EXPECTED,
            LEAST,
        ),
        "rows with the texts of an earlier row": (f"remove duplicates from {language}", POSSIBLE, DUPLICATES),
    }
    if scored and every and scored.value >= every.value:
        del actions["rows with a text in a different script"]
    for title, (action, basis, least) in actions.items():
        figure = figures.get(title) if action else None
        if figure and figure.ci and figure.source_ci and figure.value >= least and figure.ci[0] > figure.source_ci[1]:
            excess = figure.value - (figure.source or 0)
            evidence = f"{title}: {figure.written}, in {source} {figure.source_written}"
            evidence += result if title == "rows with a text in a different script" else ""
            yield Recommendation(action, evidence, basis, excess)


def _weak_part(sections: Sequence[Section], language: str, source: str) -> Iterator[Recommendation]:
    """Yield the label or length whose rows fall further behind the source language than all rows do.

    The interval of how much further must exclude 0. Where the model may know nothing of the language, all rows fail
    alike, and their parts differ by chance.
    """
    figures = {figure.name: figure for section in sections for figure in section.figures}
    baseline, score = figures.get("majority baseline"), next(iter(figures.values()), None)
    if baseline and score and score.ci and score.ci[0] <= baseline.value:
        return
    errors = next(section for section in sections if section.title == "Errors")
    # What rows in a different script need is recommended by their share of all rows.
    parts = [
        figure for figure in errors.figures
        if figure.source is not None and not figure.name.endswith(f", {IN_ANOTHER_SCRIPT}")
    ]  # fmt: skip
    falls = [
        (wider, figure)
        for figure in parts
        if (wider := figure.wider) and wider.ci[0] > 0 and wider.points >= LEAST
        if (figure.source or 0.0) - figure.value >= LEAST
    ]
    if falls:
        wider, figure = max(falls, key=lambda each: each[0].points)
        low, high = wider.ci
        yield Recommendation(
            f"in {language}, look first at {figure.name.partition(', ')[2]}",
            f"{figure.name.partition(', ')[0]} is {figure.written}, in {source} {figure.source_written}, a gap that is "
            f"{wider.points:.1f} points ({low:.1f} to {high:.1f}) wider than that of all rows",
            EXPECTED,
            wider.points / len(parts),
        )


def _labels(figures: Mapping[str, Figure], language: str, source: str) -> Iterator[Recommendation]:
    """Yield the label whose share differs most from the source language's."""
    shifts = {
        abs(figure.value - figure.source): figure
        for title, figure in figures.items()
        if title.startswith("label ") and figure.source is not None
    }
    if shifts and max(shifts) >= SHIFT:
        largest = shifts[max(shifts)]
        yield Recommendation(
            f"do not attribute the whole gap to transfer: the shares of labels differ between {language} and {source}",
            f"{largest.name.removeprefix('label ')} is {largest.written} of the labels, in {source} "
            f"{largest.source_written}",
            POSSIBLE,
            max(shifts),
        )


def _pieces(figures: Mapping[str, Figure], language: str, source: str, remedies: Remedies) -> Iterator[Recommendation]:
    """Yield what the tokenizer speaks for, where an adapter with its own vocabulary can be trained."""
    if not remedies.text:
        return
    unknown = figures.get("unknown pieces")
    elsewhere = unknown.source_ci[1] if unknown and unknown.source_ci else 0.0
    if unknown and unknown.ci and unknown.ci[0] >= LEAST and unknown.ci[0] > elsewhere:
        yield Recommendation(
            f"give {language} its own vocabulary ({remedies.text} --vocabulary new)",
            f"{unknown.written} of the pieces are unknown, in {source} {unknown.source_written}",
            EXPECTED,
            unknown.value,
        )
        return
    premium = figures.get(f"pieces per piece of the same row in {source}")
    words = figures.get("pieces per word")
    times = premium.value if premium else words.value / words.source if words and words.source else 0.0
    if times >= PREMIUM:
        measured = premium or words
        assert measured is not None
        beside = f"the pieces of the same rows in {source}" if premium else f"pieces per word, in {source}"
        yield Recommendation(
            f"try a vocabulary of its own for {language}, whose words are split into many pieces, and compare "
            f"({remedies.text} --vocabulary new)",
            f"{measured.written} {'times ' if premium else ''}{beside} {measured.source_written}".strip(),
            POSSIBLE,
            times,
        )


def _script(sections: Sequence[Section]) -> Iterator[Recommendation]:
    """Yield what is wrong with the text itself."""
    for section in sections:
        for remark in section.remarks:
            if "is this the right text?" in remark:
                yield Recommendation("check the file of this language first", remark, EXPECTED, 100 * FOREIGN_LETTERS)
