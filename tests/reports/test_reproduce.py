"""`reproduce`: verdicts on scores that differ by chance, and on scores that do not; the shipped tables are right."""

import json
import math
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import refused, run
from scored import labels, make_run, score

import xmodctl
from xmodctl.catalog.catalog import published_tables, recipe, task
from xmodctl.languages import same

ROOT = Path(__file__).parents[2]
README, RESULTS, SOURCES = (
    (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/results.md", "docs/sources.md")
)
ROWS = 1000
PUBLISHED = {"en": (70.0, 71.0), "de": (60.0, 61.0), "sw": (50.0, 52.0)}


@pytest.fixture
def table(tmp_path) -> Path:
    path = tmp_path / "mine.yaml"
    scores = "".join(f"  {language}: [{', '.join(map(str, values))}]\n" for language, values in PUBLISHED.items())
    path.write_text(
        "title: Mine\nsource: here\ntask: xnli\nmodel: mini\nmetric: accuracy\ntrained_in: en\n"
        f"commands: [xmodctl finetune --task xnli --lang en]\nrows: {ROWS}\nscores:\n{scores}"
    )
    return path


def scored(folder: Path, shares: dict[str, tuple[float, ...]], **changes):
    made = make_run(folder, **changes)
    for language, values in shares.items():
        for seed, share in enumerate(values, start=1):
            score(made, language, labels(np.arange(ROWS) < round(ROWS * share / 100)), seed=seed)
    return made


def test_scores_within_the_tolerance_are_reproduced_and_the_tolerance_is_that_of_seeds_and_rows(table, tmp_path):
    made = scored(tmp_path / "run", {"en": (71.0, 70.0), "de": (59.0, 60.5), "sw": (52.5, 51.5)})
    compared = xmodctl.reproduce(table, run=made)
    assert compared.is_reproduced
    assert [verdict.verdict for verdict in compared.verdicts] == ["reproduced"] * 4
    english = compared.verdicts[0]
    assert (english.published, english.value) == (70.5, 70.5)
    variances = [np.var(values, ddof=1) for values in (*PUBLISHED.values(), (71, 70), (59, 60.5), (52.5, 51.5))]
    error = 100 * math.sqrt(0.705 * 0.295 / ROWS)
    assert compared.seed_sd == pytest.approx(math.sqrt(np.mean(variances)))
    assert english.tolerance == pytest.approx(1.96 * math.sqrt(np.mean(variances) + error**2), rel=0.01)
    assert compared.verdicts[-1].difference == pytest.approx(compared.verdicts[-1].value - 364 / 6)
    assert json.loads(json.dumps(compared.to_json()))["reproduced"] is True
    assert compared.heading == f"Mine (2 seeds), in percent, against {made.folder} (2 seeds)"
    assert "Mine (2 seeds), in percent" in run("reproduce", table, "--run", made.folder).stdout


def test_a_task_names_the_table_of_mini():
    assert run("reproduce", "--task", "xnli").stdout == run("reproduce", "mini-xnli").stdout
    assert "both name a table; remove one" in refused(run("reproduce", "mini-xnli", "--task", "xnli"))
    message = refused(run("reproduce", "--task", "tydiqa"))
    assert "--task tydiqa: there is no table of mini for it, only for wikiann, xcopa, xnli, xquad" in message


@pytest.mark.parametrize("is_parallel", [True, False])
def test_rows_shift_the_mean_as_one_only_if_they_are_translations_of_each_other(is_parallel, table, tmp_path):
    made = scored(tmp_path / "run", {"en": (70.0, 71.0), "de": (60.0, 61.0), "sw": (50.0, 52.0)}, parallel=is_parallel)
    compared = xmodctl.reproduce(table, run=made)
    *languages, mean = compared.verdicts
    between = compared.seed_sd**2  # two seeds on both sides
    rows = [math.sqrt((each.tolerance / 1.96) ** 2 - between) for each in languages]
    error = np.mean(rows) if is_parallel else math.sqrt(sum(value**2 for value in rows)) / 3
    assert mean.tolerance == pytest.approx(1.96 * math.sqrt(between + error**2), rel=0.001)


def test_scores_that_neither_seeds_nor_rows_explain_are_not(table, tmp_path):
    made = scored(tmp_path / "run", {"en": (70.0, 71.0), "de": (50.0, 51.0), "sw": (61.0, 60.0)})
    compared = xmodctl.reproduce(table, run=made)
    assert [verdict.verdict for verdict in compared.verdicts[:3]] == ["reproduced", "lower", "higher"]
    assert not compared.is_reproduced
    assert compared.outside == 2 > compared.expected
    result = run("reproduce", table, "--run", made.folder)
    assert result.exit_code == 1
    assert "not reproduced: the mean is reproduced, and 2 of 3 languages are outside" in result.stdout


def test_what_differs_besides_the_scores_is_a_note(table, tmp_path):
    made = scored(tmp_path / "run", {"de": (60.0,)})
    compared = xmodctl.reproduce(table, run=made)
    assert [verdict.verdict for verdict in compared.verdicts] == ["not scored", "reproduced", "not scored"]
    assert compared.is_reproduced is False  # two languages are not scored
    other = table.with_name("other.yaml")
    changed = table.read_text().replace("model: mini", "model: large").replace("rows: 1000", "rows: 5010")
    other.write_text(f"{changed}rows_note: The rows are excerpts.\n")
    assert "The rows are excerpts." in xmodctl.reproduce(other).notes
    notes = " ".join(xmodctl.reproduce(other, run=made).notes)
    assert "the model of the run is mini, that of the table large" in notes
    assert "de: scored on 1,000 rows, in the table on 5,010" in notes
    assert "The rows are excerpts." in notes
    assert not any("excerpts" in note for note in xmodctl.reproduce(table, run=made).notes)
    single = table.with_name("single.yaml")
    single.write_text("".join(line.split(",")[0] + "]\n" if ": [" in line and line.startswith("  ") else line
                              for line in table.read_text().splitlines(keepends=True)))  # fmt: skip
    assert any("neither has two seeds" in note for note in xmodctl.reproduce(single, run=made).notes)


def test_a_recipe_that_is_not_shipped_is_refused_with_the_file(table):
    table.write_text(f"{table.read_text()}recipe: nli-mimi\n")
    message = refused(run("reproduce", table))
    assert "mine.yaml: `recipe` is nli-mimi, which is not shipped (did you mean nli-mini" in " ".join(message.split())


def test_settings_that_are_not_those_of_the_recipe_are_a_note(table, tmp_path):
    made = scored(tmp_path / "run", {"de": (60.0,)})
    table.write_text(f"{table.read_text()}recipe: nli-mini\n")
    published = recipe("nli-mini")
    assert f"learning_rate={made.plan.recipe.learning_rate} in place of {published.learning_rate}" in " ".join(
        xmodctl.reproduce(table, run=made).notes
    )
    same_settings = replace(made, plan=replace(made.plan, recipe=published.model_copy(update={"save_steps": 7})))
    assert not any("settings" in note for note in xmodctl.reproduce(table, run=same_settings).notes)


def test_a_run_that_lacks_languages_is_incomplete_and_the_command_that_scores_the_rest_is_named(table, tmp_path):
    made = scored(tmp_path / "run", {"en": (70.0, 71.0), "sw": (50.0, 52.0)})
    assert xmodctl.reproduce(table, run=made).missing == ("de",)
    result = run("reproduce", table, "--run", made.folder)
    assert result.exit_code == 1
    assert "incomplete, 2 of 3 languages are scored: the mean is reproduced, and 0 of 2 languages are outside" in (
        " ".join(result.stdout.split())
    )
    assert f"xmodctl eval-transfer --run {made.folder} --langs de,-en_XX --split test" in " ".join(
        result.stderr.split()
    )
    other = scored(tmp_path / "other", {"fr": (60.0,)})
    message = refused(run("reproduce", table, "--run", other.folder))
    assert f"score them: xmodctl eval-transfer --run {other.folder} --langs en,de,sw --split test" in message


def test_the_command_that_scores_the_rest_reads_the_data_split_and_rows_of_the_others(table, trained):
    folder, data = trained
    moved = data.parent / "moved data"
    shutil.copytree(data, moved)
    words = ("eval-transfer", "--run", folder, "--data", moved, "--split", "validation", "--limit", "6")
    assert run(*words, "--langs", "en,sw").exit_code == 0
    table.write_text(table.read_text() + "split: validation\n")
    result = run("reproduce", table, "--run", folder)
    command = " ".join(result.stderr.split()).partition("score the rest: xmodctl ")[2]
    assert run(*shlex.split(command)).exit_code == 0, command
    compared = xmodctl.reproduce(table, run=folder)
    assert not compared.missing
    assert (compared.rest, [each.language for each in compared.verdicts[:3]]) == ("", ["en", "de", "sw"])
    table.write_text(table.read_text().replace("split: validation", "split: train"))
    message = refused(run("reproduce", table, "--run", folder))
    assert "it has validation; create some with: xmodctl eval-transfer" in message
    assert "--split train" in message


def test_scores_on_several_data_sets_are_not_taken_for_seeds(table, trained, tmp_path):
    folder, data = trained
    other = tmp_path / "other" / "de"
    other.mkdir(parents=True)
    lines = (data / "de" / "test.jsonl").read_text().splitlines(keepends=True)
    (other / "test.jsonl").write_text("".join(lines[:9]))
    for place, languages in ((data, "en,de,sw"), (other.parent, "de,-en_XX")):
        result = run("eval-transfer", "--run", folder, "--langs", languages, "--data", place)
        assert result.exit_code == 0, result.output
    compared = xmodctl.reproduce(table, run=folder)
    assert compared.seeds == (2, 1)
    assert any("en, de, sw: scored on 24 rows" in note for note in compared.notes)
    assert f"{folder.name} also has scores on other (de), which are not shown" in compared.notes


def test_how_the_run_was_made_is_a_note(table, tmp_path):
    made = scored(tmp_path / "run", dict(PUBLISHED))
    lines = [json.loads(line) for line in made.results.read_text().splitlines()]
    record = {"name": "de_DE+sw_KE", "weights": {"de_DE": 0.5, "sw_KE": 0.5}, "by": "given", "details": {}}
    for line in lines:
        line |= {"members": 3, "mixture": {**record, "packages": {}} if line["language"] == "sw" else None}
    made.results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    limited = replace(made, plan=replace(made.plan, limit=1200, rows=900))
    notes = " ".join(xmodctl.reproduce(table, run=limited).notes)
    assert "an average: the weights are the mean of the weights of 3 models" in notes
    assert "mixture 0.5 de_DE + 0.5 sw_KE, weights given" in notes
    assert "trained on the first 1,200 rows of each language" in notes
    assert "trained on 900 rows in total" in notes


def test_a_folder_is_the_same_model_in_every_spelling(table, tmp_path, monkeypatch):
    made = scored(tmp_path / "run", dict(PUBLISHED))
    (tmp_path / "large").mkdir()
    monkeypatch.chdir(tmp_path)
    table.write_text(table.read_text().replace("model: mini", "model: ./large"))
    for model, is_noted in ((str(tmp_path / "large"), False), (str(tmp_path / "other" / "large"), True)):
        other = replace(made, plan=replace(made.plan, model=model))
        assert any("the model of the run" in note for note in xmodctl.reproduce(table, run=other).notes) == is_noted


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("split: tset\n", "`split` is 'tset'; it should be 'train', 'validation' or 'test'"),
        ("rows_of: {ur: 10}\n", "`rows_of` names ur, which `scores` does not have"),
        ("rows_of: {en: 0}\n", "`rows_of` must be at least 1"),
        ("  English: [70.0, 71.0]\n", "`scores` has one language twice, as en and as English"),
        ("  fr: [.nan, 71.0]\n", "it should be a number"),
        ("  fr: [-1.0, 71.0]\n", "must be between 0 and 100"),
        ("  fr: [70.0]\n", "the same number of seeds"),
    ],
)
def test_a_table_with_a_mistake_is_refused(more, message, table):
    table.write_text(table.read_text() + more)
    assert message in refused(run("reproduce", table))


def test_a_table_of_one_language_is_reproduced_by_this_language(table, tmp_path):
    table.write_text("".join(line for line in table.read_text().splitlines(keepends=True) if line[:4] not in
                             ("  en", "  sw")))  # fmt: skip
    near, far = (scored(tmp_path / str(value), {"de": (value, value)}) for value in (60.0, 50.0))
    assert run("reproduce", table, "--run", near.folder).exit_code == 0
    result = run("reproduce", table, "--run", far.folder)
    assert result.exit_code == 1
    assert "not reproduced: 1 of 1 language is outside its tolerance" in result.stdout


def test_what_cannot_be_compared_is_refused(table, tmp_path):
    made = scored(tmp_path / "run", {"fr": (60.0,)})
    assert "of none of the table's languages" in refused(run("reproduce", table, "--run", made.folder))
    assert "is xnli, that of the table mini-xcopa is xcopa" in refused(
        run("reproduce", "mini-xcopa", "--run", made.folder)
    )
    assert "there is no table `mini-xnil` (did you mean mini-xnli" in refused(run("reproduce", "mini-xnil"))
    assert "give the table" in refused(run("reproduce", "--run", made.folder))
    table.write_text(table.read_text().replace("70.0, 71.0", "70.0").replace("rows: 1000", "rows: 0"))
    assert "rows" in refused(run("reproduce", table))


@pytest.mark.parametrize("name", sorted(published_tables()))
def test_a_shipped_table_is_of_its_task_and_its_commands_are_commands(name):
    table = published_tables()[name]
    languages = task(table.task).languages
    assert all(any(same(language, each) for each in languages) for language in table.scores)
    assert task(table.task).headline == table.metric
    assert set(table.rows_of) <= set(table.scores)
    if table.recipe:  # of which the commands change nothing
        assert table.recipe == task(table.task).recipe[table.model]
        assert not any("--set" in command for command in table.commands)
    for command in table.commands:
        assert run(*command.split()[1:], "--help").exit_code == 0, command  # options are parsed before it is shown
    listed, printed = run("reproduce"), run("reproduce", name)
    assert name in listed.stdout
    assert printed.stdout.splitlines() == list(table.commands)
    explained = " ".join(printed.stderr.split())
    assert "RUN is a folder of your choice" in explained
    assert ("DIR is the folder with the data" in explained) == any("DIR" in command for command in table.commands)
    assert f"Then compare: xmodctl reproduce {name} --run RUN" in explained


@pytest.mark.parametrize("name", [name for name in sorted(published_tables()) if name.startswith("mini-")])
def test_the_tables_of_mini_are_those_of_the_results_page(name):
    table = published_tables()[name]
    rows = [
        [float(cell) for cell in line.strip("|").split("|")[1:-1]]
        for line in RESULTS.splitlines() if re.match(r"\| \d+ \| [\d.]+ \|", line)
    ]  # fmt: skip
    for seed in range(table.seeds):
        scores = [values[seed] for values in table.scores.values()]
        assert any(row == pytest.approx(scores, abs=0.051) for row in rows if len(row) == len(scores))


@pytest.mark.parametrize("name", ["XNLI", "WikiANN", "XQuAD", "XCOPA"])
def test_the_readme_has_the_means_of_the_tables(name):
    table = published_tables()[f"mini-{name.lower()}"]
    cells = re.search(rf"^\| {name}, (.*) \|$", README, re.MULTILINE)[1].split(" | ")
    english, *others = (np.mean(scores) for scores in table.scores.values())
    assert {2: "two", 3: "three"}[table.seeds] + " seeds" in cells[0]
    assert float(cells[2]) == pytest.approx(english, abs=0.1)  # some tables are rounded, too
    assert cells[3].endswith(f"({len(others)} languages)")
    assert float(cells[3].split()[0]) == pytest.approx(np.mean(others), abs=0.1)


def test_the_page_of_sources_has_the_scores_of_the_table():
    measured = re.findall(r"^\| (\w\w) \| [\d.]+ \| [\d.]+ \| ([\d.]+) \| [\d.]+ \|$", SOURCES, re.MULTILINE)
    assert len(measured) > 5
    scores = published_tables()["mini-wikiann"].scores
    assert [(language, value) for language, value in measured] == [
        (language, f"{np.mean(scores[language]):.1f}") for language, _ in measured
    ]


def test_the_table_of_xlm_r_has_the_published_average():
    scores = [values[0] for values in published_tables()["xnli-xlmr-base"].scores.values()]
    assert len(scores) == 15
    assert np.mean(scores) == pytest.approx(76.2, abs=0.05)
