"""Completion in bash, zsh, and fish: commands, options, and values."""

import os
import shutil
import stat
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from xmodctl.cli.app import app


def offered(line: str, shell: str = "bash") -> list[str]:
    """Return what a shell offers for the last word of a line."""
    environment = {"_XMODCTL_COMPLETE": f"complete_{shell}"}
    if shell == "bash":
        words = line.split(" ")
        environment |= {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    else:
        environment |= {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    result = CliRunner().invoke(app, [], prog_name="xmodctl", env=environment)
    return [line for line in result.stdout.splitlines() if line]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Work in a folder with two runs in `runs/` and one in `results/`."""
    for name in ("XMODCTL_RUNS", "XMODCTL_MODEL"):
        monkeypatch.delenv(name, raising=False)
    for folder in ("runs/first", "runs/second", "results/third"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "run.json").write_text("{}")
    (tmp_path / "runs" / "no-run").mkdir()
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("xmodctl fin", "finetune"),
        ("xmodctl finetune --prec", "--precision"),
        ("xmodctl finetune --precision b", "bf16"),
        ("xmodctl finetune --task xn", "xnli"),
        ("xmodctl finetune --recipe nli-m", "nli-mini"),
        ("xmodctl runs s", "show"),
    ],
)
def test_each_shell_offers_commands_options_and_values(shell, line, some):
    assert some in "\n".join(offered(line, shell))


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("xmodctl eval-transfer --run runs/f", ["runs/first"]),
        ("xmodctl runs show runs/s", ["runs/second"]),
        ("xmodctl resume runs/f", ["runs/first"]),
        ("xmodctl finetune --lang sw", ["sw_KE"]),
        ("xmodctl eval-transfer --langs de_DE,sw", ["de_DE,sw_KE"]),
        ("xmodctl eval-transfer --langs @", ["@task"]),
        ("xmodctl finetune --model mi", ["mini"]),
        ("xmodctl finetune --set learning", ["learning_rate="]),
        ("xmodctl tasks show xnl", ["xnli"]),
        ("xmodctl recipes show nli-m", ["nli-mini"]),
        ("xmodctl eval-transfer --on-exists m", ["missing"]),
        ("xmodctl finetune --data r", []),  # the shell completes files
    ],
)
def test_values_are_those_of_the_option(line, values):
    assert offered(line) == values


def test_runs_are_those_of_the_project(runs):
    (runs / "xmodctl.toml").write_text('runs = "results"\n')
    assert offered("xmodctl report ") == ["results/third"]
    (runs / "xmodctl.toml").write_text("runs = 3\n")
    assert offered("xmodctl report ") == []


SCRIPTS = {
    "bash": """eval "$(xmodctl --show-completion bash)"
COMP_WORDS=(xmodctl finetune --task paws); COMP_CWORD=3
_xmodctl_completion xmodctl
echo "${COMPREPLY[@]}"
""",
    "zsh": """compdef() { : }
_arguments() { print -r -- "$@" }
eval "$(xmodctl --show-completion zsh)"
words=(xmodctl finetune --task paws); CURRENT=4
_xmodctl_completion
""",  # a terminal alone has zsh's own `_arguments`, which takes what is offered
    "fish": """xmodctl --show-completion fish | source
complete -C "xmodctl finetune --task paws"
""",
}
"""What each shell runs to complete `--task paws`."""


@pytest.mark.slow
@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_script_for_a_shell_completes_a_line_in_it(tmp_path, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    program = tmp_path / "xmodctl"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.argv[0] = 'xmodctl'\nfrom xmodctl.__main__ import main\nmain()\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    environment = os.environ | {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),  # no files of the user's shell
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }
    done = subprocess.run([shell, "-c", SCRIPTS[shell]], env=environment, capture_output=True, text=True, check=False)
    expected = '*: :(("paws-x"))' if shell == "zsh" else "paws-x"
    assert done.stdout.strip() == expected, done.stderr
