"""Token counts of four benchmarks: measured on files where they are available, otherwise drawn.

Drawn lengths are lognormal with the median and spread (standard deviation of the logarithm) that the English training
files of the four benchmarks have with XLM-R's tokenizer, truncated to the usual maximum:

| benchmark | median | spread | maximum |
|---|---|---|---|
| XNLI | 40 | 0.48 | 128 |
| PAN-X | 12 | 0.46 | 128 |
| XQuAD (windows) | 179 | 0.37 | 384 |
| XCOPA (choices) | 20 | 0.16 | 128 |
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from xmodctl.core.encoded import Encoded, Ragged
from xmodctl.model import find, load_tokenizer

HEADS = {
    "xnli": "sequence",
    "panx": "tokens",
    "xquad": "span",
    "xcopa": "choice",
}
MAXIMA = {"xnli": 128, "panx": 128, "xquad": 384, "xcopa": 128}
_DRAWN = {"xnli": (40, 0.48), "panx": (12, 0.46), "xquad": (179, 0.37), "xcopa": (20, 0.16)}
_XNLI = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")


def training_lengths(benchmark: str, count: int) -> tuple[np.ndarray, str]:
    """Return the token counts of `count` training features, and their origin."""
    if folder := os.environ.get("XMODCTL_REALDATA"):
        return _measured(Path(folder) / benchmark, benchmark, count), f"{benchmark}'s English training file"
    return _drawn(benchmark, count, seed=0), "drawn, lognormal"


def test_lengths(count: int) -> tuple[dict[str, np.ndarray], str]:
    """Return the token counts of `count` NLI test rows in fifteen languages, and their origin."""
    if folder := os.environ.get("XMODCTL_REALDATA"):
        tokenizer = load_tokenizer(find("mini"))
        counts = {}
        for language in _XNLI:
            rows = _jsonl(Path(folder) / "xnli" / language / "test.jsonl", count)
            counts[language] = _pair_lengths(tokenizer, rows, ("premise", "hypothesis"), 128)
        return counts, "XNLI's test files"
    return {language: _drawn("xnli", count, seed=number) for number, language in enumerate(_XNLI)}, "drawn, lognormal"


def encoded(benchmark: str, lengths: np.ndarray, vocabulary: int) -> Encoded:
    """Return features of these lengths with random tokens and targets for the kind of `benchmark`."""
    random = np.random.default_rng(1)
    tokens = Ragged.of([random.integers(5, vocabulary, length) for length in lengths])
    rows = np.arange(len(lengths))
    match benchmark:
        case "xnli":
            return Encoded(tokens, rows, scalars={"labels": random.integers(0, 3, len(rows))})
        case "panx":
            tags = Ragged(random.integers(0, 7, len(tokens.values)), tokens.bounds)
            return Encoded(tokens, rows, ragged={"labels": tags})
        case "xquad":
            positions = random.integers(0, lengths)
            return Encoded(tokens, rows, scalars={"start_positions": positions, "end_positions": positions})
        case _:
            whole = len(rows) // 2 * 2
            tokens = Ragged.of([tokens[number] for number in range(whole)])
            right = np.repeat(random.integers(0, 2, whole // 2), 2)
            return Encoded(tokens, np.arange(whole) // 2, scalars={"labels": right}, choices=True)


def _drawn(benchmark: str, count: int, seed: int) -> np.ndarray:
    median, spread = _DRAWN[benchmark]
    drawn = np.random.default_rng(seed).lognormal(np.log(median), spread, count)
    return np.clip(np.rint(drawn), 4, MAXIMA[benchmark]).astype(np.int64)


def _measured(folder: Path, benchmark: str, count: int) -> np.ndarray:
    tokenizer = load_tokenizer(find("mini"))
    limit = MAXIMA[benchmark]
    if benchmark == "xquad":
        articles = json.loads((folder / "en" / "train.json").read_text(encoding="utf-8"))["data"]
        pairs = [
            (question["question"], paragraph["context"])
            for article in articles
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ][:count]
        windows = tokenizer(
            [question for question, _ in pairs], [context for _, context in pairs],
            truncation="only_second", max_length=limit, stride=128, return_overflowing_tokens=True,
        )["input_ids"]  # fmt: skip
        return np.array([len(window) for window in windows])[:count]
    rows = _jsonl(folder / "en" / "train.jsonl", count)
    match benchmark:
        case "xnli":
            return _pair_lengths(tokenizer, rows, ("premise", "hypothesis"), limit)
        case "panx":
            words = [row["tokens"] for row in rows]
            split = tokenizer(words, is_split_into_words=True, truncation=True, max_length=limit)["input_ids"]
            return np.array([len(ids) for ids in split])
        case _:
            both = [_pair_lengths(tokenizer, rows, ("premise", f"choice{number}"), limit) for number in (1, 2)]
            return np.stack(both, axis=1).reshape(-1)[:count]


def _pair_lengths(tokenizer: Any, rows: list[dict[str, Any]], columns: tuple[str, str], limit: int) -> np.ndarray:
    first, second = ([row[column] for row in rows] for column in columns)
    return np.array([len(ids) for ids in tokenizer(first, second, truncation=True, max_length=limit)["input_ids"]])


def _jsonl(path: Path, count: int) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line, _ in zip(lines, range(count), strict=False)]
