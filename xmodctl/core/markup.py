"""Markup in text: tags and entities of XML and HTML, and the markup of wikis; found, or removed.

Removal takes time in proportion to the text, whatever the text is: no pattern can search the same text again and again.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from html.entities import html5

_NAME = r"[A-Za-z][\w:.-]*+"
_VALUES = r"""(?:(?:"[^"<]*+"|'[^'<]*+'|[^<>"'])*+|[^<>]*+)"""
_TAG = rf"</?({_NAME})(?:\s+[\w:.-]++\s*={_VALUES})?\s*/?>|<[!?][A-Za-z\[][^<>]*+>"
_ENTITY = r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});"
_BROKEN_TAG = r"""<[A-Za-z][\w:.-]*+\s+[\w:.-]++=["'][^<>]*+$"""
_WIKI_LINK = r"\[\[([^\[\]\n]{1,500})\]\]"
_TEMPLATE = r"\{\{[^{}]{1,5000}\}\}"

MARKUP = re.compile(f"{_TAG}|<!--|{_BROKEN_TAG}|{_ENTITY}|{_WIKI_LINK}|{_TEMPLATE}|'''")
"""A tag, an entity, or the markup of a wiki; `a < b`, `<3` and `<name@host>` are none."""

MOST_OPEN = 20_000
"""Characters for which the end of a tag, comment or template is waited for; after that, its start is text."""

LONGEST_NAME = 500
"""Characters of a link, or of a tag before its attributes, for whose end is waited."""

_HIDDEN = "script|style|noscript|svg|ref|math|gallery|timeline|syntaxhighlight|score"
"""Elements whose content is no text of the language."""
_LINES = (
    "address|article|blockquote|br|caption|center|dd|div|dl|doc|dt|figcaption|figure|footer|form|h1|h2|h3|h4|h5|h6|"
    "header|hr|li|main|nav|ol|option|p|page|pre|section|table|tbody|td|text|tfoot|th|thead|title|tr|ul"
)
"""Elements that begin and end lines."""
_INLINE = (
    "a|abbr|b|bdi|bdo|big|cite|code|del|dfn|em|font|i|ins|kbd|mark|nowiki|onlyinclude|q|s|samp|small|span|strike|strong|"
    "sub|sup|tt|u|var|wbr"
)
"""Elements within words; all others separate words."""

_START = re.compile(
    rf"<!--|<(?P<hidden>{_HIDDEN})\b[^<>]*+(?<!/)>|(?P<table>(?<![^\n])[ :]*+\{{\|(?!\|))|(?P<braces>\{{+|\}}+)",
    re.IGNORECASE,
)
_TABLE_EDGE = re.compile(r"(?<![^\n])[ :]*+(\{\||\|\}(?!\}))")
_SEPARATORS = dict.fromkeys(_LINES.split("|"), "\n") | dict.fromkeys(_INLINE.split("|"), "")
_ENDS = {name: re.compile(rf"</{name}\s*>", re.IGNORECASE) for name in _HIDDEN.split("|")}
_OPEN_TAG = re.compile(r"</?[A-Za-z][\w:.-]*+\s*(?:(?<=\s)[\w:.-]++\s*(?:=[^<>]*+)?)?")
_OPEN_ENTITY = re.compile(r"&#?\w{0,31}")
_ANY_TAG = re.compile(_TAG)
_ANY_ENTITY = re.compile(_ENTITY)
_ANY_LINK = re.compile(_WIKI_LINK)
_WEB_LINK = re.compile(r"\[(?:https?:)?//[^\s\[\]]++[ \t]*+([^\[\]\n]*+)\]")
_CDATA = re.compile(r"<!\[CDATA\[|\]\]>")
_QUOTES = re.compile(r"(?<!')'{2,5}(?!')")
_BULLET = re.compile(r"\s*+(?:[*#:;]++\s++|\*++(?=\w))")
_SWITCH = re.compile(r"__[A-Z]+__")
_NAMESPACE = re.compile(r"\s*:?([^\W\d_][\w -]*+):(?=\S)")
_FILE = re.compile(r"\.\w{2,5}\s*$")
_PERHAPS = re.compile(r"[<&{}\[]|''|__|\]\]>|^[ \t]*+[=*#:;]", re.MULTILINE)
"""Text without any of this is without markup."""


def without_markup(text: str) -> str:
    """Return text without markup; what a browser or a wiki shows as separate lines are lines.

    Entities are decoded first, as often as they were encoded. Comments, scripts, styles, references, formulas,
    templates, tables and links to categories and files are removed; of other links, the label stays.
    """
    if not _PERHAPS.search(text):
        return text
    return _plain(_Scan(_decoded(text)).shown())


@dataclass
class MarkupRemover:
    """Removes markup from a text that comes in pieces, also where it begins in one line and ends in another."""

    _pieces: list[str] = field(default_factory=list)  # from the line on in which something began that has not ended
    _size: int = 0  # of these
    _ends: tuple[str, ...] = ()  # it has not ended before one of these comes, in lower case; none: anything may end it
    _depth: int = 0  # how many templates are open

    @property
    def waiting(self) -> str:
        """What has come and is not complete."""
        return "".join(self._pieces)

    def lines(self, piece: str, *, begins: bool) -> Iterator[str]:
        """Yield lines that are complete.

        Args:
            piece: A line, or a part of a long one.
            begins: Whether it begins a line.
        """
        if not self._pieces and not _PERHAPS.search(piece):
            yield piece
            return
        is_first = not self._pieces
        self._add(f"\n{piece}" if begins and not is_first else piece)
        if not is_first and self._size < MOST_OPEN and not self._may_end():
            return
        scan = _Scan(_decoded(self.waiting), is_whole=self._size >= MOST_OPEN)
        shown = scan.shown()
        self._pieces, self._size, self._ends, self._depth = [], 0, scan.ends, scan.depth
        if scan.rest:
            self._add(scan.rest)
            shown = shown.removesuffix("\n")
        if shown or not scan.rest:
            yield from _plain(shown).split("\n")

    def rest(self) -> Iterator[str]:
        """Yield the lines that wait for an end that the text does not have."""
        if self._pieces:
            yield from without_markup(self.waiting).split("\n")
        self._pieces, self._size = [], 0

    def _add(self, text: str) -> None:
        self._pieces.append(text)
        self._size += len(text)

    def _may_end(self) -> bool:
        before, piece = self._pieces[-2:]
        if self._depth:
            self._depth += piece.count("{{") - piece.count("}}")
            return self._depth <= 0
        seam = f"{before[-20:]}{piece}".lower()
        return not self._ends or any(end in seam for end in self._ends)


@dataclass
class _Scan:
    """One pass through a text, without what is hidden.

    Args:
        text: With decoded entities.
        is_whole: Whether nothing follows, so that what has no end is text.
    """

    text: str
    is_whole: bool = True
    rest: str = field(default="", init=False)  # from the line on in which something begins that has no end yet
    ends: tuple[str, ...] = field(default=(), init=False)  # what may end it
    depth: int = field(default=0, init=False)  # how many templates are open
    _parts: list[str] = field(default_factory=list, init=False)
    _templates: list["_Template"] = field(default_factory=list, init=False)  # open ones, the outermost first
    _endless: set[str] = field(default_factory=set, init=False)  # what does not end in the rest of the text

    def shown(self) -> str:
        """Return the text without what is hidden, as far as it is complete."""
        position = 0
        while start := _START.search(self.text, position):
            self._parts.append(self.text[position : start.start()])
            position = start.end()
            if start["braces"]:
                self._take_braces(start)
            elif (end := self._end(start)) is not None:
                self._parts.append(" ")
                position = end
            elif self.is_whole:
                self._parts.append(start[0])
            else:
                return self._until(start.start())
        stop = len(self.text)
        if not self.is_whole and not self._templates:
            stop = self._open_at_the_end(position)
        self._parts.append(self.text[position:stop])
        return self._until(stop)

    def _until(self, stop: int) -> str:
        """Return what is shown before a place where something begins that has no end yet; the last line waits."""
        if self._templates and not self.is_whole:
            outermost = self._templates[0]
            stop, self.depth = outermost.begin, len(self._templates)
            del self._parts[outermost.parts :]
        shown = "".join(self._parts)
        if stop == len(self.text):
            return shown
        line = shown.rfind("\n") + 1
        if (tag := shown.rfind("<", 0, line)) >= 0 and _OPEN_TAG.fullmatch(shown, tag, line):
            line = shown.rfind("\n", 0, tag) + 1
        self.rest = shown[line:] + self.text[stop:]
        return shown[:line]

    def _end(self, start: re.Match[str]) -> int | None:
        """Return where a comment, an element, or a table ends."""
        kind = (start["hidden"] or ("table" if start["table"] else "comment")).lower()
        if kind in self._endless:
            return None
        end = None
        if kind == "comment":
            self.ends = ("-->",)
            if (place := self.text.find("-->", start.end())) >= 0:
                end = place + 3
        elif kind == "table":
            self.ends = ("|}",)
            end = _table_end(self.text, start.end())
        else:
            self.ends = (f"</{kind}",)
            if closing := _ENDS[kind].search(self.text, start.end()):
                end = closing.end()
        if end is None:
            self._endless.add(kind)
        return end

    def _take_braces(self, braces: re.Match[str]) -> None:
        """Open or close templates; what has single braces in it is none, but a set, a formula, or code."""
        run = braces[0]
        if len(run) == 1 and self._templates:
            self._templates[-1].is_text = True
        for _ in range(len(run) // 2):
            if run[0] == "{":
                self._templates.append(_Template(braces.start(), braces.end(), len(self._parts)))
            elif self._templates:
                template = self._templates.pop()
                is_empty = not self.text[template.content : template.content + 50].partition("}")[0].strip()
                if not template.is_text and not is_empty:
                    del self._parts[template.parts :]
                    run = " "
        self._parts.append(run)

    def _open_at_the_end(self, position: int) -> int:
        """Return where a tag, an entity, or a link begins that the next piece may complete, or the end of the text."""
        text, end = self.text, len(self.text)
        if (place := text.rfind("<", position)) >= 0:
            begun = text[place : place + LONGEST_NAME]
            self.ends = ("<", ">") if "=" in begun else ()
            is_short = "=" in begun or end - place < LONGEST_NAME
            if is_short and ("<!--".startswith(begun) or _OPEN_TAG.fullmatch(text, place)):
                return place
        if (place := text.rfind("[[", position)) >= 0 and end - place < LONGEST_NAME:
            self.ends = ("]", "\n")
            if not {"]", "\n"} & set(text[place:]):
                return place
        if (place := text.rfind("&", position)) >= 0 and _OPEN_ENTITY.fullmatch(text, place):
            self.ends = ()
            return place
        return end


@dataclass
class _Template:
    """A template that has begun."""

    begin: int  # its place in the text
    content: int
    parts: int  # how many parts come before it
    is_text: bool = False


def _table_end(text: str, position: int) -> int | None:
    depth = 1
    while edge := _TABLE_EDGE.search(text, position):
        depth += 1 if edge[1] == "{|" else -1
        position = edge.end()
        if depth == 0:
            return position
    return None


def _decoded(text: str) -> str:
    for _ in range(3):
        decoded = _ANY_ENTITY.sub(_character, text)
        if decoded == text:
            break
        text = decoded
    return text


def _character(entity: re.Match[str]) -> str:
    name = entity[0][1:]
    if not name.startswith("#") and name not in html5:
        return entity[0]
    return unescape(entity[0]).replace("\xad", "")  # a soft hyphen, which is shown nowhere but at the end of a line


def _plain(text: str) -> str:
    """Return text without links, tags, and the markup of lines."""
    while (reduced := _ANY_LINK.sub(_label, text)) != text:
        text = reduced
    text = _ANY_TAG.sub(_separator, _CDATA.sub("", _WEB_LINK.sub(r"\1", text)))
    return "\n".join(map(_plain_line, text.split("\n")))


def _label(link: re.Match[str]) -> str:
    target, *labels = link[1].split("|")
    label = labels[-1] if labels and labels[-1].strip() else ""
    if (space := _NAMESPACE.match(target)) and not (label and space[1].islower() and not _FILE.search(target)):
        return " "  # a category, a file, whose caption is no sentence of the text, or the page in another language
    return label or target.lstrip(":")


def _separator(tag: re.Match[str]) -> str:
    return _SEPARATORS.get((tag[1] or "").lower(), " ")


def _plain_line(line: str) -> str:
    """Return a line that is no heading or item of a list any more, without bold and italic quotes."""
    if not _PERHAPS.search(line):
        return line
    line = _SWITCH.sub(" ", line)
    stripped = line.strip()
    level = len(stripped) - len(stripped.lstrip("="))
    if level >= 2 and stripped.endswith("==") and stripped.strip("= \t"):
        return _without_quotes(stripped.strip("= \t"))
    return _without_quotes(_BULLET.sub("", line, count=1) if _BULLET.match(line) else line)


def _without_quotes(line: str) -> str:
    """Return a line without the quotes around words in bold or italics; `5'' by 6''` has none."""
    kept, position, opening = [], 0, None
    for quotes in _QUOTES.finditer(line):
        if opening is None:
            if line[quotes.end() : quotes.end() + 1].strip():
                opening = quotes
        elif line[quotes.start() - 1].strip():
            kept += [line[position : opening.start()], line[opening.end() : quotes.start()]]
            position, opening = quotes.end(), None
    return "".join([*kept, line[position:]])
