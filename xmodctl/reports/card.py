"""The card of an exported model: what it is, what it scored, and what it cannot do; from the run's own rows."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.core.errors import UserError
from xmodctl.evaluation.measurements import with_intervals
from xmodctl.evaluation.results import MAJORITY_BASELINE, Report, Row, read_rows, report
from xmodctl.kinds import KINDS
from xmodctl.languages import name
from xmodctl.languages.tags import read
from xmodctl.reports.formats.markdown import escaped
from xmodctl.reports.gathering import Notes, scored_rows
from xmodctl.run.run import Run

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

    from xmodctl.model import Facts

ORIGINS = {"mini": "intfloat/multilingual-e5-small"}
"""Base models that are no Hub ids, and the Hub model whose weights they are."""

SPLITS = ("test", "validation", "train")

_HUB_ORIGIN = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{40}):")


@dataclass(frozen=True)
class Scores:
    """What one split of the run's rows says of the exported seed."""

    split: str
    rows: tuple[Row, ...]  # of the exported seed
    this: Report  # of the exported seed
    every: Report  # of every seed
    notes: tuple[str, ...]


def card(
    run: Run,
    facts: "Facts",
    seed: int,
    languages: Sequence[str],
    *,
    model_name: str,
    packages: Mapping[str, str] | None = None,
) -> str:
    """Return the text of README.md, metadata included; the Hub library has read it back without a complaint.

    Scores through adapters that are not exported are left out, because the exported model cannot give them.

    Args:
        run: The run that is exported.
        facts: What is known of its base model.
        seed: The seed whose weights are exported.
        languages: The adapters exported.
        model_name: What the model is called: the folder's name, or the repository's id.
        packages: Languages whose adapters came in packages, and the packages' sha256.
    """
    from huggingface_hub import ModelCard

    came = {language: sha256 for language, sha256 in (packages or {}).items() if language in languages}
    found = list(_scores(run, seed, languages, came))
    licence = licence_of(facts)
    data = _metadata(run, licence, languages, found, model_name)
    body = "\n\n".join(
        part
        for part in (
            f"# {escaped(model_name)}",
            _summary(run, seed, languages, came),
            "## Use",
            _usage(run, languages, model_name),
            "## Results",
            *(_results(run, one, seed) for one in found),
            *(() if found else ("This run has not been scored yet.",)),
            "## Training",
            _training(run, seed),
            "## Limits",
            _limits(run, found),
            "## Licences and sources",
            _licences(run, licence),
        )
        if part
    )
    text = f"---\n{data.to_yaml()}\n---\n\n{body}\n"
    assert str(ModelCard(text).data) == str(data), "the Hub's library reads something else than was written"
    return text


def licence_of(facts: "Facts") -> str | None:
    """Return the base model's licence: from the table of known checkpoints, else from its folder's own card."""
    if facts.licence or facts.folder is None:
        return facts.licence
    import yaml
    from huggingface_hub import ModelCard

    try:
        text = (facts.folder / "README.md").read_text(encoding="utf-8")
        stated = ModelCard(text).data.get("license") if text.startswith("---") else None
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return str(stated) if stated else None


def licence_id(licence: str) -> str:
    """Return a licence as the Hub spells it (`CC BY-NC 4.0` is `cc-by-nc-4.0`)."""
    return licence.casefold().replace(" ", "-")


def _scores(run: Run, seed: int, languages: Sequence[str], came: Mapping[str, str]) -> Iterator[Scores]:
    every = read_rows(run.results)
    for split in SPLITS:
        if not any(row.split == split for row in every):
            continue
        notes = Notes()
        try:
            shown = scored_rows(run, split, notes)
        except UserError:  # only rows over no examples
            continue
        shown = [row for row in shown if row.control == "own" and row.adapter in languages]
        shown = [row for row in shown if row.package == came.get(row.adapter or "")]  # the adapter that is exported
        mine = [row for row in shown if row.seed == seed]
        if mine:
            name_ = run.folder.name
            this = with_intervals(report(name_, mine), run, mine)
            yield Scores(split, tuple(mine), this, report(name_, shown), notes.told)


def _metadata(
    run: Run, licence: str | None, languages: Sequence[str], found: Sequence[Scores], model_name: str
) -> "ModelCardData":
    from huggingface_hub import ModelCardData

    plan = run.plan
    codes = dict.fromkeys(tag.language for tag in map(read, languages) if tag)
    results = [result for scores in found for row in scores.rows for result in _eval_results(run, row)]
    base = ORIGINS.get(plan.model, plan.model if _on_hub(plan.model) else None)
    return ModelCardData(
        language=list(codes) or None,
        license=licence_id(licence) if licence else None,
        library_name="transformers",
        pipeline_tag=KINDS[plan.task.kind].pipeline,
        base_model=base,
        datasets=_training_data(run),
        metrics=[KINDS[plan.task.kind].headlines[plan.task.headline].hub_id],
        tags=["xmod", "xmodctl", "multilingual", "cross-lingual-transfer"],
        model_name=model_name if results else None,
        eval_results=results or None,
    )


def _eval_results(run: Run, row: Row) -> Iterator["EvalResult"]:
    from huggingface_hub import EvalResult

    task = run.plan.task
    kind = KINDS[task.kind]
    hub = _HUB_ORIGIN.match(row.data)
    place = f"{row.language}" if hub else f"{row.language}, local files"
    limited = f", first {row.limited:,} rows" if row.limited else ""
    for metric, value in sorted(row.metrics.items(), key=lambda pair: pair[0] != row.metric):
        if metric not in kind.headlines:
            continue  # one of its parts, such as the F1 of one type of entity
        described = kind.headlines[metric]
        yield EvalResult(
            task_type=kind.pipeline,
            task_name=task.kind.replace("-", " ").capitalize(),
            dataset_type=hub["repository"] if hub else task.name,
            dataset_name=f"{task.title} ({place}{limited})",
            dataset_config=row.language,
            dataset_split=row.split,
            dataset_revision=hub["commit"] if hub else None,
            metric_type=described.hub_id,
            metric_name=f"{described.title}, through {row.adapter}",
            metric_value=round(value, 2),
        )


def _training_data(run: Run) -> list[str] | None:
    """Return the Hub's data set that the run trained on, where there is no doubt which."""
    task = run.plan.task
    part = task.training or task.evaluation
    if run.plan.data or part is None or len(part.locations) > 1:
        return None
    return [part.locations[0].repository]


def _on_hub(model: str) -> bool:
    return "/" in model and not Path(model).is_absolute()


def _base(run: Run) -> str:
    plan = run.plan
    if plan.model in ORIGINS:
        return f"`{plan.model}`, which is {ORIGINS[plan.model]} moved into an X-MOD"
    if not _on_hub(plan.model):
        return f"the local checkpoint {escaped(Path(plan.model).name)}"
    return f"[{plan.model}](https://huggingface.co/{plan.model}) at revision `{plan.revision}`"


def _data(run: Run) -> str:
    title = escaped(run.plan.task.title)
    return f"local files in the form of {title}" if run.plan.data else title


def _summary(run: Run, seed: int, languages: Sequence[str], came: Mapping[str, str]) -> str:
    plan = run.plan
    added = ", ".join(f"`{language}` (sha256 `{sha256[:16]}`)" for language, sha256 in came.items())
    others = f"those of the base model, but for {added}, added to it later" if came else "those of the base model"
    listed = ", ".join(f"{escaped(name(one))} (`{one}`)" for one in languages)
    trained = " + ".join(f"{escaped(name(one))} (`{one}`)" for one in plan.source_languages)
    first = f"first on {', '.join(escaped(task.title) for task in plan.earlier)}, then " if plan.earlier else ""
    if plan.shots:
        few = ", ".join(f"{escaped(name(adapter))} (`{adapter}`)" for _, adapter in plan.shots.languages)
        trained += f" and on {plan.shots.count} examples each of {few}, in which scores are not zero-shot,"
    return (
        f"X-MOD with one adapter a language, fine-tuned {first}on {_data(run)} ({plan.task.kind}) in {trained} "
        f"from {_base(run)}; seed {seed}. The other languages' adapters are {others}.\n\n"
        f"{len(languages)} language{'s' if len(languages) > 1 else ''}: {listed}."
    )


def _usage(run: Run, languages: Sequence[str], model_name: str) -> str:
    kind = KINDS[run.plan.task.kind]
    usage = kind.usage(run.plan.task)
    auto = kind.auto_class
    chosen = run.plan.source_languages[0] if run.plan.source_languages[0] in languages else languages[0]
    return (
        f"```python\nfrom transformers import {auto}, AutoTokenizer\n\n"
        f"tokenizer = AutoTokenizer.from_pretrained({model_name!r})\n"
        f"model = {auto}.from_pretrained({model_name!r}).eval()\n"
        f"model.set_default_language({chosen!r})  # the language of the texts that follow\n"
        f"inputs = {usage.inputs}\n"
        'inputs.pop("token_type_ids", None)\n'
        f"outputs = model(**inputs)\n{usage.output}\n```\n\n"
        "Call `set_default_language` with the language of the texts before each batch: another language's adapter "
        "gives other, usually worse, answers and no error." + (f"\n\n{usage.note}" if usage.note else "")
    )


def _results(run: Run, scores: Scores, seed: int) -> str:
    told, task = scores.this, run.plan.task
    several = len(scores.every.seeds) > 1
    hub = all(_HUB_ORIGIN.match(row.data) for row in scores.rows)
    limited = f", LIMITED to the first {told.limited:,} rows of each language" if told.limited else ""
    mark = " LIMITED" if told.limited else ""
    heads = ["language", "adapter", "n", f"{told.metric}", "95 % interval", MAJORITY_BASELINE, "gap"]
    if several:
        heads.append(f"mean of {len(scores.every.seeds)} seeds")
    means = {(one.language, one.adapter): one for one in scores.every.scores}
    lines = [
        f"### {escaped(task.title)}, {scores.split}{'' if hub else ', local files'}{limited}",
        "",
        f"{KINDS[task.kind].headlines[told.metric].title} in percent of seed {seed}, the weights in this repository.",
        "",
        f"| {' | '.join(heads)} |",
        f"| --- | --- |{' ---: |' * (len(heads) - 2)}",
    ]
    for one in told.scores:
        source = " *source*" if one.is_source else f" *{one.shots} shots*" if one.shots else ""
        cells = [
            f"{escaped(name(one.language))} ({escaped(one.language)}){source}",
            f"`{one.adapter}`",
            f"{one.n:,}{mark}",
            f"{one.mean:.1f}",
            f"{one.ci_low:.1f} to {one.ci_high:.1f}",
            f"{one.baseline:.1f}",
            "" if one.gap is None else f"{one.gap:+.1f}",
        ]
        if several:
            over = means[one.language, one.adapter]
            cells.append(f"{over.mean:.1f}" + ("" if over.spread is None else f" ± {over.spread:.1f}"))
        lines.append(f"| {' | '.join(cells)} |")
    for average, value in told.averages.items():
        ends = told.averages_ci.get(average)
        cells = [f"mean, {average}", "", "", f"**{value:.1f}**", f"{ends[0]:.1f} to {ends[1]:.1f}" if ends else ""]
        lines.append(f"| {' | '.join(cells + [''] * (len(heads) - len(cells)))} |")
    methods = "; ".join(dict.fromkeys(one.ci_method for one in told.scores))
    lines += [
        "",
        f"*{MAJORITY_BASELINE.capitalize()}* is the score of the best answer that ignores the text. The gap is the "
        f"source's score minus this one. Means are unweighted over languages. Intervals: {escaped(methods)}.",
    ]
    # What `report` tells of whole tests, the card tells too.
    lines += [f"\n{escaped(note)}." for note in scores.notes if "LIMITED" not in note]
    return "\n".join(lines)


def _training(run: Run, seed: int) -> str:
    plan = run.plan
    recipe = plan.recipe
    values = recipe.model_dump(mode="json", exclude={"name", "title", "source"}, exclude_none=True)
    settings = "\n".join(f"| {key} | `{value}` |" for key, value in values.items())
    data = _data(run) if plan.data else f"{_data(run)} from the Hub"
    limited = f", only the first {plan.limit:,} rows (LIMITED)" if plan.limit else ""
    fingerprints = "; ".join(f"{split} `{value[:16]}`" for split, value in run.fingerprints.items())
    versions = ", ".join(f"{package} {number}" for package, number in run.versions.items())
    return (
        f"Recipe `{recipe.name}`, seed {seed} of {', '.join(map(str, run.seeds))}, computed in {plan.precision}. "
        f"Training data: {data}{limited}" + (f"; sha256 of the rows: {fingerprints}" if fingerprints else "") + ".\n\n"
        f"| setting | value |\n| --- | --- |\n{settings}\n\nVersions: {escaped(versions)}."
    )


def _limits(run: Run, found: Sequence[Scores]) -> str:
    plan = run.plan
    cut = {f"{row.language} {row.truncated:,} of {row.n:,}": None for one in found for row in one.rows if row.truncated}
    scored = {row.adapter for one in found for row in one.rows}
    told = [
        "Adapters that have no score above are untested on this task."
        if scored
        else "No language has been tested: nothing is known of how well any of them works.",
        f"Texts longer than {plan.recipe.max_length} tokens were cut or windowed in training and scoring"
        + (f" (cut in scoring: {', '.join(cut)})." if cut else "."),
        "Scores hold for data like the benchmark's; they say nothing of other domains, dialects or kinds of text.",
        "What the base model and the data are biased towards, this model is too.",
    ]
    if any(one.this.limited for one in found):
        told.insert(0, "Scores marked LIMITED are of the first rows only and cannot stand beside those of whole tests.")
    if len(run.finished_seeds) == 1:
        told.append("One seed was trained: the intervals do not tell how much training again would change.")
    return "\n".join(f"- {one}" for one in told)


def _licences(run: Run, licence: str | None) -> str:
    task = run.plan.task
    model = (
        f"the base model's, {escaped(licence)}; fine-tuning does not change it"
        if licence
        else "that of the base model, which xmodctl does not know: find it before you pass this model on"
    )
    lines = [f"- Model: {model}."]
    if run.plan.data:
        lines.append(
            f"- Data: local files, whose licence xmodctl does not know. {escaped(task.title)} as published: "
            f"{escaped(task.licence) or 'licence not recorded'}."
        )
    else:
        lines.append(f"- Data: {escaped(task.title)}, {escaped(task.licence) or 'licence not recorded'}.")
    if task.citation:
        lines.append(f"- {escaped(task.citation)}")
    lines.append(
        "- Pfeiffer et al., Lifting the Curse of Multilinguality by Pre-training Modular Transformers, NAACL 2022 "
        "(arXiv 2205.06266)"
    )
    lines.append(f"- Made with xmodctl {run.versions.get('xmodctl', '')}.".replace(" .", "."))
    return "\n".join(lines)
