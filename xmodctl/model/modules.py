"""The stock modules with routing, input checks and the shorter forward pass put in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import (
    BaseModelOutputWithPoolingAndCrossAttentions,
    MaskedLMOutput,
    MultipleChoiceModelOutput,
)
from transformers.models.xmod.modeling_xmod import (
    XmodForMaskedLM,
    XmodForMultipleChoice,
    XmodForQuestionAnswering,
    XmodModel,
)

from xmodctl.core.errors import UserError
from xmodctl.model import parts
from xmodctl.model.compiling import CompiledEncoder
from xmodctl.model.packing import Packing, encode, pack
from xmodctl.model.padded import encode_padded
from xmodctl.model.routing import Chosen, Grouped, Route, Uniform, grouped, route
from xmodctl.model.source import longest_input
from xmodctl.model.stacked import AdapterStack, SortedRows
from xmodctl.model.transfer import copied, host_values

EMBEDDED = ("position_ids", "token_type_ids")
"""Inputs of the embeddings besides the tokens."""


class RoutedModel(XmodModel):  # type: ignore[misc]
    """The bare X-MOD, with routing and with the input checks that the stock model lacks.

    `reads_first_token` says that nobody reads more of the last layer than each sample's first token; the output is
    then (batch, 1, hidden) wherever that saves work. `reads_padding` says that what the model makes of padding matters;
    where it does not, it may be anything. Batches whose mask is on a device of `packs_on` are computed without padding.
    """

    packs_on = frozenset({"cpu"})

    def __init__(self, config: Any, add_pooling_layer: bool = True) -> None:
        super().__init__(config, add_pooling_layer=add_pooling_layer)
        self.reads_first_token = False
        self.reads_padding = True
        self.own_vocabularies: frozenset[str] = frozenset()  # languages with their own word embeddings
        self.vocabulary: str | None = None  # whose embeddings are installed; None: the checkpoint's
        self.compiled: CompiledEncoder | None = None  # for training steps
        self.encoded: Tensor | None = None  # what another pass has made of the next batch (`seeds.py`)

    def forward(
        self,
        input_ids: Tensor | None = None,
        lang_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Encode a batch.

        Args:
            input_ids: (batch, length).
            lang_ids: position in the list of resident languages: one for all, one a sample (batch,), or one a token
                (batch, length). Without it every sample is in the active language.
            attention_mask: (batch, length); without it whatever is not the padding token is attended to.
            **kwargs: as stock.

        Raises:
            UserError: the input is longer than the model's positions, or `lang_ids` are not ids of resident languages.
        """
        batch = input_ids if input_ids is not None else kwargs.get("inputs_embeds")
        route = self._route(lang_ids, batch)
        if input_ids is not None:
            if kwargs.get("position_ids") is None and kwargs.get("past_key_values") is None:
                self._check_length(input_ids)
            if self.encoded is not None:
                return self._output(self.encoded, kwargs)
            if attention_mask is None and not self.config.is_decoder:
                attention_mask = input_ids.ne(self.config.pad_token_id)
            if attention_mask is not None and self._may_shorten(attention_mask, kwargs):
                if self._is_compiled_step(route, kwargs):
                    return self._compiled(input_ids, attention_mask, route, kwargs)
                if attention_mask.device.type not in self.packs_on or torch.compiler.is_compiling():
                    return self._padded(input_ids, attention_mask, route, kwargs)
                resident = tuple(self.encoder.layer[0].output.adapter_modules)
                if (packing := pack(attention_mask, route, resident, input_ids.device)) is not None:
                    return self._output(self.encode_packed(input_ids, packing, kwargs), kwargs)
            attention_mask = None if attention_mask is None else copied(attention_mask, input_ids.device)
        wants_attentions = kwargs.get("output_attentions", self.config.output_attentions)
        usual = self.config._attn_implementation
        if not wants_attentions or usual == "eager":
            return super().forward(input_ids, route, attention_mask, **kwargs)
        self.config._attn_implementation = "eager"  # the fused kernels keep no attention weights
        try:
            return super().forward(input_ids, route, attention_mask, **kwargs)
        finally:
            self.config._attn_implementation = usual

    def _may_shorten(self, attention_mask: Tensor, kwargs: dict[str, Any]) -> bool:
        """Return whether an encoder that skips what nobody reads gives all requested outputs."""
        return (
            (self.reads_first_token or not self.reads_padding)
            and not self.config.is_decoder
            and attention_mask.dim() == 2
            and self.config._attn_implementation == "sdpa"
            and not any(self._asks_for(kwargs, name) for name in ("output_hidden_states", "output_attentions"))
            and not (self.training and self.encoder.layer[0].gradient_checkpointing)
        )

    def _asks_for(self, kwargs: dict[str, Any], name: str) -> bool:
        requested = kwargs.get(name)
        return bool(getattr(self.config, name, False) if requested is None else requested)

    def encode_packed(self, input_ids: Tensor, packing: Packing, kwargs: Mapping[str, Any]) -> Tensor:
        """Return the last layer's output of a packed batch, (rows, length or 1, hidden)."""

        def packed(ids: Tensor | None) -> Tensor | None:
            return None if ids is None else ids.expand(input_ids.shape).reshape(-1)[packing.tokens][None]

        positions = kwargs.get("position_ids")
        if positions is None:
            positions = self.embeddings.create_position_ids_from_input_ids(input_ids, self.config.pad_token_id, 0)
        own = packing.of_tokens
        with parts.dropping(None if own is None else replace(own, dimension=1)):
            embedded = self.embeddings(
                input_ids=packed(input_ids),
                position_ids=packed(positions),
                token_type_ids=packed(kwargs.get("token_type_ids")),
            )
        return encode(self.encoder.layer, embedded[0], packing, first=self.reads_first_token)

    def _padded(self, input_ids: Tensor, attention_mask: Tensor, route: Chosen, kwargs: dict[str, Any]) -> Any:
        first_route: Route = route
        if isinstance(route, Grouped) and route.ids.dim() == 2:
            languages = tuple(self.encoder.layer[0].output.adapter_modules)
            first_route = grouped(route.ids[:, 0], languages, input_ids.device)
        embeddings = {name: kwargs.get(name) for name in EMBEDDED}
        return self._output(self.encode(input_ids, attention_mask, route, first_route, **embeddings), kwargs)

    def encode(
        self, input_ids: Tensor, attention_mask: Tensor, route: Route, first_route: Route, **embeddings: Tensor | None
    ) -> Tensor:
        """Return the last layer's output of a padded batch, (rows, length or 1, hidden)."""
        embedded = self.embeddings(input_ids=input_ids, **embeddings)
        return encode_padded(
            self.encoder.layer, embedded, attention_mask, route, first_route, first=self.reads_first_token
        )

    def compile_steps(self) -> None:
        """Compile training steps from now on; the adapters of several languages, which must be frozen, are stacked."""
        outputs = [layer.output for layer in self.encoder.layer]
        if len(outputs[0].adapter_modules) > 1:
            for output in outputs:
                output.stack = AdapterStack.of(output.adapter_modules.values())
        self.compiled = CompiledEncoder(
            self.encode, self.device, longest=self._longest, pad_id=self.config.pad_token_id
        )

    @property
    def _longest(self) -> int:
        return longest_input(self.config.to_dict())

    def _is_compiled_step(self, route: Chosen, kwargs: dict[str, Any]) -> bool:
        return (
            self.compiled is not None
            and self.training
            and torch.is_grad_enabled()
            and not (isinstance(route, Grouped) and route.ids.dim() == 2)
            and route != Uniform(None)
            and all(kwargs.get(name) is None for name in EMBEDDED)
        )

    def _compiled(self, input_ids: Tensor, attention_mask: Tensor, route: Chosen, kwargs: dict[str, Any]) -> Any:
        """Encode a batch in one of a few shapes, and return its own rows and tokens."""
        assert self.compiled is not None
        rows, length = input_ids.shape
        input_ids, attention_mask = self.compiled.padded(input_ids, attention_mask)
        output = self.encoder.layer[0].output
        if output.stack is None:
            hidden = self.compiled(input_ids, attention_mask, route, route)[:rows]
        else:
            ids = _ids_of(route, tuple(output.adapter_modules), rows)
            places = SortedRows.of(ids, len(input_ids), len(output.adapter_modules), input_ids.device)
            batch = [tensor.index_select(0, places.order) for tensor in (input_ids, attention_mask)]
            of_tokens = places.route.of_tokens(input_ids.shape[1])
            hidden = self.compiled(*batch, of_tokens, places.route if self.reads_first_token else of_tokens)
            hidden = hidden.index_select(0, places.places)
        return self._output(hidden[:, :length], kwargs)

    def _output(self, hidden: Tensor, kwargs: dict[str, Any]) -> Any:
        if self.encoder.is_pre_norm:
            hidden = self.encoder.LayerNorm(hidden)
        output = BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=hidden, pooler_output=None if self.pooler is None else self.pooler(hidden)
        )
        return output.to_tuple() if kwargs.get("return_dict") is False else output

    def _route(self, lang_ids: Tensor | Chosen | None, batch: Tensor | None) -> Chosen:
        if isinstance(lang_ids, (Uniform, Grouped)):
            return lang_ids
        first = self.encoder.layer[0].output
        if lang_ids is None:
            if not first.chosen:
                raise UserError(_unchosen(list(first.adapter_modules)))
            return Uniform(first.active)
        shape, device = (None, None) if batch is None else (tuple(batch.shape[:2]), batch.device)
        selected = route(lang_ids, shape, tuple(first.adapter_modules), device)
        self._check_vocabularies((selected.language,) if isinstance(selected, Uniform) else selected.languages)
        return selected

    def _check_vocabularies(self, languages: Sequence[str | None]) -> None:
        """Refuse languages whose embeddings are not installed: their token ids would mean other words."""
        for language in languages if self.own_vocabularies else ():
            own = language if language in self.own_vocabularies else None
            if own != self.vocabulary:
                raise UserError(
                    f"the batch contains {language}, but the active vocabulary is {self.vocabulary or 'the model'}'s; "
                    f"a language with its own vocabulary ({', '.join(sorted(self.own_vocabularies))}) cannot share a "
                    f"batch with others: call `activate({language!r})` and put only this language into its batches"
                )

    def _check_length(self, input_ids: Tensor) -> None:
        limit = self._longest
        if input_ids.shape[1] <= limit:
            return
        longest = int(input_ids.ne(self.config.pad_token_id).sum(1).max())  # padding has no position
        if longest > limit:
            raise UserError(
                f"an input has {longest} tokens, but the model has positions for {limit}: "
                f"truncate inputs to `max_length={limit}` or less"
            )


class RoutedMultipleChoice(XmodForMultipleChoice):  # type: ignore[misc]
    """Multiple choice whose language ids follow each sample's choices.

    Stock repeats the ids by batch times choices and so fails for any batch of more than one sample.
    """

    def forward(
        self,
        input_ids: Tensor | None = None,
        lang_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Score each choice: inputs are (batch, choices, length), logits (batch, choices).

        `lang_ids` is one id, one a sample (batch,), one a choice (batch, choices), or one a token
        (batch, choices, length).
        """
        inputs = input_ids if input_ids is not None else inputs_embeds
        assert inputs is not None, "input_ids or inputs_embeds"
        batch, choices = inputs.shape[:2]
        return_dict = kwargs.pop("return_dict", None)
        if lang_ids is not None:
            lang_ids = _per_choice(lang_ids, batch, choices)
        outputs = self.roberta(
            _flat(input_ids),
            lang_ids=lang_ids,
            attention_mask=_flat(attention_mask),
            token_type_ids=_flat(token_type_ids),
            position_ids=_flat(position_ids),
            inputs_embeds=_flat(inputs_embeds),
            return_dict=True,
            **kwargs,
        )
        logits = self.classifier(self.dropout(outputs.pooler_output)).view(batch, choices)
        loss = None if labels is None else functional.cross_entropy(logits, labels)
        output = MultipleChoiceModelOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )
        return output.to_tuple() if return_dict is False else output


class RoutedQuestionAnswering(XmodForQuestionAnswering):  # type: ignore[misc]
    """Question answering whose loss can ignore padding.

    Stock lets an answer begin and end in the padding too, so that a row's loss depends on the rows beside it.
    """

    padding_counts = True

    def forward(
        self,
        input_ids: Tensor | None = None,
        lang_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Score each token as the start and the end of the answer: logits are (batch, length) each."""
        inputs = {"input_ids": input_ids, "lang_ids": lang_ids, "attention_mask": attention_mask, **kwargs}
        if self.padding_counts or attention_mask is None or start_positions is None or end_positions is None:
            return super().forward(**inputs, start_positions=start_positions, end_positions=end_positions)
        return_dict = inputs.pop("return_dict", None)
        output = super().forward(**inputs, return_dict=True)
        padding = copied(attention_mask, output.start_logits.device) == 0
        losses = [
            functional.cross_entropy(logits.masked_fill(padding, -torch.inf), places)
            for logits, places in ((output.start_logits, start_positions), (output.end_logits, end_positions))
        ]
        output.loss = (losses[0] + losses[1]) / 2
        return output.to_tuple() if return_dict is False else output


class RoutedMaskedLM(XmodForMaskedLM):  # type: ignore[misc]
    """Masked-language modeling that can score the labeled tokens alone.

    The product with the vocabulary is the largest of the model, and 85 of 100 tokens have no label.
    """

    labeled_only = False
    candidates: Tensor | None = None  # the pieces that labels may be, in ascending order; None: all of them

    def forward(self, input_ids: Tensor | None = None, labels: Tensor | None = None, **kwargs: Any) -> Any:
        """Score the vocabulary: logits are (batch, length, vocabulary), or (labeled tokens, vocabulary or candidates).

        Labels are pieces, whatever the logits count. Those in the host's memory cost no wait for the device.
        """
        if not self.labeled_only or labels is None:
            return super().forward(input_ids=input_ids, labels=labels, **kwargs)
        return_dict = kwargs.pop("return_dict", None)
        outputs = self.roberta(input_ids, return_dict=True, **kwargs)
        hidden, values = outputs.last_hidden_state, host_values(labels).reshape(-1)
        places = np.flatnonzero(values != -100)
        labels = copied(torch.from_numpy(values[places]), hidden.device)
        hidden = hidden.flatten(0, 1).index_select(0, copied(torch.from_numpy(places), hidden.device))
        if self.candidates is None:
            logits = self.lm_head(hidden)
        else:
            candidates = self.candidates.to(labels.device)
            logits = self._score(hidden, candidates)
            labels = torch.searchsorted(candidates, labels)
        output = MaskedLMOutput(
            loss=functional.cross_entropy(logits, labels),
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
        return output.to_tuple() if return_dict is False else output

    def _score(self, hidden: Tensor, candidates: Tensor) -> Tensor:
        """Return the logits of the candidates alone, (labeled tokens, candidates)."""
        head = self.lm_head
        hidden = head.layer_norm(functional.gelu(head.dense(hidden)))
        return functional.linear(hidden, head.decoder.weight[candidates], head.bias[candidates])


ROUTED: dict[str, type[Any]] = {
    "masked-lm": RoutedMaskedLM,
    "choice": RoutedMultipleChoice,
    "span": RoutedQuestionAnswering,
}
"""The heads whose own module is replaced too."""


def _ids_of(route: Chosen, languages: Sequence[str], rows: int) -> np.ndarray:
    """Return the language of each sample of a batch, (rows,)."""
    if isinstance(route, Uniform):
        return np.full(rows, languages.index(str(route.language)))
    return host_values(route.ids)


def _unchosen(languages: list[str]) -> str:
    return (
        f"which language is the batch in? {', '.join(languages)} are loaded: "
        "choose one with `activate(language)` or give `lang_ids`"
    )


def _per_choice(lang_ids: Tensor, batch: int, choices: int) -> Tensor:
    """Return one id for all, one per row (batch x choices,), or one per token (batch x choices, length)."""
    if lang_ids.dim() == 1 and lang_ids.shape[0] == batch:
        return lang_ids.repeat_interleave(choices)
    if lang_ids.dim() in {2, 3} and tuple(lang_ids.shape[:2]) == (batch, choices):
        return lang_ids.flatten(0, 1)
    return lang_ids


def _flat(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.flatten(0, 1)


def routed(module: nn.Module) -> RoutedModel:
    """Return the routed body of a model with or without a head."""
    body = module if isinstance(module, RoutedModel) else module.roberta
    assert isinstance(body, RoutedModel)
    return body
