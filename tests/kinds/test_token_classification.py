import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import AWKWARD, SENTENCES, sentences, task

from xmodctl.kinds import KINDS
from xmodctl.statistics.resampling import bootstrap

NER = task("token-classification")
KIND = KINDS["token-classification"]
IDS = {tag: number for number, tag in enumerate(NER.labels)}


def row(words: str, tags: str) -> tuple[list[str], list[int]]:
    return words.split(), [IDS[tag] for tag in tags.split()]


@pytest.mark.parametrize("language", SENTENCES)
def test_gold_tags_come_back_in_every_script(language, tokenizer, there_and_back):
    words, tags = SENTENCES[language]
    _, ((gold, predicted, scores),) = there_and_back(NER, sentences(row(words, tags)), tokenizer)
    assert predicted == gold == tags.split()
    assert len(scores) == len(gold)
    assert all(score > 0.9 for score in scores)


def test_a_word_is_labeled_on_its_first_piece_only(small):
    rows = sentences((["bridge", "北京"], [1, 2]))
    encoded = KIND.encode(rows, small, max_length=128, stride=0)
    pieces = small.convert_ids_to_tokens(encoded.input_ids[0])
    labels = dict(zip(pieces, encoded.ragged["labels"][0].tolist(), strict=True))
    assert pieces[1] == "▁bridge"
    assert labels["▁bridge"] == 1
    assert [label for label in encoded.ragged["labels"][0].tolist() if label >= 0] == [1, 2]
    assert labels["<s>"] == labels["</s>"] == -100


def test_the_mark_of_a_space_is_not_a_piece_of_a_word(small):
    rows = sentences((["bridge", "北京", "bridge", "北"], [1, 2, 0, 3]))
    encoded = KIND.encode(rows, small, max_length=128, stride=0)
    pieces = small.convert_ids_to_tokens(encoded.input_ids[0])
    labels = encoded.ragged["labels"][0]
    assert pieces.count("▁") == 2, pieces
    assert all(label == -100 for piece, label in zip(pieces, labels, strict=True) if piece == "▁")
    assert labels[labels >= 0].tolist() == [1, 2, 0, 3]
    assert encoded.offsets["word"][0][labels >= 0].tolist() == [0, 1, 2, 3]


def test_an_unknown_piece_is_a_piece_of_its_word(small):
    encoded = KIND.encode(sentences((["bridge", "\U0001f9ff\U0001fabc北"], [1, 2])), small, max_length=128, stride=0)
    assert small.unk_token_id in encoded.input_ids[0][encoded.ragged["labels"][0] == 2]


def test_a_word_that_is_all_blank_marks_keeps_its_tag(small):
    encoded = KIND.encode(sentences((["bridge", "▁", "bridge"], [1, 2, 0])), small, max_length=128, stride=0)
    assert encoded.ragged["labels"][0][encoded.offsets["word"][0] >= 0].tolist() == [1, 2, 0]


@pytest.mark.parametrize("max_length", [8, 9, 13, 24])
@pytest.mark.parametrize("stride", [0, 2, 4, 100])
def test_a_long_sentence_loses_no_word(max_length, stride, tokenizer, there_and_back):
    words, tags = (" ".join(part) for part in zip(*SENTENCES.values(), strict=True))
    rows = sentences(row(words, tags), row(*SENTENCES["en"]), row(words, tags))
    encoded, decoded = there_and_back(NER, rows, tokenizer, max_length=max_length, stride=stride)
    assert [predicted for _, predicted, _ in decoded] == [gold for gold, _, _ in decoded]
    assert encoded.counts["truncated"] == 0
    assert encoded.counts["split"] >= 2
    for number, item in enumerate(rows):
        held = np.concatenate([encoded.offsets["word"][unit] for unit in np.flatnonzero(encoded.rows == number)])
        assert sorted(held[held >= 0]) == list(range(len(item["tokens"])))


def test_a_word_belongs_to_the_window_with_the_most_context_around_it(small):
    words = ["a"] * 20  # each one piece or two
    rows = sentences((words, [0] * 20))
    each = len(small(["a"], is_split_into_words=True, add_special_tokens=False)["input_ids"])
    encoded = KIND.encode(rows, small, max_length=2 + 12 * each, stride=6 * each)
    first, second = encoded.offsets["word"][0], encoded.offsets["word"][1]
    assert set(range(9)) <= set(first.tolist())
    assert 6 not in second  # in both windows, but at the edge of the second
    assert 11 in second  # at the edge of the first


def test_words_without_a_piece_are_tagged_o_and_shift_nothing(tokenizer, there_and_back):
    words = ["\u200b", "", "Ada", "\ufe0f", "Lovelace", "\u2060", "London", "\ufeff"]
    tags = [0, 0, 1, 0, 2, 0, 3, 0]
    encoded, ((gold, predicted, scores),) = there_and_back(NER, sentences((words, tags)), tokenizer)
    assert predicted == gold
    pieces = encoded.offsets["word"][0]
    without = [word for word in range(len(words)) if word not in pieces]
    assert 1 in without
    assert all(predicted[word] == "O" and scores[word] == 0 for word in without)


def test_an_entity_tag_on_a_word_without_a_piece_cannot_be_predicted(small, there_and_back):
    _, ((gold, predicted, _),) = there_and_back(NER, sentences((["Ada", "\u200b", "Lovelace"], [1, 2, 2])), small)
    assert gold == ["B-PER", "I-PER", "I-PER"]
    assert predicted == ["B-PER", "O", "I-PER"]


@given(
    st.lists(st.tuples(st.sampled_from([*AWKWARD, "a", "北京", "है", "น้ำ", "\t", " "]), st.integers(0, 4)), max_size=30)
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_words_every_word_gets_a_tag_and_every_piece_the_tag_of_its_word(tokenizer, there_and_back, pairs):
    rows = sentences(([word for word, _ in pairs], [tag for _, tag in pairs]))
    encoded, ((gold, predicted, _),) = there_and_back(NER, rows, tokenizer, max_length=16, stride=4)
    assert len(predicted) == len(gold) == len(pairs)
    seen = set(encoded.offsets["word"].values[encoded.offsets["word"].values >= 0].tolist())
    for word, (tag, entry) in enumerate(zip(gold, predicted, strict=True)):
        assert entry == (tag if word in seen else "O")


def test_the_terms_of_the_loss_are_the_tagged_tokens(small):
    rows = sentences((["Ada", "Lovelace"], [1, 2]), (["\u200b"], [0]), (["London"], [3]))
    encoded = KIND.encode(rows, small, max_length=128, stride=0)
    assert KIND.weights(encoded).tolist() == [2, 0, 1]


def test_words_without_tags_are_tagged_too(small):
    rows = sentences(row(*SENTENCES["en"])).remove_columns("tags")
    encoded = KIND.encode(rows, small, max_length=128, stride=0)
    assert encoded.ragged == {}
    logits = [np.tile([0.0, 0.0, 0.0, 1.0, 0.0], (len(encoded.input_ids[0]), 1))]
    ((gold, predicted, scores),) = KIND.decode(logits, encoded, rows, NER)
    assert gold is None
    assert predicted == ["B-LOC"] * 11
    assert scores[0] == pytest.approx(np.e / (np.e + 4), abs=1e-6)


def test_the_baseline_predicts_that_each_sentence_is_one_entity():
    gold = [["B-LOC", "I-LOC"], ["B-LOC"], ["O", "B-PER"], ["B-PER"]]
    rows = sentences(*[(["w"] * len(tags), [0] * len(tags)) for tags in gold])
    # Of four sentences called a LOC two are, and there are four entities.
    assert KIND.baseline(gold, rows, NER, "en") == pytest.approx(50.0)


def test_counts_add_up_over_rows_so_that_rows_can_be_resampled():
    gold = [["B-PER", "O"], ["B-LOC"], ["O"]]
    predicted = [["B-PER", "B-PER"], ["O"], ["O"]]
    statistics = KIND.statistics(gold, predicted, NER, "en")
    for drawn in ([0], [0, 1], [2, 2, 1], [0, 0, 0, 1, 2]):
        together = KIND.statistics([gold[i] for i in drawn], [predicted[i] for i in drawn], NER, "en").sum(axis=0)
        assert together.tolist() == statistics[drawn].sum(axis=0).tolist()
    interval = bootstrap(statistics, lambda totals: KIND.metrics(totals, NER)["entity_f1"])
    assert interval.low <= 50.0 <= interval.high
    assert KIND.metrics(np.stack([statistics.sum(axis=0)] * 3), NER)["strict_recall.PER"].shape == (3,)
