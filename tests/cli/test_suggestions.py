"""Names from other tools are answered with the command to use."""

import shlex

import pytest
from command_line import refused, run

from xmodctl.cli.loader import Commands
from xmodctl.cli.suggestions import OTHER_NAMES


@pytest.mark.parametrize(
    ("words", "use"),
    [
        ("train --task xnli", "`xmodctl finetune`"), ("eval", "`xmodctl eval-transfer`"), ("help", "`xmodctl --help`"),
        ("evaluate", "`xmodctl eval-transfer`"), ("help report", "`xmodctl report --help`"),
        ("fine-tune", "`xmodctl finetune`"), ("test", "`xmodctl eval-transfer`"), ("rm runs/a", "`xmodctl runs rm`"),
        ("eval_transfer", "`xmodctl eval-transfer`"), ("finetun", "(did you mean finetune?)"),
        ("xyzzy", "`xmodctl --help` lists the commands"), ("runs delete a", "`xmodctl runs rm`"),
        ("runs info a", "`xmodctl runs show`"),
    ],
)  # fmt: skip
def test_one_sentence_names_the_command_to_use(words, use):
    result = run(*words.split())
    assert use in refused(result)
    assert "Usage" not in result.output


def test_every_suggestion_is_a_command_and_no_name_hides_one():
    commands = Commands()
    assert not set(OTHER_NAMES) & set(commands)
    for use in set(OTHER_NAMES.values()) - {"--version"}:
        name, *rest = shlex.split(use)
        part = commands[name]
        if rest and not rest[0].startswith("-"):
            part, rest = part.commands[rest[0]], rest[1:]
        assert not rest or rest[0] in [option for parameter in part.params for option in parameter.opts], use


def test_report_takes_a_run_as_an_option(trained):
    folder, _ = trained
    for words in (("--run", folder), (folder,)):
        assert "no scores" in " ".join(run("report", *words).output.split())


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        ("report", "[OPTIONS] [RUN...]"), ("compare", "[OPTIONS] RUN..."), ("runs rm", "[OPTIONS] RUN..."),
        ("convert", "[OPTIONS] SOURCE OUT"), ("runs list", "[OPTIONS] [DIR]"),
    ],
)  # fmt: skip
def test_arguments_are_shown_by_name(command, usage):
    shown = " ".join(run(*command.split(), "-h").stdout.split())
    assert f"{command} {usage} " in shown


def test_no_help_shows_a_type_of_python():
    commands = Commands()
    for name in commands:
        for part in (commands[name], *getattr(commands[name], "commands", {}).values()):
            for parameter in part.params:
                assert parameter.metavar or parameter.is_flag, (name, parameter.name)
