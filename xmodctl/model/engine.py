"""An X-MOD with only the languages in use in memory: adapters and vocabularies are swapped in and out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers.models.xmod.modeling_xmod import XmodCrossAttention, XmodSelfAttention

from xmodctl.core.errors import UserError
from xmodctl.model.building import (
    ADAPTER_TENSORS,
    BODY,
    adapter_module,
    adapter_name,
    adapter_shapes,
    check_adapter,
    identity_adapter,
    read_tensors,
)
from xmodctl.model.memory import BatchLimit
from xmodctl.model.modules import RoutedMaskedLM, RoutedModel, RoutedQuestionAnswering, routed
from xmodctl.model.precision import Precision
from xmodctl.model.routing import RoutedOutput
from xmodctl.model.source import Source, check_languages
from xmodctl.model.storing import store_narrow
from xmodctl.model.weights import CheckpointTensors

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Vocabulary:
    """The parameters of a vocabulary: word embeddings, and the decoder and bias of a language-model head."""

    words: nn.Parameter
    decoder: nn.Parameter | None
    bias: nn.Parameter | None
    decoder_bias: nn.Parameter | None  # the bias itself, unless the checkpoint ties nothing


class Xmod:
    """A stock X-MOD module with direct routing, of which only the languages in use are in memory."""

    def __init__(self, module: PreTrainedModel, source: Source, head: str, checkpoint: CheckpointTensors) -> None:
        """Wrap a loaded `module`; use `load` to get one."""
        self.module = module
        self.source = source
        self.head = head
        self.initialized: tuple[str, ...] = ()  # tensors the checkpoint lacks, drawn from the seed
        self.adapters_train = False  # set by `freeze`
        self.embeddings_changed = False  # set by `apply_delta`: a run trained them, or their LayerNorm
        self.packages: dict[str, str] = {}  # language -> sha256 of the package its adapter came in
        self.stored: Precision = "fp32"  # set by `store_for_scoring`
        self.batch_limit = BatchLimit()  # of batches without gradients
        self.variable_length = False  # whether a GPU packs batches (`variable_length.py`)
        self._checkpoint = checkpoint
        self._kept: dict[str, dict[str, Tensor]] = {}  # adapters that differ from the checkpoint, by language
        self._vocabularies: dict[str | None, Vocabulary] = {}  # those of languages; None is the checkpoint's
        self._dropout = {child: child.p for child in module.modules() if isinstance(child, nn.Dropout)}

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages whose adapters are in memory, in the order their ids count."""
        return tuple(self._outputs()[0].adapter_modules)

    @property
    def active(self) -> str | None:
        """The language of batches without `lang_ids`; None means no adapter.

        Raises:
            UserError: Several languages are in memory and none has been chosen.
        """
        outputs = self._outputs()
        if not outputs[0].chosen:
            raise UserError(f"no language is active: choose one of {', '.join(self.languages)} with `activate`")
        active = {output.active for output in outputs}
        assert len(active) == 1, f"layers disagree about the active language: {active}"
        return active.pop()

    @property
    def package(self) -> str | None:
        """The sha256 of the package of the active adapter; None if it is the checkpoint's or a run's."""
        return self.packages.get(self.active or "")

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        device: torch.device = next(self.module.parameters()).device
        return device

    def activate(self, language: str | None) -> None:
        """Choose the language of batches that carry no `lang_ids`; None skips the adapters (a control)."""
        if language is not None:
            self._check_resident([language])
        for output in self._outputs():
            output.active, output.chosen = language, True
        self._install_vocabulary(language)

    def set_dropout(self, *, hidden: float | None = None, attention: float | None = None) -> None:
        """Set the dropout rates of training: of hidden states and the head, and of attention weights.

        None restores the checkpoint's rate, whatever was set before. The configuration does not change: it describes
        the model, not the training.
        """
        for module in self.module.modules():
            for child in module.children():
                if isinstance(child, nn.Dropout):
                    share = attention if isinstance(module, (XmodSelfAttention, XmodCrossAttention)) else hidden
                    child.p = self._dropout[child] if share is None else share

    def recompute_activations(self, *, use_reentrant: bool = False) -> None:
        """Recompute the activations within layers in the backward pass: less memory, more time."""
        enable = getattr(self.module, "activation_checkpointing_enable", None)
        if enable is None:  # transformers before 5.20
            enable = self.module.gradient_checkpointing_enable
        enable({"use_reentrant": use_reentrant})

    def compile_steps(self) -> None:
        """Compile training steps from now on; the adapters of several languages must be frozen."""
        routed(self.module).compile_steps()

    def leave_padding_out(self) -> None:
        """Skip computation on padding where possible; the output there is undefined.

        A row's loss is then the same in any batch. Stock question answering also searches the padding for answers.
        """
        routed(self.module).reads_padding = False
        if isinstance(self.module, RoutedQuestionAnswering):
            self.module.padding_counts = False

    def score_labeled_only(self, candidates: Sequence[int] | None = None) -> None:
        """Make masked-language modeling compute logits of the labeled tokens alone: the loss stays, most work goes.

        Given labels, the output's logits are then (labeled tokens, vocabulary). With `candidates`, pieces of which
        every label is one, the softmax is over these alone and the logits are (labeled tokens, candidates).
        """
        if isinstance(self.module, RoutedMaskedLM):
            routed(self.module).reads_padding = False
            self.module.labeled_only = True
            chosen = None if candidates is None else torch.tensor(sorted(set(candidates))).to(self.device)
            self.module.candidates = chosen

    def ids(self, languages: Sequence[str]) -> Tensor:
        """Return the ids by which `lang_ids` names these languages: int64, (len(languages),).

        Ids count the languages in memory, so they hold until the next `swap`.
        """
        self._check_resident(languages)
        order = {language: number for number, language in enumerate(self.languages)}
        return torch.tensor([order[language] for language in languages], dtype=torch.int64)

    def swap(self, languages: Sequence[str]) -> None:
        """Make exactly these languages' adapters resident, in this order, reading from the checkpoint what is new.

        An adapter that was trained, or that a delta changed, is set aside and comes back as it was. The active
        language stays if it stays in memory; a single language becomes active, unless the control (None) is.
        """
        languages = tuple(dict.fromkeys(languages))
        check_languages(self.source, [language for language in languages if language not in self._kept])
        resident = self.languages
        for language in resident:
            if language not in languages and self.adapters_train:
                self._kept[language] = self.adapter(language)
        arriving = [language for language in languages if language not in resident]
        tensors = self.stored_adapters(arriving)
        for number, output in enumerate(self._outputs()):
            modules = {language: output.adapter_modules[language] for language in resident if language in languages}
            for language in arriving:
                modules[language] = self._module(number, language, tensors).train(output.training)
            output.adapter_modules = nn.ModuleDict({language: modules[language] for language in languages})
            output.stack = None
        self.module.config.languages = list(languages)
        self.settle_active()

    def store_for_scoring(self, precision: Precision) -> None:
        """On an accelerator, store weights as scoring reads them (`storing.py`); nothing can train afterwards."""
        if self.device.type != "cpu":
            self.stored = precision
            store_narrow(self.module, precision, trained=True)

    def _module(self, layer: int, language: str, tensors: Mapping[str, Tensor]) -> nn.Module:
        """Return the module of an adapter in one layer."""
        like = next(self.module.parameters())
        own = {
            name: tensors[adapter_name(layer, language, name)].to(device=like.device, dtype=like.dtype)
            for name in ADAPTER_TENSORS
        }
        adapter = adapter_module(self.module.config, own).requires_grad_(self.adapters_train)
        store_narrow(adapter, self.stored, trained=True)
        return adapter

    def use(self, language: str | None) -> None:
        """Activate `language`, swapping it in alone if it is not in memory; None skips the adapters."""
        if language is not None and language not in self.languages:
            self.swap([language])
        self.activate(language)

    def adapter(self, language: str) -> dict[str, Tensor]:
        """Return one language's adapter: tensor names with the body's prefix, values detached and shared.

        It comes from memory if it is there, else from the checkpoint.
        """
        if language not in self.languages:
            check_languages(self.source, [language] if language not in self._kept else [])
            return self.stored_adapters([language])
        return {
            adapter_name(number, language, name): tensor.detach()
            for number, output in enumerate(self._outputs())
            for name, tensor in output.adapter_modules[language].state_dict().items()
        }

    def put_adapter(self, language: str, tensors: Mapping[str, Tensor], *, package: str | None = None) -> None:
        """Use these tensors as the adapter of `language` from now on, also after swapping it out and in.

        The language may be one the checkpoint lacks. Names are those of `adapter`; `package` is the sha256 of the
        file they came in. A mixture's bottleneck is several times as wide as a language's.

        Raises:
            UserError: the names or shapes are not those of an adapter of this model.
        """
        shapes = check_adapter(language, tensors, self.module.config, self.source.name)
        self._kept[language] = {name: tensors[name].detach() for name in shapes}
        self.packages.pop(language, None)
        if package is not None:
            self.packages[language] = package
        if language in self.languages:
            parameters = self.module.state_dict()
            if any(parameters[self.local_name(name)].shape != shape for name, shape in shapes.items()):
                self._replace(language)
            else:
                for name, tensor in tensors.items():
                    parameters[self.local_name(name)].copy_(tensor)

    def _replace(self, language: str) -> None:
        """Put an adapter of another width in the place of the one that is in memory."""
        tensors = {name: tensor.clone() for name, tensor in self._kept[language].items()}
        for number, output in enumerate(self._outputs()):
            output.adapter_modules[language] = self._module(number, language, tensors).train(output.training)
            output.stack = None

    def forget(self, language: str) -> None:
        """Discard an adapter that was added here, and its own embeddings; the checkpoint's, if any, is used again."""
        if language in self.languages and (language in self._kept or language in self._vocabularies):
            raise UserError(f"{language} is in use: `swap` it out first")
        self._kept.pop(language, None)
        self.packages.pop(language, None)
        self._vocabularies.pop(language, None)
        routed(self.module).own_vocabularies = frozenset(self.own_vocabularies)

    def put_embeddings(self, language: str, words: Tensor, bias: Tensor | None = None) -> None:
        """Let `language` be read with a vocabulary of its own from now on, whenever it is active.

        Position and token type embeddings and their LayerNorm stay the checkpoint's. A language-model head scores the
        language's own pieces: its decoder is tied to `words`.

        Args:
            language: its adapter is in memory, in the checkpoint, or was put there by `put_adapter`.
            words: (pieces, hidden); the rows of padding, beginning and end are where the checkpoint has them.
            bias: of a language-model head, (pieces,); zeros by default.

        Raises:
            UserError: the shapes are not this model's, or the model's own embeddings are no longer the checkpoint's.
        """
        config = self.module.config
        if words.dim() != 2 or words.shape[1] != config.hidden_size or len(words) <= config.pad_token_id:
            raise UserError(
                f"the embeddings of {language} are {tuple(words.shape)}, but {self.source.name} reads (pieces, "
                f"{config.hidden_size}): they were made for another model"
            )
        if self.embeddings_changed:
            raise UserError(
                f"{language} has its own vocabulary, which needs the base's other embeddings, and this "
                "run trained them: fine-tune with --set freeze=embeddings+adapters"
            )
        if bias is None:
            bias = words.new_zeros(len(words))
        elif tuple(bias.shape) != (len(words),):
            raise UserError(f"the head's bias of {language} is {tuple(bias.shape)}, not ({len(words)},)")
        like = next(self.module.parameters())
        parameters = [
            nn.Parameter(tensor.detach().to(device=like.device, dtype=like.dtype).clone(), requires_grad=False)
            for tensor in (words, bias)
        ]
        if self.vocabulary == language:
            self._install_vocabulary(None)
        self._vocabularies.setdefault(None, self._installed_vocabulary())
        self._vocabularies[language] = Vocabulary(parameters[0], parameters[0], parameters[1], parameters[1])
        routed(self.module).own_vocabularies = frozenset(self.own_vocabularies)
        first = self._outputs()[0]
        if first.chosen and first.active == language:
            self._install_vocabulary(language)

    @property
    def own_vocabularies(self) -> tuple[str, ...]:
        """The languages that have their own vocabulary."""
        return tuple(language for language in self._vocabularies if language is not None)

    @property
    def vocabulary(self) -> str | None:
        """The language whose own embeddings are installed now; None if they are the checkpoint's."""
        return routed(self.module).vocabulary

    def own_embeddings(self, language: str) -> dict[str, nn.Parameter]:
        """Return the parameters of a language's own vocabulary: `words`, and `bias` if a head scores pieces.

        They can train. While the language is active they are the module's own, under the stock names of the
        checkpoint's embeddings and bias.
        """
        own = self._vocabularies[language]
        return {
            "words": own.words,
            **({"bias": own.bias} if hasattr(self.module, "lm_head") and own.bias is not None else {}),
        }

    def use_vocabulary(self, language: str | None) -> None:
        """Install the embeddings of `language`, whatever is active; None installs the checkpoint's."""
        self._install_vocabulary(language)

    def _installed_vocabulary(self) -> Vocabulary:
        head = getattr(self.module, "lm_head", None)
        words = routed(self.module).embeddings.word_embeddings.weight
        if head is None:
            return Vocabulary(words, None, None, None)
        return Vocabulary(words, head.decoder.weight, head.bias, head.decoder.bias)

    def _install_vocabulary(self, language: str | None) -> None:
        """Install the embeddings of a language: its own if it has some, else the checkpoint's."""
        body = routed(self.module)
        owner = language if language in self._vocabularies else None
        if owner == body.vocabulary:
            return
        chosen = self._vocabularies[owner]
        for parameter in (chosen.words, chosen.decoder, chosen.bias, chosen.decoder_bias):
            if parameter is not None:  # the module may have been moved while they were not part of it
                parameter.data = parameter.data.to(self.device)
        words = body.embeddings.word_embeddings
        words.weight, words.num_embeddings = chosen.words, len(chosen.words)
        head = getattr(self.module, "lm_head", None)
        if head is not None:
            head.decoder.weight, head.decoder.out_features = chosen.decoder, len(chosen.words)
            head.bias, head.decoder.bias = chosen.bias, chosen.decoder_bias
        self.module.config.vocab_size = len(chosen.words)
        body.vocabulary = owner

    @property
    def changed_adapters(self) -> dict[str, dict[str, Tensor]]:
        """Adapters that differ from the checkpoint's, by language: trained ones, and those of a delta."""
        trained = self.languages if self.adapters_train else ()
        return {**self._kept, **{language: self.adapter(language) for language in trained}}

    def local_name(self, name: str) -> str:
        """Return the name a tensor of the checkpoint has in this module: a bare model has no prefix."""
        return name.removeprefix(BODY) if isinstance(self.module, RoutedModel) else name

    def _outputs(self) -> list[RoutedOutput]:
        return [layer.output for layer in routed(self.module).encoder.layer]

    def _check_resident(self, languages: Iterable[str]) -> None:
        for language in languages:
            if language not in self.languages:
                check_languages(self.source, [language])
                raise UserError(f"{language} is not in memory ({', '.join(self.languages)} are): `swap` it in first")

    def settle_active(self) -> None:
        """Keep the active language if it is in memory; else activate the only language, or none."""
        resident = self.languages
        first = self._outputs()[0]
        if first.chosen and (first.active is None or first.active in resident):
            self.activate(first.active)
            return
        if len(resident) == 1:
            self.activate(resident[0])
            return
        for output in self._outputs():
            output.active, output.chosen = None, False
        self._install_vocabulary(None)

    def adapter_shapes(self, language: str) -> dict[str, tuple[int, ...]]:
        """Return the names and shapes of the tensors of a language's adapter in this model."""
        if language in self._kept:
            return {name: tuple(tensor.shape) for name, tensor in self._kept[language].items()}
        return adapter_shapes(language, self.module.config)

    def stored_adapters(self, languages: Sequence[str]) -> dict[str, Tensor]:
        """Return adapters that are not in memory: changed ones that are kept, the checkpoint's, or identities."""
        tensors: dict[str, Tensor] = {}
        missing_tensors: list[str] = []
        for language in languages:
            if language in self._kept:
                tensors |= self._kept[language]
            elif language in self.source.languages:
                missing_tensors += self.adapter_shapes(language)
            else:
                tensors |= identity_adapter(language, self.adapter_shapes(language), self.module.config)
        return tensors | read_tensors(self._checkpoint, missing_tensors)
