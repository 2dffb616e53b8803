"""Folders that keep what a plan produces, seed by seed; a file in each says which plan, and one process may use it."""

import glob
import hashlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

from pydantic import ValidationError

from xmodctl.core.errors import UserError
from xmodctl.core.files import folder_errors, read_json, write_json
from xmodctl.core.schema import problem, validator
from xmodctl.core.signals import begun_again
from xmodctl.core.versions import versions
from xmodctl.run.home import runs_folder
from xmodctl.run.jobs import Jobs, is_read_only

State = Literal["training", "interrupted", "finished"]

DESCRIPTIONS = re.compile(
    r"(task|recipe|earlier\.\d+)\.(title|description|aliases|licen[cs]e|homepage|citation|notes|translated(\..*)?|rows(\..*)?|source)"
    r"|task\.recipe\..*|recipe\.name"
)
"""Keys of a plan that describe it and change no number; what `task.recipe` chose is the plan's recipe."""

LOCATIONS = re.compile(r"(task|earlier\.\d+)\.(training|evaluation)\.locations\..*")
"""Keys that say where data is; whether it is the same data is known from its fingerprint."""

NOT_COMPARED = re.compile(f"{DESCRIPTIONS.pattern}|{LOCATIONS.pattern}")


class OtherVersionError(UserError):
    """A folder's file has values that this version does not know.

    Args:
        path: The file.
        noun: What the folder is: `a run`.
        reason: Which value, and what is wrong with it.
    """

    def __init__(self, path: Path, noun: str, reason: str) -> None:
        super().__init__(
            f"{path} does not describe {noun} of this version: {reason}; "
            "restore the file, or train again with --on-exists redo"
        )
        self.reason = reason


class StoredPlan(Protocol):
    """Everything that decides what is computed."""

    @property
    def folder_name(self) -> str:
        """The default name of the folder."""
        ...

    @property
    def is_trained(self) -> bool:
        """Whether the folder is made by a training, which could be done again."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        ...


@dataclass(frozen=True)
class Folder:
    """A folder and the contents of its file. A subclass defines which file, and what the folder holds."""

    FILE: ClassVar[str]
    SCHEMA: ClassVar[int]
    NOUN: ClassVar[str]  # what the folder is, in messages: "a run"
    LIST_HINT: ClassVar[str]  # how to list the existing ones, in messages
    WRITTEN: ClassVar[tuple[str, ...]]  # patterns of all files and folders that are written here; others are the user's

    folder: Path
    plan: StoredPlan
    seeds: tuple[int, ...]
    state: State
    fingerprints: Mapping[str, str]  # name of the data -> its sha256
    created: str
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def new(cls, folder: Path, plan: Any, seeds: Sequence[int], fingerprints: Mapping[str, str]) -> Self:
        """Return a folder in which nothing is trained yet."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(folder, plan, tuple(seeds), "training", fingerprints, now, versions())

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """Read a folder.

        Raises:
            UserError: It holds something else, was written by a newer version, or its file was damaged.
            OtherVersionError: Its file has values that this version does not know.
        """
        folder = Path(folder)
        path = folder / cls.FILE
        try:
            value = read_json(path)
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"{folder} is not {cls.NOUN} (it has no {cls.FILE}); {cls.LIST_HINT}") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read ({error}); train again with --on-exists redo") from error
        if not isinstance(value, dict) or not isinstance(value.get("schema"), int):
            raise UserError(f"{path} is not the file of {cls.NOUN}; train again with --on-exists redo")
        if value["schema"] > cls.SCHEMA:
            raise UserError(
                f"{path} has schema {value['schema']}, newer than {cls.SCHEMA}; run: pip install --upgrade xmodctl"
            )
        try:
            contents: Self = validator(cls).validate_python({**value, "folder": folder})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(str(part) for part in first["loc"])
            raise OtherVersionError(path, cls.NOUN, f"`{key}` ({problem(first)})") from None
        return contents

    def write(self) -> None:
        """Write the folder's file, whole or not at all."""
        with folder_errors(self.folder):
            write_json(self.folder / self.FILE, {"schema": self.SCHEMA, **self.to_json()})

    def to_json(self) -> dict[str, Any]:
        """Return the contents of the file as plain JSON values, without its schema."""
        return {
            "state": self.state,
            "created": self.created,
            "plan": self.plan.to_json(),
            "seeds": list(self.seeds),
            "fingerprints": dict(self.fingerprints),
            "versions": dict(self.versions),
        }

    def seed_folder(self, seed: int) -> Path:
        """The folder of one seed: what it trained, its metrics, and its checkpoints."""
        return self.folder / f"seed-{seed}"

    @property
    def finished_seeds(self) -> tuple[int, ...]:
        """The seeds whose training is finished."""
        raise NotImplementedError

    def retraining(self, seed: int) -> str:
        """Return how to train one seed again, as the end of a message about a damaged file of it."""
        return f"train seed {seed} again: {resuming(self.folder, seed)}"

    @classmethod
    def open(
        cls, folder: Path, plan: Any, seeds: Sequence[int], fingerprints: Mapping[str, str], on_exists: str
    ) -> Self:
        """Open a folder to train in it: a new one, or an existing one that follows the same plan.

        Args:
            folder: An existing folder, that no other process opens now.
            plan: The plan.
            seeds: Seeds to train; they are added to those of an existing folder.
            fingerprints: The fingerprints of the data.
            on_exists: What to do with an existing one: resume, redo, or error.

        Raises:
            UserError: The folder holds something else or follows another plan, its data has changed, or `on_exists` is
                `error`.
        """
        existing = cls.check(folder, plan, on_exists)
        if existing is None:
            cls._delete_written(folder)
            created = cls.new(folder, plan, seeds, fingerprints)._written()
            if on_exists == "redo":
                begun_again()
            return created
        known = existing.fingerprints.items()
        if changed := [name for name, value in known if fingerprints.get(name, value) != value]:
            raise UserError(
                f"the {' and '.join(changed)} data has changed since {folder} was created; "
                "restore it, choose another folder with --out, or train again with --on-exists redo"
            )
        return replace(existing, seeds=tuple(dict.fromkeys([*existing.seeds, *seeds])), state="training")._written()

    @classmethod
    def open_shared(
        cls, jobs: Jobs, plan: Any, seeds: Sequence[int], fingerprints: Mapping[str, str], on_exists: str
    ) -> Self:
        """Open a folder whose jobs share its work, as `open` does; `redo` needs it alone."""
        with jobs.writing():
            if on_exists == "redo":
                jobs.refuse_others("--on-exists redo")
            return cls.open(jobs.folder, plan, seeds, fingerprints, on_exists)

    @classmethod
    def check(cls, folder: Path, plan: Any, on_exists: str) -> Self | None:
        """Refuse a folder that cannot be trained in, before data is read; return what is continued, if anything is.

        Args:
            folder: An existing folder.
            plan: The plan.
            on_exists: As for `open`.

        Raises:
            UserError: The folder holds something else or follows another plan, or `on_exists` is `error`.
        """
        if not (folder / cls.FILE).exists():
            if others := [path.name for path in _entries(folder)]:
                raise UserError(
                    f"{folder} contains other files ({', '.join(others[:3])}); choose another folder with --out"
                )
            return None
        if on_exists == "error":
            raise UserError(
                f"{folder} already contains {cls.NOUN}; continue it with --on-exists resume, or train again with redo"
            )
        if on_exists == "redo":
            return None
        existing = cls.read(folder)
        if differing := differences(plan, existing.plan):
            again = ", or train again with --on-exists redo" if plan.is_trained else ""
            raise UserError(
                f"{folder} contains {cls.NOUN} with a different plan ({'; '.join(differing[:5])}); "
                f"choose another folder with --out{again}"
            )
        return existing

    @classmethod
    def folder_of(cls, plan: StoredPlan, runs: Path | None = None) -> Path:
        """Return the default folder of a plan: an existing one of which only descriptions differ, or a new one.

        Args:
            plan: The plan.
            runs: The folder that it is in; None is the folder of runs.
        """
        runs = runs_folder() if runs is None else runs
        folder = runs / plan.folder_name
        if folder.exists():
            return folder
        stem = plan.folder_name.rpartition("-")[0]
        for path in sorted(runs.glob(f"{glob.escape(stem)}-??????/{cls.FILE}")):
            try:
                existing = cls.read(path.parent)
            except UserError:
                continue
            if not differences(plan, existing.plan, ignored=DESCRIPTIONS):
                return existing.folder
        return folder

    @classmethod
    def kept(cls, folder: Path) -> list[str]:
        """Return the names of files in a folder that are the user's: they are never deleted."""
        written = cls.written_paths(folder)
        return [
            str(path.relative_to(folder))
            for path in sorted(folder.rglob("*"))
            if not (path.is_dir() and not path.is_symlink())
            and not path.relative_to(folder).parts[0].startswith(".")
            and not any(file == path or file in path.parents for file in written)
        ]

    @classmethod
    def written_paths(cls, folder: Path) -> set[Path]:
        """Return the files and folders in a folder that are written here."""
        return {path for pattern in cls.WRITTEN for path in folder.glob(pattern)}

    @classmethod
    def _delete_written(cls, folder: Path) -> None:
        """Delete what was written here, but for its own file, which is replaced; then the folders that are empty."""
        written = cls.written_paths(folder) - {folder / cls.FILE}
        for path in written:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        parents = {parent for path in written for parent in path.parents if folder in parent.parents}
        for parent in sorted(parents, key=lambda path: -len(path.parts)):
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()

    def _written(self) -> Self:
        self.write()
        return self

    @classmethod
    def all(cls, under: str | Path) -> list[Self]:
        """Return those in a folder that can be read, the last changed first."""
        folders: list[tuple[float, Self]] = []
        for path in Path(under).glob(f"*/{cls.FILE}"):
            try:
                folders.append((path.stat().st_mtime, cls.read(path.parent)))
            except (UserError, OSError):
                continue
        return [folder for _, folder in sorted(folders, key=lambda pair: pair[0], reverse=True)]


def resuming(folder: Path, seed: int) -> str:
    """Return the command that trains what one seed of a folder lacks, or what is damaged of it."""
    return f"xmodctl resume {shlex.quote(str(folder))} --seed {seed}"


def differences(requested: StoredPlan, existing: StoredPlan, *, ignored: re.Pattern[str] = NOT_COMPARED) -> list[str]:
    """Return one line per value in which two plans differ, and that changes a number.

    Args:
        requested: A plan.
        existing: Another one.
        ignored: The keys that are not compared.
    """
    new, old = _flat(requested.to_json()), _flat(existing.to_json())
    return [
        f"{key}: {old.get(key)} there, {new.get(key)} requested"
        for key in sorted({*new, *old}, key=lambda key: (key.startswith("earlier"), key))  # `stages` says the same
        if new.get(key) != old.get(key) and not ignored.fullmatch(key)
    ]


def digest_of(values: Mapping[str, Any]) -> str:
    """Return the sha256 of plain JSON values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def name_digits(values: Mapping[str, Any]) -> str:
    """Return the six digits of a folder's name, which keep different plans apart; `values` are those of the plan.

    Which revision of a model is used is known after its download. A plan that is made before has the same digits, so a
    dry run names the folder of the training.
    """
    if os.path.isabs(values["model"]):
        return digest_of(values)[:6]
    return digest_of({**values, "revision": None, "config_sha256": None})[:6]


def refuse_read_only(folder: Path) -> None:
    """Refuse to add to a folder that cannot be written.

    Raises:
        UserError: It is read-only.
    """
    if is_read_only(folder):
        copy = shlex.quote(f"{folder.name}-copy")
        raise UserError(
            f"{folder} cannot be written, so only the scores that it contains can be shown; copy it and name the copy "
            "with "
            f"--run: cp -r {shlex.quote(str(folder))} {copy}"
        )


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        value = {str(number): item for number, item in enumerate(value, start=1)}
    if isinstance(value, dict):
        return {key: leaf for name, inner in value.items() for key, leaf in _flat(inner, f"{path}.{name}").items()}
    return {path.lstrip("."): value}
