"""What is to be added to which model, and the folder that keeps it."""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import ConfigDict

from xmodctl.catalog import catalog as library
from xmodctl.catalog.recipe import Recipe
from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.core.schema import keys_of, parse_override
from xmodctl.data.texts import STANDARD_INPUT
from xmodctl.languages import name, resolve, same
from xmodctl.model.precision import Precision, resolve_precision
from xmodctl.new_language.adapter_initialisation import AUTO, check_start
from xmodctl.run.folder import Folder, validator
from xmodctl.training.cost import activations
from xmodctl.training.planning import ResolvedPlan, origins

if TYPE_CHECKING:
    from xmodctl.model import Facts, ParameterReport, Source

Vocabulary = Literal["keep", "new"]
VOCABULARIES: tuple[str, ...] = ("keep", "new")
VOCABULARY_SIZE = 32_000
"""Pieces of a new vocabulary, at most; a text may have fewer."""

NOT_HERE = ("freeze", "keep", "stride", "stages", "name", "title", "source")
"""Keys of a recipe that mean nothing here: only the new adapter trains, and its last step is kept."""
_PLAUSIBLE = re.compile(r"[a-z]{2,3}_([A-Z]{2}|[A-Z][a-z]{3})")


@dataclass(frozen=True)
class Asked:
    """What an `add-language` command says."""

    texts: tuple[tuple[str, str], ...]  # a language in any spelling, and where text of it is
    model: str
    init_from: str = AUTO
    vocabulary: str = "keep"
    vocabulary_size: int | None = None
    head_text: tuple[str, ...] = ()
    recipe: str | None = None
    overrides: tuple[str, ...] = ()
    column: str = "text"
    limit: int | None = None
    precision: str = "auto"


@dataclass(frozen=True)
class Plan:
    """Everything that decides what an adapter becomes; the same plan and text give the same adapter."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # a key of another version is told, not forgotten

    texts: Mapping[str, tuple[str, ...]]  # the new adapter's name -> where its text is
    recipe: Recipe
    model: str
    revision: str | None
    config_sha256: str | None  # None only while nothing is downloaded
    init_from: str
    vocabulary: Vocabulary
    vocabulary_size: int | None
    head_text: tuple[str, ...]  # what the head of a checkpoint without one is trained on; empty: the language's text
    column: str
    limit: int | None
    precision: Precision

    @property
    def languages(self) -> tuple[str, ...]:
        """The adapters that are added."""
        return tuple(self.texts)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        return dict(validator(Plan).dump_python(self, mode="json"))

    @property
    def folder_name(self) -> str:
        """Name of the folder: what is added to what, and six digits that keep different plans apart."""
        digest = hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()
        return f"add-{'+'.join(self.languages)}-{Path(self.model).name}-{digest[:6]}"


@dataclass(frozen=True)
class Cost:
    """What adding languages takes, estimated before it begins."""

    sequences: int | None  # None: the text has not been packed
    steps: int | None
    parameters: "ParameterReport"
    memory: int  # bytes
    disk: int  # bytes


@dataclass(frozen=True)
class Extension(Folder):
    """A folder with adapters that are being added; fingerprints are of each language's cleaned text."""

    FILE = "extension.json"
    SCHEMA = 1
    HOLDS = "an added language"
    FINDS = "`xmodctl runs` lists those there are"

    plan: Plan

    def package(self, language: str, seed: int) -> Path:
        """Where the adapter of one seed is; the folder exists when its training is finished."""
        return self.seed_folder(seed) / language

    @property
    def finished_seeds(self) -> tuple[int, ...]:
        """The seeds of which every language's adapter is there."""
        return tuple(
            seed for seed in self.seeds if all(self.package(one, seed).exists() for one in self.plan.languages)
        )

    def work(self, language: str, seed: int) -> Path:
        """Where one seed keeps checkpoints while it trains."""
        return self.seed_folder(seed) / f"{language}.training"

    def metrics(self, language: str, seed: int) -> Path:
        """Loss and learning rate of each step."""
        return self.seed_folder(seed) / f"{language}.metrics.jsonl"

    def start(self, language: str) -> Path:
        """What was measured before the training."""
        return self.folder / f"{language}.start.json"


M = TypeVar("M", "Source", "Facts")


def resolve_plan(asked: Asked, find: Callable[[str], M]) -> tuple[ResolvedPlan[Plan], M]:
    """Turn a command into a plan; `find` gets the model, and is called when everything cheaper has been checked.

    Raises:
        UserError: A name, a key or a value is wrong.
    """
    from xmodctl.model import look_up

    recipe, comes_from = _recipe(asked)
    if asked.vocabulary not in VOCABULARIES:
        raise UserError(f"--vocabulary {asked.vocabulary}: choose keep or new")
    if asked.vocabulary_size is not None and asked.vocabulary == "keep":
        raise UserError("--vocabulary-size is the size of a new vocabulary; add --vocabulary new")
    precision = resolve_precision(asked.precision)
    if not asked.texts:
        raise UserError("which text? Give some of the language with --text FILE")
    if sum(place == STANDARD_INPUT for place in (*(place for _, place in asked.texts), *asked.head_text)) > 1:
        raise UserError("standard input (`-`) can be read once; give other texts as files")
    try:
        facts = look_up(asked.model)
    except UserError:
        facts = None  # finding the model tells what is wrong, if anything is
    if facts is not None and facts.languages is not None:
        _new_languages(asked, facts.languages, facts.placeholders)
    source = find(asked.model)
    texts, notes = _new_languages(asked, source.languages or (), source.placeholders)
    plan = Plan(
        texts=texts,
        recipe=recipe,
        model=source.id,
        revision=source.revision,
        config_sha256=source.config_sha256,
        init_from=check_start(asked.init_from, source.languages or (), asked.model),
        vocabulary="new" if asked.vocabulary == "new" else "keep",
        vocabulary_size=(asked.vocabulary_size or VOCABULARY_SIZE) if asked.vocabulary == "new" else None,
        head_text=asked.head_text,
        column=asked.column,
        limit=asked.limit,
        precision=precision,
    )
    return ResolvedPlan(plan, comes_from, notes), source


def new_language(
    text: str, adapters: Sequence[str], placeholders: Collection[str], *, model: str
) -> tuple[str, str | None]:
    """Return the name of a new adapter, and a note where it is not the one that was written.

    A name in the checkpoints' style (`zu_ZA`, `hi_Latn`) stays as it is; any other spelling of a language is named as
    they would. The untrained adapters of a model with open languages are placeholders, which may be replaced.

    Raises:
        UserError: `text` is no language, or the model has an adapter for it.
    """
    found = resolve(text, adapters, model=model, open_languages=True).adapter
    if found in adapters and found not in placeholders:
        raise UserError(
            f"{model} has an adapter for {name(found)} already, {found}: score text through it with "
            f"`xmodctl eval-transfer --langs {found}`, or name a variety that it lacks, such as "
            f"{found.partition('_')[0]}_XX"
        )
    wished = text.strip()
    if wished != found and _PLAUSIBLE.fullmatch(wished) and found not in adapters:
        found = wished
    return found, (f"the adapter for {name(found)} is called {found}" if found != wished else None)


def _new_languages(
    asked: Asked, adapters: Sequence[str], placeholders: Collection[str]
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    texts: dict[str, list[str]] = {}
    notes: dict[str, None] = {}
    for written, place in asked.texts:
        language, note = new_language(written, adapters, placeholders, model=asked.model)
        texts.setdefault(language, []).append(place)
        if note:
            notes[note] = None
    for language in texts:
        if twins := [other for other in texts if other != language and same(other, language)]:
            raise UserError(f"--text names {language} and {twins[0]}, which are one language; write one of them")
    return {language: tuple(dict.fromkeys(places)) for language, places in texts.items()}, tuple(notes)


def _recipe(asked: Asked) -> tuple[Recipe, dict[str, str]]:
    chosen = asked.recipe or ("add-language-mini" if asked.model == "mini" else "add-language")
    recipe = library.recipe(chosen)
    if strange := sorted(recipe.model_fields_set & (set(NOT_HERE) - {"name", "title", "source"})):
        raise UserError(
            f"the recipe {recipe.name} sets `{strange[0]}`, which means nothing here: only the new adapter trains, and "
            "its last step is kept; use --recipe add-language, or remove the key"
        )
    overrides = dict(parse_override(text) for text in asked.overrides)
    keys = [key for key in keys_of(Recipe) if key not in NOT_HERE]
    if wrong := [key for key in overrides if key not in keys]:
        told = did_you_mean(wrong[0], keys)
        raise UserError(f"--set {wrong[0]}: no key of a recipe that adds a language{told} (keys: {', '.join(keys)})")
    changed = recipe.with_values(overrides, origin="--set") if overrides else recipe
    return changed, origins(recipe, f"recipe {recipe.name}", overrides, keys)


def shares(sizes: Mapping[str, int], recipe: Recipe) -> dict[str, Recipe]:
    """Return each language's recipe: how long it trains.

    With `sampling_alpha` 1 every language sees its text `epochs` times. Below, as many steps are shared out in
    proportion to the sizes to that power, so that small texts are seen more often and large ones less: the sampling
    of Conneau et al. (2020), Unsupervised Cross-lingual Representation Learning at Scale, section 3.1, over steps.
    """
    if recipe.sampling_alpha == 1 or len(sizes) == 1:
        return dict.fromkeys(sizes, recipe)
    total, tempered = sum(sizes.values()), {one: size**recipe.sampling_alpha for one, size in sizes.items()}
    return {
        one: recipe.model_copy(update={"epochs": recipe.epochs * total / size * tempered[one] / sum(tempered.values())})
        for one, size in sizes.items()
    }


def estimate(plan: Plan, model: "Source | Facts", sequences: Mapping[str, int] | None, seeds: int) -> Cost:
    """Estimate steps, memory and disk; languages train one after the other, so memory is that of one.

    Memory counts weights (4 bytes each), gradients and AdamW's two moments of the adapter (12 bytes each), the
    activations of one micro-batch, and the logits of its masked tokens.
    """
    from xmodctl.model import describe
    from xmodctl.new_language.masking import MASKED
    from xmodctl.training.loop import total_steps

    config: Mapping[str, Any] = model.config
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    bottleneck = hidden // config["adapter_reduction_factor"]
    adapter = layers * (2 * hidden * bottleneck + hidden + bottleneck)
    known = (model.languages or (next(iter(plan.texts)),))[:1]
    whole = describe(dict(config), "masked-lm", known, "head")
    trainable = adapter + (plan.vocabulary_size or 0) * (hidden + 1)
    report = replace(
        whole,
        trainable=trainable,
        groups=(
            *((group, count, 0) for group, count, _ in whole.groups if group != "adapters"),
            ("new adapter", adapter, adapter),
            *((("new vocabulary", trainable - adapter, trainable - adapter),) if trainable > adapter else ()),
        ),
        total=whole.total - adapter + trainable,
    )
    kept = activations(config, plan.precision)
    logits = 3 * 4 * MASKED * config["vocab_size"]
    memory = round(4 * report.total + 12 * trainable + (kept + logits) * plan.recipe.tokens_per_step)
    disk = trainable * 4 * (len(plan.languages) * seeds + 2 * 3)
    steps = None
    if sequences:
        each = shares(sequences, plan.recipe)
        steps = sum(total_steps(sequences[one], recipe) for one, recipe in each.items())
    return Cost(sum(sequences.values()) if sequences else None, steps, report, memory, disk)
