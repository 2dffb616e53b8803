"""X-MOD's inside: find, load, route, freeze, change and export. No other module knows it.

Names are looked up when they are first used, so that finding out about a checkpoint does not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xmodctl.model.deltas import apply_delta, trained_tensors
    from xmodctl.model.engine import Xmod
    from xmodctl.model.exporting import export, merge
    from xmodctl.model.freezing import PRESETS, ParameterReport, describe, freeze, freeze_all_but
    from xmodctl.model.heads import HEADS
    from xmodctl.model.identity import body_config_sha256, body_sha256
    from xmodctl.model.loading import load, read_adapter
    from xmodctl.model.porting import Ported, port
    from xmodctl.model.source import (
        Facts,
        Source,
        check_languages,
        checkpoints,
        config_download,
        find,
        longest_input,
        look_up,
    )
    from xmodctl.model.tokenizer import load_tokenizer, read_tokenizer

__all__ = [
    "HEADS",
    "PRESETS",
    "Facts",
    "ParameterReport",
    "Ported",
    "Source",
    "Xmod",
    "apply_delta",
    "body_config_sha256",
    "body_sha256",
    "check_languages",
    "checkpoints",
    "config_download",
    "describe",
    "export",
    "find",
    "freeze",
    "freeze_all_but",
    "load",
    "load_tokenizer",
    "longest_input",
    "look_up",
    "merge",
    "port",
    "read_adapter",
    "read_tokenizer",
    "trained_tensors",
]

_HOMES = {
    "deltas": ("apply_delta", "trained_tensors"),
    "engine": ("Xmod",),
    "exporting": ("export", "merge"),
    "freezing": ("PRESETS", "ParameterReport", "describe", "freeze", "freeze_all_but"),
    "heads": ("HEADS",),
    "identity": ("body_config_sha256", "body_sha256"),
    "loading": ("load", "read_adapter"),
    "porting": ("Ported", "port"),
    "source": (
        "Facts",
        "Source",
        "check_languages",
        "checkpoints",
        "config_download",
        "find",
        "longest_input",
        "look_up",
    ),
    "tokenizer": ("load_tokenizer", "read_tokenizer"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
