"""`xmodctl sources` as a function: which languages to train in, before training, from the frozen model's vectors."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xmodctl.catalog import catalog
from xmodctl.catalog.locations import Split
from xmodctl.catalog.task import Task
from xmodctl.core.arguments import DEFAULT_MODEL, as_paths, as_selection
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, Notice, warn
from xmodctl.core.messages import counted
from xmodctl.core.reading import check_regular
from xmodctl.core.requests import command
from xmodctl.data import load_rows, offers
from xmodctl.data.files import open_bytes
from xmodctl.data.own_data import fit
from xmodctl.evaluation.embedding import embed
from xmodctl.evaluation.input_text import decoded
from xmodctl.evaluation.notebook import html_table
from xmodctl.kinds import KINDS
from xmodctl.languages import resolve, same
from xmodctl.statistics.resampling import bootstrap

ROWS = 200
"""Texts of each language, unless said otherwise."""
LEAST = 20
"""Texts of a language without which nothing is ranked."""
ALL, TASK = "all", "@task"
"""What stands for the languages of the task."""
SPLIT: Split = "test"
"""The split of the task's data whose texts are compared."""
NEIGHBORS = 5
"""Nearest texts that count for each text of a target language."""
LENGTH = 128
"""Tokens of a text that are read."""
RESAMPLES = 2_000


@dataclass(frozen=True)
class SourcesRequest:
    """Which languages are ranked as sources, for which targets.

    Args:
        langs: The target languages, as they are spelled in the task's data: `ur,sw`, or a list; `zu=sw` reads Zulu
            through the adapter of Swahili, where the model has none for it.
        task: The task whose texts are compared; its labels are not used.
        candidates: The languages that could be trained in, written alike; None is every other language of the task.
        model: The frozen model: a Hub id, a folder, or `mini`.
        data: A folder of files; None is the Hub.
        text: `LANG=FILE`: text of a language, one text per line, in place of the task's.
        rows: The number of texts per language.
        layer: The layer whose output is compared; None is the last.
        listen: Called with each event; without it, cautions become Python warnings.
    """

    langs: str | Sequence[str]
    _: KW_ONLY
    task: str | Path
    candidates: str | Sequence[str] | None = None
    model: str | Path = DEFAULT_MODEL
    data: str | Path | None = None
    text: str | Path | Sequence[str | Path] = ()
    rows: int = ROWS
    layer: int | None = None
    listen: Listener | None = None

    def __post_init__(self) -> None:
        """Refuse options that make no sense.

        Raises:
            UserError: One does not; the message names it.
        """
        if self.rows < LEAST:
            raise UserError(f"--rows {self.rows}: give at least {LEAST}, preferably {ROWS}")
        if self.data is not None and not Path(self.data).expanduser().exists():
            raise UserError(f"--data {self.data} is not a folder or a file")
        for written in as_paths(self.text):
            language, separator, file = str(written).partition("=")
            if not separator or not language:
                raise UserError(f"--text {written}: write the language and the file, as in --text ur=ur.txt")
            try:
                check_regular(Path(file).expanduser())
            except FileNotFoundError:
                raise UserError(f"--text {written}: there is no file {file}") from None
            except OSError as error:
                raise UserError(f"--text {written}: cannot read {file}: {error.strerror}") from error

    def names(self, language: str) -> bool:
        """Return whether an option names a language itself; others, which `all` stands for, can be skipped."""
        parts = [
            part.strip() for each in (self.langs, self.candidates or ALL) for part in as_selection(each).split(",")
        ]
        return _same_as(language, [part.partition("=")[0].strip() for part in parts if part not in (ALL, TASK)])

    @property
    def folder(self) -> Path | None:
        """The folder of local data."""
        return Path(self.data).expanduser() if self.data is not None else None


@dataclass(frozen=True)
class RankedSource:
    """One candidate for one target."""

    language: str
    share: float  # percent of the target's nearest texts that are in this language
    ci: tuple[float, float]  # 95%, over the target's texts


@dataclass(frozen=True, repr=False)
class SourceRanking:
    """The candidate sources of each target language, the best first."""

    task: str
    model: str
    rows: Mapping[str, int]  # texts that were compared, by language
    targets: Mapping[str, tuple[RankedSource, ...]]
    method: str

    def __repr__(self) -> str:
        best = ", ".join(f"{target}: {ranked[0].language}" for target, ranked in self.targets.items())
        return f"<SourceRanking {self.task}, {self.model}: {best}>"

    def _repr_html_(self) -> str:
        lines = [
            (target, each.language, f"{each.share:.1f}", f"{each.ci[0]:.1f} to {each.ci[1]:.1f}")
            for target, ranked in self.targets.items()
            for each in ranked
        ]
        return html_table(
            f"{self.task}, {self.model}", ("target", "source", "share", "95% interval"), lines, [self.method]
        )

    def to_json(self) -> dict[str, Any]:
        """Return the ranking as plain JSON values."""
        return asdict(self)


@command(SourcesRequest)
def sources(request: SourcesRequest) -> SourceRanking:
    """Rank languages as sources to train in, from a few hundred texts of each and the frozen model.

    A candidate's score is the share of the nearest texts of the target's texts that are in its language, among equally
    many texts of each candidate: the idea of NN-Rank (arXiv 2510.03202). Nothing is trained, and no labels are used.

    Raises:
        UserError: An option is wrong, or a language has too few texts.
    """
    task = _task(request)
    targets, named = _selected(request.langs, task), _selected(request.candidates or ALL, task)
    files = _text_files(request, [*targets, *named])
    languages = _with_adapters(request, targets, named)
    texts = _texts_of_all(request, task, languages, files)
    targets = {language: adapter for language, adapter in targets.items() if language in texts}
    if not targets:
        raise UserError(f"--langs {as_selection(request.langs)} selects no language whose texts can be compared")
    candidates = [language for language in texts if _same_as(language, named)]
    lacking = [target for target in targets if len({*candidates} - {target}) < 2]
    if lacking:
        raise UserError(
            f"a ranking needs at least two candidate languages besides {lacking[0]} itself; name them with --sources"
        )
    vectors = _vectors(texts, languages, request)
    # Each candidate has as many texts, so that none is near only because it has more.
    count = min(len(texts[language]) for language in candidates)
    rankings = {
        target: ranked(vectors[target], {name: vectors[name][:count] for name in candidates if name != target})
        for target in targets
    }
    return SourceRanking(
        task.name, str(request.model), {language: len(each) for language, each in texts.items()}, rankings,
        f"share of the {NEIGHBORS} nearest of {count} texts per candidate; bootstrap over the target's texts",
    )  # fmt: skip


def ranked(target: NDArray[np.float32], candidates: Mapping[str, NDArray[np.float32]]) -> tuple[RankedSource, ...]:
    """Return candidates by their share of the nearest texts, the best first.

    Args:
        target: The normalized vectors of the target's texts, (texts, dimensions).
        candidates: Those of each candidate, with the same number of texts.
    """
    owners = np.repeat(np.arange(len(candidates)), [len(vectors) for vectors in candidates.values()])
    nearness = target @ np.concatenate([*candidates.values()]).T
    nearest = np.argsort(-nearness, axis=1, kind="stable")[:, :NEIGHBORS]
    scores = []
    for number, language in enumerate(candidates):
        counts = (owners[nearest] == number).sum(axis=1)
        statistics = np.column_stack([counts, np.full(len(counts), nearest.shape[1])]).astype(np.float64)
        interval = bootstrap(statistics, lambda totals: 100 * totals[..., 0] / totals[..., 1], resamples=RESAMPLES)
        scores.append(
            RankedSource(language, float(100 * counts.mean() / nearest.shape[1]), (interval.low, interval.high))
        )
    return tuple(sorted(scores, key=lambda each: -each.share))


def _task(request: SourcesRequest) -> Task:
    """Return the task as its data is read."""
    task = catalog.task(str(request.task))
    if task.is_mixed:
        problem = f"the rows of {task.title} are in several languages"
        raise UserError(f"{problem}, so there are no texts of each to compare; use another task")
    if request.folder is not None:
        parts = as_selection(request.langs).split(",")
        return fit(task, request.folder, [part.partition("=")[0].strip() for part in parts if part.strip()]).task
    if task.is_open:
        raise UserError(f"the task {task.name} reads your own data; give it with --data DIR")
    return task


def _selected(selection: str | Sequence[str], task: Task) -> dict[str, str]:
    """Return each language of a selection once, and the adapter that was named for it; an empty one is its own.

    `all` and `@task` are the languages of the task, and `-de` is not one of them.
    """
    selected: dict[str, str] = {}
    parts = [part.strip() for part in as_selection(selection).split(",") if part.strip()]
    for part in parts:
        for each in task.languages if part in (ALL, TASK) else [part]:
            language, _, adapter = each.partition("=")
            if not each.startswith("-") and not _same_as(language, selected):
                selected[language.strip()] = adapter.strip()
    excluded = [part[1:] for part in parts if part.startswith("-")]
    return {language: adapter for language, adapter in selected.items() if not _same_as(language, excluded)}


def _same_as(language: str, others: Iterable[str]) -> bool:
    return any(same(language, other) for other in others)


def _with_adapters(
    request: SourcesRequest, targets: Mapping[str, str], candidates: Mapping[str, str]
) -> dict[str, str]:
    """Return each language once, as targets spell it, and the adapter that its texts go through.

    Raises:
        UserError: There are no targets, or one that was asked for has no adapter.
    """
    from xmodctl.model import find

    if not targets:
        raise UserError(f"--langs {as_selection(request.langs)} selects no language; name one or several")
    source = find(str(request.model))
    adapters: dict[str, str] = {}
    lacking: list[str] = []
    for option, language, adapter in (
        *(("--langs", *target) for target in targets.items()),
        *(("--sources", *candidate) for candidate in candidates.items() if not _same_as(candidate[0], targets)),
    ):
        try:
            match = resolve(
                adapter or language, source.languages, model=source.name, open_languages=source.open_languages
            )
        except UserError as problem:
            if request.names(language):
                raise UserError(
                    f"{problem}; its texts can go through another adapter: {option} {language}=ADAPTER"
                ) from problem
            lacking.append(language)
            continue
        adapters[language] = match.adapter
    if lacking:
        (request.listen or warn)(Notice(f"not ranked, because {source.name} has no adapter: {', '.join(lacking)}"))
    return adapters


def _text_files(request: SourcesRequest, languages: Sequence[str]) -> dict[str, Path]:
    """Return the files of text by language.

    Raises:
        UserError: A language has two, or is neither a target nor a candidate.
    """
    files: dict[str, Path] = {}
    for written in map(str, as_paths(request.text)):
        language, _, file = written.partition("=")
        if _same_as(language, files):
            raise UserError(f"--text {written}: {language} has another file; give one for each language")
        if not _same_as(language, languages):
            raise UserError(
                f"--text {written}: {language} is neither a target nor a candidate; add it to --langs or --sources"
            )
        files[language] = Path(file).expanduser()
    return files


def _texts_of_all(
    request: SourcesRequest, task: Task, languages: Iterable[str], files: Mapping[str, Path]
) -> dict[str, list[str]]:
    """Return the texts of each language; those that no option names are skipped if they have none.

    Raises:
        UserError: The texts of a language that an option names cannot be read, or are too few.
    """
    listen = request.listen or warn
    texts: dict[str, list[str]] = {}
    lacking: list[str] = []
    for language in languages:
        is_offered = _same_as(language, files) or offers(task, language, SPLIT, folder=request.folder)
        if not is_offered and not request.names(language):
            lacking.append(language)
            continue
        try:
            texts[language] = _texts(request, task, language, files)
        except UserError as problem:
            if request.names(language):
                raise
            listen(Notice(f"{language} is not ranked: {problem}"))
    if lacking:
        place = request.data if request.data is not None else task.title
        listen(Notice(f"not ranked, because {place} has no {SPLIT} data: {', '.join(lacking)}"))
    return texts


def _texts(request: SourcesRequest, task: Task, language: str, files: Mapping[str, Path]) -> list[str]:
    """Return the texts of a language: of its file, or of the task's data.

    Raises:
        UserError: They cannot be read, or are too few.
    """
    file = next((file for name, file in files.items() if same(name, language)), None)
    if file is None:
        texts = _texts_of_task(request, task, language)
    else:
        with open_bytes(file) as stream:
            texts = [line.strip() for _, line in islice(decoded(stream, str(file)), request.rows)]
    if len(texts) < LEAST:
        place = f" in {file}" if file else ""
        raise UserError(
            f"{language} has {counted(len(texts), 'text')}{place}, and a ranking needs at least {LEAST}; give more "
            f"with --text {language}=FILE"
        )
    return texts


def _texts_of_task(request: SourcesRequest, task: Task, language: str) -> list[str]:
    rows = load_rows(task, language, SPLIT, folder=request.folder, limit=request.rows)
    kind = KINDS[task.kind]
    if kind.pair_in_source:  # the other text is in the source language
        return [str(row["text"]) for row in rows.table]
    return [" ".join(kind.gold_and_texts(row, task)[1]) for row in rows.table]


def _vectors(
    texts: Mapping[str, Sequence[str]], adapters: Mapping[str, str], request: SourcesRequest
) -> dict[str, NDArray[np.float32]]:
    """Return the vectors of each language's texts, through its adapter."""
    from xmodctl.model import find, longest_input

    length = min(LENGTH, longest_input(find(str(request.model)).config))
    rows = [{"text": text, "adapter": adapters[language]} for language, each in texts.items() for text in each]
    embedded = embed(
        rows, language_column="adapter", text_column="text", model=request.model, layer=request.layer,
        max_length=length, listen=request.listen,
    ).vectors  # fmt: skip
    ends = np.cumsum([len(each) for each in texts.values()])
    return dict(zip(texts, np.split(embedded, ends[:-1]), strict=True))
