"""Labeling text: what lines are read as, and what is written of each kind."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from xmodctl.catalog.task import Task
from xmodctl.cli.app import app
from xmodctl.core.errors import UserError
from xmodctl.data.files import open_bytes
from xmodctl.evaluation import input_text
from xmodctl.evaluation.input_rows import RowMaker, input_rows, read_lines
from xmodctl.evaluation.prediction import Labeler, predict
from xmodctl.evaluation.results import read_rows

COLUMNS = {
    "sequence-classification": {"text": "sentence", "label": "label"},
    "token-classification": {"tokens": "words", "tags": "tags"},
    "question-answering": {"context": "context", "question": "question", "answers": "answers"},
    "multiple-choice": {"context": "premise", "choices": ["choice1", "choice2"], "label": "label"},
}
LABELS = {
    "sequence-classification": ("no", "yes"),
    "token-classification": ("O", "B-ANIMAL", "I-ANIMAL"),
}
ROWS = {
    "sequence-classification": [{"sentence": "red cat", "label": "yes"}, {"sentence": "blue dog", "label": "no"}],
    "token-classification": [
        {"words": ["the", "red", "cat", "runs"], "tags": ["O", "B-ANIMAL", "I-ANIMAL", "O"]},
        {"words": ["a", "dog", "sleeps"], "tags": ["O", "B-ANIMAL", "O"]},
    ],
    "question-answering": [
        {
            "context": "the cat sleeps never a dog runs",
            "question": "not",
            "answers": [{"text": "never", "answer_start": 15}],
        },
        {"context": "the dog runs a red cat", "question": "not", "answers": [{"text": "red", "answer_start": 15}]},
    ],
    "multiple-choice": [
        {"premise": "the cat", "choice1": "red", "choice2": "blue", "label": 0},
        {"premise": "the cat", "choice1": "blue", "choice2": "red", "label": 1},
    ],
}


def described(kind: str, **changes: object) -> Task:
    value = {"name": "own", "title": "Own", "kind": kind, "columns": COLUMNS[kind], "labels": LABELS.get(kind, ())}
    return Task.model_validate({**value, "languages": {"en": None}, "recipe": "nli", **changes})


def run(*words: object, standard_input: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], input=standard_input)


@pytest.fixture(scope="session")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a run of each kind, trained on two rows until it knows them."""
    import yaml

    folder = tmp_path_factory.mktemp("predicted")
    for kind, rows in ROWS.items():
        task = described(kind)
        message = task.model_dump(exclude={"name"}, exclude_defaults=True) | {"kind": kind}
        (folder / f"{kind}.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(message))))
        for language in ("en", "de"):
            path = folder / "data" / kind / language / "train.jsonl"
            path.parent.mkdir(parents=True)
            path.write_text("".join(json.dumps(row) + "\n" for row in rows * 4))
            (path.parent / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        settings = ("epochs=40", "batch_size=8", "learning_rate=0.01", "max_length=32", "dropout=0")
        result = run(
            "finetune", "--task", folder / f"{kind}.yaml", "--lang", "en", "--model", tiny_model,
            "--data", folder / "data" / kind, "--out", folder / kind, "--set", "attention_dropout=0",
            *[word for label in settings for word in ("--set", label)],
        )  # fmt: skip
        assert result.exit_code == 0, result.output
    return {kind: folder / kind for kind in ROWS}


def lines(kind: str, *, gold: bool = False) -> str:
    keys = {"label", "tags", "answers"}
    rows = [{key: value for key, value in row.items() if gold or key not in keys} for row in ROWS[kind]]
    return "".join(json.dumps(row) + "\n" for row in rows)


def output_rows(result: Result) -> list[dict]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def predicted(trained, kind: str, *words: object, standard_input: str | None = None) -> list[dict]:
    standard_input = lines(kind) if standard_input is None else standard_input
    return output_rows(run("predict", "--run", trained[kind], "--lang", "en", *words, standard_input=standard_input))


def test_text_is_labeled_with_the_probability_of_each_label(trained):
    rows = predicted(trained, "sequence-classification")
    assert [row["prediction"] for row in rows] == ["yes", "no"]
    assert all(row["scores"][row["prediction"]] > 0.8 for row in rows)
    assert [row["id"] for row in rows] == [1, 2]


def test_entities_have_character_offsets(trained):
    standard_input = "the  red cat runs\na dog sleeps\n"
    rows = predicted(trained, "token-classification", standard_input=standard_input)
    results = [[line[entity["start"] : entity["end"]] for entity in row["entities"]] for line, row in
             zip(standard_input.splitlines(), rows, strict=True)]  # fmt: skip
    assert results == [["red cat"], ["dog"]]
    assert rows[0]["entities"][0]["type"] == "ANIMAL"
    assert rows[0]["entities"][0]["text"] == "red cat"


def test_offsets_of_entities_in_tokens_count_in_the_tokens_joined_by_spaces(trained):
    (row, _) = predicted(trained, "token-classification")
    (entity,) = row["entities"]
    assert " ".join(row["tokens"])[entity["start"] : entity["end"]] == "red cat"


def test_an_answer_is_the_context_between_its_offsets(trained):
    rows = predicted(trained, "question-answering")
    assert [row["prediction"] for row in rows] == ["never", "red"]
    for row, request in zip(rows, ROWS["question-answering"], strict=True):
        assert request["context"][row["start"] : row["end"]] == row["prediction"]


def test_the_best_choice_is_given_by_number_and_text(trained):
    rows = predicted(trained, "multiple-choice")
    assert [(row["prediction"], row["text"]) for row in rows] == [(0, "red"), (1, "red")]
    assert all(sum(row["scores"]) == pytest.approx(1, abs=1e-5) for row in rows)


@pytest.mark.parametrize("kind", ROWS)
def test_predictions_are_those_of_a_sweep(trained, kind):
    folder = trained[kind]
    assert run("eval-transfer", "--run", folder, "--langs", "de").exit_code == 0
    (row,) = [row for row in read_rows(folder / "results.jsonl") if row.adapter == "de_DE"]
    swept = [json.loads(line)["prediction"] for line in (folder / row.predictions).read_text().splitlines()]
    rows = output_rows(run("predict", "--run", folder, "--lang", "de", standard_input=lines(kind, gold=True)))
    assert [item.get("prediction", item.get("tags")) for item in rows] == swept


def test_order_is_kept_over_parts_of_any_size_and_the_last_part_is_written(trained):
    texts = ["red cat " * (1 + number % 5) for number in range(11)]
    predictions = predict(trained["sequence-classification"], "en", texts, rows_at_a_time=3)
    assert [len(rows) for rows in predictions.parts()] == [3, 3, 3, 2]
    again = predict(trained["sequence-classification"], "en", texts, rows_at_a_time=5)
    assert [row["id"] for row in again] == list(range(1, 12))
    assert again.count == 11


def test_rows_in_python_are_texts_or_mappings_and_the_file_form_gives_the_same(trained, tmp_path):
    folder = trained["sequence-classification"]
    standard_input = lines("sequence-classification")
    (tmp_path / "rows.jsonl").write_text(standard_input)
    from_file = list(predict(str(folder), "en", tmp_path / "rows.jsonl"))
    assert list(predict(folder, "en", [json.loads(line) for line in standard_input.splitlines()])) == from_file


def test_lines_are_not_read_before_they_are_needed(trained):
    read = []

    def endless():
        while True:
            read.append(1)
            yield "red cat"

    predictions = predict(trained["sequence-classification"], "en", endless(), rows_at_a_time=3)
    assert read == []
    assert len(next(predictions.parts())) == 3 == len(read)


def test_a_bad_line_ends_with_its_number_after_what_came_before_was_written(trained):
    standard_input = lines("sequence-classification") + '{"sentence": ""}\n' + lines("sequence-classification")
    result = run("predict", "--run", trained["sequence-classification"], "--lang", "en", standard_input=standard_input)
    assert result.exit_code == 2
    assert "standard input:3: `sentence` is empty" in result.stderr
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == [1, 2]


def test_a_file_of_predictions_appears_when_it_is_complete(trained, tmp_path):
    (tmp_path / "good.jsonl").write_text(lines("sequence-classification"))
    (tmp_path / "bad.jsonl").write_text(lines("sequence-classification") + "{\n")
    folder = trained["sequence-classification"]
    good, bad = tmp_path / "good.out", tmp_path / "bad.out"
    assert run("predict", "--run", folder, "--lang", "en", tmp_path / "good.jsonl", "--out", good).exit_code == 0
    assert len(good.read_text().splitlines()) == 2
    result = run("predict", "--run", folder, "--lang", "en", tmp_path / "bad.jsonl", "--out", bad)
    assert result.exit_code == 2
    assert "bad.jsonl:3: this is not JSON" in result.stderr
    assert not bad.exists()
    assert len((tmp_path / "bad.out.partial").read_text().splitlines()) == 2


def test_the_kinds_own_column_names_and_the_tasks_are_both_read():
    task = described("multiple-choice")
    for row in (
        b'{"context": "p", "choices": ["a", "b"]}',
        b'{"premise": "p", "choice1": "a", "choice2": "b"}',
        b'{"context": "p", "choices": {"text": ["a", "b"], "label": ["A", "B"]}}',
    ):
        (line,) = read_lines([row], "rows", RowMaker(task, "en"))
        assert line.row == {"context": "p", "choices": ["a", "b"]}


def test_cause_and_effect_become_their_wording_in_the_language():
    columns = {**COLUMNS["multiple-choice"], "question": "question"}
    connectives = {"en": {"cause": "because", "effect": "so"}, "de": {"cause": "denn", "effect": "deshalb"}}
    task = described("multiple-choice", columns=columns, connectives=connectives)
    row = {"premise": "p", "question": "effect", "choice1": "a", "choice2": "b"}
    (line,) = read_lines([json.dumps(row).encode()], "rows", RowMaker(task, "de_DE"))
    assert line.row["question"] == "deshalb"
    with pytest.raises(UserError, match='rows:1: `question` is "when"; expected cause or effect'):
        list(read_lines([json.dumps({**row, "question": "when"}).encode()], "rows", RowMaker(task, "de_DE")))
    with pytest.raises(UserError, match=r"no connectives in `sw_KE`.*--lang en"):
        list(read_lines([b""], "rows", RowMaker(task, "sw_KE")))


@pytest.mark.parametrize(
    ("kind", "standard_input", "message"),
    [
        ("sequence-classification", [], "rows contains no lines"),
        ("sequence-classification", [b"\n", b"a\n", b"caf\xe9\n"], "rows:3:4: byte 0xe9 is not UTF-8"),
        ("sequence-classification", [b'{"text": 3}'], "rows:1: `text` is 3; expected text"),
        ("sequence-classification", [b'{"id": 1}'], "rows:1: the row has no `text`, only id"),
        ("question-answering", [b"where?"], "question-answering takes one JSON object per line"),
        ("token-classification", [b'{"tokens": ["a", " "]}'], "`tokens` item 2 is empty"),
        ("multiple-choice", [b'{"premise": "p", "choices": ["a"]}'], "the row has 1 choices"),
        ("token-classification", [b'{"tokens": ["a"]}\n', b"plain\n"], "rows:2: this is not JSON"),
    ],
)
def test_a_line_that_cannot_be_used_is_reported_with_its_place(kind, standard_input, message):
    with pytest.raises(UserError) as error:
        list(read_lines(standard_input, "rows", RowMaker(described(kind), "en")))
    assert message in str(error.value)


DOCUMENT = '[\n  {"text": "a b"},\n  {"text": "c"}\n]\n'


@pytest.mark.parametrize("kind", ["sequence-classification", "token-classification"])
@pytest.mark.parametrize("name", ["x.txt", "x.jsonl", "x.ndjson", "x"])
@pytest.mark.parametrize(
    "text",
    [DOCUMENT, DOCUMENT.replace("\n", ""), DOCUMENT.replace("[\n", "["), f'{{\n"data": {DOCUMENT}}}', '["a b", "c"]'],
)
def test_a_json_document_is_never_labeled_line_by_line(tmp_path, kind, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=r"is one JSON document, not one row per line; .* --format json, or,"):
        list(input_rows(tmp_path / name, None, RowMaker(described(kind), "en")))
    if text != '["a b", "c"]':  # a row is an object
        assert [row.id for row in input_rows(tmp_path / name, "json", RowMaker(described(kind), "en"))] == [1, 2]
    lines = [line for line in text.splitlines() if line]
    assert len(list(input_rows(tmp_path / name, "text", RowMaker(described(kind), "en")))) == len(lines)


def test_a_json_document_in_standard_input_and_plain_text_in_json_lines_are_refused(tmp_path):
    maker = RowMaker(described("sequence-classification"), "en")
    with pytest.raises(UserError, match=r"standard input is one JSON document, .*; write one row per line, or,"):
        list(read_lines([line.encode() for line in DOCUMENT.splitlines()], "standard input", maker))
    (tmp_path / "x.jsonl").write_text("plain text\n")
    with pytest.raises(UserError, match=r"x.jsonl:1: this is not JSON"):
        list(input_rows(tmp_path / "x.jsonl", None, maker))


def test_text_in_brackets_is_text(tmp_path):
    lines = ["[Music] plays", "[1]", "[see [2]]"]
    (tmp_path / "x.txt").write_text("\n".join(lines) + "\n")
    for inputs in (tmp_path / "x.txt", lines):
        rows = input_rows(inputs, None, RowMaker(described("sequence-classification"), "en"))
        assert [row.row["text"] for row in rows] == lines


def test_a_missing_language_or_seed_is_refused(trained):
    folder = trained["sequence-classification"]
    assert run("predict", "--run", folder, "--lang", "tlh", standard_input="a\n").exit_code == 2
    result = run("predict", "--run", folder, "--lang", "en", "--seed", "9", standard_input="a\n")
    assert result.exit_code == 2
    assert "--seed 9" in result.stderr
    assert run("predict", "--run", folder, "--lang", "en", "absent.txt").exit_code == 2


def test_each_row_goes_through_the_adapter_of_its_language(trained, tmp_path):
    folder = trained["sequence-classification"]
    texts = [(f"red cat {number}", ("en", "de", "sw_KE")[number % 3]) for number in range(10)]
    table = tmp_path / "mixed.csv"
    table.write_text("key,sentence,lang\n" + "".join(f"k{n},{text},{lang}\n" for n, (text, lang) in enumerate(texts)))
    rows = list(predict(folder, None, table, rows_at_a_time=4))
    assert [row["language"] for row in rows] == [lang for _, lang in texts]
    for language in ("en", "de", "sw_KE"):
        alone = predict(folder, language, [text for text, lang in texts if lang == language])
        mixed = [row for row in rows if row["language"] == language]
        assert [row["scores"] for row in alone] == [row["scores"] for row in mixed]


def test_rows_without_a_language_are_refused_with_what_gives_it(trained, tmp_path):
    folder = trained["sequence-classification"]
    (tmp_path / "a.csv").write_text("sentence,tongue\nred cat,en\n")
    result = run("predict", "--run", folder, tmp_path / "a.csv")
    assert result.exit_code == 2
    assert "a.csv:2: the row does not give its language" in result.stderr
    assert len(output_rows(run("predict", "--run", folder, tmp_path / "a.csv", "--lang-column", "tongue"))) == 1
    assert len(output_rows(run("predict", "--run", folder, tmp_path / "a.csv", "--lang", "en"))) == 1
    (tmp_path / "b.csv").write_text("sentence,lang\nred cat,en\nblue dog,\nred cat,qq-x\n")
    result = run("predict", "--run", folder, tmp_path / "b.csv")
    assert '"" (1 row: ' in result.stderr
    assert result.stdout == ""
    result = run("predict", "--run", folder, tmp_path / "b.csv", "--lang", "de")
    assert "`lang` says en, but all rows go through de_DE" in " ".join(result.stderr.split())


@pytest.mark.parametrize("name", ["de/test.csv", "test/de.csv", "test.de.csv", "de/tickets-test.jsonl"])
def test_the_name_of_a_file_gives_the_language_of_its_rows(trained, tmp_path, name):
    folder, file = trained["sequence-classification"], tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text('{"sentence": "red cat"}\n' if file.suffix == ".jsonl" else "sentence\nred cat\n")
    result = run("predict", "--run", folder, file)
    assert "rows go through de_DE, because the name of the file says de" in " ".join(result.stderr.split())
    (row,) = output_rows(result)
    (german,) = predict(folder, "de", ["red cat"])
    assert row["language"] == "de"
    assert row["scores"] == german["scores"]
    assert "rows go through" not in run("predict", "--run", folder, file, "--lang", "en").stderr


def test_a_column_says_more_about_the_language_than_the_name_of_the_file(trained, tmp_path):
    (tmp_path / "test.de.csv").write_text("sentence,lang\nred cat,en\n")
    (row,) = predict(trained["sequence-classification"], None, tmp_path / "test.de.csv")
    assert row["language"] == "en"


def test_a_name_in_a_language_without_an_adapter_gives_none(trained, tmp_path):
    (tmp_path / "test.zu.csv").write_text("sentence\nred cat\n")
    result = run("predict", "--run", trained["sequence-classification"], tmp_path / "test.zu.csv")
    assert result.exit_code == 2
    assert "the row does not give its language" in result.stderr


@pytest.mark.parametrize("extension", ["csv", "jsonl"])
def test_languages_without_an_adapter_are_named_with_their_rows_before_anything_is_labeled(
    trained, tmp_path, extension
):
    folder, file = trained["sequence-classification"], tmp_path / f"b.{extension}"
    codes = ["en", "qq-x", "de", "", "qq-x", "zu"]
    if extension == "csv":
        file.write_text("sentence,lang\n" + "".join(f"red cat,{code}\n" for code in codes))
    else:
        file.write_text("".join(json.dumps({"sentence": "red cat", "lang": code}) + "\n" for code in codes))
    result = run("predict", "--run", folder, file, "--out", tmp_path / "out.jsonl")
    assert result.exit_code == 2
    first = 3 if extension == "csv" else 2
    expected = (
        f'{file} has rows in languages without an adapter: "qq-x" (2 rows: {file}:{first}, {file}:{first + 3}); '
        f'"" (1 row: {file}:{first + 2}); "zu" (1 row: {file}:{first + 4}); correct or remove these rows, or give one '
        "adapter for all rows with --lang LANG: 'qq-x' is"
    )
    assert expected in " ".join(result.stderr.split())
    assert not [*tmp_path.glob("out*")]
    assert run("predict", "--run", folder, file, "--lang", "en").exit_code == 0


def test_one_of_several_language_columns_is_named(trained, tmp_path):
    folder = trained["sequence-classification"]
    (tmp_path / "a.csv").write_text("sentence,language,locale\nred cat,en,de_DE\n")
    result = run("predict", "--run", folder, tmp_path / "a.csv")
    assert result.exit_code == 2
    assert "--lang-column language" in result.stderr
    (row,) = output_rows(run("predict", "--run", folder, tmp_path / "a.csv", "--lang-column", "locale"))
    assert row["language"] == "de_DE"


def test_a_text_on_the_command_line_is_labeled(trained):
    folder = trained["sequence-classification"]
    rows = output_rows(run("predict", "--run", folder, "--lang", "en", "--text", "red cat", "--text", "{a} blue"))
    assert [row["id"] for row in rows] == [1, 2]
    assert run("predict", "--run", folder, "--lang", "en", "--text", "red", "a.txt").exit_code == 2


@pytest.mark.parametrize("extension", [".csv", ".tsv", ".parquet", ".jsonl"])
def test_predictions_are_written_by_the_extension_with_the_columns_of_the_input(trained, tmp_path, extension):
    from xmodctl.core.mistakes import Mistakes
    from xmodctl.data.readers import read

    note = "=1+1, two" if extension == ".tsv" else "=1+1, two\nlines"
    (tmp_path / "in.csv").write_text(f'id,sentence,note,prediction\nA7,red cat,"{note}",mine\nB8,"blue ""dog""",,x\n')
    out = tmp_path / f"out{extension}"
    words = ("predict", "--run", trained["sequence-classification"], "--lang", "en", tmp_path / "in.csv")
    assert run(*words, "--keep-input", "--out", out).exit_code == 0
    rows = [raw for _, raw in read(out, "out", {}, Mistakes("out"), all_columns=True)[1]]
    assert [row["id"] for row in rows] == ["A7", "B8"]
    assert [row["prediction"] for row in rows] == ["yes", "no"]
    assert [row["input.prediction"] for row in rows] == ["mine", "x"]
    assert rows[0]["note"].removeprefix("'") == note
    assert rows[1]["sentence"] == 'blue "dog"'
    assert rows[0]["note"].startswith("'") == (extension in (".csv", ".tsv"))
    scores = [float(row["score.yes"]) if "score.yes" in row else row["scores"]["yes"] for row in rows]
    assert scores[0] > 0.5 > scores[1]


def test_a_format_that_is_not_written_is_refused_before_anything_is_read(trained, tmp_path):
    result = run("predict", "--run", trained["sequence-classification"], "--lang", "en", "--out", tmp_path / "a.xlsx")
    assert result.exit_code == 2
    assert ".jsonl, .csv, .tsv, or .parquet" in " ".join(result.stderr.split())


def test_a_line_break_is_not_written_to_a_tsv_file(trained, tmp_path):
    (tmp_path / "in.csv").write_text('sentence\n"red\ncat"\n')
    words = ("predict", "--run", trained["sequence-classification"], "--lang", "en", tmp_path / "in.csv")
    result = run(*words, "--keep-input", "--out", tmp_path / "out.tsv")
    assert result.exit_code == 2
    assert "write to a .csv file" in result.stderr


def test_a_table_that_ends_early_leaves_what_was_predicted(trained, tmp_path):
    (tmp_path / "in.csv").write_text('sentence\nred cat\nblue dog\n""\n')
    folder = trained["sequence-classification"]
    for extension in (".csv", ".parquet"):
        out = tmp_path / f"out{extension}"
        assert run("predict", "--run", folder, "--lang", "en", tmp_path / "in.csv", "--out", out).exit_code == 2
        assert not out.exists()
        assert (tmp_path / f"out{extension}.partial").stat().st_size > 0


def test_a_column_with_another_name_is_read_with_a_notice(trained, tmp_path):
    folder = trained["sequence-classification"]
    (tmp_path / "in.csv").write_text("review;label\nred cat;yes\n")
    result = run("predict", "--run", folder, "--lang", "en", tmp_path / "in.csv")
    assert [row["prediction"] for row in output_rows(result)] == ["yes"]
    assert "text is read from `review`" in result.stderr
    assert "separated by" in result.stderr
    (tmp_path / "in.csv").write_text("blurb,label\nred cat,yes\n")
    result = run("predict", "--run", folder, "--lang", "en", tmp_path / "in.csv")
    assert result.exit_code == 2
    assert "the row has no `text`, only blurb, label" in result.stderr


@pytest.mark.parametrize("key", ["sentence", "text", "id", "language"])
@pytest.mark.parametrize("ending", ["jsonl", "json", "csv"])
def test_a_row_that_gives_a_value_twice_is_refused_as_in_training(tmp_path, key, ending):
    maker = RowMaker(described("sequence-classification"), None)
    first, second = json.dumps({"sentence": "red cat", "language": "en", key: "a"})[:-1], f', "{key}": "b"}}'
    path = tmp_path / f"in.{ending}"
    if ending == "csv":
        path.write_text(f"sentence,{key},language,{key}\na,b,en,c\n")
    else:
        path.write_text(f"[{first}{second}]" if ending == "json" else f"{first}{second}\n")
    with pytest.raises(UserError, match=rf'an object has "{key}" 2 times|columns .* are all called "{key}"'):
        list(input_rows(path, None, maker))


def test_labeling_that_is_stopped_closes_the_file_although_the_error_is_still_looked_at(trained, tmp_path, monkeypatch):
    path, streams = tmp_path / "texts.txt", []
    path.write_text("".join(f"red cat {number}\n" for number in range(9)))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(input_text, "open_bytes", lambda file: streams.append(open_bytes(file)) or streams[-1])
    labeled = predict(trained["sequence-classification"], "en", path, rows_at_a_time=2)
    assert not streams[-1].closed
    monkeypatch.setattr(Labeler, "_encoded", stop)
    with pytest.raises(KeyboardInterrupt) as stopped:
        list(labeled)
    assert stopped.value
    assert streams[-1].closed
