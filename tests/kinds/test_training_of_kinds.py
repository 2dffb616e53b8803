"""Each kind trains through X-MOD's own head: the loss of a step is the mean over the kind's terms."""

from collections.abc import Sequence

import datasets
import numpy as np
import pytest
import torch
from samples import questions, sentences, task
from transformers import AutoTokenizer

from xmodctl.catalog.recipe import Recipe
from xmodctl.core.encoded import Encoded
from xmodctl.kinds import KINDS
from xmodctl.model import find, freeze, load
from xmodctl.model.batches import collate
from xmodctl.model.inference import logits_of
from xmodctl.training.loop import Training

TRAINED = [name for name, kind in KINDS.items() if kind.trains]

EPOCHS = {"multi-label-classification": 90}  # its binary losses fall slowly at first
WORDS = ["the", "cat", "dog", "runs", "red", "blue", "paka", "chat"]


def rows_of(kind: str) -> tuple[datasets.Dataset, object]:
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(WORDS, draw.integers(3, 12))) for _ in range(14)]
    match kind:
        case "sequence-classification":
            table = datasets.Dataset.from_dict({"text": texts, "label": draw.integers(0, 3, len(texts))})
            return table, task_of_pairs()
        case "multi-label-classification":
            sets = [[int(word in text) for word in ("cat", "dog", "red")] for text in texts]
            return datasets.Dataset.from_dict({"text": texts, "label": sets}), task_of_pairs(kind)
        case "text-regression":
            numbers = [sum(word in ("cat", "red", "chat") for word in text.split()) / 2 for text in texts]
            return datasets.Dataset.from_dict({"text": texts, "label": numbers}), task_of_pairs(kind)
        case "token-classification" | "word-tagging":
            rows = [(text.split(), [WORDS.index(word) % 5 for word in text.split()]) for text in texts]
            return sentences(*rows, ([""], [0])), task(kind)
        case "question-answering":
            long = [f"{text} {' '.join(texts)} never" for text in texts]
            return questions(*[(text, "what runs", {"never": text.index("never")}) for text in long]), task(kind)
        case _:
            choices = [list(draw.choice(WORDS, draw.integers(2, 5))) for _ in texts]
            labels = [int(draw.integers(0, len(choice))) for choice in choices]
            for choice, label in zip(choices, labels, strict=True):
                choice[label] = "never"
            return datasets.Dataset.from_dict({"context": texts, "choices": choices, "label": labels}), task(kind)


def task_of_pairs(kind: str = "sequence-classification"):
    from xmodctl.catalog.task import Task

    columns = {"text": "text", "label": "label"}
    values = {"name": "t", "title": "T", "kind": kind, "languages": {}, "recipe": "r"}
    return Task.model_validate(
        {**values, "columns": columns, "labels": () if kind == "text-regression" else ("a", "b", "c")}
    )


def prepared(
    tiny_model, kind_name: str, *, seed: int = 1, languages: Sequence[str] = ("en_XX",), **settings
) -> tuple[Training, Encoded]:
    rows, described = rows_of(kind_name)
    kind = KINDS[kind_name]
    encoded = kind.encode(rows, AutoTokenizer.from_pretrained(tiny_model), max_length=24, stride=8)
    names = kind.outputs(described)
    model = load(
        find(str(tiny_model)), kind.head, languages, num_labels=len(names), id2label=dict(enumerate(names)), seed=seed,
        problem_type=kind.problem_type,
    )  # fmt: skip
    model.activate("en_XX")
    model.set_dropout(hidden=0.0, attention=0.0)
    recipe = Recipe(
        epochs=EPOCHS.get(kind_name, 30),
        batch_size=len(encoded),
        learning_rate=0.01,
        max_length=24,
        stride=8,
        **settings,
    )
    freeze(model, recipe.freeze)
    training = Training(model, encoded, kind.weights(encoded), recipe, seed=seed, precision="fp32", pad_id=1)
    return training, encoded


def terms(kind: str, outputs, batch: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return the terms of the loss, written out."""
    entropy = torch.nn.functional.cross_entropy
    if kind == "question-answering":
        ends = (("start_logits", "start_positions"), ("end_logits", "end_positions"))
        return list(
            torch.stack([entropy(outputs[name], batch[place], reduction="none") for name, place in ends]).mean(0)
        )
    if kind in ("token-classification", "word-tagging"):
        labeled = batch["labels"] != -100
        return list(entropy(outputs.logits[labeled], batch["labels"][labeled], reduction="none"))
    if kind == "text-regression":
        return list((outputs.logits[:, 0] - batch["labels"]) ** 2)
    if kind == "multi-label-classification":
        binary = torch.nn.functional.binary_cross_entropy_with_logits
        return list(binary(outputs.logits, batch["labels"], reduction="none").mean(dim=1))
    return list(entropy(outputs.logits, batch["labels"], reduction="none"))


@pytest.mark.parametrize("kind", TRAINED)
def test_the_loss_of_a_step_is_the_mean_over_the_terms_however_the_batch_is_split(kind, tiny_model):
    training, encoded = prepared(tiny_model, kind, tokens_per_step=64)
    (batch,) = training.batches(0)
    assert len(batch) > 2
    every: list[torch.Tensor] = []
    with torch.no_grad():
        for unit in np.concatenate(batch):
            item = collate(encoded, [unit], pad_id=1)
            every += terms(kind, training.model.module(**item), item)
    assert len(every) == KINDS[kind].weights(encoded).sum()
    step = next(iter(training))
    assert step.loss == pytest.approx(float(torch.stack(every).mean()), abs=1e-5)
    assert step.tokens == encoded.tokens[np.concatenate(batch)].sum()


@pytest.mark.parametrize("kind", TRAINED)
def test_a_kind_learns_its_training_rows(kind, tiny_model):
    training, encoded = prepared(tiny_model, kind, tokens_per_step=512)
    losses = [step.loss for step in training]
    assert losses[-1] < 0.7 * losses[0]
    rows, described = rows_of(kind)
    logits = logits_of(training.model, encoded, precision="fp32", pad_id=1)
    decoded = KINDS[kind].decode(logits, encoded, rows, described)
    gold, predicted = [row[0] for row in decoded], [row[1] for row in decoded]
    statistics = KINDS[kind].statistics(gold, predicted, described, "en")
    score = float(KINDS[kind].metrics(statistics.sum(axis=0), described)[described.headline])
    assert score > KINDS[kind].baseline(gold, rows, described, "en")


def test_a_sentence_without_a_tagged_token_is_excluded_from_training(tiny_model):
    training, encoded = prepared(tiny_model, "token-classification", tokens_per_step=512)
    assert len(training.units) == len(encoded) - 1
    assert len(encoded) - 1 not in training.units
