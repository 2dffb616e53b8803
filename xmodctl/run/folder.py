"""A folder that keeps what a plan makes, seed by seed. A file in it says which plan; one process at a time has it."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

from pydantic import TypeAdapter, ValidationError

from xmodctl.core.errors import UserError
from xmodctl.core.files import write_json
from xmodctl.core.versions import versions

RUNS = Path("runs")
"""Where folders go that nobody names a place for."""

State = Literal["training", "interrupted", "finished"]

_VALIDATORS: dict[type, TypeAdapter[Any]] = {}


class Keepable(Protocol):
    """A plan: everything that decides what is computed."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        ...


@dataclass(frozen=True)
class Folder:
    """A folder and what its file says. Which file, and what the folder holds, is for the subclass to say."""

    FILE: ClassVar[str]
    SCHEMA: ClassVar[int]
    HOLDS: ClassVar[str]  # what it holds, in messages: "a run"
    FINDS: ClassVar[str]  # how to find those there are, in messages

    folder: Path
    plan: Keepable
    seeds: tuple[int, ...]
    state: State
    fingerprints: Mapping[str, str]  # what was read -> sha256 of it
    created: str
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def new(cls, folder: Path, plan: Any, seeds: Sequence[int], fingerprints: Mapping[str, str]) -> Self:
        """Return one in which nothing has trained yet."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(folder, plan, tuple(seeds), "training", fingerprints, now, versions())

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a folder.

        Raises:
            UserError: It holds something else, is of a newer version, or its file was edited into something else.
        """
        path = folder / cls.FILE
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"{folder} is not {cls.HOLDS} (it has no {cls.FILE}); {cls.FINDS}") from None
        except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read ({error}); train again with --on-exists redo") from error
        if not isinstance(value, dict) or not isinstance(value.get("schema"), int):
            raise UserError(f"{path} is not the file of {cls.HOLDS}; train again with --on-exists redo")
        if value["schema"] > cls.SCHEMA:
            raise UserError(
                f"{path} has schema {value['schema']}, newer than {cls.SCHEMA}; run: pip install --upgrade xmodctl"
            )
        try:
            found: Self = validator(cls).validate_python({**value, "folder": folder})
        except ValidationError as error:
            wrong = error.errors(include_url=False)[0]
            key = ".".join(str(part) for part in wrong["loc"])
            reason = wrong["msg"].removeprefix("Value error, ")
            raise UserError(
                f"{path} does not hold {cls.HOLDS} of this version: `{key}` ({reason}); "
                "bring the file back as it was written, or train again with --on-exists redo"
            ) from None
        return found

    def write(self) -> None:
        """Write the folder's file, whole."""
        write_json(self.folder / self.FILE, {"schema": self.SCHEMA, **self.told()})

    def told(self) -> dict[str, Any]:
        """Return what the file says, but for its schema."""
        return {
            "state": self.state,
            "created": self.created,
            "plan": self.plan.to_json(),
            "seeds": list(self.seeds),
            "fingerprints": dict(self.fingerprints),
            "versions": dict(self.versions),
        }

    def seed_folder(self, seed: int) -> Path:
        """Where one seed keeps what it trained, its metrics and checkpoints."""
        return self.folder / f"seed-{seed}"

    @classmethod
    def open(
        cls, folder: Path, plan: Any, seeds: Sequence[int], fingerprints: Mapping[str, str], on_exists: str
    ) -> Self:
        """Return what is in `folder`: something new, or what is there if it follows the same plan.

        Args:
            folder: There, and locked.
            plan: What is asked for.
            seeds: Are added to those that are there.
            fingerprints: Of what was read.
            on_exists: resume, redo or error.

        Raises:
            UserError: What is there is something else, or was made from other data, or `on_exists` is `error`.
        """
        if not (folder / cls.FILE).exists():
            if others := [path.name for path in _entries(folder)]:
                raise UserError(
                    f"{folder} holds other files ({', '.join(others[:3])}); choose another folder with --out"
                )
            return cls.new(folder, plan, seeds, fingerprints)._written()
        if on_exists == "error":
            raise UserError(
                f"{folder} holds {cls.HOLDS} already; go on with --on-exists resume, or train anew with redo"
            )
        if on_exists == "redo":
            for path in _entries(folder):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            return cls.new(folder, plan, seeds, fingerprints)._written()
        there = cls.read(folder)
        if found := differences(plan, there.plan):
            raise UserError(
                f"{folder} holds {cls.HOLDS} with another plan ({'; '.join(found[:5])}); "
                "choose another folder with --out, or train anew with --on-exists redo"
            )
        if changed := [name for name, value in there.fingerprints.items() if fingerprints.get(name, value) != value]:
            raise UserError(
                f"the {' and '.join(changed)} data has changed since {folder} was begun; "
                "bring it back, choose another folder with --out, or train anew with --on-exists redo"
            )
        return replace(there, seeds=tuple(dict.fromkeys([*there.seeds, *seeds])), state="training")._written()

    def _written(self) -> Self:
        self.write()
        return self

    @classmethod
    def all(cls, under: Path = RUNS) -> list[Self]:
        """Return the readable ones in a folder, newest first."""
        found = []
        for path in under.glob(f"*/{cls.FILE}"):
            try:
                found.append((path.stat().st_mtime, cls.read(path.parent)))
            except UserError:
                continue
        return [one for _, one in sorted(found, key=lambda pair: pair[0], reverse=True)]


def differences(asked: Keepable, there: Keepable) -> list[str]:
    """Return one line a value in which two plans differ."""
    mine, theirs = _flat(asked.to_json()), _flat(there.to_json())
    return [
        f"{key}: {theirs.get(key)} there, {mine.get(key)} asked for"
        for key in sorted({*mine, *theirs}, key=lambda key: (key.startswith("earlier"), key))  # `stages` says it
        if mine.get(key) != theirs.get(key)
    ]


def validator(kind: type) -> TypeAdapter[Any]:
    """Return what turns values of a dataclass into plain ones and back; making it takes a while."""
    if kind not in _VALIDATORS:
        _VALIDATORS[kind] = TypeAdapter(kind)
    return _VALIDATORS[kind]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for one process; the lock falls with the process, however it ends.

    A folder that was made for it and that nothing was put in goes again.

    Raises:
        UserError: Another process holds it.
    """
    from filelock import FileLock, Timeout

    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{folder} is in use by another xmodctl process; wait for it, or choose another folder with --out"
        ) from None
    try:
        yield
    finally:
        if made:
            with suppress(OSError):
                if all(path.name == ".lock" for path in folder.iterdir()):
                    (folder / ".lock").unlink()
                    folder.rmdir()
        lock.release()


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        value = {str(number): one for number, one in enumerate(value, start=1)}
    if isinstance(value, dict):
        return {key: leaf for name, inner in value.items() for key, leaf in _flat(inner, f"{path}.{name}").items()}
    return {path.lstrip("."): value}
