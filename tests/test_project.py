"""What the project says of itself is true: packages, file tree, commands, wheel."""

import ast
import configparser
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
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
    return result | {"xmodctl.tasks", "xmodctl.recipes", "xmodctl.tasks.tables"}


def test_the_list_of_packages_is_the_tree():
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages()


def test_each_file_of_tests_has_a_name_of_its_own():
    """Pytest refuses to collect two of one name together."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


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


def test_the_top_level_has_nothing_but_the_project():
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    folders = {line.split("/")[0] for line in listing.stdout.splitlines() if "/" in line}
    files = {line for line in listing.stdout.splitlines() if "/" not in line and not line.startswith(".")}
    assert {name for name in folders if not name.startswith(".")} == {
        "bench", "docs", "recipes", "tasks", "tests", "xmodctl"
    }  # fmt: skip
    assert files == {
        "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "MANIFEST.in", "README.md", "SECURITY.md",
        "constraints.txt", "pyproject.toml",
    }  # fmt: skip


def test_the_architecture_page_shows_the_layers_that_are_checked_and_there_are_at_most_eight():
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter", encoding="utf-8")
    checked = contracts["importlinter:contract:floors"]["layers"].split("\n")[1:]
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| (\d+) \| (.+?) \|", page, flags=re.MULTILINE)
    assert [(int(number), set(re.findall(r"`(\w+)`", names))) for number, names in shown] == [
        (len(checked) - place, set(layer.split(" | "))) for place, layer in enumerate(checked)
    ]
    assert len(checked) <= 8


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


def test_the_citation_is_of_this_version_and_names_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["project"]["version"] == metadata.version("xmodctl")
    assert citation["license"] == PROJECT["project"]["license"]
    assert [reference["identifiers"][0]["value"] for reference in citation["references"]] == ["arXiv:2205.06266"]


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[0-9]*.yml")), ids=lambda it: it.stem
)
def test_issue_forms_have_what_such_forms_need(path):
    form = yaml.safe_load(path.read_text())
    assert form.keys() >= {"name", "description", "body"}
    ids = [field["id"] for field in form["body"]]
    assert len(ids) == len(set(ids))
    assert all(field["type"] in ("input", "textarea") and field["attributes"]["label"] for field in form["body"])


def test_what_is_checked_before_a_release_is_installed_through_the_constraints():
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    extras = PROJECT["project"]["optional-dependencies"]
    assert {"build", "check-wheel-contents", "twine"} == set(extras["release"]) <= pinned
    assert " ".join(sorted(extras["release"])) in (ROOT / ".ci" / "run").read_text()


@pytest.fixture(scope="module")
def distributions(tmp_path_factory) -> Path:
    """Return a folder with the source distribution and the wheel built from it."""
    folder = tmp_path_factory.mktemp("dist")
    source = tmp_path_factory.mktemp("source")
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(source)], check=True, capture_output=True)
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder), str(source)], check=True, capture_output=True
    )
    return folder


@pytest.mark.slow
def test_the_source_distribution_holds_every_file_of_the_repository(distributions):
    with tarfile.open(next(distributions.glob("*.tar.gz"))) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    committed = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert not set(committed.stdout.splitlines()) - held


@pytest.mark.slow
def test_whoever_imports_the_wheel_gets_its_types(distributions, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(next(distributions.glob("*.whl"))).extractall(site)
    consumer = tmp_path / "consumer.py"
    consumer.write_text(
        "from typing import assert_type\n\nimport xmodctl\n\n"
        'run = xmodctl.finetune("xnli", "en_XX")\n'
        "assert_type(run, xmodctl.Run)\n"
        'assert_type(xmodctl.evaluate(run, "@task"), xmodctl.Report)\n'
        'xmodctl.finetune("xnli", language=3)\n'
    )
    environment = tmp_path / "environment"
    venv.create(environment, symlinks=True)
    packages = next(environment.glob("lib/python*/site-packages"))
    # What the wheel needs is installed here already; a path file lends it, and comes after the wheel.
    (packages / "site.pth").write_text(f"{site}\n{Path(pytest.__file__).parents[1]}\n")
    checked = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--python-executable",
            str(environment / "bin" / "python"), str(consumer),
        ],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    lines = checked.stdout.splitlines()
    assert [line.split(": error: ")[0] for line in lines if "error" in line][:-1] == ["consumer.py:8"], checked.stdout
    assert "call-arg" in lines[0]


@pytest.mark.slow
def test_the_wheel_holds_tasks_recipes_and_demonstration_and_no_generic_name(distributions):
    names = zipfile.ZipFile(next(distributions.glob("*.whl"))).namelist()
    for wanted in (
        "xmodctl/tasks/xnli.yaml", "xmodctl/recipes/nli.yaml", "xmodctl/tasks/tables/mini-xnli.yaml",
        "xmodctl/py.typed", "xmodctl/model/known.yaml",
        "xmodctl/languages/families.yaml", "xmodctl/data/demonstration/nli/en/train.jsonl",
        "xmodctl/reports/card.md.jinja", "xmodctl/reports/formats/report.html.jinja",
        "xmodctl/reports/formats/report.css",
    ):  # fmt: skip
        assert wanted in names, wanted
    assert {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")} == {"xmodctl"}
