import json
import shlex
import subprocess
from pathlib import Path

import pytest

from xmodctl.core.errors import UserError
from xmodctl.data.texts import Corpus, gather

SENTENCES = [f"neno la {number} katika sentensi ya kawaida yenye maneno mengi ya lugha" for number in range(400)]
WORDS = [f"{number}\tmaneno{number}\tNOUN\t_" for number in range(2000)]


def gathered(lines: list[str], folder: Path, name: str = "text.txt") -> Corpus:
    (folder / name).write_text("\n".join(lines) + "\n")
    return gather([str(folder / name)], folder / "out")


def test_lines_with_columns_are_refused_and_the_command_in_the_message_gives_the_text(tmp_path):
    with pytest.raises(UserError, match=r'100% of the lines contain columns.* such as "0\\t0\.1') as refusal:
        gathered([f"{number}\t0.1\t{line}" for number, line in enumerate(SENTENCES)], tmp_path, "of words.txt")
    command = str(refusal.value).split("for example: ")[1]
    assert shlex.split(command)[:4] == ["cut", "-f", "3", str(tmp_path / "of words.txt")]
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    corpus = gather([str(tmp_path / "sentences.txt")], tmp_path / "out")
    assert corpus.note is None
    assert corpus.fingerprint == gathered(SENTENCES, tmp_path).fingerprint


def test_columns_of_words_have_another_remedy_than_columns_of_sentences(tmp_path):
    comments = [f"# text = {line}" for line in SENTENCES]
    message = r"text\.conllu: 83% of the lines contain columns.*; write its sentences as plain text, one per line$"
    with pytest.raises(UserError, match=message):
        gathered(comments + WORDS, tmp_path, "text.conllu")


def test_times_of_subtitles_and_json_in_plain_text_are_refused(tmp_path):
    times = [f"00:{number // 60:02}:{number % 60:02},000 --> 00:00:00,900" for number in range(400)]
    with pytest.raises(UserError, match=r"50% of the lines contain times of subtitles.*; save it as plain text$"):
        gathered(times + SENTENCES, tmp_path)
    rows = [json.dumps({"text": line}) for line in SENTENCES]
    with pytest.raises(UserError, match=r"100% of the lines contain JSON.*; name the file FILE\.jsonl"):
        gathered(rows, tmp_path)
    assert gathered(rows, tmp_path, "text.jsonl").counts.kept == 400


def test_codes_of_usfm_and_tex_are_refused_and_paths_are_text(tmp_path):
    scripture = [rf'\v {number} \w neno|strong="H1"\w* {line}' for number, line in enumerate(SENTENCES, 1)]
    quotes = [rf"{line} \+nd Bwana\+nd*" for line in SENTENCES]
    papers = [rf"\section{{{line}}}" for line in SENTENCES]
    for lines in (scripture, quotes, papers):
        with pytest.raises(
            UserError, match=r"100% of the lines contain codes of USFM or TeX.*; save it as plain text$"
        ):
            gathered(lines, tmp_path)
    paths = [rf"{line} C:\new\folder \\server\share AC\DC 3 \ 4" for line in SENTENCES]
    assert gathered(paths, tmp_path).note is None


def test_a_few_columns_are_reported_and_indented_lines_braces_and_arrows_are_text(tmp_path):
    few = [f"{number}\tneno la {number} katika meza" for number in range(20)]
    others = ["\t" + SENTENCES[0], '{"neno"} katika sentensi ya kawaida', "saa 10:30 --> saa 11:30 asubuhi", few[0]]
    note = gathered([*SENTENCES, *few], tmp_path).note
    assert note is not None
    assert note.startswith("5% of the lines contain columns, separated by tabs, such as")
    assert gathered([*SENTENCES, *others], tmp_path).note is None


def tagged(mark: str) -> list[str]:
    return [" ".join(f"{word}{mark}" for word in line.split()) for line in SENTENCES]


FORMS = {
    "entries of PO files": [f'msgstr "{line}"' for line in SENTENCES],
    "columns, separated by commas": [f'{number},"{line}",sw' for number, line in enumerate(SENTENCES)],
    "columns, separated by commas, all in quotes": [f'"{line}","{line}"' for line in SENTENCES],
    "columns, separated by semicolons": [f"{number};{line};sw" for number, line in enumerate(SENTENCES)],
    "columns, separated by semicolons or |": [f"{number} | {line} | sw" for number, line in enumerate(SENTENCES)],
    "times of subtitles": [f"[00:{number % 60:02}.25]{line}" for number, line in enumerate(SENTENCES)],
    "tags of words": tagged("/NN"),
    "tags of words, universal": tagged("_NOUN"),
    "pieces of words": [" ".join(f"▁{word}" for word in line.split()) for line in SENTENCES],
    "pieces of words, BPE": [line.replace("ka", "ka@@ ") for line in SENTENCES],
    "lists or values as programs write them": [f'  "key": "{line}",' for line in SENTENCES],
    "lists or values as programs write them, in JSON": [f'"{line}",' for line in SENTENCES],
    "lists or values as programs write them, in Python": [f"['{line}', 'x']," for line in SENTENCES],
    "lists or values as programs write them, in YAML": [f'- text: "{line}"' for line in SENTENCES],
}


@pytest.mark.parametrize(("form", "lines"), FORMS.items(), ids=FORMS)
def test_what_programs_write_around_sentences_is_not_learned(tmp_path, form, lines):
    with pytest.raises(UserError) as refusal:
        gathered(lines, tmp_path)
    assert f"100% of the lines contain {form.split(',')[0]}" in str(refusal.value)
    assert str(refusal.value).endswith("; save it as plain text")


def test_quotes_slashes_and_marks_within_sentences_are_text(tmp_path):
    others = [
        '"Ndiyo", alisema mwalimu, "njoo hapa"',
        '"Ndiyo," alisema, "njoo."',
        "tarehe 3/4/2020 na/au 5/6, km/h, UN/AU/EU",
        "alisema; kisha akaenda; baadaye akarudi",
        "[Muziki] neno la kwanza",
        "saa 10:30, saa 11:30, mtu@mfano.org",
        "- jina: Juma na Asha",
        '"sentensi nzima ndani ya alama za kunukuu"',
        "a, b, c, d, e, f, g, h",
    ]
    assert gathered([*(f"{line} {number}" for number in range(80) for line in others)], tmp_path).note is None
