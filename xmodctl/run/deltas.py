"""Deltas: the trained tensors of a run and which base model they belong to, without any tensor of the base model."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.core.errors import UserError
from xmodctl.core.files import whole_file
from xmodctl.core.safetensors_io import (
    DamagedFileError,
    Tensors,
    check_seal,
    read_metadata,
    read_tensors,
    write_tensors,
)
from xmodctl.core.schema import validator

if TYPE_CHECKING:
    import torch

    from xmodctl.model import Source

DELTA_FORMAT = "xmodctl-delta-2"
"""The file is sealed."""

UNSEALED_FORMAT = "xmodctl-delta-1"
"""Of older versions, without a sha256: only its header is verified."""


def base_identity(source: "Source") -> dict[str, Any]:
    """Return what makes two base models the same: id, revision, sha256 of the configuration."""
    return {"model": source.id, "revision": source.revision, "config_sha256": source.config_sha256}


def save_delta(path: Path, tensors: Tensors, source: "Source", facts: Mapping[str, Any]) -> None:
    """Write trained tensors with the identity of the base they belong to, whole or not at all."""
    metadata = {"format": DELTA_FORMAT, "base": json.dumps(base_identity(source)), "facts": json.dumps(dict(facts))}
    with whole_file(path) as part:
        write_tensors(part, tensors, metadata, sealed=True)


def check_delta(path: Path) -> dict[str, str]:
    """Verify a delta once per process, and return its metadata.

    Raises:
        DamagedFileError: It is damaged.
        OSError: It cannot be read.
    """
    metadata = read_metadata(path)
    check_seal(path, required=metadata.get("format") != UNSEALED_FORMAT)
    return metadata


def is_delta(path: Path) -> bool:
    """Return whether there is a delta that is not damaged."""
    try:
        return check_delta(path).get("format") in (DELTA_FORMAT, UNSEALED_FORMAT)
    except (DamagedFileError, OSError):
        return False


def load_delta(
    path: Path, source: "Source", *, remedy: str = "train it again with --on-exists redo"
) -> tuple[dict[str, "torch.Tensor"], dict[str, Any]]:
    """Read a delta and its facts.

    Args:
        path: The file.
        source: The base model.
        remedy: What to do about a damaged file; ends the message.

    Raises:
        UserError: The file is damaged, or belongs to another base model.
    """
    try:
        metadata = check_delta(path)
        tensors, _ = read_tensors(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; finish the run with `xmodctl resume {path.parents[1]}`") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; {remedy}") from error
    except DamagedFileError as error:
        raise UserError(f"{error}; {remedy}") from error
    if metadata.get("format") not in (DELTA_FORMAT, UNSEALED_FORMAT):
        raise UserError(f"{path} is not a delta of xmodctl (format {metadata.get('format')!r}); {remedy}")
    try:
        base = validator(_Base).validate_python(json.loads(metadata["base"]))
        facts = validator(dict[str, Any]).validate_python(json.loads(metadata["facts"]))
    except (ValueError, KeyError, RecursionError) as error:
        raise UserError(f"{path} does not say which base model it belongs to; {remedy}") from error
    requested = base_identity(source)
    if base.config_sha256 != requested["config_sha256"] or (
        base.revision and requested["revision"] and base.revision != requested["revision"]
    ):
        raise UserError(
            f"{path} was trained on {_named(asdict(base))}, not on {_named(requested)}; a delta fits only its own "
            f"base: use --model {base.model}{'@' + base.revision if base.revision else ''}"
        )
    return tensors, facts


_BODY = "roberta."


def body_tensors(tensors: "Mapping[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """Return the tensors of a delta that a model without a head has, by their names in such a model."""
    if not any(name.startswith(_BODY) for name in tensors):
        return dict(tensors)  # of a model without a head
    body = {name.removeprefix(_BODY): tensor for name, tensor in tensors.items() if name.startswith(_BODY)}
    return {name: tensor for name, tensor in body.items() if not name.startswith("pooler.")}


@dataclass(frozen=True)
class _Base:
    """The base model as a delta names it."""

    model: str
    revision: str | None
    config_sha256: str


def _named(identity: Mapping[str, Any]) -> str:
    revision = f"@{identity['revision'][:12]}" if identity["revision"] else ""
    return f"{identity['model']}{revision} (configuration {identity['config_sha256'][:12]})"
