"""What the tests share: a small X-MOD with random weights, its tokenizer, and a few pairs in four languages."""

import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tiny import WORDS, build_tiny_model

LABELS = ("entailment", "neutral", "contradiction")
MARKERS = {"entailment": "red", "neutral": "blue", "contradiction": "never"}


# Keep caches out of the user's home, and the Hub out of the tests; before anything reads these variables.
HOME = Path(tempfile.mkdtemp(prefix="xmodctl-tests-"))
os.environ.update(
    XMODCTL_CACHE=str(HOME / "cache"), HF_HOME=str(HOME / "hf"), HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1"
)

# Test processes are told the size of a terminal that they do not have; tables in a pipe have no width.
os.environ.pop("COLUMNS", None)

# Each of several test processes has a core, so torch must not take two; before torch is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes depends on what else the machine does.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(autouse=True, scope="session")
def _leave_nothing_behind() -> Iterator[None]:
    before = set(os.listdir())
    yield
    shutil.rmtree(HOME, ignore_errors=True)
    written = {name for name in set(os.listdir()) - before if not name.startswith(".")}
    assert not written, f"tests wrote into the folder that they were started in: {', '.join(sorted(written))}"


@pytest.fixture(autouse=True)
def _draw_the_same_numbers_alone_and_among_other_tests() -> None:
    if "torch" in sys.modules:  # importing it would cost tests that do not need it four seconds
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(autouse=True)
def _forget_failures_of_the_hub() -> None:
    from xmodctl.core import hub_downloads

    hub_downloads.forget()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a two-layer X-MOD with random weights, six languages and a tokenizer of its own."""
    return build_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def trained(finished_run: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Return a finished run without scores, for this test alone, and its data."""
    folder, data = finished_run
    shutil.copytree(folder, tmp_path / "trained")
    return tmp_path / "trained", data


@pytest.fixture(scope="session")
def finished_run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a finished run, which no test may change, and its data."""
    from command_line import finetune

    from xmodctl.catalog import catalog as library

    folder = tmp_path_factory.mktemp("trained")
    for language in ("en", "de", "sw", "fr", "zh"):
        for split, count in (("train", 48), ("validation", 12), ("test", 24)):
            path = folder / "data" / language / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = [
                {"premise": f"the cat {number}", "hypothesis": word, "label": label}
                for number in range(count // 3)
                for word, label in zip(("red", "blue", "never"), library.task("xnli").labels, strict=True)
            ]
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = finetune(tiny_model, folder / "data", folder / "run")
    assert result.exit_code == 0, result.output
    return folder / "run", folder / "data"


@pytest.fixture
def write_pairs() -> Callable[..., Path]:
    """Return a function that writes learnable pairs to `DIR/LANGUAGE/SPLIT.jsonl`: the hypothesis gives the label."""

    def write(folder: Path, language: str, split: str, rows: int, *, seed: int = 0) -> Path:
        draw = random.Random(f"{language}{split}{seed}")
        fillers = [word for word in WORDS if word not in MARKERS.values()]
        path = folder / language / f"{split}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            for number in range(rows):
                premise = " ".join(draw.choices(fillers, k=draw.randint(2, 9)))
                label = LABELS[number % 3]
                hypothesis = f"{MARKERS[label]} {draw.choice(fillers)}"
                file.write(json.dumps({"premise": premise, "hypothesis": hypothesis, "label": label}) + "\n")
        return path

    return write


@pytest.fixture
def pairs(tmp_path: Path, write_pairs: Callable[..., Path]) -> Path:
    """Return a data folder: English to train on, four languages to score."""
    folder = tmp_path / "pairs"
    write_pairs(folder, "en", "train", 48)
    for language in ("en", "de", "fr", "sw"):
        write_pairs(folder, language, "validation", 12)
        write_pairs(folder, language, "test", 24)
    return folder


@pytest.fixture
def drawn_lengths(monkeypatch):
    """Let a benchmark draw the lengths of texts instead of reading real data, and restore the number of threads."""
    import torch

    monkeypatch.delenv("XMODCTL_REALDATA", raising=False)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
