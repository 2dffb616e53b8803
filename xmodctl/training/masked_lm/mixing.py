"""The weights of a mixture of adapters, found by the masked-LM loss on text of a language that has no adapter."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.adapters.attaching import attach
from xmodctl.adapters.mixtures import (
    BY_ENTROPY,
    BY_TEXT,
    BY_TYPOLOGY,
    FOUND_BY,
    MIXED,
    PARTS,
    Mixture,
    with_mixtures,
)
from xmodctl.adapters.packages import Package, read_package, write_package
from xmodctl.adapters.store import choose_all
from xmodctl.adapters.typological_mixtures import mixture_by_typology
from xmodctl.adapters.written_weights import MIX, NONE, is_to_be_found
from xmodctl.core.arguments import check_choice
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, MixtureFound, ModelLoading, Notice, warn
from xmodctl.core.temporary import temporary_folder
from xmodctl.data.texts import Corpus, gather
from xmodctl.languages import related, resolve, same
from xmodctl.model.inference import best_device
from xmodctl.model.precision import Precision, resolve_precision
from xmodctl.training.masked_lm.heads import HeadText, HeadTraining, head_recipe
from xmodctl.training.masked_lm.held_out import measure_held_out
from xmodctl.training.masked_lm.integrity import combined_sha256, digests_on_path, tensor_digests
from xmodctl.training.masked_lm.packed_text import MODEL_VOCABULARY, PackedText, pack_head_text
from xmodctl.training.masked_lm.ranking import IDENTITY, Candidate, candidate_adapters, is_identity, rank_adapters
from xmodctl.training.masked_lm.vocabulary_fit import check_corpus

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from xmodctl.model import Source, Xmod

SEQUENCES = 32
"""Sequences that weights are compared on, evenly spaced over the text."""
STEPS = (3, 1)
"""Parts that the search moves between two adapters: first many, then few."""

Shares = tuple[int, ...]  # in parts, one per adapter


@dataclass(frozen=True)
class FoundWeights:
    """The weights with the lowest loss that a search found."""

    parts: tuple[tuple[str, Fraction], ...]  # adapter, weight
    loss: float
    first_alone: float  # the loss through the first adapter alone


def find_mixture(
    language: str,
    files: Sequence[str],
    source: "Source",
    packages: Sequence[Package],
    listen: Listener,
    *,
    head_text: Sequence[str] = (),
) -> Mixture:
    """Find the mixture of a model's adapters with the lowest masked-LM loss on text.

    The adapters are ranked as `add-language --init-from auto` ranks them. Between the best, the search moves parts of
    the weights as long as the loss falls, from the best adapter alone and from even mixtures of the best.

    Args:
        language: What the text is written in.
        files: The text; at least 20,000 characters, a few hundred lines.
        source: The base model.
        packages: Packages whose adapters take part, too.
        listen: Called with each event.
        head_text: Text to train a missing head on; by default the language's own.

    Raises:
        UserError: The text cannot be used.
    """
    model, tokenizer, text, corpus = prepared(language, files, source, listen, head_text)
    usable = [package for package in packages if not package.vocabulary]
    for package in usable:
        attach(model, package)
    pad_id = int(tokenizer.pad_token_id)
    candidates = adapters_to_mix(model, usable)
    precision = resolve_precision("auto")
    ranked = rank_adapters(model, candidates, text.training, text.masker, precision=precision, pad_id=pad_id)
    weights = weights_by_text(model, ranked, text, precision=precision, pad_id=pad_id)
    mixture = Mixture.of(
        weights.parts, usable, BY_TEXT, lines=corpus.counts.kept, text=corpus.fingerprint,
        origins=", ".join(Path(origin).name for origin in corpus.origins), loss=round(weights.loss, 4),
        ranking=_losses(ranked),
    )  # fmt: skip
    listen(MixtureFound(language, mixture.language, weights.loss, ranked[0].adapter, weights.first_alone))
    return mixture


def weights_by_text(
    model: "Xmod", ranked: Sequence[Candidate], text: PackedText, *, precision: Precision, pad_id: int
) -> FoundWeights:
    """Find the weights of the best adapters of a ranking with the lowest loss on training text.

    Args:
        model: The model; its adapter `text` is the last mixture that was tried.
        ranked: What `rank_adapters` returned.
        text: The text.
        precision: What matrix products are computed in.
        pad_id: The tokenizer's padding id.
    """
    names = [NONE if each.adapter == IDENTITY else each.adapter for each in ranked[:MIXED]]
    units = text.training.evenly_spaced(SEQUENCES)

    def loss_of(mixture: Mixture) -> float:
        model.put_adapter(BY_TEXT, mixture.fold(model, BY_TEXT))
        model.use(BY_TEXT)
        return measure_held_out(model, text.training, text.masker, precision=precision, pad_id=pad_id, units=units).loss

    return find_weights(names, loss_of)


def adapters_to_mix(model: "Xmod", packages: Sequence[Package]) -> list[str]:
    """Return the candidates of a mixture: the adapters of the model, all identities as one, and those of packages.

    Raises:
        UserError: All are identities.
    """
    candidates = candidate_adapters(model, packages)
    if candidates == [IDENTITY]:
        raise UserError(
            f"{model.source.name} has no trained adapters to mix; add some with --adapter DIR, or train one with "
            "`xmodctl add-language LANG --text FILE`"
        )
    return candidates


def find_weights(names: Sequence[str], loss_of: Callable[[Mixture], float]) -> FoundWeights:
    """Find the weights of adapters, the best of which comes first, with the lowest loss."""

    def loss_of_shares(shares: Shares) -> float:
        return loss_of(Mixture(tuple((name, share) for name, share in zip(names, shares, strict=True) if share)))

    shares, losses = search(len(names), loss_of_shares)
    parts = tuple((name, Fraction(share)) for name, share in zip(names, shares, strict=True))
    return FoundWeights(parts, losses[shares], losses[_single(len(names), 0)])


def prepared(
    language: str, files: Sequence[str], source: "Source", listen: Listener, head_text: Sequence[str] = ()
) -> "tuple[Xmod, PreTrainedTokenizerFast, PackedText, Corpus]":
    """Return the model with a masked-LM head, its tokenizer, and the text, packed and as it was read.

    Raises:
        UserError: The text cannot be used.
    """
    from xmodctl.model import load, load_tokenizer

    with temporary_folder() as folder:
        corpus = gather(files, folder / "text")
        head_corpus = gather(head_text, folder / "head") if head_text else None
        listen(ModelLoading(source.name))
        tokenizer = load_tokenizer(source)
        for each in filter(None, (corpus, head_corpus)):
            check_corpus(tokenizer, each)
        model = load(source, "masked-lm", source.languages[:1], device=best_device())
        text = PackedText.of(corpus, tokenizer, head_recipe(tokenizer).max_length, MODEL_VOCABULARY)
        if model.initialized:
            packed = pack_head_text(head_corpus or corpus, tokenizer)
            _train_head(model, language, tokenizer, packed, listen, is_shared=bool(head_text))
    return model, tokenizer, text, corpus


def search(count: int, loss_of: Callable[[Shares], float]) -> tuple[Shares, dict[Shares, float]]:
    """Return the shares with the lowest loss that a local search finds, and the losses of all that it tried."""
    losses: dict[Shares, float] = {}

    def known(shares: Shares) -> float:
        if shares not in losses:
            losses[shares] = loss_of(shares)
        return losses[shares]

    starts = [_single(count, 0), *(_even(count, among) for among in range(2, count + 1))]
    best = min(starts, key=known)
    for step in STEPS:
        while (better := min([best, *_moved(best, step)], key=known)) != best:
            best = better
    return best, losses


def _moved(shares: Shares, step: int) -> list[Shares]:
    """Return the shares after moving some parts from one adapter to another, in every way."""
    moved = []
    for giver, has in enumerate(shares):
        for taker in range(len(shares)):
            if giver != taker and has >= step:
                changed = list(shares)
                changed[giver] -= step
                changed[taker] += step
                moved.append(tuple(changed))
    return moved


def _single(count: int, which: int) -> Shares:
    return tuple(PARTS if number == which else 0 for number in range(count))


def _even(count: int, among: int) -> Shares:
    """Return about even shares of the first adapters; what is left over goes to the first."""
    each = PARTS // among
    return tuple(
        each + (PARTS - each * among if number == 0 else 0) if number < among else 0 for number in range(count)
    )


def _losses(ranked: Sequence[Candidate]) -> dict[str, float]:
    return {each.adapter: round(each.loss, 4) for each in ranked[:MIXED]}


def _train_head(
    model: "Xmod",
    language: str,
    tokenizer: "PreTrainedTokenizerFast",
    text: HeadText,
    listen: Listener,
    *,
    is_shared: bool,
) -> None:
    """Give a checkpoint without a head the one that `add-language` trains, or trained before, on the same text."""
    others = [other for other in model.source.languages if other != language]
    nearest = next(iter(related(language, others) or others or model.source.languages))
    through = model.source.languages[0] if is_shared else nearest
    path = None if is_identity(model, through) else through
    base = combined_sha256(digests_on_path(model, path, tensor_digests(model, language)))
    training = HeadTraining(model, path, text, tokenizer, base, resolve_precision("auto"))
    if not training.path.exists():
        listen(Notice(f"{model.source.name} has no masked-LM head: one is trained, which takes minutes, and cached"))
    listen(training.run(listen))


def finder(
    texts: Sequence[tuple[str, str]], source: "Source", packages: Sequence[Package], listen: Listener
) -> Callable[[str], Mixture]:
    """Return what finds the mixture for `zu=mix`, from (language, file) pairs; an empty language is any.

    Raises:
        UserError: Of the function: there is no text of the language.
    """

    def find(language: str) -> Mixture:
        files = [file for written, file in texts if not written or same(written, language)]
        if not files:
            raise UserError(
                f"{language}=mix needs text in {language}, a few hundred lines, to choose weights on; add --mix-text "
                f"{language}=FILE, choose them without text by --mix-by typology, or give weights, as in "
                f"{language}=sw+so"
            )
        return find_mixture(language, files, source, packages, listen)

    return find


def mix(
    mixture: str,
    out: str | Path,
    *,
    model: str | Path,
    adapters: Sequence[str | Path] = (),
    text: Sequence[str] = (),
    head_text: Sequence[str] = (),
    mix_by: str = BY_TEXT,
    listen: Listener = warn,
) -> Package:
    """Write a mixture as a package, as `xmodctl adapters mix` does.

    Args:
        mixture: The language and its mixture, `zu=0.7*sw+0.3*so`; or `zu=mix`, whose weights are found on `text`.
        out: The folder to write.
        model: The base: `mini`, a folder, or a Hub id.
        adapters: Packages that may be parts.
        text: Files with text of the language.
        head_text: Text to train the head of a checkpoint without one; by default the language's own.
        mix_by: How the weights of `zu=mix` are found: on `text`, or by `typology`.
        listen: Called with each event.

    Raises:
        UserError: The mixture or the text cannot be used, or the folder cannot be written.
    """
    from xmodctl.model import find as find_base
    from xmodctl.model import load

    _refuse_unused(mixture, text, head_text, mix_by)
    source = find_base(str(model))
    packages = choose_all(adapters, source)
    written, pairs, _ = mixture.partition("=")
    replaced = None
    if pairs:
        language = resolve(written, source.languages, model=source.name, open_languages=True).adapter
        replaced = _replaceable(Path(out), language, packages)

    def find(language: str) -> Mixture:
        if mix_by == BY_TYPOLOGY:
            return mixture_by_typology(language, source, packages, listen)
        if not text:
            raise UserError(
                f"{mixture} needs text in {language}, a few hundred lines; add --text FILE, or choose weights without "
                "text by --mix-by typology"
            )
        return find_mixture(language, text, source, packages, listen, head_text=head_text)

    _, mixtures = with_mixtures(mixture, source, packages, listen, find=find)
    if len(mixtures) != 1:
        raise UserError(f"{mixture} is not a mixture for one language; write it as in zu=0.7*sw+0.3*so")
    loaded = load(source, "none", source.languages[:1])
    for package in packages:
        attach(loaded, package)
    listen(Notice(f"the adapter for {written} is called {language}"))
    facts = {"mixture": mixtures[0].to_json()}
    if replaced and replaced.facts["mixture"] != facts["mixture"]:
        listen(Notice(f"{out}: replaces the mixture {replaced.facts['mixture']['name']}", caution=True))
    return write_package(out, source, language, mixtures[0].fold(loaded, language), facts)


def _refuse_unused(mixture: str, text: Sequence[str], head_text: Sequence[str], mix_by: str) -> None:
    """Refuse options that have no effect together.

    Raises:
        UserError: One has none; the message names it.
    """
    check_choice("--mix-by", mix_by, FOUND_BY)
    if mix_by == BY_ENTROPY:
        raise UserError("--mix-by entropy needs a run and its test rows; use it in `xmodctl eval-transfer`")
    if mix_by == BY_TYPOLOGY and (text or head_text):
        raise UserError("--mix-by typology chooses weights without text; remove --text and --head-text")
    if not is_to_be_found(mixture.rpartition("=")[2]) and (text or head_text or mix_by != BY_TEXT):
        option = "--text" if text else "--head-text" if head_text else f"--mix-by {mix_by}"
        raise UserError(f"{option} chooses weights, and {mixture} gives them; remove {option}, or write LANG={MIX}")


def _replaceable(folder: Path, language: str, parts: Sequence[Package]) -> Package | None:
    """Return the mixture that a folder holds and that another one for the same language may replace.

    Raises:
        UserError: It holds another adapter, such as one that was trained or is a part of the new one.
    """
    try:
        package = read_package(folder)
    except UserError:  # not an adapter; writing says whether the folder can be used
        return None
    is_part = any(part.folder.resolve() == folder.resolve() for part in parts)
    if is_part or package.language != language or not package.facts.get("mixture"):
        what = "is given with --adapter" if is_part else f"is not a mixture for {language}"
        raise UserError(f"--out {folder} holds the adapter {package.language}, which {what}; choose another folder")
    return package
