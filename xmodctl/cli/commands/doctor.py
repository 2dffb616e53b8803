"""`xmodctl doctor`."""

from typing import Annotated

import typer

from xmodctl.cli import options

PANEL = "Explore"
ORDER = 7


def doctor(
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="Also show what each freezing preset trains.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Show versions, device, memory, disk space, caches, and network access of this machine.

    Examples:

    - `xmodctl doctor`

    - `xmodctl doctor --model mini`
    """
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
