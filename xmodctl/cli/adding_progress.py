"""The progress of `add-language` on the terminal."""

from xmodctl.cli.progress import duration
from xmodctl.cli.training_progress import Speed, TrainingProgress
from xmodctl.core import events

SHOWN_ADAPTERS = 6
"""Adapters whose loss is shown; the best come first."""


class AddingProgress(TrainingProgress):
    """Draws events of adding languages."""

    def show(self, event: events.Event) -> None:
        """Draw one event."""
        match event:
            case events.TextRead():
                self.say(_text_line(event))
                self.say(f"{event.language}: the model's vocabulary is {event.verdict}")
            case events.HeadStep():
                if self.task is None:
                    self.say("the checkpoint has no masked-language-modeling head; training one")
                    self.begin("head", event.step.total_steps, event.step.step - 1)
                self.step(event.step)
            case events.HeadTrained():
                self.end()
                origin = "from the cache" if event.known else f"trained in {duration(event.seconds)}"
                self.say(f"head {origin}: held-out loss {event.before:.2f} without it, {event.after:.2f} with it")
            case events.AdaptersRanking():
                if event.candidates > 1:
                    self.say(f"{event.language}: trying the model's {event.candidates} adapters on the text")
            case events.AdaptersRanked():
                self.say(_ranking_line(event))
            case events.MixtureFound():
                alone = f"{event.best_loss:.3f} through {event.best_adapter} alone"
                self.say(f"{event.language}: {event.mixture}, loss {event.loss:.3f}, and {alone}")
            case events.VocabularyTrained():
                self.say(
                    f"{event.language}: new vocabulary of {event.pieces:,} pieces, of which the model has "
                    f"{event.copied:,}; {event.pieces_per_word:.1f} pieces per word"
                )
            case events.AdapterStarted():
                self.say(_start_line(event))
                self.begin(f"{event.language}, seed {event.seed}", event.total_steps, event.resumed_at)
            case events.AdapterAdded():
                self.end()
                state = "already trained" if event.known else f"{event.unchanged_tensors:,} other tensors are unchanged"
                self.say(f"{event.language}, seed {event.seed}: {state}; {event.folder}")
            case _:
                super().show(event)

    def begin(self, name: str, total: int, done: int) -> None:
        """Draw a bar for a training that starts or resumes."""
        self.steps_shown, self.speed = 0, Speed()
        self.task = self.bar.add_task(name, total=total, completed=done, loss="-", rate="-", speed="-")

    def end(self) -> None:
        """Remove the bar."""
        if self.task is not None:
            self.bar.remove_task(self.task)
            self.task = None


def _text_line(event: events.TextRead) -> str:
    reasons = {"empty": event.empty, "too short": event.short, "duplicates": event.duplicates}
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items() if count)
    return (
        f"{event.language}: {event.lines:,} lines"
        + (f" ({dropped})" if dropped else "")
        + (f", long lines split in {event.cut:,} places" if event.cut else "")
        + f"; {event.kept:,} kept with {event.characters:,} characters, {event.held_out:,} of them held out"
    )


def _ranking_line(event: events.AdaptersRanked) -> str:
    shown = ", ".join(f"{adapter} {loss:.3f}" for adapter, loss in event.losses[:SHOWN_ADAPTERS])
    hidden = len(event.losses) - SHOWN_ADAPTERS
    more = f" and {hidden} more" if hidden > 0 else ""
    return f"{event.language}: loss through the model's adapters: {shown}{more}; initialized from: {event.start}"


def _start_line(event: events.AdapterStarted) -> str:
    resumed = f"resuming at step {event.resumed_at:,} of " if event.resumed_at else ""
    return (
        f"{event.language}, seed {event.seed}: {resumed}{event.total_steps:,} steps over {event.tokens:,} tokens in "
        f"{event.sequences:,} sequences; {event.trainable / 1e6:.2f} M of {event.parameters / 1e6:.1f} M "
        "parameters are trainable"
    )
