"""A recipe: one way of training (`recipes/*.yaml`); every field has a default, so a file has only what differs."""

import math
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from xmodctl.core.schema import Described

Freeze = Literal["embeddings+adapters", "adapters", "none", "head"]
Schedule = Literal["linear", "cosine", "constant"]
AVERAGE = "average:"
MOVING = "ema:"
AUTO = "auto"
SMALLEST = 64
"""The smallest `tokens_per_step`."""
SHORTEST = 8
"""The smallest `max_length`."""
TOKENS = 4096
"""The `tokens_per_step` of recipes that do not name it."""
DESCRIBING = frozenset({"name", "title", "source"})
"""Keys that describe a recipe and determine nothing."""
NEWER = ("layer_decay", "rdrop", "code_switching", "head_seed", "compile", "variable_length", "seeds_together")
"""Keys that recipes in older plans do not have."""


class Stage(Described):
    """Training on another task before the task itself; its head is carried over."""

    task: str = Field(description="a shipped task of the same kind, or the path of a YAML file")
    epochs: float | None = Field(
        None, gt=0, le=10_000, description="passes over its training rows; empty: the recipe's"
    )
    batch_size: int | None = Field(None, ge=1, description="examples per step; empty: the recipe's")
    learning_rate: float | None = Field(None, gt=0, le=1, description="peak learning rate; empty: the recipe's")
    data: str = Field("", description="a folder of local data; empty: from the Hub")


class Recipe(Described):
    """How a model is trained; `xmodctl recipes show NAME` prints the file."""

    name: str = Field("custom", description="the file's name without .yaml")
    title: str = Field("", description="what it is for, in one line")
    source: str = Field("", description="where the settings come from")
    freeze: Freeze = Field("embeddings+adapters", description="what is not trained")
    epochs: float = Field(3.0, gt=0, le=10_000, description="passes over the training rows")
    batch_size: int = Field(32, ge=1, description="examples per optimizer step, over all processes")
    learning_rate: float = Field(2e-5, gt=0, le=1, description="peak learning rate")
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description=(
            "the learning rate of a layer as a share of that of the layer above it; the last layer and the head have "
            "the full rate, and 1 gives all layers the same"
        ),
    )
    schedule: Schedule = Field("linear", description="how the learning rate changes after the warm-up")
    warmup: float = Field(
        0.06,
        ge=0,
        description=(
            "linear warm-up: a value below 1 is a share of the steps, and a value of 1 or more is a number of steps"
        ),
    )
    weight_decay: float = Field(0.01, ge=0, description="AdamW's weight decay; biases and LayerNorms have none")
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="AdamW's first beta")
    adam_beta2: float = Field(0.999, ge=0, lt=1, description="AdamW's second beta")
    adam_epsilon: float = Field(1e-8, gt=0, description="AdamW's epsilon")
    gradient_clip: float = Field(1.0, ge=0, description="maximum norm of the gradient; 0: no clipping")
    dropout: float | None = Field(None, ge=0, lt=1, description="hidden dropout; empty: the checkpoint's")
    attention_dropout: float | None = Field(None, ge=0, lt=1, description="attention dropout; empty: the checkpoint's")
    rdrop: float = Field(
        0.0,
        ge=0,
        le=100,
        description=(
            "the weight of R-Drop: each batch is computed twice with different dropout, and the divergence of the two "
            "predictions is added to the loss; 0: each batch is computed once"
        ),
    )
    code_switching: float = Field(
        0.0,
        ge=0,
        lt=1,
        description=(
            "the probability that a word of a training text is replaced by a word, often of another language, whose "
            "embedding is near; with `rdrop` in the second pass, else in half of the texts"
        ),
    )
    max_length: int = Field(
        128,
        ge=SHORTEST,
        le=8192,
        description="maximum tokens per sequence; longer texts are truncated or split into windows",
    )
    stride: int | None = Field(
        None, ge=1, description="overlap of the windows of a long text, in tokens; empty: a third of max_length"
    )
    tokens_per_step: int | Literal["auto"] = Field(
        TOKENS,
        description="padded tokens per forward pass; affects memory, never the result; auto: as many as free memory "
        "holds by estimate (not measured on a GPU)",
    )
    sampling_alpha: float = Field(
        1.0,
        ge=0,
        le=1,
        description=(
            "with several languages, the exponent of temperature sampling: the share of a language in an epoch is "
            "proportional to its number of rows raised to this power; 1 uses each row once, 0 gives all languages "
            "equal shares"
        ),
    )
    stages: tuple[Stage, ...] = Field(
        (), description="other tasks to train on first, in order; the head is carried over"
    )
    keep: str = Field(
        "last",
        description="the weights to keep: the last (`last`), the best on source validation data (`source-dev`), "
        "the mean of the weights after each of the last N epochs (`average:N`; of all, if there are fewer), or the "
        "moving average over all steps (`ema:D`, with decay D)",
    )
    head_seed: int | None = Field(
        None,
        ge=0,
        le=2**32 - 1,
        description=(
            "the seed for the random initialization of the head, the same for every seed of the run, so that their "
            "weights can be averaged (`xmodctl runs average`); empty: each seed initializes its own head"
        ),
    )
    compile: bool = Field(
        False,
        description=(
            "compile training steps with torch.compile, for a few shapes of padded batches; needs a C++ compiler on a "
            "CPU, and Triton on a GPU, where CUDA graphs are used (not measured on a GPU)"
        ),
    )
    variable_length: bool = Field(
        False,
        description=(
            "compute batches without padding on a GPU too, with torch's attention for sequences of any lengths; needs "
            "an NVIDIA GPU of the Ampere generation or a later one, bf16 or fp16, and attention_dropout=0 (not "
            "measured on a GPU)"
        ),
    )
    seeds_together: bool = Field(
        False,
        description=(
            "train the seeds of a run in one pass, which computes frozen modules once for all of them and needs memory "
            "for all; each seed has the results that it has alone, up to rounding (not measured on a GPU)"
        ),
    )
    save_steps: int = Field(0, ge=0, description="steps between checkpoints; 0: one after each epoch")

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Omit newer keys that have their defaults, so that plans of earlier versions keep their digests."""
        values: dict[str, Any] = dump(self)
        fields = type(self).model_fields
        return {key: value for key, value in values.items() if key not in NEWER or value != fields[key].default}

    @model_validator(mode="after")
    def _stride_fits(self) -> Self:
        if self.overlap >= self.max_length:
            raise ValueError(f"`stride` ({self.stride}) must be smaller than `max_length` ({self.max_length})")
        return self

    @field_validator("tokens_per_step", mode="before")
    @classmethod
    def _tokens_are_a_number_or_auto(cls, tokens: Any) -> Any:
        if tokens == AUTO:
            return tokens
        try:
            number = float(tokens)
        except (TypeError, ValueError):
            number = math.nan
        if isinstance(tokens, bool) or not (number >= SMALLEST and number.is_integer()):
            raise ValueError(f"{tokens!r} is neither a whole number of at least {SMALLEST} nor auto")
        return int(number)

    @field_validator("keep")
    @classmethod
    def _keep_is_known(cls, keep: str) -> str:
        if keep in ("last", "source-dev") or _is_moving(keep):
            return keep
        number = keep.removeprefix(AVERAGE)
        if number == keep or not number.isdecimal() or int(number) < 2:
            raise ValueError(
                f"{keep!r} is not 'last', 'source-dev', 'average:N' with N of at least 2, or 'ema:D' with D between 0 "
                "and 1"
            )
        return keep

    @field_validator("warmup")
    @classmethod
    def _warmup_is_a_share_or_a_number(cls, warmup: float) -> float:
        if warmup > 1 and not warmup.is_integer():
            raise ValueError(f"{warmup:g} is neither a share (below 1) nor a whole number of steps")
        return warmup

    def of_stage(self, stage: Stage) -> "Recipe":
        """Return the recipe of a stage before the task."""
        changes = {key: value for key in ("epochs", "batch_size", "learning_rate") if (value := getattr(stage, key))}
        return self.model_copy(update={**changes, "stages": ()})

    def with_absolute_paths(self) -> Self:
        """Return the recipe so that its stages find their local data from any working directory."""
        if not any(stage.data for stage in self.stages):
            return self
        stages = tuple(
            stage.model_copy(update={"data": str(Path(stage.data).expanduser().resolve())}) if stage.data else stage
            for stage in self.stages
        )
        return self.model_copy(update={"stages": stages})

    def warmup_steps(self, total_steps: int) -> int:
        """Return the number of warm-up steps."""
        return min(int(self.warmup), total_steps) if self.warmup >= 1 else round(self.warmup * total_steps)

    @property
    def averaged(self) -> int:
        """The number of last epochs whose weights are averaged, at most all; 0: none, the last step is kept."""
        wanted = int(self.keep.removeprefix(AVERAGE)) if self.keep.startswith(AVERAGE) else 0
        count = min(wanted, math.ceil(self.epochs))
        return count if count > 1 else 0

    @property
    def moving_decay(self) -> float:
        """The decay of the moving average of weights that is kept; 0: none is."""
        return float(self.keep.removeprefix(MOVING)) if self.keep.startswith(MOVING) else 0.0

    @property
    def overlap(self) -> int:
        """The number of tokens that neighboring windows of a long text share."""
        return self.max_length // 3 if self.stride is None else self.stride


def _is_moving(keep: str) -> bool:
    """Return whether a value of `keep` asks for a moving average."""
    try:
        return keep.startswith(MOVING) and 0 < float(keep.removeprefix(MOVING)) < 1
    except ValueError:
        return False
