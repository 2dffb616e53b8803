"""What takes seconds to load is announced before its import; what loads nothing imports none of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from xmodctl.cli.loader import Commands
from xmodctl.data.demonstrations import demonstration_folder

HEAVY = ("torch", "transformers", "datasets", "accelerate", "pandas", "scipy")
DATA = str(demonstration_folder("nli"))
MODEL = ("--model", "mini")
LOADING = {
    "finetune": ("--task", "nli", "--lang", "en", *MODEL, "--data", DATA),
    "finetune --dry-run": ("--task", "nli", "--lang", "en", *MODEL, "--data", DATA),
    "add-language": ("zu", "--text", "zu.txt", *MODEL),
    "add-language --dry-run": ("zu", "--text", "zu.txt", *MODEL),
    "resume": ("run",),
    "check": ("--task", "nli", *MODEL, "--data", DATA),
    "inspect": ("--task", "nli", "--lang", "en", *MODEL, "--data", DATA),
    "demo": (),
    "eval-transfer": ("--langs", "de", "--run", "run"),
    "donors": ("--langs", "de", "--run", "run"),
    "explain": ("run", "--lang", "de"),
    "sources": ("--task", "xnli", "--langs", "de", *MODEL),
    "predict": ("--lang", "de", "--run", "run"),
    "langs --fertility": ("--task", "xnli", *MODEL),
    "embed": ("--lang", "de", *MODEL),
    "export": ("--out", "model", "--run", "run"),
    "convert": ("bert", "converted", "--langs", "en"),
    "adapters export": ("mini", "de", "package"),
    "adapters merge": ("package", "--out", "merged", *MODEL),
    "adapters verify": ("package", *MODEL),
    "doctor": MODEL,
}
LIGHT = {
    "runs": (),
    "tasks list": (),
    "tasks show": ("xnli",),
    "recipes list": (),
    "langs": ("--task", "xnli"),
    "adapters list": (),
    "cache list": (),
    "doctor": (),
    "compare": ("run",),
    "report": ("run",),
    "reproduce": ("mini-xnli",),
    "score": ("--run", "run"),
}

PROGRAM = """
import json, os, sys
from xmodctl.cli.app import app

commands, heavy = json.loads(sys.argv[1]), json.loads(sys.argv[2])

class Errors:  # ends the process at the first line
    def write(self, text):
        os.write(2, text.encode())
        if text.startswith("Loading"):
            os._exit(0)

    def flush(self): ...
    def isatty(self): return False

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name in heavy:
            os.write(2, f"imports {name}".encode())
            os._exit(1)

for command in commands:
    if os.fork() == 0:
        sys.stdout = open(os.devnull, "w")
        sys.stderr = Errors()
        sys.meta_path.insert(0, Finder())
        try:
            app(command)
        except SystemExit as end:
            os._exit(10 + (end.code or 0))
        os._exit(9)
    _, status = os.wait()
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


def ends(commands: list[list[str]], heavy: tuple[str, ...], folder: Path) -> tuple[list[int], str]:
    """Run each command up to its line `Loading ...`; exit code 0: it came first, 1: an import came first."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(commands), json.dumps(heavy)],
        capture_output=True, text=True, check=True, cwd=folder, env=environment,
    )  # fmt: skip
    return [int(line) for line in done.stdout.splitlines()], done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_each_command_that_loads_a_model_says_so_before_it_imports_anything_heavy(tmp_path):
    commands = [[*words.split(), *options] for words, options in LOADING.items()]
    codes, errors = ends(commands, (*HEAVY, "numpy", "pyarrow"), tmp_path)
    assert dict(zip(LOADING, codes, strict=True)) == dict.fromkeys(LOADING, 0), errors


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_each_command_that_loads_no_model_imports_nothing_heavy_and_says_no_such_thing(tmp_path):
    commands = [[*words.split(), *options] for words, options in LIGHT.items()]
    codes, errors = ends(commands, HEAVY, tmp_path)
    done, refused = 10, 12
    wanted = {name: refused if "run" in options else done for name, options in LIGHT.items()}
    assert dict(zip(LIGHT, codes, strict=True)) == wanted, errors


def test_every_command_is_among_those_that_load_or_those_that_do_not():
    assert {name.split()[0] for name in (*LOADING, *LIGHT)} == set(Commands())
