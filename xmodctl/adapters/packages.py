"""Adapter packages: one language's adapter in a folder, which any run of the same base can use, and no other.

`adapter.safetensors` holds the tensors under their stock names; its metadata says which language and base they are
for, so that its sha256 stands for the whole package. `adapter.json` says the same to a reader, with the facts of the
training. A language with a vocabulary of its own has its embeddings among the tensors, and its tokenizer in
`vocabulary/`.
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.core.files import cache_folder, check_empty, disk_errors, sha256_of, whole_folder, write_json
from xmodctl.core.safetensors_io import DamagedFileError, entry_of, read_metadata, read_tensors, write_stream
from xmodctl.languages import same

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast

    from xmodctl.model import Source, Xmod

FORMAT = "xmodctl-adapter-1"
WEIGHTS, FACTS, VOCABULARY = "adapter.safetensors", "adapter.json", "vocabulary"
WORDS, BIAS = "roberta.embeddings.word_embeddings.weight", "lm_head.bias"
"""What the embeddings of a vocabulary of its own are called among the tensors."""


@dataclass(frozen=True)
class NewVocabulary:
    """A language's own tokenizer, and embeddings for its pieces."""

    tokenizer: "PreTrainedTokenizerFast"
    embeddings: "Tensor"  # (pieces, hidden)
    bias: "Tensor | None" = None  # of the masked-LM head, (pieces,)
    copied: int = 0  # pieces that the base's vocabulary has too
    averaged: int = 0  # pieces that start as the mean of the base's pieces of the same text
    facts: Mapping[str, Any] = field(default_factory=dict)  # how it was trained


@dataclass(frozen=True)
class Package:
    """One language's adapter on disk, and the base it was made for."""

    folder: Path
    language: str
    base: str  # a Hub id, `mini`, or a folder's name
    revision: str | None
    config_sha256: str  # but for the list of languages
    body_sha256: str  # of what the base's languages share
    geometry: Mapping[str, int]
    facts: Mapping[str, Any]
    sha256: str  # of adapter.safetensors
    vocabulary: Path | None  # the folder of its own tokenizer

    def to_json(self) -> dict[str, Any]:
        """Return the package as plain JSON values."""
        return {
            "folder": str(self.folder),
            "language": self.language,
            "base": _base_of(self),
            "geometry": dict(self.geometry),
            "sha256": self.sha256,
            "vocabulary": "own" if self.vocabulary else "base",
            "facts": dict(self.facts),
        }

    @property
    def made_for(self) -> str:
        """The base's name, with the beginning of its revision."""
        return f"{self.base}@{self.revision[:12]}" if self.revision else self.base

    @property
    def name(self) -> str:
        """What the store calls it."""
        return f"{self.language}-{self.sha256[:12]}"

    def tensors(self) -> "dict[str, Tensor]":
        """Read the tensors."""
        return read_tensors(self.folder / WEIGHTS)[0]

    def tokenizer(self) -> "PreTrainedTokenizerFast | None":
        """Load the language's own tokenizer; None where it is read with the base's."""
        if self.vocabulary is None:
            return None
        from transformers import PreTrainedTokenizerFast

        # Not by the class that its files name: nothing of a package is run.
        loaded: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(self.vocabulary)
        return loaded


def write_package(
    folder: Path,
    source: "Source",
    language: str,
    tensors: "Mapping[str, Tensor]",
    facts: Mapping[str, Any],
    *,
    vocabulary: NewVocabulary | None = None,
) -> Package:
    """Write a package, whole or not at all; a package that is there is replaced.

    Args:
        folder: where.
        source: the base it was made for.
        language: the adapter's name.
        tensors: the adapter's, as `Xmod.adapter` names them.
        facts: of the training; plain JSON values.
        vocabulary: the language's own tokenizer and embeddings, as trained.

    Raises:
        UserError: The folder holds something else, or cannot be written.
    """
    from xmodctl.model import body_config_sha256, body_sha256

    if folder.exists() and not (folder.is_dir() and _holds_only_a_package(folder)):
        raise UserError(f"{folder} holds other files; choose another folder for the adapter")
    stored = dict(sorted(tensors.items()))
    if vocabulary is not None:
        stored[WORDS] = vocabulary.embeddings
        if vocabulary.bias is not None:
            stored[BIAS] = vocabulary.bias
    base = {
        # A folder by its name alone: where it lies is nobody's concern, and changes nothing.
        "model": Path(source.id).name if Path(source.id).is_absolute() else source.id,
        "revision": source.revision,
        "config_sha256": body_config_sha256(source),
        "body_sha256": body_sha256(source),
    }
    told: dict[str, Any] = {"format": FORMAT, "language": language, "base": base, "geometry": geometry(source)}
    with disk_errors(folder), whole_folder(folder) as part:
        files: dict[str, str] = {}
        if vocabulary is not None:
            vocabulary.tokenizer.save_pretrained(part / VOCABULARY)
            files = {f"{VOCABULARY}/{file.name}": sha256_of(file) for file in sorted((part / VOCABULARY).iterdir())}
        told["files"] = files
        metadata = {"xmodctl": json.dumps(told, sort_keys=True)}
        entries = {name: entry_of(tensor) for name, tensor in stored.items()}
        write_stream(part / WEIGHTS, entries, stored.values(), metadata)
        write_json(part / FACTS, told | {"sha256": sha256_of(part / WEIGHTS), "facts": dict(facts)})
    return read_package(folder)


def read_package(folder: Path) -> Package:
    """Read a package's facts and verify its files.

    Raises:
        UserError: The folder is no package, or one of its files is missing or not the one that was written.
    """
    path = folder / FACTS
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        package = _described(folder, told)
        files = {WEIGHTS: package.sha256, **{name: str(sha256) for name, sha256 in told["files"].items()}}
    except (FileNotFoundError, NotADirectoryError):
        within = sorted(str(path.parent) for path in [*folder.glob(f"*/{FACTS}"), *folder.glob(f"*/*/{FACTS}")])
        meant = f"did you mean {' or '.join(within[:3])}?" if within else "`xmodctl adapters list` shows the store's"
        raise UserError(f"{folder} is no adapter package, it has no {FACTS}; {meant}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} does not describe an adapter package; get the package again") from error
    _verify(folder, files)
    if _meant(folder / WEIGHTS) != {key: value for key, value in told.items() if key not in ("sha256", "facts")}:
        raise UserError(f"{path} says other than {WEIGHTS} of what the adapter is for; get the package again")
    return package


def _described(folder: Path, told: Mapping[str, Any]) -> Package:
    if told["format"] != FORMAT:
        raise UserError(
            f"{folder / FACTS} has the format {told['format']!r}, not {FORMAT}; run: pip install --upgrade xmodctl"
        )
    if not _NAME.fullmatch(told["language"]):
        raise UserError(f"{folder / FACTS} names the language {told['language']!r}, which no adapter can be called")
    base = told["base"]
    return Package(
        folder=folder,
        language=told["language"],
        base=base["model"],
        revision=base["revision"],
        config_sha256=base["config_sha256"],
        body_sha256=base["body_sha256"],
        geometry=dict(told["geometry"]),
        facts=dict(told["facts"]),
        sha256=str(told["sha256"]),
        vocabulary=folder / VOCABULARY if told["files"] else None,
    )


def _verify(folder: Path, files: Mapping[str, str]) -> None:
    """Refuse files that are not those that were written; `files` are their names and sha256."""
    for name, expected in files.items():
        try:
            found = sha256_of(folder / name)
        except OSError as error:
            raise UserError(
                f"{folder} is incomplete: cannot read {name} ({error.strerror}); get the package again"
            ) from error
        if found != expected:
            raise UserError(
                f"{folder / name} is damaged or was changed (its sha256 is {found[:12]}…, not {expected[:12]}…); "
                "get the package again"
            )


def _meant(weights: Path) -> Any:
    """Return what the file of tensors says that they are for."""
    try:
        return json.loads(read_metadata(weights).get("xmodctl", "{}"))
    except (DamagedFileError, ValueError) as error:
        raise UserError(f"{weights} is not an adapter's safetensors file ({error}); get the package again") from error


def check(package: Package, source: "Source") -> None:
    """Refuse a package that was made for another base.

    Raises:
        UserError: The geometry, the vocabulary or the body is another one.
    """
    from xmodctl.model import body_config_sha256, body_sha256

    told = f"the adapter {package.language} in {package.folder} was made for {package.made_for}"
    remedy = f"train one for it: xmodctl add-language {package.language} --model {source.name}"
    for part, value in geometry(source).items():
        if package.geometry.get(part) != value:
            raise UserError(f"{told} ({part} {package.geometry.get(part)}), not for {source.name} ({value}); {remedy}")
    if package.config_sha256 != body_config_sha256(source) or package.body_sha256 != body_sha256(source):
        raise UserError(f"{told} and fits no other base, so not {source.name}; {remedy}")


def geometry(source: "Source") -> dict[str, int]:
    """Return the sizes that an adapter must share with its base."""
    config = source.config
    return {
        "layers": config["num_hidden_layers"],
        "hidden size": config["hidden_size"],
        "adapter reduction factor": config["adapter_reduction_factor"],
        "vocabulary size": config["vocab_size"],
    }


def attach(model: "Xmod", package: Package) -> None:
    """Give a model the package's language: its adapter, and its embeddings where it has some of its own.

    Raises:
        UserError: It was made for another base, or its embeddings do not fit a model whose own were trained.
    """
    check(package, model.source)
    tensors = package.tensors()
    words, bias = tensors.pop(WORDS, None), tensors.pop(BIAS, None)
    if words is not None:
        model.put_embeddings(package.language, words, bias)
    model.put_adapter(package.language, tensors, package=package.sha256)


def _base_of(package: Package) -> dict[str, Any]:
    return {
        "model": package.base,
        "revision": package.revision,
        "config_sha256": package.config_sha256,
        "body_sha256": package.body_sha256,
    }


def _holds_only_a_package(folder: Path) -> bool:
    return {path.name for path in folder.iterdir()} <= {WEIGHTS, FACTS, VOCABULARY}


def store() -> Path:
    """Return the folder of imported packages, in the cache folder."""
    return cache_folder() / "adapters"


def packages_in(folder: Path, *, meant: Callable[[str], bool] | None = None) -> tuple[list[Package], list[str]]:
    """Return the whole packages in a folder, which may be one itself, by name; and why others cannot be used.

    Only folders whose names are `meant` are read: to read a package is to hash its files.
    """
    if (folder / FACTS).exists():
        folders = [folder]
    else:
        found = [path.parent for path in folder.glob(f"*/{FACTS}") if not path.parent.name.startswith(".")]
        folders = sorted(path for path in found if meant is None or meant(path.name))
    packages, damaged = [], []
    for one in folders:
        try:
            packages.append(read_package(one))
        except UserError as error:
            damaged.append(str(error))
    return sorted(packages, key=lambda package: package.name), damaged


def keep(package: Package) -> Package:
    """Copy a package into the store, where its language or its name finds it.

    Raises:
        UserError: The store cannot be written.
    """
    place = store() / package.name
    if package.folder.resolve() != place.resolve():
        with disk_errors(place), whole_folder(place) as part:
            for name in (WEIGHTS, FACTS):
                shutil.copyfile(package.folder / name, part / name)
            if package.vocabulary:
                shutil.copytree(package.vocabulary, part / VOCABULARY)
    return read_package(place)


def choose(asked: Path | str, source: "Source") -> Package:
    """Return the package that `--adapter` names: a folder, or one of the store by its name or its language.

    Raises:
        UserError: There is none, none that fits the base, or several that do.
    """
    folder = Path(asked).expanduser()
    if folder.is_dir():
        package = read_package(folder)
        check(package, source)
        return package
    stored, _ = packages_in(store())
    meant = [one for one in stored if one.name == str(asked) or same(one.language, str(asked))]
    if not meant:
        names = [one.name for one in stored]
        raise UserError(
            f"--adapter {asked} is neither a folder nor in the store, which has {', '.join(names) or 'no package'}"
            f"{did_you_mean(str(asked), names)}; put one there with `xmodctl adapters import DIR`"
        )
    fitting = []
    for one in meant:
        try:
            check(one, source)
        except UserError:
            if len(meant) == 1:
                raise
        else:
            fitting.append(one)
    if len(fitting) != 1:
        several = "none fits" if not fitting else "several fit"
        told = ", ".join(f"{one.name} (for {one.made_for})" for one in fitting or meant)
        raise UserError(f"--adapter {asked}: of the store's packages {several} {source.name}: {told}; name one of them")
    return fitting[0]


def choose_all(asked: Sequence[Path | str], source: "Source") -> tuple[Package, ...]:
    """Return the packages that `--adapter` names, one a language.

    Raises:
        UserError: One cannot be used, or two are of one language.
    """
    packages: dict[str, Package] = {}
    for one in asked:
        package = choose(one, source)
        if (other := packages.setdefault(package.language, package)).sha256 != package.sha256:
            raise UserError(
                f"--adapter names two adapters for {package.language}, {other.folder} and {package.folder}; choose one"
            )
    return tuple(packages.values())


def offered(langs: str, source: "Source", packages: Sequence[Package]) -> list[Package]:
    """Return the store's packages for languages that a selection names, which fit the base and were not asked for."""
    given = {package.language for package in packages}
    named = [part.strip().rpartition("=")[2] for part in langs.split(",")]
    found = []

    def meant(name: str) -> bool:
        language = name.rpartition("-")[0]  # as the store calls packages
        return language not in given and any(same(one, language) for one in named)

    for package in packages_in(store(), meant=meant)[0]:
        with suppress(UserError):
            check(package, source)
            found.append(package)
    return found


def spoken(source: "Source", packages: Sequence[Package]) -> tuple[str, ...]:
    """Return the languages of a base with packages: its own, and those that they bring."""
    return tuple(dict.fromkeys([*source.languages, *(package.language for package in packages)]))


def tokenizers(source: "Source", packages: Sequence[Package]) -> "dict[str | None, PreTrainedTokenizerFast]":
    """Return the base's tokenizer under None, and under its name that of each language with a vocabulary of its own."""
    from xmodctl.model import load_tokenizer

    found: dict[str | None, PreTrainedTokenizerFast] = {None: load_tokenizer(source)}
    for package in packages:
        if (own := package.tokenizer()) is not None:
            found[package.language] = own
    return found


def extract(source: "Source", language: str, folder: Path) -> Package:
    """Write the adapter that a base has for a language as a package.

    Raises:
        UserError: The base has no such adapter, or the folder cannot be written.
    """
    from xmodctl.model import read_adapter

    if language not in source.languages:
        raise UserError(
            f"{source.name} has no adapter for {language} of its own"
            f"{did_you_mean(language, source.languages)}; `xmodctl langs --model {source.name}` lists what it has"
        )
    return write_package(folder, source, language, read_adapter(source, language), {"taken_from": source.name})


def merge(source: "Source", packages: Sequence[Package], folder: Path) -> "Source":
    """Write a model that has the packages' languages beside the base's own, and return it.

    Raises:
        UserError: A package is for another base or has a vocabulary of its own, or the folder is not to be written.
    """
    from xmodctl.model import find, load_tokenizer
    from xmodctl.model import merge as write

    for package in packages:
        check(package, source)
        if package.vocabulary:
            raise UserError(
                f"{package.language} in {package.folder} has a vocabulary of its own, and a model's folder holds one: "
                f"use it with `--adapter {package.folder}`"
            )
    check_empty(folder)
    write(source, load_tokenizer(source), folder, {package.language: package.tensors() for package in packages})
    return find(str(folder))


_NAME = re.compile(r"[\w-]{1,60}")
