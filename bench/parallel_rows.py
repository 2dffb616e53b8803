"""Pairs of parallel rows for the task `retrieval`: `python -m bench.parallel_rows XNLI --column premise --out DIR`.

Row i of each language's files is a translation of row i of the source language's. Rows that repeat an earlier text of
the source are left aside, because a nearest neighbor among equal texts is arbitrary.
"""

import argparse
import json
from pathlib import Path

from xmodctl.core import jsonl

REMEDY = "give a folder of LANGUAGE/SPLIT.jsonl"


def texts(folder: Path, column: str, splits: list[str]) -> list[str]:
    """Return a column of a language's splits, one after the other."""
    return [str(row[column]) for split in splits for _, row in jsonl.read(folder / f"{split}.jsonl", remedy=REMEDY)]


def write_pairs(data: Path, column: str, source: str, splits: list[str], out: Path) -> dict[str, int]:
    """Write `out/LANGUAGE/test.jsonl` with `id`, `text`, and `text_pair`; return each language's number of rows."""
    pairs = texts(data / source, column, splits)
    first = {text: number for number, text in reversed(list(enumerate(pairs)))}
    kept = sorted(first.values())
    counts = {}
    for folder in sorted(path for path in data.iterdir() if path.is_dir() and path.name != source):
        rows = texts(folder, column, splits)
        assert len(rows) == len(pairs), f"{folder} is not parallel to {source}: {len(rows)} and {len(pairs)} rows"
        path = out / folder.name / "test.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [{"id": str(number), "text": rows[number], "text_pair": pairs[number]} for number in kept]
        path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
        counts[folder.name] = len(lines)
    return counts


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a folder of LANGUAGE/SPLIT.jsonl with parallel rows")
    parser.add_argument("--column", default="premise")
    parser.add_argument("--source", default="en", help="the folder of the language that the others are paired with")
    parser.add_argument("--splits", default="validation,test", help="the splits, separated by commas")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    counts = write_pairs(options.data, options.column, options.source, options.splits.split(","), options.out)
    print(", ".join(f"{language} {count:,}" for language, count in counts.items()))


if __name__ == "__main__":
    main()
