"""Targets: the data and adapters that a selection of languages means for a run."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.adapters.attaching import available_languages
from xmodctl.adapters.mixtures import Mixture
from xmodctl.catalog.locations import Split
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, Notice
from xmodctl.data import coverage
from xmodctl.kinds import KINDS
from xmodctl.languages import MIXED, Target, expand, is_corpus, same

if TYPE_CHECKING:
    from xmodctl.adapters.mixtures import Attached
    from xmodctl.catalog.task import Task
    from xmodctl.model import Source
    from xmodctl.run.run import Run


@dataclass(frozen=True)
class EvaluationTargets:
    """What an evaluation scores."""

    targets: tuple[Target, ...]  # the source languages first, then the selection in its order
    unasked: tuple[Target, ...] = ()  # sources that the selection does not name, or that have no data in the split


def evaluation_targets(
    run: "Run",
    source: "Source",
    langs: str,
    folder: Path | None,
    split: Split,
    listen: Listener,
    *,
    packages: "Sequence[Attached]" = (),
) -> EvaluationTargets:
    """Return what an evaluation scores.

    Args:
        run: The run.
        source: Its base model.
        langs: The selection, as `--langs` takes it.
        folder: A folder of local data, or None for the Hub.
        split: The split that is scored.
        listen: Called with a notice about each language that is excluded, added, or ambiguous.
        packages: Adapter packages of languages that the base model lacks.

    Raises:
        UserError: A name is wrong, or nothing is left.
    """
    task, parts = run.plan.task, [part.strip() for part in langs.split(",")]
    if task.is_mixed:
        parts = [_through(part) for part in parts]
        langs = ",".join(parts)
    covered = coverage(task, folder)
    languages: Mapping[str, str | None] = task.languages
    if "all" in parts and folder:
        languages = {code: task.languages.get(code) for code in covered}
    elif folder and covered:
        languages = _with_corpora(task, covered, keep_absent="@task" in parts)
        _report_absent(task, parts, languages, folder, listen)
    expansion = expand(
        langs, available_languages(source, packages), model=run.plan.model, task_languages=languages,
        open_languages=source.open_languages, besides=run.plan.source_languages,
        mixtures=[package.language for package in packages if isinstance(package, Mixture)],
    )  # fmt: skip
    for code, reason in expansion.missing:
        listen(Notice(f"{code} is skipped: {reason}", caution=True))
    targets = list(expansion.targets)
    if folder and any(part in ("all", "@task") for part in parts):
        targets = _with_data(run, targets, covered, folder, split, listen)
    for target in targets:
        if target.note:
            listen(Notice(target.note, caution=True))
    if not KINDS[task.kind].trains:  # nothing was trained in a source language, so there are no gaps to it
        return EvaluationTargets(_refuse_none(targets, langs, task))
    if folder and not covered and len({target.data for target in targets}) == 1:
        # Files that do not name their language are all in this one, and none is in the source language.
        return EvaluationTargets(tuple(targets))
    excluded = [part[1:] for part in parts if part.startswith("-")]
    ordered = _source_first(run, targets, languages, excluded, listen)
    chosen = _refuse_none(ordered, langs, task)
    unasked = [target for target in ordered if target not in targets]
    if len(ordered) > 1 and covered:
        unasked += _absent_sources(run, targets, covered, split)
    return EvaluationTargets(chosen, tuple(unasked))


def _through(part: str) -> str:
    """Return a part of a selection for rows in several languages: a language there is the adapter that scores them."""
    is_language = part and part not in ("all", "@task", MIXED) and "=" not in part and not part.startswith("-")
    return f"{MIXED}={part}" if is_language else part


def _refuse_none(targets: Sequence[Target], langs: str, task: "Task") -> tuple[Target, ...]:
    """Return the targets of a selection.

    Raises:
        UserError: There are none.
    """
    if not targets:
        remedy = f"`xmodctl langs --task {task.name}` lists the languages"
        raise UserError(f"--langs {langs} selects nothing to score; {remedy}")
    return tuple(targets)


def donor_targets(
    run: "Run",
    source: "Source",
    langs: str,
    candidates: str | None,
    folder: Path | None,
    listen: Listener,
    *,
    packages: "Sequence[Attached]" = (),
) -> list[Target]:
    """Return every text with every candidate adapter, text by text.

    Args:
        run: The run.
        source: Its base model.
        langs: The languages of the text.
        candidates: The adapters to try; None is the source language's and those of `langs`.
        folder: A folder of local data, or None for the Hub.
        listen: Called with a notice about each text without an adapter of its own.
        packages: Adapter packages of languages that the base model lacks.

    Raises:
        UserError: A name is wrong, or nothing is left.
    """
    task = run.plan.task

    def expanded(selection: str) -> Sequence[Target]:
        return expand(
            selection,
            available_languages(source, packages),
            model=run.plan.model,
            task_languages=task.languages,
            open_languages=source.open_languages,
        ).targets

    texts = _text_languages(run, langs, folder)
    if candidates is None:
        adapters = list(run.plan.source_languages)
        for text in texts:
            try:
                adapters += [target.adapter for target in expanded(text)]
            except UserError:
                listen(Notice(f"{text} has no adapter of its own in {run.plan.model}"))
    else:
        adapters = [target.adapter for target in expanded(candidates)]
    return list(expanded(",".join(f"{text}={adapter}" for text in texts for adapter in dict.fromkeys(adapters))))


def _with_corpora(task: "Task", covered: Collection[str], *, keep_absent: bool) -> dict[str, str | None]:
    """Return the task's languages, where a folder has corpora of a language and nothing else: by these."""
    corpora = [code for code in covered if is_corpus(code)]
    others = [code for code in covered if not is_corpus(code)]

    def is_meant(code: str) -> bool:
        if is_corpus(code):
            return keep_absent or code in covered
        return any(same(code, other) for other in others) or not any(same(code, corpus) for corpus in corpora)

    return {code: task.languages.get(code) for code in dict.fromkeys([*task.languages, *corpora]) if is_meant(code)}


def _report_absent(
    task: "Task",
    parts: Sequence[str],
    languages: Mapping[str, str | None],
    folder: Path,
    listen: Listener,
) -> None:
    """Report the corpora of the task that a selected language would include if the folder had them."""
    for part in parts:
        if part in ("all", "@task") or is_corpus(part):
            continue
        missing = [code for code in task.languages if code not in languages and task.is_in_language(code, part)]
        missing = [code for code in missing if is_corpus(code)]
        others = [code for code in languages if is_corpus(code) and task.is_in_language(code, part)]
        if missing and others:
            listen(Notice(f"{part} is {', '.join(others)} here; {folder} has no {', '.join(missing)}", caution=True))


def _with_data(
    run: "Run",
    targets: Sequence[Target],
    covered: Mapping[str, Sequence[Split]],
    folder: Path,
    split: Split,
    listen: Listener,
) -> list[Target]:
    """Return the targets that a folder has data of a split for, and report the others."""
    available = [target for target in targets if _has_split(target, covered, split)]
    sources = run.plan.source_languages
    missing = [
        target.data
        for target in targets
        if target not in available and not any(same(target.data, language) for language in sources)
    ]
    if missing:
        listen(Notice(f"skipped, because {folder} has no {split} data in them: {', '.join(missing)}", caution=True))
    return available


def _absent_sources(
    run: "Run", targets: Sequence[Target], covered: Mapping[str, Sequence[Split]], split: Split
) -> list[Target]:
    """Return the sources without data in a split: beside other languages, they are reported, and do not fail."""
    sources = run.plan.source_languages
    return [
        target
        for target in targets
        if any(run.plan.task.is_in_language(target.data, language) for language in sources)
        and not _has_split(target, covered, split)
    ]


def _has_split(target: Target, covered: Mapping[str, Sequence[Split]], split: Split) -> bool:
    """Return whether data that is covered has a split of a target."""
    return any(same(code, target.data) and split in splits for code, splits in covered.items())


def _source_first(
    run: "Run",
    targets: Sequence[Target],
    languages: Mapping[str, str | None],
    excluded: Sequence[str],
    listen: Listener,
) -> list[Target]:
    """Return the targets with the source languages in front, which are added unless they are excluded."""
    ordered = list(targets)
    for language in reversed(run.plan.source_languages):
        sources = expand(language, [language], model=run.plan.model, task_languages=languages).targets
        # Of several corpora of the language, the one trained on.
        source = next((target for target in sources if target.data == run.plan.task.source_language), sources[0])
        # A target that was named may have a note that the source has not.
        known = next((t for t in ordered if (t.data, t.adapter) == (source.data, source.adapter)), None)
        if known is None:
            if any(same(part, language) for part in excluded):
                continue
            listen(Notice(f"{language} is also scored: gaps are measured from the source language"))
        first = known or source
        ordered = [first, *(target for target in ordered if target != first)]
    return ordered


def _text_languages(run: "Run", langs: str, folder: Path | None) -> list[str]:
    """Return the languages of text that a selection names, each once.

    Raises:
        UserError: There are none.
    """
    parts = [part.strip() for part in langs.split(",") if part.strip()]
    named: list[str] = []
    for part in parts:
        if part in ("all", "@task"):
            named += coverage(run.plan.task, folder)
        elif not part.startswith("-"):
            named.append(part)
    excluded = [part[1:] for part in parts if part.startswith("-")]
    texts = [text for text in dict.fromkeys(named) if not any(same(text, language) for language in excluded)]
    if not texts:
        raise UserError(f"--langs {langs} selects no text; give languages separated by commas, or @task")
    return texts
