"""The usual names of columns, by which the columns of data that no task describes are found."""

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from unicodedata import normalize

LANGUAGE_COLUMNS = ("language", "lang", "locale", "language_code", "lang_code")
"""In files with several languages: the columns that may give the language, in the order in which they are tried."""

SPLIT_COLUMN = "split"
"""In a single file: the column that gives the split of each row."""

_WORDS_FOR_TEXTS = (
    "satz", "nachricht", "kommentar", "texte", "phrase", "commentaire", "texto", "frase", "comentario", "mensaje",
    "mensagem", "comentário", "testo", "commento", "messaggio", "tekst", "текст", "文本", "テキスト",
)  # fmt: skip
"""Names of texts that are not English."""
_WORDS_FOR_LABELS = (
    "klasse", "kategorie", "catégorie", "classe", "étiquette", "clase", "categoría", "categoria", "etiqueta",
    "etichetta", "kategoria", "categorie", "метка", "категория", "标签", "类别", "ラベル",
)  # fmt: skip
"""Names of labels that are not English."""
_WORDS_FOR_LANGUAGES = ("sprache", "langue", "idioma", "língua", "lingua", "taal", "język", "язык", "语言", "言語")
"""Names of languages that are not English."""

_TEXTS = (
    "text", "sentence", "review", "content", "body", "comment", "message", "document", "utterance", "tweet", "post",
    "article", "review_body", "review_text", "comment_text", "tweet_text", "message_text", "full_text", "text_a",
    "text1", "sentence1", "sentence_a", "text_1", "sentence_1", "sent1", "sent_1", "s1", *_WORDS_FOR_TEXTS,
)  # fmt: skip
_USUAL: Mapping[str, Sequence[str]] = {
    "text": _TEXTS,
    "text_pair": (
        "hypothesis", "text_b", "text2", "sentence2", "sentence_b", "question2", "reply", "response", "translation",
        "text_2", "sentence_2", "sent2", "sent_2", "s2",
    ),
    "label": (
        "label", "labels", "category", "categories", "class", "target", "topic", "topics", "intent", "sentiment",
        "tag", "tags", "score", "rating", "stars", "gold_label", "gold", "similarity", "similarity_score",
        *_WORDS_FOR_LABELS,
    ),
    "tokens": ("tokens", "words"),
    "tags": ("tags", "ner_tags", "labels", "label", "entities", "spans", "ents", "ner", "pos_tags", "pos", "upos"),
    "context": ("context", "passage", "flores_passage", "paragraph", "premise"),
    "question": ("question", "query", "frage", "pregunta", "pergunta", "domanda", "вопрос", "问题", "質問"),
    "answers": ("answers", "answer"),
    "choices": ("choices", "options", "endings", "answers"),
    "id": ("id",),
}  # fmt: skip
WORD_COLUMNS = ("word", "token", "form")
"""Columns of tables with one word per row."""
_FIRST_OF_TWO = ("premise", "question1")
"""Names of the first text of a pair."""
_ANSWER_TEXTS = ("answer_text", "answers_text", "answers.text", "answer.text", "answer")
_ANSWER_STARTS = (
    "answer_start", "answers_start", "answers.answer_start", "answers_answer_start", "answer.answer_start", "start",
    "answer_offset", "start_position",
)  # fmt: skip
_RIGHT_CHOICES = (
    "label", "answer", "correct", "correct_answer", "correct_answer_num", "correct_choice", "correct_option",
    "answer_key", "answerkey", "gold",
)  # fmt: skip
_NUMBERED_CHOICE = re.compile(r"((?:[a-z]+_)?(?:choice|option|ending|answer|candidate))_?([0-9]{1,2}|[a-j])")
_NUMBERED = re.compile(r"(.+?)_?([0-9]{1,2}|(?<=_)[a-j])")
_LETTERS = "abcdefghij"
"""Names of columns that hold a choice each; the first two at least, and none is missing."""


def usual_columns(column: str, header: Sequence[str], wanted: Collection[str]) -> list[str]:
    """Return the columns of a header that may be a column of a kind: its own name alone, or those with a usual name.

    Args:
        column: The kind's column.
        header: The columns of the data that are free.
        wanted: All of the kind's columns that are looked for.
    """
    folded = {name: _folded(name) for name in header}
    if own := [name for name in header if folded[name] == column]:
        return own
    usual = [*_USUAL.get(column, ())]
    if column == "text" and "text_pair" in wanted:
        usual += _FIRST_OF_TWO
    if column == "label" and "choices" in wanted:
        usual = [*_RIGHT_CHOICES]
    candidates = [name for name in header if folded[name] in usual]
    if column == "answers" and not candidates and len(texts := [n for n in header if folded[n] in _ANSWER_TEXTS]) == 1:
        return texts
    if column == "tokens" and not candidates:  # a text with spans
        candidates = usual_columns("text", header, ())
    return candidates


def column_of_one_word(header: Sequence[str]) -> str:
    """Return the column of a table that has a word in each row, or an empty text."""
    return next((name for name in header if _folded(name) in WORD_COLUMNS), "")


def parted_answers(header: Sequence[str]) -> list[str]:
    """Return the two columns that hold the texts of answers and where these begin, or an empty list."""
    texts = [name for name in header if _folded(name) in _ANSWER_TEXTS]
    starts = [name for name in header if _folded(name) in _ANSWER_STARTS]
    return [texts[0], starts[0]] if len(texts) == len(starts) == 1 else []


def numbered_choices(header: Sequence[str]) -> list[list[str]]:
    """Return groups of columns that hold one choice each, in their order: `choice1` and `choice2`, or `A` to `D`."""
    numbered: dict[str, dict[str, str]] = {}
    for name in header:
        if match := _NUMBERED_CHOICE.fullmatch(_folded(name)):
            numbered.setdefault(match[1], {})[match[2].zfill(2)] = name
    groups = [[group[number] for number in sorted(group)] for group in numbered.values()]
    letters = {_folded(name): name for name in header}
    groups.append([letters[letter] for letter in takewhile(letters.__contains__, _LETTERS)])
    return [group for group in groups if len(group) > 1]


def columns_alike(header: Sequence[str]) -> list[list[str]]:
    """Return groups of columns whose names differ by a letter or number at their end: `Antwort A`, `Antwort B`."""
    groups: dict[str, list[str]] = {}
    for name in header:
        if match := _NUMBERED.fullmatch(_folded(name)):
            groups.setdefault(match[1], []).append(name)
    return [*groups.values()]


def usual_language_columns(header: Sequence[str]) -> list[str]:
    """Return the columns that may give the language of a row."""
    return [name for name in header if _folded(name) in (*LANGUAGE_COLUMNS, *_WORDS_FOR_LANGUAGES)]


def usual_split_columns(header: Sequence[str]) -> list[str]:
    """Return the columns that give the split of a row by their name, in any letter case."""
    return [name for name in header if _folded(name) == SPLIT_COLUMN]


def names_a_country(column: str) -> bool:
    """Return whether a column gives countries by its name; many of their codes are codes of languages, too."""
    return not {"country", "region", "market"}.isdisjoint(_folded(column).split("_"))


def _folded(name: str) -> str:
    return normalize("NFC", name).strip().casefold().replace(" ", "_").replace("-", "_")
