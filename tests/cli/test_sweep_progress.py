"""What a sweep shows on the terminal."""

from xmodctl.cli.sweep_progress import SweepProgress
from xmodctl.core.events import LanguageFailed, LanguageStarted
from xmodctl.core.messages import FileNote


def test_a_language_that_fails_for_one_reason_through_several_adapters_is_said_once(capsys):
    with SweepProgress() as progress:
        for adapter, reason in (("en_XX", "no data"), ("de_DE", "no data"), (None, "another")):
            progress.show(LanguageFailed("zu", adapter, 1, reason))
    assert [line.split(": failed: ")[1] for line in capsys.readouterr().err.splitlines()] == ["no data", "another"]


def test_a_note_on_the_rows_of_a_language_is_said_once_for_all_seeds(capsys):
    with SweepProgress() as progress:
        for seed in (1, 2):
            for language in ("en", "zu"):
                progress.show(LanguageStarted(language, language, "own", seed, 3, ("all rows have the label a",)))
    notes = [line for line in capsys.readouterr().err.splitlines() if "all rows" in line]
    assert notes == ["en: all rows have the label a", "zu: all rows have the label a"]


def test_a_note_on_a_file_of_several_languages_is_said_once(capsys):
    with SweepProgress() as progress:
        for language in ("en", "zu"):
            note = FileNote('my.csv: columns are separated by ";", not by commas')
            progress.show(LanguageStarted(language, language, "own", 1, 3, (note,)))
    assert capsys.readouterr().err.splitlines() == ['my.csv: columns are separated by ";", not by commas']
