"""Environment variables and exit codes are declared once."""

import ast
import re
from pathlib import Path

import pytest

from xmodctl.core.environment import VARIABLES, ExitCode

ROOT = Path(__file__).parents[2]


def names_read(path: Path) -> set[str]:
    """Return the environment variables that a module reads by name."""
    text = path.read_text(encoding="utf-8")
    nodes = ast.walk(ast.parse(text))
    constants = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return {
        name for name in constants if re.fullmatch(r"[A-Z]{2,}(_[A-Z]+)+", name) and f'environ.get("{name}"' in text
    }


def test_no_module_reads_a_variable_that_is_not_declared():
    declared = {variable.name for variable in VARIABLES}
    read = {name for path in (ROOT / "xmodctl").rglob("*.py") for name in names_read(path)}
    assert read <= declared


@pytest.mark.parametrize("variable", [it for it in VARIABLES if it.name.startswith("XMODCTL_")], ids=lambda it: it.name)
def test_every_variable_of_xmodctl_is_in_the_guide(variable):
    assert f"`{variable.name}`" in (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")


def test_the_guide_has_the_exit_codes():
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d+) \| (.+) \|$", guide, re.MULTILINE) == [
        (str(code.value), code.meaning) for code in ExitCode
    ]


def test_an_unset_and_an_empty_variable_have_no_value(monkeypatch):
    (cache,) = (variable for variable in VARIABLES if variable.name == "XMODCTL_CACHE")
    assert cache.value
    monkeypatch.setenv("XMODCTL_CACHE", "")
    assert not cache.value
    monkeypatch.delenv("XMODCTL_CACHE")
    assert not cache.value
