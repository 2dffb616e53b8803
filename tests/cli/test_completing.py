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


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_script_for_bash_completes_a_line(tmp_path):
    program = tmp_path / "xmodctl"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.argv[0] = 'xmodctl'\nfrom xmodctl.__main__ import main\nmain()\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    environment["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"
    script = (
        'eval "$(xmodctl --show-completion bash)"\n'
        "COMP_WORDS=(xmodctl finetune --task paws); COMP_CWORD=3\n"
        "_xmodctl_completion xmodctl\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "paws-x\n", done.stderr
