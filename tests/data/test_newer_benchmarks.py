"""Benchmarks of topics, intents, stance, parts of speech, and similarity, from a local Hub that has their layouts."""

import gzip
import io
import json
from dataclasses import dataclass, field
from typing import Any

import datasets
import pytest

from xmodctl.catalog import catalog as library
from xmodctl.data import load_rows

TAGS = library.task("udpos").labels


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def tsv(rows: list[dict[str, Any]]) -> bytes:
    return "\n".join("\t".join(map(str, line)) for line in [list(rows[0]), *(row.values() for row in rows)]).encode()


def parquet(rows: list[dict[str, Any]], column: str = "", names: tuple[str, ...] = ()) -> bytes:
    table = datasets.Dataset.from_list(rows)
    if names:
        label = datasets.ClassLabel(names=list(names))
        table = table.cast_column(column, datasets.List(label) if isinstance(rows[0][column], list) else label)
    buffer = io.BytesIO()
    table.to_parquet(buffer)
    return buffer.getvalue()


TOPICS = [
    {"index_id": 7, "category": "politics", "text": 'A "vote"'},
    {"index_id": 9, "category": "sports", "text": "b"},
]
INTENTS = [
    {"id": str(i), "label": name, "label_text": name, "text": "t", "lang": "de"}
    for i, name in enumerate(("alarm_set", "play_music"))
]
WORDS = [{"tokens": ["Dogs", "run", "."], "pos_tags": [7, 15, 12]}]
AFRICAN_WORDS = [{"id": "0", "tokens": ["Mbwa", "!"], "upos": [0, 2]}]
NEWS = [{"headline": "h", "category": name, "text": "body", "url": "u"} for name in ("health", "sports")]
TWEETS = [{"tweet": f"t {label}", "label": label} for label in ("neutral", "positive")]
PAIRS = [{"premise": "p", "hypothesis": "h", "label": label} for label in (2, 0)]
REQUESTS = [{"intent": name, "text": "t", "target": ""} for name in ("alarm", "weather")]
COMMENTS = [
    {"question": "q", "id": i, "comment": f"c {language}", "label": label, "language": language}
    for i, (language, label) in enumerate((("de", "FAVOR"), ("it", "AGAINST"), ("it", "FAVOR")))
]
SIMILAR = [{"sentence1": "a", "sentence2": "b", "score": score} for score in (4.5, 0.0)]


@dataclass(frozen=True)
class Case:
    """One language and split of a benchmark, and what is read from it."""

    task: str
    language: str
    repository: str
    file: str
    content: bytes
    gold: list[Any]
    others: tuple[str, ...] = ()  # files that must not be fetched
    split: str = "test"
    evaluation: bool = True
    row: dict[str, Any] = field(default_factory=dict)  # columns of the first row


CASES = [
    Case(
        "sib200",
        "zu",
        "Davlan/sib200",
        "data/zul_Latn/test.tsv",
        tsv(TOPICS),
        [3, 5],
        ("data/zul_Latn/train.tsv",),
        row={"id": "7", "text": 'A "vote"'},
    ),
    Case("sib200", "eng_Latn", "Davlan/sib200", "data/eng_Latn/dev.tsv", tsv(TOPICS), [3, 5], split="validation"),
    Case("sib200", "deu_Latn", "Davlan/sib200", "deu_Latn/test/0000.parquet", parquet(TOPICS), [3, 5]),
    Case(
        "massive",
        "de",
        "mteb/amazon_massive_intent",
        "test/de.json.gz",
        gzip.compress(jsonl(INTENTS)),
        [48, 45],
        ("train/de.json.gz", "test/af.json.gz"),
        row={"id": "0", "text": "t"},
    ),
    Case(
        "udpos",
        "ja_XX",
        "izhx/xtreme-r-udpos",
        "ja/test.parquet",
        parquet(WORDS, "pos_tags", TAGS),
        [[7, 15, 12]],
        ("en/train.parquet",),
    ),
    Case(
        "masakhapos",
        "sw",
        "masakhane/masakhapos",
        "swa/test/0000.parquet",
        parquet(AFRICAN_WORDS, "upos", ("NOUN", "PUNCT", "_")),
        [[7, 16]],
        ("swa/train/0000.parquet",),
    ),
    Case(
        "masakhapos",
        "en_XX",
        "izhx/xtreme-r-udpos",
        "en/train.parquet",
        parquet(WORDS, "pos_tags", TAGS),
        [[7, 15, 12]],
        split="train",
        evaluation=False,
    ),
    Case(
        "masakhanews",
        "swa",
        "masakhane/masakhanews",
        "swa/test/0000.parquet",
        parquet(NEWS),
        [2, 5],
        row={"text": "body"},
    ),
    Case("afrisenti", "am", "masakhane/afrisenti", "data/amh/test.tsv", tsv(TWEETS), [2, 0], ("data/amh/train.tsv",)),
    Case("afrixnli", "hau", "masakhane/afrixnli", "data/hau/test.tsv", tsv(PAIRS), [2, 0], ("data/hau/dev.tsv",)),
    Case("injongo", "yor", "masakhane/InjongoIntent", "yor/test.jsonl", jsonl(REQUESTS), [0, 39], ("yor/train.jsonl",)),
    Case(
        "injongo",
        "yor",
        "masakhane/InjongoIntent",
        "yor/validation/0000.parquet",
        parquet(REQUESTS),
        [0, 39],
        split="validation",
    ),
    Case(
        "xstance",
        "it",
        "ZurichNLP/x_stance",
        "default/test/0000.parquet",
        parquet(COMMENTS),
        [0, 1],
        ("default/train/0000.parquet",),
        row={"id": "1", "text": "q", "text_pair": "c it"},
    ),
    Case(
        "sts17",
        "ko",
        "mteb/sts17-crosslingual-sts",
        "ko-ko/test.jsonl.gz",
        gzip.compress(jsonl(SIMILAR)),
        [4.5, 0.0],
        ("en-de/test.jsonl.gz",),
    ),
    Case(
        "sts17",
        "en-en",
        "mteb/stsbenchmark-sts",
        "train.jsonl.gz",
        gzip.compress(jsonl(SIMILAR)),
        [4.5, 0.0],
        ("test.jsonl.gz",),
        split="train",
        evaluation=False,
    ),
    Case(
        "sts22",
        "zh_CN",
        "mteb/sts22-crosslingual-sts",
        "zh/test.jsonl",
        jsonl(SIMILAR),
        [4.5, 0.0],
        ("de/test.jsonl", "en/train.jsonl"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.task}-{case.split}-{case.language}")
def test_a_benchmark_loads_in_its_layout_and_only_one_file_is_fetched(hub, case):
    hub.add("datasets", case.repository, {case.file: case.content, **dict.fromkeys(case.others, b"not this one")})
    task = library.task(case.task)
    split: Any = case.split
    table = load_rows(task, case.language, split, evaluation=case.evaluation).table
    gold = "tags" if "tags" in table.column_names else "label"
    assert table[gold][:] == case.gold
    assert {name: table[0][name] for name in case.row} == case.row
    assert hub.fetched() == {case.file}
