"""The checks before a training: languages, splits, stages, rows, memory and disk. Each gives findings."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.catalog.locations import Split
from xmodctl.catalog.recipe import SMALLEST
from xmodctl.catalog.task import Task
from xmodctl.core.encoded import Encoded
from xmodctl.core.errors import UserError
from xmodctl.core.messages import counted
from xmodctl.data import coverage, load_rows, offers, what_there_is
from xmodctl.data.encoding import encode
from xmodctl.kinds import KINDS
from xmodctl.languages import resolve
from xmodctl.languages.scripts import script_of
from xmodctl.languages.tags import read
from xmodctl.run.plan import Plan
from xmodctl.training.cost import estimate
from xmodctl.training.findings import Finding, passed, unreadable
from xmodctl.training.row_findings import SplitFacts, of_rows
from xmodctl.training.unread_rows import unread_failures

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xmodctl.model import Facts, Source

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
CHECKED_LETTERS = 200_000
"""How many letters of a split are checked for their script."""


def check(
    plan: Plan,
    model: "Source | Facts",
    *,
    languages: Sequence[str] | None = None,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    look_at_data: bool = True,
    out: Path = Path(),
) -> Iterator[Finding]:
    """Check everything that a plan needs, the cheapest checks first.

    Args:
        plan: What would be trained.
        model: The model, or what is known about it before its download.
        languages: The languages whose data is checked; None is all.
        tokenizer: The model's tokenizer; without one, tokens are not checked.
        look_at_data: Whether to read the rows; else only languages and splits are checked.
        out: The folder that runs are written to.

    Raises:
        UserError: The data folder cannot be read at all.
    """
    sources = ", ".join(plan.source_languages)
    yield passed("plan", f"{plan.task.title} in {sources}, {plan.model}, recipe {plan.recipe.name}")
    folder = Path(plan.data) if plan.data else None
    available = covered = dict(coverage(plan.task, folder))
    if languages is not None:
        data_codes = {language: codes_in(plan.task, covered, language) for language in languages}
        available = {code: covered[code] for code in covered if any(code in codes for codes in data_codes.values())}
        for language in (language for language, codes in data_codes.items() if not codes):
            problem = f"there is no data in {language}{what_there_is(plan.task, language, 'test', folder)}"
            yield Finding("error", "data", problem)
    yield from _adapters(plan, model, available)
    yield from _splits(plan, covered, available)
    yield from _stages(plan)
    splits_read: list[SplitFacts] = []
    failures: dict[str, UserError] = {}
    if look_at_data:
        for code, splits in available.items():
            for split in splits:
                if split == "train" and not any(
                    codes_in(plan.task, [code], source) for source in plan.source_languages
                ):
                    continue  # nothing trains on it
                try:
                    splits_read.append(read_split(plan, code, split, folder, tokenizer))
                except UserError as error:
                    failures[f"{code} {split}"] = error
        yield from unreadable(failures, unread_failures(plan, ["train"]) if languages is None else None)
        yield from of_rows(splits_read, plan.task)
    yield from _costs(plan, model, sum(facts.rows for facts in splits_read if facts.split == "train") or None, out)


def codes_in(task: Task, codes: Iterable[str], language: str) -> list[str]:
    """Return the codes of data in a language."""
    return [code for code in codes if code == language or task.is_in_language(code, language)]


def read_split(
    plan: Plan, language: str, split: Split, folder: Path | None, tokenizer: "PreTrainedTokenizerBase | None"
) -> SplitFacts:
    """Read one language and split, and keep what the checks need to know.

    Raises:
        UserError: The rows cannot be read or used.
    """
    training = split == "train"
    rows = load_rows(plan.task, language, split, folder=folder, limit=plan.limit, evaluation=not training)
    kind = KINDS[plan.task.kind]
    encoded = encode(kind, rows, tokenizer, plan.recipe) if tokenizer else None
    labels: Counter[str] = Counter()
    scripts: Counter[str] = Counter()
    gold: dict[bytes, Any] = {}
    inputs: list[bytes] = []
    conflicting = 0
    for row in rows.table:
        target, texts = kind.gold_and_texts(row, plan.task)
        labels.update(kind.counted_labels(target, plan.task))
        digest = hashlib.blake2b("\x1f".join(texts).encode(), digest_size=12).digest()
        inputs.append(digest)
        conflicting += gold.setdefault(digest, target) != target
        if scripts.total() < CHECKED_LETTERS:
            scripts.update(filter(None, map(script_of, "".join(texts))))
    return SplitFacts(
        language=language,
        split=split,
        rows=len(rows),
        notes=rows.notes,
        labels=labels,
        inputs=tuple(inputs),
        conflicting=conflicting,
        scripts=scripts,
        tokens=len(encoded.input_ids.values) if encoded else 0,
        unknown=_unknown(encoded, tokenizer) if encoded and tokenizer else 0,
        counts=encoded.counts if encoded else None,
    )


def _unknown(encoded: Encoded, tokenizer: "PreTrainedTokenizerBase") -> int:
    return int((encoded.input_ids.values == tokenizer.unk_token_id).sum())


def _adapters(plan: Plan, model: "Source | Facts", languages: Mapping[str, Any]) -> Iterator[Finding]:
    lacking, unknown = [], []
    for code in languages:
        language = plan.task.language_of(code)
        if read(language) is None and language not in (model.languages or ()):
            unknown.append(code)
            continue
        try:
            resolve(language, model.languages or (), model=plan.model, open_languages=model.open_languages)
        except UserError:
            lacking.append(code)
    if unknown and "languages" not in plan.task.from_data:  # which was said when they were found
        text = f"{', '.join(unknown)}: not a language code or name; correct the folder's name or the language column"
        yield Finding("warning", "languages", text)
    if model.languages is None and not model.open_languages:
        yield Finding("warning", "adapters", f"the languages of {plan.model} are not known before its download")
    elif lacking:
        donor = "through another's: --langs CODE=ADAPTER"
        text = f"{plan.model} has no adapter for {', '.join(lacking)}; score such text {donor}"
        yield Finding("warning", "adapters", text)
    elif len(languages) > len(unknown):
        yield passed(
            "adapters", f"{plan.model} has an adapter for every language of the data ({len(languages) - len(unknown)})"
        )


def _splits(
    plan: Plan, covered: Mapping[str, tuple[Split, ...]], languages: Mapping[str, tuple[Split, ...]]
) -> Iterator[Finding]:
    folder = Path(plan.data) if plan.data else None
    if not covered:
        hint = what_there_is(plan.task, plan.source_languages[0], "train", folder)
        yield Finding("error", "data", f"{plan.data or plan.task.title} has no data; give some with --data DIR{hint}")
        return
    before = sum(1 for splits in languages.values() if "test" in splits)
    for source in plan.source_languages:
        at_source = [split for split in SPLITS if _has(plan.task, source, split, folder, covered)]
        if "train" not in at_source:
            hint = what_there_is(plan.task, source, "train", folder)
            yield Finding("error", "splits", f"no training data in {source}, the language to train in{hint}")
        elif "validation" not in at_source:
            needed = plan.recipe.keep == "source-dev"
            text = f"no validation data in {source}: training is not monitored"
            yield Finding("error" if needed else "warning", "splits", text)
        else:
            yield passed("splits", f"{source} has {', '.join(at_source)}; test data in {counted(before, 'language')}")
    if without := [code for code, splits in languages.items() if "test" not in splits]:
        yield Finding("warning", "splits", f"no test data in {', '.join(without)}")


def _stages(plan: Plan) -> Iterator[Finding]:
    """Check that the tasks of the stages have data in a source language."""
    for task, stage in zip(plan.stage_tasks, plan.recipe.stages, strict=True):
        folder = Path(stage.data) if stage.data else None
        available = [
            language
            for language in plan.source_languages
            if offers(task, language, "train", folder=folder, evaluation=False)
        ]
        if available:
            yield passed(
                "stages", f"{task.title} is trained on first, in {', '.join(available)} ({folder or 'the Hub'})"
            )
        else:
            text = f"{task.title}, trained on first, has no training data in {', '.join(plan.source_languages)}"
            yield Finding("error", "stages", f"{text}; train without it with --set 'stages=[]'")


def _has(
    task: Task, language: str, split: Split, folder: Path | None, languages: Mapping[str, tuple[Split, ...]]
) -> bool:
    """Return whether a language has a split, in the data that is checked or in the training data."""
    listed = any(split in splits for code, splits in languages.items() if task.is_in_language(code, language))
    return listed or (
        folder is None and split != "test" and offers(task, language, split, folder=None, evaluation=False)
    )


def _costs(plan: Plan, model: "Source | Facts", rows: int | None, out: Path) -> Iterator[Finding]:
    cost = estimate(plan, model, [*(None for _ in plan.stage_tasks), rows], seeds=1)
    steps = f"; {counted(cost.steps, 'step')}" if cost.steps else ""
    free = shutil.disk_usage(_existing(out)).free
    need, available = f"{cost.disk / 1e9:.1f} GB", f"{free / 1e9:.1f} GB free"
    if free < cost.disk:
        yield Finding(
            "error", "disk", f"a run needs about {need}, but {out} has {available}; choose another disk with --out DIR"
        )
    else:
        yield passed("disk", f"a run needs about {need} of {available}")
    memory, device = _memory()
    summary = f"training needs about {cost.memory / 1e9:.1f} GB of {memory / 1e9:.1f} GB of {device}{steps}"
    if cost.memory > memory:
        yield Finding("error", "memory", f"{summary}; try --set tokens_per_step={max(SMALLEST, cost.tokens // 2)}")
    else:
        yield passed("memory", summary)


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest folder above it that exists."""
    folder = folder.expanduser().resolve()
    return next(parent for parent in (folder, *folder.parents) if parent.is_dir())


def _memory() -> tuple[int, str]:
    """Return the bytes of memory that training would have, and the device that has them."""
    import psutil
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_properties(0).total_memory, torch.cuda.get_device_name(0)
    return psutil.virtual_memory().total, "this machine's memory"
