"""What the tests share: a small X-MOD with random weights, its tokenizer, and a few pairs in four languages."""

import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

LANGUAGES = ("en_XX", "de_DE", "fr_XX", "sw_KE", "zh_CN", "zh_TW")
WORDS = ("the", "a", "cat", "dog", "sleeps", "runs", "red", "blue", "not", "never", "katze", "chat", "paka")
LABELS = ("entailment", "neutral", "contradiction")
MARKERS = {"entailment": "red", "neutral": "blue", "contradiction": "never"}


# Keep caches out of the user's home, and the Hub out of the tests; before anything reads these variables.
HOME = Path(tempfile.mkdtemp(prefix="xmodctl-tests-"))
os.environ.update(
    XMODCTL_CACHE=str(HOME / "cache"), HF_HOME=str(HOME / "hf"), HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1"
)

# How long an example takes depends on what else the machine does.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(autouse=True, scope="session")
def _leave_nothing_behind() -> Iterator[None]:
    yield
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(autouse=True)
def _forget_failures_of_the_hub() -> None:
    from xmodctl.core import hub_downloads

    hub_downloads.forget()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a two-layer X-MOD with random weights, six languages and a tokenizer of its own."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast, XmodConfig, XmodModel

    folder = tmp_path_factory.mktemp("models") / "tiny"
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
        pad_token="<pad>", unk_token="<unk>", mask_token="<mask>", model_max_length=64,
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(0)
    config = XmodConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=66, type_vocab_size=1, layer_norm_eps=1e-5, adapter_reduction_factor=2,
        languages=list(LANGUAGES), pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    model = XmodModel(config, add_pooling_layer=False)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight.normal_(
            std=1.0
        )  # words that differ, so that a few steps teach something
    model.save_pretrained(folder)
    return folder


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
