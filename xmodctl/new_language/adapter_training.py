"""The training of one adapter with one seed: initialize, train, measure, check that nothing else changed, write."""

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from xmodctl.adapters.packages import Package, write_package
from xmodctl.adapters.vocabulary import NewVocabulary
from xmodctl.catalog.recipe import Recipe
from xmodctl.core.events import AdapterAdded, AdapterStarted, HeadTrained, Listener
from xmodctl.core.versions import versions
from xmodctl.model.precision import Precision
from xmodctl.new_language.adapter_initialization import drawn_tensors
from xmodctl.new_language.language_run import LanguageRun
from xmodctl.new_language.language_text import LanguageText
from xmodctl.new_language.measurements import LossComparison, LossMeasurement, compare
from xmodctl.new_language.sharing import SharedLanguage, place_adapter, start_seed
from xmodctl.training.masked_lm.held_out import HeldOutLoss, measure_held_out
from xmodctl.training.masked_lm.integrity import check_unchanged, combined_sha256, tensor_digests
from xmodctl.training.masked_lm.masked_training import MaskedTraining
from xmodctl.training.masked_lm.packed_text import PackedText
from xmodctl.training.resumable import ResumableTraining
from xmodctl.training.world import World

if TYPE_CHECKING:
    from torch import Tensor

    from xmodctl.model import Source, Xmod


@dataclass(frozen=True)
class PreparedLanguage:
    """What the trainings of a language's seeds have in common."""

    text: LanguageText
    packed: PackedText
    recipe: Recipe
    start: str  # what its adapters are initialized from
    initial: "Mapping[str, Tensor]"  # values from adapters; none if each seed draws its own
    head: HeadTrained | None  # None: the checkpoint has a head
    baselines: Sequence[LossMeasurement]
    vocabulary: NewVocabulary | None  # None: the model's
    pad_id: int  # of the tokenizer that is used
    digests: Mapping[str, str]  # of all tensors that must not change

    def share(self, world: World, model: "Xmod", head: Collection[str]) -> None:
        """Let the other processes prepare for the language.

        Args:
            world: The processes, of which this is the first.
            model: With the trained head.
            head: The names of the head's tensors; none if the checkpoint has them.
        """
        if world.size == 1:
            return
        from xmodctl.model.folding import width_of

        parameters, vocabulary = dict(model.module.named_parameters()), self.vocabulary
        SharedLanguage(
            self.text.language,
            self.recipe.epochs,
            self.packed.training,
            self.packed.masker,
            self.pad_id,
            None if vocabulary is None else len(vocabulary.embeddings),
            {name: parameters[name].detach().float().cpu().numpy() for name in head},
            width_of(self.initial, self.text.language) if self.initial else None,
        ).send(world)

    def tensors(self, model: "Xmod", seed: int) -> "dict[str, Tensor]":
        """Return the initial values of a seed's adapter."""
        if self.initial:
            return {name: tensor.clone() for name, tensor in self.initial.items()}
        return drawn_tensors(model, self.start, self.text.language, seed)


@dataclass(frozen=True)
class AdapterTraining:
    """The training of one language's adapter with one seed.

    Args:
        run: The folder and its plan.
        source: The base model.
        model: Loaded for masked-language modeling, with a trained head.
        prepared: What the language's seeds have in common.
        seed: Decides masks, order, dropout, and random initial values.
        listen: Is called with each event.
        world: The processes that train together, of which this is the first.
    """

    run: LanguageRun
    source: "Source"
    model: "Xmod"
    prepared: PreparedLanguage
    seed: int
    listen: Listener
    world: World = field(default_factory=World)

    @property
    def language(self) -> str:
        """The new language."""
        return self.prepared.text.language

    def train(self) -> Package:
        """Train the adapter and write its package.

        Raises:
            Interrupted: The user asked to stop; the last step that was taken is saved.
        """
        prepared, language, world = self.prepared, self.language, self.world
        start_seed(world, self.seed)
        trainable = self.initialize()
        training = MaskedTraining(
            self.model, prepared.packed.training, prepared.packed.masker, prepared.recipe,
            seed=self.seed, precision=self.run.plan.precision, pad_id=prepared.pad_id, world=world,
        )  # fmt: skip
        start = self.measure("start", prepared.start)
        resumable = ResumableTraining.resume(
            training,
            folder=self.run.checkpoints(language, self.seed),
            metrics=self.run.metrics(language, self.seed),
            name=f"{language}, seed {self.seed}",
            listen=self.listen,
        )
        training.spread()
        self.listen(self.started(training, trainable))
        with world.agreed_stops():
            resumable.run(self.listen)

        self.model.module.requires_grad_(False)
        trained = self.measure("trained", language)
        check_unchanged(language, prepared.digests, tensor_digests(self.model, language))
        package = self.write(training.step, compare(trained, [start, *prepared.baselines]))
        shutil.rmtree(resumable.checkpoints, ignore_errors=True)
        self.listen(AdapterAdded(language, self.seed, package.folder, len(prepared.digests)))
        return package

    def initialize(self) -> int:
        """Make the new adapter the only one in memory and the only part that trains; return its parameters."""
        vocabulary = self.prepared.vocabulary
        tensors = self.prepared.tensors(self.model, self.seed)
        own_embeddings = (vocabulary.embeddings, vocabulary.bias) if vocabulary else None
        return place_adapter(self.model, self.language, tensors, own_embeddings)

    def measure(self, label: str, adapter: str) -> LossMeasurement:
        """Measure held-out text through the adapter as it is now."""
        packed = self.prepared.packed
        held_out = measure(self.model, packed, self.run.plan.precision, self.prepared.pad_id)
        return LossMeasurement(label, adapter, held_out, packed)

    def started(self, training: MaskedTraining, trainable: int) -> AdapterStarted:
        """Return the event that reports the start."""
        packed = self.prepared.packed
        return AdapterStarted(
            self.language, self.seed, self.prepared.start, training.step, training.total_steps, training.epoch,
            len(packed.training), packed.tokens, len(packed.masker.candidates), trainable,
            sum(parameter.numel() for parameter in self.model.module.parameters()),
        )  # fmt: skip

    def write(self, steps: int, comparisons: Sequence[LossComparison]) -> Package:
        """Write the package."""
        language, vocabulary = self.language, self.prepared.vocabulary
        tensors = {name: tensor.cpu() for name, tensor in self.model.adapter(language).items()}
        if vocabulary:
            trained = {name: part.detach().cpu() for name, part in self.model.own_embeddings(language).items()}
            vocabulary = replace(vocabulary, embeddings=trained["words"], bias=trained.get("bias"))
        folder, facts = self.run.package(language, self.seed), self.facts(steps, comparisons)
        return write_package(folder, self.source, language, tensors, facts, vocabulary=vocabulary, keep_others=True)

    def facts(self, steps: int, comparisons: Sequence[LossComparison]) -> dict[str, Any]:
        """Return what the package records about the training, as plain JSON values."""
        prepared, plan = self.prepared, self.run.plan
        corpus, packed = prepared.text.corpus, prepared.packed
        text = {"origins": list(corpus.origins), "fingerprint": corpus.fingerprint, "limited": plan.limit}
        if plan.strip_markup:
            text["strip_markup"] = True
        return {
            "seed": self.seed,
            "steps": steps,
            "start": prepared.start,
            **({"start_packages": [asdict(package) for package in plan.packages]} if plan.packages else {}),
            "recipe": prepared.recipe.model_dump(mode="json"),
            "precision": plan.precision,
            "device": str(self.model.device),
            "text": text | corpus.counts.to_json(),
            "sequences": len(packed.training),
            "tokens": packed.tokens,
            "pieces_predicted_among": len(packed.masker.candidates),
            "head": _head_facts(prepared.head) if prepared.head else None,
            "vocabulary": plan.vocabulary,
            "fit": prepared.text.fit.to_json(),
            "held_out": [asdict(comparison) for comparison in comparisons],
            "untouched": {"tensors": len(prepared.digests), "sha256": combined_sha256(prepared.digests)},
            "versions": versions(),
        }  # fmt: skip


def _head_facts(head: HeadTrained) -> dict[str, Any]:
    """Return what a head is, without whether it was cached: that says nothing about the adapter."""
    return {name: value for name, value in asdict(head).items() if name not in ("known", "seconds")}


def measure(model: "Xmod", text: PackedText, precision: Precision, pad_id: int) -> HeldOutLoss:
    """Measure a text's held-out part through the active adapter."""
    return measure_held_out(model, text.held_out, text.masker, precision=precision, pad_id=pad_id)
