"""The languages of a plan, one after the other: head, initialization, baselines, vocabulary, then each seed's adapter.

Languages share nothing but the frozen model: each has its own text, head, initialization, batches and optimizer. So an
adapter is the same whichever languages are added with it or before it, as long as its recipe is the same
(`sampling_alpha` 1).
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xmodctl.adapters.mixtures import BY_TEXT, Mixture
from xmodctl.adapters.packages import Package, read_package
from xmodctl.adapters.vocabulary import BIAS, EMBEDDINGS, NewVocabulary
from xmodctl.adapters.written_weights import MIX
from xmodctl.catalog.recipe import Recipe
from xmodctl.core.errors import UserError
from xmodctl.core.events import (
    AdapterAdded,
    AdaptersRanked,
    AdaptersRanking,
    HeadTrained,
    Listener,
    MixtureFound,
    ModelLoading,
    Notice,
    VocabularyTrained,
)
from xmodctl.data.texts import Corpus
from xmodctl.languages import related
from xmodctl.model.inference import best_device
from xmodctl.new_language.adapter_initialization import AUTO, attached, copied_tensors, sources_of, start_name
from xmodctl.new_language.adapter_training import AdapterTraining, PreparedLanguage, measure
from xmodctl.new_language.language_run import LanguageRun
from xmodctl.new_language.language_text import LanguageText
from xmodctl.new_language.measurements import LossMeasurement
from xmodctl.new_language.plan import read_packages, share_steps
from xmodctl.new_language.ranking import Ranking, read_ranking, write_ranking
from xmodctl.new_language.sharing import end, start_loading, unload
from xmodctl.new_language.vocabulary import train_vocabulary
from xmodctl.run.jobs import Jobs, Piece
from xmodctl.training.masked_lm.heads import HeadText, HeadTraining, initial_head, reset_head
from xmodctl.training.masked_lm.held_out import frequency_baseline
from xmodctl.training.masked_lm.integrity import combined_sha256, digests_on_path, tensor_digests
from xmodctl.training.masked_lm.mixing import weights_by_text
from xmodctl.training.masked_lm.packed_text import MODEL_VOCABULARY, OWN_VOCABULARY, PackedText, pack_head_text
from xmodctl.training.masked_lm.ranking import (
    IDENTITY,
    Candidate,
    candidate_adapters,
    is_identity,
    rank_adapters,
    use_adapter,
)
from xmodctl.training.masked_lm.vocabulary_fit import FIT_TEXTS, check_corpus, measure_fit
from xmodctl.training.resumable import interruptible
from xmodctl.training.world import World

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast

    from xmodctl.model import Source, Xmod


def train_languages(
    run: LanguageRun,
    parts: Sequence[tuple[LanguageText, int]],
    source: "Source",
    texts: Sequence[LanguageText],
    head_corpus: Corpus | None,
    listen: Listener,
    *,
    jobs: Jobs,
    wait: bool = False,
    world: World = World(),  # noqa: B008 (frozen)
) -> list[Package]:
    """Train the adapters that are not trained yet.

    Args:
        run: What to add.
        parts: The languages and seeds to train; earlier commands may have trained others.
        source: The base model.
        texts: The text of each language of the plan.
        head_corpus: Text to train a missing head on; None: each language's own.
        listen: Is called with each event.
        jobs: Those on the run's folder; adapters that another one trains are passed over.
        wait: Whether to wait for adapters that other jobs train.
        world: The processes that train together, of which this is the first.

    Returns:
        The packages of these languages and seeds; in the order of `parts`.

    Raises:
        UserError: The checkpoint has a head although `head_corpus` is given.
        InProgressError: Other jobs train some of the adapters.
        Interrupted: The user asked to stop; the last step that was taken is saved.
    """
    packages: dict[tuple[str, int], Package] = {}
    recipes = share_steps({text.language: text.corpus.counts.characters for text in texts}, run.plan.recipe)
    trainer: LanguageTrainer | None = None

    def train(part: tuple[LanguageText, int]) -> None:
        nonlocal trainer
        text, seed = part
        package = finished_package(run, text.language, seed, listen)
        if package:  # what a command left that was killed right after it wrote the package
            shutil.rmtree(run.checkpoints(text.language, seed), ignore_errors=True)
            listen(added_before(package))
        else:
            trainer = trainer or LanguageTrainer.load(run, source, head_corpus, listen, jobs, world)
            package = trainer.train(text, recipes[text.language], seed)
        packages[text.language, seed] = package

    with interruptible(run, jobs):
        named = [Piece(f"{text.language}, seed {seed}", text.language, (text, seed)) for text, seed in parts]
        held = jobs.share(named, train, wait=wait)
        end(world)
    done = [packages[key] for text, seed in parts if (key := (text.language, seed)) in packages]
    if held := [piece for piece in held if not run.is_finished(piece.work[0].language, piece.work[1])]:
        raise jobs.in_progress(held, done)
    return done


def finished_package(run: LanguageRun, language: str, seed: int, listen: Listener) -> Package | None:
    """Return the package of an earlier command; None if there is none, or only a damaged one."""
    if not run.is_finished(language, seed):
        return None
    try:
        package = read_package(run.package(language, seed))
        added_before(package)
    except (UserError, KeyError, TypeError) as error:
        reason = f" ({error})" if isinstance(error, UserError) else ""
        text = f"the package {run.package(language, seed)} is damaged{reason}; seed {seed} is trained again"
        listen(Notice(text, caution=True))
        return None
    return package


def added_before(package: Package) -> AdapterAdded:
    """Return the event for a package of an earlier command."""
    tensors = package.facts["untouched"]["tensors"]
    return AdapterAdded(package.language, package.facts["seed"], package.folder, tensors, known=True)


@dataclass
class LanguageTrainer:
    """The model in memory, and everything else that adding a language needs.

    Args:
        run: The folder and its plan.
        source: The base model.
        model: Loaded for masked-language modeling.
        tokenizer: The base model's.
        initial_head: Initial values of the head; none if the checkpoint has a head.
        shared_head_text: Text to train every language's head on; None: each language's own.
        listen: Is called with each event.
        jobs: Those on the run's folder.
        world: The processes that train together, of which this is the first.
        packages: Whose adapters new ones may be initialized from, besides the model's.
    """

    run: LanguageRun
    source: "Source"
    model: "Xmod"
    tokenizer: "PreTrainedTokenizerFast"
    initial_head: "Mapping[str, Tensor]"
    shared_head_text: HeadText | None
    listen: Listener
    jobs: Jobs
    world: World
    packages: Sequence[Package] = ()
    prepared: PreparedLanguage | None = None  # the language in memory

    @classmethod
    def load(
        cls,
        run: LanguageRun,
        source: "Source",
        head_corpus: Corpus | None,
        listen: Listener,
        jobs: Jobs,
        world: World,
    ) -> "LanguageTrainer":
        """Load the model.

        Raises:
            UserError: It has a head although text to train one is given.
        """
        from xmodctl.model import load, load_tokenizer

        listen(ModelLoading(source.name))
        start_loading(world)
        tokenizer = load_tokenizer(source)
        model = load(source, "masked-lm", source.languages[:1], device=best_device())
        if head_corpus and not model.initialized:
            raise UserError(f"{source.name} already has a masked-language-modeling head; remove --head-text")
        head_text = pack_head_text(head_corpus, tokenizer) if head_corpus else None
        packages = read_packages(run.plan, source)
        return cls(run, source, model, tokenizer, initial_head(model), head_text, listen, jobs, world, packages)

    def train(self, text: LanguageText, recipe: Recipe, seed: int) -> Package:
        """Train the adapter of a language with one seed, and return its package."""
        if self.prepared is None or self.prepared.text is not text:
            if self.prepared:
                unload(self.model, self.prepared.text.language)
                self.prepared = None
            self.prepared = self.prepare(text, recipe)
            self.prepared.share(self.world, self.model, self.initial_head)
        return AdapterTraining(self.run, self.source, self.model, self.prepared, seed, self.listen, self.world).train()

    def prepare(self, text: LanguageText, recipe: Recipe) -> PreparedLanguage:
        """Return what the seeds of a language have in common: head, initialization, baselines, vocabulary.

        Raises:
            UserError: A head would be trained on the language's own text, which the model's vocabulary does not know.
        """
        if self.initial_head and self.shared_head_text is None:
            remedy = "add --head-text FILE with text in a language of the model, on which its missing head is trained"
            check_corpus(self.tokenizer, text.corpus, remedy=remedy)
        packed = self.pack(text, self.tokenizer, recipe, MODEL_VOCABULARY)
        reset_head(self.model, self.initial_head)
        digests = tensor_digests(self.model, text.language)
        head = self.train_head(text, digests) if self.initial_head else None
        self.model.set_dropout(hidden=recipe.dropout, attention=recipe.attention_dropout)
        self.model.variable_length = recipe.variable_length

        with attached(self.model, self.packages):
            ranking = self.rank(text.language, packed)
            baselines = self.measure_baselines(ranking, packed)
            initial = copied_tensors(self.model, ranking.start, text.language)

        tokenizer, vocabulary = self.tokenizer, None
        if self.run.plan.vocabulary == "new":
            vocabulary = self.train_vocabulary(text)
            tokenizer = vocabulary.tokenizer
            packed = self.pack(text, tokenizer, recipe, OWN_VOCABULARY)
        frequencies = frequency_baseline(packed.training, packed.held_out, packed.masker)
        baselines.append(LossMeasurement("frequencies", None, frequencies, packed))

        return PreparedLanguage(
            text, packed, recipe, ranking.start, initial, head, baselines, vocabulary, tokenizer.pad_token_id, digests
        )

    def pack(
        self, text: LanguageText, tokenizer: "PreTrainedTokenizerFast", recipe: Recipe, vocabulary: str
    ) -> PackedText:
        """Pack a language's text.

        Raises:
            UserError: There are more processes than sequences in a batch.
        """
        packed = PackedText.of(text.corpus, tokenizer, recipe.max_length, vocabulary)
        self.world.check_batches(min(recipe.batch_size, len(packed.training)), "sequence")
        return packed

    def train_head(self, text: LanguageText, digests: Mapping[str, str]) -> HeadTrained:
        """Train the head that the checkpoint lacks, or take it from the cache."""
        through = self.head_adapter(text.language)
        training = HeadTraining(
            self.model,
            through,
            self.shared_head_text or pack_head_text(text.corpus, self.tokenizer),
            self.tokenizer,
            combined_sha256(digests_on_path(self.model, through, digests)),
            self.run.plan.precision,
        )
        head = training.run(self.listen)
        self.listen(head)
        return head

    def head_adapter(self, language: str) -> str | None:
        """Return the adapter that a head's text goes through; None if it is an identity.

        A language's own text goes through the adapter of its nearest relative, shared text through the model's first.
        """
        if self.shared_head_text:
            through = self.source.languages[0]
        else:
            others = [other for other in self.source.languages if other != language]
            through = next(iter(related(language, others) or others or self.source.languages))
        return None if is_identity(self.model, through) else through

    def rank(self, language: str, text: PackedText) -> Ranking:
        """Try the model's adapters on a language's text, or read the results of another command."""
        path, init_from = self.run.ranking(language), self.run.plan.init_from
        with self.jobs.claim(f"{language}, ranking", wait=True):
            ranking = read_ranking(path, init_from, self.ranked_adapters)
            known = ranking is not None
            if ranking is None:
                adapters = self.ranked_adapters()
                self.listen(AdaptersRanking(language, len(adapters)))
                candidates = rank_adapters(
                    self.model, adapters, text.training, text.masker,
                    precision=self.run.plan.precision, pad_id=self.tokenizer.pad_token_id,
                )  # fmt: skip
                start = {AUTO: candidates[0].adapter}.get(init_from, init_from)
                if init_from == MIX:
                    start = self.find_mixture(language, candidates, text)
                ranking = Ranking(tuple(candidates), start)
                write_ranking(path, ranking)
        losses = tuple((candidate.adapter, candidate.loss) for candidate in ranking.candidates)
        self.listen(AdaptersRanked(language, losses, ranking.start, known))
        return ranking

    def ranked_adapters(self) -> list[str]:
        """Return the adapters that are ranked."""
        return candidate_adapters(self.model, self.packages)

    def find_mixture(self, language: str, candidates: Sequence[Candidate], text: PackedText) -> str:
        """Return the mixture of the best candidates with the lowest loss on the training text."""
        weights = weights_by_text(
            self.model, candidates, text, precision=self.run.plan.precision, pad_id=self.tokenizer.pad_token_id
        )
        name = start_name(Mixture.of(weights.parts, by=BY_TEXT))
        self.listen(MixtureFound(language, name, weights.loss, candidates[0].adapter, weights.first_alone))
        return name

    def measure_baselines(self, ranking: Ranking, text: PackedText) -> list[LossMeasurement]:
        """Measure held-out text through the best existing adapter, the sources of the new one, and no adapter."""
        sources = sources_of(ranking.start)
        labels: dict[str, tuple[str, str | None]] = {}  # each adapter once, under the first label
        for label, adapter in [
            ("best existing", ranking.candidates[0].adapter),
            *(("source", source) for source in sources),
            ("none", None),
        ]:
            labels.setdefault(adapter or IDENTITY, (label, adapter))
        baselines = []
        for label, adapter in labels.values():
            use_adapter(self.model, adapter)
            held_out = measure(self.model, text, self.run.plan.precision, self.tokenizer.pad_token_id)
            baselines.append(LossMeasurement(label, adapter, held_out, text))
        return baselines

    def train_vocabulary(self, text: LanguageText) -> NewVocabulary:
        """Train the language's own vocabulary, with embeddings initialized from the model's."""
        self.model.use(self.model.languages[0])
        self.model.use_vocabulary(None)
        parameters = dict(self.model.module.named_parameters())
        size = self.run.plan.vocabulary_size
        assert size is not None
        vocabulary = train_vocabulary(
            text.corpus.documents(), self.tokenizer, parameters[EMBEDDINGS].detach().cpu(), size=size, seed=0,
            base_bias=parameters[BIAS].detach().cpu(),
        )  # fmt: skip
        fit = measure_fit(vocabulary.tokenizer, text.corpus.sample(FIT_TEXTS))
        pieces = len(vocabulary.embeddings)
        self.listen(VocabularyTrained(text.language, pieces, vocabulary.copied, fit.pieces_per_word))
        return vocabulary
