"""`explain`: why one language of a run is weak, from stored predictions, the data, and the tokenizer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from xmodctl.adapters.mixtures import described_all
from xmodctl.catalog.locations import Split
from xmodctl.core.arguments import as_paths, check_choice
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, ModelLoading, warn
from xmodctl.core.files import whole_file
from xmodctl.core.messages import listed
from xmodctl.core.requests import command
from xmodctl.evaluation.compare import compare_controls
from xmodctl.evaluation.measurements import has_own, with_intervals
from xmodctl.evaluation.results import Report, Row, Score, own_rows, read_rows
from xmodctl.evaluation.results import report as summarized
from xmodctl.evaluation.scoring_commands import scoring_command, scoring_others
from xmodctl.kinds import KINDS
from xmodctl.languages import name, same
from xmodctl.reports.error_analysis import ErrorAnalyzer
from xmodctl.reports.explained_causes import LanguageRows, data_section, tokenizer_section
from xmodctl.reports.explained_errors import error_section
from xmodctl.reports.explained_remedies import remedies_for
from xmodctl.reports.explained_shots import ShotTrial
from xmodctl.reports.explained_text import text_section
from xmodctl.reports.explanation import Explanation, Figure, Section, ranked, share
from xmodctl.reports.gathering import has_source_and, rows_of_one_data_set
from xmodctl.reports.notes import Notes
from xmodctl.reports.parallel_errors import Overlap, ParallelErrors, is_parallel
from xmodctl.reports.recommending import recommendations
from xmodctl.run.loading import find_base, find_run
from xmodctl.run.run import Run
from xmodctl.run.written import check_output

if TYPE_CHECKING:
    from xmodctl.model import Source

ERRORS = 3
"""Errors shown, unless said otherwise."""


@dataclass(frozen=True)
class ExplainRequest:
    """Which language of which run is explained.

    Args:
        run: A run or its folder; None is the newest under `runs/`.
        lang: The language, in any spelling.
        split: The split whose scores are explained.
        data: Where the data is now, if it was moved since it was scored.
        text: Files with text of the language, at least 20,000 characters: adds the masked-LM loss through each adapter.
        errors: The most errors shown, with their texts.
        shots: Train again with this many examples in the language, and show the gain; None trains nothing.
        out: Also write the page as HTML to this file.
        listen: Called with each event; without it, cautions become Python warnings.
    """

    run: "Run | str | Path | None"
    lang: str
    _: KW_ONLY
    split: str = "test"
    data: str | Path | None = None
    text: str | Path | Sequence[str | Path] = ()
    errors: int = ERRORS
    shots: int | None = None
    out: str | Path | None = None
    listen: Listener | None = None

    def __post_init__(self) -> None:
        """Refuse options that make no sense.

        Raises:
            UserError: One does not; the message names it.
        """
        check_choice("--split", self.split, get_args(Split))
        if self.errors < 0:
            raise UserError(f"--errors {self.errors}: give 0 or more")
        if self.shots is not None and self.shots < 1:
            raise UserError(f"--shots {self.shots}: give a whole number, at least 1")
        if self.data is not None and not Path(self.data).expanduser().exists():
            raise UserError(f"--data {self.data} is not a folder or a file")
        if self.out is not None:
            check_output(self.out, inputs=(*as_paths(self.text), self.data))


@dataclass(frozen=True)
class Subject:
    """The language that is explained, and what its run has scored."""

    run: Run
    rows: tuple[Row, ...]  # of the split, of all languages
    code: str
    source: str
    report: Report
    analyzer: ErrorAnalyzer
    notes: Notes
    base: "Source"
    data: Path | None  # where the data is now, if it was moved

    @property
    def own(self) -> list[Row]:
        """The rows that represent the language, one per seed."""
        return own_rows(self.rows)[self.code]

    @property
    def score(self) -> Score:
        """The language's score."""
        adapter = self.own[0].adapter
        scores = (score for score in self.report.scores if (score.language, score.control) == (self.code, "own"))
        return next(score for score in scores if score.adapter == adapter)


@command(ExplainRequest)
def explain(request: ExplainRequest) -> Explanation:
    """Explain one language of a run: where it stands, possible causes, each measured, and what to try.

    Results are read, never changed. Without `text` and `shots`, no model is loaded, only its tokenizer. With `shots`, a
    run is trained beside the explained one, like it but with examples of the language; it is kept.

    Returns:
        The explanation.

    Raises:
        UserError: An option is wrong, or the run has no scores of the language or of the source language.
    """
    subject = _subject(request)
    listen = request.listen or warn
    if request.out is not None:
        check_output(request.out, data=(subject.run.plan.data, subject.data))
    trial = ShotTrial(subject.run, subject.own, request.shots, subject.data) if request.shots else None
    if trial:
        trial.check()
    remedies = remedies_for(subject.run, subject.own, subject.base, subject.data, are_shots_tried=trial is not None)
    listen(ModelLoading(f"the tokenizer of {subject.run.plan.model}"))
    from xmodctl.model import load_tokenizer

    tokenizer, rows = load_tokenizer(subject.base), own_rows(subject.rows)
    side, source = (
        LanguageRows.read(subject.analyzer, rows[code], tokenizer) for code in (subject.code, subject.source)
    )
    task = subject.run.plan.task
    parallel = ParallelErrors(subject.analyzer, rows)
    overlap = parallel.overlap(subject.code)
    if overlap is None and is_parallel(task):  # rows of one id are not the same example
        task = task.model_copy(update={"parallel": False})
    undetermined: list[str] = []
    sections = [
        tokenizer_section(side, source, task),
        _adapter_section(subject, remedies.text, undetermined.append),
        *text_section(subject.base, subject.own[0], as_paths(request.text), listen, undetermined.append),
        data_section(side, source),
        _with_overlap(error_section(side, source, task), overlap, KINDS[task.kind].wrong_means),
        *([trial.section(subject.base, listen)] if trial else []),
    ]
    mistakes = subject.analyzer.worst(rows[subject.code], (overlap.right_in_source or None) if overlap else None)
    if overlap:
        (mistakes,) = parallel.beside([mistakes])
    elif not is_parallel(subject.run.plan.task):
        undetermined.append(f"which errors are right in {subject.source}: rows of {task.name} are not parallel")
    if trial is None:
        how = f"; train again with them: {remedies.shots}" if remedies.shots else f": {remedies.obstacle}"
        undetermined.append(f"what a few examples in {subject.code} would gain{how}")
    standing = _standing(subject)
    explanation = Explanation(
        str(subject.run.folder), task.name, task.kind, task.headline, request.split, subject.own[0].limited,
        subject.code, name(subject.code), subject.source, subject.own[0].adapter, standing, tuple(sections), overlap,
        mistakes,
        ranked([*recommendations([standing, *sections], overlap, subject.code, subject.source, remedies)]),
        (*undetermined, *subject.notes.lines),
    )  # fmt: skip
    if request.out is not None:
        _write(explanation, Path(request.out))
    return explanation


def _write(explanation: Explanation, path: Path) -> None:
    with whole_file(path) as part:
        part.write_text(explanation.to_html(), encoding="utf-8", errors="backslashreplace")


def _subject(request: ExplainRequest) -> Subject:
    """Return the language with the scores of its run."""
    run, notes = find_run(request.run), Notes()
    data = Path(request.data).expanduser() if request.data is not None else None
    suffices = partial(has_source_and, request.lang)
    rows = rows_of_one_data_set(run, request.split, notes, suffices=suffices, data=data)
    languages = own_rows(rows)
    code = next((code for code in languages if same(code, request.lang)), None)
    if code is None:
        raise UserError(_unscored(run, request, languages))
    source = next((code for code, each in languages.items() if each[0].is_in_source), None)
    if source is None:
        trained = run.plan.source_languages[0] if run.plan.source_languages else run.plan.task.source_language
        row = languages[code][0]
        raise UserError(
            f"{run.folder} has no scores of the source language {trained} on the split {request.split}, with which "
            f"{code} is compared; score it: {scoring_others(run.folder, row, [trained], limited=row.limited)}"
        )
    if source == code:
        others = ", ".join(other for other in languages if other != source)
        raise UserError(f"{code} is the source language of {run.folder}; explain another one: {others or 'score some'}")
    return Subject(
        run, tuple(rows), code, source, with_intervals(summarized(run.folder.name, rows), run, rows),
        ErrorAnalyzer(run, data, request.errors, notes.add), notes, find_base(run), data,
    )  # fmt: skip


def _unscored(run: Run, request: ExplainRequest, languages: Mapping[str, Sequence[Row]]) -> str:
    """Return why a language without scores beside those of `languages` cannot be explained, and what scores it."""
    example = next(iter(languages.values()))[0]
    limited = example.limited
    every = [row for row in read_rows(run.results) if row.split == request.split and same(row.language, request.lang)]
    limits = [f"--limit {row.limited}" for row in every if row.limited]
    if limits and not limited:
        alike = [replace(row, limited=None) for row in own_rows(every)[every[-1].language]]
        return (
            f"{run.folder} has scores of {request.lang} with {listed(dict.fromkeys(limits))}, but {listed(languages)} "
            f"on all rows of the split {request.split}, and only scores on the same rows are compared; score "
            f"{request.lang} on all rows: {scoring_command(run.folder, alike)}"
        )
    return (
        f"{run.folder} has no scores of {request.lang} on the split {request.split}; it has {listed(languages)}; score "
        f"it: {scoring_others(run.folder, example, [request.lang], limited=limited)}"
    )


def _standing(subject: Subject) -> Section:
    """Return the score, the gap, and the place among the languages."""
    score, report = subject.score, subject.report
    source = next(each for each in report.scores if each.is_source)
    ends = (score.ci_low, score.ci_high)
    is_open = score.gap_ci is not None and score.gap_ci[0] <= 0 <= score.gap_ci[1]
    figures = [
        Figure(report.metric, score.mean, "%", ends, source.mean, (source.ci_low, source.ci_high)),
        Figure("majority baseline", score.baseline, "%", None, source.baseline),
    ]
    if score.gap is not None:
        figures.append(Figure(f"gap to {subject.source}, points", score.gap, "points", score.gap_ci))
    means = [sum(row.value for row in rows) / len(rows) for rows in own_rows(subject.rows).values()]
    remarks = [standing_among(sum(mean < score.mean for mean in means), len(means) - 1)]
    if score.ci_low <= score.baseline:
        remarks.append("the score may be no better than the majority baseline: its interval includes it")
    if is_open:
        remarks.append("the gap may be chance: its interval includes 0")
    if len(report.seeds) == 1:
        remarks.append("one seed: intervals do not include the variance between training runs")
    elif len(report.seeds) == 2:
        remarks.append("two seeds: they say little about the variance between training runs, so intervals are wide")
    return Section("Score", tuple(figures), tuple(remarks))


def standing_among(lower: int, others: int) -> str:
    """Return how many of the other languages score lower."""
    if others == 1:
        return f"the other language scored is {'lower' if lower else 'not lower'}"
    return f"{lower or 'none'} of the {others} other languages scored {'are' if lower > 1 else 'is'} lower"


def _adapter_section(subject: Subject, training: str, add: Callable[[str], None]) -> Section:
    """Say which adapter the text went through, and test it against others that were scored.

    Args:
        subject: The language.
        training: The command that trains an adapter for it.
        add: Takes what cannot be determined.
    """
    row = subject.own[0]
    remarks: list[str] = []
    if row.mixture:
        remarks += described_all([row.mixture])
    elif row.adapter is None:
        remarks.append("no adapter")
    else:
        own = has_own(subject.code, row.adapter, subject.run.plan.task)
        trained = (
            "an identity, not trained" if row.package is None and _is_identity(subject, row.adapter) else "trained"
        )
        remarks.append(f"{'its own' if own else 'that of another language'}: {row.adapter}, {trained}")
    figures = []
    names = {"source": f"the adapter of {subject.source}", "none": "no adapter"}
    if any(each.control != "own" and each.language == subject.code for each in subject.rows):
        comparison = compare_controls(subject.run, subject.rows, languages=subject.code)
        for difference in comparison.differences:
            if difference.language is not None:
                title = f"points above {names[difference.against]}"
                figures.append(Figure(title, difference.value, "points", difference.ci))
    elif row.package is None and _are_identities(subject, row.adapter):
        add(
            f"whether a trained adapter is better: those of {subject.code} and {subject.source} add nothing; train "
            f"one, and score with it (--adapter DIR): {training}"
        )
    else:
        controls = scoring_command(subject.run.folder, subject.own, controls=("source", "none"))
        add(f"whether another adapter is better; score it with: {controls}")
    for score in subject.report.scores:
        if score.language == subject.code and score.control == "own" and score.adapter != row.adapter:
            title = f"{subject.report.metric} through {score.adapter or 'no adapter'}"
            figures.append(Figure(title, score.mean, "%", (score.ci_low, score.ci_high)))
    return Section("Adapter", tuple(figures), tuple(remarks))


def _are_identities(subject: Subject, adapter: str | None) -> bool:
    """Return whether a language's adapter and that of the source language change nothing, and no run trained them."""
    return all(
        name is not None and _is_identity(subject, name) for name in (adapter, *subject.run.plan.source_languages)
    )


def _is_identity(subject: Subject, adapter: str) -> bool:
    """Return whether an adapter of the base model changes nothing, and the run did not train it."""
    return subject.base.is_placeholder(adapter) and adapter not in subject.run.trained_adapters()


def _with_overlap(section: Section, overlap: Overlap | None, wrong_means: str) -> Section:
    """Return the section of errors, which begins with those that the transfer loses; says what is wrong."""
    if overlap is None:
        return section
    meaning = [wrong_means] if wrong_means and overlap.wrong else []
    meaning += [f"a row counts as wrong if it is {overlap.with_seeds}"] if overlap.with_seeds else []
    section = replace(section, remarks=(*meaning, *section.remarks))
    if not overlap.wrong:
        return section
    counts = [
        (f"wrong here, right in {overlap.source}", len(overlap.right_in_source)),
        (f"wrong in all {overlap.languages} languages", len(overlap.wrong_everywhere)),
        (f"right here, wrong in {overlap.source}", overlap.only_right_here),
    ]
    figures = tuple(share(f"{title}, of all rows", (count, overlap.n)) for title, count in counts)
    return replace(section, figures=(*figures, *section.figures))
