"""Raw text from files, the Hub or standard input: cleaned, deduplicated, and a share of it held out.

Text is streamed: only a part of a file is in memory at a time, plus eight bytes per line kept.
"""

import codecs
import hashlib
import io
import re
import shlex
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from xmodctl.core.errors import UserError
from xmodctl.core.markup import MarkupRemover, without_markup
from xmodctl.core.messages import quoted
from xmodctl.core.mistakes import Mistakes
from xmodctl.data import hub
from xmodctl.data.files import COMPRESSED, DataFile, Numbered, guarded, open_bytes
from xmodctl.data.readers import SAVED, format_of, read
from xmodctl.data.text_forms import TextForms

STANDARD_INPUT = "-"
HELD_OUT = 0.05
"""The share of the lines that is held out from training."""
SHORTEST = 8
"""Characters; shorter lines are dropped: they say nothing about a language."""
LONGEST = 2_000
"""Characters; longer lines are cut at the end of a sentence if possible, else at a space, else anywhere."""
LEAST = 20_000
"""Characters of usable text (about ten pages); with less, nothing can be learned or measured."""

_CHUNK = 2**20  # bytes read at a time
_ROWS = (
    ".jsonl",
    ".ndjson",
    ".json",
    ".csv",
    ".tsv",
    ".parquet",
    SAVED,
)  # formats with columns; all others are lines of text
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ufeff]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SENTENCE_END = re.compile(r"[.!?。！？।؟።]\s*")
_FORMATS = {
    **{
        each.magic: f"compressed with {each.name}: name it FILE{each.extension}, or pipe it through {each.program}"
        for each in COMPRESSED
    },
    b"PK\x03\x04": "a zip archive or an office document: unpack it, or save it as plain text",
    b"%PDF": "a PDF: save its text as plain text",
}
"""The first bytes of files that are not plain text, and what to do with such files."""


@dataclass(frozen=True)
class Counts:
    """What happened to the lines of a text."""

    lines: int = 0
    empty: int = 0
    short: int = 0  # fewer characters than `SHORTEST`
    cut: int = 0  # pieces that long lines were cut into, beyond the first
    duplicates: int = 0  # lines equal to an earlier one
    kept: int = 0
    held_out: int = 0  # of the kept lines
    characters: int = 0  # of the kept lines

    def to_json(self) -> dict[str, int]:
        """Return the counts as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Corpus:
    """Cleaned text on disk, one document per line."""

    training: Path
    held_out: Path
    counts: Counts
    origins: tuple[str, ...]
    fingerprint: str  # sha256 of the kept lines, in order
    note: str | None = None  # how many lines are not plain text, and what to do about it; None if very few are

    def documents(self) -> Iterator[str]:
        """Yield the training documents in the order of the text."""
        return _documents(self.training)

    def held_out_documents(self) -> Iterator[str]:
        """Yield the held-out documents in a fixed order other than the text's."""
        return iter(sorted(_documents(self.held_out), key=_digest))

    def sample(self, count: int) -> list[str]:
        """Return `count` training documents, evenly spread over the text."""
        training = self.counts.kept - self.counts.held_out
        every = max(1, training // count)
        return [text for number, text in enumerate(self.documents()) if number % every == 0][:count]


def gather(
    sources: Sequence[str],
    folder: str | Path,
    *,
    column: str = "text",
    limit: int | None = None,
    strip_markup: bool = False,
) -> Corpus:
    """Read text, clean it, drop duplicate lines, hold a share out, and write both parts to `folder`.

    A document is a line, or a line of a row's text. Whether it is held out depends only on its content, not on the
    rest of the text or the order.

    Args:
        sources: Files, `-` for standard input, or files on the Hub (`OWNER/NAME[@REVISION]:PATTERN`).
        folder: Where to write `training.txt` and `held-out.txt`.
        column: The column of the text, in files with columns.
        limit: Keep only the first documents, at most this many.
        strip_markup: Whether to remove markup (`xmodctl.core.markup`) before everything else.

    Raises:
        UserError: A source cannot be read or is not text, much of it is not plain text, or there is too little.
    """
    seen: set[int] = set()
    forms = TextForms()
    tally = dict.fromkeys(asdict(Counts()), 0)
    fingerprint, mistakes = hashlib.sha256(), Mistakes(", ".join(sources))
    folder = Path(folder)
    paths = folder / "training.txt", folder / "held-out.txt"
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        training, held_out = (held.enter_context(path.open("w", encoding="utf-8")) for path in paths)
        for piece, begins in _pieces(sources, column, mistakes, strip_markup=strip_markup):
            if limit and tally["kept"] >= limit:
                break
            tally["lines" if begins else "cut"] += 1
            text = clean(piece)
            if len(text) < SHORTEST:
                tally["short" if text else "empty"] += 1
                continue
            digest = _digest(text)
            if digest in seen:
                tally["duplicates"] += 1
                continue
            seen.add(digest)
            forms.add(piece, text)
            tally["kept"] += 1
            tally["characters"] += len(text)
            fingerprint.update(digest.to_bytes(8, "big"))
            if digest < HELD_OUT * 2**64:
                tally["held_out"] += 1
                held_out.write(text + "\n")
            else:
                training.write(text + "\n")
    mistakes.raise_any()
    counts = Counts(**tally)
    note = forms.note(sources, counts.kept, is_stripped=strip_markup, file=_plain_file(sources))
    _check(counts, sources)
    return Corpus(*paths, counts, tuple(sources), fingerprint.hexdigest(), note)


def _check(counts: Counts, sources: Sequence[str]) -> None:
    """Refuse a text that is too short."""
    if counts.characters < LEAST:
        raise UserError(
            f"{', '.join(sources)}: {counts.characters:,} characters of usable text in {counts.kept:,} different "
            f"lines, but a language needs at least {LEAST:,} (about ten pages), and preferably a hundred times as "
            "many; give more text"
        )
    if not 0 < counts.held_out < counts.kept:
        raise UserError(
            f"{', '.join(sources)}: {counts.kept:,} different lines are too few to hold out {HELD_OUT:.0%} of them; "
            "write one paragraph per line, or give more text"
        )


def clean(line: str) -> str:
    """Return a line without control characters and with single spaces."""
    return " ".join(_CONTROL.sub(" ", line).split())


def _documents(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield line.rstrip("\n")


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _pieces(
    sources: Sequence[str], column: str, mistakes: Mistakes, *, strip_markup: bool
) -> Iterator[tuple[str, bool]]:
    """Yield lines, in pieces if they are too long, and whether a piece starts its line."""
    for source in sources:
        if source == STANDARD_INPUT:
            lines = _lines(sys.stdin.buffer, "standard input")
            yield from _stripped(lines) if strip_markup else lines
            continue
        for path, name in _files(source).items():
            if format_of(path) in _ROWS:
                yield from _rows(path, name, column, mistakes, strip_markup=strip_markup)
            else:
                lines = _plain_lines(path, name, mistakes)
                yield from _stripped(lines) if strip_markup else lines


def _stripped(pieces: Iterator[tuple[str, bool]]) -> Iterator[tuple[str, bool]]:
    """Yield the lines of a file without markup, in pieces as before."""
    remover = MarkupRemover()
    for piece, begins in pieces:
        for line in remover.lines(piece, begins=begins):
            yield from _cut(line)
    for line in remover.rest():
        yield from _cut(line)


def _plain_lines(path: Path, name: str, mistakes: Mistakes) -> Iterator[tuple[str, bool]]:
    file = DataFile(path, name, {}, mistakes, all_columns=False, place="{name}:{number}")
    for _, raw in guarded(file, _plain):
        yield raw["text"], raw["begins"]


def check_sources(sources: Sequence[str]) -> None:
    """Refuse texts that are neither files on this disk nor on the Hub, before anything is read.

    Raises:
        UserError: One is.
    """
    for source in sources:
        if source != "-":
            _local_file(source)


def _files(source: str) -> dict[Path, str]:
    """Return the files that a source names, and their names in messages."""
    path = _local_file(source)
    if path is not None:
        return {path: source}
    repository, _, pattern = source.partition(":")
    name, _, revision = repository.partition("@")
    return hub.files_of(name, revision or "main", pattern)


def _local_file(source: str) -> Path | None:
    """Return the file on this disk that a source names, or None for files on the Hub.

    Raises:
        UserError: It is neither.
    """
    path = Path(source).expanduser()
    if path.is_dir() and format_of(path) != SAVED:
        raise UserError(f"--text {source} is a folder; name the files in it, as in --text {_files_in(path)}")
    if path.exists():
        return path
    repository, colon, _ = source.partition(":")
    if repository.count("/") != 1 or repository.startswith((".", "/", "~")):
        raise UserError(
            f"--text {source}: no such file; give a file, `-` for standard input, or files of a data set on the Hub "
            "as OWNER/NAME:PATTERN"
        )
    if not colon:
        raise UserError(
            f"--text {source}: no such file; for a data set on the Hub, give a pattern for its files, as in "
            f"--text '{source}:data/train-*.parquet'"
        )
    return None


def _plain_file(sources: Sequence[str]) -> str | None:
    """Return the one file that the text is, if it is neither compressed nor has columns by its name."""
    path = Path(sources[0])
    if len(sources) > 1 or not path.is_file() or format_of(path) in _ROWS:
        return None
    return None if any(path.suffix == each.extension for each in COMPRESSED) else sources[0]


def _files_in(folder: Path) -> str:
    """Return how a shell names the files of a folder, or those of them that have the most common extension."""
    names = [file.name for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")]
    extensions = Counter("".join(Path(name).suffixes[-2:]) for name in names)
    extension = extensions.most_common(1)[0][0] if extensions else ".txt"
    return f"{shlex.quote(str(folder))}/*{shlex.quote(extension) if extension else ''}"


def _rows(path: Path, name: str, column: str, mistakes: Mistakes, *, strip_markup: bool) -> Iterator[tuple[str, bool]]:
    file, rows = read(path, name, {"text": column}, mistakes)
    for number, raw in rows:
        if column not in raw:
            columns = ", ".join(raw) or "none"
            raise UserError(f"{file.at(number)}: no column `{column}` (found {columns}); name it with --text-column")
        text = raw[column]
        if isinstance(text, str) and _SURROGATE.search(text):
            mistakes.add(file.at(number), f"`{column}` contains an unpaired surrogate, which is half a character")
        elif isinstance(text, str):
            for line in re.split(r"\r\n|\r|\n", without_markup(text) if strip_markup else text):
                yield from _cut(line)
        elif text is not None:
            mistakes.add(file.at(number), f"`{column}` is {quoted(text)}; expected text")


def _plain(file: DataFile) -> Numbered:
    with open_bytes(file.path) as stream:
        for number, (piece, begins) in enumerate(_lines(stream, file.name), start=1):
            yield number, {"text": piece, "begins": begins}


def _lines(stream: IO[bytes], name: str) -> Iterator[tuple[str, bool]]:
    """Decode UTF-8 with any line ends; at most a chunk and a part of a line are in memory."""
    # The type stub knows only the decoders of the io module.
    decoder: Any = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8-sig")(), translate=True)
    rest, number, begins, first = "", 1, True, True
    while True:
        chunk = stream.read(_CHUNK)
        _refuse_binary(chunk, name, number, first=first)
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            raise UserError(
                f"{name}: byte 0x{error.object[error.start]:02x} after line {number:,} is not UTF-8; save it as UTF-8"
            ) from error
        *lines, rest = (rest + text).split("\n")
        for line in lines:
            for piece, starts in _cut(line):
                yield piece, starts and begins
                begins = False
            number, begins = number + 1, True
        *pieces, rest = [piece for piece, _ in _cut(rest)]  # a line without an end so far
        for piece in pieces:
            yield piece, begins
            begins = False
        first = False
        if not chunk:
            break
    if rest:
        yield rest, begins


def _refuse_binary(chunk: bytes, name: str, number: int, *, first: bool) -> None:
    if first:
        for start, description in _FORMATS.items():
            if chunk.startswith(start):
                raise UserError(f"{name} is {description}")
    if b"\0" in chunk:
        raise UserError(f"{name} is not text (a zero byte after line {number:,}); give plain UTF-8 text")


def _cut(line: str) -> Iterator[tuple[str, bool]]:
    """Yield a line in pieces of at most `LONGEST` characters, and whether a piece is the first."""
    start = 0
    while len(line) - start > LONGEST:
        end = _end(line, start, start + LONGEST)
        yield line[start:end], start == 0
        start = end
    yield line[start:], start == 0


def _end(line: str, start: int, limit: int) -> int:
    """Return where to cut at the latest: after a sentence, after a space, or before a letter with its marks."""
    half = (start + limit) // 2
    sentences = [match.end() for match in _SENTENCE_END.finditer(line, half, limit)]
    if sentences:
        return sentences[-1]
    if (space := max(line.rfind(" ", half, limit), line.rfind("\t", half, limit))) >= 0:
        return space + 1
    while limit > half and (unicodedata.category(line[limit])[0] == "M" or line[limit] in "\u200c\u200d"):
        limit -= 1
    return limit
