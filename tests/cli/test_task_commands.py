"""`tasks list` and `tasks show`: what a task is, for people."""

import json
import re

import pytest
import yaml
from command_line import refused, run

from xmodctl.catalog.catalog import task_names, tasks
from xmodctl.kinds import KINDS


def widths(text: str) -> set[int]:
    return {len(line) for line in text.splitlines()}


def test_tasks_are_listed_by_kind_in_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = run("tasks", "list").stdout
    assert max(widths(shown)) <= 80, shown
    assert all(re.search(rf"(?m)^  {re.escape(name)} ", shown) for name in task_names()), shown
    assert {entry["name"] for entry in json.loads(run("tasks", "list", "--json").stdout)} == set(task_names())


@pytest.mark.parametrize("name", task_names())
def test_each_shipped_task_is_shown_in_80_columns(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = run("tasks", "show", name)
    assert result.exit_code == 0, result.output
    task = tasks()[name]
    words = " ".join(result.stdout.split())
    longest = max((len(word) for word in words.split()), default=0)
    assert max(widths(result.stdout)) <= max(80, longest + 14), result.stdout
    for expected in (task.title, task.kind, task.citation, task.license, *task.languages):
        assert " ".join(expected.split()) in words, expected
    labels = {label.removeprefix("B-").removeprefix("I-") for label in task.labels}
    assert not KINDS[task.kind].needs_labels or len(labels) > 20 or all(label in words for label in labels)
    for data in filter(None, (task.training, task.evaluation)):
        assert all(location.repository in words for location in data.locations)
    assert all(" ".join(note.split()) in words for note in task.notes)


def test_a_task_is_shown_with_its_languages_rows_and_what_to_know():
    shown = run("tasks", "show", "xnli").stdout
    assert "languages  15, 15 of them with an adapter in facebook/xmod-base" in shown
    assert "train 392,702; validation 2,490; test 5,010 in one language" in shown
    assert "facebook/xnli: {language}/{split}-*.parquet" in shown
    african = run("tasks", "show", "masakhaner").stdout
    assert re.search(r"languages +20, 2 of them with an adapter .*\n +hau swa\n +without an adapter: bam bbj", african)


def test_the_file_of_a_task_is_printed_as_it_is_or_with_what_it_includes():
    as_it_is = run("tasks", "show", "massive-slots", "--yaml").stdout
    assert "include:" in as_it_is
    assert "license" not in yaml.safe_load(as_it_is)
    whole = json.loads(run("tasks", "show", "massive-slots", "--json").stdout)
    assert whole["license"]
    assert whole["kind"] == yaml.safe_load(as_it_is)["kind"]


def test_a_task_that_does_not_exist_is_refused_with_the_nearest_name():
    assert "xnli" in refused(run("tasks", "show", "xnil"))
