"""What `bench.fuzz` damages, and what reads it: every reader of files that others may have written."""

import json
import os
import random
import shutil
from collections.abc import Mapping
from pathlib import Path

from bench.fuzz_data import DATA, task_of
from bench.fuzz_reading import Target, build_tiny_model, command, commands, digest
from bench.fuzz_runs import RUNS, write_run

# Tasks, recipes and settings.


def _write_yaml(folder: Path) -> None:
    for place, name in (
        ("tasks", "_sts"),
        ("tasks", "sts17"),
        ("tasks", "xnli"),
        ("tasks", "wikiann"),
        ("tasks", "xquad"),
        ("recipes", "nli"),
    ):
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
        if path.name.startswith("_"):  # what other files include
            continue
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
    from xmodctl.model.weights import CheckpointTensors

    source = model.find(str(folder / "model"))
    model.load(source, "none", ["en_XX"])
    checkpoint = CheckpointTensors(source.folder, "model")
    return digest(checkpoint.read(checkpoint.entries))


def _write_vectors(folder: Path) -> None:
    from xmodctl.model.sentence_folders import QUERY, write_settings

    _write_model(folder)
    write_settings(
        folder / "model", pooling="mean", prefix=QUERY, dimensions=16, max_length=32, versions={"transformers": "5.5"}
    )


def _embed_with_model(folder: Path) -> object:
    commands(("embed", "--text", "the cat", "--lang", "en", "--model", folder / "model", "--out", folder / "new.npy"))
    return None


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
    return digest(package.tensors()), tokenizer("umuntu the cat")["input_ids"]


def _write_mixture(folder: Path) -> None:
    build_tiny_model(folder / "model")
    command("adapters", "mix", "zu=0.7*sw+0.3*de", "--model", folder / "model", "--out", folder / "package")


def _read_mixture(folder: Path) -> object:
    from xmodctl.adapters.packages import read_package

    tensors = digest(read_package(folder / "package").tensors())
    commands(
        ("adapters", "list", folder), ("adapters", "verify", folder / "package", "--model", folder / "model", "--json")
    )
    return tensors


def _write_text(folder: Path) -> None:
    lines = [f"line {number} of a text that is long enough to be kept, with the words the cat and {number * 7}"
             for number in range(400)]  # fmt: skip
    (folder / "text.txt").write_text("\n".join(lines) + "\n")
    (folder / "text.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    marked = "\n".join(
        f"<p>{line} [[link|{number}]] {{{{template}}}} &amp; &#x41;</p>" for number, line in enumerate(lines)
    )
    (folder / "text-marked.txt").write_text(marked + "\n")


def _read_text(folder: Path) -> object:
    from xmodctl.data.texts import gather

    sources = [str(path) for path in sorted(folder.glob("text*"))]
    return gather(sources, folder.parent / "gathered", strip_markup=True).counts.kept


def _write_addition(folder: Path) -> None:
    build_tiny_model(folder / "model")
    draw, words = random.Random(0), ("the", "a", "cat", "dog", "sleeps", "runs", "red", "blue")  # that the model knows
    (folder / "text.txt").write_text("".join(" ".join(draw.choices(words, k=16)) + "\n" for _ in range(400)))
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


def _write_ranking(folder: Path) -> None:
    from xmodctl.new_language.ranking import Ranking, write_ranking
    from xmodctl.training.masked_lm.ranking import Candidate

    candidates = (Candidate("sw_KE", 5.25, 640), Candidate("de_DE", 5.5, 640), Candidate("en_XX", 6.125, 64))
    write_ranking(folder / "zu_ZA.start.json", Ranking(candidates, "7*sw_KE+3*de_DE@text"))


def _read_ranking(folder: Path) -> object:
    from xmodctl.adapters.written_weights import MIX
    from xmodctl.core.errors import UserError
    from xmodctl.new_language.ranking import read_ranking

    ranking = read_ranking(folder / "zu_ZA.start.json", MIX, lambda: ["en_XX", "de_DE", "sw_KE"])
    if ranking is None:
        raise UserError("the adapters would be ranked again")
    return ranking


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
    write_run(folder)
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


TARGETS: Mapping[str, Target] = {
    **DATA,
    "tasks and recipes": Target(_write_yaml, ("**/*.yaml",), _read_yaml),
    "--set": Target(_write_settings, ("*.setting",), _read_settings),
    "model: configuration": Target(_write_model, ("model/config.json",), _read_model),
    "model: tokenizer": Target(_write_model, ("model/tokenizer*.json",), _read_model),
    "model: settings of vectors": Target(
        _write_vectors, ("model/modules.json", "model/*sentence*.json", "model/*_*/*.json"), _embed_with_model
    ),
    "model: weights": Target(_write_model, ("model/model.safetensors",), _read_model),
    "model: shards": Target(_write_sharded, ("model/*.index.json", "model/model-*"), _read_model),
    "model: pickled": Target(_write_pickled, ("model/pytorch_model.bin",), _read_model),
    "model: converted": Target(
        _write_converted, ("model/model.safetensors",), _read_converted, structured=False, sealed=True
    ),
    **RUNS,
    "adapter package": Target(_write_package, ("package/**/*",), _read_package, sealed=True),
    "adapter package: mixture": Target(_write_mixture, ("package/**/*",), _read_mixture, sealed=True),
    "added language: ranking": Target(_write_ranking, ("*.start.json",), _read_ranking, sealed=True),
    "added language": Target(_write_addition, ("runs/zu/*.json", "runs/zu/seed-*/*.jsonl"), _use_addition, writes=True),
    "text": Target(_write_text, ("text*",), _read_text),
    "cache: mini": Target(_write_mini, ("cache/mini/*/*",), _read_mini, sealed=True),
    "cache: encodings, statistics": Target(
        _write_cached, ("cache/encodings/*.safetensors", "cache/outcomes/*.safetensors"), _read_cached, sealed=True
    ),
}
