"""Rows as labeling tools export them (Label Studio, Prodigy, spaCy) -> rows with a text and its spans or label."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from xmodctl.core.messages import counted

Row = dict[str, Any]


@dataclass
class Unpacking:
    """Unpacks the rows of a file, and counts what is not used."""

    skipped: dict[str, int] = field(default_factory=dict)  # reason -> rows

    def rows(self, row: Any) -> Iterator[Any]:
        """Yield what a row stands for: itself, if no tool wrote it; nothing, if an annotator rejected it."""
        if isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) and isinstance(row[1], dict):
            yield {**row[1], "text": row[0]}  # spaCy's training examples
        elif not isinstance(row, dict):
            yield row
        elif isinstance(row.get("data"), dict) and isinstance(row.get("annotations"), list):
            yield from self._label_studio(row)
        elif "_input_hash" in row or ("answer" in row and "spans" in row):
            yield from self._prodigy(row)
        elif isinstance(row.get("ents"), list) and isinstance(row.get("text"), str):
            yield _without_word_objects(row)  # spaCy's Doc.to_json
        elif (sentences := _spacy_sentences(row)) is not None:
            yield from sentences
        else:
            yield row

    @property
    def notes(self) -> list[str]:
        """What is not used, in a sentence for each reason."""
        return [f"{counted(count, 'row')} {reason}" for reason, count in self.skipped.items()]

    def _label_studio(self, row: Row) -> Iterator[Row]:
        usable = [each for each in row["annotations"] if isinstance(each, dict) and not each.get("was_cancelled")]
        if not usable:
            self._count("without an annotation: not used")
            return
        if len(usable) > 1:
            self._count("with several annotations, of which the first is used")
        results = usable[0].get("result") or []
        if not isinstance(results, list):
            self._count("whose annotation is not a list of results: not used")
            return
        unpacked: Row = {"id": row.get("id"), **row["data"]}
        spans, choices = [], []
        for result in results:
            value = result.get("value") if isinstance(result, dict) else None
            if isinstance(value, dict) and "choices" in value:
                choices += value["choices"] if isinstance(value["choices"], list) else [value["choices"]]
            elif isinstance(value, dict) and "start" in value:
                spans.append(value)
        if choices:
            unpacked["label"] = choices[0] if len(choices) == 1 else choices
        else:
            unpacked["spans"] = spans
        yield unpacked

    def _prodigy(self, row: Row) -> Iterator[Row]:
        if row.get("answer", "accept") != "accept":
            self._count("that the annotator did not accept: not used")
            return
        unpacked = _without_word_objects(row)
        if isinstance(accepted := row.get("accept"), list) and "label" not in row:
            unpacked["label"] = accepted[0] if len(accepted) == 1 else accepted
        elif "label" not in row:
            unpacked.setdefault("spans", [])
        yield unpacked

    def _count(self, reason: str) -> None:
        self.skipped[reason] = self.skipped.get(reason, 0) + 1


def _without_word_objects(row: Row) -> Row:
    """Return a row without the objects that describe its words: text and spans hold everything."""
    words = row.get("tokens")
    if isinstance(words, list) and all(isinstance(word, dict) for word in words):
        return {key: value for key, value in row.items() if key != "tokens"}
    return dict(row)


def _spacy_sentences(row: Mapping[str, Any]) -> list[Row] | None:
    """Return the sentences of a document in the JSON of spaCy 2, or None for anything else."""
    paragraphs = row.get("paragraphs")
    if not isinstance(paragraphs, list) or not paragraphs:
        return None
    sentences: list[Row] = []
    for paragraph in paragraphs:
        if not isinstance(paragraph, dict) or not isinstance(paragraph.get("sentences"), list):
            return None
        for sentence in paragraph["sentences"]:
            words = sentence.get("tokens") if isinstance(sentence, dict) else None
            if not isinstance(words, list) or not all(isinstance(word, dict) for word in words):
                return None
            tags = [word.get("ner", "O") for word in words]
            sentences.append({"tokens": [word.get("orth") for word in words], "tags": tags})
    return sentences
