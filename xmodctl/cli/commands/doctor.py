"""`xmodctl doctor`."""

from pathlib import Path
from typing import Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.loading import say_loading

PANEL = "Explore"
ORDER = 7


def doctor(
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="Also show what each freezing preset trains.")
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="DIR", help="Verify the files of a run's folder instead of this machine."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Show versions, device, memory, disk space, caches, and network access of this machine, or verify a run's folder.

    With `--run`, every file of the folder is verified, damage is listed with the command that repairs it, and the exit
    code is 1 if something is damaged.

    Examples:

    - `xmodctl doctor`

    - `xmodctl doctor --model mini`

    - `xmodctl doctor --run runs/xnli-en_XX-mini-1a2b3c`
    """
    if run is not None:
        _verify(run, as_json=json)
        return
    if model is not None:
        say_loading(model)
    from xmodctl.cli import display
    from xmodctl.model.machine import doctor as look

    report = look(model)
    if json:
        display.show_json(report.to_json())
        return
    display.show(display.sheet(("item", "value"), list(report.machine.items())))
    if report.parameters:
        rows = [
            (name, f"{preset.total:,}", f"{preset.trainable:,}", f"{preset.share:.1f}%")
            for name, preset in report.parameters.items()
        ]
        display.show(
            display.sheet(
                ("preset", "parameters", "trainable", "share"),
                rows,
                title=f"{model}: what each freezing preset trains, with one language and a classification head",
                right=("parameters", "trainable", "share"),
            )
        )


def _verify(run: Path, *, as_json: bool) -> None:
    from xmodctl.cli import display
    from xmodctl.core.visible import one_line
    from xmodctl.new_language.health import examine

    findings = examine(run)
    if as_json:
        display.show_json({"run": str(run), "files": [finding.to_json() for finding in findings]})
    else:
        rows = [(one_line(finding.path), finding.state) for finding in findings]
        display.show(display.sheet(("file", "state"), rows))
        for finding in findings:
            if finding.detail and finding.state != "whole":
                display.warn(one_line(f"{finding.path}: {finding.detail}"))
        for remedy in dict.fromkeys(finding.remedy for finding in findings if finding.remedy):
            display.note(one_line(f"to recover: {remedy}"))
    if any(finding.state == "damaged" for finding in findings):
        raise typer.Exit(1)
