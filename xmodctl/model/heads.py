"""The seven heads X-MOD comes with, by the Hub's names for them."""

from typing import Literal, get_args

from xmodctl.core.errors import UserError, did_you_mean

Head = Literal[
    "sequence-classification",
    "token-classification",
    "question-answering",
    "multiple-choice",
    "masked-lm",
    "causal-lm",
    "none",
]
HEADS: tuple[str, ...] = get_args(Head)

# The class of transformers that carries each head; an exported folder names it under `architectures`.
ARCHITECTURES: dict[str, str] = {
    "sequence-classification": "XmodForSequenceClassification",
    "token-classification": "XmodForTokenClassification",
    "question-answering": "XmodForQuestionAnswering",
    "multiple-choice": "XmodForMultipleChoice",
    "masked-lm": "XmodForMaskedLM",
    "causal-lm": "XmodForCausalLM",
    "none": "XmodModel",
}

# These heads read the first token of the last layer and nothing else of it.
READS_FIRST_TOKEN = frozenset({"sequence-classification", "multiple-choice"})


def check_head(head: str) -> None:
    """Refuse a head X-MOD does not have."""
    if head not in HEADS:
        raise UserError(f"unknown head {head!r}{did_you_mean(head, HEADS)} (heads: {', '.join(HEADS)})")
