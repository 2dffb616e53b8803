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
SLOTS = library.task("massive-slots").labels


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
SENTENCES = [{"text": "Satz", "lang": 45, "index_id": 7}, {"text": "sentence", "lang": 49, "index_id": 7}]
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
TRANSLATED = [{"sentence1": f"Satz {i}", "sentence2": f"sentence {i}", "lang": "deu-eng"} for i in range(2)]
MINED = [
    {
        "source_sentence": f"Satz {i}",
        "target_sentence": f"sentence {i}",
        "source_lang": f"de-{i}",
        "target_lang": f"en-{i}",
    }
    for i in range(2)
]
SIMILAR = [{"sentence1": "a", "sentence2": "b", "score": score} for score in (4.5, 0.0)]


REVIEWS = [{"review": f"r {label}", "label": label} for label in ("negative", "positive")]
LAWS = [{"id": "32000D", "text": "t", "label": [1, 0]}, {"id": "32001D", "text": "u", "label": []}]
DOMAINS = tuple(library.task("multieurlex").labels_mapped)
UTTERANCES = [
    {"id": "1", "locale": "de-DE", "intent": 1, "utt": "weck mich morgen", "annot_utt": "weck mich [date : morgen]"},
    {"id": "2", "locale": "de-DE", "intent": 0, "utt": "spiel", "annot_utt": "spiel"},
]
CHINESE = [{"id": "1", "intent": 0, "utt": "明天 ok", "annot_utt": "[date : 明天] ok"}]
TREEBANK = [{"tokens": ["zum", "zu", "dem"], "upos": ["_", "ADP", "DET"], "head": ["", "3", "3"]}]


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
        "tatoeba",
        "de",
        "mteb/tatoeba-bitext-mining",
        "deu-eng/test/0000.parquet",
        parquet(TRANSLATED),
        ["sentence 0", "sentence 1"],
        ("fra-eng/test/0000.parquet",),
        row={"id": "0", "text": "Satz 0"},
    ),
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
    *(
        Case(
            "lid200",
            language,
            "mikaberidze/lid200",
            file,
            parquet(SENTENCES, "lang", library.task("lid200").labels),
            [45, 49],
            ("data/train-00000-of-00001.parquet", "default/test/0000.parquet")[: "default" not in file],
            split=split,
            evaluation=evaluation,
            row={"id": "0", "text": "Satz"},
        )
        for language, file, split, evaluation in (
            ("mul", "data/test-00000-of-00001.parquet", "test", True),
            ("en_XX", "data/validation-00000-of-00001.parquet", "validation", False),
            ("en_XX", "default/train/0000.parquet", "train", False),
        )
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
        "massive",
        "de",
        "AmazonScience/massive",
        "de-DE/test/0000.parquet",
        parquet(UTTERANCES, "intent", ("alarm_query", "alarm_set")),
        [48, 23],
        ("de-DE/train/0000.parquet", "da-DK/test/0000.parquet"),
        row={"id": "1", "text": "weck mich morgen"},
    ),
    Case(
        "massive-slots",
        "de",
        "AmazonScience/massive",
        "de-DE/test/0000.parquet",
        parquet(UTTERANCES, "intent", ("alarm_query", "alarm_set")),
        [[0, 0, SLOTS.index("B-date")], [0]],
        ("de-DE/train/0000.parquet", "da-DK/test/0000.parquet"),
        row={"id": "1", "tokens": ["weck", "mich", "morgen"]},
    ),
    Case(
        "massive-slots",
        "zh-CN",
        "AmazonScience/massive",
        "zh-CN/validation/0000.parquet",
        parquet(CHINESE),
        [[SLOTS.index("B-date"), SLOTS.index("I-date"), 0]],
        ("zh-TW/validation/0000.parquet",),
        split="validation",
        row={"tokens": ["明", "天", "ok"]},
    ),
    Case(
        "nollysenti",
        "ha_NG",
        "Davlan/nollysenti",
        "ha/test/0000.parquet",
        parquet(REVIEWS),
        [1, 0],
        ("ha/train/0000.parquet",),
        row={"text": "r negative"},
    ),
    Case(
        "multieurlex",
        "mt",
        "mteb/eurlex-multilingual",
        "mt/test-00000-of-00001-1e56.parquet",
        parquet(LAWS, "label", DOMAINS),
        [[1, 1, *[0] * 19], [0] * 21],
        ("mt/train-00000-of-00001-52af.parquet",),
        row={"id": "32000D"},
    ),
    Case(
        "multieurlex",
        "en_XX",
        "mteb/eurlex-multilingual",
        "en/train-00000-of-00002-d9fe.parquet",
        parquet(LAWS),
        [[1, 1, *[0] * 19], [0] * 21],
        ("en/test-00000-of-00001-25aa.parquet",),
        split="train",
        evaluation=False,
    ),
    Case(
        "ud-treebanks",
        "de_DE",
        "universal-dependencies/universal_dependencies",
        "parquet/de_gsd/dev.parquet",
        parquet(TREEBANK),
        [[16, 1, 5]],
        ("parquet/de_gsd/train.parquet", "parquet/de_hdt/dev.parquet"),
        split="validation",
    ),
    Case(
        "ud-treebanks",
        "en_XX",
        "commul/universal_dependencies",
        "parquet/en_ewt/train.parquet",
        parquet(TREEBANK),
        [[16, 1, 5]],
        ("parquet/en_ewt/test.parquet",),
        split="train",
        evaluation=False,
    ),
    Case(
        "udpos",
        "ja_XX",
        "google/xtreme",
        "udpos.Japanese/test-00000-of-00001.parquet",
        parquet(WORDS, "pos_tags", TAGS),
        [[7, 15, 12]],
        ("udpos.English/test-00000-of-00001.parquet",),
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
        "sts17-cross-lingual",
        "es",
        "mteb/sts17-crosslingual-sts",
        "es-en/test.jsonl.gz",
        gzip.compress(jsonl(SIMILAR)),
        [4.5, 0.0],
        ("es-es/test.jsonl.gz",),
        row={"text": "a", "text_pair": "b"},
    ),
    Case(
        "sts17-cross-lingual",
        "de-en",
        "mteb/sts17-crosslingual-sts",
        "en-de/test.jsonl.gz",
        gzip.compress(jsonl(SIMILAR)),
        [4.5, 0.0],
        row={"text": "b", "text_pair": "a"},
    ),
    Case(
        "bucc2018",
        "zh",
        "google/xtreme",
        "bucc18.zh/test-00000-of-00001.parquet",
        parquet(MINED),
        ["sentence 0", "sentence 1"],
        ("bucc18.zh/validation-00000-of-00001.parquet", "bucc18.de/test-00000-of-00001.parquet"),
        row={"text": "Satz 0"},
    ),
    Case(
        "bucc2018",
        "de",
        "google/xtreme",
        "bucc18.de/validation/0000.parquet",
        parquet(MINED),
        ["sentence 0", "sentence 1"],
        split="validation",
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
    gold = next(name for name in ("tags", "label", "text_pair") if name in table.column_names)
    assert table[gold][:] == case.gold
    assert {name: table[0][name] for name in case.row} == case.row
    assert hub.fetched() == {case.file}
