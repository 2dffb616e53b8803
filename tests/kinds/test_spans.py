import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import task

from xmodctl.kinds import KINDS
from xmodctl.kinds.spans import agreement, spans, types_of

REFERENCE = json.loads((Path(__file__).parent / "entities_reference.json").read_text(encoding="utf-8"))
LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-geo-political", "I-geo-political")
NER = task("token-classification", labels=LABELS)
TAGGED = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), max_size=9)
CORPUS = st.lists(TAGGED, min_size=1, max_size=8)


def metrics(gold: list[list[str]], predicted: list[list[str]]) -> dict[str, float]:
    kind = KINDS["token-classification"]
    totals = kind.statistics(gold, predicted, NER, "en").sum(axis=0)
    return {name: float(value) for name, value in kind.metrics(totals, NER).items()}


def test_an_entity_continues_while_inside_tags_of_its_type_follow():
    tags = ["B-PER", "I-PER", "B-PER", "O", "B-LOC", "I-PER", "I-PER"]
    assert spans(tags, strict=False) == [("PER", 0, 2), ("PER", 2, 3), ("LOC", 4, 5), ("PER", 5, 7)]
    assert spans(tags, strict=True) == [("PER", 0, 2), ("PER", 2, 3), ("LOC", 4, 5)]


def test_an_entity_without_a_beginning_counts_for_conlleval_and_not_strictly():
    tags = ["O", "I-LOC", "I-LOC", "O"]
    assert spans(tags, strict=False) == [("LOC", 1, 3)]
    assert spans(tags, strict=True) == []


def test_entities_end_with_their_sentence():
    assert spans(["B-PER", "I-PER"], strict=True) == [("PER", 0, 2)]
    assert spans([], strict=False) == []


def test_a_type_may_hold_hyphens():
    assert types_of(LABELS) == ("PER", "LOC", "geo-political")
    assert spans(["B-geo-political", "I-geo-political"], strict=True) == [("geo-political", 0, 2)]


def test_an_entity_that_is_right_but_for_its_type_is_wrong_twice():
    counts = agreement(["B-PER", "I-PER"], ["B-LOC", "I-LOC"], ("PER", "LOC"), strict=True)
    assert counts.tolist() == [[0, 0, 1], [0, 1, 0]]


def test_scores_are_those_of_conlleval():
    gold, predicted = ([sentence[side].split() for sentence in REFERENCE["sentences"]] for side in (0, 1))
    values = metrics(gold, predicted)
    summary, _, *types = REFERENCE["conlleval"]
    in_gold, result, correct = map(
        int, re.findall(r"(\d+) entities; found: (\d+) entities; correct: (\d+)", summary)[0]
    )
    assert values["precision"] == pytest.approx(100 * correct / result, abs=1e-9)
    assert values["recall"] == pytest.approx(100 * correct / in_gold, abs=1e-9)
    assert values["entity_f1"] == pytest.approx(200 * correct / (result + in_gold), abs=1e-9)
    for line in types:
        name = line.split(":")[0].strip()
        printed = [float(number) for number in re.findall(r"(?:precision|recall|FB1): +([\d.]+)", line)]
        ours = [values[f"{metric}.{name}"] for metric in ("precision", "recall", "entity_f1")]
        assert [round(value, 2) for value in ours] == pytest.approx(printed, abs=0.0051)
    assert len(types) == 3


@pytest.mark.slow
@given(CORPUS)
@settings(max_examples=300)
def test_scores_are_those_of_seqeval_in_both_modes(corpus):
    seqeval = pytest.importorskip("seqeval.metrics")
    scheme = pytest.importorskip("seqeval.scheme").IOB2
    gold, predicted = ([[pair[side] for pair in sentence] for sentence in corpus] for side in (0, 1))
    values = metrics(gold, predicted)
    for prefix, mode in (("", {}), ("strict_", {"mode": "strict", "scheme": scheme})):
        if not any(spans(tags, strict=bool(mode)) for tags in gold + predicted):
            # seqeval's strict mode cannot score a corpus without a single entity.
            assert values[f"{prefix}entity_f1"] == 0
            continue
        report = seqeval.classification_report(gold, predicted, output_dict=True, zero_division=0, **mode)
        rows = {"": report["micro avg"]} | {f".{name}": report[name] for name in types_of(LABELS) if name in report}
        for suffix, row in rows.items():
            for ours, expected in (("precision", "precision"), ("recall", "recall"), ("entity_f1", "f1-score")):
                assert values[f"{prefix}{ours}{suffix}"] == pytest.approx(100 * row[expected], abs=1e-9)
