"""Deltas: the trained tensors of a run and which base model they belong to, without any tensor of the base model."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.core.errors import UserError
from xmodctl.core.files import whole_file
from xmodctl.core.safetensors_io import DamagedFileError, Tensors, read_tensors, write_tensors

if TYPE_CHECKING:
    import torch

    from xmodctl.model import Source

DELTA_FORMAT = "xmodctl-delta-1"


def base_identity(source: "Source") -> dict[str, Any]:
    """Return what makes two base models the same: id, revision, sha256 of the configuration."""
    return {"model": source.id, "revision": source.revision, "config_sha256": source.config_sha256}


def save_delta(path: Path, tensors: Tensors, source: "Source", facts: Mapping[str, Any]) -> None:
    """Write trained tensors with the identity of the base they belong to, whole or not at all."""
    metadata = {"format": DELTA_FORMAT, "base": json.dumps(base_identity(source)), "facts": json.dumps(dict(facts))}
    with whole_file(path) as part:
        write_tensors(part, tensors, metadata)


def load_delta(path: Path, source: "Source") -> tuple[dict[str, "torch.Tensor"], dict[str, Any]]:
    """Read a delta and its facts.

    Raises:
        UserError: The file is damaged, or belongs to another base model.
    """
    try:
        tensors, metadata = read_tensors(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; is the run finished?") from error
    except DamagedFileError as error:
        raise UserError(f"{error}; train it again with --on-exists redo") from error
    if metadata.get("format") != DELTA_FORMAT:
        raise UserError(f"{path} is not a delta of xmodctl (format {metadata.get('format')!r})")
    base, given = json.loads(metadata["base"]), base_identity(source)
    if base["config_sha256"] != given["config_sha256"] or (
        base["revision"] and given["revision"] and base["revision"] != given["revision"]
    ):
        raise UserError(
            f"{path} was trained on {_named(base)}, not on {_named(given)}; a delta fits only its own base: "
            f"use --model {base['model']}{'@' + base['revision'] if base['revision'] else ''}"
        )
    return tensors, json.loads(metadata["facts"])


def _named(identity: Mapping[str, Any]) -> str:
    revision = f"@{identity['revision'][:12]}" if identity["revision"] else ""
    return f"{identity['model']}{revision} (configuration {identity['config_sha256'][:12]})"
