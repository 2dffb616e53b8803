"""Files of tagged words as their publishers write them: nothing vanishes, and nothing is read as something else."""

import json
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from xmodctl.catalog import catalog
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.data import Rows, load_rows
from xmodctl.evaluation.input_rows import RowMaker, input_rows
from xmodctl.kinds import KINDS
from xmodctl.kinds.sentences import gold_tags
from xmodctl.reports.inspecting import inspect

LABELS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
COLUMN_FILES = (".txt", ".conll", ".conllu", ".iob2", ".bio", ".tsv")


def entities(**changes: object) -> Task:
    facts = {
        "name": "mine",
        "title": "Mine",
        "kind": "token-classification",
        "languages": ["en", "zh"],
        "recipe": "any",
    }
    columns = {"tokens": "tokens", "tags": "ner_tags"}
    return Task.model_validate(facts | {"columns": columns, "labels": LABELS} | changes)


NER = entities()


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def rows_of(folder: Path, text: str, name: str = "test.txt", task: Task = NER) -> Rows:
    put(folder, f"en/{name}", text)
    return load_rows(task, "en", "test", folder=folder)


def words_of(rows: Rows) -> list[list[str]]:
    return list(rows.table["tokens"])


def refusal(folder: Path, text: str, name: str = "test.txt", task: Task = NER) -> str:
    with pytest.raises(UserError) as caught:
        rows_of(folder, text, name, task)
    return str(caught.value)


def columns(sentences: list[list[tuple[str, str]]], separator: str, between: tuple[str, ...] = ()) -> str:
    lines = [[separator.join((word, *between, tag)) for word, tag in sentence] for sentence in sentences]
    return "\n\n".join("\n".join(sentence) for sentence in lines) + "\n"


# --- words that look like ids -----------------------------------------------------------------------------------------

SCORES = ["Team", "won", "6-4", "in", "1996-97", "2.5", "934-3623", "٣-١", "२.५", "1-2", "season", "10\u00a0000"]
SENTENCE = [(word, "B-LOC" if word in ("6-4", "1996-97") else "O") for word in SCORES]


@pytest.mark.parametrize("separator", [" ", "\t"])
@pytest.mark.parametrize("between", [(), ("NN", "B-NP")])
@pytest.mark.parametrize("name", COLUMN_FILES)
def test_words_made_of_numbers_are_words_in_every_format_and_width(tmp_path, name, between, separator):
    rows = rows_of(tmp_path, columns([SENTENCE, SENTENCE[2:6]], separator, between), f"test{name}")
    assert words_of(rows) == [SCORES, SCORES[2:6]]
    assert [LABELS[tag] for tag in rows.table["tags"][0]] == [tag for _, tag in SENTENCE]


def test_numbers_in_the_column_of_words_stay_where_another_column_has_ids(tmp_path):
    numbered = entities(columns={"tokens": "2", "tags": "3"})
    text = "1\tTeam\tO\n2-3\tzum\t_\n2\t6-4\tB-LOC\n3\tdem\tO\n3.1\t_\t_\n\n1-2\tam\t_\n1\tan\tO\n2\t2.5\tO\n"
    assert words_of(rows_of(tmp_path, text, task=numbered)) == [["Team", "6-4", "dem"], ["an", "2.5"]]


def test_where_the_first_column_has_no_ids_its_lines_are_words(tmp_path):
    scored = entities(columns={"tokens": "2", "tags": "3"})
    assert words_of(rows_of(tmp_path, "0.5\tTeam\tO\n0.25\twon\tB-LOC\n", task=scored)) == [["Team", "won"]]


# --- comments and document boundaries ---------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [" ", "\t"])
@pytest.mark.parametrize(
    "comment", ["# text = Send an E-mail", "# newdoc", "# id = B-12", "#\thttp://a.b/c\t[2009]\tx\ty"]
)
@pytest.mark.parametrize("between", [(), ("-", "-", "-")])
def test_a_comment_before_a_sentence_is_no_word_even_if_it_ends_like_a_tag(tmp_path, comment, separator, between):
    sentence = columns([[("Anna", "B-PER"), ("#", "O"), ("1", "O")]], separator, between)
    text = f"{comment}\n{comment}\n{sentence}\n{comment}\n{sentence}"
    assert words_of(rows_of(tmp_path, text)) == [["Anna", "#", "1"]] * 2


@pytest.mark.parametrize("separator", [" ", "\t"])
@pytest.mark.parametrize("between", [(), ("NN",)])
def test_a_hash_that_begins_a_sentence_is_a_word(tmp_path, separator, between):
    sentence = [("#", "O"), ("1", "O"), ("#Bonn", "B-LOC")]
    assert words_of(rows_of(tmp_path, columns([sentence, sentence[2:]], separator, between))) == [
        ["#", "1", "#Bonn"],
        ["#Bonn"],
    ]


@pytest.mark.parametrize(
    "boundary", ["-DOCSTART- -X- -X- O", "-DOCSTART-\tO", "-DOCSTART-", "1 -DOCSTART- O", "-DOCSTART- "]
)
def test_the_boundary_of_a_document_is_no_word(tmp_path, boundary):
    text = f"{boundary}\n\nAnna B-PER\n{boundary}\nBonn B-LOC\n"
    assert words_of(rows_of(tmp_path, text)) == [["Anna"], ["Bonn"]]


@pytest.mark.parametrize(
    ("comment", "between"),
    [
        ("#sentence S-1", ()),
        ("# B-12", ()),
        ("# E-mail", ()),
        ("# id E-12", ("NN",)),
        ("# text = E-mail", ("-", "-")),
        ("# sent_id\tdomain=en", ()),
        ("# id 12\tE-mail", ()),
    ],
)
@pytest.mark.parametrize("separator", [" ", "\t"])
def test_what_only_a_comment_has_in_place_of_a_tag_is_no_tag(tmp_path, comment, between, separator):
    sentence = columns([[("Anna", "B-PER"), ("#", "O"), ("1", "O")], [("#", "O"), ("#1", "B-LOC")]], separator, between)
    text = f"{comment}\n{sentence}\n{comment}\n{sentence}"
    assert words_of(rows_of(tmp_path, text)) == [["Anna", "#", "1"], ["#", "#1"]] * 2


@pytest.mark.parametrize("comment", ["# S1", "#DOC A2", "# id 12\tdomain=en", "# x\tw3", "#doc\t1"])
@pytest.mark.parametrize("separator", [" ", "\t"])
@pytest.mark.parametrize("case", [str.upper, str.lower])
def test_comments_before_plain_tags_are_no_words_and_hashes_with_a_tag_are(tmp_path, comment, separator, case):
    labels = tuple(map(case, ("NOUN", "NUM", "SYM")))
    task = entities(kind="word-tagging", labels=labels)
    sentence = [[("#", labels[2]), ("1", labels[1]), ("dog", labels[0]), ("#", labels[2])]]
    text = f"{comment}\n{columns(sentence, separator)}\n"
    assert words_of(rows_of(tmp_path, text * 2, task=task)) == [["#", "1", "dog", "#"]] * 2


def test_a_hash_may_be_the_only_word_of_its_tag(tmp_path):
    task = entities(kind="word-tagging", labels=("NOUN", "NUM", "SYM"))
    assert words_of(rows_of(tmp_path, "# SYM\n1 NUM\ndog NOUN\n", task=task)) == [["#", "1", "dog"]]
    assert words_of(rows_of(tmp_path, "#1 B-ORG\nis O\nOslo B-LOC\n")) == [["#1", "is", "Oslo"]]


# --- which columns ----------------------------------------------------------------------------------------------------

PUBLISHED = (
    "# sent_id = 1\n# text = Anna saw an E-mail\n1\tAnna\tB-PER\t-\t-\n2\tsaw\tO\t-\t-\n3\t6-4\tO\t-\t-\n\n"
    "# text = Bonn\n1\tBonn\tB-LOC\t-\t-\n"
)


def test_the_shipped_task_reads_the_five_columns_of_its_publisher(tmp_path):
    uner = catalog.task("uner")
    for name in ("test.iob2", "test.conllu"):
        rows = rows_of(tmp_path / name, PUBLISHED, name, uner)
        assert words_of(rows) == [["Anna", "saw", "6-4"], ["Bonn"]]
        assert [[LABELS[tag] for tag in tags] for tags in rows.table["tags"]] == [["B-PER", "O", "O"], ["B-LOC"]]


def test_the_shipped_task_reads_them_as_a_single_file_and_for_predict(tmp_path, tiny_model):
    file = tmp_path / "en_ewt-ud-test.iob2"
    file.write_text(PUBLISHED)
    (row, _) = inspect("uner", "en_ewt", data=file, model=str(tiny_model)).rows
    assert row.row["tokens"] == ["Anna", "saw", "6-4"]
    (row, _) = input_rows(file, None, RowMaker(catalog.task("uner"), "en_XX"))
    assert row.row["tokens"] == ["Anna", "saw", "6-4"]


def test_the_shipped_task_still_reads_two_columns(tmp_path):
    assert words_of(rows_of(tmp_path, "Anna B-PER\n1 O\n", task=catalog.task("uner"))) == [["Anna", "1"]]


def remedied(message: str, task: Task = NER) -> Task:
    """Return the task with the settings that a message advises."""
    parts = shlex.split(message[message.index("--set") :].replace(";", " "))
    settings = [value for option, value in pairwise(parts) if option == "--set"]
    changes = dict(setting.split("=", 1) for setting in settings)
    return task.with_values({key: yaml.safe_load(value) for key, value in changes.items()}, origin="--set")


def test_elsewhere_the_message_names_the_column_that_looks_like_tags(tmp_path):
    message = refusal(tmp_path, PUBLISHED)
    assert "column 3 looks like tags (columns are counted from 1)" in message
    assert message.count("\n") == 0
    assert words_of(rows_of(tmp_path, PUBLISHED, task=remedied(message))) == [["Anna", "saw", "6-4"], ["Bonn"]]


def test_a_column_of_word_numbers_is_never_read_as_words(tmp_path):
    message = refusal(tmp_path, "1 Anna B-PER\n2 saw O\n\n1 Bonn B-LOC\n")
    assert message.endswith("name the columns with --set columns.tokens=2 --set columns.tags=3")


IDS = {
    "from 0": [["0", "1", "2"], ["0", "1"]],
    "from 1 on": [["1", "2", "3"], ["4", "5"]],
    "of sentences": [["1", "1", "1"], ["2", "2"]],
    "any": [["17", "4", "4"], ["2", "90"]],
    "with a letter": [["T1", "T2", "T3"], ["T1", "T2"]],
    "of sentence and word": [["1-1", "1-2", "1-3"], ["2-1", "2-2"]],
    "of a document": [["a/b", "a/b", "a/b"], ["a/c", "a/c"]],
}


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS)
@pytest.mark.parametrize("separator", [" ", "\t"])
def test_ids_in_the_first_column_are_never_read_as_words(tmp_path, ids, separator):
    words = [["Oslo", "6-4", "is"], ["the", "Bonn"]]
    tags = [["B-LOC", "O", "O"], ["O", "B-LOC"]]
    sentences = [zip(*each, strict=True) for each in zip(ids, words, tags, strict=True)]
    text = "\n\n".join("\n".join(map(separator.join, lines)) for lines in sentences) + "\n"
    message = refusal(tmp_path, text)
    assert message.endswith("name the columns with --set columns.tokens=2 --set columns.tags=3")
    assert words_of(rows_of(tmp_path, text, task=remedied(message))) == words
    plain = entities(kind="word-tagging", labels=("O", "B-LOC"))
    message = refusal(tmp_path, text, task=plain)
    assert words_of(rows_of(tmp_path, text, task=remedied(message, plain))) == words


def test_the_column_of_words_comes_after_all_columns_of_ids(tmp_path):
    text = "bc/1 0 0 In B-LOC\nbc/1 0 1 the O\n\nbc/1 0 0 He O\nbc/1 0 1 is O\n"
    message = refusal(tmp_path, text)
    assert words_of(rows_of(tmp_path, text, task=remedied(message))) == [["In", "the"], ["He", "is"]]


def test_words_that_are_repeated_or_numbers_are_words(tmp_path):
    assert words_of(rows_of(tmp_path, "ha N O\nha N O\n\nOslo N B-LOC\n")) == [["ha", "ha"], ["Oslo"]]
    assert words_of(rows_of(tmp_path, "1 O\n2 O\n\n3 B-LOC\n")) == [["1", "2"], ["3"]]
    assert words_of(rows_of(tmp_path, "A1 N B-LOC\nA2 N O\nis V O\n")) == [["A1", "A2", "is"]]


@pytest.mark.parametrize("name", ["test.tsv", "test.conll"])
@pytest.mark.parametrize(
    ("header", "kind", "tags"),
    [
        ("Sentence\tWord\tPOS\tTag", "token-classification", ["B-LOC", "O"]),
        ("Sentence #\tToken\tUPOS\tNER", "token-classification", ["B-LOC", "O"]),
        ("Sentence\tWord\tPOS\tTag", "word-tagging", ["NNP", "VBZ"]),
    ],
)
def test_a_header_is_no_word_and_names_the_columns(tmp_path, header, kind, tags, name):
    task = NER if kind == "token-classification" else entities(kind=kind, labels=("NNP", "VBZ"))
    text = f"{header}\n1\tOslo\tNNP\tB-LOC\n1\tis\tVBZ\tO\n"
    rows = rows_of(tmp_path, text, name, task)
    assert words_of(rows) == [["Oslo", "is"]]
    assert [task.labels[tag] for tag in rows.table["tags"][0]] == tags
    assert [note.endswith(", and is not read as a word") for note in rows.notes] == [True]


def test_a_word_that_is_called_like_a_column_is_a_word(tmp_path):
    task = entities(kind="word-tagging", labels=("NOUN", "POS"))
    assert words_of(rows_of(tmp_path, "Word POS\n's POS\n", task=task)) == [["Word", "'s"]]
    assert words_of(rows_of(tmp_path, "Word O\ntag B-ORG\n")) == [["Word", "tag"]]


def test_a_file_without_empty_lines_is_reported(tmp_path):
    (note,) = rows_of(tmp_path, "Oslo B-LOC\nis O\n" * 501).notes
    assert note.endswith("is one sentence of 1,002 words; an empty line ends a sentence")


def test_tags_before_the_last_column_are_found_without_ids(tmp_path):
    text = "Anna\tB-PER\t-\t-\nsaw\tO\t-\t-\n"
    message = refusal(tmp_path, text)
    assert 'column 4, which is read as tags, contains "-", and column 2 looks like tags' in message
    assert words_of(rows_of(tmp_path, text, task=remedied(message))) == [["Anna", "saw"]]


@pytest.mark.parametrize("separator", [" ", "\t"])
def test_tags_before_the_words_are_found(tmp_path, separator):
    text = f"B-PER{separator}Anna\nO{separator}saw\n"
    message = refusal(tmp_path, text)
    assert 'column 2, which is read as tags, contains "Anna", and column 1 looks like tags' in message
    assert message.endswith("name it with --set columns.tags=1 --set columns.tokens=2")
    assert words_of(rows_of(tmp_path, text, task=remedied(message))) == [["Anna", "saw"]]


def test_words_that_look_like_tags_are_words_beside_tags(tmp_path):
    assert words_of(rows_of(tmp_path, "O B-PER\nO O\n")) == [["O", "O"]]


# --- entity types -----------------------------------------------------------------------------------------------------


def products(count: int) -> str:
    return "Anna B-PER\nsaw O\n\n" + "the O\nPhone B-PROD\nX I-PROD\n\n" * count


def test_one_cause_in_many_rows_is_one_finding_with_a_count_and_the_first_places(tmp_path):
    message = refusal(tmp_path, products(106))
    path = tmp_path / "en/test.txt"
    assert message.startswith(f"{path}: type PROD: 106 rows (line 4, line 8, line 12, ...)\n")
    assert message.count("\n") == 1


def test_findings_with_different_causes_are_counted_apart(tmp_path):
    text = products(3) + "a B-EVENT\nb B-PROD\n\nc B-EVENT\nd PER\n\n" + "e\n\n" * 2
    message = refusal(tmp_path, text)
    assert "type PROD: 4 rows (line 4, line 8, line 12, ...)" in message
    assert "the line has 1 columns, the lines before it 2: 2 rows (line 22, line 24)" in message
    assert '"PER"; expected O or a tag' in message


@pytest.mark.parametrize("kind", ["PROD", "Produkt-Name", "a b", "x:y", "产品"])
def test_the_first_remedy_for_an_unknown_type_is_to_learn_it_and_it_works(tmp_path, kind):
    text = f"Anna\tB-PER\n\nPhone\tB-{kind}\nX\tI-{kind}\n"
    message = refusal(tmp_path, text)
    learn, drop = message.split("To count it as no entity")
    assert "results and model cards report" in drop
    labels = (*LABELS, f"B-{kind}", f"I-{kind}")
    task = remedied(learn.replace("'. ", "'"))
    assert task.labels == labels
    assert [labels[tag] for tag in rows_of(tmp_path, text, task=task).table["tags"][1]] == [f"B-{kind}", f"I-{kind}"]
    rows = rows_of(tmp_path, text, task=remedied(drop))
    assert rows.table["tags"][1] == [0, 0]
    assert rows.notes == (f"{tmp_path / 'en/test.txt'}: 1 {kind} entity counts as no entity",)


# --- gold tags as written ---------------------------------------------------------------------------------------------

STRAY = [["O", "I-LOC", "I-LOC", "O"], ["B-PER", "I-PER", "I-LOC", "O"], ["O", "B-LOC", "I-LOC", "O"]]


def tagged(*tags: list[str]) -> str:
    return "".join(json.dumps({"tokens": list("abcd"[: len(row)]), "ner_tags": row}) + "\n" for row in tags)


def names(rows: list[list[int]]) -> list[list[str]]:
    return [[LABELS[tag] for tag in row] for row in rows]


def test_gold_that_begins_with_a_stray_i_is_kept_for_scores_repaired_for_training_and_reported(tmp_path):
    rows = rows_of(tmp_path, tagged(*STRAY), "test.jsonl")
    assert names(gold_tags(rows.table)) == STRAY
    assert names(rows.table["tags"]) == [["O", "B-LOC", "I-LOC", "O"], ["B-PER", "I-PER", "B-LOC", "O"], STRAY[2]]
    (note,) = rows.notes
    assert note.endswith(
        "2 entities begin with I- instead of B- (2 sentences); strict scores do not count these as gold entities"
    )


def test_strict_scores_are_those_of_seqeval_on_the_raw_tags(tmp_path):
    rows = rows_of(tmp_path, tagged(*STRAY), "test.jsonl")
    kind = KINDS["token-classification"]
    gold = names(gold_tags(rows.table))
    predicted = [["O", "B-LOC", "I-LOC", "O"], ["B-PER", "I-PER", "O", "O"], STRAY[2]]
    metrics = kind.metrics(kind.statistics(gold, predicted, NER, "en").sum(axis=0), NER)
    seqeval = pytest.importorskip("seqeval.metrics")
    scheme = pytest.importorskip("seqeval.scheme").IOB2
    strict = seqeval.f1_score(STRAY, predicted, mode="strict", scheme=scheme)
    assert metrics["strict_entity_f1"] == pytest.approx(100 * strict) == pytest.approx(80)  # 2 gold, 3 predicted
    assert metrics["entity_f1"] == pytest.approx(100 * 6 / 7)  # 4 gold, as in conlleval


def test_iob1_and_rows_without_strays_have_no_other_gold_and_keep_their_fingerprint(tmp_path):
    iob1 = rows_of(tmp_path / "1", tagged(["O", "I-LOC", "I-LOC", "B-LOC"], ["I-PER", "O"]), "test.jsonl")
    iob2 = rows_of(tmp_path / "2", tagged(["O", "B-LOC", "I-LOC", "B-LOC"], ["B-PER", "O"]), "test.jsonl")
    assert iob1.fingerprint == iob2.fingerprint
    assert names(gold_tags(iob1.table)) == names(gold_tags(iob2.table)) == names(iob2.table["tags"])
    assert iob1.notes == iob2.notes == ()
    stray = rows_of(tmp_path / "3", tagged(["O", "I-LOC", "I-LOC", "B-LOC"], ["B-PER", "O"]), "test.jsonl")
    assert stray.fingerprint != iob2.fingerprint


# --- the prefix of PAN-X ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["en:", "zh-min-nan:", "simple:"])
@pytest.mark.parametrize("name", ["test.txt", "test.jsonl"])
def test_the_language_before_every_word_is_removed_and_reported(tmp_path, prefix, name):
    words = [["Oslo", ":", "en:x"], ["6-4"]]
    tags = [["B-LOC", "O", "O"], ["O"]]
    if name.endswith("jsonl"):
        text = "".join(
            json.dumps({"tokens": [prefix + word for word in row], "ner_tags": row_tags}) + "\n"
            for row, row_tags in zip(words, tags, strict=True)
        )
    else:
        text = columns(
            [
                [(prefix + word, tag) for word, tag in zip(row, row_tags, strict=True)]
                for row, row_tags in zip(words, tags, strict=True)
            ],
            "\t",
        )
    rows = rows_of(tmp_path, text, name)
    assert words_of(rows) == words
    assert rows.notes == (f"{tmp_path / 'en' / name}: every word begins with `{prefix}`, which is removed",)


def test_a_prefix_that_one_word_lacks_is_part_of_the_words_and_counted(tmp_path):
    rows = rows_of(tmp_path, "en:Oslo B-LOC\n\nen:a O\nBonn B-LOC\n")
    assert words_of(rows) == [["en:Oslo"], ["en:a", "Bonn"]]
    (note,) = rows.notes
    assert "2 of 3 words begin with a language, such as `en:`, which is read as part of the word" in note


def test_a_few_words_that_begin_like_a_prefix_are_not_worth_a_note(tmp_path):
    assert rows_of(tmp_path, "re:Invent B-ORG\nis O\nin O\nre:Start B-ORG\nsays O\n").notes == ()


@pytest.mark.parametrize("task", [NER, entities(kind="word-tagging", labels=("O", "B-LOC"))])
@pytest.mark.parametrize(("first", "second"), [("de:", "en:"), ("EN:", "EN:"), ("bat-smg:", "roa-rup:")])
def test_words_with_prefixes_of_several_languages_lose_them_with_one_note(tmp_path, first, second, task):
    text = f"{first}Oslo B-LOC\n{first}x:y O\n\n{second}Bonn B-LOC\n"
    rows = rows_of(tmp_path, text, task=task)
    assert words_of(rows) == [["Oslo", "x:y"], ["Bonn"]]
    (note,) = rows.notes
    assert note.endswith(", which is removed")
    assert all(f"`{prefix}`" in note for prefix in (first, second))
    notices = []
    maker = RowMaker(task, "en_XX", listen=lambda notice: notices.append(notice.text))
    assert [row.row["tokens"] for row in input_rows(tmp_path / "en/test.txt", "conll", maker)] == words_of(rows)
    assert [notice.endswith(", which is removed") for notice in notices] == [True]


def test_a_table_with_one_word_per_row_is_no_table_of_sentences(tmp_path):
    lines = [f"{number},w{number},{'B-LOC' if number % 2 else 'O'}" for number in range(20)]
    rows = rows_of(tmp_path, "\n".join(["id,tokens,ner_tags", *lines]) + "\n", "test.csv")
    (note,) = rows.notes
    assert note.endswith("every row has one word; if rows are the words of sentences, write one sentence per row")
