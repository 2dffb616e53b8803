"""`python -m docs.build`: pages that are made from the declarations, and the site of all pages, in
`build/site-source/site`.

Pages of tasks, languages, recipes, commands, and Python functions are written from what the program itself
uses, each time that the site is built, so that they cannot be out of date.
"""

import html
import inspect
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import typer
from pydantic.fields import FieldInfo

import xmodctl
from xmodctl.catalog.catalog import recipes, tasks
from xmodctl.catalog.recipe import Recipe
from xmodctl.catalog.task import Task
from xmodctl.cli.app import app
from xmodctl.core.schema import Described
from xmodctl.data.language_coverage import LanguageEntry
from xmodctl.kinds import KINDS
from xmodctl.languages.kinship import related

ROOT = Path(__file__).parents[1]
OUTSIDE = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md", "bench/README.md": "bench.md"}
"""Pages of the repository outside `docs/` -> their names on the site."""

NAVIGATION: dict[str, str | dict[str, str]] = {
    "Start": "index.md",
    "Guides": {
        "Guide": "guide.md",
        "Own data": "tasks.md",
        "Training": "training.md",
        "A new language": "add-language.md",
        "Adapters": "adapters.md",
        "Mixtures": "mixtures.md",
        "Reports": "report.md",
        "Embeddings": "embeddings.md",
        "Coming from other tools": "coming-from.md",
    },
    "Concepts": {"Intervals and tests": "statistics.md", "Reliability": "reliability.md", "Glossary": "glossary.md"},
    "Tasks": {},  # the generated pages
    "Languages": {},
    "Results": {"Results": "results.md", "Benchmarks": "bench.md"},
    "Reference": {
        "Commands": "reference/commands.md",
        "Recipe keys": "reference/recipe-keys.md",
        "Task keys": "reference/task-keys.md",
        "Recipes": "reference/recipes.md",
        "Python": "python.md",
        "Python functions": "reference/python.md",
    },
    "Limits": "limits.md",
    "Development": {
        "Architecture": "architecture.md",
        "Extending": "extending.md",
        "Contributing": "contributing.md",
        "Changelog": "changelog.md",
    },
}


def generated() -> dict[str, str]:
    """Return the pages that are made from the declarations: path -> Markdown."""
    languages = xmodctl.langs(task=tuple(tasks()), fertility=False).entries
    known = [entry for entry in languages if entry.adapter != "none"]
    return {
        "benchmarks/index.md": _list_of_tasks(),
        **{f"benchmarks/{name}.md": _task_page(task) for name, task in tasks().items()},
        "languages/index.md": _list_of_languages(known),
        **{f"languages/{entry.language}.md": _language_page(entry, known) for entry in known},
        "reference/commands.md": _commands(),
        "reference/recipe-keys.md": _keys("Recipe keys", "xmodctl recipes copy NAME ./my.yaml", Recipe),
        "reference/task-keys.md": _keys("Task keys", "xmodctl tasks copy NAME ./my.yaml", Task),
        "reference/recipes.md": _list_of_recipes(),
        "reference/python.md": _functions(),
    }


def _cell(value: object) -> str:
    """Return text as it is in a cell of a table; what is in backquotes stays code."""
    parts = re.split(r"(`[^`|]+`)", " ".join(str(value).split()))
    return "".join(
        part if part.startswith("`") and len(part) > 1
        else re.sub(r"([|*_\[\]`])", r"\\\1", html.escape(part, quote=False))
        for part in parts
    )  # fmt: skip


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(columns)
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _list_of_tasks() -> str:
    rows = [
        (f"[{_cell(task.title)}]({name}.md)", f"`{task.kind}`", str(len(task.languages) or "your data's"),
         _cell(task.headline), _cell(task.license or "your data's"))
        for name, task in tasks().items()
    ]  # fmt: skip
    return "# Tasks\n\n" + _table(("task", "kind", "languages", "metric", "license"), rows)


def _task_page(task: Task) -> str:
    facts = [
        ("name", ", ".join(f"`{name}`" for name in (task.name, *task.aliases))),
        ("kind", f"`{task.kind}`"),
        ("metric", _cell(task.headline)),
        ("labels", _cell(", ".join(KINDS[task.kind].expected_labels(task)) if task.labels else "")),
        ("languages", _cell(" ".join(task.languages))),
        ("translated training data", _cell(" ".join(task.translated))),
        ("rows in one language", _cell(", ".join(f"{split} {count:,}" for split, count in task.rows.items()))),
        ("same rows in every language", "yes" if task.parallel else "no"),
        ("recipe", _cell(task.recipe_for("")) if KINDS[task.kind].trains else "none: scored without training"),
        ("license", _cell(task.license)),
        ("home page", f"<{task.homepage}>" if task.homepage else ""),
        ("citation", _cell(task.citation)),
    ]
    notes = "".join(f"- {_cell(note)}\n" for note in task.notes)
    shown = f"```sh\nxmodctl tasks show {task.name}\nxmodctl tasks show {task.name} --yaml\n```\n"
    return (
        f"# {_cell(task.title)}\n\n{_cell(task.description)}\n\n"
        + _table(("property", "value"), [fact for fact in facts if fact[1]])
        + (f"\n## What to know\n\n{notes}" if notes else "")
        + f"\nThis page is made from the task's file:\n\n{shown}"
    )


def _list_of_languages(entries: list[LanguageEntry]) -> str:
    rows = [
        (f"[{_cell(entry.name)}]({entry.language}.md)", f"`{entry.language}`", _cell(entry.family), entry.script,
         str(len(entry.tasks)))
        for entry in entries
    ]  # fmt: skip
    return "# Languages of facebook/xmod-base\n\n" + _table(("language", "adapter", "family", "script", "tasks"), rows)


def _language_page(entry: LanguageEntry, known: list[LanguageEntry]) -> str:
    names = {each.language: each.name for each in known}
    relatives = related(entry.language, [name for name in names if name != entry.language])
    facts = [
        ("adapter", f"`{entry.language}`, in facebook/xmod-base"),
        ("family", _cell(entry.family or "not recorded")),
        ("script", entry.script),
        ("related adapters", ", ".join(f"[{_cell(names[name])}]({name}.md)" for name in relatives[:8]) or "none"),
    ]
    listed = "".join(f"- [{_cell(tasks()[name].title)}](../benchmarks/{name}.md)\n" for name in entry.tasks)
    return (
        f"# {_cell(entry.name)}\n\n"
        + _table(("property", "value"), facts)
        + f"\n## Tasks with data\n\n{listed or 'None of the shipped tasks.'}\n"
        + "\n## Fertility\n\nHow many pieces the tokenizer makes of a word depends on the text, and is measured on "
        "yours:\n\n```sh\nxmodctl langs --task TASK --data DIR --fertility\n```\n"
    )


def command_names(
    group: typer.core.TyperGroup, prefix: str = "xmodctl"
) -> Iterator[tuple[str, typer.core.TyperCommand]]:
    """Yield every visible command with its full name; those of a group follow it."""
    for name, command in group.commands.items():
        if not command.hidden:
            yield f"{prefix} {name}", command
            if hasattr(command, "commands"):
                yield from command_names(command, f"{prefix} {name}")


def _commands() -> str:
    parts = ["# Commands\n"]
    for name, command in command_names(typer.main.get_command(app)):
        rows = [
            (", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts)),
             _cell(getattr(parameter, "help", "") or ""))
            for parameter in command.params if not getattr(parameter, "hidden", False)
        ]  # fmt: skip
        parts.append(f"## {name}\n\n{_help(command.help or '')}\n")
        parts.append(_table(("option or argument", "meaning"), rows) if rows else "")
    return "\n".join(parts)


def _help(text: str) -> str:
    """Return a command's help as Markdown, with its examples as code."""
    before, _, examples = inspect.cleandoc(text.replace("\b", "")).partition("Examples:")
    lines = [line.strip().lstrip("-* ").strip("`") for line in examples.splitlines() if line.strip()]
    code = "```sh\n" + "\n".join(lines) + "\n```\n" if lines else ""
    return f"{html.escape(before.strip(), quote=False)}\n\n{code}"


def _keys(title: str, command: str, kind: type[Described]) -> str:
    rows = [(f"`{key}`", _default(field), _cell(field.description)) for key, field in kind.model_fields.items()]
    return f"# {title}\n\nStart from a shipped file: `{command}`.\n\n" + _table(("key", "default", "meaning"), rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "" if value in (None, "", (), {}) else f"`{value}`"


def _list_of_recipes() -> str:
    rows = [(f"`{name}`", _cell(recipe.title), _cell(recipe.source)) for name, recipe in recipes().items()]
    return "# Recipes\n\n" + _table(("recipe", "for", "source"), rows)


def _functions() -> str:
    parts = ["# Python functions\n"]
    for name in xmodctl.__all__:
        value = getattr(xmodctl, name)
        if inspect.isfunction(value):
            parameters = ", ".join(inspect.signature(value).parameters)
            documentation = html.escape(inspect.getdoc(value) or "", quote=False).split("\n\n")[0]
            parts.append(f"## {name}\n\n`xmodctl.{name}({parameters})`\n\n{documentation}\n")
    return "\n".join(parts)


def write_sources(folder: Path) -> None:
    """Write all pages and the configuration of the site into an empty folder."""
    pages = folder / "pages"
    shutil.copytree(ROOT / "docs", pages, ignore=shutil.ignore_patterns("*.py", "*.toml", "__pycache__"))
    for path, name in OUTSIDE.items():
        shutil.copy(ROOT / path, pages / name)
    for path in pages.glob("*.md"):
        path.write_text(_with_links_of_the_site(path.read_text(encoding="utf-8")), encoding="utf-8")
    from_declarations = generated()
    for name, text in from_declarations.items():
        (pages / name).parent.mkdir(parents=True, exist_ok=True)
        (pages / name).write_text(text, encoding="utf-8")
    navigation = {part: dict(names) if isinstance(names, dict) else names for part, names in NAVIGATION.items()}
    for title_of_part, part in (("Tasks", "benchmarks"), ("Languages", "languages")):
        pages_of_part = sorted(
            (_title(text), name) for name, text in from_declarations.items() if name.startswith(f"{part}/")
        )
        navigation[title_of_part] = {
            "Overview": f"{part}/index.md",
            **{title: name for title, name in pages_of_part if name != f"{part}/index.md"},
        }
    (pages / "llms.txt").write_text(_llms(navigation), encoding="utf-8")
    configuration = (ROOT / "docs" / "zensical.toml").read_text(encoding="utf-8")
    (folder / "zensical.toml").write_text(configuration.replace("nav = []", f"nav = {_toml(navigation)}"))


def _title(page: str) -> str:
    return html.unescape(page.split("\n", maxsplit=1)[0].removeprefix("# ").replace("\\", ""))


def _toml(navigation: dict[str, str | dict[str, str]]) -> str:
    parts = [
        f"{{ {json.dumps(title)} = {_toml(to) if isinstance(to, dict) else json.dumps(to)} }}"
        for title, to in navigation.items()
    ]
    return f"[{', '.join(parts)}]"


def _with_links_of_the_site(text: str) -> str:
    for path, name in OUTSIDE.items():
        text = text.replace(f"](../{path})", f"]({name})")
    text = re.sub(r"\[([^\]]+)\]\([\w./]+\.py\)", r"\1", text)  # source files are not on the site
    return re.sub(r"\]\((\.\./)?docs/", "](", text)


def _llms(navigation: dict[str, str | dict[str, str]]) -> str:
    lines = ["# xmodctl", "", "> Fine-tune X-MOD in one language and measure its transfer to every other.", ""]
    for part, to in navigation.items():
        names = to if isinstance(to, dict) else {part: to}
        lines += [f"## {part}", "", *(f"- [{title}]({name})" for title, name in names.items()), ""]
    return "\n".join(lines)


class _Page(HTMLParser):
    """The links and the anchors of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record the link and the anchor of a tag."""
        values = dict(attrs)
        self.anchors.add(values.get("id") or "")
        if link := values.get("href" if tag in ("a", "link") else "src"):
            self.links.append(link)


def broken_links(site: Path) -> list[str]:
    """Return the links within the built site whose page, file, or anchor is missing."""
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    problems = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links begin at the site's address
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            missing = not target.exists() or (anchor and target in pages and anchor not in pages[target].anchors)
            problems += [f"{path.relative_to(site)}: {link}"] if missing else []
    return problems


def main() -> int:
    """Build the site; return 1 if a page has a warning or a link leads nowhere."""
    folder = ROOT / "build" / "site-source"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_sources(folder)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    if code := subprocess.run(command, cwd=folder, check=False).returncode:
        return code
    problems = broken_links((folder / "site").resolve())
    sys.stdout.writelines(f"{problem}: no such page or anchor\n" for problem in problems)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
