"""The demonstrations: each kind has its task, recipe and rows in every language."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

import xmodctl
from xmodctl import UserError
from xmodctl.catalog import catalog as library
from xmodctl.cli.app import app
from xmodctl.data import coverage, load_rows
from xmodctl.data.demonstrations import TASKS, demonstration_folder


@pytest.mark.parametrize("name", TASKS)
def test_a_demonstration_has_a_recipe_and_rows_that_its_task_reads_in_fifteen_languages(name):
    task, folder = library.task(name), demonstration_folder(name)
    assert library.recipe(f"demo-{name}").source
    languages = coverage(task, folder)
    assert len(languages) == 15
    assert set(languages["en"]) == {"train", "validation", "test"}
    for language, splits in languages.items():
        for split in splits:
            assert len(load_rows(task, language, split, folder=folder, evaluation=split != "train")) >= 20


def test_a_demonstration_that_is_not_there_is_refused_with_those_that_are():
    result = CliRunner().invoke(app, ["demo", "--task", "nlp"])
    assert result.exit_code == 2
    assert "nli, ner, qa, mc" in " ".join(result.stderr.split())
    assert "did you mean nli" in " ".join(result.stderr.split())


@pytest.mark.parametrize("command", ["check", "inspect", "predict"])
def test_help_imports_nothing_heavy(command):
    heavy = {"torch", "transformers", "datasets", "numpy"}
    code = (
        "import sys\n"
        "from xmodctl.cli.app import app\n"
        f"try: app([{command!r}, '--help'])\n"
        "except SystemExit as end: assert not end.code\n"
        f"assert not {heavy!r} & set(sys.modules), sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Examples" in done.stdout


def test_the_python_function_refuses_a_demonstration_that_is_not_there():
    with pytest.raises(UserError, match="nli, ner, qa, mc"):
        xmodctl.demo("nlp")
