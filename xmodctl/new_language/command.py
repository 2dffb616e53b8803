"""The command as a function: plan, read, lock the folder, add; and what it would do."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from xmodctl.adapters.packages import Package
from xmodctl.core.arguments import DEFAULT_MODEL, as_overrides, as_seeds, check_choice
from xmodctl.core.errors import UserError
from xmodctl.core.events import Notice, warn
from xmodctl.data.texts import STANDARD_INPUT, gather
from xmodctl.new_language.adding import Added, Interrupted, TextRead, add, read_texts
from xmodctl.new_language.plan import Asked, Cost, Extension, Plan, estimate, resolve_plan
from xmodctl.run.folder import RUNS, locked
from xmodctl.training.cost import check_disk
from xmodctl.training.planning import ResolvedPlan

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Listener = Callable[[Any], None]
Places = Path | str | Sequence[Path | str]


def add_language(
    texts: Mapping[str, Places],
    *,
    model: str = DEFAULT_MODEL,
    init_from: str = "auto",
    vocabulary: str = "keep",
    vocabulary_size: int | None = None,
    head_text: Places = (),
    recipe: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    seeds: int | Sequence[int] = 1,
    precision: str = "auto",
    column: str = "text",
    limit: int | None = None,
    out: Path | str | None = None,
    on_exists: str = "resume",
    listen: Listener | None = None,
) -> list[Package]:
    """Add languages that a model never saw, as `xmodctl add-language` does, and return their packages, seed by seed.

    Args:
        texts: The languages, in any spelling, and the files of their text.
        model: A Hub id (`@REVISION` may follow), a folder, or `mini`.
        init_from: auto, LANG, LANG+LANG, identity or random.
        vocabulary: keep or new.
        vocabulary_size: Pieces of a new vocabulary.
        head_text: What the head of a checkpoint without one is trained on; by default the language's own text.
        recipe: A shipped recipe or the path of a YAML file.
        overrides: Keys of the recipe and their values, what `--set` gives.
        seeds: One training a seed.
        precision: auto, fp32, bf16 or fp16.
        column: Where the text of files with columns is.
        limit: Keep only the first lines of each text.
        out: Where the adapters go; by default a folder under `runs/`.
        on_exists: What to do with adapters that are there: resume, redo or error.
        listen: Is called with each event; without one, cautions become Python warnings.

    Raises:
        UserError: Something that the caller can mend.
        KeyboardInterrupt: It was interrupted; the same call goes on from there.
    """
    asked = Asked(
        texts=tuple((language, place) for language, places in texts.items() for place in _places(places)),
        model=model,
        init_from=init_from,
        vocabulary=vocabulary,
        vocabulary_size=vocabulary_size,
        head_text=_places(head_text),
        recipe=recipe,
        overrides=as_overrides(overrides),
        column=column,
        limit=limit,
        precision=precision,
    )
    chosen = as_seeds(seeds)
    folder = Path(out) if out is not None else None
    try:
        _, added = add_languages(asked, chosen, folder, on_exists, listen or warn)
    except Interrupted as stopped:
        raise KeyboardInterrupt(str(stopped)) from stopped
    return [one.package for one in added]


def _places(places: Places) -> tuple[str, ...]:
    return tuple(map(str, [places] if isinstance(places, Path | str) else places))


def add_languages(
    asked: Asked, seeds: Sequence[int], out: Path | None, on_exists: str, listen: Listener
) -> tuple[Extension, list[Added]]:
    """Add what is not added yet, telling what happens, and return the folder and its adapters.

    Raises:
        UserError: Something that the caller can mend.
        Interrupted: The user stopped it; what was done is saved.
    """
    from xmodctl.model import find, load_tokenizer

    check_choice("--on-exists", on_exists, ("resume", "redo", "error"))
    resolved, source = resolve_plan(asked, find)
    for note in resolved.notes:
        listen(Notice(note))
    plan = resolved.plan
    folder = out or RUNS / plan.folder_name
    added: list[Added] = []
    with ExitStack() as held:
        held.enter_context(locked(folder))
        check_disk(folder, estimate(plan, source, None, len(seeds)).disk)
        place = Path(held.enter_context(TemporaryDirectory(dir=folder, prefix=".text-")))
        texts: list[TextRead] = []
        tokenizer = load_tokenizer(source)
        if plan.recipe.max_length > tokenizer.model_max_length:
            raise UserError(
                f"max_length is {plan.recipe.max_length}, but {asked.model} has positions for "
                f"{tokenizer.model_max_length} tokens; add --set max_length={tokenizer.model_max_length}"
            )
        for text in read_texts(plan, place, tokenizer):
            texts.append(text)
            listen(text)
            for note in text.notes:
                listen(Notice(f"{text.language}: {note}", caution=True))
        fingerprints = {text.language: text.corpus.fingerprint for text in texts}
        head = gather(plan.head_text, place / "head", column=plan.column) if plan.head_text else None
        if head:
            fingerprints["--head-text"] = head.fingerprint
        extension = Extension.open(folder, plan, seeds, fingerprints, on_exists)
        for event in add(extension, seeds, source, texts, head):
            listen(event)
            if isinstance(event, Added):
                added.append(event)
    return Extension.read(folder), added


@dataclass(frozen=True)
class Looked:
    """What a command would do."""

    resolved: ResolvedPlan[Plan]
    texts: tuple[TextRead, ...]  # of the languages whose text is on this disk, if the tokenizer is, too
    cost: Cost


def look(asked: Asked, seeds: int) -> Looked:
    """Return what a command would do and cost; nothing is downloaded, and nothing stays on the disk.

    Raises:
        UserError: Something that the caller can mend.
    """
    from xmodctl.model import look_up

    resolved, facts = resolve_plan(asked, look_up)
    plan = resolved.plan
    texts: tuple[TextRead, ...] = ()
    tokenizer = _tokenizer_here(asked.model)
    local = {one: places for one, places in plan.texts.items() if _on_this_disk(places)}
    if tokenizer is not None and local:
        with TemporaryDirectory(prefix="xmodctl-") as place:
            texts = tuple(read_texts(replace(plan, texts=local), Path(place), tokenizer))
    tokens = {
        text.language: round(text.corpus.counts.characters * text.fit.pieces / (text.fit.characters + text.fit.words))
        for text in texts
    }
    sequences = {one: max(1, count // plan.recipe.max_length) for one, count in tokens.items()}
    whole = sequences if sequences.keys() == plan.texts.keys() else None
    return Looked(resolved, texts, estimate(plan, facts, whole, seeds))


def _on_this_disk(places: Sequence[str]) -> bool:
    return all(place != STANDARD_INPUT and Path(place).expanduser().exists() for place in places)


def _tokenizer_here(model: str) -> "PreTrainedTokenizerFast | None":
    """Return the model's tokenizer if it is on this disk."""
    from xmodctl.model import find, load_tokenizer, look_up

    if model != "mini" and look_up(model).folder is None:
        return None
    try:
        return load_tokenizer(find(model))
    except UserError:
        return None
