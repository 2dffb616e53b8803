"""`langs`: the languages of a model and of tasks, and a map of them as one page."""

from pathlib import Path

from xmodctl.core.files import write_text
from xmodctl.core.requests import command
from xmodctl.data.language_coverage import LangsRequest, LanguageCoverage, language_coverage
from xmodctl.run.written import check_output


@command(LangsRequest)
def langs(request: LangsRequest) -> LanguageCoverage:
    """List the languages that a model has adapters for, and those that tasks have data in. Nothing is downloaded.

    Returns:
        One entry per language: first the model's, in its order, then those with data but without an adapter.

    Raises:
        UserError: An option is wrong, the model's languages are not known before its download, or the page cannot be
            written.
    """
    if request.out is not None:
        check_output(request.out)
    coverage = language_coverage(request)
    if request.out is not None:
        write_text(Path(request.out), render(coverage))
    return coverage


def render(coverage: LanguageCoverage) -> str:
    """Return the languages as one HTML page that needs nothing else."""
    from xmodctl.reports.formats.html import environment, style

    template = environment().get_template("language_map.html.jinja")
    measured = [entry.fertility for entry in coverage.entries if entry.fertility is not None]
    return template.render(
        coverage=coverage,
        style=style("report.css"),
        low=min(measured, default=0.0),
        high=max(measured, default=0.0),
    ).lstrip()
