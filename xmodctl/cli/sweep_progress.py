"""The progress of `eval-transfer` and `donors` on the terminal."""

from xmodctl.cli.progress import Bar, duration
from xmodctl.core import events
from xmodctl.core.messages import FileNote


class SweepProgress(Bar):
    """Draws the progress of a sweep."""

    def __init__(self) -> None:
        super().__init__("{task.fields[state]}")
        self.failures: set[tuple[str, str]] = set()  # what was said: a language can fail once per adapter and seed
        self.notes: set[str] = set()  # what was said: each seed reads the same rows, and languages may share a file

    def show(self, event: events.Event) -> None:
        """Draw one event."""
        match event:
            case events.LanguageStarted():
                for text in event.notes if event.control == "own" else ():
                    note = text if isinstance(text, FileNote) else f"{event.language}: {text}"
                    if note not in self.notes:
                        self.notes.add(note)
                        self.say(note)
                name = f"{event.language}{_through(event.language, event.adapter)}"
                self.task = self.bar.add_task(name, total=event.examples, state="")
            case events.BatchScored():
                if self.task is not None:
                    self.bar.advance(self.task, event.examples)
            case events.LanguageScored():
                if self.task is not None:
                    self.bar.remove_task(self.task)
                    self.task = None
                known = " (scored before)" if event.known else f" in {duration(event.seconds)}"
                through = _through(event.language, event.adapter)
                self.say(f"{event.language}{through}: {event.metric} {event.value:.1f}{known}")
            case events.LanguageFailed():
                if (event.language, event.reason) not in self.failures:
                    self.failures.add((event.language, event.reason))
                    self.say(f"{event.language}: failed: {event.reason}")


def _through(language: str, adapter: str | None) -> str:
    return f" through {adapter or 'no adapter'}" if adapter != language else ""
