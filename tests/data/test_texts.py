import bz2
import gzip
import io
import json
import lzma
import random
import unicodedata
from pathlib import Path

import pytest

from xmodctl.core.errors import UserError
from xmodctl.data import texts
from xmodctl.data.texts import HELD_OUT, LEAST, LONGEST, gather


def lines(count: int = 1_000, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    words = ["ngiyabonga", "kakhulu", "umuntu", "ngumuntu", "ngabantu", "izwe", "lethu"]
    return [f"{number} " + " ".join(draw.choices(words, k=draw.randint(4, 12))) for number in range(count)]


def write(path, content: str | bytes):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def kept(corpus) -> list[str]:
    return [*corpus.documents(), *corpus.held_out_documents()]


@pytest.mark.parametrize(
    ("name", "packed"),
    [("a.txt", bytes), ("a.gz", gzip.compress), ("a.txt.xz", lzma.compress), ("a.bz2", bz2.compress)],
)
def test_plain_and_compressed_files_give_the_same_text(tmp_path, name, packed):
    source = lines()
    corpus = gather([write(tmp_path / name, packed("\n".join(source).encode()))], tmp_path / "out")
    assert sorted(kept(corpus)) == sorted(source)
    assert corpus.counts.lines == corpus.counts.kept == 1_000
    assert corpus.counts.characters == sum(map(len, source))


def test_zstandard_is_read(tmp_path):
    import pyarrow

    data = "\n".join(lines()).encode()
    path = tmp_path / "a.zst"
    with pyarrow.output_stream(str(path), compression="zstd") as file:
        file.write(data)
    assert gather([str(path)], tmp_path / "out").counts.kept == 1_000


def test_a_byte_order_mark_and_any_line_ends_are_no_part_of_the_text(tmp_path):
    source = lines()
    mixed = "\ufeff" + "".join(line + end for line, end in zip(source, ["\n", "\r\n", "\r", "\r\n"] * 250, strict=True))
    corpus = gather([write(tmp_path / "a.txt", mixed)], tmp_path / "out")
    assert sorted(kept(corpus)) == sorted(source)


def test_standard_input_is_read(tmp_path, monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO("\n".join(lines()).encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    assert gather(["-"], tmp_path / "out").counts.kept == 1_000


def test_rows_with_columns_are_read_line_by_line(tmp_path):
    source = lines()
    rows = [{"body": "\n".join(source[start : start + 10]), "id": start} for start in range(0, 1_000, 10)]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert sorted(kept(gather([path], tmp_path / "out", column="body"))) == sorted(source)
    with pytest.raises(UserError, match=r"a\.jsonl:1: no column `text` \(found body, id\).*--text-column"):
        gather([path], tmp_path / "out")


def test_a_cell_that_is_no_text_is_told_with_its_place(tmp_path):
    rows = [{"text": column} for column in lines()] + [{"text": 7}]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"a\.jsonl:1001: `text` is 7; expected text"):
        gather([path], tmp_path / "out")


def test_what_is_dropped_is_counted(tmp_path):
    source = lines()
    content = "\n".join([*source, "", "   ", "short", *source[:30], "  ".join(source[0].split()) + "\x07"])
    counts = gather([write(tmp_path / "a.txt", content)], tmp_path / "out").counts
    assert (counts.lines, counts.empty, counts.short, counts.duplicates, counts.kept) == (1_034, 2, 1, 31, 1_000)


def test_what_is_held_out_depends_on_the_line_alone(tmp_path):
    source = lines(3_000)
    alone = gather([write(tmp_path / "a.txt", "\n".join(source))], tmp_path / "one")
    more = [*lines(2_000, seed=1), *reversed(source)]
    other = gather([write(tmp_path / "b.txt", "\n".join(more))], tmp_path / "other")
    held_out = [line for line in other.held_out_documents() if line in set(source)]
    assert list(alone.held_out_documents()) == held_out
    assert abs(len(held_out) / 3_000 - HELD_OUT) < 0.015
    assert not set(alone.documents()) & set(alone.held_out_documents())
    assert alone.fingerprint != other.fingerprint


def test_several_files_are_one_text_and_each_line_comes_once(tmp_path):
    source = lines()
    places = [
        write(tmp_path / "a.txt", "\n".join(source[:600])), write(tmp_path / "b.txt", "\n".join(source[500:])),
    ]  # fmt: skip
    corpus = gather(places, tmp_path / "out")
    assert (corpus.counts.kept, corpus.counts.duplicates) == (1_000, 100)
    assert corpus.origins == tuple(places)


def test_a_limit_keeps_the_first_lines(tmp_path):
    corpus = gather([write(tmp_path / "a.txt", "\n".join(lines()))], tmp_path / "out", limit=600)
    assert sorted(kept(corpus)) == sorted(lines()[:600])


def test_one_endless_line_is_cut_at_sentences_and_nothing_is_lost(tmp_path):
    sentences = [f"Umusho {number} uphela lapha namhlanje." for number in range(100_000)]
    line = " ".join(sentences)
    corpus = gather([write(tmp_path / "a.txt", line)], tmp_path / "out")
    pieces = kept(corpus)
    assert max(map(len, pieces)) <= LONGEST
    assert all(piece.endswith(".") for piece in pieces)
    assert sorted(word for piece in pieces for word in piece.split()) == sorted(line.split())
    assert (corpus.counts.lines, corpus.counts.cut) == (1, len(pieces) - 1)


def test_a_line_without_blanks_is_not_cut_within_a_letter_and_its_marks(tmp_path):
    letters = [chr(0x915 + number % 37) + "\u093f" * (number % 3) for number in range(60_000)]
    random.Random(0).shuffle(letters)
    corpus = gather([write(tmp_path / "a.txt", "".join(letters))], tmp_path / "out")
    pieces = kept(corpus)
    assert len(pieces) > 1
    assert not [piece for piece in pieces if unicodedata.category(piece[0]).startswith("M")]
    assert sum(map(len, pieces)) == len("".join(letters))


def test_reading_in_small_chunks_gives_the_same_lines(tmp_path, monkeypatch):
    source = lines(300)
    path = write(tmp_path / "a.txt", "\r\n".join(text.replace("u", "ü") * 3 for text in source))
    whole = gather([path], tmp_path / "whole")
    monkeypatch.setattr(texts, "_CHUNK", 7)
    assert gather([path], tmp_path / "parts").fingerprint == whole.fingerprint


def test_a_file_in_utf16_has_the_lines_that_it_has_in_utf8(tmp_path):
    content = "\n".join(lines())
    gathered = [
        gather([write(tmp_path / f"{encoding}.txt", content.encode(encoding))], tmp_path / encoding).fingerprint
        for encoding in ("utf-8", "utf-16", "utf-16-le", "utf-16-be")
    ]
    assert len(set(gathered)) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"a\.txt: 0 characters of usable text in 0 different lines.*at least 20,000 \(about ten pages\)"),
        (b"a few words of text\n" * 9_000, r"19 characters of usable text in 1 different lines"),
        (b"text \0 and more", r"is not text \(a zero byte after line 1\)"),
        (b"caf\xe9 au lait\n" * 5_000, r"byte 0xe9 after line 1 is not UTF-8; save it as UTF-8"),
        ("text".encode("utf-16")[:-1], r"not all of it is UTF-16 text \(truncated data\)"),
        (gzip.compress(b"text", mtime=0), r"compressed with gzip: name it FILE\.gz, or pipe it through zcat"),
        (b"%PDF-1.7 ...", r"is a PDF: save its text as plain text"),
        (b"PK\x03\x04....", r"a zip archive or an office document"),
    ],
)
def test_what_is_no_text_or_too_little_is_refused_in_a_sentence(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        gather([write(tmp_path / "a.txt", content)], tmp_path / "out")


def test_a_file_that_is_cut_off_is_told(tmp_path):
    packed = gzip.compress("\n".join(lines()).encode())
    with pytest.raises(UserError, match="damaged or truncated"):
        gather([write(tmp_path / "a.gz", packed[: len(packed) // 2])], tmp_path / "out")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere.txt", r"no such file; give a file, `-` for standard input"),
        ("owner/name", r"for a data set on the Hub, give a pattern for its files, as in --text 'owner/name:"),
        (
            "owner/name:*.parquet",
            r"cannot load owner/name:\*\.parquet from the Hub .*: offline mode is on.*`--text FILE`",
        ),
        ("{folder}", r"is a folder; name the files in it"),
    ],
)
def test_a_place_that_holds_no_text_is_refused(tmp_path, place, message):
    with pytest.raises(UserError, match=message):
        gather([place.format(folder=tmp_path)], tmp_path / "out")


def test_files_of_a_data_set_on_the_hub_are_read_and_no_others(tmp_path, hub):
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = lines()
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{"text": path} for path in source[:400]]), buffer)
    files = {
        "zu/a.parquet": buffer.getvalue(),
        "zu/b.txt": "\n".join(source[400:]).encode(),
        "de/a.parquet": b"not asked for",
    }
    hub.add("datasets", "owner/text", files)
    corpus = gather(["owner/text:zu/*"], tmp_path / "out")
    assert sorted(kept(corpus)) == sorted(source)
    assert hub.fetched() == {"zu/a.parquet", "zu/b.txt"}
    with pytest.raises(UserError, match=r"cannot load owner/text:xh/\* from the Hub .*no file `xh/\*`.*`--text FILE`"):
        gather(["owner/text:xh/*"], tmp_path / "other")


def test_the_least_text_is_enough(tmp_path):
    source = lines(2_000)
    while sum(map(len, source)) - len(source[-1]) >= LEAST:
        source.pop()
    assert gather([write(tmp_path / "a.txt", "\n".join(source))], tmp_path / "out").counts.characters >= LEAST


def test_a_sample_is_spread_over_the_text(tmp_path):
    corpus = gather([write(tmp_path / "a.txt", "\n".join(lines()))], tmp_path / "out")
    numbers = [int(text.split()[0]) for text in corpus.sample(10)]
    assert len(numbers) == 10
    assert numbers[0] < 100 < 800 < numbers[-1]


def as_file(lines: list[str], form: str, folder: Path) -> str:
    """Write lines in a format of text, and return the file."""
    from datasets import Dataset

    path, text = folder / f"bible{form}", "\n".join(lines) + "\n"
    match form:
        case ".txt":
            path.write_text(text)
        case ".txt.gz":
            path.write_bytes(gzip.compress(text.encode()))
        case ".jsonl":
            path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
        case ".tsv":
            path.write_text("text\n" + text)
        case ".json":
            path.write_text(json.dumps([{"text": line} for line in lines]))
        case "-saved":
            Dataset.from_dict({"text": lines}).save_to_disk(path)
        case _:
            getattr(Dataset.from_dict({"text": lines}), f"to_{form[1:]}")(path)
    return str(path)


@pytest.mark.parametrize("form", [".txt", ".txt.gz", ".jsonl", ".json", ".csv", ".tsv", ".parquet", "-saved"])
def test_a_text_of_markup_is_refused_and_stripped_on_request_in_every_format(form, tmp_path):
    words = [f"{n} amavi & {'neno ' * 12}".strip() for n in range(400)]
    lines = [f'<seg id="b.MAT.{n}.1" type="verse">{line.replace("&", "&amp;")}</seg>' for n, line in enumerate(words)]
    path = as_file(lines, form, tmp_path)
    message = r"bible\S*: 100% of the lines contain markup, such as .*<seg id=.*; remove it with --strip-markup"
    with pytest.raises(UserError, match=message):
        gather([path], tmp_path / "out")
    stripped = gather([path, path], tmp_path / "stripped", strip_markup=True)
    plain = gather([as_file(words, ".txt", tmp_path)], tmp_path / "plain")
    assert stripped.fingerprint == plain.fingerprint
    assert sorted(kept(stripped)) == sorted(words)


def test_markup_that_stays_has_another_remedy(tmp_path):
    path = write(tmp_path / "a.txt", "\n".join(f"{n} &unknown; neno {'neno ' * 12}" for n in range(400)))
    with pytest.raises(UserError, match=r"100% of the lines contain markup.*; save it as plain text$"):
        gather([path], tmp_path / "out", strip_markup=True)


def test_a_few_tags_and_signs_of_less_than_are_no_markup(tmp_path):
    lines = [f"{n} < {n + 1} na <3 {'neno ' * 12}" for n in range(400)] + [
        f"<b>{n}</b> {'neno ' * 9}" for n in range(20)
    ]
    path = tmp_path / "text.txt"
    path.write_text("\n".join(lines) + "\n")
    corpus = gather([str(path)], tmp_path / "out")
    assert corpus.counts.kept == 420
    assert corpus.note == '5% of the lines contain markup, such as "<b>"; remove it with --strip-markup'
    assert gather([str(path)], tmp_path / "out", strip_markup=True).note is None
    path.write_text("\n".join(lines[:403]) + "\n")
    assert gather([str(path)], tmp_path / "out").note is None


def test_half_a_character_in_a_row_of_text_is_a_mistake_with_its_line(tmp_path):
    lines = [json.dumps({"text": f"a line of text with enough words, number {number}"}) for number in range(900)]
    (tmp_path / "text.jsonl").write_text("\n".join([*lines, '{"text": "half a character \\ud800"}']) + "\n")
    with pytest.raises(UserError, match=r"text\.jsonl:901: `text` contains an unpaired surrogate"):
        gather([str(tmp_path / "text.jsonl")], tmp_path / "out")
