"""Scoring commands: the command that measures again what stored rows measured, as messages print it."""

import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xmodctl.adapters.mixtures import parts_folders
from xmodctl.core.errors import UserError
from xmodctl.evaluation.results import Row, read_rows
from xmodctl.languages import same
from xmodctl.run.data_sets import folder_of, is_on_hub

OWN = "own"


def scoring_command(
    folder: Path, rows: Row | Sequence[Row], *, redo: bool = False, controls: Sequence[str] | None = None
) -> str:
    """Return the command with which a run measures what rows measured: the same data, columns, split, and adapters.

    Rows that were read in several ways need several commands; these are joined by `&&`. The source language is
    excluded where no row is of it, so that nothing else is measured.

    Args:
        folder: The run that is to be scored; the rows may be another run's.
        rows: What is measured, with every seed.
        redo: Whether to measure it although it is stored.
        controls: The controls to measure, in place of those of the rows.
    """
    rows = [rows] if isinstance(rows, Row) else rows
    stored = _stored_rows(folder) if any(row.control != OWN for row in rows) else []
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        data = None if is_on_hub(row.data) else row.folder or folder_of(row.data, row.language)
        groups.setdefault((row.split, data, row.read_as, row.limited, _precision(row)), []).append(row)
    commands = []
    for (split, data, read_as, limited, precision), group in groups.items():
        used = [row.control for row in group if row.control != OWN]
        marked = list(dict.fromkeys(used if controls is None else controls))
        words = ["xmodctl", "eval-transfer", "--run", str(folder)]
        words += ["--langs", ",".join([*_selected(group, [*rows, *stored]), *_excluded(group)]), "--split", split]
        words += ["--controls", ",".join(marked)] if marked else []
        places = _unique(place for row in group for place in (row.package_folder, *_parts(row)))
        words += [word for place in places for word in ("--adapter", place)]
        words += ["--precision", precision] if precision else []
        words += ["--data", data] if data else []
        words += [word for setting in settings_of(read_as) for word in ("--set", setting)]
        words += ["--limit", str(limited)] if limited else []
        words += ["--on-exists", "redo"] if redo else []
        commands.append(shlex.join(words))
    return " && ".join(commands)


def scoring_others(folder: Path, row: Row, languages: Sequence[str], *, limited: int | None) -> str:
    """Return the command that scores languages as a row of another language was scored: the same data and split.

    Args:
        folder: The run.
        row: One of its rows.
        languages: What is to be scored, each through its own adapter.
        limited: The rows of each language; None is all.
    """
    place = None if is_on_hub(row.data) else row.folder or folder_of(row.data, row.language)
    alike = replace(
        row, adapter=None, control=OWN, package=None, package_folder=None, mixture=None, in_source=None, folder=place,
        limited=limited,
    )  # fmt: skip
    return scoring_command(folder, [replace(alike, language=language) for language in languages])


def first_scores_command(folder: Path, split: str | None = None) -> str:
    """Return the command that scores a run that has no scores (of a split), on the data it was trained on."""
    words = ["xmodctl", "eval-transfer", "--run", str(folder), "--langs", "all"]
    return shlex.join(words + (["--split", split] if split else []))


def settings_of(read_as: str) -> list[str]:
    """Return the settings in a row's `read_as`, each as `--set` takes it."""
    decoder = json.JSONDecoder()
    settings = []
    rest = read_as
    while "=" in rest:
        key, _, value = rest.partition("=")
        _, end = decoder.raw_decode(value)
        settings.append(f"{key}={value[:end]}")
        rest = value[end:].lstrip(" ")
    return settings


def _stored_rows(folder: Path) -> list[Row]:
    try:
        return read_rows(folder / "results.jsonl")
    except UserError:  # reported where the rows are needed
        return []


def _selected(group: Sequence[Row], others: Sequence[Row]) -> list[str]:
    """Return the parts of `--langs`: language and adapter."""
    return _unique(f"{row.language}={adapter}" if (adapter := _own(row, others)) else row.language for row in group)


def _own(row: Row, others: Sequence[Row]) -> str | None:
    """Return the adapter of a row's text; a control names another one, so its language's score is looked up."""
    if row.control == OWN:
        return row.adapter
    alike = [other for other in others if (other.language, other.control) == (row.language, OWN)]
    alike = [other for other in alike if other.fingerprint == row.fingerprint] or alike
    adapters = [other.adapter for other in alike if other.adapter]
    of_file = [adapter for adapter in adapters if f"/{row.language}.{adapter}." in row.predictions]
    own = [adapter for adapter in adapters if same(adapter, row.language)]
    return next(iter([*of_file, *own, *adapters]), None)


def _excluded(group: Sequence[Row]) -> list[str]:
    """Return the exclusion of each source language that no row is of."""
    if any(row.is_in_source for row in group):
        return []
    return _unique(f"-{source}" for row in group for source in row.source_languages)


def _parts(row: Row) -> list[str]:
    """Return the packages of the parts of a row's mixture, unless the mixture is a package itself."""
    return [] if row.package_folder else parts_folders(row.mixture)


def _precision(row: Row) -> str:
    """Return the precision to name: on a CPU, fp32 is what `auto` means."""
    return "" if row.device == "cpu" and row.precision == "fp32" else row.precision


def _unique(words: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(word for word in words if word))
