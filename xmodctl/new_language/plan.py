"""From a request to the plan of adding languages: names, recipe and text files, each checked."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import ConfigDict

from xmodctl.adapters.packages import Package
from xmodctl.adapters.store import choose_all
from xmodctl.catalog import catalog
from xmodctl.catalog.recipe import DESCRIBING, Recipe
from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.core.schema import keys_of, validator
from xmodctl.languages import name, resolve, same, variety
from xmodctl.model.precision import Precision, resolve_precision
from xmodctl.new_language.adapter_initialization import check_init_from
from xmodctl.new_language.request import AddLanguageRequest
from xmodctl.run.folder import name_digits
from xmodctl.training.planning import ResolvedPlan, check_length, check_switches, origins

if TYPE_CHECKING:
    from xmodctl.model import Facts, Source

VOCABULARY_SIZE = 32_000
"""Pieces of a new vocabulary by default; a small text yields fewer."""

FINE_TUNING_KEYS = ("freeze", "keep", "stride", "stages", "rdrop", "code_switching", "head_seed", "seeds_together")
"""Recipe keys that have no meaning here: only the new adapter trains, and its last step is kept."""
EXCLUDED_KEYS = (*FINE_TUNING_KEYS, *sorted(DESCRIBING))
"""Recipe keys that `--set` cannot change."""

_ADAPTER_NAME = re.compile(r"[a-z]{2,3}_([A-Z]{2}|[A-Z][a-z]{3})")

M = TypeVar("M", "Source", "Facts")


@dataclass(frozen=True)
class StartPackage:
    """An adapter package that new adapters may be initialized from."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    language: str
    folder: str
    sha256: str
    width: int  # units of its bottleneck


@dataclass(frozen=True)
class LanguagePlan:
    """Everything that an adapter depends on: the same plan and text give the same adapter."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # report keys of another version, do not ignore them

    texts: Mapping[str, tuple[str, ...]]  # name of the new adapter -> files of text
    recipe: Recipe
    model: str
    revision: str | None
    config_sha256: str | None  # None only if the model is not downloaded
    init_from: str
    vocabulary: Literal["keep", "new"]
    vocabulary_size: int | None
    head_text: tuple[str, ...]  # text to train a missing head on; empty: the language's own text
    column: str
    limit: int | None
    precision: Precision
    strip_markup: bool = False
    packages: tuple[StartPackage, ...] = ()  # whose adapters it may be initialized from, besides the model's

    @property
    def languages(self) -> tuple[str, ...]:
        """The adapters to add."""
        return tuple(self.texts)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        values = dict(validator(LanguagePlan).dump_python(self, mode="json"))
        if not self.packages:  # as in plans of earlier versions
            del values["packages"]
        return values

    @property
    def is_trained(self) -> bool:
        """Whether the folder is made by a training, which could be done again."""
        return True

    @property
    def folder_name(self) -> str:
        """The default name of the folder: languages, model, and six digits that differ between plans."""
        values = self.to_json()
        if not self.strip_markup:  # as in plans of earlier versions, whose folders keep their names
            del values["strip_markup"]
        return f"add-{'+'.join(self.languages)}-{Path(self.model).name}-{name_digits(values)}"


def resolve_plan(request: AddLanguageRequest, find: Callable[[str], M]) -> tuple[ResolvedPlan[LanguagePlan], M]:
    """Turn a request into a plan.

    Args:
        request: What is asked for.
        find: Gets the model; called after everything cheaper has been checked.

    Raises:
        UserError: A name, a key or a value is wrong.
    """
    from xmodctl.model import look_up

    model_name = str(request.model)
    recipe, recipe_origins = _resolve_recipe(request)
    precision = resolve_precision(request.precision)
    check_switches(recipe, precision, languages=1)
    try:
        facts = look_up(model_name)
    except UserError:
        facts = None  # finding the model reports what is wrong, if anything is
    is_set = "max_length" in (request.overrides or {})
    if facts is not None and is_set:
        check_length(recipe, facts)
    if facts is not None and facts.languages is not None:
        _name_languages(request, facts.languages, facts.placeholders)  # refuse languages before any download
    model = find(model_name)
    check_switches(recipe, precision, 1, model.config)
    if is_set:
        check_length(recipe, model)
    texts, of_names = _name_languages(request, model.languages or (), model.placeholders)
    packages = _choose_packages(request, model, texts)
    notes: list[str] = list(of_names)
    starts = [StartPackage(each.language, str(each.folder.resolve()), each.sha256, each.width) for each in packages]
    is_new = request.vocabulary == "new"
    plan = LanguagePlan(
        texts=texts,
        recipe=recipe,
        model=model.id,
        revision=model.revision,
        config_sha256=model.config_sha256,
        init_from=check_init_from(request.init_from, model, texts, packages, notes.append),
        vocabulary="new" if is_new else "keep",
        vocabulary_size=(request.vocabulary_size or VOCABULARY_SIZE) if is_new else None,
        head_text=request.head_files,
        column=request.column,
        limit=request.limit,
        precision=precision,
        strip_markup=request.strip_markup,
        packages=tuple(starts),
    )
    return ResolvedPlan(plan, recipe_origins, tuple(notes)), model


def read_packages(plan: LanguagePlan, source: "Source") -> tuple[Package, ...]:
    """Return the packages of a plan.

    Raises:
        UserError: One is missing, damaged, or not the one that was planned with.
    """
    packages = choose_all([each.folder for each in plan.packages], source)
    for planned, package in zip(plan.packages, packages, strict=True):
        if package.sha256 != planned.sha256:
            raise UserError(
                f"the adapter {planned.language} in {planned.folder} is not the one that this folder was begun with; "
                "restore it, or choose another folder with --out"
            )
    return packages


def _choose_packages(
    request: AddLanguageRequest, model: "Source | Facts", languages: Collection[str]
) -> tuple[Package, ...]:
    """Return the packages that `--adapter` names.

    Raises:
        UserError: One cannot be started from.
    """
    if not request.adapter_list:
        return ()
    from xmodctl.model import Source, find

    if not isinstance(model, Source) and model.name != "mini" and model.folder is None:
        raise UserError(
            f"whether --adapter {request.adapter_list[0]} fits {model.name} depends on files that a dry run does not "
            "download; omit --adapter or --dry-run"
        )
    packages = choose_all(request.adapter_list, model if isinstance(model, Source) else find(model.name))
    for package in packages:
        if package.vocabulary:
            raise UserError(
                f"--adapter {package.folder} has its own vocabulary, and a new adapter is initialized with the "
                "model's; remove it"
            )
        if twins := [language for language in languages if same(language, package.language)]:
            raise UserError(
                f"--adapter {package.folder} is for {package.language}, and {twins[0]} is what is added; remove it"
            )
    if set(model.languages or ()) <= {package.language for package in packages}:
        raise UserError(f"--adapter replaces every adapter of {model.name}; name fewer")
    return packages


def name_language(
    text: str, adapters: Sequence[str], placeholders: Collection[str], *, model: str
) -> tuple[str, str | None]:
    """Return the name of a new adapter, and a note if it differs from what was written.

    A name in the checkpoints' style (`zu_ZA`, `hi_Latn`) stays as it is; any other spelling gets a name in that style.
    The untrained adapters of a model with open languages are placeholders, which may be replaced.

    Args:
        text: A language, in any spelling.
        adapters: The model's.
        placeholders: Those of them that are untrained.
        model: What messages call the model.

    Raises:
        UserError: `text` is not a language, or the model has an adapter for it.
    """
    adapter = resolve(text, adapters, model=model, open_languages=True).adapter
    if adapter in adapters and adapter not in placeholders:
        another = variety(adapter, adapters)
        raise UserError(
            f"{model} already has an adapter for {name(adapter)}, {adapter}: evaluate through it with "
            f"`xmodctl eval-transfer --langs {adapter}`"
            + (f", or name a variety by its region, such as {another}" if another else "")
        )
    written = text.strip()
    if written != adapter and _ADAPTER_NAME.fullmatch(written) and adapter not in adapters:
        adapter = written
    return adapter, (f"the adapter for {name(adapter)} is called {adapter}" if adapter != written else None)


def share_steps(sizes: Mapping[str, int], recipe: Recipe) -> dict[str, Recipe]:
    """Return each language's recipe, which says how long it trains.

    With `sampling_alpha` 1, every language sees its text `epochs` times. With a smaller value, the same total number
    of steps is divided in proportion to the sizes raised to that power, so that small texts are seen more often and
    large texts less often. This is the sampling of Conneau et al. (2020), Unsupervised Cross-lingual Representation
    Learning at Scale, section 3.1, applied to steps.

    Args:
        sizes: The size of each language's text, in any unit.
        recipe: How to train.
    """
    if recipe.sampling_alpha == 1 or len(sizes) == 1:
        return dict.fromkeys(sizes, recipe)
    tempered = {language: size**recipe.sampling_alpha for language, size in sizes.items()}
    total, tempered_total = sum(sizes.values()), sum(tempered.values())
    return {
        language: recipe.model_copy(
            update={"epochs": recipe.epochs * total / size * tempered[language] / tempered_total}
        )
        for language, size in sizes.items()
    }


def _name_languages(
    request: AddLanguageRequest, adapters: Sequence[str], placeholders: Collection[str]
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Return the files of each new adapter, and notes about names."""
    texts: dict[str, list[str]] = {}
    notes: dict[str, None] = {}
    for written, file in request.text_files:
        language, note = name_language(written, adapters, placeholders, model=str(request.model))
        texts.setdefault(language, []).append(file)
        if note:
            notes[note] = None
    for language in texts:
        if twins := [other for other in texts if other != language and same(other, language)]:
            raise UserError(f"--text names {language} and {twins[0]}, which are the same language; use one of them")
    return {language: tuple(dict.fromkeys(files)) for language, files in texts.items()}, tuple(notes)


def _resolve_recipe(request: AddLanguageRequest) -> tuple[Recipe, dict[str, str]]:
    """Return the recipe with `--set` applied, and where each value comes from."""
    default = "add-language-mini" if request.model == "mini" else "add-language"
    recipe = catalog.recipe(str(request.recipe) if request.recipe else default)
    if wrong := sorted(recipe.model_fields_set & set(FINE_TUNING_KEYS)):
        raise UserError(
            f"the recipe {recipe.name} sets `{wrong[0]}`, which has no meaning here: only the new adapter is trained, "
            "and its last step is kept; use --recipe add-language, or remove the key"
        )
    overrides = dict(request.overrides or {})
    keys = [key for key in keys_of(Recipe) if key not in EXCLUDED_KEYS]
    if unknown := [key for key in overrides if key not in keys]:
        hint = did_you_mean(unknown[0], keys)
        raise UserError(
            f"--set {unknown[0]}: not a key of a recipe for adding languages{hint}; its keys are {', '.join(keys)}"
        )
    changed = recipe.with_values(overrides, origin="--set") if overrides else recipe
    return changed, origins(recipe, f"recipe {recipe.name}", overrides, keys)
