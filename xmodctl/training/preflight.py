"""Is this task, data, recipe, model and disk fit to run? Findings, before an hour is spent on finding out."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xmodctl.catalog.task import Split, Task
from xmodctl.core.encoded import Encoded
from xmodctl.core.errors import UserError
from xmodctl.data import coverage, load_rows, offers
from xmodctl.data.encoding import encode
from xmodctl.kinds import KINDS
from xmodctl.languages import name, resolve, same
from xmodctl.languages.tags import read
from xmodctl.run.plan import Plan
from xmodctl.training.cost import estimate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xmodctl.model import Facts, Source
from xmodctl.languages.scripts import script_mismatch, script_of

Level = Literal["passed", "warning", "error"]

MAJORITY = 0.9
"""A label with more of the rows than this leaves little to learn."""
DUPLICATES = 0.01
TRUNCATED = 0.05
UNKNOWN = 0.01
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
LETTERS_LOOKED_AT = 200_000
"""Letters of a split whose script is looked up."""


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    level: Level
    check: str
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return the finding as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Looked:
    """What checks need to know of one language and split; the rows themselves are let go."""

    language: str
    split: Split
    rows: int
    notes: tuple[str, ...]
    labels: Mapping[str, int]  # how often each is right; entity types of tagged words
    inputs: tuple[bytes, ...]  # a digest of each row without its gold label
    conflicting: int  # rows with the input of an earlier row, and another label
    scripts: Mapping[str, int]  # letters of each Unicode script
    tokens: int = 0
    unknown: int = 0
    counts: Mapping[str, int] | None = None  # of the encoding; None where there is no tokenizer yet

    @property
    def place(self) -> str:
        """How findings call it."""
        return f"{self.language} {self.split}"


def check(
    plan: Plan,
    model: "Source | Facts",
    *,
    languages: Sequence[str] | None = None,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    look_at_data: bool = True,
    out: Path = Path(),
) -> Iterator[Finding]:
    """Look at everything a plan needs, and yield what is found: what costs nothing first.

    Args:
        plan: What would be trained.
        model: The model, or what is known of it before its download.
        languages: Which of the data's languages to look at; all if None.
        tokenizer: The model's, if it is there without a download: else nothing is said of tokens.
        look_at_data: Whether to read the rows; else only what is declared of them.
        out: The folder whose disk runs are written to.

    Raises:
        UserError: The data folder cannot be read at all.
    """
    yield _passed(
        "plan", f"{plan.task.title} in {', '.join(plan.source_languages)}, {plan.model}, recipe {plan.recipe.name}"
    )
    folder = Path(plan.data) if plan.data else None
    there: dict[str, tuple[Split, ...]] = dict(coverage(plan.task, folder))
    if languages is not None:
        there = {code: splits for code, splits in there.items() if any(same(code, one) for one in languages)}
        for one in languages:
            if not any(same(code, one) for code in there):
                yield Finding("error", "data", f"there is no data in {one}")
    yield from _adapters(plan, model, there)
    yield from _splits(plan, there)
    yield from _stages(plan)
    looked: list[Looked] = []
    if look_at_data:
        for code, splits in there.items():
            for split in splits:
                if split == "train" and not any(plan.task.is_in_language(code, one) for one in plan.source_languages):
                    continue  # nothing trains on it
                try:
                    looked.append(look(plan, code, split, folder, tokenizer))
                except UserError as error:
                    yield Finding("error", "rows", f"{code} {split}: {error}")
        yield from _of_rows(looked, plan.task)
    yield from _costs(plan, model, sum(one.rows for one in looked if one.split == "train") or None, out)


def look(
    plan: Plan, language: str, split: Split, folder: Path | None, tokenizer: "PreTrainedTokenizerBase | None"
) -> Looked:
    """Read one language and split, and keep what checks need to know.

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
        if scripts.total() < LETTERS_LOOKED_AT:
            scripts.update(filter(None, map(script_of, "".join(texts))))
    return Looked(
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


def _passed(check_: str, text: str) -> Finding:
    return Finding("passed", check_, text)


def _adapters(plan: Plan, model: "Source | Facts", there: Mapping[str, Any]) -> Iterator[Finding]:
    lacking, unknown = [], []
    for code in there:
        wanted = plan.task.languages.get(code) or code
        if read(wanted) is None and wanted not in (model.languages or ()):
            unknown.append(code)
            continue
        try:
            resolve(wanted, model.languages or (), model=plan.model, open_languages=model.open_languages)
        except UserError:
            lacking.append(code)
    if unknown:
        told = f"{', '.join(unknown)}: no code or name of a language; correct the folder's name or the language column"
        yield Finding("warning", "languages", told)
    if model.languages is None and not model.open_languages:
        yield Finding("warning", "adapters", f"the languages of {plan.model} are known after its download")
    elif lacking:
        donor = "through another's: --langs CODE=ADAPTER"
        told = f"{plan.model} has no adapter for {', '.join(lacking)}; score such text {donor}"
        yield Finding("warning", "adapters", told)
    elif len(there) > len(unknown):
        yield _passed("adapters", f"{plan.model} has one for each language of the data ({len(there) - len(unknown)})")


def _splits(plan: Plan, there: Mapping[str, tuple[Split, ...]]) -> Iterator[Finding]:
    if not there:
        yield Finding("error", "data", f"{plan.data or plan.task.title} has no data; give some with --data DIR")
        return
    before = sum(1 for splits in there.values() if "test" in splits)
    folder = Path(plan.data) if plan.data else None
    for source in plan.source_languages:
        at_source = [split for split in SPLITS if _has(plan.task, source, split, folder, there)]
        if "train" not in at_source:
            yield Finding("error", "splits", f"no training data in {source}, which is to be trained in")
        elif "validation" not in at_source:
            needed = plan.recipe.keep == "source-dev"
            told = f"no validation data in {source}: the training is not watched"
            yield Finding("error" if needed else "warning", "splits", told)
        else:
            yield _passed("splits", f"{source} has {', '.join(at_source)}; test data in {before} languages")
    if without := [code for code, splits in there.items() if "test" not in splits]:
        yield Finding("warning", "splits", f"no test data in {', '.join(without)}")


def _stages(plan: Plan) -> Iterator[Finding]:
    """Say whether the tasks trained on first have data in a source language."""
    for task, stage in zip(plan.stage_tasks, plan.recipe.stages, strict=True):
        folder = Path(stage.data) if stage.data else None
        found = [one for one in plan.source_languages if offers(task, one, "train", folder=folder, evaluation=False)]
        if found:
            yield _passed("stages", f"{task.title} is trained on first, in {', '.join(found)} ({folder or 'the Hub'})")
        else:
            told = f"{task.title}, trained on first, has no training data in {', '.join(plan.source_languages)}"
            yield Finding("error", "stages", f"{told}; leave it out with --set 'stages=[]'")


def _has(task: Task, language: str, split: Split, folder: Path | None, there: Mapping[str, tuple[Split, ...]]) -> bool:
    """Say whether a language has a split among what is looked at, or where the training data lies."""
    listed = any(split in splits for code, splits in there.items() if task.is_in_language(code, language))
    return listed or (
        folder is None and split != "test" and offers(task, language, split, folder=None, evaluation=False)
    )


def _of_rows(looked: Sequence[Looked], task: Task) -> Iterator[Finding]:
    """Yield what every check says of the rows that could be read: one line where all is well."""
    if not looked:
        return
    rows = sum(one.rows for one in looked)
    yield _passed("rows", f"{rows:,} rows in {len(looked)} files can be read, each with a gold label and in its form")
    for one in looked:
        yield from (Finding("warning", "rows", told) for told in one.notes)
    kinds = {
        "labels": (_labels, "no label dominates, and none is missing"),
        "duplicates": (_duplicates, "hardly any row is there twice in its file"),
        "script": (_script, "each language is written in its script"),
    }
    for check_, (found, well) in kinds.items():
        yield from _warnings(check_, [(one, told) for one in looked for told in found(one, task)], well)
    yield from _overlap(looked)
    yield from _copies(looked)
    if all(one.counts is not None for one in looked):
        for check_, look_for, well in (
            ("lengths", _lengths, "hardly any row is too long for the recipe"),
            ("vocabulary", _vocabulary, "the tokenizer knows nearly every token"),
        ):
            yield from _warnings(check_, [(one, told) for one in looked for told in look_for(one, task)], well)


def _warnings(check_: str, found: Sequence[tuple[Looked, str]], well: str) -> Iterator[Finding]:
    yield from (Finding("warning", check_, f"{one.place}: {told}") for one, told in found)
    if not found:
        yield _passed(check_, well)


def _labels(one: Looked, task: Task) -> Iterator[str]:
    total = sum(one.labels.values())
    kind = KINDS[task.kind]
    if missing := [label for label in kind.expected_labels(task) if label not in one.labels]:
        yield f"no row has {', '.join(missing)}"
    if kind.balanced:
        label, count = max(one.labels.items(), key=lambda pair: pair[1], default=("", 0))
        if total and count > MAJORITY * total:
            yield f"{_share(count, total)} are {label}"


def _duplicates(one: Looked, task: Task) -> Iterator[str]:  # noqa: ARG001
    again = len(one.inputs) - len(set(one.inputs))
    if one.conflicting:
        yield f"{one.conflicting:,} rows repeat the input of an earlier row with another label"
    elif again > DUPLICATES * one.rows:
        yield f"{again:,} rows ({_share(again, one.rows)}) repeat an earlier one"


def _script(one: Looked, task: Task) -> Iterator[str]:
    code = (task.languages.get(one.language) or one.language) if task.languages else one.language
    if mismatch := script_mismatch(one.scripts, code):
        yield (
            f"{_share(mismatch.in_expected, mismatch.total)} of the letters are in the script of {name(code)} "
            f"({mismatch.expected}), {_share(mismatch.in_main, mismatch.total)} are {mismatch.main}"
        )


def _overlap(looked: Sequence[Looked]) -> Iterator[Finding]:
    trained = {digest for one in looked if one.split == "train" for digest in one.inputs}
    if not trained:
        return
    found = []
    for one in looked:
        if one.split != "train" and (seen := sum(digest in trained for digest in one.inputs)):
            found.append((one, f"{seen:,} of {one.rows:,} rows are in the training data too"))
    yield from _warnings("overlap", found, "no row of validation or test data is in the training data")


def _copies(looked: Sequence[Looked]) -> Iterator[Finding]:
    """Yield a warning where a language's file is mostly that of an earlier one: not translated."""
    found, earlier = [], list[tuple[Looked, set[bytes]]]()
    for one in (one for one in looked if one.split != "train"):
        mine = set(one.inputs)
        for other, theirs in earlier:
            if other.split == one.split and len(mine & theirs) > len(mine) / 2:
                shared = len(mine & theirs)
                found.append((one, f"{shared:,} of {len(mine):,} rows are those of {other.language}: not translated?"))
                break
        earlier.append((one, mine))
    if len({one.language for one, _ in earlier}) > 1:
        yield from _warnings("copies", found, "no language's rows are those of another")


def _lengths(one: Looked, task: Task) -> Iterator[str]:
    counts = one.counts or {}
    for key, told in {"truncated": "are cut to the recipe's max_length", **KINDS[task.kind].unreachable}.items():
        if (cut := counts.get(key, 0)) > TRUNCATED * one.rows:
            yield f"{cut:,} rows ({_share(cut, one.rows)}) {told}"


def _vocabulary(one: Looked, task: Task) -> Iterator[str]:  # noqa: ARG001
    if one.unknown > UNKNOWN * one.tokens:
        yield f"the tokenizer does not know {_share(one.unknown, one.tokens)} of the tokens"


def _costs(plan: Plan, model: "Source | Facts", rows: int | None, out: Path) -> Iterator[Finding]:
    cost = estimate(plan, model, [*(None for _ in plan.stage_tasks), rows], seeds=1)
    steps = f"; {cost.steps:,} steps" if cost.steps else ""
    free = shutil.disk_usage(_existing(out)).free
    need, there = f"{cost.disk / 1e9:.1f} GB", f"{free / 1e9:.1f} GB free"
    if free < cost.disk:
        yield Finding(
            "error", "disk", f"a run takes about {need}, {there} in {out}; choose another disk with --out DIR"
        )
    else:
        yield _passed("disk", f"a run takes about {need} of {there}")
    memory, device = _memory()
    told = f"training takes about {cost.memory / 1e9:.1f} GB of {memory / 1e9:.1f} GB of {device}{steps}"
    if cost.memory > memory:
        yield Finding("error", "memory", f"{told}; try --set tokens_per_step={plan.recipe.tokens_per_step // 2}")
    else:
        yield _passed("memory", told)


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest above it that exists."""
    folder = folder.expanduser().resolve()
    return next(one for one in (folder, *folder.parents) if one.is_dir())


def _memory() -> tuple[int, str]:
    """Return the bytes of memory that training would have, and whose they are."""
    import psutil
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_properties(0).total_memory, torch.cuda.get_device_name(0)
    return psutil.virtual_memory().total, "this machine's memory"


def _share(count: int, total: int) -> str:
    share = 100 * count / total
    return "under 1 %" if 0 < share < 1 else f"{share:.0f} %"
