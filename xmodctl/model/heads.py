"""The seven heads of X-MOD."""

from xmodctl.core.errors import UserError, did_you_mean

ARCHITECTURES: dict[str, str] = {
    "sequence": "XmodForSequenceClassification",
    "tokens": "XmodForTokenClassification",
    "span": "XmodForQuestionAnswering",
    "choice": "XmodForMultipleChoice",
    "masked-lm": "XmodForMaskedLM",
    "causal-lm": "XmodForCausalLM",
    "none": "XmodModel",
}
"""Head -> the class of transformers that carries it, which an exported folder names under `architectures`."""

HEADS = tuple(ARCHITECTURES)
"""The names of the heads."""

READS_FIRST_TOKEN = frozenset({"sequence", "choice"})
"""Heads that read only the first token of the last layer."""


def check_head(head: str) -> None:
    """Refuse a head that X-MOD does not have.

    Raises:
        UserError: There is no such head.
    """
    if head not in HEADS:
        raise UserError(f"unknown head {head!r}{did_you_mean(head, HEADS)}; choose from {', '.join(HEADS)}")
