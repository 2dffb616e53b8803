"""Rows as labeling tools export them (Label Studio, Prodigy, spaCy) -> rows with a text and its spans or label."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from xmodctl.core.messages import counted
from xmodctl.kinds.literals import structure_in

Row = dict[str, Any]

LABEL_STUDIO_COLUMNS = ("annotation_id", "annotator")
"""What the rows of Label Studio's JSON-MIN and CSV have besides the data and the answers."""
_ANSWERS = ("accept", "reject", "ignore")
"""What an annotator decides on a record of Prodigy."""
_BINARY = "classification"
"""Prodigy's name for decisions on one label: accept or reject."""


@dataclass
class Unpacking:
    """Unpacks the rows of a file, and counts what is not used."""

    columns: Collection[str] = ()  # those of the kind, which say what is looked for: tags, or a label
    plain_tags: bool = False  # each word has a tag
    all_rows: bool = False  # unpack what no annotator accepted, too
    skipped: dict[str, int] = field(default_factory=dict)  # reason -> rows
    only_label: str = ""  # the one label of binary decisions
    controls: Collection[str] = ()  # the names of Label Studio's choices and numbers, if there are several
    lists_in: Collection[str] = ()  # columns of Label Studio's rows that hold spans or choices in some rows
    has_choices: bool = False  # whether tasks of Label Studio are answered by choices

    def look_at(self, rows: Iterable[Any]) -> None:
        """Find out what only all rows of a file show."""
        labels, controls, lists = set[str](), set[str](), set[str]()
        for row in rows:
            if not isinstance(row, dict):
                continue
            if decides_on_one_label(row):
                labels.add(str(row.get("label")))
            elif is_label_studio(row):
                lists.update(name for name, value in row.items() if _are_regions(value) or _are_choices(value))
            controls.update(str(each.get("from_name")) for each in _results(row) if _answer(each["value"]) is not None)
            self.has_choices |= any("choices" in each["value"] for each in _results(row))
        self.only_label = labels.pop() if len(labels) == 1 else ""
        self.controls = controls if len(controls) > 1 else ()
        self.lists_in = lists

    def rows(self, row: Any) -> Iterator[Any]:
        """Yield what a row stands for: itself, if no tool wrote it; nothing, if an annotator rejected it."""
        if isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) and isinstance(row[1], dict):
            yield self._spacy({**row[1], "text": row[0]})  # spaCy's training examples
        elif not isinstance(row, dict):
            yield row
        elif isinstance(row.get("data"), dict) and isinstance(row.get("annotations"), list):
            yield from self._label_studio(row)
        elif is_label_studio(row):
            yield {**{name: [] for name in self.lists_in}, **{name: label_studio_value(row[name]) for name in row}}
        elif "_input_hash" in row or ("answer" in row and "spans" in row) or self._is_decided(row):
            yield from self._prodigy(row)
        elif isinstance(row.get("text"), str) and (
            any(isinstance(row.get(key), list | dict) for key in ("ents", "cats")) or _are_places(row.get("tokens"))
        ):
            yield self._spacy(row)  # Doc.to_json
        elif (sentences := _spacy_sentences(row)) is not None:
            yield from sentences
        else:
            yield row

    @property
    def notes(self) -> list[str]:
        """What is not used, in a sentence for each reason."""
        return [f"{counted(count, 'row')} {reason}" for reason, count in self.skipped.items()]

    def _label_studio(self, row: Row) -> Iterator[Row]:
        unpacked: Row = {**({"id": row["id"]} if "id" in row else {}), **row["data"]}
        usable = _annotations(row)
        if self.all_rows:
            yield unpacked
            return
        if not usable:
            self._count("without an annotation: not used")
            return
        if len(usable) > 1:
            self._count("with several annotations, of which the first is used")
        if not isinstance(usable[0].get("result") or [], list):
            self._count("whose annotation is not a list of results: not used")
            return
        results = _results(row)
        spans = [each["value"] for each in results if "start" in each["value"]]
        choices: dict[str, list[Any]] = {}
        for each in results:
            if (answer := _answer(each["value"])) is not None:
                name = str(each.get("from_name")) if each.get("from_name") in self.controls else "label"
                choices.setdefault(name, []).extend(answer if isinstance(answer, list) else [answer])
        if choices and "tags" not in self.columns:
            unpacked |= {name: values[0] if len(values) == 1 else values for name, values in choices.items()}
        elif self.has_choices and not self.controls and "tags" not in self.columns:
            unpacked["label"] = []
        else:
            unpacked["spans"] = spans
        yield unpacked

    def _is_decided(self, row: Row) -> bool:
        """Return whether a row without Prodigy's ids has its `answer`, which the task reads from no such column."""
        is_looked_for = not {"tags", "label"}.isdisjoint(self.columns) and "choices" not in self.columns
        read = self.columns.values() if isinstance(self.columns, Mapping) else ()
        return (
            row.get("answer") in _ANSWERS
            and isinstance(row.get("text"), str)
            and is_looked_for
            and ("answer" not in read)
        )

    def _prodigy(self, row: Row) -> Iterator[Row]:
        unpacked = self._with_words(row)
        is_rejected = row.get("answer", "accept") != "accept"
        if decides_on_one_label(row) and row.get("answer") == "reject" and self.only_label:
            unpacked["label"] = f"not {self.only_label}"
        elif is_rejected and not self.all_rows:
            self._count("that the annotator did not accept: not used")
            return
        accepted = row.get("accept") or ([] if "options" in row else None)
        if isinstance(accepted, list) and "label" not in row:
            unpacked["label"] = accepted[0] if len(accepted) == 1 else accepted
        elif "label" not in row:
            unpacked["spans"] = [] if unpacked.get("spans") is None else unpacked["spans"]
        yield unpacked

    def _spacy(self, row: Row) -> Row:
        """Return a row with the labels that are likely, if `cats` has the probability of each."""
        unpacked = self._with_words(row)
        cats = unpacked.pop("cats", None)
        if not isinstance(cats, dict):
            return unpacked if cats is None else {**unpacked, "cats": cats}
        if "label" in self.columns and cats and all(isinstance(share, int | float) for share in cats.values()):
            labels = [name for name, share in cats.items() if share >= 0.5]
            unpacked["label"] = labels[0] if len(labels) == 1 else labels
        return unpacked

    def _with_words(self, row: Row) -> Row:
        """Return a row without the objects that describe its words: text and spans hold everything.

        Where each word has a tag, the words and tags of the objects are kept.
        """
        words = row.get("tokens")
        if not isinstance(words, list) or not all(isinstance(word, dict) for word in words):
            return dict(row)
        unpacked = {key: value for key, value in row.items() if key != "tokens"}
        if self.plain_tags and words and (tagged := _tagged(words, row)):
            unpacked = {key: value for key, value in unpacked.items() if key not in ("spans", "ents", "text")} | tagged
        return unpacked

    def _count(self, reason: str) -> None:
        self.skipped[reason] = self.skipped.get(reason, 0) + 1


def decides_on_one_label(row: Any) -> bool:
    """Return whether a row is a binary decision of Prodigy, which says something if it is a rejection, too."""
    return isinstance(row, dict) and row.get("_view_id") == _BINARY


def is_label_studio(names: Collection[str]) -> bool:
    """Return whether names are those of the columns of Label Studio's JSON-MIN or CSV."""
    return all(name in names for name in LABEL_STUDIO_COLUMNS)


def label_studio_value(value: Any) -> Any:
    """Return choices as a list, and a rating or a number by itself; return anything else as it is."""
    structure = structure_in(value)
    if isinstance(structure, list) and len(structure) == 1 and isinstance(structure[0], dict):
        answer = _answer(structure[0])
        return value if answer is None else answer
    answer = _answer(structure) if isinstance(structure, dict) else None
    return value if answer is None else answer


def _answer(value: Row) -> Any:
    """Return the choices, the rating, or the number that a value of Label Studio is, or None for another one."""
    return next((value[key] for key in ("choices", "rating", "number") if key in value and "start" not in value), None)


def _annotations(row: Row) -> list[Row]:
    annotations = row.get("annotations")
    usable = annotations if isinstance(annotations, list) else []
    return [each for each in usable if isinstance(each, dict) and not each.get("was_cancelled")]


def _results(row: Row) -> list[Row]:
    """Return the results of the first annotation of a task of Label Studio that have a value."""
    results = next((each.get("result") for each in _annotations(row)), None)
    usable = results if isinstance(results, list) else []
    return [each for each in usable if isinstance(each, dict) and isinstance(each.get("value"), dict)]


def _are_regions(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) and "start" in each for each in value)


def _are_choices(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("choices"), list)


def _are_places(words: Any) -> bool:
    """Return whether words are objects with their places in a text, as spaCy writes them."""
    return isinstance(words, list) and bool(words) and all(isinstance(w, dict) and "start" in w for w in words)


def _tagged(words: list[Row], row: Row) -> Row:
    """Return the words of a text and their tags: those of the words, or of the spans that begin with them."""
    text, spans = row.get("text"), row.get("spans")
    places = [(word.get("start"), word.get("end")) for word in words]
    if not isinstance(text, str) or not all(isinstance(place, int) for pair in places for place in pair):
        return {}
    key = next((key for key in ("pos", "tag") if all(word.get(key) for word in words)), "")
    if key:
        tags = [word[key] for word in words]
    elif isinstance(spans, list) and all(isinstance(span, dict) for span in spans):
        of_places = {(span.get("start"), span.get("end")): span.get("label") for span in spans}
        tags = [of_places.get(place) for place in places]
    else:
        return {}
    return {"tokens": [text[start:end] for start, end in places], "tags": tags}


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
