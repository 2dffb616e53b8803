"""The weights of a mixture of adapters, found by the entropy of predictions on the rows that are then scored.

The idea is that of EMEA (Wang et al. 2021, arXiv 2109.04877, section 3): of the adapters of related languages, those
whose mixture makes the model most certain fit a text best. EMEA finds weights for each batch by gradients; here, one
mixture is searched for a language, so that its scores can be repeated. No gold answer is used, but the weights depend
on the texts of the test rows, so that scores are transductive.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from xmodctl.adapters.mixtures import BY_ENTROPY, MIXED, Mixture
from xmodctl.adapters.written_weights import NONE
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, ModelLoading, Notice
from xmodctl.evaluation.sharing import Processes, Work
from xmodctl.evaluation.sweep_data import SweepData
from xmodctl.evaluation.sweep_model import SweepModel
from xmodctl.evaluation.targets import evaluation_targets
from xmodctl.kinds import KINDS
from xmodctl.languages import Target, same
from xmodctl.training.masked_lm.mixing import adapters_to_mix, find_weights
from xmodctl.training.masked_lm.ranking import IDENTITY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xmodctl.adapters.packages import Package
    from xmodctl.model import Source
    from xmodctl.run.run import Run

UNITS = 128
"""Encoded rows that weights are compared on, evenly spaced over the data."""


@dataclass(frozen=True)
class EntropySearch:
    """Finds the mixture for `zu=mix` by the entropy of predictions.

    Args:
        run: The run that is scored; its first finished seed predicts.
        source: Its base model.
        packages: Packages whose adapters take part, too.
        data: Reads the rows that are scored.
        precision: auto, fp32, tf32, bf16, or fp16.
        listen: Called with each event.

    Raises:
        UserError: The predictions of the task have no entropy.
    """

    run: "Run"
    source: "Source"
    packages: "Sequence[Package]"
    data: SweepData
    precision: str
    listen: Listener

    def __post_init__(self) -> None:
        task = self.run.plan.task
        if not KINDS[task.kind].has_entropy:
            raise UserError(
                f"--mix-by entropy: predictions of {task.name} ({task.kind}) are not probabilities, which an entropy "
                "needs; choose weights on text in the language with --mix-by text --mix-text LANG=FILE"
            )

    @cached_property
    def usable(self) -> "list[Package]":
        """The packages that read text with the model's vocabulary."""
        return [package for package in self.packages if not package.vocabulary]

    @cached_property
    def model(self) -> SweepModel:
        """The run's model, which is loaded once for all languages."""
        self.listen(ModelLoading(self.run.plan.model))
        return SweepModel(self.run, self.source, self.usable, self.precision, Processes())

    def find(self, language: str) -> Mixture:
        """Return the mixture with the lowest mean entropy that a search between the four best adapters finds.

        Raises:
            UserError: The language has no rows.
        """
        model, kind, target = self.model, KINDS[self.run.plan.task.kind], self._target(language)
        self.data.start([target], ())
        encoded = self.data.encode(kind, self.data.load(target), self.run.plan, model.tokenizers, {None})[None]
        units = encoded.evenly_spaced(UNITS)
        seed = self.run.finished_seeds[0]
        trained = model.load(seed, target).model

        def entropy_through(adapter: str | None) -> float:
            work = Work(encoded, adapter, model.pad_id, chosen=units)
            (outputs,) = Processes().compute(trained, [work], model.precision)
            return float(kind.entropy([outputs[unit] for unit in units], encoded, units).mean())

        def entropy_of(mixture: Mixture) -> float:
            trained.put_adapter(BY_ENTROPY, mixture.fold(trained, BY_ENTROPY))
            return entropy_through(BY_ENTROPY)

        candidates = adapters_to_mix(trained, self.usable)
        ways = {NONE if name == IDENTITY else name: None if name == IDENTITY else name for name in candidates}
        alone = {name: entropy_through(adapter) for name, adapter in ways.items()}
        names = sorted(alone, key=lambda name: alone[name])[:MIXED]
        weights = find_weights(names, entropy_of)
        mixture = Mixture.of(
            weights.parts, self.usable, BY_ENTROPY, rows=len(units), data=self.data.fingerprint(target),
            split=self.data.split, seed=seed, entropy=round(weights.loss, 4),
            ranking={name: round(alone[name], 4) for name in names},
        )  # fmt: skip
        where = f"{len(units)} rows of the {self.data.split} split itself"
        result = f"{mixture.language}, mean entropy {weights.loss:.3f} nats on {where}"
        single = f"{alone[names[0]]:.3f} through {names[0]} alone"
        self.listen(Notice(f"{language}: {result}, {single}; scores are transductive"))
        return mixture

    def _target(self, language: str) -> Target:
        """Return the data of the language; which adapter goes with it does not matter here."""
        sources = self.run.plan.source_languages
        own = next((adapter for adapter in sources if same(language, adapter)), None)  # a source may be mixed, too
        others = [f"-{adapter}" for adapter in sources if adapter != own]
        selection = ",".join([f"{language}={own or sources[0]}", *others])
        (target,) = evaluation_targets(
            self.run,
            self.source,
            selection,
            self.data.folder,
            self.data.split,
            lambda _: None,
            packages=self.usable,
        ).targets
        return target
