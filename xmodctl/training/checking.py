"""`check`: whether a training can start, before anything is computed."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xmodctl.core.arguments import as_selection
from xmodctl.core.events import warn
from xmodctl.core.requests import command
from xmodctl.run.home import runs_folder
from xmodctl.training.findings import Finding
from xmodctl.training.finetune import report_notes
from xmodctl.training.planning import resolve_plan
from xmodctl.training.preflight import check as preflight_checks
from xmodctl.training.request import CheckRequest

LEVELS = ("passed", "warning", "error")


@dataclass(frozen=True)
class CheckReport:
    """What the checks found."""

    findings: tuple[Finding, ...]
    complete: bool  # whether the rows and the tokenizer were read too; without `download`, those on the Hub are not

    @property
    def counts(self) -> dict[str, int]:
        """How many findings there are of each level: passed, warning, error."""
        levels: Counter[str] = Counter(finding.level for finding in self.findings)
        return {level: levels[level] for level in LEVELS}

    def to_json(self) -> dict[str, Any]:
        """Return the findings and their counts as plain JSON values."""
        return {"findings": [finding.to_json() for finding in self.findings], "counts": self.counts}


@command(CheckRequest)
def check(request: CheckRequest) -> CheckReport:
    """Check that task, data, recipe, model, and disk fit together before you train.

    Nothing is downloaded unless the request says so.

    Returns:
        One finding per check.

    Raises:
        UserError: An option is wrong, or the data folder cannot be read at all.
    """
    from xmodctl.model import find, load_tokenizer, look_up

    listen = request.listen or warn
    resolved, facts = resolve_plan(request, look_up, listen)
    report_notes(resolved, listen)
    is_local = request.download or facts.origin == "folder" or facts.id == "mini"
    reads_rows = request.data is not None or request.download
    languages = [part.strip() for part in as_selection(request.langs).split(",")] if request.langs else None
    findings = preflight_checks(
        resolved.plan,
        facts,
        languages=[language for language in languages if language] if languages else None,
        tokenizer=load_tokenizer(find(str(request.model))) if is_local else None,
        look_at_data=reads_rows,
        out=Path(request.out) if request.out is not None else runs_folder(),
    )
    return CheckReport(tuple(findings), complete=is_local and reads_rows)
