"""Two ways of scoring the same examples: is the difference more than chance?"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from string import ascii_uppercase
from typing import Any

import numpy as np

from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.evaluation.measurements import Measurement, method, resampled
from xmodctl.evaluation.results import Row, own_rows, read_rows
from xmodctl.kinds import KINDS
from xmodctl.languages import same
from xmodctl.run.run import Run
from xmodctl.statistics.resampling import Scores, percentiles, redraw
from xmodctl.statistics.significance import TEST_RESAMPLES, holm, mcnemar, p_value

LEVEL = 0.05
"""A corrected p-value below this is called a difference."""

WAYS = ("own", "source", "none")
"""How text can go through a run's model: the controls of a sweep."""

NAMED = 8  # languages that a sentence names


@dataclass(frozen=True)
class Side:
    """What is compared: a run, or a way through a run's model."""

    label: str  # A, B, ...; or own, source, none
    name: str  # the run's folder, or what the label means
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Difference:
    """How much one side scores above another, in one language or on average."""

    of: str  # a side's label
    against: str
    language: str | None  # None: the unweighted mean over the languages compared
    n: int  # examples, of a mean in all languages together
    values: tuple[float, float]  # `of` and `against`: means over seeds, percent
    ci: tuple[float, float]  # of the difference, points
    p: float
    test: str  # where `p` comes from
    p_corrected: float = 1.0  # by Holm, over every difference of the comparison
    one_plan: bool = False  # the two runs differ in nothing but their seeds

    @property
    def value(self) -> float:
        """`of` minus `against`, points."""
        return self.values[0] - self.values[1]

    @property
    def significant(self) -> bool:
        """Whether chance would hardly bring it about.

        The examples' chance, that is. Where nothing but the seeds differ, a difference is the chance of training by
        definition, and no p-value from one model a side can know how large that is.
        """
        return self.p_corrected < LEVEL and not self.one_plan


@dataclass(frozen=True)
class Comparison:
    """Differences between two or more sides."""

    task: str
    metric: str
    split: str
    limited: int | None
    sides: tuple[Side, ...]
    differences: tuple[Difference, ...]  # pair by pair: languages, then their mean
    ci_method: str
    notes: tuple[str, ...] = ()

    @property
    def pairs(self) -> dict[tuple[str, str], tuple[Difference, ...]]:
        """The differences of each pair of sides."""
        found: dict[tuple[str, str], tuple[Difference, ...]] = {}
        for one in self.differences:
            found[one.of, one.against] = (*found.get((one.of, one.against), ()), one)
        return found

    @property
    def verdicts(self) -> tuple[str, ...]:
        """One sentence or two a pair; runs go by their letters, ways through a model by what they are."""
        called = {side.label: side.name if side.label in WAYS else side.label for side in self.sides}
        return tuple(_verdict(called[of], called[against], found) for (of, against), found in self.pairs.items())

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as plain JSON values, verdicts included."""
        value = asdict(self)
        for told, one in zip(value["differences"], self.differences, strict=True):
            told |= {"value": one.value, "significant": one.significant}
        return {**value, "verdicts": list(self.verdicts)}


def _measured(run: Run, rows: Sequence[Row], language: str) -> Measurement:
    try:
        return Measurement.load(run, rows)
    except UserError as error:
        raise UserError(f"{error}; or compare the other languages with --langs all,-{language}") from None


def compare_runs(
    runs: Sequence[Run], *, split: str = "test", languages: str = "all", seed: int = 0, resamples: int = TEST_RESAMPLES
) -> Comparison:
    """Compare each run with the first, from their predictions alone.

    Args:
        runs: At least two, of one task.
        split: The split whose scores are compared.
        languages: Between commas: languages, `all`, `-de` to leave one out, `jv=id_ID` for text that went through
            another adapter.
        seed: The same seed gives the same intervals and p-values.
        resamples: How many resamples these come from.

    Raises:
        UserError: The scores are not of one task, split and set of examples, or predictions are missing or changed.
    """
    _refuse_mixtures(runs)
    labels = ascii_uppercase[: len(runs)]
    limit, rows = _rows_in_common(runs, split)
    chosen, notes = _choose(languages, dict(zip(labels, rows, strict=True)))
    measured = {
        (label, language): _measured(run, found[label], language)
        for label, run in zip(labels, runs, strict=True)
        for language, found in chosen.items()
    }
    pairs = [
        Pair(label, labels[0], language, measured[label, language], measured[labels[0], language])
        for label in labels[1:]
        for language in chosen
    ]
    sides = tuple(
        Side(label, str(run.folder), _seeds(measured[label, language] for language in chosen))
        for label, run in zip(labels, runs, strict=True)
    )
    for pair in pairs:
        if pair.one.adapter != pair.other.adapter:
            ways = f"{pair.other.adapter} in {pair.against}, {pair.one.adapter} in {pair.of}"
            notes.append(f"{pair.language} went through different adapters: {ways}")
    return _compare(pairs, sides, split, limit, notes, seed=seed, resamples=resamples)


def compare_controls(
    run: Run, rows: Sequence[Row], *, languages: str = "all", seed: int = 0, resamples: int = TEST_RESAMPLES
) -> Comparison:
    """Tell for each language whether its adapter mattered: own against the source's, own against none.

    Args:
        run: The run.
        rows: Its rows of one split and limit.
        languages: As for `compare_runs`.
        seed: The same seed gives the same intervals and p-values.
        resamples: How many resamples these come from.

    Raises:
        UserError: No row is a control, or predictions are missing or changed.
    """
    chosen, _ = _choose(languages, {"own": rows})
    pairs = []
    for control in ("source", "none"):
        for language, mine in chosen.items():
            data = mine["own"][0].language
            theirs = {row.seed: row for row in rows if (row.language, row.control) == (data, control)}
            # The source language goes through its own adapter either way.
            both = [row for row in mine["own"] if row.seed in theirs and row.adapter != theirs[row.seed].adapter]
            if both:
                other = Measurement.load(run, [theirs[row.seed] for row in both])
                pairs.append(Pair("own", control, language, Measurement.load(run, both), other))
    if not pairs:
        raise UserError(
            f"{run.folder} has no scores through another adapter to compare with; "
            f"make some: xmodctl eval-transfer --run {run.folder} --langs all --controls source,none"
        )
    names = {
        "own": "the language's own adapter",
        "source": f"the source's adapter ({run.plan.source_languages[0]})",
        "none": "no adapter",
    }
    sides = tuple(
        Side(label, name, _seeds(found))
        for label, name in names.items()
        if (found := [one for pair in pairs for one in pair.of_side(label)])
    )
    return _compare(pairs, sides, rows[0].split, rows[0].limited, [], seed=seed, resamples=resamples)


def rows_of(run: Run, split: str) -> list[Row]:
    """Return a run's rows of a split: of whole test sets, or else of the largest --limit.

    Raises:
        UserError: There are none.
    """
    return _rows_in_common([run], split)[1][0]


@dataclass(frozen=True)
class Pair:
    """Two measurements of the same examples."""

    of: str
    against: str
    language: str  # as a table calls it
    one: Measurement
    other: Measurement

    def __post_init__(self) -> None:
        """Refuse measurements of other examples.

        Raises:
            UserError: They are.
        """
        one, other = self.one.outcomes[0], self.other.outcomes[0]
        if one.gold == other.gold:
            return
        if self.one.n != self.other.n:
            how = f"{self.other.n:,} rows in {self.against}, {self.one.n:,} in {self.of}"
        else:
            how = "the ids differ" if one.ids != other.ids else "the right answers differ"
        raise UserError(
            f"{self.language}: {self.against} and {self.of} were not scored on the same examples ({how}); "
            f"score both on the same data, or leave it out: --langs all,-{self.language}"
        )

    def of_side(self, label: str) -> list[Measurement]:
        """Return the measurement of one side, if it is one of these two."""
        return [one for name, one in ((self.of, self.one), (self.against, self.other)) if name == label]

    @property
    def one_plan(self) -> bool:
        """Whether two runs differ in nothing but their seeds (and in where their data lies)."""
        one, other = self.one.run, self.other.run
        return one is not other and one.follows_the_plan_of(other)

    def exact_p(self) -> float | None:
        """Return McNemar's p-value, where scores are shares of right examples and there is one seed a side."""
        task = self.one.task
        is_share = KINDS[task.kind].headlines[task.headline].is_share
        if not is_share or len(self.one.seeds) > 1 or len(self.other.seeds) > 1:
            return None
        return mcnemar(*(one.metric(one.outcomes[0].statistics) == 100 for one in (self.one, self.other)))

    def test(self, first: Scores, second: Scores, seed: int) -> Difference:
        """Return the difference of the two scores."""
        exact = self.exact_p()
        drawn = _redraw(self, first, second, seed)
        return Difference(
            self.of,
            self.against,
            self.language,
            self.one.n,
            (first.value, second.value),
            percentiles(drawn),
            p=p_value(drawn) if exact is None else exact,
            test="paired bootstrap" if exact is None else "exact McNemar",
            one_plan=self.one_plan,
        )


def _compare(
    pairs: Sequence[Pair],
    sides: tuple[Side, ...],
    split: str,
    limit: int | None,
    notes: Sequence[str],
    *,
    seed: int,
    resamples: int,
) -> Comparison:
    """Test every pair and the means over languages, and correct for how many tests that is."""
    measured = list({id(one): one for pair in pairs for one in (pair.one, pair.other)}.values())
    scores = dict(zip(map(id, measured), resampled(measured, seed=seed, resamples=resamples), strict=True))
    notes = [*notes, *_about_seeds(sides)]
    found: list[Difference] = []
    for names in dict.fromkeys((pair.of, pair.against) for pair in pairs):
        mine = [pair for pair in pairs if (pair.of, pair.against) == names]
        both = [(scores[id(pair.one)], scores[id(pair.other)]) for pair in mine]
        found += [pair.test(*two, seed) for pair, two in zip(mine, both, strict=True)]
        if len({(first.seeds, second.seeds) for first, second in both}) > 1:
            notes.append(f"{names[0]} and {names[1]} have no mean, as languages were scored with other seeds")
        elif len(mine) > 1:
            first, second = (Scores.mean(several) for several in zip(*both, strict=True))
            found.append(_mean(mine, first, second, seed))
    corrected = holm([one.p for one in found])
    task = measured[0].task
    tests = " and ".join(dict.fromkeys(one.test for one in found))
    return Comparison(
        task=task.name,
        metric=task.headline,
        split=split,
        limited=limit,
        sides=sides,
        differences=tuple(replace(one, p_corrected=p) for one, p in zip(found, corrected, strict=True)),
        ci_method=f"{method(measured, seed=seed, resamples=resamples)}; p by {tests}, "
        f"corrected for {len(found)} tests by Holm",
        notes=tuple(notes),
    )


def _mean(pairs: Sequence[Pair], first: Scores, second: Scores, seed: int) -> Difference:
    drawn = _redraw(pairs[0], first, second, seed)
    n = sum(pair.one.n for pair in pairs)
    values = (first.value, second.value)
    of, against = pairs[0].of, pairs[0].against
    return Difference(
        of, against, None, n, values, percentiles(drawn), p_value(drawn), "paired bootstrap", one_plan=pairs[0].one_plan
    )


def _redraw(pair: Pair, first: Scores, second: Scores, seed: int) -> np.ndarray:
    """Return redrawn differences; the seeds of one run are the same models on both sides."""
    if pair.one.run is pair.other.run:
        return redraw(first - second, seed=seed)
    return redraw(first, second, seed=seed)


def _about_seeds(sides: Sequence[Side]) -> list[str]:
    alone = [side.label for side in sides if len(side.seeds) == 1]
    if not alone:
        return []
    if len(alone) < len(sides):
        return [f"{' and '.join(alone)} has one seed: the variance between seeds is taken from the others"]
    return [
        "one seed a side: this is about these very models, and training again may move scores by as much; "
        "finetune --seeds 1,2,3 tells"
    ]


def _verdict(of: str, against: str, found: Sequence[Difference]) -> str:
    """Say in words what the tests say."""
    languages = [one for one in found if one.language is not None]
    higher, lower = (
        [str(one.language) for one in languages if one.significant and one.value * sign > 0] for sign in (1, -1)
    )
    start = of[0].upper() + of[1:]
    count = len(languages)
    mean = next((one for one in found if one.language is None), None)
    if found[0].one_plan:
        text = (
            f"{start} and {against} follow the same plan and differ only in their seeds: whatever lies between them is "
            "the chance of training, and no difference is called one"
        )
        return text + (f"; on average it is {mean.value:+.1f} points." if mean else ".")
    if not higher and not lower:
        where = "in any language" if count > 1 else f"in {languages[0].language}"
        text = f"No difference is shown between {of} and {against} {where}"
    else:
        text = (
            f"{start} scores higher than {against} in {_counted(higher, count)} and lower in {_counted(lower, count)}"
        )
        if rest := count - len(higher) - len(lower):
            text += f"; in {rest} no difference is shown"
    if mean:
        low, high = mean.ci
        p = "below 0.001" if mean.p_corrected < 0.001 else f"{mean.p_corrected:.3f}"
        shown = f"{of if mean.value > 0 else against} is higher" if mean.significant else "no difference is shown"
        text += f". On average {mean.value:+.1f} points ({low:+.1f} to {high:+.1f}; corrected p {p}): {shown}"
    return text + "."


def _counted(languages: Sequence[str], count: int) -> str:
    if not languages:
        return "none"
    if count == 1:
        return languages[0]
    named = f" ({', '.join(languages)})" if len(languages) <= NAMED else ""
    return f"{len(languages)} of {count} languages{named}"


def _seeds(measurements: Iterable[Measurement]) -> tuple[int, ...]:
    return tuple(sorted({seed for one in measurements for seed in one.seeds}))


# Which scores are compared


def _refuse_mixtures(runs: Sequence[Run]) -> None:
    """Refuse runs whose scores are not of the same thing."""
    if not 2 <= len(runs) <= len(ascii_uppercase):
        raise UserError(f"{len(runs)} runs to compare: name 2 to {len(ascii_uppercase)} of them")
    first = runs[0]
    for number, run in enumerate(runs[1:], 1):
        if run.folder.resolve() in [other.folder.resolve() for other in runs[:number]]:
            raise UserError(f"{run.folder} is named twice; compare needs different runs (one alone: its controls)")
        mine, theirs = first.plan.task, run.plan.task
        for what, one, other in (
            ("task", mine.name, theirs.name),
            ("metric", mine.headline, theirs.headline),
            ("labels", ", ".join(mine.labels), ", ".join(theirs.labels)),
            ("metric_rules", mine.metric_rules, theirs.metric_rules),
        ):
            if one != other:
                raise UserError(
                    f"{first.folder} has the {what} {one}, {run.folder} has {other}; "
                    "numbers that mean different things cannot be compared: choose runs of one task"
                )


def _rows_in_common(runs: Sequence[Run], split: str) -> tuple[int | None, list[list[Row]]]:
    """Return the rows of a split with a --limit that every run has: none at all if possible, else the largest."""
    found = []
    for run in runs:
        every = read_rows(run.results)
        found.append([row for row in every if row.split == split])
        if not found[-1]:
            others = ", ".join(sorted({row.split for row in every})) or "no scores at all"
            raise UserError(
                f"{run.folder} has no scores of the split {split} (it has {others}); "
                f"make them: xmodctl eval-transfer --run {run.folder} --langs all --split {split}"
            )
    limits = [{row.limited for row in rows} for rows in found]
    shared = set.intersection(*limits)
    if not shared:
        told = "; ".join(
            f"{run.folder}: {' and '.join('all rows' if limit is None else f'{limit:,} rows' for limit in mine)}"
            for run, mine in zip(runs, limits, strict=True)
        )
        raise UserError(f"the runs were scored with different --limit ({told}); score them with the same")
    chosen = None if None in shared else max(limit for limit in shared if limit is not None)
    return chosen, [[row for row in rows if row.limited == chosen] for rows in found]


Chosen = dict[str, dict[str, list[Row]]]  # language as a table calls it -> side -> its rows


def _choose(selection: str, rows: Mapping[str, Sequence[Row]]) -> tuple[Chosen, list[str]]:
    """Return what a selection names in every run, and what is left out.

    Raises:
        UserError: A name is in no run, or not in every one; or nothing is left.
    """
    own = {label: own_rows(found) for label, found in rows.items()}
    every = list(dict.fromkeys(language for found in own.values() for language in found))
    lacking = {language: [label for label in own if language not in own[label]] for language in every}
    parts = [part.strip() for part in selection.split(",") if part.strip()]
    excluded = {language for part in parts if part.startswith("-") for language in _named(part[1:], every)}
    chosen: Chosen = {}
    left_out: dict[str, list[str]] = {}
    for part in (part for part in parts if not part.startswith("-")):
        if "=" in part:
            chosen[part] = _through(part, rows)
            continue
        for language in every if part == "all" else _named(part, every):
            if language in excluded:
                continue
            if not lacking[language]:
                chosen[language] = {label: own[label][language] for label in own}
                continue
            without = " and ".join(lacking[language])
            if part != "all":
                raise UserError(f"--langs {part}: {without} has no score of it; leave it out, or score it")
            left_out.setdefault(without, []).append(language)
    if not chosen:
        has = "; ".join(f"{label} has {', '.join(found)}" for label, found in own.items())
        raise UserError(f"--langs {selection} leaves no language that every run has a score of ({has})")
    return chosen, [f"left out, {label} has no score of {', '.join(found)}" for label, found in left_out.items()]


def _named(name: str, languages: Sequence[str]) -> list[str]:
    exact = [language for language in languages if language == name]
    if found := exact or [language for language in languages if same(language, name)]:
        return found
    guess = did_you_mean(name, list(languages))
    raise UserError(f"--langs {name}: no run has a score of it; there are {', '.join(languages)}{guess}")


def _through(part: str, rows: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """Return the rows of `jv=id_ID` in every run."""
    language, _, adapter = (piece.strip() for piece in part.partition("="))
    found = {}
    for label, mine in rows.items():
        own = [row for row in mine if row.control == "own"]
        found[label] = [row for row in own if same(row.language, language) and row.adapter == adapter]
        if not found[label]:
            there = ", ".join(dict.fromkeys(f"{row.language}={row.adapter}" for row in own))
            raise UserError(f"--langs {part}: {label} has no such score; it has {there}")
    return found
