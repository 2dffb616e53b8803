"""The command line as tests call it."""

from pathlib import Path

from typer.testing import CliRunner, Result

from xmodctl.cli.app import app

CHANGED = ("epochs=30", "batch_size=8", "learning_rate=0.01", "max_length=32", "dropout=0", "attention_dropout=0")
SETTINGS = [word for change in CHANGED for word in ("--set", change)]


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def finetune(model: Path, data: Path, out: Path, *more: object) -> Result:
    return run(
        "finetune", "--task", "xnli", "--lang", "en", "--model", model, "--data", data, "--out", out, *SETTINGS, *more
    )


def refused(result: Result) -> str:
    """Return the message of a command that the user can fix: exit code 2, one message, no traceback."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert result.output.count("Error") == 1, result.output
    return " ".join(result.output.split())
