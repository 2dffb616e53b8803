"""Finished runs without a model: real data files, and predictions drawn at random around the right answers."""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xmodctl.catalog.recipe import Recipe
from xmodctl.catalog.task import Task
from xmodctl.data import load_rows
from xmodctl.evaluation.results import Row, append_row, write_predictions
from xmodctl.kinds import KINDS
from xmodctl.kinds.scoring import Predicted
from xmodctl.run.plan import Plan
from xmodctl.run.run import Run
from xmodctl.statistics.intervals import score_interval

NLI = ("entailment", "neutral", "contradiction")
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")

TASKS = {
    "sequence-classification": Task(
        name="pairs", title="Pairs", kind="sequence-classification", languages=["en", "de", "ar", "zh", "sw", "jv"],
        columns={"text": "premise", "text_pair": "hypothesis", "label": "label"}, labels=NLI, recipe="nli",
        license="CC0", citation="Nobody, nowhere",
    ),
    "token-classification": Task(
        name="names", title="Names", kind="token-classification", languages=["en", "de", "ar"], labels=TAGS,
        columns={"tokens": "tokens", "tags": "tags"}, recipe="ner",
    ),
    "question-answering": Task(
        name="questions", title="Questions", kind="question-answering", languages=["en", "de", "ar"], recipe="qa",
        columns={"context": "context", "question": "question", "answers": "answers"}, metric_rules="squad2",
    ),
    "multiple-choice": Task(
        name="choices", title="Choices", kind="multiple-choice", languages=["en", "de", "ar"], recipe="choice",
        columns={"context": "premise", "question": "question", "choices": ["choice1", "choice2"], "label": "label"},
    ),
}  # fmt: skip
ADAPTERS = {"en": "en_XX", "de": "de_DE", "ar": "ar_AR", "zh": "zh_CN", "sw": "sw_KE", "jv": "id_ID"}
WORDS = {
    "en": "the cat never sleeps", "de": "die Katze schläft nie", "ar": "القطة لا تنام أبدا", "zh": "猫 从不 睡觉",
    "sw": "paka halali kamwe", "jv": "kucing ora tau turu",
}  # fmt: skip


def write_examples(folder: Path, task: Task, language: str, count: int, *, texts: Sequence[str] = ()) -> None:
    """Write `DIR/LANGUAGE/test.jsonl` in the columns of the task; `texts` replace the first examples' words."""
    words = WORDS[language].split()
    path = folder / language / "test.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        text = texts[number] if number < len(texts) else f"{' '.join(words)} {number}"
        match task.kind:
            case "sequence-classification":
                rows.append({"premise": text, "hypothesis": words[number % 3], "label": NLI[number % 3]})
            case "token-classification":
                rows.append(
                    {
                        "tokens": [*words, str(number)],
                        "tags": [["B-PER", "B-LOC"][number % 2], "O", "O", "O", "O"][: len(words) + 1],
                    }
                )
            case "question-answering":
                answer = " ".join(words[: 1 + number % 3])
                answers = {"text": [answer] if number % 5 else [], "answer_start": [0] if number % 5 else []}
                rows.append({"id": f"q{number}", "context": text, "question": f"{words[-1]}?", "answers": answers})
            case "multiple-choice":
                rows.append(
                    {
                        "premise": text,
                        "question": "cause",
                        "choice1": words[0],
                        "choice2": words[1],
                        "label": number % 2,
                    }
                )
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def answer(draw: random.Random, task: Task, example: Mapping[str, Any], quality: float) -> Predicted:
    """Return a prediction that is right with a probability of `quality`."""
    right = draw.random() < quality
    sure = round(draw.uniform(0.5, 0.98), 6)
    match task.kind:
        case "sequence-classification":
            gold = task.labels[example["label"]]
            predicted = gold if right else draw.choice([label for label in task.labels if label != gold])
            rest = (1 - sure) / (len(task.labels) - 1)
            return Predicted(
                example["id"], gold, predicted, tuple(sure if label == predicted else rest for label in task.labels)
            )
        case "token-classification":
            tags = [task.labels[tag] for tag in example["tags"]]
            other = {"B-PER": "B-LOC", "B-LOC": "O", "O": "O"}
            said_tags = tags if right else [other[tag] for tag in tags]
            return Predicted(example["id"], tags, said_tags, (sure,) * len(tags))
        case "question-answering":
            texts = example["answers"]["text"]
            return Predicted(example["id"], texts, (texts[0] if texts else "") if right else "wrong", (sure,))
        case _:
            label = example["label"]
            said_place = label if right else 1 - label
            return Predicted(
                example["id"], label, said_place, (sure, 1 - sure) if said_place == 0 else (1 - sure, sure)
            )


def scored_run(
    under: Path,
    name: str = "run",
    kind: str = "sequence-classification",
    *,
    qualities: Mapping[str, float] | None = None,
    seeds: Sequence[int] = (1, 2),
    count: int = 40,
    controls: Sequence[str] = (),
    donors: Mapping[str, Sequence[str]] | None = None,
    limited: int | None = None,
    texts: Sequence[str] = (),
    learning_rate: float = 2e-5,
) -> Run:
    """Make a run of a task under a folder: trained, and scored in the languages of `qualities` (shares right).

    Data lies in `data/` beside it; runs of one kind share it. `texts` are what the first examples say, save English.
    """
    task = TASKS[kind]
    qualities = qualities or {"en": 0.9, "de": 0.8, "ar": 0.6}
    data = under / "data" / kind
    for language in qualities:
        if not (data / language).exists():
            write_examples(data, task, language, count, texts=texts if language != "en" else ())
    recipe = Recipe(name="swift", learning_rate=learning_rate)
    plan = Plan(task, recipe, "mini", "0" * 40, "1" * 64, ("en_XX",), str(data), None, "fp32")
    run = Run.new(under / name, plan, seeds, {"train": name})
    run.write()
    for seed in seeds:
        run.seed_folder(seed).mkdir(parents=True)
        run.delta(seed).write_bytes(b"")
        steps = [{"step": step, "total_steps": 60, "loss": 1.1 - step / 80 + seed / 50} for step in range(1, 61)]
        scores = [{"step": step, "metric": task.headline, "value": 50 + step / 2 + seed} for step in (20, 40, 60)]
        lines = "".join(json.dumps(row) + "\n" for row in [*steps, *scores])
        (run.seed_folder(seed) / "metrics.jsonl").write_text(lines)
        for language, quality in qualities.items():
            ways: list[tuple[str, str | None, float]] = [("own", ADAPTERS[language], quality)]
            ways += [(control, {"source": "en_XX", "none": None}[control], quality - 0.1) for control in controls]
            ways += [("own", adapter, quality - 0.2) for adapter in (donors or {}).get(language, ())]
            for control, adapter, share in ways:
                _score(run, task, data, language, adapter, control, seed, share, limited)
    return run


def _score(
    run: Run, task: Task, data: Path, language: str, adapter: str | None, control: str, seed: int, quality: float,
    limited: int | None,
) -> None:  # fmt: skip
    rows = load_rows(task, language, "test", folder=data, limit=limited)
    draw = random.Random(f"{run.folder.name}{language}{adapter}{control}{seed}")
    predictions = [answer(draw, task, example, quality) for example in rows.table]
    kind = KINDS[task.kind]
    gold, predicted = (
        [predicted_row.gold for predicted_row in predictions],
        [predicted_row.prediction for predicted_row in predictions],
    )
    statistics = kind.statistics(gold, predicted, task, language)
    metrics = {name: float(value) for name, value in kind.metrics(statistics.sum(axis=0), task).items()}
    interval = score_interval(
        statistics, lambda totals: kind.metrics(totals, task)[task.headline],
        is_share=kind.headlines[task.headline].is_share, resamples=200,
    )  # fmt: skip
    name = f"predictions/test/{language}.{adapter}.{control}.{limited}.seed-{seed}.jsonl"
    append_row(
        run.results,
        Row(
            task=task.name, kind=task.kind, split="test", language=language, adapter=adapter, control=control,
            source_languages=("en_XX",), model="mini@0", data=f"{rows.origin}#{rows.fingerprint}", n=len(predictions),
            metric=task.headline, value=metrics[task.headline], metrics=metrics,
            baseline=kind.baseline(gold, rows.table, task, language), ci_low=interval.low, ci_high=interval.high,
            ci_method=interval.method, seed=seed, step=60, selected_on="nothing (last step)", limited=limited,
            precision="fp32", device="cpu", seconds=1.5, truncated=0, predictions=name,
            predictions_sha256=write_predictions(run.folder / name, predictions), tool="0.1.0",
        ),
    )  # fmt: skip
