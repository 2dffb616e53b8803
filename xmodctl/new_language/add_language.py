"""The command `add-language` as a function."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from xmodctl.adapters.packages import Package
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, Notice, warn
from xmodctl.core.messages import listed
from xmodctl.core.requests import command
from xmodctl.data.texts import Corpus, gather
from xmodctl.new_language.cost import estimate
from xmodctl.new_language.language_run import LanguageRun
from xmodctl.new_language.language_text import LanguageText, read_texts
from xmodctl.new_language.plan import Plan, resolve_plan
from xmodctl.new_language.request import AddLanguageRequest
from xmodctl.new_language.trainer import train_languages
from xmodctl.run.folder import RUNS, locked
from xmodctl.training.cost import check_disk

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@command(AddLanguageRequest)
def add_language(request: AddLanguageRequest) -> list[Package]:
    """Train adapters for languages that the model was not pre-trained on, as `xmodctl add-language` does.

    Only the new adapters train; nothing else of the model changes. What an earlier call trained is not trained again.

    Returns:
        The packages of all languages and seeds; languages that were finished before come first.

    Raises:
        UserError: You can fix something in the request, the text or the environment.
        KeyboardInterrupt: The training was interrupted; the same call resumes it.
    """
    from xmodctl.model import find, load_tokenizer

    listen = request.listen or warn
    resolved, source = resolve_plan(request, find)
    for note in resolved.notes:
        listen(Notice(note))
    plan, seeds = resolved.plan, request.seed_numbers
    folder = request.out_folder or RUNS / plan.folder_name
    with ExitStack() as resources:
        resources.enter_context(locked(folder))
        check_disk(folder, estimate(plan, source, None, len(seeds)).disk)
        text_folder = Path(resources.enter_context(TemporaryDirectory(dir=folder, prefix=".text-")))
        tokenizer = load_tokenizer(source)
        _check_length(plan, tokenizer, str(request.model))
        texts = _read(plan, text_folder, tokenizer, listen)
        head = gather(plan.head_text, text_folder / "head", column=plan.column) if plan.head_text else None
        run = LanguageRun.open(folder, plan, seeds, _fingerprints(texts, head), request.on_exists)
        if request.on_exists == "redo" and (kept := LanguageRun.kept(folder)):
            listen(Notice(f"{folder} keeps files that xmodctl did not write: {listed(kept)}"))
        return train_languages(run, seeds, source, texts, head, listen)


def _check_length(plan: Plan, tokenizer: "PreTrainedTokenizerFast", model: str) -> None:
    limit = tokenizer.model_max_length
    if plan.recipe.max_length > limit:
        raise UserError(
            f"max_length is {plan.recipe.max_length}, but {model} reads at most {limit} tokens; "
            f"add --set max_length={limit}"
        )


def _read(plan: Plan, folder: Path, tokenizer: "PreTrainedTokenizerFast", listen: Listener) -> list[LanguageText]:
    texts = []
    for text in read_texts(plan, folder, tokenizer):
        texts.append(text)
        listen(text.event)
        for note in text.notes:
            listen(Notice(f"{text.language}: {note}", caution=True))
    return texts


def _fingerprints(texts: list[LanguageText], head: Corpus | None) -> Mapping[str, str]:
    fingerprints = {text.language: text.corpus.fingerprint for text in texts}
    return fingerprints | ({"--head-text": head.fingerprint} if head else {})
