"""What the project says of itself is true: packages, file tree, commands, wheel."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from xmodctl.cli.app import app

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def packages() -> set[str]:
    """Return the packages that the tree holds, under the names they are installed by."""
    result = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "xmodctl").rglob("*.py")
        if "__pycache__" not in path.parts
    }
    return result | {"xmodctl.tasks", "xmodctl.recipes"}


def test_the_list_of_packages_is_the_tree():
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages()


def test_the_annotated_file_tree_is_the_tree():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    tree = text.split("<!-- tree -->")[1].split("```")[1]
    inside = {line.split()[0].rstrip("/") for line in tree.splitlines() if line.startswith("  ")}
    assert inside == {
        path.name
        for path in (ROOT / "xmodctl").iterdir()
        if path.name not in ("__pycache__", "py.typed") and not path.name.startswith(".")
    }
    top = {line.split()[0].rstrip("/") for line in tree.splitlines() if line and not line.startswith(" ")}
    for name in top:
        assert (ROOT / name).is_dir(), name


def test_the_architecture_page_names_what_exists():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    places = re.findall(r"`(xmodctl/[\w/]+\.py)`(?:\s+`([\w.]+)`)?", page)
    assert len(places) > 40
    for path, name in places:
        names = set(ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))))
        scope = [node for node in names if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        for part in filter(None, name.split(".")):
            matching = [node for node in scope if node.name == part]
            assert matching, f"{path}: {name}"
            scope = [node for node in matching[0].body if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def test_every_command_in_the_readme_is_one_that_the_program_knows():
    text = (ROOT / "README.md").read_text()
    commands = set(re.findall(r"xmodctl ([a-z]+(?:-[a-z]+)*)(?= |`|$)", text))
    known = CliRunner().invoke(app, ["--help"]).output
    assert commands
    for command in commands - {"is"}:
        assert re.search(rf"\b{command}\b", known), command


def test_every_option_in_the_readme_is_one_that_its_command_has():
    text = (ROOT / "README.md").read_text().replace("\\\n", " ")
    lines = re.findall(r"xmodctl ((?:finetune|eval-transfer|export|demo|langs|doctor|runs)[^`\n#]*)", text)
    assert lines
    for line in lines:
        command, *words = line.split()
        shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
        for option in (word for word in words if word.startswith("--")):
            assert option in shown, f"{command} {option}"


def test_ci_runs_the_readme_s_own_commands():
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    for mark in ("demo", "tests"):
        assert f"<!-- {mark} -->\n```sh\n" in readme
    assert "readme_command tests" in ci
    assert "torch==" in (ROOT / "constraints.txt").read_text()


@pytest.mark.slow
def test_the_wheel_holds_tasks_recipes_and_demonstration_and_no_generic_name(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)],
        check=True, capture_output=True,
    )  # fmt: skip
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    for wanted in (
        "xmodctl/tasks/xnli.yaml", "xmodctl/recipes/nli.yaml", "xmodctl/py.typed", "xmodctl/model/known.yaml",
        "xmodctl/languages/families.yaml", "xmodctl/data/demonstration/nli/en/train.jsonl",
        "xmodctl/reports/card.md.jinja", "xmodctl/reports/formats/report.html.jinja",
        "xmodctl/reports/formats/report.css",
    ):  # fmt: skip
        assert wanted in names, wanted
    assert {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")} == {"xmodctl"}
