"""A new language's text, cleaned and checked."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.core.events import TextRead
from xmodctl.data.texts import Corpus, gather
from xmodctl.languages.text_check import cautions
from xmodctl.new_language.plan import LanguagePlan
from xmodctl.training.masked_lm.vocabulary_fit import FIT_TEXTS, VocabularyFit, check_corpus, measure_fit

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class LanguageText:
    """A language's text, cleaned and checked."""

    language: str
    corpus: Corpus
    fit: VocabularyFit  # of the model's vocabulary
    notes: tuple[str, ...]  # what may not be what the user wants

    @property
    def event(self) -> TextRead:
        """The event that reports it."""
        counts = self.corpus.counts
        return TextRead(
            self.language, counts.lines, counts.empty, counts.short, counts.duplicates, counts.cut, counts.kept,
            counts.held_out, counts.characters, self.fit.verdict, self.notes,
        )  # fmt: skip


def read_texts(plan: LanguagePlan, folder: Path, tokenizer: "PreTrainedTokenizerFast") -> Iterator[LanguageText]:
    """Read and clean every language's text, and measure how well the model's vocabulary fits it.

    Raises:
        UserError: A text cannot be used.
    """
    for language, files in plan.texts.items():
        corpus = gather(files, folder / language, column=plan.column, limit=plan.limit, strip_markup=plan.strip_markup)
        sample = corpus.sample(FIT_TEXTS)
        fit = measure_fit(tokenizer, sample)
        if plan.vocabulary == "keep":
            fit.check_known(", ".join(files), remedy="use --vocabulary new")
        notes = (*cautions(language, sample), *filter(None, [corpus.note]))
        yield LanguageText(language, corpus, fit, notes)


def read_head_text(plan: LanguagePlan, folder: Path, tokenizer: "PreTrainedTokenizerFast") -> Corpus | None:
    """Read and clean the text that a missing head is trained on, if it is not the language's own.

    Raises:
        UserError: It cannot be used, or the model's vocabulary lacks most of its characters.
    """
    if not plan.head_text:
        return None
    corpus = gather(plan.head_text, folder / "head", column=plan.column, strip_markup=plan.strip_markup)
    check_corpus(tokenizer, corpus)
    return corpus
