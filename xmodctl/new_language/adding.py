"""Adding languages from a plan to packages: text, head, start, training, measurements. Yields what happens."""

import json
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xmodctl.adapters.packages import Package, read_package, write_package
from xmodctl.adapters.vocabulary import BIAS, EMBEDDINGS, NewVocabulary
from xmodctl.catalog.recipe import Recipe
from xmodctl.core.encoded import Encoded
from xmodctl.core.errors import UserError
from xmodctl.core.events import StepTaken
from xmodctl.core.files import write_json
from xmodctl.core.signals import StopSignals, stop_signals
from xmodctl.core.versions import versions
from xmodctl.data.encoding import cached, tokenizer_identity
from xmodctl.data.texts import Corpus, gather
from xmodctl.languages import related
from xmodctl.languages.text_check import cautions
from xmodctl.model.inference import best_device
from xmodctl.new_language import heads
from xmodctl.new_language.adapter_initialisation import (
    AUTO,
    IDENTITY,
    RANDOM,
    Candidate,
    adds,
    candidates,
    rank,
    start_tensors,
    use,
)
from xmodctl.new_language.heads import HeadStep, HeadText, HeadTrained
from xmodctl.new_language.integrity import digests, digests_through, summary
from xmodctl.new_language.masked_training import MaskedTraining
from xmodctl.new_language.masking import HeldOut, Masker, by_frequency, held_out, pack
from xmodctl.new_language.plan import Extension, Plan, shares
from xmodctl.new_language.vocabulary import Fit, fit, train_vocabulary
from xmodctl.run.checkpoints import latest_checkpoint, save_checkpoint
from xmodctl.statistics.resampling import bootstrap
from xmodctl.training.metrics_log import MetricsLog

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

    from xmodctl.model import Source, Xmod

MEASURED_TOKENS = 65_536
"""Held-out tokens that losses are measured on, at most: about 10,000 of them are predicted."""
FIT_TEXTS = 2_000


@dataclass(frozen=True)
class TextRead:
    """A language's text is cleaned and looked at."""

    language: str
    corpus: Corpus
    fit: Fit  # of the model's own vocabulary
    notes: tuple[str, ...]  # what may be other than meant


@dataclass(frozen=True)
class Ranking:
    """The model's adapters are about to be tried on a language's text."""

    language: str
    candidates: int


@dataclass(frozen=True)
class Ranked:
    """The model's adapters were tried on a language's text; the best comes first."""

    language: str
    candidates: tuple[Candidate, ...]
    start: str
    known: bool = False  # from an earlier command


@dataclass(frozen=True)
class VocabularyMade:
    """A language has its own vocabulary."""

    language: str
    pieces: int
    copied: int
    fit: Fit


@dataclass(frozen=True)
class AdapterStarted:
    """An adapter's training begins or goes on."""

    language: str
    seed: int
    start: str
    resumed_at: int  # steps already taken
    total_steps: int
    epoch: float
    sequences: int
    tokens: int
    candidates: int  # pieces among which the masked ones are predicted
    trainable: int
    total: int  # parameters


@dataclass(frozen=True)
class Compared:
    """One way through the model, measured on held-out text."""

    what: str  # trained, start, best existing, source, none, frequencies (of the pieces, without a model)
    adapter: str | None
    vocabulary: str  # whose pieces: the model's, or the language's own
    loss: float  # nats a predicted token
    perplexity: float
    nats_a_character: float  # comparable between vocabularies, roughly: longer pieces are harder to tell
    above: float | None = None  # loss above the trained adapter's, where the pieces are the same
    above_low: float | None = None  # the ends of its 95 % interval, resampling sequences
    above_high: float | None = None


@dataclass(frozen=True)
class Added:
    """A package is on disk."""

    language: str
    seed: int
    package: Package
    compared: tuple[Compared, ...]
    untouched: int  # tensors found to be as they were
    known: bool = False  # from an earlier command


Event = TextRead | HeadStep | HeadTrained | Ranking | Ranked | VocabularyMade | AdapterStarted | StepTaken | Added


class Interrupted(Exception):  # noqa: N818 - not an error: what was done is saved
    """The user stopped it; what was done is saved."""

    def __init__(self, where: str) -> None:
        super().__init__(f"stopped {where}; the same command goes on from there")


@dataclass(frozen=True)
class Text:
    """A language's text as the model reads it."""

    training: Encoded
    held_out: Encoded
    masker: Masker
    characters: int  # of the held-out text that is measured on, blanks included
    vocabulary: str  # whose pieces

    @classmethod
    def of(cls, corpus: Corpus, tokenizer: "PreTrainedTokenizerBase", length: int, vocabulary: str) -> "Text":
        """Pack a corpus; of the held-out part, as much as is measured on."""
        key = {
            "tool": versions()["xmodctl"],
            "packed": corpus.fingerprint,
            "tokenizer": tokenizer_identity(tokenizer),
            "length": str(length),
        }
        training = cached(key, lambda: pack(corpus.documents(), tokenizer, length=length))
        documents = list(_first(corpus.held_out_documents(), tokenizer))
        held = pack(documents, tokenizer, length=length)
        masker = Masker.of(tokenizer, training, held)
        return cls(training, held, masker, sum(len(one) + 1 for one in documents), vocabulary)


def read_texts(plan: Plan, folder: Path, tokenizer: "PreTrainedTokenizerFast") -> Iterator[TextRead]:
    """Read and clean every language's text, and see how the model's vocabulary serves it.

    Raises:
        UserError: A text cannot be used.
    """
    for language, places in plan.texts.items():
        corpus = gather(places, folder / language, column=plan.column, limit=plan.limit)
        sample = corpus.sample(FIT_TEXTS)
        yield TextRead(language, corpus, fit(tokenizer, sample), cautions(language, sample))


def add(
    extension: Extension, seeds: Sequence[int], source: "Source", texts: Sequence[TextRead], head: Corpus | None
) -> Iterator[Event]:
    """Train what is not trained yet: language by language, and each with every seed.

    Nothing passes from one language to another: each has its own text, start, batches and optimiser, and nothing of
    the model changes. So an adapter is the same whichever languages are added with it or before it, as long as its
    recipe is the same (`sampling_alpha` 1).

    Args:
        extension: What to add, and where it goes.
        seeds: Which of its seeds; others may have been trained before.
        source: The base model.
        texts: The texts of the plan.
        head: What the head of a checkpoint without one is trained on; None: each language's own text.

    Raises:
        Interrupted: The user stopped it; the present step was saved first.
    """
    from xmodctl.model import load, load_tokenizer

    plan = extension.plan
    base = load_tokenizer(source)
    with stop_signals() as stop:
        lacking = [text for text in texts if any(not _finished(extension, text.language, seed) for seed in seeds)]
        for text in texts:
            if text not in lacking:
                yield from (_known(extension, text.language, seed) for seed in seeds)
        if lacking:
            sizes = {one.language: one.corpus.counts.characters for one in texts}
            recipes = shares(sizes, plan.recipe)
            model = load(source, "masked-lm", source.languages[:1], device=best_device())
            if head and not model.initialised:
                raise UserError(f"{source.name} has a masked-language-modelling head of its own; leave --head-text out")
            shared = _head_text(head, base) if head else None
            bench = Bench(extension, seeds, source, model, base, heads.drawn(model), shared, stop)
            for text in lacking:
                yield from bench.add(text, recipes[text.language])
    replace(extension, state="finished").write()


@dataclass
class Bench:
    """The model in memory, and what adding a language takes beside it."""

    extension: Extension
    seeds: Sequence[int]
    source: "Source"
    model: "Xmod"
    tokenizer: "PreTrainedTokenizerFast"
    drawn: "Mapping[str, Tensor]"  # the head as it was drawn, if the checkpoint has none
    shared: HeadText | None  # what every language's head is trained on; None: its own text
    stop: StopSignals
    head: HeadTrained | None = None  # of the present language; None: the checkpoint's own

    def add(self, text: TextRead, recipe: Recipe) -> Iterator[Event]:
        """Add one language with every seed."""
        language, plan = text.language, self.extension.plan
        heads.put_drawn(self.model, self.drawn)  # not the one of the language before
        before = digests(self.model, language)

        # A head, if the checkpoint has none.
        if self.drawn:
            through = self.head_through(language)
            on = self.shared or _head_text(text.corpus, self.tokenizer)
            base = summary(digests_through(self.model, through, before))
            for event in heads.head(self.model, through, on, self.tokenizer, base, precision=plan.precision):
                yield event
                if isinstance(event, HeadTrained):
                    self.head = event
                else:
                    self.heed("before the head was trained")
        self.model.set_dropout(hidden=recipe.dropout, attention=recipe.attention_dropout)

        # Which of the model's adapters reads the language best, and where the new one starts.
        packed = Text.of(text.corpus, self.tokenizer, recipe.max_length, "the model's")
        ranked = yield from self.rank(language, packed)
        controls = self.controls(ranked, packed)
        self.heed("before the adapter was trained")

        own: NewVocabulary | None = None
        if plan.vocabulary == "new":
            own = self.vocabulary(text)
            yield VocabularyMade(
                language, len(own.embeddings), own.copied, fit(own.tokenizer, text.corpus.sample(FIT_TEXTS))
            )
            packed = Text.of(text.corpus, own.tokenizer, recipe.max_length, "its own")
        guessed = by_frequency(packed.training, packed.held_out, packed.masker)
        controls.append(("frequencies", None, guessed, packed))
        for seed in self.seeds:
            if _finished(self.extension, language, seed):
                yield _known(self.extension, language, seed)
            else:
                yield from self.train(text, packed, recipe, seed, ranked, controls, own, before)
        self.leave(language)

    def head_through(self, language: str) -> str | None:
        """Return the adapter that a head's text goes through; None where it would add nothing.

        A language's own text goes through its nearest relative's, and text for the heads of all through the first.
        """
        if self.shared:
            through = self.source.languages[0]
        else:
            others = [one for one in self.source.languages if one != language]
            through = next(iter(related(language, others) or others or self.source.languages))
        return through if adds(self.model, through) else None

    def heed(self, where: str) -> None:
        """Stop here if the user asked for it.

        Raises:
            Interrupted: They did.
        """
        if self.stop.requested:
            replace(self.extension, state="interrupted").write()
            raise Interrupted(where)

    def leave(self, language: str) -> None:
        """Let go of an adapter that is done, so that memory is that of one language."""
        if others := [one for one in self.source.languages if one != language]:
            self.model.swap(others[:1])
            self.model.forget(language)

    def rank(self, language: str, text: Text) -> Generator[Ranking | Ranked, None, Ranked]:
        """Try the model's adapters, or read what an earlier command found."""
        path = self.extension.start(language)
        if path.exists():
            told = json.loads(path.read_text(encoding="utf-8"))
            ranked = Ranked(language, tuple(Candidate(**one) for one in told["candidates"]), told["start"], known=True)
        else:
            names = candidates(self.model)
            yield Ranking(language, len(names))
            found = rank(
                self.model, names, text.training, text.masker,
                precision=self.extension.plan.precision, pad_id=self.tokenizer.pad_token_id,
                heed=lambda: self.heed("before the adapter was trained"),
            )  # fmt: skip
            asked = self.extension.plan.init_from
            ranked = Ranked(language, tuple(found), found[0].adapter if asked == AUTO else asked)
            write_json(path, {"start": ranked.start, "candidates": [asdict(one) for one in ranked.candidates]})
        yield ranked
        return ranked

    def controls(self, ranked: Ranked, text: Text) -> list[tuple[str, str | None, HeldOut, Text]]:
        """Measure held-out text through the adapters there are: the best of them, those started from, and none."""
        ways: dict[str, tuple[str, str | None]] = {}
        for what, adapter in [
            ("best existing", ranked.candidates[0].adapter),
            *(("source", one) for one in ranked.start.split("+") if one not in (RANDOM, IDENTITY)),
            ("none", None),
        ]:
            ways.setdefault(adapter or IDENTITY, (what, adapter))
        measured = []
        for what, adapter in ways.values():
            use(self.model, adapter)
            measured.append((what, adapter, self.measure(text, self.tokenizer), text))
        return measured

    def measure(self, text: Text, tokenizer: "PreTrainedTokenizerBase") -> HeldOut:
        """Measure held-out text through what is active."""
        return held_out(
            self.model, text.held_out, text.masker,
            precision=self.extension.plan.precision, pad_id=tokenizer.pad_token_id,
        )  # fmt: skip

    def vocabulary(self, text: TextRead) -> NewVocabulary:
        """Train the language's own vocabulary, its embeddings started from the model's."""
        self.model.use(self.model.languages[0])
        self.model.read_as(None)
        values = dict(self.model.module.named_parameters())
        size = self.extension.plan.vocabulary_size
        assert size is not None
        return train_vocabulary(
            text.corpus.documents(), self.tokenizer, values[EMBEDDINGS].detach().cpu(), size=size, seed=0,
            base_bias=values[BIAS].detach().cpu(),
        )  # fmt: skip

    def train(
        self,
        text: TextRead,
        packed: Text,
        recipe: Recipe,
        seed: int,
        ranked: Ranked,
        controls: Sequence[tuple[str, str | None, HeldOut, Text]],
        own: NewVocabulary | None,
        before: Mapping[str, str],
    ) -> Iterator[Event]:
        """Train one seed's adapter, measure it, see that nothing else changed, and write the package."""
        from xmodctl.model import freeze_all_but

        model, extension, language = self.model, self.extension, text.language
        tokenizer = own.tokenizer if own else self.tokenizer
        work, log_path = extension.work(language, seed), extension.metrics(language, seed)

        # The new adapter alone is in memory, and it alone trains.
        model.put_adapter(language, start_tensors(model, ranked.start, language, seed))
        model.use(language)
        model.swap([language])
        if own:
            model.put_embeddings(language, own.embeddings, own.bias)
        trains = freeze_all_but(model, language)
        training = MaskedTraining(
            model, packed.training, packed.masker, recipe,
            seed=seed, precision=extension.plan.precision, pad_id=tokenizer.pad_token_id,
        )  # fmt: skip
        started = self.measure(packed, tokenizer)
        if checkpoint := latest_checkpoint(work):
            training.restore(checkpoint)
        log = MetricsLog(log_path, keep_until=training.step)
        yield AdapterStarted(
            language, seed, ranked.start, training.step, training.total_steps, training.epoch, len(packed.training),
            int(packed.training.input_ids.lengths.sum()), len(packed.masker.candidates), trains,
            sum(one.numel() for one in model.module.parameters()),
        )  # fmt: skip

        for step in training:
            log.add(asdict(step))
            yield step
            due = step.step % recipe.save_steps == 0 if recipe.save_steps else step.ends_epoch
            if (due and step.step < training.total_steps) or self.stop.requested:
                save_checkpoint(work, training.progress(), training.trained(), training.optimizer_state())
            if step.step < training.total_steps:
                self.heed(f"at step {step.step:,} of {step.total_steps:,} ({language}, seed {seed})")

        model.module.requires_grad_(False)
        finished = self.measure(packed, tokenizer)
        adapter = {name: tensor.cpu() for name, tensor in model.adapter(language).items()}
        if own:
            trained = {name: one.detach().cpu() for name, one in model.own_embeddings(language).items()}
            own = replace(own, embeddings=trained["words"], bias=trained.get("bias"))
        after = digests(model, language)
        changed = sorted(name for name in before if before[name] != after.get(name))
        assert not changed, f"training {language} changed {changed[0]} and {len(changed) - 1} more tensors"
        measured = [
            ("trained", language, finished, packed), ("start", ranked.start, started, packed), *controls,
        ]  # fmt: skip
        compared = compare(measured)
        facts = {
            "seed": seed,
            "steps": training.step,
            "start": ranked.start,
            "recipe": recipe.model_dump(mode="json"),
            "precision": extension.plan.precision,
            "device": str(model.device),
            "text": {"origins": list(text.corpus.origins), "fingerprint": text.corpus.fingerprint,
                     "limited": extension.plan.limit, **text.corpus.counts.to_json()},
            "sequences": len(packed.training),
            "tokens": int(packed.training.input_ids.lengths.sum()),
            "pieces_predicted_among": len(packed.masker.candidates),
            "head": asdict(self.head) if self.head else None,
            "vocabulary": extension.plan.vocabulary,
            "fit": text.fit.to_json(),
            "held_out": [asdict(one) for one in compared],
            "untouched": {"tensors": len(before), "sha256": summary(before)},
            "versions": versions(),
        }  # fmt: skip
        package = write_package(
            extension.package(language, seed), self.source, language, adapter, facts, vocabulary=own
        )
        shutil.rmtree(work, ignore_errors=True)
        yield Added(language, seed, package, compared, len(before))


def compare(measured: Sequence[tuple[str, str | None, HeldOut, Text]]) -> tuple[Compared, ...]:
    """Return measurements side by side; the first is what the others are compared to."""
    first, first_text = measured[0][2], measured[0][3]
    rows = []
    for number, (what, adapter, found, text) in enumerate(measured):
        row = Compared(
            what, adapter, text.vocabulary, found.loss, found.perplexity,
            found.loss * int(text.held_out.input_ids.lengths.sum()) / text.characters,
        )  # fmt: skip
        if number and text is first_text:
            counts = np.stack([found.losses - first.losses, first.tokens], axis=1)
            interval = bootstrap(counts, lambda sums: sums[..., 0] / sums[..., 1])
            row = replace(row, above=found.loss - first.loss, above_low=interval.low, above_high=interval.high)
        rows.append(row)
    return tuple(rows)


def _finished(extension: Extension, language: str, seed: int) -> bool:
    return extension.package(language, seed).exists()


def _known(extension: Extension, language: str, seed: int) -> Added:
    """Return a package of an earlier command.

    Raises:
        UserError: It is damaged.
    """
    package = read_package(extension.package(language, seed))
    compared = tuple(Compared(**one) for one in package.facts["held_out"])
    return Added(language, seed, package, compared, package.facts["untouched"]["tensors"], known=True)


def _head_text(corpus: Corpus, tokenizer: "PreTrainedTokenizerBase") -> HeadText:
    length = heads.recipe(tokenizer).max_length
    training = pack(_first(corpus.documents(), tokenizer, heads.MOST_TOKENS), tokenizer, length=length)
    held = pack(_first(corpus.held_out_documents(), tokenizer), tokenizer, length=length)
    return HeadText(training, held, corpus.fingerprint)


def _first(
    documents: Iterator[str], tokenizer: "PreTrainedTokenizerBase", tokens: int = MEASURED_TOKENS
) -> Iterator[str]:
    """Yield documents until they have so many tokens, and at least one."""
    left = tokens
    for document in documents:
        if left <= 0:
            return
        yield document
        left -= len(tokenizer(document, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]) + 1
