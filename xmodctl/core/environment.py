"""Environment variables and exit codes, each declared once: for the code, the reference page, and its test."""

import os
from dataclasses import dataclass
from enum import IntEnum


@dataclass(frozen=True)
class Variable:
    """An environment variable that changes what xmodctl does."""

    name: str
    meaning: str
    default: str  # what holds if it is not set

    @property
    def value(self) -> str:
        """What it is set to; empty if it is not set."""
        return os.environ.get(self.name, "")


MODEL = Variable(
    "XMODCTL_MODEL", "The default of `--model` in commands that start from a base model.",
    "`model` in the project file, or else `facebook/xmod-base`",
)  # fmt: skip
DATA = Variable(
    "XMODCTL_DATA", "The default of `--data` in `finetune`, `check`, and `inspect`.",
    "`data` in the project file, or else the Hub",
)  # fmt: skip
RUNS = Variable(
    "XMODCTL_RUNS", "The folder where commands create runs and look for them.",
    "`runs` in the project file, or else `runs`",
)  # fmt: skip
CACHE = Variable(
    "XMODCTL_CACHE", "The folder for built and converted models, encodings, and imported adapters.",
    "`$XDG_CACHE_HOME/xmodctl`",
)  # fmt: skip
CACHE_HOME = Variable("XDG_CACHE_HOME", "The folder for the caches of all programs.", "`~/.cache`")
COLUMNS = Variable(
    "COLUMNS", "The width of tables and messages, also where output is not a terminal.", "the width of the terminal"
)
NO_COLOR = Variable("NO_COLOR", "If it is not empty, output has no color.", "color on a terminal")
HUB_TIMEOUT = Variable(
    "HF_HUB_DOWNLOAD_TIMEOUT", "Seconds to wait for the next packet of a download; increase it on a slow network.", "5"
)
HUB_VERBOSITY = Variable(
    "HF_HUB_VERBOSITY", "What the Hub's client logs: `debug`, `info`, `warning`, `error`.", "`error`"
)
COMPILER = Variable(
    "CXX", "The C++ compiler of `--set compile=true` on a CPU.", "`g++`; `clang++` on macOS, `cl` on Windows"
)
SLURM_JOB = Variable("SLURM_JOB_ID", "The SLURM job, which messages of other jobs on the same folder name.", "no job")
SLURM_TASK = Variable(
    "SLURM_ARRAY_TASK_ID", "The task of a SLURM array; with its COUNT, MIN, and STEP the default of `--shard`.",
    "no array",
)  # fmt: skip
WORLD_SIZE = Variable("WORLD_SIZE", "How many processes train together; set by `--processes` and `torchrun`.", "1")
RANK = Variable("RANK", "Which of these processes this one is; set by `--processes` and `torchrun`.", "0")
RUN_ID = Variable("TORCHELASTIC_RUN_ID", "The name of a launch; set by `--processes` and `torchrun`.", "no launch")
LAUNCH = "xmodctl"
"""What the names of launches by `--processes` begin with."""
TORCH_LOG = "TORCH_CPP_LOG_LEVEL"
"""What torch's C++ code prints, read when it is imported."""
MASTER = ("MASTER_ADDR", "MASTER_PORT")
"""What a launcher sets to the address of the first process."""
VARIABLES = (
    MODEL, DATA, RUNS, CACHE, CACHE_HOME, COLUMNS, NO_COLOR,
    Variable("HF_HOME", "The folder for downloads from the Hub and for your token.", "`~/.cache/huggingface`"),
    Variable("HF_TOKEN", "The token for gated data and for `export --push`.", "the token that `hf auth login` saved"),
    Variable("HF_HUB_OFFLINE", "`1` uses only what is downloaded already.", "0"),
    HUB_TIMEOUT, HUB_VERBOSITY, COMPILER, SLURM_JOB, SLURM_TASK, WORLD_SIZE, RANK, RUN_ID,
)  # fmt: skip
"""All of them, in the order of the reference page."""


def is_one_of_several() -> bool:
    """Return whether a launcher started this process together with others."""
    return WORLD_SIZE.value not in ("", "1")


def is_started_by_xmodctl() -> bool:
    """Return whether `--processes` started this process."""
    return RUN_ID.value.startswith(f"{LAUNCH}-")


class ExitCode(IntEnum):
    """What a command exits with."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> "ExitCode":
        """Return the code with its meaning."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    SUCCESS = 0, "success"
    PARTIAL = 1, "part of the work failed, for example a language could not be scored; or a check found errors"
    FIXABLE = 2, "an error you can fix; the message says how"
    IN_PROGRESS = 3, "other jobs are doing the rest of the work; repeat the command later, or add `--wait`"
    INTERRUPTED = 130, "stopped by Ctrl-C; the message is the command that continues"
    TERMINATED = 143, "stopped by another signal; the message is the command that continues"
