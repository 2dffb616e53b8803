"""The command `add-language` as a function."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from xmodctl.adapters.packages import Package
from xmodctl.core.events import Listener, Notice, warn
from xmodctl.core.files import PART, part_prefix
from xmodctl.core.messages import listed
from xmodctl.core.requests import command
from xmodctl.data.texts import Corpus, check_sources
from xmodctl.new_language.cost import estimate
from xmodctl.new_language.language_run import LanguageRun
from xmodctl.new_language.language_text import LanguageText, read_head_text, read_texts
from xmodctl.new_language.plan import LanguagePlan, resolve_plan
from xmodctl.new_language.request import AddLanguageRequest
from xmodctl.new_language.sharing import follow
from xmodctl.new_language.trainer import train_languages
from xmodctl.run.jobs import joined
from xmodctl.run.shards import EVERYTHING, Shard
from xmodctl.training.cost import check_disk
from xmodctl.training.finetune import silent
from xmodctl.training.planning import check_length
from xmodctl.training.world import World

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from xmodctl.model import Source


@command(AddLanguageRequest)
def add_language(request: AddLanguageRequest) -> list[Package]:
    """Train adapters for languages that the model was not pre-trained on, as `xmodctl add-language` does.

    Only the new adapters train; nothing else of the model changes. What an earlier call trained is not trained again.

    Returns:
        The packages of all languages and seeds, in their order; with a share of them, only these. The first of several
        processes alone returns them, the others return none.

    Raises:
        UserError: You can fix something in the request, the text or the environment.
        KeyboardInterrupt: The training was interrupted; the same call resumes it.
    """
    from xmodctl.model import find

    world = World.join("add-language")
    listen = (request.listen or warn) if world.is_first else silent

    def find_for_texts(name: str) -> "Source":
        if world.is_first:
            check_sources([*(file for _, file in request.text_files), *request.head_files])
        return find(name)

    resolved, source = world.after_first(lambda: resolve_plan(request, find_for_texts))  # which downloads the model
    for note in resolved.notes:
        listen(Notice(note))
    if not world.is_first:
        follow_plan(resolved.plan, source, world)
        return []
    folder = request.out_folder or LanguageRun.folder_of(resolved.plan)
    shard = Shard.chosen(request.shard, listen)
    return train_plan(
        resolved.plan, request.seed_numbers, source, folder, request.on_exists, listen, shard=shard, wait=request.wait,
        world=world,
    )  # fmt: skip


def train_plan(
    plan: LanguagePlan,
    seeds: Sequence[int],
    source: "Source",
    folder: Path,
    on_exists: str,
    listen: Listener,
    *,
    shard: Shard = EVERYTHING,
    wait: bool = False,
    world: World = World(),  # noqa: B008 (frozen)
) -> list[Package]:
    """Add the languages of a plan, and return the packages.

    Args:
        plan: The plan.
        seeds: The seeds to train.
        source: The plan's base model.
        folder: Where to keep what is trained.
        on_exists: What to do with an existing folder: resume, redo, or error.
        listen: Is called with each event.
        shard: Train this share of the adapters.
        wait: Whether to wait for adapters that other jobs train.
        world: The processes that train together, of which this is the first.

    Raises:
        InProgressError: Other jobs train some of the adapters.
    """
    from xmodctl.model import load_tokenizer

    world.check_equal(_shared_values(plan))
    shard.refuse_redo(on_exists)
    check_length(plan.recipe, source)
    with ExitStack() as resources:
        jobs = resources.enter_context(joined(folder))
        LanguageRun.check(folder, plan, on_exists)
        check_disk(folder, estimate(plan, source, None, len(seeds)).disk)
        unfinished = TemporaryDirectory(dir=folder, prefix=part_prefix("text"), suffix=PART)
        text_folder = Path(resources.enter_context(unfinished))
        tokenizer = load_tokenizer(source)
        texts = _read(plan, text_folder, tokenizer, listen)
        head = read_head_text(plan, text_folder, tokenizer)
        run = LanguageRun.open_shared(jobs, plan, seeds, _fingerprints(texts, head), on_exists)
        if on_exists == "redo" and (kept := LanguageRun.kept(folder)):
            listen(Notice(f"{folder} still contains files that xmodctl did not write: {listed(kept)}"))
        parts = shard.of([(text, seed) for text in texts for seed in seeds])
        return train_languages(run, parts, source, texts, head, listen, jobs=jobs, wait=wait, world=world)


def follow_plan(plan: LanguagePlan, source: "Source", world: World) -> None:
    """Add the languages of a plan as one of several processes, but not the first: nothing is written.

    Raises:
        UserError: The plan is not that of the first process.
        LostProcessError: Another process has ended.
    """
    world.check_equal(_shared_values(plan))
    follow(plan, source, world)


def _shared_values(plan: LanguagePlan) -> dict[str, Any]:
    """Return what all processes must have in common: everything but the files of text, which the first one reads."""
    return {**plan.to_json(), "texts": list(plan.texts), "head_text": len(plan.head_text)}


def _read(
    plan: LanguagePlan, folder: Path, tokenizer: "PreTrainedTokenizerFast", listen: Listener
) -> list[LanguageText]:
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
