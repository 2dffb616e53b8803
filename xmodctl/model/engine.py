"""Loading X-MOD with only the languages in use, and moving adapters in and out of memory."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from transformers.models.xmod import modeling_xmod
from transformers.models.xmod.configuration_xmod import XmodConfig
from transformers.models.xmod.modeling_xmod import XmodAdapter, XmodCrossAttention, XmodSelfAttention

from xmodctl.core.errors import UserError
from xmodctl.model.heads import ARCHITECTURES, READS_FIRST_TOKEN, check_head
from xmodctl.model.modules import ROUTED, RoutedMaskedLM, RoutedModel, RoutedQuestionAnswering, routed
from xmodctl.model.routing import RoutedOutput, prepare
from xmodctl.model.source import Source, check_languages
from xmodctl.model.weights import Checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_BODY = "roberta."
_ADAPTER = "roberta.encoder.layer.{layer}.output.adapter_modules.{language}.{tensor}"
_ADAPTER_TENSORS = ("dense1.weight", "dense1.bias", "dense2.weight", "dense2.bias")


@dataclass(frozen=True)
class Vocabulary:
    """What reads and scores a vocabulary's pieces: word embeddings, and a language-model head's decoder and bias."""

    words: nn.Parameter
    decoder: nn.Parameter | None
    bias: nn.Parameter | None
    decoder_bias: nn.Parameter | None  # the bias itself, unless the checkpoint ties nothing


class Xmod:
    """A stock X-MOD module with direct routing, of which only the languages in use are in memory."""

    def __init__(self, module: PreTrainedModel, source: Source, head: str, checkpoint: Checkpoint) -> None:
        """Wrap a loaded `module`; use `load` to get one."""
        self.module = module
        self.source = source
        self.head = head
        self.initialised: tuple[str, ...] = ()  # tensors the checkpoint lacks, drawn from the seed
        self.adapters_train = False  # set by `freeze`
        self.embeddings_changed = False  # set by `apply_delta`: a run trained them, or their LayerNorm
        self.packages: dict[str, str] = {}  # language -> sha256 of the package its adapter came in
        self._checkpoint = checkpoint
        self._kept: dict[str, dict[str, Tensor]] = {}  # adapters that differ from the checkpoint, by language
        self._vocabularies: dict[str | None, Vocabulary] = {}  # those of languages; None is the checkpoint's

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages whose adapters are in memory, in the order their ids count."""
        return tuple(self._outputs()[0].adapter_modules)

    @property
    def active(self) -> str | None:
        """The language of batches without `lang_ids`, as the layers have it; None means no adapter.

        Raises:
            UserError: several languages are in memory and none has been chosen.
        """
        outputs = self._outputs()
        if not outputs[0].chosen:
            raise UserError(f"no language is active: choose one of {', '.join(self.languages)} with `activate`")
        found = {output.active for output in outputs}
        assert len(found) == 1, f"layers disagree about the active language: {found}"
        return found.pop()

    @property
    def package(self) -> str | None:
        """The sha256 of the package that the active adapter came in; None for the checkpoint's or a run's."""
        return self.packages.get(self.active or "")

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = next(self.module.parameters()).device
        return device

    def activate(self, language: str | None) -> None:
        """Choose the language of batches that carry no `lang_ids`; None leaves the adapters out (a control)."""
        if language is not None:
            self._check_resident([language])
        for output in self._outputs():
            output.active, output.chosen = language, True
        self._install_vocabulary(language)

    def set_dropout(self, *, hidden: float | None = None, attention: float | None = None) -> None:
        """Change how much is dropped in training: of hidden states (and in the head), of attention weights.

        None keeps the checkpoint's. The configuration stays as it is: this is how to train, not what the model is.
        """
        for module in self.module.modules():
            for child in module.children():
                if isinstance(child, nn.Dropout):
                    share = attention if isinstance(module, (XmodSelfAttention, XmodCrossAttention)) else hidden
                    child.p = child.p if share is None else share

    def recompute_activations(self, *, use_reentrant: bool = False) -> None:
        """Keep no activations within layers and compute them again in the backward pass: less memory, more time."""
        enable = getattr(self.module, "activation_checkpointing_enable", None)
        if enable is None:  # transformers before 5.20
            enable = self.module.gradient_checkpointing_enable
        enable({"use_reentrant": use_reentrant})

    def leave_padding_out(self) -> None:
        """Spend no work on padding where that can be: what comes out there may then be anything.

        A row's loss becomes the same in any batch; stock question answering also looks for answers in the padding.
        """
        routed(self.module).reads_padding = False
        if isinstance(self.module, RoutedQuestionAnswering):
            self.module.padding_counts = False

    def score_labelled_only(self, candidates: Sequence[int] | None = None) -> None:
        """Make masked-language modelling compute logits of the labelled tokens alone: the loss stays, most work goes.

        Given labels, the output's logits are then (labelled tokens, vocabulary). With `candidates`, pieces of which
        every label is one, the softmax is over these alone and the logits are (labelled tokens, candidates).
        """
        if isinstance(self.module, RoutedMaskedLM):
            routed(self.module).reads_padding = False
            self.module.labelled_only = True
            self.module.candidates = None if candidates is None else torch.tensor(sorted(set(candidates)))

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
        like = next(self.module.parameters())
        tensors = {
            name: tensor.to(device=like.device, dtype=like.dtype)
            for name, tensor in self._adapter_tensors(arriving).items()
        }
        for number, output in enumerate(self._outputs()):
            modules = {language: output.adapter_modules[language] for language in resident if language in languages}
            for language in arriving:
                with torch.device("meta"):
                    adapter = XmodAdapter(self.module.config)
                adapter.load_state_dict(
                    {tensor: tensors[_adapter_name(number, language, tensor)] for tensor in _ADAPTER_TENSORS},
                    assign=True,
                )
                prepare(adapter)
                modules[language] = adapter.requires_grad_(self.adapters_train).train(output.training)
            output.adapter_modules = nn.ModuleDict({language: modules[language] for language in languages})
        self.module.config.languages = list(languages)
        self._settle_active()

    def use(self, language: str | None) -> None:
        """Activate `language`, swapping it in alone if it is not in memory; None leaves the adapters out."""
        if language is not None and language not in self.languages:
            self.swap([language])
        self.activate(language)

    def adapter(self, language: str) -> dict[str, Tensor]:
        """Return one language's adapter: tensor names with the body's prefix, values detached and shared.

        It comes from memory if it is there, else from the checkpoint.
        """
        if language not in self.languages:
            check_languages(self.source, [language] if language not in self._kept else [])
            return self._adapter_tensors([language])
        return {
            _adapter_name(number, language, name): tensor.detach()
            for number, output in enumerate(self._outputs())
            for name, tensor in output.adapter_modules[language].state_dict().items()
        }

    def put_adapter(self, language: str, tensors: Mapping[str, Tensor], *, package: str | None = None) -> None:
        """Use these tensors as the adapter of `language` from now on, also after swapping it out and in.

        The language may be one the checkpoint lacks. Names are those of `adapter`; `package` is the sha256 of the
        file they came in.

        Raises:
            UserError: the names or shapes are not those of an adapter of this model.
        """
        shapes = self.adapter_shapes(language)
        if tensors.keys() != shapes.keys():
            strange = min(tensors.keys() ^ shapes.keys())
            raise UserError(f"this is no adapter for {self.source.name}: {strange} is missing or has no place in it")
        for name, shape in shapes.items():
            if tuple(tensors[name].shape) != shape:
                raise UserError(
                    f"this adapter is of another geometry than {self.source.name}: "
                    f"{name} is {tuple(tensors[name].shape)}, not {shape}"
                )
        self._kept[language] = {name: tensor.detach() for name, tensor in tensors.items()}
        self.packages.pop(language, None)
        if package is not None:
            self.packages[language] = package
        if language in self.languages:
            parameters = self.module.state_dict()
            for name, tensor in tensors.items():
                parameters[self.local_name(name)].copy_(tensor)

    def forget(self, language: str) -> None:
        """Let go of an adapter that was put here, and of embeddings of its own; a checkpoint's own is read again."""
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
            bias: of a language-model head, (pieces,); zeros where it is left out.

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
                f"{language} has a vocabulary of its own, which needs the base's other embeddings, and this "
                "run trained them: fine-tune with --set freeze=embeddings+adapters"
            )
        if bias is None:
            bias = words.new_zeros(len(words))
        elif tuple(bias.shape) != (len(words),):
            raise UserError(f"the head's bias of {language} is {tuple(bias.shape)}, not ({len(words)},)")
        like = next(self.module.parameters())
        own = [
            nn.Parameter(one.detach().to(device=like.device, dtype=like.dtype).clone(), requires_grad=False)
            for one in (words, bias)
        ]
        if self.vocabulary == language:
            self._install_vocabulary(None)
        self._vocabularies.setdefault(None, self._installed_vocabulary())
        self._vocabularies[language] = Vocabulary(words=own[0], decoder=own[0], bias=own[1], decoder_bias=own[1])
        routed(self.module).own_vocabularies = frozenset(self.own_vocabularies)
        first = self._outputs()[0]
        if first.chosen and first.active == language:
            self._install_vocabulary(language)

    @property
    def own_vocabularies(self) -> tuple[str, ...]:
        """The languages that are read with a vocabulary of their own."""
        return tuple(language for language in self._vocabularies if language is not None)

    @property
    def vocabulary(self) -> str | None:
        """The language whose own embeddings are in place now; None where they are the checkpoint's."""
        return routed(self.module).vocabulary

    def own_embeddings(self, language: str) -> dict[str, nn.Parameter]:
        """Return the parameters a language's own vocabulary brings: `words`, and `bias` where a head scores pieces.

        They can train. While the language is active they are the module's own, under the stock names of the
        checkpoint's embeddings and bias.
        """
        own = self._vocabularies[language]
        return {
            "words": own.words,
            **({"bias": own.bias} if hasattr(self.module, "lm_head") and own.bias is not None else {}),
        }

    def use_vocabulary(self, language: str | None) -> None:
        """Put the embeddings in place with which `language` is read, whatever is active; None the checkpoint's."""
        self._install_vocabulary(language)

    def _installed_vocabulary(self) -> Vocabulary:
        head = getattr(self.module, "lm_head", None)
        words = routed(self.module).embeddings.word_embeddings.weight
        if head is None:
            return Vocabulary(words, None, None, None)
        return Vocabulary(words, head.decoder.weight, head.bias, head.decoder.bias)

    def _install_vocabulary(self, language: str | None) -> None:
        """Put the embeddings of a language in place: its own if it has some, else the checkpoint's."""
        body = routed(self.module)
        place = language if language in self._vocabularies else None
        if place == body.vocabulary:
            return
        chosen = self._vocabularies[place]
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
        body.vocabulary = place

    @property
    def changed_adapters(self) -> dict[str, dict[str, Tensor]]:
        """Adapters that are no longer the checkpoint's, by language: trained ones, and those a delta brought."""
        trained = self.languages if self.adapters_train else ()
        return {**self._kept, **{language: self.adapter(language) for language in trained}}

    def local_name(self, name: str) -> str:
        """Return the name a tensor of the checkpoint has in this module: a bare model has no prefix."""
        return name.removeprefix(_BODY) if isinstance(self.module, RoutedModel) else name

    def _outputs(self) -> list[RoutedOutput]:
        return [layer.output for layer in routed(self.module).encoder.layer]

    def _check_resident(self, languages: Iterable[str]) -> None:
        for language in languages:
            if language not in self.languages:
                check_languages(self.source, [language])
                raise UserError(f"{language} is not in memory ({', '.join(self.languages)} are): `swap` it in first")

    def _settle_active(self) -> None:
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
        """Return the names and shapes of the tensors one language's adapter has in this model."""
        config = self.module.config
        wide, narrow = config.hidden_size, config.hidden_size // config.adapter_reduction_factor
        shapes = ((narrow, wide), (narrow,), (wide, narrow), (wide,))
        return {
            _adapter_name(number, language, name): shape
            for number in range(config.num_hidden_layers)
            for name, shape in zip(_ADAPTER_TENSORS, shapes, strict=True)
        }

    def _adapter_tensors(self, languages: Sequence[str]) -> dict[str, Tensor]:
        """Return adapters that are not in memory: set-aside ones, the checkpoint's, or identities."""
        tensors: dict[str, Tensor] = {}
        wanted: list[str] = []
        for language in languages:
            if language in self._kept:
                tensors |= self._kept[language]
            elif language in self.source.languages:
                wanted += self.adapter_shapes(language)
            else:
                tensors |= identity_adapter(language, self.adapter_shapes(language), self.module.config)
        return tensors | _read(self._checkpoint, wanted)


def load(
    source: Source,
    head: str,
    languages: Sequence[str],
    *,
    num_labels: int | None = None,
    id2label: Mapping[int, str] | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    seed: int = 0,
) -> Xmod:
    """Load a checkpoint with `head` and the adapters of `languages` only.

    The model is ready to predict: in evaluation mode, with nothing that trains before `freeze` says what does, and
    with the language active if there is only one. Head weights that the checkpoint lacks are drawn from `seed`; any
    other missing tensor is an error. Without `num_labels` and `id2label` the checkpoint's own labels are used.

    Raises:
        UserError: the head or a language does not exist, or the weights are incomplete.
    """
    languages = tuple(dict.fromkeys(languages))
    check_languages(source, languages)
    module = build(source.config, head, languages, num_labels=num_labels, id2label=id2label)
    checkpoint = Checkpoint(source.folder, source.name)
    body = routed(module)
    if head == "none" and "roberta.pooler.dense.weight" not in checkpoint.entries:
        body.pooler = None
    model = Xmod(module, source, head, checkpoint)
    model.initialised = _fill(model, module, dtype=dtype, seed=seed)
    module.to(device)
    module.eval().requires_grad_(False)
    model._settle_active()
    return model


def read_adapter(source: Source, language: str) -> dict[str, Tensor]:
    """Return the adapter a checkpoint has for a language, without loading anything else; names as `Xmod.adapter` has.

    Raises:
        UserError: it has none.
    """
    check_languages(source, [language])
    checkpoint = Checkpoint(source.folder, source.name)
    return Xmod(build(source.config, "none", [language]), source, "none", checkpoint)._adapter_tensors([language])


def build(
    config: Mapping[str, Any],
    head: str,
    languages: Sequence[str],
    *,
    num_labels: int | None = None,
    id2label: Mapping[int, str] | None = None,
) -> PreTrainedModel:
    """Return the module without weights, on the meta device."""
    check_head(head)
    if not languages:
        raise UserError("a model needs at least one language")
    settings = _configuration(config, head, languages, num_labels, id2label)
    with torch.device("meta"):
        if head == "none":
            module = RoutedModel(settings)
        else:
            kind = ROUTED[head] if head in ROUTED else getattr(modeling_xmod, ARCHITECTURES[head])
            # The head is built around an empty body, which is then replaced by the routed one.
            empty = copy.copy(settings)
            empty.num_hidden_layers = 0
            module = kind(empty)
            module.roberta = RoutedModel(settings, add_pooling_layer=head == "choice")
            module.roberta.reads_first_token = head in READS_FIRST_TOKEN
            module.config = settings
    prepare(module)
    _tie(module)
    return module


def identity_adapter(language: str, shapes: Mapping[str, tuple[int, ...]], config: Any) -> dict[str, Tensor]:
    """Return an adapter that adds nothing: its second layer is zero, its first drawn from the language's name."""
    generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(language.encode()).digest()[:7], "big"))
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    for name, tensor in tensors.items():
        if name.endswith("dense1.weight"):
            tensor.normal_(std=config.initializer_range, generator=generator)
    return tensors


def _configuration(
    config: Mapping[str, Any],
    head: str,
    languages: Sequence[str],
    num_labels: int | None,
    id2label: Mapping[int, str] | None,
) -> Any:
    settings = {key: value for key, value in config.items() if key != "default_language"}
    settings["languages"] = list(languages)
    if head == "span":
        if num_labels not in {None, 2}:
            raise UserError(f"question answering has two outputs, a start and an end, not num_labels={num_labels}")
        num_labels, id2label = 2, None
    if id2label is not None:
        if sorted(id2label) != list(range(len(id2label))) or num_labels not in {None, len(id2label)}:
            raise UserError(f"id2label must name the labels 0 to {(num_labels or len(id2label)) - 1}, not {id2label}")
        settings["id2label"] = dict(id2label)
        settings["label2id"] = {label: number for number, label in id2label.items()}
        settings.pop("num_labels", None)
    elif num_labels is not None:
        settings = {key: value for key, value in settings.items() if key not in {"id2label", "label2id"}}
        settings["num_labels"] = num_labels
    if head == "causal-lm":
        settings["is_decoder"] = True
    try:
        return XmodConfig.from_dict(settings)
    except (StrictDataclassError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"the checkpoint's config.json is not a valid X-MOD configuration: {reason}") from error


def _fill(model: Xmod, module: PreTrainedModel, *, dtype: torch.dtype, seed: int) -> tuple[str, ...]:
    """Give every tensor of a meta module its value; return the names of those drawn from `seed`."""
    checkpoint = model._checkpoint
    tied = _tied(module)
    # Names as the checkpoint has them, in the module's order.
    prefix = _BODY if isinstance(module, RoutedModel) else ""
    wanted = {prefix + name: tensor for name, tensor in module.state_dict().items() if name not in tied}
    identities: dict[str, Tensor] = {}
    for language in module.config.languages:
        if language not in model.source.languages:
            identities |= identity_adapter(language, model.adapter_shapes(language), module.config)
    stored = {name for name in wanted if name in checkpoint.entries and name not in identities}
    lacking = [name for name in wanted if name not in stored and name not in identities]
    head = [name for name in wanted if not name.startswith(_BODY) or name.startswith("roberta.pooler.")]
    if absent := [name for name in lacking if name not in head]:
        raise UserError(
            f"{model.source.name} lacks {absent[0]} and {len(absent) - 1} more tensors of the model: "
            "its weights are not those of its config.json"
        )
    fits = {name for name in stored if checkpoint.entries[name].shape == tuple(wanted[name].shape)}
    if strange := sorted(stored - fits - set(head)):
        raise UserError(
            f"{model.source.name} holds {strange[0]} with the shape {checkpoint.entries[strange[0]].shape}, "
            f"but its config.json says {tuple(wanted[strange[0]].shape)}"
        )
    drawn: list[str] = []
    if not fits.issuperset(head):  # a head is the checkpoint's as a whole, or new
        drawn = head
    values = {**identities, **_read(checkpoint, [name for name in wanted if name in fits and name not in drawn])}
    values |= _draw_head(module, prefix, {name: wanted[name] for name in drawn}, seed)
    state = {name.removeprefix(prefix): values[name].to(dtype) for name in wanted}
    module.load_state_dict(state, strict=False, assign=True)
    _tie(module)
    embeddings = routed(module).embeddings
    positions = module.config.max_position_embeddings
    embeddings.position_ids = torch.arange(positions).expand((1, -1))
    embeddings.token_type_ids = torch.zeros((1, positions), dtype=torch.int64)
    return tuple(name.removeprefix(prefix) for name in drawn)


def _tied(module: PreTrainedModel) -> dict[str, str]:
    """Return the parameters that are another's, as {name: the other's name}."""
    keys = getattr(module, "_tied_weights_keys", None)
    return dict(keys) if keys and module.config.tie_word_embeddings else {}


def _tie(module: PreTrainedModel) -> None:
    for target, origin in _tied(module).items():
        owner, _, attribute = target.rpartition(".")
        setattr(module.get_submodule(owner), attribute, module.get_parameter(origin))


def _draw_head(module: PreTrainedModel, prefix: str, wanted: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Return new head weights as stock draws them: normal matrices, zero biases, LayerNorms of one."""
    generator = torch.Generator().manual_seed(seed)
    drawn: dict[str, Tensor] = {}
    for name, like in wanted.items():
        owner = module.get_submodule(name.removeprefix(prefix).rpartition(".")[0])
        tensor = torch.zeros(like.shape)
        if name.endswith(".weight") and isinstance(owner, nn.LayerNorm):
            tensor.fill_(1.0)
        elif name.endswith(".weight"):
            tensor.normal_(std=module.config.initializer_range, generator=generator)
        drawn[name] = tensor
    return drawn


def _read(checkpoint: Checkpoint, names: Sequence[str]) -> dict[str, Tensor]:
    if absent := [name for name in names if name not in checkpoint.entries]:
        raise UserError(f"{checkpoint.name} lacks {absent[0]}: its weights are not those of its config.json")
    return checkpoint.read(names)


def _adapter_name(layer: int, language: str, tensor: str) -> str:
    return _ADAPTER.format(layer=layer, language=language, tensor=tensor)
