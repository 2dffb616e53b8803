"""Commands that a page about one language can recommend: those that work for it, and none that are refused."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.adapters.mixtures import trained
from xmodctl.core.errors import UserError
from xmodctl.languages import resolve, same, variety
from xmodctl.reports.explained_shots import ShotTrial

if TYPE_CHECKING:
    from xmodctl.evaluation.results import Row
    from xmodctl.model import Source
    from xmodctl.run.run import Run

SHOTS = 10
"""Rows of a language that a trial suggests."""


@dataclass(frozen=True)
class Remedies:
    """Commands for one language of a run; each is empty where it would be refused."""

    shots: str = ""  # trains again with a few rows of the language, and compares
    text: str = ""  # trains an adapter on text in the language
    longer: str = ""  # trains again with more tokens per row
    everywhere: str = ""  # shows the rows that are wrong in every language
    obstacle: str = ""  # why the run cannot be trained again with rows of the language


def remedies_for(
    run: "Run", rows: Sequence["Row"], base: "Source", data: Path | None, *, are_shots_tried: bool
) -> Remedies:
    """Return the commands that work for a language.

    Args:
        run: The run.
        rows: Its results of the language, one per seed.
        base: Its base model.
        data: Where the data is now, if it was moved.
        are_shots_tried: Whether the run was trained again with rows of the language.
    """
    row, obstacle = rows[0], ShotTrial(run, rows, SHOTS, data).obstacle
    place = [*(("--split", row.split) if row.split != "test" else ()), *(("--data", str(data)) if data else ())]
    explained = ["xmodctl", "explain", str(run.folder), "--lang", row.language, *place, "--shots", str(SHOTS)]
    inspected = ["xmodctl", "inspect", "--run", str(run.folder), "--lang", row.language, *place]
    return Remedies(
        "" if obstacle or are_shots_tried else shlex.join(explained),
        _text_command(run, row, base),
        _longer_command(run, base),
        shlex.join([*inspected, "--errors", "wrong-everywhere"]),
        obstacle,
    )


def _text_command(run: "Run", row: "Row", base: "Source") -> str:
    """Return the command that trains an adapter on text; where the language has one, under another region's name."""
    adapter: str | None
    its_own = next((name for name in trained(base) if same(name, row.language)), None)
    if its_own:
        adapter = variety(its_own, base.languages)
    else:
        try:
            adapter = resolve(row.language, base.languages, model=base.name, open_languages=True).adapter
        except UserError:  # the data calls a language by a name that is none
            adapter = None
    words = ["xmodctl", "add-language", str(adapter), "--text", "FILE", "--model", run.plan.model]
    return shlex.join(words) if adapter else ""


def _longer_command(run: "Run", base: "Source") -> str:
    """Return the command that trains with twice as many tokens per row, or as many as the model reads."""
    from xmodctl.model import longest_input

    plan, longest = run.plan, longest_input(base.config)
    if plan.average is not None or plan.vectors is not None or plan.recipe.max_length >= longest:
        return ""
    length = min(2 * plan.recipe.max_length, longest)
    return shlex.join(["xmodctl", "finetune", "--from-run", str(run.folder), "--set", f"max_length={length}"])
