"""Nothing that comes from a file reaches the terminal as a control: it is printed so that it can be seen."""

import json
import logging
import re
import shutil
import subprocess
import sys
import unicodedata
import warnings
from pathlib import Path

import pytest
from command_line import run

from xmodctl.cli import display
from xmodctl.cli.display import console_for
from xmodctl.cli.screening import screened
from xmodctl.core.visible import printable, printable_json

EVIL = "\x1b]0;title\x07\x1b[2J\x9b31m[bold]b[/bold]:smile:\u202egnp\x7f|`=1"
"""Sets the title, rings, clears the screen, colors, is markup and an emoji code of Rich, turns the line around."""

NAME = EVIL.replace("/", "")
"""As the name of a file."""

STYLES = re.compile(r"\x1b\[[0-9;]*m")


def controls(text: str) -> list[str]:
    """Return the characters of a text that a terminal acts on, apart from line ends and tabs."""
    return [
        f"U+{ord(character):04X}"
        for character in text.replace("\r\n", "\n")
        if unicodedata.category(character) in ("Cc", "Cf", "Cs") and character not in "\n\t"
    ]


def evil_lines(count: int, **columns: str) -> str:
    return "".join(
        json.dumps({"id": f"{EVIL}{number}", "label": f"{EVIL}{'xy'[number % 2]}"} | {
            name: f"{text}\n{EVIL} the cat {number}" for name, text in columns.items()
        }) + "\n"
        for number in range(count)
    )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """Return a folder with a task, data, a trained and scored run, and an adapter, all of whose names are evil."""
    place = tmp_path_factory.mktemp("evil")
    task = {
        "title": EVIL, "description": EVIL, "citation": EVIL, "license": EVIL, "kind": "sequence-classification",
        "columns": {"text": f"{EVIL}text", "label": "label"}, "labels": [f"{EVIL}x", f"{EVIL}y"],
        "languages": ["en", "de", "fr"], "recipe": "nli",
    }  # fmt: skip
    (place / "task.yaml").write_text(json.dumps(task))
    for language in ("en", "de"):
        for split in ("train", "validation", "test"):
            (place / "data" / language).mkdir(parents=True, exist_ok=True)
            (place / "data" / language / f"{split}.jsonl").write_text(evil_lines(12, **{f"{EVIL}text": "a"}))
    (place / "data" / f"{NAME}\nfr").mkdir()
    (place / "data" / f"{NAME}\nfr" / "test.jsonl").write_text(evil_lines(2, **{f"{EVIL}text": "a"}))
    shutil.copytree(tiny_model, place / f"model{NAME}")
    trained = run(
        "finetune", "--task", place / "task.yaml", "--lang", "en", "--model", place / f"model{NAME}", "--data",
        place / "data", "--out", place / f"runs/{NAME}", "--set", "epochs=1", "--set", "max_length=32",
    )  # fmt: skip
    assert trained.exit_code == 0, trained.output
    assert not controls(trained.output)
    scored = run("eval-transfer", "--run", place / f"runs/{NAME}", "--langs", "en,de", "--controls", "source")
    assert scored.exit_code == 0, scored.output
    assert not controls(scored.output)
    return place


COMMANDS = [
    ("runs", "RUNS"), ("runs", "RUNS", "--json"), ("runs", "show", "RUN"), ("report", "RUN", "--format", "terminal"),
    ("report", "RUN", "--format", "markdown"), ("report", "RUN", "--format", "latex"),
    ("report", "RUN", "--format", "csv"), ("report", "RUN", "--out", "PLACE/report.html"), ("report", "RUN", "--json"),
    ("score", "--run", "RUN"), ("score", "--run", "RUN", "--json"), ("compare", "RUN", "--json"), ("compare", "RUN"),
    ("doctor", "--run", "RUN"), ("eval-transfer", "--run", "RUN", "--langs", "en,de", "--json"),
    ("inspect", "--task", "TASK", "--lang", "en", "--model", "MODEL", "--data", "DATA"),
    ("inspect", "--task", "TASK", "--lang", "en", "--model", "MODEL", "--data", "DATA", "--json"),
    ("explain", "RUN", "--lang", "de"), ("inspect", "--run", "RUN", "--lang", "de"),
    ("check", "--task", "TASK", "--lang", "en", "--model", "MODEL", "--data", "DATA"),
    ("finetune", "--task", "TASK", "--lang", "en", "--model", "MODEL", "--data", "DATA", "--dry-run"),
    ("langs", "--model", "MODEL"), ("langs", "--model", "MODEL", "--task", "TASK", "--data", "DATA"),
    ("predict", "--run", "RUN", "--lang", "en", "DATA/en/test.jsonl"), ("resume", "RUN"),
    ("export", "--run", "RUN", "--out", "PLACE/exported"), ("predict", "--run", "RUN", "--lang", "en", "BROKEN"),
    ("finetune", "--task", "TASK", "--lang", "xx", "--model", "MODEL", "--data", "DATA"),
    ("eval-transfer", "--run", "RUN", "--langs", "sw"), ("check", "--task", "BROKEN", "--lang", "en"),
    ("finetune", "--task", "EVILYAML", "--lang", "en", "--model", "MODEL"), ("adapters", "verify", "PLACE/package"),
    ("adapters", "list", "PLACE"), ("langs", "--model", "PLACE/package"), ("runs", "PLACE/broken"),
    ("report", "PLACE/broken/run"), ("adapters", "verify", "PLACE/named"), ("tasks", "show", "TASK"),
    ("tasks", "show", "EVILYAML"), ("tasks", "show", "TASK", "--yaml"), ("tasks", "show", "TASK", "--json"),
    ("langs", "--model", "MODEL", "--task", "TASK,xnli", "--out", "PLACE/map.html"),
]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_command_prints_a_control_character_of_a_file(words, place, monkeypatch):
    evil = json.dumps(EVIL)
    for folder, name, text in (
        ("", "broken.jsonl", f'{{"{EVIL}": 1}}\n'),
        ("", "evil.yaml", f"title: {evil}\n{evil}: 1\nkind: {evil}\nlabels: [{evil}]\n"),
        ("package", "adapter.json", json.dumps({"format": EVIL})),
        ("package", "config.json", json.dumps({"model_type": EVIL})),
        ("named", "adapter.json", json.dumps({"format": "xmodctl-adapter-1", "language": EVIL})),
        ("broken/run", "run.json", json.dumps({"schema": 1, EVIL: 1, "seeds": EVIL, "plan": {"task": {EVIL: EVIL}}})),
    ):
        (place / folder).mkdir(parents=True, exist_ok=True)
        (place / folder / name).write_text(text)
    places = {
        "RUNS": place / "runs", "RUN": place / f"runs/{NAME}", "TASK": place / "task.yaml", "DATA": place / "data",
        "MODEL": place / f"model{NAME}", "BROKEN": place / "broken.jsonl", "EVILYAML": place / "evil.yaml",
    }  # fmt: skip
    filled = [word.replace("PLACE", str(place)).replace("DATA/", f"{place}/data/") for word in words]
    typed = [places.get(word, word) for word in filled]
    result = run(*typed)
    assert result.exit_code in (0, 1, 2), (result.output, result.exception)
    assert "Traceback" not in result.output
    assert "Usage:" not in result.output, result.output
    assert not controls(result.output), result.output
    shows_no_name = words[0] in ("doctor", "resume", "score", "compare") or words == ("runs", "PLACE/broken")
    assert shows_no_name or result.exit_code or "[bold]b[" in result.output, result.output
    assert "😄" not in result.output


def test_on_a_terminal_only_the_programs_own_styles_are_printed(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    display.show(display.sheet((EVIL, "b"), [(EVIL, EVIL)], title=EVIL))
    display.note(EVIL)
    display.warn(EVIL)
    display.fail(EVIL)
    printed = capsys.readouterr()
    for text in (printed.out, printed.err):
        assert STYLES.search(text)
        assert not controls(STYLES.sub("", text))
        assert "[bold]" in text.replace("\n", "")


def test_a_progress_bar_shows_a_name_as_it_is(monkeypatch, capsys):
    from xmodctl.cli.progress import Bar

    monkeypatch.setenv("FORCE_COLOR", "1")
    with Bar("") as bar:
        task = bar.bar.add_task(EVIL, total=3)
        cells = [column.render(bar.bar.tasks[task]) for column in bar.bar.columns[:1]]
        bar.say(EVIL)
    assert str(cells[0]).startswith("<U+001B>]0;title<U+0007>")
    assert "[bold]b[/bold]:smile:" in str(cells[0])
    assert not {"U+009B", "U+202E", "U+0007"} & set(controls(capsys.readouterr().err))


def test_a_line_break_in_a_name_is_neither_a_row_nor_a_message(capsys):
    display.show(display.sheet(("a", "b"), [("x\nfake 99.9", "1\n2")], title="t\nfake"))
    display.fail("no folder x\nError: fake")
    printed = capsys.readouterr()
    assert [line.split()[0] for line in printed.out.splitlines()[1:3]] == ["a", "x<U+000A>fake"]
    assert "t<U+000A>fake" in printed.out
    assert printed.err.splitlines() == ["Error: no folder x", "  Error: fake"]


def test_log_records_and_warnings_of_every_library_are_printable_while_a_command_runs(caplog):
    with screened():
        logging.getLogger("a.library").warning("damaged: %s", EVIL)
        assert not controls(warnings.formatwarning(EVIL, UserWarning, "f", 1))
    assert not controls(caplog.messages[0])
    assert "[bold]" in caplog.messages[0]
    logging.getLogger("a.library").warning("as it is: %s", EVIL)
    assert controls(caplog.messages[1])


def test_what_a_command_logs_is_printable(tmp_path):
    path = tmp_path / NAME / "run.json"
    path.parent.mkdir()
    path.write_text("{")
    words = [sys.executable, "-m", "xmodctl", "runs", str(tmp_path)]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "]0;title<U+0007>" in result.stderr
    assert not controls(result.stderr)


def test_the_traceback_of_a_bug_is_printable(tmp_path):
    code = (
        "import sys; from xmodctl.cli.screening import print_exception; sys.excepthook = print_exception; "
        f"raise ValueError({EVIL!r})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ValueError: <U+001B>]0;title" in result.stderr
    assert not controls(result.stderr)


@pytest.mark.parametrize("text", ["a\nb\tc", "a\r\nb", "می\u200cخواهم", "plain", ""])
def test_text_without_controls_is_printed_as_it_is(text):
    assert printable(text) == text
    assert printable_json(json.dumps(text, ensure_ascii=False)) == json.dumps(text, ensure_ascii=False)


@pytest.mark.parametrize("text", [EVIL, "\ud800", "\U000e0001", "\u2028", "\x00"])
def test_json_on_the_terminal_has_the_same_value(text):
    shown = printable_json(json.dumps({text: [text]}, ensure_ascii=False, indent=2))
    assert not controls(shown)
    assert json.loads(shown) == {text: [text]}


def test_a_console_is_plain_where_there_is_no_terminal(capsys):
    assert console_for(sys.stderr).width == display.PLAIN_WIDTH
