"""What `bench.fuzz` damages, and what reads it: every reader of files that others may have written."""

import bz2
import gzip
import json
import lzma
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from command_line import CHANGED, run
from tiny import build_tiny_model

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


class CrashError(Exception):
    """A command ended in a traceback."""


@dataclass(frozen=True)
class Target:
    """Files that are damaged one at a time, and what reads them.

    `read` raises UserError for damage, and returns what it read otherwise. If `sealed`, no damaged file may be used:
    what is read must be what was read before the damage.
    """

    build: Callable[[Path], None]
    files: tuple[str, ...]  # patterns, relative to the folder that `build` fills
    read: Callable[[Path], Any]
    structured: bool = True
    sealed: bool = False
    writes: bool = False  # whether `read` changes files, so that all of them are restored


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


def command(*words: object) -> str:
    """Run a command, and return what it printed.

    Raises:
        CrashError: It ended in a traceback.
    """
    result = run(*words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code not in (0, 1, 2) or "Usage:" in result.output:
        raise CrashError(f"exit code {result.exit_code}: {result.output}")
    if result.exit_code == 2:
        _refused.append(result.output)
    return result.stdout


_refused: list[str] = []


def commands(*calls: Sequence[object]) -> None:
    """Run commands.

    Raises:
        UserError: At least one of them ended with exit code 2.
        CrashError: One ended in a traceback.
    """
    from xmodctl.core.errors import UserError

    _refused.clear()
    for words in calls:
        command(*words)
    if _refused:
        raise UserError(_refused[0])


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
        case ".jsonl":
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
    "choices": (
        "choices", "file.jsonl",
        "".join(json.dumps({"question": f"{number}", "choices": ["red", "blue"], "label": number % 2}) + "\n"
                for number in range(8)),
    ),
}  # fmt: skip
"""Files of users: the task that finds their columns, the file, and its content."""


def own(name: str) -> Target:
    """Return the target of a user's file whose columns and labels are found by the task."""
    task, file, content = OWN[name]

    def build(folder: Path) -> None:
        build_tiny_model(folder.parent / "tiny-model")
        (folder / file).write_text(content)

    def read(folder: Path) -> object:
        model = folder.parent / "tiny-model"
        options = ("--task", task, "--lang", "en", "--model", model, "--data", folder / file)
        commands(("inspect", *options), ("check", *options))
        return None

    return Target(build, (file,), read)


# Tasks, recipes and settings.


def _write_yaml(folder: Path) -> None:
    for place, name in (("tasks", "xnli"), ("tasks", "wikiann"), ("tasks", "xquad"), ("recipes", "nli")):
        source = Path(__file__).parents[1] / place / f"{name}.yaml"
        if source.exists():
            (folder / place).mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / place)
    (folder / "tasks" / "own.yaml").write_text(json.dumps(task_of("pairs").model_dump(mode="json", exclude={"name"})))


def _read_yaml(folder: Path) -> object:
    from xmodctl.catalog import catalog
    from xmodctl.core.errors import UserError

    problems = []
    for path in sorted(folder.rglob("*.yaml")):
        try:
            (catalog.task if path.parent.name == "tasks" else catalog.recipe)(str(path))
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError(problems[0])
    return None


def _write_settings(folder: Path) -> None:
    settings = (
        "learning_rate=1e-4",
        "epochs=3",
        "keep=average:3",
        "columns.text=premise",
        "labels=[a, b]",
        "stages=[{task: x}]",
    )
    for number, setting in enumerate(settings):
        (folder / f"{number}.setting").write_text(setting)


def _read_settings(folder: Path) -> object:
    from xmodctl.catalog import catalog
    from xmodctl.core.errors import UserError
    from xmodctl.core.schema import parse_override

    used = 0
    for path in sorted(folder.glob("*.setting")):
        text = path.read_text(encoding="utf-8", errors="surrogateescape")  # as the arguments of a command are
        try:
            key, value = parse_override(text)
        except UserError:
            continue
        for described in (catalog.recipe("nli"), task_of("pairs")):
            try:
                described.with_values({key: value}, origin="--set")
                used += 1
            except UserError:
                continue
    if used < 6:
        raise UserError("one more setting was refused")
    return used


# Models.


def _write_model(folder: Path) -> None:
    build_tiny_model(folder / "model")


def _read_model(folder: Path) -> object:
    from xmodctl import model

    source = model.find(str(folder / "model"))
    return len(model.load_tokenizer(source)), len(list(model.load(source, "none", ["en_XX"]).module.parameters()))


def _write_sharded(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    build_tiny_model(folder / "model")
    tensors = load_file(folder / "model" / "model.safetensors")
    names = sorted(tensors)
    placed = {}
    for number, part in enumerate((names[::2], names[1::2])):
        file = f"model-{number}.safetensors"
        save_file({name: tensors[name] for name in part}, folder / "model" / file)
        placed |= dict.fromkeys(part, file)
    (folder / "model" / "model.safetensors").unlink()
    (folder / "model" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))


def _write_pickled(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file

    build_tiny_model(folder / "model")
    weights = folder / "model" / "model.safetensors"
    torch.save(load_file(weights), folder / "model" / "pytorch_model.bin")
    weights.unlink()


def _write_converted(folder: Path) -> None:
    from safetensors.torch import load_file

    from xmodctl.core.safetensors_io import write_tensors

    build_tiny_model(folder / "model")
    weights = folder / "model" / "model.safetensors"
    tensors = {
        name: tensor.clone() for name, tensor in load_file(weights).items()
    }  # the file that they are in is written
    write_tensors(weights, tensors, {"format": "pt"}, sealed=True)


def _read_converted(folder: Path) -> object:
    from xmodctl import model
    from xmodctl.model.weights import Checkpoint

    source = model.find(str(folder / "model"))
    model.load(source, "none", ["en_XX"])
    checkpoint = Checkpoint(source.folder, "model")
    return _digest(checkpoint.read(checkpoint.entries))


def _digest(tensors: Mapping[str, Any]) -> list[tuple[str, bytes]]:
    return [(name, tensors[name].contiguous().numpy().tobytes()) for name in sorted(tensors)]


# Runs.


def _write_run(folder: Path) -> None:
    build_tiny_model(folder / "model")
    for language in ("en", "de"):
        for split, count in (("train", 12), ("validation", 6), ("test", 12)):
            path = folder / "data" / language / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(row) + "\n" for row in rows_of("pairs") * (count // 6)))
    settings = [word for change in (*CHANGED, "epochs=1") for word in ("--set", change)]
    command("finetune", "--task", "xnli", "--lang", "en", "--model", folder / "model", "--data", folder / "data",
            "--out", folder / "runs/a", *settings, "--shots", "3", "--shot-langs", "de")  # fmt: skip
    command("finetune", "--task", "xnli", "--lang", "en", "--model", folder / "model", "--data", folder / "data",
            "--out", folder / "runs/a", *settings)  # fmt: skip
    command("eval-transfer", "--run", folder / "runs/a", "--langs", "en,de", "--controls", "source,none")
    (folder / "text.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_of("pairs")))


def _use_run(folder: Path) -> object:
    """Run every command that reads a run without its model."""
    trained = folder / "runs/a"
    commands(
        ("runs", folder / "runs"), ("report", trained, "--format", "csv"), ("compare", trained),
        ("report", trained, "--out", folder / "report.html"), ("score", "--run", trained), ("doctor", "--run", trained),
    )  # fmt: skip
    return None


def _sweep_run(folder: Path) -> object:
    commands(["eval-transfer", "--run", folder / "runs/a", "--langs", "en,de", "--json"])
    return None


def _label_with_run(folder: Path) -> object:
    """Return the predictions of a run, or nothing if it is refused."""
    from xmodctl.core.errors import UserError

    printed = command("predict", "--run", folder / "runs/a", "--lang", "en", folder / "text.jsonl")
    if not printed:
        raise UserError("refused")
    return printed


def _read_input(folder: Path) -> object:
    texts = sorted(folder.glob("text*"))
    commands(*(("predict", "--run", folder / "runs/a", "--lang", "en", path) for path in texts))
    return None


def _write_input(folder: Path) -> None:
    _write_run(folder)
    (folder / "text.csv").write_text("premise,hypothesis\nthe cat,red\n")


def _write_checkpoints(folder: Path) -> None:
    import torch

    from xmodctl.run.checkpoints import Progress, save_checkpoint

    for step in (2, 4):
        tensors = {"w": torch.arange(6.0) + step, "b": torch.ones(3)}
        optimizer = {f"{name}.exp_avg": tensor / 2 for name, tensor in tensors.items()}
        save_checkpoint(folder / "checkpoints", Progress(step, 9, step / 9, 1), tensors, optimizer)


def _read_checkpoints(folder: Path) -> object:
    from xmodctl.core.errors import UserError
    from xmodctl.run.checkpoints import checkpoints

    (_, newest), (_, other) = checkpoints(folder / "checkpoints")
    if newest is None or other is None:
        raise UserError("passed over")
    return [(_digest(each.tensors()), _digest(each.optimizer())) for each in (newest, other)]


# Adapters and new languages.


def _write_package(folder: Path) -> None:
    import torch

    from xmodctl import model
    from xmodctl.adapters.packages import write_package
    from xmodctl.new_language.vocabulary import train_vocabulary

    build_tiny_model(folder / "model")
    base = model.find(str(folder / "model"))
    words = model.load(base, "none", ["en_XX"]).module.embeddings.word_embeddings.weight.detach()
    texts = [f"umuntu ngumuntu ngabantu {number} the cat sleeps" for number in range(40)]
    own = train_vocabulary(texts, model.load_tokenizer(base), words, size=60, seed=0)
    tensors = {name.replace("de_DE", "zu_ZA"): torch.ones_like(tensor)
               for name, tensor in model.read_adapter(base, "de_DE").items()}  # fmt: skip
    write_package(folder / "package", base, "zu_ZA", tensors, {"steps": 3}, vocabulary=own)


def _read_package(folder: Path) -> object:
    from xmodctl import model
    from xmodctl.adapters.packages import check_fits, read_package

    command("adapters", "list", folder)
    command("adapters", "list", folder / "package", "--json")
    package = read_package(folder / "package")
    check_fits(package, model.find(str(folder / "model")))
    tokenizer = package.tokenizer()
    assert tokenizer is not None
    return _digest(package.tensors()), tokenizer("umuntu the cat")["input_ids"]


def _write_text(folder: Path) -> None:
    lines = [f"line {number} of a text that is long enough to be kept, with the words the cat and {number * 7}"
             for number in range(400)]  # fmt: skip
    (folder / "text.txt").write_text("\n".join(lines) + "\n")
    (folder / "text.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))


def _read_text(folder: Path) -> object:
    from xmodctl.data.texts import gather

    sources = [str(path) for path in sorted(folder.glob("text*"))]
    return gather(sources, folder.parent / "gathered").counts.kept


def _write_addition(folder: Path) -> None:
    _write_text(folder)
    build_tiny_model(folder / "model")
    command(
        "add-language", "zu", "--text", folder / "text.txt", "--model", folder / "model", "--out", folder / "runs/zu",
        "--recipe", "add-language-mini", "--set", "epochs=1", "--set", "max_length=32", "--init-from", "sw_KE",
    )  # fmt: skip
    assert (folder / "runs/zu/extension.json").exists()


def _use_addition(folder: Path) -> object:
    added = folder / "runs/zu"
    commands(
        ("runs", folder / "runs"), ("runs", folder / "runs", "--json"), ("doctor", "--run", added),
        ("adapters", "list", added / "seed-1"), ("resume", added),
    )  # fmt: skip
    return None


# Caches.


def _write_mini(folder: Path) -> None:
    from xmodctl.core.files import sha256_of
    from xmodctl.model.mini import weights

    home = folder / "cache" / "mini" / f"{weights.SHA256[:16]}-1"
    build_tiny_model(home)
    facts = {path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in sorted(home.iterdir())}
    (home / "manifest.json").write_text(json.dumps(facts))


def _read_mini(folder: Path) -> object:
    from xmodctl.core.errors import UserError
    from xmodctl.model.mini import build, weights

    def not_installed() -> Path:
        raise UserError("it would be built again")

    cache, locate = os.environ["XMODCTL_CACHE"], weights.locate
    os.environ["XMODCTL_CACHE"], weights.locate = str(folder / "cache"), not_installed
    try:
        home = build()
        return {path.name: path.read_bytes() for path in home.iterdir() if path.name != "manifest.json"}
    finally:
        os.environ["XMODCTL_CACHE"], weights.locate = cache, locate


def _write_cached(folder: Path) -> None:
    _write_run(folder)
    cache, os.environ["XMODCTL_CACHE"] = os.environ["XMODCTL_CACHE"], str(folder / "cache")
    try:
        _read_cached(folder)
        command("report", folder / "runs/a", "--format", "csv")
    finally:
        os.environ["XMODCTL_CACHE"] = cache


def _read_cached(folder: Path) -> object:
    from xmodctl.catalog import catalog
    from xmodctl.data import load_rows
    from xmodctl.data.encoding import encode
    from xmodctl.kinds import KINDS
    from xmodctl.model.tokenizer import read_tokenizer

    cache, os.environ["XMODCTL_CACHE"] = os.environ["XMODCTL_CACHE"], str(folder / "cache")
    try:
        rows = load_rows(task_of("pairs"), "en", "test", folder=folder / "data")
        encoded = encode(
            KINDS["sequence-classification"], rows, read_tokenizer(folder / "model"), catalog.recipe("nli")
        )
        return encoded.input_ids.values.tolist(), command("report", folder / "runs/a", "--format", "csv")
    finally:
        os.environ["XMODCTL_CACHE"] = cache


FORMATS = {
    "pairs": (
        ".jsonl",
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

TARGETS: Mapping[str, Target] = {
    **{
        f"data: {name}{extension or ', saved'}": data(name, extension)
        for name in FORMATS
        for extension in FORMATS[name]
    },
    **{f"own data: {name}": own(name) for name in OWN},
    "tasks and recipes": Target(_write_yaml, ("**/*.yaml",), _read_yaml),
    "--set": Target(_write_settings, ("*.setting",), _read_settings),
    "model: configuration": Target(_write_model, ("model/config.json",), _read_model),
    "model: tokenizer": Target(_write_model, ("model/tokenizer*.json",), _read_model),
    "model: weights": Target(_write_model, ("model/model.safetensors",), _read_model),
    "model: shards": Target(_write_sharded, ("model/*.index.json", "model/model-*"), _read_model),
    "model: pickled": Target(_write_pickled, ("model/pytorch_model.bin",), _read_model),
    "model: converted": Target(
        _write_converted, ("model/model.safetensors",), _read_converted, structured=False, sealed=True
    ),
    "run: run.json": Target(_write_run, ("runs/a/run.json",), _use_run),
    "run: results": Target(_write_run, ("runs/a/results.jsonl",), _use_run),
    "run: sweep": Target(_write_run, ("runs/a/results.jsonl", "runs/a/run.json"), _sweep_run, writes=True),
    "run: predictions": Target(_write_run, ("runs/a/predictions/**/*.jsonl",), _use_run),
    "run: logs": Target(_write_run, ("runs/a/seed-*/*.json*",), _use_run),
    "run: delta": Target(_write_run, ("runs/a/seed-*/delta.safetensors",), _label_with_run, sealed=True),
    "run: checkpoints": Target(_write_checkpoints, ("checkpoints/*/*",), _read_checkpoints, sealed=True),
    "predict: input": Target(_write_input, ("text*",), _read_input),
    "adapter package": Target(_write_package, ("package/**/*",), _read_package, sealed=True),
    "added language": Target(_write_addition, ("runs/zu/*.json", "runs/zu/seed-*/*.jsonl"), _use_addition, writes=True),
    "text": Target(_write_text, ("text*",), _read_text),
    "cache: mini": Target(_write_mini, ("cache/mini/*/*",), _read_mini, sealed=True),
    "cache: encodings, statistics": Target(
        _write_cached, ("cache/encodings/*.safetensors", "cache/outcomes/*.safetensors"), _read_cached, sealed=True
    ),
}
