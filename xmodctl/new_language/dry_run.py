"""The dry run of `add-language`: the plan, the text and the cost, without downloading or writing anything."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.core.errors import UserError
from xmodctl.core.requests import command
from xmodctl.core.temporary import temporary_folder
from xmodctl.data.texts import STANDARD_INPUT
from xmodctl.new_language.cost import LanguageCost, estimate
from xmodctl.new_language.language_run import LanguageRun
from xmodctl.new_language.language_text import LanguageText, read_head_text, read_texts
from xmodctl.new_language.plan import LanguagePlan, resolve_plan
from xmodctl.new_language.request import AddLanguageRequest
from xmodctl.training.planning import ResolvedPlan

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class LanguageDryRun:
    """What `add_language` would do and cost."""

    request: AddLanguageRequest
    resolved: ResolvedPlan[LanguagePlan]
    texts: tuple[LanguageText, ...]  # of the languages whose text is on this disk, if the tokenizer is, too
    cost: LanguageCost
    folder: Path  # for the adapters

    @property
    def plan(self) -> LanguagePlan:
        """The plan."""
        return self.resolved.plan

    @property
    def notes(self) -> tuple[str, ...]:
        """What you should know about the plan and the texts."""
        known = {text.language for text in self.texts}
        return (
            *self.resolved.notes,
            *(f"{text.language}: {note}" for text in self.texts for note in text.notes),
            *(f"{name}: {_unread(files)}" for name, files in self.plan.texts.items() if name not in known),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the dry run as plain JSON values."""
        return {
            "plan": self.plan.to_json(),
            "origins": dict(self.resolved.origins),
            "seeds": list(self.request.seed_numbers),
            "folder": str(self.folder),
            "texts": {
                text.language: {
                    "counts": text.corpus.counts.to_json(),
                    "fit": text.fit.to_json(),
                    "notes": list(text.notes),
                }
                for text in self.texts
            },
            "steps": self.cost.steps,
            "parameters": {"total": self.cost.parameters.total, "trainable": self.cost.parameters.trainable},
            "memory_bytes": self.cost.memory,
            "disk_bytes": self.cost.disk,
            "notes": list(self.resolved.notes),
        }


@command(AddLanguageRequest)
def plan_add_language(request: AddLanguageRequest) -> LanguageDryRun:
    """Return what `add_language` would do and cost, as `xmodctl add-language --dry-run` does.

    Nothing is downloaded, and nothing is kept on disk.

    Raises:
        UserError: You can fix something in the request, the text or the environment.
    """
    from xmodctl.model import look_up

    resolved, facts = resolve_plan(request, look_up)
    plan = resolved.plan
    texts = _read_local(plan, str(request.model))
    cost = estimate(plan, facts, _sequences(plan, texts), len(request.seed_numbers))
    return LanguageDryRun(request, resolved, texts, cost, request.out_folder or LanguageRun.folder_of(plan))


def _read_local(plan: LanguagePlan, model: str) -> tuple[LanguageText, ...]:
    """Read the texts that are on this disk."""
    tokenizer = _local_tokenizer(model)
    local = {language: files for language, files in plan.texts.items() if _is_local(files)}
    if tokenizer is None or not local:
        return ()
    with temporary_folder() as folder:
        if _is_local(plan.head_text):
            read_head_text(plan, folder, tokenizer)
        return tuple(read_texts(replace(plan, texts=local), folder, tokenizer))


def _unread(files: Sequence[str]) -> str:
    """Return why a text is not read."""
    reason = "leaves standard input alone" if STANDARD_INPUT in files else "downloads nothing"
    return f"a dry run {reason}, so the text is not checked"


def _sequences(plan: LanguagePlan, texts: Sequence[LanguageText]) -> dict[str, int] | None:
    """Estimate the training sequences of each language; None if a text was not read."""
    if {text.language for text in texts} != set(plan.texts):
        return None
    tokens = {
        text.language: round(text.corpus.counts.characters * text.fit.pieces / (text.fit.characters + text.fit.words))
        for text in texts
    }
    return {language: max(1, count // plan.recipe.max_length) for language, count in tokens.items()}


def _is_local(files: Sequence[str]) -> bool:
    return all(file != STANDARD_INPUT and Path(file).expanduser().exists() for file in files)


def _local_tokenizer(model: str) -> "PreTrainedTokenizerFast | None":
    """Return the model's tokenizer if it is on this disk."""
    from xmodctl.model import find, load_tokenizer, look_up

    if model != "mini" and look_up(model).folder is None:
        return None
    try:
        return load_tokenizer(find(model))
    except UserError:
        return None
