"""Adding languages to the tiny model, as the tests call it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from xmodctl import add_language
from xmodctl.adapters.packages import Package

OVERRIDES = {"epochs": 4, "learning_rate": 0.05, "max_length": 32, "batch_size": 32, "save_steps": 5}


def addition(model: Path, texts: Mapping[str, Path], *, overrides: Mapping[str, Any] = {}, **options) -> dict[str, Any]:
    """Return the arguments of a call of `add_language`."""
    overrides = {**OVERRIDES, **overrides}
    return {"texts": texts, "model": model, "recipe": "add-language-mini", "overrides": overrides, **options}


def run(arguments: Mapping[str, Any], folder: Path, **options) -> tuple[list, list[Package]]:
    """Add languages, and return the events and the packages."""
    events: list = []
    return events, add_language(**{**arguments, "out": folder, "listen": events.append, **options})


def equal(first: Package, second: Package) -> bool:
    """Return whether two packages have the same tensors."""
    tensors, others = first.tensors(), second.tensors()
    return tensors.keys() == others.keys() and all(torch.equal(tensors[name], others[name]) for name in tensors)


def of(kind: type, events: list) -> list:
    """Return the events of one type."""
    return [event for event in events if isinstance(event, kind)]


def held_out(package: Package) -> dict[str, dict[str, Any]]:
    """Return the measurements of a package by their label."""
    return {row["what"]: row for row in package.facts["held_out"]}
