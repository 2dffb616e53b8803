"""`xmodctl donors` as a function: which adapter to use for a language that has none of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from xmodctl.adapters.store import choose_all
from xmodctl.core.events import Notice, warn
from xmodctl.core.requests import command
from xmodctl.core.schema import validator
from xmodctl.evaluation.comparison import LEVEL
from xmodctl.evaluation.evaluate import data_folder, new_sweep, reading, refuse_nothing, scored_run
from xmodctl.evaluation.measurements import Measurement, Statistics, by_way, has_own, method, resampled
from xmodctl.evaluation.notebook import data_frame, html_table
from xmodctl.evaluation.paired_tests import Pair
from xmodctl.evaluation.requests import DonorsRequest
from xmodctl.evaluation.results import Failure, Row
from xmodctl.evaluation.sharing import Processes, follow, result_of
from xmodctl.evaluation.targets import donor_targets
from xmodctl.run.jobs import joined_unless_read_only
from xmodctl.run.loading import find_base, refuse_unfinished
from xmodctl.run.run import Run
from xmodctl.statistics.resampling import Scores
from xmodctl.statistics.significance import TEST_RESAMPLES, holm
from xmodctl.training.world import World

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class DonorScore:
    """The score of one language's text through one adapter."""

    language: str
    adapter: str | None  # None is no adapter
    n: int
    values: tuple[float, ...]  # one per seed, percent
    own: bool  # whether the adapter is the language's own

    @property
    def mean(self) -> float:
        """Mean over seeds, percent."""
        return sum(self.values) / len(self.values)


@dataclass(frozen=True)
class Donor:
    """The best of the other languages' adapters for a language."""

    language: str
    adapter: str
    alike: tuple[str | None, ...]  # other donors, or no adapter, that are not significantly worse


@dataclass(frozen=True, repr=False)
class DonorMatrix:
    """The scores of texts in several languages through several adapters, and the best donor of each language."""

    run: str
    task: str
    metric: str
    split: str
    limited: int | None
    seeds: tuple[int, ...]
    languages: tuple[str, ...]
    adapters: tuple[str | None, ...]
    cells: tuple[DonorScore, ...]
    donors: tuple[Donor, ...]
    method: str
    rows: tuple[Row, ...] = ()  # what the matrix was made from
    failures: tuple[Failure, ...] = ()

    def __repr__(self) -> str:
        """Return the matrix in short."""
        donors = ", ".join(f"{donor.language}: {donor.adapter}" for donor in self.donors)
        return f"<DonorMatrix {self.run} {self.split}: {donors or 'no donor'}>"

    def _repr_html_(self) -> str:
        columns = ("text", *(adapter or "no adapter" for adapter in self.adapters), "best donor")
        lines = []
        for language in self.languages:
            cells = [self.cell(language, adapter) for adapter in self.adapters]
            donor = self.donor(language)
            scores = [f"{cell.mean:.1f}" if cell else "" for cell in cells]
            lines.append((language, *scores, donor.adapter if donor else ""))
        return html_table(f"{self.run}, {self.task}, {self.split}: {self.metric}", columns, lines)

    def to_frame(self) -> "pandas.DataFrame":
        """Return one row per cell as a pandas data frame."""
        return data_frame(
            {"language": cell.language, "adapter": cell.adapter, "n": cell.n, self.metric: cell.mean, "own": cell.own}
            for cell in self.cells
        )

    def cell(self, language: str, adapter: str | None) -> DonorScore | None:
        """Return one score, or None if there is none."""
        return next((cell for cell in self.cells if (cell.language, cell.adapter) == (language, adapter)), None)

    def donor(self, language: str) -> Donor | None:
        """Return the best donor of a language, or None if there is none."""
        return next((donor for donor in self.donors if donor.language == language), None)

    def to_json(self) -> dict[str, Any]:
        """Return the matrix as plain JSON values, with means; `rows` and `failures` are not in it."""
        value = asdict(self)
        del value["rows"], value["failures"]
        for entry, cell in zip(value["cells"], self.cells, strict=True):
            entry["mean"] = cell.mean
        return value


@command(DonorsRequest)
def donors(request: DonorsRequest) -> DonorMatrix:
    """Find an adapter for a language that has none: score its text through several adapters, and through none.

    Scores are stored in the run like any others; those that exist are kept.

    Raises:
        UserError: Nothing can be scored, or an option is wrong.
    """
    world = World.join("donors")
    if not world.is_first:
        value = result_of(follow(world, request.run, request.packages))
        matrix: DonorMatrix = validator(DonorMatrix).validate_python(value)
        return matrix
    with Processes(world).leading() as processes:
        matrix = _donors(request, processes)
        processes.result = validator(DonorMatrix).dump_python(matrix, mode="json") if processes.count > 1 else None
    return matrix


def _donors(request: DonorsRequest, processes: Processes) -> DonorMatrix:
    """Find donors with the processes of which this is the first."""
    listen = request.listen or warn
    run = scored_run(request, {}, listen)
    folder = data_folder(run, request.data, request.split, listen)
    run = reading(run, folder)
    refuse_unfinished(run)
    source = find_base(run)
    processes.open(run)
    packages = choose_all(request.packages, source)
    targets = donor_targets(
        run, source, request.selection, request.candidate_selection, folder, listen, packages=packages
    )
    # Without an adapter, a text needs one forward pass, whichever adapter it is paired with.
    firsts = list({target.data: target for target in reversed(targets)}.values())[::-1]
    sweep = new_sweep(request, run, source, folder, packages, listen, processes)
    with joined_unless_read_only(run.folder, alone=request.on_exists == "redo") as jobs:
        sweep.score(firsts, ("none",), jobs=jobs, wait=True)
        sweep.score([target for target in targets if target not in firsts], jobs=jobs, wait=True)
    refuse_nothing(sweep.rows, sweep.failures)
    listen(Notice(f"results: {run.results}"))
    return donor_matrix(run, sweep.rows, sweep.failures, known=sweep.statistics)


def donor_matrix(
    run: Run,
    rows: Sequence[Row],
    failures: Sequence[Failure] = (),
    *,
    known: Statistics | None = None,
    seed: int = 0,
    resamples: int = TEST_RESAMPLES,
) -> DonorMatrix:
    """Summarize scores as a matrix with the best donor of each language.

    Another donor counts as alike if it is not significantly different from the best one, after Holm's correction for
    the language's other donors. The best donor was chosen on these examples, so its score is slightly optimistic.

    Args:
        run: The run that was scored.
        rows: Rows of one split and limit, through adapters (`own`) and through none.
        failures: What could not be scored.
        known: Statistics that are in memory; those that are read are added.
        seed: The same seed gives the same p-values.
        resamples: The number of resamples.

    Raises:
        UserError: Predictions are missing or changed, or a language's rows are not of the same examples.
    """
    measurements = _measurements(run, rows, {} if known is None else known)
    drawn = resampled([*measurements.values()], seed=seed, resamples=resamples)
    scores = dict(zip(measurements, drawn, strict=True))
    cells = tuple(
        DonorScore(
            language,
            adapter,
            measurement.n,
            tuple(scores[language, adapter].observed.tolist()),
            has_own(language, adapter, run.plan.task),
        )
        for (language, adapter), measurement in measurements.items()
    )
    languages = tuple(dict.fromkeys(cell.language for cell in cells))
    best = [_best_donor(language, cells, measurements, scores) for language in languages]
    return DonorMatrix(
        run=str(run.folder),
        task=run.plan.task.name,
        metric=run.plan.task.headline,
        split=rows[0].split,
        limited=rows[0].limited,
        seeds=tuple(sorted({row.seed for row in rows})),
        languages=languages,
        adapters=tuple(dict.fromkeys(cell.adapter for cell in cells)),
        cells=cells,
        donors=tuple(donor for donor in best if donor),
        method=method([*measurements.values()], seed=seed, resamples=resamples),
        rows=tuple(rows),
        failures=tuple(failures),
    )


def _measurements(run: Run, rows: Sequence[Row], known: Statistics) -> dict[tuple[str, str | None], Measurement]:
    """Return the measurements of each language and adapter, with the seeds that all of the language's adapters have."""
    ways = by_way(row for row in rows if row.control != "source")
    seeds = {
        language: set.intersection(*({row.seed for row in each} for way, each in ways.items() if way[0] == language))
        for language, *_ in ways
    }
    return {
        (language, adapter): Measurement.load(run, shared, known)
        for (language, adapter, _), way_rows in ways.items()
        if (shared := [row for row in way_rows if row.seed in seeds[language]])
    }


def _best_donor(
    language: str,
    cells: Sequence[DonorScore],
    measurements: Mapping[tuple[str, str | None], Measurement],
    scores: Mapping[tuple[str, str | None], Scores],
) -> Donor | None:
    """Return the best of the other languages' adapters, with those that are not significantly different."""
    others = [cell for cell in cells if cell.language == language and not cell.own]
    candidates = [cell for cell in others if cell.adapter]
    if not candidates:
        return None
    best = max(candidates, key=lambda cell: cell.mean)
    rest = [cell.adapter for cell in others if cell != best]
    first = (language, best.adapter)
    tests = [
        Pair(str(best.adapter), str(adapter), language, measurements[first], measurements[language, adapter]).test(
            scores[first], scores[language, adapter]
        )
        for adapter in rest
    ]
    corrected = holm([test.p for test in tests])
    alike = tuple(adapter for adapter, p in zip(rest, corrected, strict=True) if p >= LEVEL)
    return Donor(language, str(best.adapter), alike)
