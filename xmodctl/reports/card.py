"""The card of an exported model: what it is, what it scores, and what it cannot do, from the run's own rows.

The text is `card.md.jinja`; this module computes what it shows.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import quote

from xmodctl.adapters.mixtures import described
from xmodctl.catalog.locations import Split
from xmodctl.catalog.recipe import DESCRIBING
from xmodctl.core.errors import UserError
from xmodctl.core.reading import read_text
from xmodctl.core.visible import one_line
from xmodctl.evaluation.data_sets import by_data_set
from xmodctl.evaluation.measurements import with_intervals
from xmodctl.evaluation.results import Row, read_rows, report
from xmodctl.kinds import KINDS
from xmodctl.languages import name
from xmodctl.languages.tags import read
from xmodctl.reports.formats.markdown import code, escaped, legend, table_lines
from xmodctl.reports.gathering import scored_rows
from xmodctl.reports.notes import Notes
from xmodctl.reports.score_table import ScoreTable
from xmodctl.reports.serving import class_lines, pipeline_lines, served_model
from xmodctl.run.run import Run
from xmodctl.run.trained import settled_task

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

    from xmodctl.model import Facts

ORIGINS = {"mini": "intfloat/multilingual-e5-small"}
"""Base models that are not Hub ids -> the Hub model whose weights they are."""

_HUB_ORIGIN = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{40}):")


@dataclass(frozen=True)
class SplitScores:
    """What one split of the run's rows says about the exported seed."""

    split: str
    rows: tuple[Row, ...]  # of the exported seed
    table: ScoreTable
    metric: str  # in words
    notes: tuple[str, ...]
    data_set: str = ""  # which one, if the split has scores on several

    @property
    def is_published(self) -> bool:
        """Whether all data came from the Hub."""
        return all(_HUB_ORIGIN.match(row.data) for row in self.rows)


@dataclass(frozen=True)
class Exported:
    """Which part of a run is exported."""

    run: Run
    seed: int
    languages: tuple[str, ...]  # the adapters
    packages: Mapping[str, str]  # languages whose adapters came in packages -> the packages' sha256


def card(
    run: Run,
    facts: "Facts",
    seed: int,
    languages: Sequence[str],
    *,
    model_name: str,
    packages: Mapping[str, str] | None = None,
    mixtures: Mapping[str, Mapping[str, Any]] | None = None,
    is_graph: bool = False,
) -> str:
    """Return the text of README.md, metadata included; the Hub library reads back the same metadata.

    Scores through adapters that are not exported are excluded, because the exported model cannot reproduce them.

    Args:
        run: The run that is exported.
        facts: What is known about its base model.
        seed: The seed whose weights are exported.
        languages: The adapters that are exported.
        model_name: The name of the model: the folder's name, or the repository's id.
        packages: Languages whose adapters came in packages or are mixtures, and the sha256 of these.
        mixtures: What is recorded about the mixtures among the adapters.
        is_graph: Whether the model is written as an ONNX graph.
    """
    from huggingface_hub import ModelCard

    installed = {language: sha256 for language, sha256 in (packages or {}).items() if language in languages}
    exported = Exported(run, seed, tuple(languages), installed)
    scores = list(_scores(exported))
    base_license = license_of(facts)
    served = served_model(run, seed, languages, model_name, is_graph=is_graph)
    data = _metadata(exported, base_license, scores, model_name, is_graph=is_graph)
    template = Path(__file__).with_suffix(".md.jinja")
    model_card = ModelCard.from_template(
        data,
        template_path=str(template),
        **_description(exported),
        **_training(exported),
        **_limits(exported, scores),
        escaped=escaped,
        code=code,
        table_lines=table_lines,
        legend=legend,
        name=model_name,
        mixtures=[
            f"{code(language)} is a {escaped(described(record))}"
            for language, record in (mixtures or {}).items()
            if language in languages
        ],
        scores=scores,
        usage=KINDS[run.plan.task.kind].usage(settled_task(run, seed)),
        label_limits=KINDS[run.plan.task.kind].limits(settled_task(run, seed)),
        chosen_keys=KINDS[run.plan.task.kind].chosen_keys(run.plan.task),
        class_lines=class_lines(served),
        pipeline_lines=pipeline_lines(served),
        license=base_license,
    )
    assert str(model_card.data) == str(data), "the Hub's library reads metadata that differs from what was written"
    return str(model_card) + "\n"


def license_of(facts: "Facts") -> str | None:
    """Return the base model's license: from the table of known checkpoints, or else from its folder's own card."""
    if facts.license or facts.folder is None:
        return facts.license
    import yaml
    from huggingface_hub import ModelCard

    try:
        text = read_text(facts.folder / "README.md")
        stated = ModelCard(text).data.get("license") if text.startswith("---") else None
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return str(stated) if stated else None


def license_id(name: str) -> str:
    """Return a license as the Hub spells it (`CC BY-NC 4.0` is `cc-by-nc-4.0`)."""
    return name.casefold().replace(" ", "-")


# Scores.


def _scores(exported: Exported) -> Iterator[SplitScores]:
    """Return the scores of each split, the test split first."""
    run = exported.run
    splits = {row.split for row in read_rows(run.results)}
    for split in reversed(get_args(Split)):
        if split not in splits:
            continue
        notes = Notes()
        try:
            rows = scored_rows(run, split, notes)
        except UserError:  # only rows without examples
            continue
        rows = [row for row in rows if row.control == "own" and row.adapter in exported.languages]
        # A language may have been scored through a different adapter from the one that is exported.
        rows = [row for row in rows if row.package == exported.packages.get(row.adapter or "")]
        if not any(row.seed == exported.seed for row in rows):
            continue
        sets = by_data_set(rows)
        for each in sets:
            data_set = each.name if len(sets) > 1 else ""
            if any(row.seed == exported.seed for row in each.rows[0]):
                yield _split_scores(exported, split, data_set, each.rows[0], notes)
            notes = Notes()


def _split_scores(exported: Exported, split: str, data_set: str, rows: Sequence[Row], notes: Notes) -> SplitScores:
    run = exported.run
    of_seed = [row for row in rows if row.seed == exported.seed]
    one_seed = with_intervals(report(run.folder.name, of_seed), run, of_seed)
    all_seeds = report(run.folder.name, rows)
    several = len(all_seeds.seeds) > 1
    table = ScoreTable.of_report(one_seed, title=run.plan.task.title, all_seeds=all_seeds if several else None)
    limited = tuple(note for note in notes.lines if "LIMITED" not in note)  # the table is marked
    kind = KINDS[run.plan.task.kind]
    return SplitScores(split, tuple(of_seed), table, kind.headlines[one_seed.metric].title, limited, data_set)


# Metadata.


def _metadata(
    exported: Exported, base_license: str | None, scores: Sequence[SplitScores], model_name: str, *, is_graph: bool
) -> "ModelCardData":
    from huggingface_hub import ModelCardData

    plan = exported.run.plan
    codes = dict.fromkeys(tag.language for tag in map(read, exported.languages) if tag)
    results = [
        result for split in scores for row in split.rows for result in _eval_results(exported.run, row, split.data_set)
    ]
    base = ORIGINS.get(plan.model, plan.model if _is_hub_id(plan.model) else None)
    return ModelCardData(
        language=list(codes) or None,
        license=license_id(base_license) if base_license else None,
        library_name="onnx" if is_graph else "transformers",  # the Hub shows how to load a model with it
        pipeline_tag=KINDS[plan.task.kind].pipeline,
        base_model=base,
        datasets=_training_datasets(exported.run),
        metrics=[KINDS[plan.task.kind].headlines[plan.task.headline].hub_id],
        tags=[*(["onnx"] if is_graph else []), "xmod", "xmodctl", "multilingual", "cross-lingual-transfer"],
        model_name=model_name if results else None,
        eval_results=results or None,
    )


def _eval_results(run: Run, row: Row, data_set: str) -> "Iterator[EvalResult]":
    from huggingface_hub import EvalResult

    task = run.plan.task
    kind = KINDS[task.kind]
    hub = _HUB_ORIGIN.match(row.data)
    place = row.language if hub else f"{row.language}, local files"
    place += f", data set {data_set}" if data_set else ""
    limited = f", first {row.limited:,} rows" if row.limited else ""
    for metric, value in sorted(row.metrics.items(), key=lambda pair: pair[0] != row.metric):
        if metric not in kind.headlines:
            continue  # a part of one, such as the F1 of one entity type
        described = kind.headlines[metric]
        yield EvalResult(
            task_type=kind.pipeline,
            task_name=task.kind.replace("-", " ").capitalize(),
            dataset_type=hub["repository"] if hub else task.name,
            dataset_name=one_line(f"{task.title} ({place}{limited})"),
            # The Hub's library joins results with equal configurations under the name of the first.
            dataset_config=one_line(f"{row.language} ({data_set})") if data_set and not hub else row.language,
            dataset_split=row.split,
            dataset_revision=hub["commit"] if hub else None,
            metric_type=described.hub_id,
            metric_name=one_line(f"{described.title}, through {row.adapter}"),
            metric_value=round(value, 2),
        )


def _training_datasets(run: Run) -> list[str] | None:
    """Return the Hub's data set that the run was trained on, if there is no doubt which."""
    task = run.plan.task
    part = task.training or task.evaluation
    if run.plan.data or part is None or len(part.locations) > 1:
        return None
    return [part.locations[0].repository]


def _is_hub_id(model: str) -> bool:
    return re.fullmatch(r"[\w.-]+/[\w.-]+", model) is not None


# What the template shows.


def _named(languages: Sequence[str]) -> list[str]:
    return [f"{escaped(name(language))} ({code(language)})" for language in languages]


def _description(exported: Exported) -> dict[str, Any]:
    plan = exported.run.plan
    return {
        "task": plan.task,
        "stages": [task.title for task in plan.stage_tasks],
        "translated": _named(plan.task.translated_among(plan.source_languages)),
        "local_data": plan.data is not None,
        "sources": " + ".join(_named(plan.source_languages)),
        "shots": plan.shots.count if plan.shots else 0,
        "shot_languages": ", ".join(_named([adapter for _, adapter in plan.shots.languages])) if plan.shots else "",
        "base": _base(exported.run),
        "seed": exported.seed,
        "members": [
            {"name": Path(member.run).name, "seed": member.seed, "sha256": code(member.delta_sha256[:16])}
            for member in (plan.average.members if plan.average else ())
        ],
        "languages": _named(exported.languages),
        "packages": [
            f"{code(language)} (sha256 {code(sha256[:16])})" for language, sha256 in exported.packages.items()
        ],
    }


def _base(run: Run) -> str:
    plan = run.plan
    if plan.model in ORIGINS:
        return f"{code(plan.model)}, an X-MOD with the weights of {ORIGINS[plan.model]}"
    if not _is_hub_id(plan.model):
        return f"the local checkpoint {escaped(Path(plan.model).name)}"
    return f"[{escaped(plan.model)}](https://huggingface.co/{quote(plan.model)}) at revision {code(str(plan.revision))}"


def _training(exported: Exported) -> dict[str, Any]:
    run = exported.run
    recipe = run.plan.recipe
    return {
        "recipe": recipe.name,
        "settings": recipe.model_dump(mode="json", exclude=set(DESCRIBING), exclude_none=True),
        "seeds": run.seeds,
        "precision": run.plan.precision,
        "limit": run.plan.limit,
        "fingerprints": run.fingerprints,
        "versions": run.versions,
    }


def _limits(exported: Exported, scores: Sequence[SplitScores]) -> dict[str, Any]:
    rows = [row for split in scores for row in split.rows if row.truncated]
    return {
        "max_length": exported.run.plan.recipe.max_length,
        "truncated": dict.fromkeys(f"{escaped(row.language)} {row.truncated:,} of {row.n:,}" for row in rows),
        "is_limited": any(split.table.limited for split in scores),
        "one_seed": len(exported.run.finished_seeds) == 1,
    }
