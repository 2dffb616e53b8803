"""`xmodctl doctor`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.loading import say_loading
from xmodctl.core.environment import ExitCode
from xmodctl.core.errors import UserError

if TYPE_CHECKING:
    from xmodctl.data.probing import Probe

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
    online: Annotated[
        bool, typer.Option("--online", help="Check instead that the Hub has the data of every shipped task.")
    ] = False,
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="TASKS", help="With --online: check only these tasks, separated by commas."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Show versions, device, memory, disk space, caches, and network access of this machine, or verify a run's folder.

    With `--run`, every file of the folder is verified, damage is listed with the command that repairs it, and the exit
    code is 1 if something is damaged. With `--online`, the repository, files, and columns of every location of the
    shipped tasks are looked up on the Hub, without downloading data; the exit code is 1 if something is missing.

    Examples:

    - `xmodctl doctor`

    - `xmodctl doctor --model mini`

    - `xmodctl doctor --run runs/xnli-en_XX-mini-1a2b3c`

    - `xmodctl doctor --online --task xnli,wikiann`
    """
    if online + (run is not None) + (model is not None) > 1:
        raise UserError("give one of --online, --run, and --model")
    if task is not None and not online:
        raise UserError("--task needs --online")
    if online:
        _probe(task, as_json=json)
        return
    if run is not None:
        _verify(run, as_json=json)
        return
    _examine_machine(model, as_json=json)


def _examine_machine(model: str | None, *, as_json: bool) -> None:
    if model is not None:
        say_loading(model)
    from xmodctl.cli import display
    from xmodctl.model.machine import doctor as look

    report = look(model)
    if as_json:
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


def _probe(tasks: str | None, *, as_json: bool) -> None:
    from xmodctl.catalog import catalog
    from xmodctl.cli import display
    from xmodctl.core.messages import counted
    from xmodctl.core.visible import one_line
    from xmodctl.data.probing import Probe, probe

    names = [name.strip() for name in tasks.split(",")] if tasks else []
    probes: list[Probe] = []
    for each in probe([catalog.task(name) for name in names] if names else catalog.tasks().values()):
        probes.append(each)
        if not as_json:
            part = "" if each.part == "evaluation" else ", training"
            detail = f": {one_line(each.detail)}" if each.detail else ""
            display.show_text(f"{each.state:<13}  {one_line(each.task)}{part}  {each.place}{detail}")
    whole = [each for each in probes if each.state == "found"]
    if as_json:
        display.show_json({"locations": [each.to_json() for each in probes]})
    else:
        display.note(f"{counted(len(probes), 'location')}, {len(whole)} as the tasks say")
        if lost := dict.fromkeys(each.task for each in probes if not _has_alternative(each, whole)):
            display.warn(f"no location has all data of {', '.join(lost)}")
    if len(whole) < len(probes):
        raise typer.Exit(ExitCode.PARTIAL)


def _has_alternative(probe: "Probe", whole: "Sequence[Probe]") -> bool:
    return any((other.task, other.part) == (probe.task, probe.part) for other in whole)


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
        raise typer.Exit(ExitCode.PARTIAL)
