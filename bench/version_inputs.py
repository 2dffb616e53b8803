"""Inputs and commands that `bench.compare_versions` gives to two versions of the package."""

import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

LANGUAGES = ("en", "de", "sw", "ur")
KINDS = {"nli": "xnli", "ner": "wikiann", "qa": "xquad", "mc": "xcopa"}
_SYLLABLES = ("ba", "nga", "zi", "ku", "mfa", "si", "ho", "lwe", "ntu", "the", "ya", "so", "qi", "ma", "hle")


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        name: Names the file that keeps its output.
        words: Its arguments.
        output: What it prints: `json`, `text` (compared as it is) or `numbers` (only its numbers are compared).
    """

    name: str
    words: tuple[str, ...]
    output: str = "json"


def write_inputs(folder: Path, checkout: Path) -> None:
    """Write data, recipes, texts and an encoder to convert; a folder that is complete is kept."""
    if (folder / "complete").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    demonstration = next((checkout / "xmodctl").rglob("demonstration/nli")).parent
    for name in KINDS:
        for language in LANGUAGES:
            shutil.copytree(demonstration / name / language, folder / name / language)
            _add_splits(folder / name / language)
    (folder / "nli" / "zu").mkdir()
    shutil.copy(folder / "nli" / "sw" / "test.jsonl", folder / "nli" / "zu" / "test.jsonl")
    (folder / "staged.yaml").write_text(
        f"stages:\n  - {{task: xnli, epochs: 1, data: {folder / 'nli'}}}\nepochs: 2\nbatch_size: 16\nmax_length: 64\n"
        "learning_rate: 1.0e-4\nkeep: source-dev\n"
    )
    (folder / "texts").mkdir()
    (folder / "texts" / "zu.txt").write_text(_text(lines=400))
    for name, words in _WORDS_TO_PREDICT.items():
        (folder / f"predict-{name}.jsonl").write_text(words)
    _write_own_data(folder / "own")
    _write_encoder(folder / "encoder")
    (folder / "complete").touch()


_WORDS_TO_PREDICT = {
    "nli": '{"text": "Das Haus ist rot.", "text_pair": "Es ist nicht blau."}\n{"premise": "A", "hypothesis": "B"}\n',
    "ner": '{"tokens": ["Anna", "wohnt", "in", "Berlin", "."]}\n{"tokens": ["Peter", "fliegt", "nach", "Rom"]}\n',
    "qa": '{"context": "Die Brücke wurde 1874 gebaut.", "question": "Wann wurde die Brücke gebaut?"}\n',
    "mc": '{"premise": "Es regnet.", "choice1": "Ich werde nass.", "choice2": "Ich lese.", "question": "effect"}\n',
}


def _add_splits(folder: Path) -> None:
    """Give a language without training or validation data its test rows for that."""
    test = next(folder.glob("test.*"))
    for split in ("train", "validation"):
        if not list(folder.glob(f"{split}.*")):
            shutil.copy(test, folder / f"{split}{test.suffix}")


def _write_own_data(folder: Path) -> None:
    """Write one file for each task of your own data whose kind the demonstration data does not have."""
    folder.mkdir()
    draw = random.Random(0)
    topics = {"sport": "the match ends", "money": "the bank pays", "food": "the soup is hot"}
    words = {"NOUN": ["cat", "dog", "house"], "VERB": ["runs", "sees", "eats"], "DET": ["the", "a"]}
    sets, numbers, sentences, pairs = [], [], [], []
    for row in range(96):
        place = {"language": ("en", "de", "sw")[row % 3], "split": "test" if row % 4 == 3 else "train"}
        labels = sorted(draw.sample(sorted(topics), draw.randint(1, 2)))
        sets.append({"text": f"{row}: {', '.join(topics[label] for label in labels)}.", "labels": labels, **place})
        number = draw.randint(1, 9)
        numbers.append({"text": f"{row}: {'good ' * number}book", "score": number + 0.5, **place})
        tags = ["DET", "NOUN", "VERB", "DET", "NOUN"]
        sentences.append({"tokens": [draw.choice(words[tag]) for tag in tags], "tags": tags, **place})
        pairs.append({"text": f"{row} {_text(1)}", "text_pair": f"{row} {topics[labels[0]]}", **place})
    for name, rows in {"multi-label": sets, "regression": numbers, "tagging": sentences, "retrieval": pairs}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _text(lines: int) -> str:
    draw = random.Random(0)

    def word() -> str:
        return "".join(draw.choices(_SYLLABLES, k=draw.randint(1, 4)))

    vocabulary = [word() for _ in range(600)]
    return "".join(" ".join(draw.choices(vocabulary, k=draw.randint(5, 18))) + ".\n" for _ in range(lines))


def _write_encoder(folder: Path) -> None:
    """Write a BERT with random weights, to be converted."""
    characters = [*"abcdefghijklmnopqrstuvwxyz", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", ".", ",", "the", "is", "not", "in"]
    vocabulary = {
        token: index for index, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters])
    }
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]",
        mask_token="[MASK]", model_max_length=64,
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, pad_token_id=0,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)


def steps(inputs: Path) -> list[Step]:
    """Return the commands in order; relative paths are inside the folder of a version."""
    return [
        *(step for name in KINDS for step in _kind_steps(name, inputs)),
        *_own_data_steps(inputs / "own"),
        *_training_steps(inputs),
        *_language_steps(inputs),
        *_conversion_steps(inputs),
        *result_steps(inputs),
    ]


def _finetune(name: str, inputs: Path, task: str, *more: str) -> Step:
    data = ("--data", str(inputs / task), "--out", f"runs/{name}", "--json")
    source = () if "--lang" in more else ("--lang", "en")
    model = () if "--model" in more else ("--model", "mini")
    return Step(f"finetune-{name}", ("finetune", "--task", KINDS[task], *source, *model, *data, *more))


def _kind_steps(name: str, inputs: Path) -> list[Step]:
    more = ("--limit", "48", "--set", "epochs=2", "--set", "batch_size=16", "--recipe", f"demo-{name}")
    seeds = ("--seeds", "1,2") if name in ("nli", "ner") else ()
    return [
        _finetune(name, inputs, name, *more, *seeds),
        sweep(name, "de,sw", "--controls", "source,none"),
        Step(
            f"predict-{name}",
            ("predict", "--run", f"runs/{name}", "--lang", "de", str(inputs / f"predict-{name}.jsonl")),
            "text",
        ),
        Step(
            f"inspect-{name}",
            ("inspect", "--task", KINDS[name], "--lang", "de", "--split", "test", "--model", "mini", "--rows", "5",
             "--data", str(inputs / name), "--json"),
        ),
    ]  # fmt: skip


def sweep(name: str, langs: str, *more: str) -> Step:
    """Return a sweep of a run over a few rows."""
    words = ("eval-transfer", "--run", f"runs/{name}", "--langs", langs, "--limit", "24", *more, "--json")
    return Step(f"eval-transfer-{name}-{'-'.join(word.strip('-') for word in more if '/' not in word)}", words)


def _training_steps(inputs: Path) -> list[Step]:
    short = ("--set", "epochs=2", "--set", "batch_size=16", "--set", "max_length=64")
    mixed = ("--lang", "en,de", "--set", "sampling_alpha=0.3", "--set", "freeze=adapters")
    return [
        _finetune("average", inputs, "nli", "--limit", "48", *short, "--set", "keep=average:2"),
        _finetune("best", inputs, "nli", "--limit", "48", *short, "--set", "keep=source-dev", "--set", "freeze=none"),
        _finetune("staged", inputs, "nli", "--limit", "32", "--recipe", str(inputs / "staged.yaml")),
        _finetune("mixed", inputs, "nli", "--limit", "32", *mixed, *short),
        _finetune(
            "shots", inputs, "nli", "--limit", "32", *short, "--shots", "4", "--shot-langs", "de,sw", "--shot-seeds",
            "2",
        ),
        _finetune("cosine", inputs, "ner", "--limit", "32", *short, "--set", "schedule=cosine", "--set", "dropout=0"),
        sweep("average", "de"),
        sweep("staged", "de"),
        sweep("mixed", "de,sw"),
        sweep("shots", "de,sw"),
        sweep("nli", "sw,ur", "--split", "validation"),
        Step(
            "donors",
            ("donors", "--run", "runs/nli", "--langs", "ur", "--adapters", "de,sw", "--limit", "24", "--json"),
        ),
    ]  # fmt: skip


def _own_data_steps(folder: Path) -> list[Step]:
    short = ("--set", "epochs=2", "--set", "batch_size=16", "--set", "max_length=64", "--json")
    trained = [
        step
        for task in ("multi-label", "regression", "tagging")
        for step in (
            Step(
                f"finetune-{task}",
                (
                    "finetune",
                    "--task",
                    task,
                    "--lang",
                    "en",
                    "--model",
                    "mini",
                    "--data",
                    str(folder / f"{task}.jsonl"),
                    "--out",
                    f"runs/{task}",
                    *short,
                ),
            ),
            sweep(task, "de,sw"),
            Step(f"report-{task}-csv", ("report", f"runs/{task}", "--format", "csv"), "text"),
            Step(f"score-{task}", ("score", "--run", f"runs/{task}", "--json")),
            Step(
                f"predict-{task}",
                ("predict", "--run", f"runs/{task}", "--lang", "de", str(folder / f"{task}.jsonl")),
                "text",
            ),
        )
    ]
    vectors = [
        Step(
            "eval-transfer-retrieval",
            ("eval-transfer", "--task", "retrieval", "--model", "mini", "--langs", "de,sw", "--data",
             str(folder / "retrieval.jsonl"), "--out", "runs/retrieval", "--json"),
        ),
        Step("embed", ("embed", str(folder / "retrieval.jsonl"), "--model", "mini"), "text"),
        Step("embed-run", ("embed", str(folder / "retrieval.jsonl"), "--run", "runs/multi-label"), "text"),
    ]  # fmt: skip
    return [*trained, *vectors]


def _language_steps(inputs: Path) -> list[Step]:
    def add(name: str, *more: str) -> Step:
        words = ("add-language", "zu", "--text", str(inputs / "texts" / "zu.txt"), "--model", "mini", "--out")
        settings = ("--set", "epochs=1", "--set", "max_length=64", "--limit", "350", "--json")
        return Step(f"add-language-{name}", (*words, f"runs/zu-{name}", *settings, *more))

    package = "runs/zu-auto/seed-1/zu_ZA"
    return [
        add("auto"),
        add("identity", "--init-from", "identity"),
        add("random", "--init-from", "random", "--seeds", "2"),
        add("mean", "--init-from", "sw+en"),
        add("vocabulary", "--vocabulary", "new", "--vocabulary-size", "300", "--init-from", "sw"),
        Step("verify", ("adapters", "verify", package, "--model", "mini", "--json")),
        Step("adapters-export", ("adapters", "export", "mini", "de_DE", "packages/de_DE", "--json")),
        Step(
            "eval-transfer-package",
            ("eval-transfer", "--run", "runs/nli", "--langs", "zu", "--adapter", package, "--data",
             str(inputs / "nli"), "--limit", "24", "--json"),
        ),
        Step(
            "predict-package",
            ("predict", "--run", "runs/nli", "--lang", "zu_ZA", "--adapter", "runs/zu-vocabulary/seed-1/zu_ZA",
             str(inputs / "predict-nli.jsonl")),
            "text",
        ),
    ]  # fmt: skip


def _conversion_steps(inputs: Path) -> list[Step]:
    short = ("--set", "epochs=1", "--set", "batch_size=16", "--set", "max_length=32", "--limit", "32")
    return [
        Step("convert", ("convert", str(inputs / "encoder"), "converted", "--langs", "en,sw", "--json")),
        _finetune("converted", inputs, "nli", "--lang", "de", "--model", "converted", *short),
        sweep("converted", "en,sw"),
        Step("export", ("export", "--run", "runs/nli", "--out", "exported", "--langs", "en,de"), "nothing"),
    ]


def result_steps(inputs: Path) -> list[Step]:
    """Return the commands that read what is stored."""
    runs = ("runs/nli", "runs/average", "runs/staged")
    return [
        *(
            Step(
                f"report-{name}-{form}",
                ("report", f"runs/{name}", "--format", form, "--data", str(inputs / name)),
                output,
            )
            for name in KINDS
            for form, output in (("csv", "text"), ("markdown", "numbers"), ("latex", "numbers"))
        ),
        *(
            Step(f"report-{name}-json", ("report", f"runs/{name}", "--json", "--out", f"reports/{name}.html"))
            for name in KINDS
        ),
        Step("report-several", ("report", *runs, "--format", "csv"), "text"),
        *(Step(f"compare-{name}", ("compare", f"runs/{name}", "--json")) for name in KINDS),
        Step("compare-several", ("compare", *runs, "--langs", "de", "--json")),
        *(Step(f"score-{name}", ("score", "--run", f"runs/{name}", "--json")) for name in (*KINDS, "shots")),
        Step("runs", ("runs", "--json")),
        Step("langs", ("langs", "--model", "mini", "--task", "xnli", "--json")),
        Step("adapters-list", ("adapters", "list", "packages", "--json")),
    ]  # fmt: skip
