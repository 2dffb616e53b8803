"""Assembles the site's sources, builds it with Zensical, and checks its links."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from docs.generator import catalog_pages, notebooks, reference_pages
from docs.generator.links import broken_links

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

ELSEWHERE = {
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "bench/README.md": "benchmarks.md",
}
"""Pages that are not in `docs/`, by the names that they have on the site."""

_LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")


class SiteError(Exception):
    """The site does not build, or has a link that leads nowhere."""


def sources() -> dict[str, str]:
    """Return every page as Markdown, by its path on the site."""
    written = {path: path.name for path in sorted(DOCS.glob("*.md"))}
    written |= {ROOT / path: name for path, name in ELSEWHERE.items()}
    places = written | {path: f"notebooks/{path.stem}.md" for path in notebooks.notebooks()}
    pages = {name: _relinked(path.read_text(encoding="utf-8"), path, places) for path, name in written.items()}
    generated = catalog_pages.pages() | reference_pages.pages() | notebooks.pages()
    assert not set(pages) & set(generated), set(pages) & set(generated)
    pages |= generated
    return pages


def _relinked(text: str, path: Path, written: Mapping[Path, str]) -> str:
    """Return a page whose links to other pages lead to their places on the site."""

    def moved(match: re.Match[str]) -> str:
        target, mark, anchor = match[0].partition("#")
        place = (path.parent / target).resolve() if target and ":" not in target else None
        return f"{written[place]}{mark}{anchor}" if place in written else match[0]

    return _LINK.sub(moved, text)


def navigation(entries: list[Any], pages: Mapping[str, str]) -> list[Any]:
    """Return the navigation in which `folder/*` stands for the pages of a folder that it does not name."""
    named = set(_named(entries))

    def expanded(entry: Any) -> list[Any]:
        if isinstance(entry, dict):
            return [{title: navigation_of(value) for title, value in entry.items()}]
        if entry.endswith("/*"):
            inside = [name for name in pages if name.startswith(entry[:-1]) and name not in named]
            return [{title_of(pages[name]): name} for name in inside]
        return [entry]

    def navigation_of(value: Any) -> Any:
        return [each for entry in value for each in expanded(entry)] if isinstance(value, list) else value

    whole: list[Any] = navigation_of(entries)
    missing = set(pages) - set(_named(whole))
    unknown = set(_named(whole)) - set(pages)
    if missing or unknown:
        raise SiteError(
            f"docs/site.yml: pages without a place: {sorted(missing)}; places without a page: {sorted(unknown)}"
        )
    return whole


def _named(entries: Any) -> Iterator[str]:
    match entries:
        case str():
            yield from [] if entries.endswith("/*") else [entries]
        case dict():
            for value in entries.values():
                yield from _named(value)
        case list():
            for value in entries:
                yield from _named(value)


def title_of(text: str) -> str:
    """Return the title of a page."""
    return text.partition("\n")[0].removeprefix("# ").replace("\\", "")


def llms_txt(settings: Mapping[str, Any], pages: Mapping[str, str]) -> str:
    """Return a guide for language models (llmstxt.org): what the project is, and where its pages are."""
    lines = [f"# {settings['site_name']}", "", f"> {settings['site_description']}", ""]
    for entry in settings["nav"]:
        for title, value in entry.items():
            lines += [f"## {title}", ""]
            names = [
                name
                for name in _named(value)
                if "/" not in name or name.endswith("index.md") or title in ("Reference", "Guides")
            ]
            lines += [f"- [{title_of(pages[name])}]({name})" for name in names]
            lines.append("")
    return "\n".join(lines)


def build(out: Path) -> int:
    """Build the site into a folder, which is replaced, and return the number of pages.

    Raises:
        SiteError: Zensical reports an error or a warning, or a link leads nowhere.
    """
    pages = sources()
    settings = yaml.safe_load((DOCS / "site.yml").read_text(encoding="utf-8"))
    settings["nav"] = navigation(settings["nav"], pages)
    work = out.with_name(f"{out.name}.sources")
    for folder in (work, out):
        shutil.rmtree(folder, ignore_errors=True)
    for name, text in pages.items():
        path = work / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for path in (*DOCS.glob("*.svg"), DOCS / "site.css", DOCS / "site.js"):
        shutil.copy(path, work / "docs")
    notebooks.copy(work / "docs")
    (work / "docs" / "llms.txt").write_text(llms_txt(settings, pages), encoding="utf-8")
    settings |= {"docs_dir": "docs", "site_dir": "site"}
    (work / "mkdocs.yml").write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", "mkdocs.yml"]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SiteError(f"the site does not build:\n{done.stdout}{done.stderr}")
    # llms.txt links to the Markdown of each page.
    for name, text in pages.items():
        (work / "site" / name).write_text(text, encoding="utf-8")
    if broken := list(broken_links(work / "site")):
        raise SiteError("links that lead nowhere:\n" + "\n".join(broken))
    shutil.move(work / "site", out)
    shutil.rmtree(work)
    return len(pages)
