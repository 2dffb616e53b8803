"""Data that `bench.fuzz` damages: files of tasks in every format, and files of users whose columns are found."""

import bz2
import gzip
import io
import json
import lzma
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.fuzz_reading import Target, build_tiny_model, commands
from xmodctl.catalog.task import Task

LABELS = ("entailment", "neutral", "contradiction")
NLI = ("red", "blue", "never")

TASKS: Mapping[str, dict[str, Any]] = {
    "pairs": {
        "kind": "sequence-classification", "labels": LABELS,
        "columns": {"text": "premise", "text_pair": "hypothesis", "label": "label"},
    },
    "tags": {
        "kind": "token-classification", "labels": ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"),
        "columns": {"tokens": "tokens", "tags": "tags"},
    },
    "questions": {
        "kind": "question-answering", "metric_rules": "squad2",
        "columns": {"context": "context", "question": "question", "answers": "answers", "id": "id"},
    },
    "choices": {
        "kind": "multiple-choice",
        "columns": {"context": "premise", "question": "question", "choices": ["choice1", "choice2"], "label": "label"},
    },
}  # fmt: skip


def task_of(name: str) -> Task:
    """Return a task of one kind."""
    return Task(name=name, title=name, languages=["en", "de"], recipe="nli", **TASKS[name])


def rows_of(name: str) -> list[dict[str, Any]]:
    """Return rows of a task."""
    match name:
        case "pairs":
            return [{"premise": f"the cat {number}", "hypothesis": NLI[number % 3], "label": LABELS[number % 3]}
                    for number in range(6)]  # fmt: skip
        case "tags":
            return [{"tokens": ["the", "cat", "runs"], "tags": ["O", "B-PER", "I-PER"]} for _ in range(3)]
        case "questions":
            answers = {"text": ["cat"], "answer_start": [4]}
            return [{"id": f"q{number}", "context": "the cat runs", "question": "red?", "answers": answers}
                    for number in range(3)]  # fmt: skip
        case _:
            return [{"premise": "the cat", "question": "cause", "choice1": "red", "choice2": "blue",
                     "label": number % 2}
                    for number in range(3)]  # fmt: skip


def data(name: str, extension: str) -> Target:
    """Return the target of a data file of a task in one format."""

    def build(folder: Path) -> None:
        build_tiny_model(folder.parent / "tiny-model")
        path = folder / "data" / "en" / f"test{extension}"
        path.parent.mkdir(parents=True)
        write_data(path, name, extension)

    def read(folder: Path) -> object:
        from xmodctl.data import load_rows
        from xmodctl.kinds import KINDS
        from xmodctl.model.tokenizer import read_tokenizer

        task = task_of(name)
        rows = load_rows(task, "en", "test", folder=folder / "data")
        tokenizer = read_tokenizer(folder.parent / "tiny-model")
        return len(KINDS[task.kind].encode(rows.table, tokenizer, max_length=32, stride=8).rows)

    return Target(build, ("data/**/test*", "data/**/test/*"), read)


def write_data(path: Path, name: str, extension: str) -> None:  # noqa: PLR0912 (a branch for each format)
    """Write rows in a format."""
    rows = rows_of(name)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    match extension:
        case ".jsonl" | ".ndjson":
            path.write_text(lines)
        case ".jsonl.gz":
            path.write_bytes(gzip.compress(lines.encode()))
        case ".jsonl.xz":
            path.write_bytes(lzma.compress(lines.encode()))
        case ".jsonl.bz2":
            path.write_bytes(bz2.compress(lines.encode()))
        case ".jsonl.zst":
            import pyarrow

            with pyarrow.output_stream(str(path), compression="zstd") as file:
                file.write(lines.encode())
        case ".json" if name == "questions":
            paragraphs = [{"context": row["context"], "qas": [{key: row[key] for key in ("id", "question", "answers")}]}
                          for row in rows]  # fmt: skip
            for paragraph in paragraphs:
                paragraph["qas"][0]["answers"] = [{"text": "cat", "answer_start": 4}]
            path.write_text(json.dumps({"data": [{"title": "x", "paragraphs": paragraphs}]}))
        case ".json":
            path.write_text(json.dumps({"data": rows}))
        case ".csv" | ".tsv":
            mark = "," if extension == ".csv" else "\t"
            path.write_text(
                "\n".join([mark.join(rows[0]), *(mark.join(map(str, row.values())) for row in rows)]) + "\n"
            )
        case ".parquet":
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        case ".arrow":
            import pyarrow

            table = pyarrow.Table.from_pylist(rows)
            with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
        case "":
            import datasets

            datasets.disable_progress_bars()
            datasets.Dataset.from_list(rows).save_to_disk(path)
        case _:
            path.write_text("\n\n".join("the\tO\ncat\tB-PER\nruns\tI-PER" for _ in range(3)) + "\n")


OWN: Mapping[str, tuple[str, str, str]] = {
    "Label Studio": (
        "entities", "file.json",
        json.dumps([{"id": number, "data": {"text": "the cat runs"}, "annotations": [{"was_cancelled": False,
            "result": [{"value": {"start": 4, "end": 7, "text": "cat", "labels": ["PER"]}, "type": "labels"}]}]}
            for number in range(4)]),
    ),
    "Prodigy": (
        "entities", "file.jsonl",
        (json.dumps({"text": "the cat runs", "_input_hash": 1, "answer": "accept", "tokens": [{"text": "the", "id": 0}],
                     "spans": [{"start": 4, "end": 7, "label": "PER"}]}) + "\n") * 4,
    ),
    "spaCy": ("entities", "file.json", json.dumps([["the cat runs", {"entities": [[4, 7, "PER"]]}]] * 4)),
    "spaCy 2": (
        "entities", "file.json",
        json.dumps([{"id": 0, "paragraphs": [{"sentences": [{"tokens": [
            {"orth": "cat", "ner": "U-PER"}, {"orth": "runs", "ner": "O"}]}]}]}] * 4),
    ),
    "classification": ("classification", "file.csv", "text,label\n" + "the cat,a\nthe dog,b\n" * 4),
    "labels": (
        "multi-label", "file.jsonl",
        "".join(json.dumps({"text": f"the cat {labels}", "labels": labels}) + "\n"
                for labels in (["a", "b"], ["b"], [], ["a"], ["b", "c"], ["a"], ["c"], ["b"])),
    ),
    "numbers": ("regression", "file.tsv", "text\tscore\n" + "".join(f"the cat {n}\t{n / 2}\n" for n in range(24))),
    "words": ("tagging", "file.conllu", "the\tDET\ncat\tNOUN\n\n" * 8),
    "questions": (
        "answers", "file.jsonl",
        "".join(json.dumps({"context": "the cat runs", "question": f"{word}?", "answers": [
            {"text": word, "answer_start": "the cat runs".index(word)}]}) + "\n"
                for word in ("cat", "the", "runs") * 3),
    ),
    "SQuAD, flat": (
        "answers", "file.json",
        json.dumps({"data": [{"id": str(number), "context": "the cat runs", "question": f"{word}?", "answers": {
            "text": [word], "answer_start": ["the cat runs".index(word)]}}
            for number, word in enumerate(("cat", "the", "runs") * 3)]}),
    ),
    "choices": (
        "choices", "file.jsonl",
        "".join(json.dumps({"question": f"{number}", "choices": ["red", "blue"], "label": number % 2}) + "\n"
                for number in range(8)),
    ),
}  # fmt: skip
"""Files of users: the task that finds their columns, the file, and its content."""


LABELED = [("text", "label"), *(("the cat", "a"), ("the dog", "b")) * 4]
"""Texts and labels, below their names."""


def workbook() -> bytes:
    """Return an Excel workbook of labeled texts."""
    import openpyxl

    book = openpyxl.Workbook()
    for row in LABELED:
        book.active.append(row)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


FOLDERS: Mapping[str, Mapping[str, str | bytes]] = {
    "workbook": {"file.xlsx": workbook()},
    "UTF-16": {"file.tsv": "".join(f"{text}\t{label}\r\n" for text, label in LABELED).encode("utf-16")},
    "UTF-16 without a mark": {"file.jsonl": "".join(json.dumps({"text": text, "label": label}) + "\n"
                                                   for text, label in LABELED[1:]).encode("utf-16-le")},
    "languages in a column": {"file.csv": "text,label,lang\n" + "the cat,a,en\nthe dog,b,de\nthe dog,b,en\n" * 4},
    "a file per language": {f"{language}.csv": "text;label\nthe cat;a\nthe dog;b\n" for language in ("en", "de", "sw")},
    "splits": {f"en/{split}.tsv": "text\tlabel\n" + "the cat\ta\nthe dog\tb\n" * 4
               for split in ("train", "validation", "test")},
}  # fmt: skip
"""Folders and files of the task `classification`."""


def own(name: str) -> Target:
    """Return the target of a user's file whose columns and labels are found by the task."""
    task, file, content = OWN[name]
    return _own(task, {file: content}, file)


def folder_of(name: str) -> Target:
    """Return the target of a user's folder, or of a file that is not text."""
    return _own("classification", FOLDERS[name], next(iter(FOLDERS[name])) if len(FOLDERS[name]) == 1 else ".")


def _own(task: str, files: Mapping[str, str | bytes], data: str) -> Target:
    def read(folder: Path) -> object:
        model = folder.parent / "tiny-model"
        options = ("--task", task, "--lang", "en", "--model", model, "--data", folder / data)
        commands(("inspect", *options), ("check", *options))
        return None

    return target_of(files, read)


def target_of(files: Mapping[str, str | bytes], read: Callable[[Path], object]) -> Target:
    """Return the target of files, beside the folder of a tiny model."""

    def build(folder: Path) -> None:
        build_tiny_model(folder.parent / "tiny-model")
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return Target(build, tuple(files), read)


def untrained(task: str, columns: str, value: str) -> Target:
    """Return the target of pairs that are scored without training."""

    def read(folder: Path) -> object:
        shutil.rmtree(folder / "out", ignore_errors=True)
        commands(("eval-transfer", "--task", task, "--model", folder.parent / "tiny-model", "--data", folder / "data",
                  "--out", folder / "out", "--langs", "de"))  # fmt: skip
        return None

    rows = "".join(f"the cat {number},the dog {number}{value.format(number)}\n" for number in range(6))
    return target_of({"data/de/test.csv": f"{columns}\n{rows}"}, read)


def embedded(*forms: str, out: str = "vectors.parquet") -> Target:
    """Return the target of texts that are turned into vectors, each through the adapter of its language.

    Args:
        forms: The extensions of the files.
        out: The file of vectors.
    """

    def read(folder: Path) -> object:
        commands(*(("embed", folder / name, "--model", folder.parent / "tiny-model", "--keep-input", "--out",
                    folder / out) for name in files))  # fmt: skip
        return None

    rows = [{"id": number, "text": f"the cat {number}", "lang": ("en", "de")[number % 2]} for number in range(4)]
    table = "id,text,lang\n" + "".join(",".join(map(str, row.values())) + "\n" for row in rows)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    contents = {".csv": table, ".jsonl": lines, ".ndjson": lines, ".tsv": table.replace(",", "\t").encode("utf-16")}
    files = {f"texts{form}": contents[form] for form in forms}
    return target_of(files, read)


FORMATS = {
    "pairs": (
        ".jsonl",
        ".ndjson",
        ".json",
        ".csv",
        ".tsv",
        ".parquet",
        ".arrow",
        "",
        ".jsonl.gz",
        ".jsonl.xz",
        ".jsonl.bz2",
        ".jsonl.zst",
    ),
    "tags": (".jsonl", ".json", ".parquet", ".txt", ".conll", ".conllu"),
    "questions": (".jsonl", ".json", ".parquet", ".arrow"),
    "choices": (".jsonl", ".csv", ".parquet"),
}
"""The formats in which each task's data is damaged."""

DATA: Mapping[str, Target] = {
    **{
        f"data: {name}{extension or ', saved'}": data(name, extension)
        for name in FORMATS
        for extension in FORMATS[name]
    },
    **{f"own data: {name}": own(name) for name in OWN},
    **{f"own data: {name}": folder_of(name) for name in FOLDERS},
    "pairs: retrieval": untrained("retrieval", "text,text_pair", ""),
    "pairs: similarity": untrained("regression", "text,text_pair,label", ",{}"),
    "embed: input": embedded(".csv", ".jsonl"),
    "embed: input, other forms": embedded(".ndjson", ".tsv", out="vectors.npy"),
}
"""The data that is damaged, and what reads it."""
