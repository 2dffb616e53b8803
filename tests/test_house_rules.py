"""The source keeps the rules of CONTRIBUTING.md: sizes, imports, names and wording."""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from xmodctl.kinds import KINDS

ROOT = Path(__file__).parents[1]
LONGEST_FILE, LONGEST_FUNCTION = 400, 60
VAGUE_NAMES = {"one", "found", "told", "asked", "said", "mine", "theirs", "given", "here", "there", "got", "made"}

PHRASES = {
    r"\bmend(s|ed|ing)?\b": "fix",
    r"without reading": "majority baseline",
    r"\b(one|a) (row|line|training|file|column|record|process|score|model|seed) an? [a-z]+\b": "one ... per ...",
    r"\bone seed a\b": "one seed per",
    r"\b(is|are|be) told\b": "is reported",
    r"\btells?\b": "reports, shows",
    r"\b(leave|leaves|leaving|left) ((it|them|that|this|one) )?out\b": "exclude, skip",
    r"\b(goes|go|going|went) on\b": "continue, resume",
    r"did not take\b": "failed",
    r"\bthe ending\b": "the extension",
    r"\bof yours\b": "your",
    r"as far as can be\b": "not significantly",
    r"What there is": "Explore",
    r"\bsave (where|for)\b": "except",
    r"\bthat (is|are) there\b": "existing",
    r"\bon the wall\b": "wall-clock",
    r"\banew\b": "again",
    r"\bwithout end\b": "endlessly",
    r"\bmemory (does|did) not (hold|suffice)": "there is not enough memory for",
    r"\b(an)?other (?!than\b)\w+ than\b(?! half)": "a different ... from",
    r"\bother \w+ than\b": "... other than",
    r"colour|behaviour|favour|(initial|normal|summar|recogn|token|serial)is(e|ing|ation|er)|analys(e|er|ing)\b": "US",
    r"label(led|ling|ler)(?!by)|optimis(e|er|ing|ation)": "US spelling",
}


def sources() -> list[Path]:
    """Return the package's Python files, in order."""
    return sorted((ROOT / "xmodctl").rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def at(path: Path, line: int, text: object) -> str:
    return f"{path.relative_to(ROOT)}:{line}: {text}"


def long_files() -> Iterator[str]:
    for path in sources():
        count = len(path.read_text(encoding="utf-8").splitlines())
        if count > LONGEST_FILE:
            yield at(path, count, "lines")


def long_functions() -> Iterator[str]:
    for path in sources():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                count = node.end_lineno - node.lineno + 1
                if count > LONGEST_FUNCTION:
                    yield at(path, node.lineno, f"{node.name} has {count} lines")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_names_of_other_modules() -> Iterator[str]:
    for path in sources():
        modules = set()
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Import):
                modules |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                modules |= {alias.asname or alias.name for alias in node.names if alias.name.islower()}
                for alias in node.names:
                    if is_private(alias.name) or any(map(is_private, (node.module or "").split("."))):
                        yield at(path, node.lineno, f"{node.module}.{alias.name}")
        for node in ast.walk(tree(path)):
            match node:
                case ast.Attribute(value=ast.Name(id=name), attr=attribute) if (
                    name in modules and is_private(attribute) and (name, attribute) != ("os", "_exit")
                ):  # public and documented, despite its name
                    yield at(path, node.lineno, f"{name}.{attribute}")


def names_of_kinds() -> Iterator[str]:
    for path in sorted((ROOT / "xmodctl").rglob("*")):
        if path.suffix in (".py", ".jinja") and (ROOT / "xmodctl" / "kinds") not in path.parents:
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                yield from (at(path, number, name) for name in KINDS if name in line)


def vague_names() -> Iterator[str]:
    for path in [*sources(), *sorted((ROOT / "bench").glob("*.py")), *sorted((ROOT / "docs").glob("*.py"))]:
        for node in ast.walk(tree(path)):
            match node:
                case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                    pass
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.alias(asname=str(name)):
                    pass
                case ast.Attribute(attr=name, ctx=ast.Store()):
                    pass
                case _:
                    continue
            if name.strip("_").lower() in VAGUE_NAMES:
                yield at(path, getattr(node, "lineno", 0), name)


def classes_of_one_name() -> Iterator[str]:
    places: dict[str, str] = {}
    for path in sources():
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef) and not is_private(node.name):
                place = at(path, node.lineno, node.name)
                if places.setdefault(node.name, place) != place:
                    yield f"{place} has the name of {places[node.name]}"


def old_phrases() -> Iterator[str]:
    pattern = re.compile("|".join(f"({phrase})" for phrase in PHRASES), re.IGNORECASE)
    folders = [ROOT / name for name in ("xmodctl", "tasks", "recipes", "docs", "bench")]
    paths = [path for folder in folders for path in folder.rglob("*")] + [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    for path in sorted(path for path in paths if path.suffix in (".py", ".md", ".yaml", ".jinja")):
        if "demonstration" not in path.parts:
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                for match in pattern.finditer(line):
                    yield at(path, number, f"{match[0]!r} in {line.strip()!r}")


@pytest.mark.parametrize(
    "problems",
    [
        long_files,
        long_functions,
        private_names_of_other_modules,
        names_of_kinds,
        vague_names,
        classes_of_one_name,
        old_phrases,
    ],
)
def test_the_source_keeps_the_rule(problems: Callable[[], Iterator[str]]):
    lines = list(problems())
    assert not lines, "\n".join(lines)


def test_no_module_stands_outside_a_package():
    modules = {path.name for path in (ROOT / "xmodctl").glob("*.py")}
    assert modules == {"__init__.py", "__main__.py"}


def test_no_value_is_only_declared_to_have_a_type():
    allowed = {"xmodctl/data/files.py"}  # two classes of the standard library that only the type checker keeps apart
    casts = {
        str(path.relative_to(ROOT))
        for path in sources()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "cast"
    }
    assert casts <= allowed
