"""Markup in text: tags and entities of XML and HTML, and the markup of wikis; found, or removed."""

import html
import re
from collections.abc import Iterator

_ENTITY = r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});"
_ATTRIBUTES = r"(?:\s+[\w:.-]+\s*=[^<>]{0,500})?\s*/?"
_TAG = rf"</?[A-Za-z][\w:.-]*{_ATTRIBUTES}>|<[!?][A-Za-z\[][^<>]{{0,500}}>"
_BROKEN_TAG = r"""<[A-Za-z][\w:.-]*\s+[\w:.-]+=["'][^<>]*$"""
_WIKI_LINK = r"\[\[[^\[\]\n]{1,500}\]\]"
_TEMPLATE = r"\{\{[^{}]{1,5000}\}\}"

MARKUP = re.compile(f"{_TAG}|<!--|{_BROKEN_TAG}|{_ENTITY}|{_WIKI_LINK}|{_TEMPLATE}|'''")
"""A tag, an entity, or the markup of a wiki; `a < b`, `<3` and `<name@host>` are none."""

MOST_OPEN = 20_000
"""Characters for which the end of a tag, comment or template is waited for; after that, its start is text."""

_HIDDEN = re.compile(
    r"<!--.*?-->|<(script|style|ref|math)\b[^<>]*(?<!/)>.*?</\1\s*>|(?:\A|(?<=\n))[ :]*\{\|.*?\n\s*\|\}",
    re.DOTALL | re.IGNORECASE,
)
_BREAK = re.compile(
    r"</?(?:p|br|hr|div|li|ul|ol|dl|dt|dd|tr|td|th|table|h[1-6]|title|section|article|blockquote|pre|doc|page|text)"
    rf"{_ATTRIBUTES}>",
    re.IGNORECASE,
)
_INLINE = re.compile(
    rf"</?(?:a|abbr|b|big|cite|code|del|em|font|i|ins|mark|q|s|small|span|strong|sub|sup|tt|u){_ATTRIBUTES}>",
    re.IGNORECASE,
)
_ANY_TAG = re.compile(_TAG)
_ANY_TEMPLATE = re.compile(_TEMPLATE)
_ANY_LINK = re.compile(r"\[\[([^\[\]\n]{1,500})\]\]")
_WEB_LINK = re.compile(r"\[(?:https?:)?//[^\s\[\]]+\s*([^\[\]\n]*)\]")
_QUOTES = re.compile(r"'{2,5}(?=\S)(.+?)(?<=\S)'{2,5}")
_HEADING = re.compile(r"^\s*(={2,6})\s*(.+?)\s*\1\s*$", re.MULTILINE)
_NAMESPACE = re.compile(r"^\s*[^\W\d_][\w -]*:\S")

_OPEN = re.compile(
    r"<!--(?!.*-->)|<(script|style|ref|math)\b[^<>]*(?<!/)>(?!.*</\1\s*>)"
    r"|</?[A-Za-z][\w:.-]*\s*(?:\s[\w:.-]+\s*(?:=[^<>]{0,500})?)?\Z"
    r"|\{\{(?!.*\}\})|(?:\A|(?<=\n))[ :]*\{\|(?!.*\n\s*\|\})",
    re.DOTALL | re.IGNORECASE,
)
"""What begins in a text and does not end in it."""


def without_markup(text: str) -> str:
    """Return text without markup; what a browser or a wiki shows as separate lines are lines.

    Entities are decoded first, as often as they were encoded. Comments, scripts, styles, references, formulas,
    templates, tables and links to categories and files are removed; of other links, the label stays.
    """
    for _ in range(3):
        decoded = html.unescape(text)
        if decoded == text:
            break
        text = decoded
    text = _without_templates(_HIDDEN.sub(" ", text))
    while (reduced := _ANY_LINK.sub(_label, text)) != text:
        text = reduced
    text = _WEB_LINK.sub(r"\1", text)
    text = _ANY_TAG.sub(" ", _INLINE.sub("", _BREAK.sub("\n", text)))
    return _HEADING.sub(r"\2", _QUOTES.sub(r"\1", text))


class MarkupRemover:
    """Removes markup from a text that comes in pieces, also where it begins in one line and ends in another."""

    def __init__(self) -> None:
        """Start a text."""
        self.waiting = ""

    def lines(self, piece: str, *, begins: bool) -> Iterator[str]:
        """Yield lines that are complete.

        Args:
            piece: A line, or a part of a long one.
            begins: Whether it begins a line.
        """
        newline = "\n" if begins and self.waiting else ""
        text = _without_templates(f"{self.waiting}{newline}{piece}")
        if len(text) < MOST_OPEN and _OPEN.search(text):
            self.waiting = text
            return
        self.waiting = ""
        yield from without_markup(text).split("\n")

    def rest(self) -> Iterator[str]:
        """Yield the lines that wait for an end that the text does not have."""
        if self.waiting:
            yield from without_markup(self.waiting).split("\n")
        self.waiting = ""


def _without_templates(text: str) -> str:
    while (reduced := _ANY_TEMPLATE.sub(" ", text)) != text:  # templates within templates
        text = reduced
    return text


def _label(link: re.Match[str]) -> str:
    target, *labels = link[1].split("|")
    if _NAMESPACE.match(target):  # a category or a file; a caption is no sentence of the text
        return " "
    return labels[-1] if labels and labels[-1].strip() else target.lstrip(":")
