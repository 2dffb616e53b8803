"""The site: its generated pages are the declarations, every page is in the navigation, and a broken link is found."""

import inspect
import re
import shlex
import subprocess
import sys

import pytest
import typer

import xmodctl
from docs.build import NAVIGATION, ROOT, broken_links, command_names, generated, write_sources
from xmodctl.catalog.catalog import recipes, tasks
from xmodctl.catalog.recipe import Recipe
from xmodctl.catalog.task import Task
from xmodctl.cli.app import app
from xmodctl.core.schema import keys_of


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return generated()


def test_every_task_and_every_language_of_the_model_has_a_page(made):
    languages = [it.language for it in xmodctl.langs(fertility=False).entries if it.adapter != "none"]
    assert len(languages) == 81
    assert {name for name in made if name.startswith("benchmarks/")} == {
        f"benchmarks/{it}.md" for it in ("index", *tasks())
    }
    assert {name for name in made if name.startswith("languages/")} == {
        f"languages/{it}.md" for it in ("index", *languages)
    }
    titles = [text.splitlines()[0] for text in made.values()]
    assert len(titles) == len(set(titles))  # the navigation has an entry for each


@pytest.mark.parametrize(("page", "kind"), [("recipe-keys", Recipe), ("task-keys", Task)])
def test_every_key_is_in_the_reference(made, page, kind):
    assert re.findall(r"^\| `(\w+)`", made[f"reference/{page}.md"], re.MULTILINE) == keys_of(kind)


def test_every_command_with_every_option_is_in_the_reference(made):
    sections = dict(re.findall(r"^## (xmodctl [^\n]+)\n(.*?)(?=^## |\Z)", made["reference/commands.md"], re.M | re.S))
    commands = dict(command_names(typer.main.get_command(app)))
    assert sections.keys() == commands.keys()
    assert len(commands) > 30
    for name, command in commands.items():
        options = {it for parameter in command.params if not parameter.hidden for it in parameter.opts}
        assert options <= set(re.findall(r"`(\S+)`", sections[name])), name


def test_recipes_and_python_functions_are_in_the_reference(made):
    assert set(re.findall(r"^\| `([\w.-]+)`", made["reference/recipes.md"], re.M)) == set(recipes())
    functions = [name for name in xmodctl.__all__ if inspect.isfunction(getattr(xmodctl, name))]
    assert re.findall(r"^## (\w+)$", made["reference/python.md"], re.M) == functions
    assert "finetune" in functions


def test_every_page_is_in_the_navigation(tmp_path):
    write_sources(tmp_path)
    configuration = (tmp_path / "zensical.toml").read_text()
    pages = {str(path.relative_to(tmp_path / "pages")) for path in (tmp_path / "pages").rglob("*.md")}
    assert pages == set(re.findall(r'"([^"]+\.md)"', configuration))
    assert (tmp_path / "pages" / "llms.txt").read_text().count(".md)") == len(pages)


def test_a_link_without_a_page_or_an_anchor_is_found(tmp_path):
    (tmp_path / "a.html").write_text('<p id="here"><a href="b.html#no">b</a> <a href="#here">a</a> <a href="c/">c</a>')
    (tmp_path / "b.html").write_text('<a href="a.html#here">a</a> <a href="https://example.com/">outside</a>')
    assert broken_links(tmp_path) == ["a.html: b.html#no", "a.html: c/"]


def test_ci_builds_the_site():
    assert "-m docs.build" in (ROOT / ".ci" / "run").read_text()
    assert "Start" in NAVIGATION


@pytest.mark.slow
def test_the_site_builds_without_a_warning():
    pytest.importorskip("zensical")
    built = subprocess.run([sys.executable, "-m", "docs.build"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    page = (ROOT / "build" / "site-source" / "site" / "benchmarks" / "xnli" / "index.html").read_text()
    assert "CC BY-NC 4.0" in page


def commands_in_pages() -> list[tuple[str, list[str]]]:
    """Return each command line of the README and the pages, with the page that it is in."""
    lines = []
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r" (?:\||&&) ", line):
                    if part.startswith("xmodctl "):
                        lines.append((page.name, shlex.split(part, comments=True)))
    return lines


def test_every_command_in_a_page_exists_and_has_the_options_that_it_is_shown_with():
    commands = dict(command_names(typer.main.get_command(app)))
    lines = commands_in_pages()
    assert len(lines) > 50
    for page, words in lines:
        name = next((it for it in (" ".join(words[:3]), " ".join(words[:2])) if it in commands), None)
        assert name, f"{page}: {' '.join(words)}"
        known = {option for it in commands[name].params for option in (*it.opts, *it.secondary_opts)}
        for word in words:
            if re.match(r"--?[a-z]", word):
                assert word.partition("=")[0] in known | {"--help", "-h"}, f"{page}: {' '.join(words)}"
