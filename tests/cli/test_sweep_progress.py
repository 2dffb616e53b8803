"""What a sweep shows on the terminal."""

from xmodctl.cli.sweep_progress import SweepProgress
from xmodctl.core.events import LanguageFailed


def test_a_language_that_fails_for_one_reason_through_several_adapters_is_said_once(capsys):
    with SweepProgress() as progress:
        for adapter, reason in (("en_XX", "no data"), ("de_DE", "no data"), (None, "another")):
            progress.show(LanguageFailed("zu", adapter, 1, reason))
    assert [line.split(": failed: ")[1] for line in capsys.readouterr().err.splitlines()] == ["no data", "another"]
