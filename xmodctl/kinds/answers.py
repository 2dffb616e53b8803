"""How a predicted answer is compared with the gold answers: the rules of each benchmark's own script."""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from xmodctl.core.errors import UserError

MetricRules = Literal["squad", "squad2", "mlqa", "tydiqa"]
"""The benchmarks whose scripts compare answers."""

Normalize = Callable[[str], str]


@dataclass(frozen=True)
class AnswerScore:
    """One question's scores, from 0 to 1."""

    exact_match: float
    f1: float


class Rules:
    """The rules of one benchmark, for answers in one language.

    Sources: SQuAD 1.1, `evaluate-v1.1.py` (Rajpurkar et al. 2016), with which XQuAD and TyDiQA-GoldP are scored too
    (TyDi QA's gold_passage_baseline); SQuAD 2.0, `evaluate-v2.0.py`; MLQA, `mlqa_evaluation_v1.py` (Lewis et al. 2020).
    """

    def __init__(self, name: MetricRules, language: str) -> None:
        """Choose the rules; `language` is a code without script or region, such as `de`.

        Raises:
            UserError: MLQA has no rules for the language.
        """
        self.may_be_none = name == "squad2"
        self.normalize: Normalize = mlqa(language) if name == "mlqa" else squad

    def score(self, gold: Sequence[str], predicted: str) -> AnswerScore:
        """Return the best agreement of a prediction with any of the gold answers.

        Raises:
            UserError: The question has no answer, and the rules do not allow that.
        """
        answers = [self.normalize(text) for text in gold]
        if self.may_be_none:
            # An answer that is empty after normalization counts as no answer.
            answers = [text for text in answers if text] or [""]
        elif not answers:
            raise UserError(
                "a question has no answer, which only the rules of SQuAD 2.0 allow; "
                "use them (--set metric_rules=squad2), or remove such questions"
            )
        guess = self.normalize(predicted)
        return AnswerScore(
            exact_match=float(guess in answers),
            f1=max(word_f1(text.split(), guess.split(), both_empty=float(self.may_be_none)) for text in answers),
        )


def word_f1(gold: Sequence[str], predicted: Sequence[str], *, both_empty: float) -> float:
    """Return the F1 of two bags of words; `both_empty` is the score of two empty ones."""
    if not gold and not predicted:
        return both_empty
    shared = sum((Counter(gold) & Counter(predicted)).values())
    return 2 * shared / (len(gold) + len(predicted))


def squad(text: str) -> str:
    """Lowercase, remove ASCII punctuation and English articles, and collapse whitespace."""
    text = "".join(character for character in text.lower() if character not in _ASCII_PUNCTUATION)
    return " ".join(_ENGLISH_ARTICLES.sub(" ", text).split())


def mlqa(language: str) -> Normalize:
    """Return the function that normalizes answers in a language as MLQA does.

    It removes punctuation of every script and the language's articles; each Chinese character is a word.

    Raises:
        UserError: MLQA's script has no rules for the language.
    """
    if language not in _MLQA_ARTICLES:
        raise UserError(
            f"MLQA's rules cover {', '.join(_MLQA_ARTICLES)}, not {language}; "
            "use the rules of SQuAD (--set metric_rules=squad)"
        )
    articles = _MLQA_ARTICLES[language]

    def normalize(text: str) -> str:
        text = "".join(character for character in text.lower() if not _is_punctuation(character))
        if articles is not None:
            text = articles.sub(" ", text)
        if language == "zh":
            text = _CHINESE_CHARACTER.sub(r" \g<0> ", text)
        return " ".join(text.split())

    return normalize


@lru_cache(maxsize=2**16)
def _is_punctuation(character: str) -> bool:
    # The script's own set ends just before the last code point, which is not punctuation anyway.
    return character in _ASCII_PUNCTUATION or unicodedata.category(character).startswith("P")


def _words(*words: str) -> re.Pattern[str]:
    return re.compile(rf"\b({'|'.join(words)})\b")


_ASCII_PUNCTUATION = frozenset(string.punctuation)
_CHINESE_CHARACTER = re.compile("[\u4e00-\u9fa5]")
_ENGLISH_ARTICLES = _words("a", "an", "the")
_MLQA_ARTICLES: dict[str, re.Pattern[str] | None] = {
    "ar": re.compile(r"\sال^|ال"),  # as in the script: wherever the letters are, also inside a word
    "de": _words("ein", "eine", "einen", "einem", "eines", "einer", "der", "die", "das", "den", "dem", "des"),
    "en": _ENGLISH_ARTICLES,
    "es": _words("un", "una", "unos", "unas", "el", "la", "los", "las"),
    "hi": None,
    "vi": _words("của", "là", "cái", "chiếc", "những"),
    "zh": None,
}
