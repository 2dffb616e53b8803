"""What `bench.kills` kills: commands that follow each other, on small files with a small model."""

import json
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.small_model import write_small_model
from bench.version_inputs import write_inputs

Words = tuple[str, ...]

KINDS = {"nli": "xnli", "ner": "wikiann", "qa": "xquad", "mc": "xcopa"}
OWN = {"labels": "multi-label", "number": "regression", "tags": "tagging"}
"""Kinds without demonstration data: folders of rows, and the task that reads them."""
SHORT = ("--set", "epochs=3", "--set", "batch_size=8", "--set", "max_length=64", "--limit", "48")
ANIMALS = ("cat", "dog", "fish")


@dataclass(frozen=True)
class Scenario:
    """Commands that follow each other; paths in them begin with `IN/` (inputs) and `OUT/` (what is compared).

    Attributes:
        name: What the output calls it.
        commands: What is killed, in order.
        before: What is done before; never killed.
        is_warm: Whether the cache contains what an unbroken run has left there; else the cache is empty.
        continued: Finishes a command that was killed, in place of the same command, once there is a run.
    """

    name: str
    commands: tuple[Words, ...]
    before: tuple[Words, ...] = ()
    is_warm: bool = False
    continued: Words = ()


def scenarios() -> list[Scenario]:
    """Return what is killed; the kinds and the ways to add a language come first."""
    trained = _finetune("nli", *SHORT, "--set", "save_steps=2")
    sweep = ("eval-transfer", "--run", "OUT/run", "--langs", "de,sw,ur", "--controls", "source,none")
    seeds = ("--seeds", "1,2")
    prediction = ("predict", "--run", "OUT/run", "--lang", "de", "IN/predict-nli.jsonl", "--out", "OUT/labels.jsonl")
    package = ("--adapter", "OUT/added/seed-1/zu_ZA")
    exported = ("export", "--run", "OUT/run", "--langs", "de", "--out")
    merged = ("adapters", "merge", "--model", "IN/model", "--out", "OUT/merged")
    table = ("predict", "--run", "OUT/run", "IN/mixed.csv", "--keep-input", "--out", "OUT/labels.parquet")
    vectors = ("embed", "--model", "IN/model", "IN/mixed.csv", "--text-column", "text", "--keep-input")
    mixture = ("adapters", "mix", "zu=mix", "--text", "IN/texts/zu.txt", "--model", "IN/model", "--out", "OUT/zu_ZA")
    one_head = _finetune("nli", *SHORT, *seeds, "--set", "head_seed=1")
    together = ("--seeds", "1,2,3", "--set", "seeds_together=true", "--set", "tokens_per_step=512")
    return [
        *(Scenario(name, (_finetune(name, *SHORT, "--set", "save_steps=2"),)) for name in KINDS),
        Scenario("language", (_add("zu"),), is_warm=True),
        Scenario("language, head not cached", (_add("zu"),)),
        Scenario("two languages", (_add("zu", "--text", "xh=IN/texts/xh.txt"),), is_warm=True),
        Scenario("two languages, heads not cached", (_add("zu", "--text", "xh=IN/texts/xh.txt"),)),
        Scenario("vocabulary", (_add("zu", "--vocabulary", "new", "--vocabulary-size", "300"),)),
        Scenario("language, two seeds", (_add("zu", *seeds),), is_warm=True),
        Scenario("average", (_finetune("nli", *SHORT, "--set", "keep=average:2"),)),
        Scenario("source-dev", (_finetune("nli", *SHORT, "--set", "keep=source-dev"),)),
        Scenario("stages", (_finetune("nli", "--limit", "48", "--recipe", "IN/staged.yaml"),)),
        Scenario("resumed", (trained,), continued=("resume", "OUT/run")),
        Scenario("shots", (_finetune("nli", *SHORT, "--shots", "4", "--shot-langs", "de,sw", "--shot-seeds", "2"),)),
        Scenario("seeds", (_finetune("ner", *SHORT, "--seeds", "1,2,3"),)),
        Scenario("seeds together", (_finetune("ner", *SHORT, *together, "--set", "save_steps=4"),)),
        Scenario("seeds together, source-dev", (_finetune("nli", *SHORT, *together, "--set", "keep=source-dev"),)),
        Scenario("mean of seeds", (("runs", "average", "OUT/run", "--out", "OUT/mean"), _scored("mean", "de,sw")),
                 before=(one_head,)),
        Scenario("mixture", (mixture, _scored("run", "zu", "--adapter", "OUT/zu_ZA")), before=(trained,)),
        Scenario("mixtures scored", (_scored("run", "zu=mix,zu=de+sw,de", "--mix-text", "zu=IN/texts/zu.txt"),),
                 before=(trained,)),
        Scenario("sweep", (sweep,), before=(_finetune("nli", *SHORT, *seeds),)),
        Scenario("training and sweep", (trained, sweep)),
        Scenario("predict", (prediction,), before=(trained,)),
        Scenario("embed", (_embed(),), before=(trained,)),
        Scenario("predict, languages in a column", (table,), before=(trained,)),
        Scenario("embed, languages in a column", ((*vectors, "--out", "OUT/vectors.parquet"),)),
        Scenario("retrieval", (_untrained("retrieval"),)),
        *(Scenario(name, (_finetune(name, *SHORT),)) for name in OWN),
        Scenario(
            "added language scored", (_add("zu", out="added"), (*sweep[:4], "zu", *package)), before=(trained,)
        ),
        Scenario("report", (("report", "OUT/run", "--out", "OUT/report.html"),), before=(trained, sweep)),
        Scenario("export", ((*exported, "OUT/model"),), before=(trained,)),
        Scenario("export to ONNX", ((*exported, "OUT/graph", "--format", "onnx"),), before=(trained,)),
        Scenario("merge", ((*merged, "OUT/added/seed-1/zu_ZA"),), before=(_add("zu", out="added"),)),
        Scenario("convert", (("convert", "IN/encoder", "OUT/converted", "--langs", "en,de,sw"),)),
    ]  # fmt: skip


def _finetune(name: str, *more: str) -> Words:
    words = ("finetune", "--task", (KINDS | OWN)[name], "--lang", "en", "--model", "IN/model", "--data", f"IN/{name}")
    own = {"qa": ("--set", "stride=16"), "mc": ("--set", "stages=[]")}.get(name, ())
    return (*words, "--out", "OUT/run", *more, *own)


def _add(language: str, *more: str, out: str = "run") -> Words:
    words = ("add-language", "--text", f"{language}=IN/texts/zu.txt", "--model", "IN/model", "--out", f"OUT/{out}")
    return (*words, "--set", "epochs=4", "--set", "max_length=64", "--set", "save_steps=3", "--limit", "350", *more)


def _scored(run: str, languages: str, *more: str) -> Words:
    return ("eval-transfer", "--run", f"OUT/{run}", "--langs", languages, *more)


def _untrained(task: str) -> Words:
    words = ("eval-transfer", "--task", task, "--model", "IN/model", "--data", f"IN/own/{task}.jsonl")
    return (*words, "--langs", "de,sw", "--out", "OUT/run")


def _embed() -> Words:
    return ("embed", "--run", "OUT/run", "--lang", "de", "IN/texts/zu.txt", "--out", "OUT/vectors.safetensors")


def write_kill_inputs(folder: Path, checkout: Path) -> None:
    """Write data, texts, an encoder, and the model; a folder that is complete is kept."""
    if (folder / "killed").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    write_inputs(folder, checkout)
    zulu = (folder / "texts" / "zu.txt").read_text(encoding="utf-8")
    (folder / "texts" / "xh.txt").write_text(zulu.replace("z", "x").replace("k", "g"), encoding="utf-8")
    for name in OWN:
        for split, count in (("train", 48), ("validation", 12), ("test", 24)):
            path = folder / name / "en" / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw = random.Random(f"{name} {split}")
            path.write_text("".join(json.dumps(_row(name, draw)) + "\n" for _ in range(count)), encoding="utf-8")
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.jsonl"))] + [zulu]
    write_small_model(folder / "model", texts)
    rows = "".join(f"the cat {row} runs,the dog {row},{('en', 'de', 'sw')[row % 3]}\n" for row in range(60))
    (folder / "mixed.csv").write_text(f"text,text_pair,language\n{rows}", encoding="utf-8")
    (folder / "killed").touch()


def write_inputs_apart(folder: Path) -> None:
    """Write the inputs in a process of its own, because tokenizers use threads, which do not survive a fork."""
    program = f"from pathlib import Path; from {__name__} import write_kill_inputs as write; "
    program += f"write(Path({str(folder)!r}), Path.cwd())"
    subprocess.run([sys.executable, "-c", program], check=True)


def _row(name: str, draw: random.Random) -> dict[str, object]:
    words = draw.choices((*ANIMALS, "the", "runs"), k=4)
    if name == "labels":
        return {"text": " ".join(words), "labels": [animal for animal in ANIMALS if animal in words]}
    if name == "tags":
        return {"tokens": words, "tags": ["VERB" if word == "runs" else "NOUN" for word in words]}
    return {"text": words[0], "text_pair": words[1], "score": float(words[0] == words[1]) + draw.random()}
