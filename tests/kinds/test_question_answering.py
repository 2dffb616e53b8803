from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import CONTEXTS, logits_of_targets, questions, task

from xmodctl.kinds import KINDS, question_answering
from xmodctl.kinds.question_answering import Context, best_spans
from xmodctl.kinds.windows import Frame, windows

KIND = KINDS["question-answering"]
SQUAD = task("question-answering")
SQUAD2 = task("question-answering", metric_rules="squad2")


def rows_of(language: str):
    context, answers = CONTEXTS[language]
    return questions(*[(context, "which?", {answer: context.index(answer)}) for answer in answers])


@pytest.mark.parametrize("max_length", [384, 40, 26])
@pytest.mark.parametrize("language", CONTEXTS)
def test_gold_answers_come_back_to_the_character_in_every_script(language, max_length, tokenizer, there_and_back):
    encoded, decoded = there_and_back(
        SQUAD, rows_of(language), tokenizer, max_length=max_length, stride=max_length // 2
    )
    inside = encoded.counts["answers_within_tokens"]
    answers = [predicted for _, predicted, _ in decoded]
    expected = CONTEXTS[language][1]
    assert (
        sum(answer != text for answer, text in zip(answers, expected, strict=True))
        == inside + encoded.counts["unreachable_answers"]
    )
    if max_length > 26:
        assert encoded.counts["unreachable_answers"] == 0
    assert inside <= (1 if len(tokenizer) > 1000 else 0)


def test_unreachable_answers_are_reported_in_a_sentence(small):
    context = CONTEXTS["en"][0]
    read = Context.read([context], small)[context]
    begin, end = next(
        (a, b) for a, b in zip(read.starts, read.ends, strict=True) if b - a > 2 and context[a:b].isalpha()
    )
    inside, whole = (questions((context, "which?", {context[begin:stop]: int(begin)})) for stop in (end - 1, end))
    (message,) = KIND.unreachable_answers(KIND.encode(inside, small, max_length=384, stride=8), 1)
    assert message.startswith("1 of 1 rows have an answer that begins or ends inside a token")
    assert KIND.unreachable_answers(KIND.encode(whole, small, max_length=384, stride=8), 1) == ()


def test_a_context_is_covered_by_windows_that_overlap(small):
    context = " ".join(["the bridge"] * 60)
    rows = questions((context, "which?", {"the": 0}))
    encoded = KIND.encode(rows, small, max_length=40, stride=10)
    before = len(small("which?")["input_ids"]) + 1  # one more mark between question and context
    assert encoded.rows.tolist() == [0] * len(encoded)
    assert len(encoded) > 3
    starts = [places[places >= 0] for places in encoded.offsets["start"]]
    assert sorted({int(start) for places in starts for start in places}) == [
        position for position in range(len(context)) if position == 0 or context[position - 1] == " "
    ]
    room = 40 - before - 1
    assert encoded.input_ids.lengths[:-1].tolist() == [40] * (len(encoded) - 1)
    for earlier, later in zip(encoded.input_ids, list(encoded.input_ids)[1:], strict=False):
        assert earlier[before:-1][room - 10 :].tolist() == later[before:-1][:10].tolist()


def test_a_window_without_the_answer_points_at_the_first_token(small):
    context = "Волга " + " ".join(["the bridge"] * 40)
    encoded = KIND.encode(questions((context, "which?", {"Волга": 0})), small, max_length=40, stride=10)
    starts, ends = encoded.scalars["start_positions"], encoded.scalars["end_positions"]
    assert starts[0] > 0
    assert encoded.offsets["start"][0][starts[0]] == 0
    assert encoded.offsets["end"][0][ends[0]] == 5
    assert starts[1:].tolist() == ends[1:].tolist() == [0] * (len(encoded) - 1)


def test_an_answer_that_no_window_holds_is_counted(small, there_and_back):
    context = " ".join(["bridge"] * 40)
    encoded, _ = there_and_back(SQUAD, questions((context, "which?", {context: 0})), small, max_length=26, stride=4)
    assert encoded.counts["unreachable_answers"] == 1
    assert not encoded.scalars["start_positions"].any()


def test_a_long_question_is_truncated_and_counted_and_leaves_room_for_the_context(tokenizer, there_and_back):
    context = "The bridge spans the Thames."
    rows = questions((context, "why " * 300, {"the Thames": 17}), (context, "why?", {"the Thames": 17}))
    encoded, decoded = there_and_back(SQUAD, rows, tokenizer, max_length=384)
    assert encoded.counts["truncated"] == 1
    assert max(encoded.input_ids.lengths) < 64 + 4 + 20
    encoded, decoded = there_and_back(SQUAD, rows, tokenizer, max_length=20)
    assert encoded.counts["truncated"] == 1
    assert [predicted for _, predicted, _ in decoded] == ["the Thames", "the Thames"]


@pytest.mark.parametrize(
    ("context", "answer"),
    [
        ("un e\u0301te\u0301 chaud", "e\u0301te\u0301"),  # the mark is composed with its letter
        ("half a cup: ½ cup", "½"),  # one character becomes several
        ("said ﷺ here", "ﷺ"),
        ("a\u200b \ufeffbridge  built", "bridge"),  # invisible characters around it
        ("built in 2014, they say", "2014"),  # the comma is in the same piece
        ("（又称扬子江）。它", "（又称扬子江）"),
        ("Volt Inc. built it", "Volt Inc."),  # this period ends no clause
        ("  The bridge ", "The bridge"),
        ("می\u200cرود تهران", "می\u200cرود"),
        ("👩\u200d👧 and 👧", "👩\u200d👧"),
    ],
)
def test_offsets_hold_where_normalization_changes_the_text(context, answer, tokenizer, there_and_back):
    rows = questions((context, "which?", {answer: context.index(answer)}))
    _, ((_, predicted, _),) = there_and_back(SQUAD, rows, tokenizer)
    assert predicted == answer


@given(
    st.text(
        st.sampled_from(sorted(set("".join(c for c, _ in CONTEXTS.values())) | set(" \n\u200b\u0301½ﷺ"))), max_size=60
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_offsets_of_tokens_are_in_the_order_of_the_text(tokenizer, text):
    context = Context.read([text], tokenizer)[text]
    held = context.starts >= 0
    assert np.array_equal(held, context.ends >= 0)
    starts, ends = context.starts[held], context.ends[held]
    assert (starts < ends).all()
    assert (np.diff(starts) >= 0).all()
    assert (np.diff(ends) >= 0).all()
    assert not any(text[place].isspace() for place in [*starts, *(ends - 1)])
    covered = {place for start, end in zip(starts, ends, strict=True) for place in range(start, end)}
    lost = {text[place] for place in range(len(text)) if place not in covered}
    assert not any(character.isalnum() for character in lost)


def test_answers_are_ranked_over_all_windows_and_each_is_named_once(small):
    context = " ".join(["the bridge built"] * 20)
    rows = questions((context, "which?", {"the": 0}))
    encoded = KIND.encode(rows, small, max_length=30, stride=10)
    draw = np.random.default_rng(0)
    logits = [draw.normal(size=(len(ids), 2)) for ids in encoded.input_ids]
    (ranked,) = KIND.candidates(logits, encoded, rows, SQUAD)
    assert len(ranked) == question_answering.SHOWN
    assert len({(answer.start, answer.end) for answer in ranked}) == len(ranked)
    assert all(answer.text == context[answer.start : answer.end] for answer in ranked)
    probabilities = [answer.probability for answer in ranked]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-4)
    best = max(
        values[first, 0] + values[last, 1]
        for values, places in zip(logits, encoded.offsets["start"], strict=True)
        for first in np.flatnonzero(places >= 0)
        for last in np.flatnonzero(places >= 0)
        if first <= last
    )
    scores = [
        values[first, 0] + values[last, 1]
        for values, starts, ends in zip(logits, encoded.offsets["start"], encoded.offsets["end"], strict=True)
        for first in np.flatnonzero(starts == ranked[0].start)
        for last in np.flatnonzero(ends == ranked[0].end)
    ]
    assert max(scores) == pytest.approx(best)


@given(
    st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), max_size=30),
    st.integers(1, 25),
    st.integers(1, 12),
)
def test_the_best_spans_are_those_of_an_exhaustive_search(scores, count, longest):
    values = np.array(scores, dtype=np.float64).reshape(-1, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(question_answering, "ANSWER_TOKENS", longest)
        spans = best_spans(values, count)
    tried = sorted(
        (
            values[first, 0] + values[last, 1]
            for first in range(len(values))
            for last in range(first, min(first + longest, len(values)))
        ),
        reverse=True,
    )
    assert [score for _, _, score in spans] == tried[:count]
    assert all(score == values[first, 0] + values[last, 1] for first, last, score in spans)
    assert all(0 <= last - first < longest for first, last, _ in spans)


def squad2_rows(small):
    rows = questions(("The bridge spans the Thames.", "which?", {"the Thames": 17}), ("The bridge", "who?", {}))
    return rows, KIND.encode(rows, small, max_length=64, stride=8)


def test_a_question_without_an_answer_is_trained_to_point_at_the_first_token(small):
    _, encoded = squad2_rows(small)
    assert encoded.scalars["start_positions"].tolist()[1] == encoded.scalars["end_positions"].tolist()[1] == 0
    assert encoded.scalars["start_positions"][0] > 0
    assert encoded.counts["unreachable_answers"] == 0


def test_no_answer_is_predicted_if_it_scores_higher_than_every_answer(small, there_and_back):
    rows, _ = squad2_rows(small)
    _, decoded = there_and_back(SQUAD2, rows, small)
    assert decoded[0][:2] == (["the Thames"], "the Thames")
    assert decoded[1][:2] == ([], "")
    assert decoded[1][2][0] > 0.9


def test_an_answer_that_scores_as_high_as_no_answer_is_predicted(small):
    rows, encoded = squad2_rows(small)
    logits = logits_of_targets("question-answering", encoded, 2)
    logits[0][0] = 9.0
    assert KIND.decode(logits, encoded, rows, SQUAD2)[0][1] == "the Thames"
    logits[0][0] = 9.1
    assert KIND.decode(logits, encoded, rows, SQUAD2)[0][1] == ""


def test_no_answer_is_predicted_by_the_rules_of_squad_2_only(small):
    rows, encoded = squad2_rows(small)
    assert KIND.decode(logits_of_targets("question-answering", encoded, 2), encoded, rows, SQUAD)[1][1] != ""


def test_no_answer_has_its_lowest_score_over_all_windows(small):
    context = "Волга " + " ".join(["the bridge"] * 30)
    rows = questions((context, "which?", {"Волга": 0}))
    encoded = KIND.encode(rows, small, max_length=40, stride=10)
    # The windows without the answer say so with all their might; the one that has it does not.
    logits = [np.zeros((len(ids), 2)) for ids in encoded.input_ids]
    for values in logits[1:]:
        values[0] = 50
    logits[0][encoded.scalars["start_positions"][0], 0] = 5
    logits[0][encoded.scalars["end_positions"][0], 1] = 5
    assert KIND.decode(logits, encoded, rows, SQUAD2)[0][1] == "Волга"


def test_a_context_of_blanks_has_no_answer(small):
    rows = questions(("  ", "which?", []))
    encoded = KIND.encode(rows, small, max_length=32, stride=8)
    ((_, predicted, scores),) = KIND.decode([np.zeros((32, 2))], encoded, rows, SQUAD)
    assert (predicted, scores) == ("", (1.0,))


@pytest.mark.parametrize("start", [-1, 3, 10**6])
def test_a_gold_answer_that_is_misplaced_does_no_harm(start, small):
    rows = questions(("The bridge", "which?", [("Thames", start)]), ("The bridge", "which?", [("bridge", 4)]))
    encoded = KIND.encode(rows, small, max_length=32, stride=8)
    decoded = KIND.decode(logits_of_targets("question-answering", encoded, 2), encoded, rows, SQUAD)
    assert decoded[0][0] == ["Thames"]
    assert decoded[1][1] == "bridge"


def test_contexts_are_answered_without_gold_answers_too(small):
    rows = rows_of("en").remove_columns("answers")
    encoded = KIND.encode(rows, small, max_length=64, stride=8)
    assert encoded.scalars == {}
    decoded = KIND.decode([np.zeros((64, 2))] * len(encoded), encoded, rows, SQUAD)
    assert [gold for gold, _, _ in decoded] == [None] * len(rows)


def test_the_baseline_is_the_beginning_of_the_context_or_nothing():
    context = "Ada Lovelace wrote the first program."
    rows = questions((context, "who?", {"Ada Lovelace": 0}), (context, "what?", {"the first program": 19}))
    gold = [["Ada Lovelace"], ["the first program"]]
    assert 25 < KIND.baseline(gold, rows, SQUAD, "en") < 60
    assert KIND.baseline([["x"], [], []], questions(*[(context, "?", {})] * 3), SQUAD2, "en") == pytest.approx(200 / 3)


def test_the_frame_is_what_the_tokenizer_puts_around_texts(tokenizer):
    start, middle, after = Frame.of(tokenizer, texts=2).gaps
    first, other = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("bridge", "built"))
    assert [*start, *first, *middle, *other, *after] == tokenizer("bridge", "built")["input_ids"]
    before, behind = Frame.of(tokenizer, texts=1).gaps
    assert [*before, *first, *behind] == tokenizer("bridge")["input_ids"]


@given(st.integers(0, 200), st.integers(1, 40), st.integers(0, 60))
def test_windows_cover_everything_and_advance(tokens, room, overlap):
    pieces = list(windows(tokens, room, overlap=overlap))
    assert pieces[0][0] == 0
    assert pieces[-1][1] == tokens
    assert all(end - begin <= room for begin, end in pieces)
    for (begin, end), (next_begin, next_end) in pairwise(pieces):
        assert begin < next_begin <= end < next_end
        assert end - next_begin == min(overlap, room // 2)
