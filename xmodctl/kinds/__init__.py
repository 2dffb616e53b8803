"""Kinds of task, one file each: how rows are read and encoded, and how the head's outputs are decoded and scored.

A new kind is a subclass of `Kind` in a file of its own, listed in `KINDS`.
"""

from xmodctl.kinds.kind import Kind, Metric, TaskView, Usage
from xmodctl.kinds.multi_label_classification import MultiLabelClassification
from xmodctl.kinds.multiple_choice import MultipleChoice
from xmodctl.kinds.question_answering import QuestionAnswering
from xmodctl.kinds.sentence_retrieval import SentenceRetrieval
from xmodctl.kinds.sentence_similarity import SentenceSimilarity
from xmodctl.kinds.sequence_classification import SequenceClassification
from xmodctl.kinds.text_regression import TextRegression
from xmodctl.kinds.token_classification import TokenClassification
from xmodctl.kinds.word_tagging import WordTagging

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        SequenceClassification(),
        MultiLabelClassification(),
        TextRegression(),
        TokenClassification(),
        WordTagging(),
        QuestionAnswering(),
        MultipleChoice(),
        SentenceRetrieval(),
        SentenceSimilarity(),
    )
}
"""Every kind that this version runs, by name."""

__all__ = ["KINDS", "Kind", "Metric", "TaskView", "Usage"]
