"""Events: what long-running functions report while they work. One closed union, plain fields.

Functions that take long have an argument `listen`, which is called with each event as it happens. The progress on a
terminal and the experiment trackers are listeners, and so is `warn`, the default in Python.
"""

import inspect
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True)
class Notice:
    """Something you should know. A caution is about something that may not be what you want."""

    text: str
    caution: bool = False


@dataclass(frozen=True)
class ModelLoading:
    """A base model is about to be loaded, which can take seconds."""

    model: str


# Fine-tuning.


@dataclass(frozen=True)
class RunOpened:
    """A run's folder exists and is locked; training starts or resumes."""

    folder: Path
    title: str  # of the task
    languages: tuple[str, ...]  # the adapters that training goes through
    model: str
    recipe: str


@dataclass(frozen=True)
class DataEncoded:
    """The data of one training is encoded."""

    rows: int
    tokens: int
    truncated: int  # rows longer than the recipe's max_length
    validation_rows: int
    notes: tuple[str, ...]  # what you should know about the rows
    stage: str = ""  # the task of an intermediate stage; empty for the run's own task


@dataclass(frozen=True)
class SeedStarted:
    """One seed's training starts or resumes. A run with stages reports this once per stage."""

    seed: int
    resumed_at: int  # steps that an earlier command took
    total_steps: int
    epoch: float
    trainable: int  # parameters
    parameters: int
    stage: str = ""
    steps_before: int = 0  # steps of the stages before this one
    languages: tuple[tuple[str, int], ...] = ()  # with several languages: adapter, its examples per epoch


@dataclass(frozen=True)
class StepTaken:
    """The optimizer took one step, in fine-tuning or in the training of a language adapter."""

    step: int  # steps taken so far
    total_steps: int
    epoch: float  # epochs seen so far
    loss: float  # mean over the batch
    learning_rate: float
    gradient_norm: float  # before clipping
    examples: int
    tokens: int  # without padding
    seconds: float
    ends_epoch: bool


@dataclass(frozen=True)
class StepsTaken:
    """Several seeds took a step together (`seeds_together`)."""

    steps: Mapping[int, StepTaken]  # seed -> its step

    @property
    def mean(self) -> StepTaken:
        """The step with the mean of the losses, and the sums of what was read and of the time it took."""
        steps = list(self.steps.values())
        return replace(
            steps[0],
            loss=sum(step.loss for step in steps) / len(steps),
            gradient_norm=sum(step.gradient_norm for step in steps) / len(steps),
            examples=sum(step.examples for step in steps),
            tokens=sum(step.tokens for step in steps),
            seconds=sum(step.seconds for step in steps),
        )


@dataclass(frozen=True)
class Validated:
    """The validation data of the training languages was scored at the end of an epoch."""

    seed: int
    step: int
    epoch: float
    metric: str
    value: float  # percent, mean over languages
    baseline: float  # majority baseline, percent, mean over languages
    values: Mapping[str, float] = field(default_factory=dict)  # with several languages: adapter -> percent


@dataclass(frozen=True)
class SeedFinished:
    """A seed's delta is on disk."""

    seed: int
    step: int  # the step whose weights were kept
    known: bool = False  # an earlier command trained it


# Evaluation.


@dataclass(frozen=True)
class LanguageStarted:
    """The scoring of one language through one adapter starts."""

    language: str
    adapter: str | None  # None: through no adapter
    control: str  # own, source or none
    seed: int
    examples: int  # what the model reads: rows, or windows of long rows
    notes: tuple[str, ...]  # what you should know about the rows


@dataclass(frozen=True)
class BatchScored:
    """The model has read one batch of the language being scored."""

    examples: int


@dataclass(frozen=True)
class LanguageScored:
    """One language is scored through one adapter; its row is on disk."""

    language: str
    adapter: str | None
    control: str
    seed: int
    metric: str
    value: float  # percent
    ci_low: float
    ci_high: float
    rows: int
    seconds: float
    known: bool = False  # an earlier command scored it


@dataclass(frozen=True)
class LanguageFailed:
    """A language could not be scored; the others are scored all the same."""

    language: str
    adapter: str | None
    seed: int
    reason: str


# Adding a language.


@dataclass(frozen=True)
class TextRead:
    """A language's text is cleaned and checked."""

    language: str
    lines: int
    empty: int  # lines dropped because they are empty
    short: int  # dropped because they are too short
    duplicates: int  # dropped because the same line came before
    cut: int  # pieces that long lines were cut into, beyond the first
    kept: int
    held_out: int  # kept lines that are held out
    characters: int  # of the kept lines
    verdict: str  # how well the model's vocabulary suits the text
    notes: tuple[str, ...] = ()  # what may not be what you want


@dataclass(frozen=True)
class HeadStep:
    """The training of a masked-language-modeling head took one step."""

    step: StepTaken


@dataclass(frozen=True)
class HeadTrained:
    """A masked-language-modeling head is in place."""

    identity: str  # sha256 of everything it was trained from
    known: bool  # an earlier command trained it
    steps: int
    before: float  # held-out loss without it, nats per predicted token
    after: float  # with it
    seconds: float


@dataclass(frozen=True)
class AdaptersRanking:
    """The model's adapters are about to be tried on a language's text."""

    language: str
    candidates: int


@dataclass(frozen=True)
class AdaptersRanked:
    """The model's adapters were tried on a language's text."""

    language: str
    losses: tuple[tuple[str, float], ...]  # adapter, nats per predicted token; the best comes first
    start: str  # what the new adapter is initialized from
    known: bool = False  # an earlier command tried them


@dataclass(frozen=True)
class MixtureFound:
    """The weights of a mixture were found on text of a language."""

    language: str
    mixture: str
    loss: float  # nats per predicted token, on the text that the weights were found on
    best_adapter: str
    best_loss: float  # through this adapter alone


@dataclass(frozen=True)
class VocabularyTrained:
    """A language has its own vocabulary."""

    language: str
    pieces: int
    copied: int  # pieces that the model's vocabulary has too
    pieces_per_word: float


@dataclass(frozen=True)
class AdapterStarted:
    """The training of an adapter starts or resumes."""

    language: str
    seed: int
    start: str  # what it was initialized from
    resumed_at: int  # steps that an earlier command took
    total_steps: int
    epoch: float
    sequences: int
    tokens: int
    candidate_pieces: int  # the masked ones are predicted among these
    trainable: int  # parameters
    parameters: int


@dataclass(frozen=True)
class AdapterAdded:
    """An adapter package is on disk."""

    language: str
    seed: int
    folder: Path
    unchanged_tensors: int  # all others of the model, found to be as they were
    known: bool = False  # an earlier command trained it


Event = (
    Notice
    | ModelLoading
    | RunOpened
    | DataEncoded
    | SeedStarted
    | StepTaken
    | StepsTaken
    | Validated
    | SeedFinished
    | LanguageStarted
    | BatchScored
    | LanguageScored
    | LanguageFailed
    | TextRead
    | HeadStep
    | HeadTrained
    | AdaptersRanking
    | AdaptersRanked
    | MixtureFound
    | VocabularyTrained
    | AdapterStarted
    | AdapterAdded
)

Listener = Callable[[Event], None]


def warn(event: Event) -> None:
    """Turn cautions into Python warnings that point at the caller's line; ignore other events."""
    if isinstance(event, Notice) and event.caution:
        level, frame = 1, inspect.currentframe()
        while frame and frame.f_code.co_filename.startswith(f"{Path(__file__).parents[1]}{os.sep}"):
            level, frame = level + 1, frame.f_back
        warnings.warn(event.text, stacklevel=level)


_LISTENER: ContextVar[Listener] = ContextVar("listener", default=warn)


@contextmanager
def listening(listen: Listener) -> Iterator[None]:
    """Send what code without a `listen` argument reports inside the block to `listen`."""
    token = _LISTENER.set(listen)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def report(event: Event) -> None:
    """Send an event to the listener of the command that runs; without one, cautions become Python warnings."""
    _LISTENER.get()(event)
