"""A command is a file in `cli/commands/`."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from xmodctl.cli import commands
from xmodctl.cli.app import app
from xmodctl.cli.loader import MAY_BE_EMPTY, PANELS, Commands

GREETING = '''
from typing import Annotated

import typer

from xmodctl.cli import options

PANEL = "Greetings"


def say_hello(name: Annotated[str, typer.Argument(metavar="NAME", help="Who.")], json: options.Json = False) -> None:
    """Greet somebody."""
    print({"hello": name} if json else f"hello, {name}")
'''


@pytest.fixture
def with_greeting(tmp_path, monkeypatch):
    (tmp_path / "say_hello.py").write_text(GREETING)
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    yield
    sys.modules.pop(f"{commands.__name__}.say_hello", None)


@pytest.mark.usefixtures("with_greeting")
def test_a_file_dropped_into_the_folder_is_a_command():
    assert CliRunner().invoke(app, ["say-hello", "you"]).stdout == "hello, you\n"
    shown = CliRunner().invoke(app, ["-h"]).stdout
    assert "Greetings" in shown
    assert "Greet somebody." in shown
    assert "--json" in CliRunner().invoke(app, ["say-hello", "-h"]).stdout


def test_commands_come_in_the_order_of_their_panels():
    order = list(Commands())
    panels = [Commands()[name].rich_help_panel for name in order]
    assert list(dict.fromkeys(panels)) == list(PANELS)
    assert order[0] == "finetune"
    assert len(order) == len(Commands())


def test_a_command_imports_the_file_of_no_other():
    code = (
        "import sys\n"
        "from xmodctl.cli.app import app\n"
        "try: app(['convert', '-h'])\n"
        "except SystemExit as end: assert not end.code\n"
        "loaded = {name for name in sys.modules if name.startswith('xmodctl.cli.commands.')}\n"
        "assert loaded == {'xmodctl.cli.commands.convert'}, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_unknown_command_is_refused_with_the_nearest():
    result = CliRunner().invoke(app, ["finetun"])
    assert result.exit_code == 2
    assert "did you mean finetune?" in " ".join(result.stderr.split())


def test_completion_offers_the_commands():
    result = CliRunner().invoke(
        app,
        [],
        prog_name="xmodctl",
        env={"_XMODCTL_COMPLETE": "complete_bash", "COMP_WORDS": "xmodctl e", "COMP_CWORD": "1"},
    )
    assert result.stdout.split() == ["eval-transfer", "explain", "embed", "export"]


def test_the_list_of_commands_shows_what_the_commands_with_their_options_say():
    commands = Commands()
    with commands.brief():
        listed = [commands[name] for name in commands]
    built = [commands[name] for name in commands]
    assert [(command.name, command.help, command.rich_help_panel) for command in listed] == [
        (command.name, command.help, command.rich_help_panel) for command in built
    ]
    assert any(command.params for command in built)


EMPTY = {
    "--out": "finetune --task xnli --lang en --model {folder} --out",
    "--data": "eval-transfer --langs de --run {folder} --data",
    "--run": "score --run",
    "--recipe": "finetune --task xnli --lang en --recipe",
    "--adapter": "predict --run {folder} --adapter {folder} --adapter",
    "RUN": "compare {folder}",
    "FILE|-": "predict --run {folder} --lang de",
    "ADAPTER": "adapters merge --model {folder} --out {folder}/new",
    "DIR": "adapters import",
}


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_path_is_refused_in_one_sentence(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [*EMPTY[name].format(folder=tmp_path).split(), ""])
    assert result.exit_code == 2
    assert f"{name} is empty" in " ".join(result.output.split())
    assert not list(tmp_path.iterdir())


def test_no_option_that_names_a_file_may_be_empty():
    commands_ = Commands()
    parts = [
        part for name in commands_ for part in (commands_[name], *getattr(commands_[name], "commands", {}).values())
    ]
    named = {parameter.metavar for part in parts for parameter in part.params if parameter.name in MAY_BE_EMPTY}
    assert named == {"source,none", "LANGS"}


def test_an_empty_list_of_controls_is_none_and_an_empty_text_is_a_text():
    refused = CliRunner().invoke(app, ["eval-transfer", "--run", "absent", "--langs", "de", "--controls", ""])
    assert "absent is not a run" in refused.output
    refused = CliRunner().invoke(app, ["predict", "--run", "absent", "--lang", "de", "--text", ""])
    assert "absent is not a run" in refused.output
