"""Adapter packages: one language's adapter in a folder, for any run of the base it was made for and for no other.

`adapter.safetensors` holds the tensors under their stock names. Its metadata says which language and base they are for,
so that its sha256 identifies the whole package. `adapter.json` repeats this for people, with facts about the training.
A language with its own vocabulary has its embeddings among the tensors, and its tokenizer in `vocabulary/`.
"""

import json
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.adapters.vocabulary import BIAS, EMBEDDINGS
from xmodctl.core.errors import UserError
from xmodctl.core.files import disk_errors, read_json, sha256_of, whole_folder, write_json
from xmodctl.core.reading import OutsideFolderError, inside
from xmodctl.core.safetensors_io import (
    DamagedFileError,
    entry_of,
    read_entries,
    read_metadata,
    read_tensors,
    write_stream,
)

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast

    from xmodctl.adapters.vocabulary import NewVocabulary
    from xmodctl.model import Source

FORMAT = "xmodctl-adapter-1"
WEIGHTS, FACTS, VOCABULARY = _OWN = "adapter.safetensors", "adapter.json", "vocabulary"
_NAME = re.compile(r"[\w-]{1,60}")


@dataclass(frozen=True)
class Package:
    """One language's adapter on disk, and the base it was made for."""

    folder: Path
    language: str
    base: str  # a Hub id, `mini`, or a folder's name
    revision: str | None
    config_sha256: str  # without the list of languages
    body_sha256: str  # of what the base's languages share
    geometry: Mapping[str, int]
    facts: Mapping[str, Any]
    sha256: str  # of adapter.safetensors
    vocabulary: Path | None  # the folder of the language's own tokenizer

    def to_json(self) -> dict[str, Any]:
        """Return the package as plain JSON values."""
        return {
            "folder": str(self.folder),
            "language": self.language,
            "base": {
                "model": self.base,
                "revision": self.revision,
                "config_sha256": self.config_sha256,
                "body_sha256": self.body_sha256,
            },
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
        """The package's name in the store."""
        return f"{self.language}-{self.sha256[:12]}"

    @property
    def width(self) -> int:
        """The units of the adapter's bottleneck, which those of mixtures have several times."""
        entries = read_entries(self.folder / WEIGHTS)
        return next(entry.shape[0] for name, entry in entries.items() if name.endswith("dense1.bias"))

    def tensors(self) -> "dict[str, Tensor]":
        """Read the tensors."""
        return read_tensors(self.folder / WEIGHTS)[0]

    def tokenizer(self) -> "PreTrainedTokenizerFast | None":
        """Load the language's own tokenizer; None if the language uses the base's."""
        if self.vocabulary is None:
            return None
        from xmodctl.model import read_tokenizer

        return read_tokenizer(self.vocabulary, own_class=False)


def write_package(
    folder: str | Path,
    source: "Source",
    language: str,
    tensors: "Mapping[str, Tensor]",
    facts: Mapping[str, Any],
    *,
    vocabulary: "NewVocabulary | None" = None,
    keep_others: bool = False,
) -> Package:
    """Write a package, whole or not at all; an existing package is replaced.

    Args:
        folder: Where to write it.
        source: The base it was made for.
        language: The adapter's name.
        tensors: The adapter's tensors, named as by `Xmod.adapter`.
        facts: About the training, as plain JSON values.
        vocabulary: The language's own tokenizer and embeddings, as trained.
        keep_others: Whether other files in the folder stay there, such as a README.md; else they are refused.

    Raises:
        UserError: The folder contains other files and they are not kept, or cannot be written.
    """
    from xmodctl.model import body_config_sha256, body_sha256

    folder = Path(folder)
    others = [path for path in folder.iterdir() if path.name not in _OWN] if folder.is_dir() else []
    if (folder.exists() and not folder.is_dir()) or (others and not keep_others):
        raise UserError(f"{folder} contains other files; choose another folder for the adapter")
    stored = dict(sorted(tensors.items()))
    if vocabulary is not None:
        stored[EMBEDDINGS] = vocabulary.embeddings
        if vocabulary.bias is not None:
            stored[BIAS] = vocabulary.bias
    base = {
        # A folder by its name alone: its place is private, and changes nothing.
        "model": Path(source.id).name if Path(source.id).is_absolute() else source.id,
        "revision": source.revision,
        "config_sha256": body_config_sha256(source),
        "body_sha256": body_sha256(source),
    }
    description: dict[str, Any] = {"format": FORMAT, "language": language, "base": base, "geometry": geometry(source)}
    with disk_errors(folder), whole_folder(folder) as part:
        files: dict[str, str] = {}
        if vocabulary is not None:
            vocabulary.tokenizer.save_pretrained(part / VOCABULARY)
            files = {f"{VOCABULARY}/{file.name}": sha256_of(file) for file in sorted((part / VOCABULARY).iterdir())}
        description["files"] = files
        metadata = {"xmodctl": json.dumps(description, sort_keys=True)}
        entries = {name: entry_of(tensor) for name, tensor in stored.items()}
        write_stream(part / WEIGHTS, entries, stored.values(), metadata)
        write_json(part / FACTS, description | {"sha256": sha256_of(part / WEIGHTS), "facts": dict(facts)})
        for path in others:
            if path.is_dir() and not path.is_symlink():
                shutil.copytree(path, part / path.name, symlinks=True)
            else:
                shutil.copy2(path, part / path.name, follow_symlinks=False)
    return read_package(folder)


def read_package(folder: str | Path) -> Package:
    """Read a package's facts and verify its files.

    Raises:
        UserError: The folder is not a package, or one of its files is missing or was changed.
    """
    folder = Path(folder)
    path = folder / FACTS
    try:
        description = read_json(path)
        package = _described(folder, description)
        files = {WEIGHTS: package.sha256, **{name: str(sha256) for name, sha256 in description["files"].items()}}
        paths = {inside(folder, name): sha256 for name, sha256 in files.items()}
        unlisted = _unlisted(folder, {*files, FACTS})
    except (FileNotFoundError, NotADirectoryError):
        within = sorted(str(path.parent) for path in [*folder.glob(f"*/{FACTS}"), *folder.glob(f"*/*/{FACTS}")])
        hint = (
            f"did you mean {' or '.join(within[:3])}?" if within else "`xmodctl adapters list` lists those in the store"
        )
        raise UserError(f"{folder} is not an adapter package (it has no {FACTS}); {hint}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except OutsideFolderError as error:
        raise UserError(f"{path} names a file that is not in the package ({error}); get the package again") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} does not describe an adapter package; get the package again") from error
    if unlisted:
        raise UserError(f"{folder} contains {unlisted[0]}, which {FACTS} does not list; remove it")
    _verify(folder, paths)
    identity = {key: value for key, value in description.items() if key not in ("sha256", "facts")}
    if _identity(folder / WEIGHTS) != identity:
        raise UserError(f"{path} and {WEIGHTS} describe different adapters; get the package again")
    return package


def _described(folder: Path, description: Mapping[str, Any]) -> Package:
    if description["format"] != FORMAT:
        seen = description["format"]
        raise UserError(f"{folder / FACTS} has the format {seen!r}, not {FORMAT}; run: pip install --upgrade xmodctl")
    if not _NAME.fullmatch(description["language"]):
        raise UserError(
            f"{folder / FACTS} gives the language {description['language']!r}, which is not a valid adapter name; "
            "get the package again"
        )
    base = description["base"]
    return Package(
        folder=folder,
        language=description["language"],
        base=base["model"],
        revision=base["revision"],
        config_sha256=base["config_sha256"],
        body_sha256=base["body_sha256"],
        geometry=dict(description["geometry"]),
        facts=dict(description["facts"]),
        sha256=str(description["sha256"]),
        vocabulary=folder / VOCABULARY if description["files"] else None,
    )


def _unlisted(folder: Path, listed: Collection[str]) -> list[str]:
    """Return the files of the tokenizer that a package does not list: they would be read without being verified."""
    paths = [path for path in (folder / VOCABULARY).rglob("*") if path.is_symlink() or not path.is_dir()]
    return sorted(name for path in paths if (name := path.relative_to(folder).as_posix()) not in listed)


def _verify(folder: Path, files: Mapping[Path, str]) -> None:
    """Refuse files that were changed; `files` are their paths and sha256."""
    for path, expected in files.items():
        try:
            digest = sha256_of(path)
        except OSError as error:
            raise UserError(
                f"{folder} is incomplete: cannot read {path.relative_to(folder)} ({error.strerror}); "
                "get the package again"
            ) from error
        if digest != expected:
            raise UserError(
                f"{path} is damaged or was changed (its sha256 is {digest[:12]}…, not {expected[:12]}…); "
                "get the package again"
            )


def _identity(weights: Path) -> Any:
    """Return what the tensors are for, as their file says."""
    try:
        return json.loads(read_metadata(weights).get("xmodctl", "{}"))
    except (DamagedFileError, ValueError, RecursionError) as error:
        raise UserError(f"{error}; get the package again") from error


def check_fits(package: Package, source: "Source") -> None:
    """Refuse a package that was made for another base.

    Raises:
        UserError: The base's sizes, vocabulary or shared weights differ.
    """
    from xmodctl.model import body_config_sha256, body_sha256

    subject = f"the adapter {package.language} in {package.folder} was made for {package.made_for}"
    remedy = f"train one for it: xmodctl add-language {package.language} --text FILE --model {source.name}"
    for part, value in geometry(source).items():
        if package.geometry.get(part) != value:
            raise UserError(
                f"{subject} ({part} {package.geometry.get(part)}), not for {source.name} ({value}); {remedy}"
            )
    if package.config_sha256 != body_config_sha256(source) or package.body_sha256 != body_sha256(source):
        raise UserError(f"{subject} and does not fit {source.name}; {remedy}")


def is_wide(package: Package) -> bool:
    """Return whether an adapter is wider than those of its base, as mixtures are."""
    return package.width > package.geometry["hidden size"] // package.geometry["adapter reduction factor"]


def geometry(source: "Source") -> dict[str, int]:
    """Return the sizes of a base that an adapter depends on."""
    config = source.config
    return {
        "layers": config["num_hidden_layers"],
        "hidden size": config["hidden_size"],
        "adapter reduction factor": config["adapter_reduction_factor"],
        "vocabulary size": config["vocab_size"],
    }
