"""Gold answers survive encoding and decoding on whole benchmark files, except for those that are counted."""

import os
from pathlib import Path

import pytest
from samples import logits_of_targets, task

from xmodctl.catalog import catalog as library
from xmodctl.data import coverage, load_rows
from xmodctl.kinds import KINDS
from xmodctl.kinds.spans import spans

pytestmark = [pytest.mark.realdata, pytest.mark.slow]

NAMED = {
    "xnli": library.task("xnli"),
    "panx": task(
        "token-classification",
        columns={"tokens": "tokens", "tags": "ner_tags"},
        labels=("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"),
    ),
    "zulu": task(
        "token-classification",
        labels=("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-DATE", "I-DATE"),
    ),
    "xquad": task("question-answering"),
    "xcopa": task(
        "multiple-choice",
        columns={"context": "premise", "question": "question", "choices": ["choice1", "choice2"], "label": "label"},
    ),
}
FILES = {"xnli": 31, "panx": 45, "zulu": 2, "xquad": 17, "xcopa": 25}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a link to each benchmark."""
    if not (named := os.environ.get("XMODCTL_REALDATA")):
        pytest.skip("XMODCTL_REALDATA names no folder with benchmark files")
    linked = tmp_path_factory.mktemp("benchmarks")
    for name in NAMED.keys() - {"zulu"}:
        (linked / name).symlink_to(Path(named, name).resolve())
    (linked / "zulu").mkdir()
    (linked / "zulu" / "zu").symlink_to(Path(named, "masakhaner_zu").resolve())
    return linked


@pytest.mark.parametrize(
    ("name", "max_length"), [*((name, 384) for name in NAMED), ("panx", 64), ("zulu", 24), ("xquad", 128)]
)
def test_gold_comes_back_whole_from_every_file_but_for_the_rows_that_are_counted(name, max_length, folder, tokenizer):
    if len(tokenizer) < 1000:
        pytest.skip("the small vocabulary knows few of these words")
    ours = NAMED[name]
    kind = KINDS[ours.kind]
    files = [(language, split) for language, splits in coverage(ours, folder / name).items() for split in splits]
    assert len(files) == FILES[name]
    for language, split in files:
        # Of the 10,000 rows of some training files the first 2,000, for time.
        rows = load_rows(ours, language, split, folder=folder / name, limit=2000)
        encoded = kind.encode(rows.table, tokenizer, max_length=max_length, stride=max_length // 3)
        logits = logits_of_targets(ours.kind, encoded, len(kind.outputs(ours)))
        decoded = kind.decode(logits, encoded, rows.table, ours)
        if ours.kind == "question-answering":
            lost = sum(entry != gold[0].strip() for gold, entry, _ in decoded)
            assert lost == sum(encoded.counts[key] for key in kind.unreachable), (language, split, encoded.counts)
            assert encoded.counts["answers_within_tokens"] <= 0.02 * len(decoded), (language, split)
        elif ours.kind == "token-classification":
            # Gold tags stay as written; the targets are the same entities, each with a B- in front.
            assert all(
                list(spans(gold, strict=False)) == list(spans(entry, strict=False)) for gold, entry, _ in decoded
            )
        else:
            assert all(entry == gold for gold, entry, _ in decoded), (language, split)
        stray = any(entry != gold for gold, entry, _ in decoded) and ours.kind == "token-classification"
        assert stray == any("begin with I-" in note for note in rows.notes), (language, split)
        gold, predicted = [row[0] for row in decoded], [row[1] for row in decoded]
        values = kind.metrics(kind.statistics(gold, predicted, ours, language).sum(axis=0), ours)
        lost = sum(encoded.counts.get(key, 0) for key in kind.unreachable)
        for metric in ("entity_f1", "strict_entity_f1", "exact_match", "f1", "accuracy", "macro_f1"):
            if metric in values and not (stray and metric.startswith("strict")):
                assert float(values[metric]) >= 100 * (1 - lost / len(decoded)) - 1e-9, (language, split, metric)
