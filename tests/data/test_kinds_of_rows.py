import json
import os
import shlex
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.data import coverage, load_rows
from xmodctl.kinds.tagset import Tagset

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def task(kind: str, columns: dict[str, Any], labels: tuple[str, ...] = ()) -> Task:
    facts = {"name": "mine", "title": "Mine", "languages": ["de", "en", "zu"], "recipe": "any"}
    return Task.model_validate(facts | {"kind": kind, "columns": columns, "labels": labels})


NER = task("token-classification", {"tokens": "tokens", "tags": "ner_tags"}, TAGS)
QA = task("question-answering", {"context": "context", "question": "question", "answers": "answers", "id": "id"})
CHOICE = task(
    "multiple-choice",
    {"context": "premise", "question": "question", "choices": ["choice1", "choice2"], "label": "label"},
)


def jsonl(*rows: Any) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def put(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def refusal(about: Task, folder: Path, language: str = "en", split: str = "test", **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        load_rows(about, language, split, folder=folder, **options)
    return str(caught.value)


# --- entities ---------------------------------------------------------------------------------------------------------


def tags_of(folder: Path, about: Task = NER) -> list[list[str]]:
    return [[TAGS[tag] for tag in tags] for tags in load_rows(about, "en", "test", folder=folder).table["tags"]]


ENTITIES = ["O", "B-PER", "I-PER", "I-PER", "B-PER", "O", "B-LOC", "B-PER"]


@pytest.mark.parametrize(
    "written",
    [
        ENTITIES,
        ["O", "I-PER", "I-PER", "I-PER", "B-PER", "O", "I-LOC", "I-PER"],  # IOB1: B only to part neighbors
        ["O", "B-PER", "I-PER", "L-PER", "U-PER", "O", "U-LOC", "U-PER"],  # BILOU
        ["O", "B-PER", "I-PER", "E-PER", "S-PER", "O", "S-LOC", "S-PER"],  # IOBES
        ["O", "I-PER", "I-PER", "E-PER", "I-PER", "O", "I-LOC", "I-PER"],  # IOE: E only to part neighbors
        ["o", "B-per", "I-per", "I-PER", "B-PER", "O", "B-Loc", "B-PER"],  # types in any letter case
        [TAGS.index(tag) for tag in ENTITIES],
    ],
)
def test_tags_of_any_scheme_become_iob2(tmp_path, written):
    put(tmp_path, "en/test.jsonl", jsonl({"tokens": list("abcdefgh"), "ner_tags": written}))
    assert tags_of(tmp_path) == [ENTITIES]


@given(st.lists(st.tuples(st.sampled_from(["O", "PER", "LOC"]), st.integers(1, 4)), max_size=8))
def test_every_scheme_of_writing_the_same_entities_gives_the_same_tags(entities):
    """Each scheme is written from entities, independently of how tags are read."""
    iob2, iob1, bilou, iobes = [], [], [], []
    before = "O"
    for kind, length in entities:
        if kind == "O":
            for tags in (iob2, iob1, bilou, iobes):
                tags.extend(["O"] * length)
        else:
            inner = [f"I-{kind}"] * (length - 1)
            iob2 += [f"B-{kind}", *inner]
            iob1 += [f"{'B' if before == kind else 'I'}-{kind}", *inner]
            for tags, scheme, last in ((bilou, "U", "L"), (iobes, "S", "E")):
                tags.extend([f"{scheme}-{kind}"] if length == 1 else [f"B-{kind}", *inner[1:], f"{last}-{kind}"])
        before = kind
    expected = [TAGS.index(tag) for tag in iob2]
    for tags in (iob2, iob1, bilou, iobes):
        assert Tagset(TAGS).iob2(tags, "tags") == expected


def test_words_and_tags_in_columns_are_read(tmp_path):
    text = "-DOCSTART- -X- -X- O\n\nAnna NNP B-NP B-PER\nging VBD B-VP O\n\n\nnach IN B-PP O\nBonn NNP B-NP B-LOC\n"
    put(tmp_path, "en/test.conll", text)
    rows = load_rows(NER, "en", "test", folder=tmp_path).table
    assert rows["tokens"][:] == [["Anna", "ging"], ["nach", "Bonn"]]
    assert tags_of(tmp_path) == [["B-PER", "O"], ["O", "B-LOC"]]


@pytest.mark.parametrize("name", ["test.txt", "dev.tsv", "test.bio", "test.iob2"])
def test_column_files_have_many_endings(tmp_path, name):
    put(tmp_path, f"en/{name}", "New York\tB-LOC\n\nx\tO\n")
    split = "validation" if name.startswith("dev") else "test"
    assert load_rows(NER, "en", split, folder=tmp_path).table["tokens"][0] == ["New York"]


def test_the_task_may_number_the_columns(tmp_path):
    numbered = NER.model_copy(update={"columns": {"tokens": "2", "tags": "3"}})
    text = "# sent_id = 1\n1\tAnna\tB-PER\t-\n2-3\tzum\t_\t_\n2\tzu\tO\t-\n\n# text = B\n1\tBonn\tB-LOC\t-\n"
    put(tmp_path, "en/test.conllu", text)
    assert load_rows(numbered, "en", "test", folder=tmp_path).table["tokens"][:] == [["Anna", "zu"], ["Bonn"]]


def test_a_word_that_is_a_hash_is_not_a_comment(tmp_path):
    put(tmp_path, "en/test.txt", "# O\n1 O\n\nBonn B-LOC\n")
    assert load_rows(NER, "en", "test", folder=tmp_path).table["tokens"][0] == ["#", "1"]


def test_tags_stored_as_numbers_with_names_in_parquet_are_read_by_name(tmp_path):
    import datasets

    names = ["B-LOC", "I-LOC", "O", "B-PER", "I-PER"]  # not the task's order
    tags = datasets.List(datasets.ClassLabel(names=names))
    features = datasets.Features({"tokens": datasets.List(datasets.Value("string")), "ner_tags": tags})
    (tmp_path / "en").mkdir()
    rows = [{"tokens": ["a", "b"], "ner_tags": [3, 2]}]
    datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "en/test.parquet")
    assert tags_of(tmp_path) == [["B-PER", "O"]]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tokens": ["a", "b"], "ner_tags": ["O"]}, "2 words in `tokens`, but 1 tags in `ner_tags`"),
        ({"tokens": ["a"], "ner_tags": ["PER"]}, '`ner_tags` item 1 is "PER"; expected O or a tag such as B-PER'),
        ({"tokens": ["a"], "ner_tags": ["NOUN-X"]}, '`ner_tags` item 1 is "NOUN-X"; expected O or a tag such as B-PER'),
        (
            {"tokens": ["a"], "ner_tags": ["B-DATE"]},
            'is "B-DATE"; the types are PER, LOC\nTo learn the type, train with --set labels=',
        ),
        ({"tokens": ["a"], "ner_tags": [7]}, "`ner_tags` item 1 is 7; ids go from 0 to 4"),
        ({"tokens": ["a"], "ner_tags": [None]}, "`ner_tags` item 1 is null"),
        ({"tokens": ["a"], "ner_tags": 5}, "`ner_tags` is 5; expected a list of tags"),
        ({"tokens": 5, "ner_tags": ["O", "O"]}, "`tokens` is 5; expected a list of texts"),
        ({"tokens": ["a", 1], "ner_tags": ["O", "O"]}, "expected a list of texts"),
        ({"tokens": ["a", ""], "ner_tags": ["O", "O"]}, "`tokens` item 2 is empty"),
        ({"tokens": [], "ner_tags": []}, "`tokens` is an empty list"),
    ],
)
def test_a_sentence_that_cannot_be_used_is_reported(tmp_path, row, message):
    path = put(tmp_path, "en/test.jsonl", jsonl({"tokens": ["x", "y"], "ner_tags": ["O", "B-PER"]}, row))
    mistake = refusal(NER, tmp_path)
    assert mistake.startswith(f"{path}:2: ")
    assert message in mistake


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Anna B-PER\nging\n", ":2: the line has 1 columns, the lines before it 2"),
        ("Anna\n", ':1: the line has one column, "Anna"; expected a word and its tag'),
        ("Anna\nging\n", ": the line has one column; expected a word and its tag: 2 rows (line 1, line 2)"),
        ("a O\n\nb B-LOC\nc I-XYZ\n", ':3: `ner_tags` item 2 is "I-XYZ"'),
    ],
)
def test_a_broken_column_file_is_reported_with_its_line(tmp_path, text, message):
    path = put(tmp_path, "en/test.txt", text)
    assert f"{path}{message}" in refusal(NER, tmp_path)


def test_sentences_with_nothing_but_o_are_a_hidden_test_set(tmp_path):
    put(tmp_path, "en/test.txt", "a O\nb O\n\nc O\n")
    assert "hidden test set" in refusal(NER, tmp_path)
    put(tmp_path, "de/test.jsonl", jsonl({"tokens": ["a"], "ner_tags": [-1]}, {"tokens": ["b"], "ner_tags": [-1]}))
    assert "hidden test set" in refusal(NER, tmp_path, "de")


def test_labels_that_are_not_iob2_tags_are_refused(tmp_path):
    put(tmp_path, "en/test.txt", "a O\n")
    for wrong, right in (
        (("O", "B-PER"), "[O, B-PER, I-PER]"),
        (("PER", "LOC"), "[O, B-PER, I-PER, B-LOC, I-LOC]"),
        (("B-A-C", "LOC", "I-A-C"), "[O, B-A-C, I-A-C, B-LOC, I-LOC]"),
    ):
        message = refusal(task("token-classification", NER.columns, wrong), tmp_path)
        assert message.endswith(f"write --set labels='{right}'")


def test_the_remedy_for_unknown_types_is_what_a_shell_passes_on(tmp_path):
    tags = ["B-O'Brien", "I-O'Brien", "B-a b"]
    put(tmp_path, "en/test.jsonl", jsonl({"tokens": ["x", "y", "z"], "ner_tags": tags}))
    words = shlex.split(refusal(NER, tmp_path).partition("\nTo learn ")[2])
    settings = [word.rstrip(".").partition("=")[2] for word in words if word.startswith("labels")]
    learned, mapped = map(yaml.safe_load, settings)
    assert set(tags) < set(learned)
    assert mapped == {"O'Brien": "O", "a b": "O"}


def test_the_remedy_for_many_unknown_types_is_short(tmp_path):
    rows = [{"tokens": ["x"], "ner_tags": [f"B-T{number}"]} for number in range(150)]
    put(tmp_path, "en/test.jsonl", jsonl(*rows))
    message = refusal(NER, tmp_path)
    assert "The 150 types that are unknown begin with T0, T1, T2. To learn them, write O, and a tag" in message
    assert len(message) < 1500


def test_a_column_file_for_another_kind_is_refused(tmp_path):
    put(tmp_path, "en/test.txt", "a O\n")
    assert "read as words and tags in columns" in refusal(CHOICE, tmp_path)


# --- questions --------------------------------------------------------------------------------------------------------

CONTEXT = "กรุงเทพฯ is the capital; नमस्ते said Anna."


def question(number: int, *answers: str, **more: Any) -> dict[str, Any]:
    rows = [{"text": answer, "answer_start": CONTEXT.index(answer)} for answer in answers]
    return {"id": f"q{number}", "question": f"Question {number}?", "answers": rows, **more}


def squad(*questions: dict[str, Any]) -> str:
    return json.dumps({"version": "1.1", "data": [{"paragraphs": [{"context": CONTEXT, "qas": list(questions)}]}]})


def test_squads_form_and_rows_and_columns_of_answers_are_the_same(tmp_path):
    questions = [question(1, "กรุงเทพฯ", "capital"), question(2, "नमस्ते")]
    put(tmp_path, "a/en/test.json", squad(*questions))
    put(tmp_path, "b/en/test.jsonl", jsonl(*({"context": CONTEXT, **entry} for entry in questions)))
    columns = [
        {
            "context": CONTEXT,
            **entry,
            "answers": {key: [answer[key] for answer in entry["answers"]] for key in ("text", "answer_start")},
        }
        for entry in questions
    ]
    (tmp_path / "c/en").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(columns), tmp_path / "c/en/test.parquet")
    rows = [load_rows(QA, "en", "test", folder=tmp_path / name) for name in "abc"]
    assert len({entry.fingerprint for entry in rows}) == 1
    assert rows[0].table[0] == {
        "id": "q1",
        "context": CONTEXT,
        "question": "Question 1?",
        "answers": {"text": ["กรุงเทพฯ", "capital"], "answer_start": [0, 16]},
    }


def test_a_question_without_an_answer_is_kept(tmp_path):
    put(tmp_path, "en/test.json", squad(question(1, "capital"), question(2, is_impossible=True, plausible_answers=[])))
    assert load_rows(QA, "en", "test", folder=tmp_path).table["answers"][1] == {"text": [], "answer_start": []}


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([{"text": "Anna", "answer_start": 3}], 'the answer "Anna" is not at character 3 of `context`'),
        ([{"text": "Anna", "answer_start": 10_000}], 'which has "" there; it is at character'),
        ([{"text": "Bert", "answer_start": 0}], "it does not occur in the text"),
        ([{"text": "Anna", "answer_start": -1}], "is not at character -1"),
        ([{"text": "", "answer_start": 0}], 'the answer "" is not at'),
        ([{"text": "Anna", "answer_start": "3"}], "expected text and a whole number"),
        ([{"answer": "Anna"}], "expected a list of"),
        (5, "expected a list of"),
        ({"text": ["Anna"], "answer_start": []}, "expected a list of"),
    ],
)
def test_an_answer_that_is_not_at_its_offset_is_reported(tmp_path, answers, message):
    put(tmp_path, "en/test.json", squad(question(1, "Anna"), {**question(2), "answers": answers}))
    assert "test.json row 2: " in refusal(QA, tmp_path)
    assert message in refusal(QA, tmp_path)


def test_questions_without_any_answers_are_a_hidden_test_set(tmp_path):
    put(tmp_path, "en/test.json", squad(question(1), question(2)))
    assert "hidden test set" in refusal(QA, tmp_path)


def test_question_ids_must_differ(tmp_path):
    put(tmp_path, "en/test.json", squad(question(1, "Anna"), question(1, "capital")))
    assert '`id` "q1" is also the id of an earlier row' in refusal(QA, tmp_path)


def test_questions_without_ids_are_numbered(tmp_path):
    questions = [
        {key: value for key, value in question(i, word).items() if key != "id"} for i, word in ((1, "Anna"), (2, "is"))
    ]
    put(tmp_path, "en/test.json", squad(*questions))
    assert load_rows(QA, "en", "test", folder=tmp_path).table["id"][:] == ["0", "1"]


def test_a_document_that_only_looks_like_squad_is_reported(tmp_path):
    put(tmp_path, "en/test.json", json.dumps({"data": [{"paragraphs": [{"context": "x"}]}]}))
    assert "not in SQuAD format (KeyError: 'qas')" in refusal(QA, tmp_path)


# --- choices ----------------------------------------------------------------------------------------------------------

COPA = {"premise": "It rained.", "question": "effect", "choice1": "It got wet.", "choice2": "It got dry.", "label": 0}


def test_choices_in_columns_of_their_own_become_a_list(tmp_path):
    put(tmp_path, "en/test.jsonl", jsonl(COPA, {**COPA, "label": 1}))
    assert load_rows(CHOICE, "en", "test", folder=tmp_path).table[1] == {
        "id": "1",
        "context": "It rained.",
        "question": "effect",
        "choices": ["It got wet.", "It got dry."],
        "label": 1,
    }


def test_the_number_of_choices_may_vary_from_row_to_row(tmp_path):
    listed = task("multiple-choice", {"choices": "endings", "label": "label"})
    put(tmp_path, "en/test.jsonl", jsonl({"endings": list("ab"), "label": "1"}, {"endings": list("abcd"), "label": 3}))
    rows = load_rows(listed, "en", "test", folder=tmp_path).table
    assert [len(choices) for choices in rows["choices"]] == [2, 4]
    assert rows["label"][:] == [1, 3]


def test_choices_beside_their_letters_are_read(tmp_path):
    listed = task("multiple-choice", {"question": "question", "choices": "choices", "label": "answerKey"})
    rows = [
        {"question": "?", "choices": {"text": ["x", "y", "z"], "label": ["A", "B", "C"]}, "answerKey": "C"},
        {"question": "?", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "1"},
    ]
    put(tmp_path, "en/test.jsonl", jsonl(*rows))
    assert load_rows(listed, "en", "test", folder=tmp_path).table["label"][:] == [2, 0]


def test_labels_that_count_from_one_are_named_by_the_task(tmp_path):
    named = CHOICE.model_copy(update={"labels": ("1", "2")})
    put(tmp_path, "en/test.jsonl", jsonl({**COPA, "label": "2"}, {**COPA, "label": 1}))
    assert load_rows(named, "en", "test", folder=tmp_path).table["label"][:] == [1, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": 2}, "`label` is 2, but the row has 2 choices"),
        ({"label": "first"}, '`label` is "first"; expected the right choice: its number, from 0'),
        ({"choice2": ""}, "`choice2` is empty"),
        ({"choice2": None}, "`choice2` is empty (null)"),
    ],
)
def test_a_row_without_a_right_choice_is_reported(tmp_path, change, message):
    path = put(tmp_path, "en/test.jsonl", jsonl(COPA, {**COPA, **change}, {**COPA, "label": 1}))
    assert refusal(CHOICE, tmp_path).startswith(f"{path}:2: {message}")


def test_a_single_choice_is_refused(tmp_path):
    listed = task("multiple-choice", {"choices": "endings", "label": "label"})
    put(tmp_path, "en/test.jsonl", jsonl({"endings": list("ab"), "label": 0}, {"endings": ["a"], "label": 0}))
    assert "the row has 1 choices; it needs two or more" in refusal(listed, tmp_path)


def test_a_missing_choice_column_is_reported_with_a_fix(tmp_path):
    put(tmp_path, "en/test.jsonl", jsonl({key: value for key, value in COPA.items() if key != "choice2"}))
    message = refusal(CHOICE, tmp_path)
    assert "no column `choice2` for the choices" in message
    assert "--set columns.choices='[A, B]'" in message


# --- one file for all languages, and saved data sets ------------------------------------------------------------------


def test_one_file_may_hold_all_languages(tmp_path):
    rows = [{**COPA, "lang": lang, "label": i % 2} for i, lang in enumerate(["de", "de", "deu", "en", "en", "xx"])]
    put(tmp_path, "test.jsonl", jsonl(*rows))
    german = load_rows(CHOICE, "de_DE", "test", folder=tmp_path)
    assert german.table["id"][:] == ["0", "1", "2"]
    assert coverage(CHOICE, tmp_path) == dict.fromkeys(("de", "en", "xx"), ("test",))


def test_a_language_that_the_file_lacks_is_reported_with_those_it_has(tmp_path):
    path = put(tmp_path, "validation.csv", "premise,question,choice1,choice2,label,code\na,b,c,d,0,de\na,b,c,d,1,fr\n")
    coded = CHOICE.with_values({"language_column": "code"}, origin="test")
    message = refusal(coded, tmp_path, "sw_KE", "validation")
    assert message == (f"no sw_KE rows in {path} (its language column has de, fr); try --langs de,fr or --lang-column")
    assert len(load_rows(coded, "French", "validation", folder=tmp_path)) == 1
    message = refusal(CHOICE, tmp_path, "de", "validation")
    assert "no column gives the row's language" in message
    assert "--lang-column" in message


def test_a_row_without_a_language_is_reported(tmp_path):
    path = put(tmp_path, "test.jsonl", jsonl({**COPA, "lang": "de"}, {**COPA, "label": 1, "lang": None}))
    assert refusal(CHOICE, tmp_path, "de").startswith(f"{path}:2: `lang` is null; expected the row's language")


def test_saved_data_sets_are_read(tmp_path):
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "gold": datasets.ClassLabel(names=["no", "yes"])})
    saved = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "gold": [1, 0, 1]}, features=features)
    about = task("sequence-classification", {"text": "text", "label": "gold"}, ("yes", "no"))
    saved.save_to_disk(tmp_path / "one/en/test")
    datasets.DatasetDict({"train": saved, "test": saved}).save_to_disk(tmp_path / "two/en")
    for name in ("one", "two"):
        assert load_rows(about, "en", "test", folder=tmp_path / name).table["label"][:] == [0, 1, 0]
    assert coverage(about, tmp_path / "two") == {"en": ("train", "test")}
    (tmp_path / "one/en/test/state.json").write_text("{}")
    assert "is damaged or is not a saved data set" in refusal(about, tmp_path / "one")


# --- real files -------------------------------------------------------------------------------------------------------


@pytest.fixture
def benchmarks() -> Path:
    folder = os.environ.get("XMODCTL_REALDATA")
    if not folder:
        pytest.skip("XMODCTL_REALDATA names no folder with benchmark files")
    return Path(folder)


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["panx", "xquad", "xcopa"])
def test_every_real_file_is_read_whole(benchmarks, name):
    about = {
        "panx": task("token-classification", NER.columns, (*TAGS, "B-ORG", "I-ORG")),
        "xquad": QA,
        "xcopa": CHOICE,
    }[name]
    for language, splits in coverage(about, benchmarks / name).items():
        for split in splits:
            rows = load_rows(about, language, split, folder=benchmarks / name)
            (path,) = (benchmarks / name / language).glob(f"{split}.*")
            text = path.read_text(encoding="utf-8")
            assert len(rows) == (text.count('"question"') if name == "xquad" else len(text.splitlines()))


@pytest.mark.realdata
def test_the_real_zulu_columns_hold_every_word(benchmarks):
    folder = benchmarks / "masakhaner_zu"  # its files lie in it directly
    about = task("token-classification", NER.columns, (*TAGS, "B-ORG", "I-ORG", "B-DATE", "I-DATE"))
    for split, name in (("validation", "dev"), ("test", "test")):
        words = (benchmarks / f"masakhaner_zu/{name}.txt").read_text(encoding="utf-8").split("\n")
        result = load_rows(about, "zul", split, folder=folder, single_language=True)
        assumed, *stray = result.notes
        assert assumed == f"{folder / name}.txt does not give its language; all of it is assumed to be zul"
        assert all("begin with I- instead of B-" in note for note in stray)
        rows = result.table
        assert sum(map(len, rows["tokens"])) == sum(bool(word.strip()) for word in words)
