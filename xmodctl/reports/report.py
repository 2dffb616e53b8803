"""`report`: what runs have scored, as a file or as a value."""

from dataclasses import replace
from pathlib import Path

from xmodctl.core.arguments import TERMINAL
from xmodctl.core.files import whole_file
from xmodctl.core.requests import command
from xmodctl.reports.formats import load_format
from xmodctl.reports.gathering import gather, gather_curves
from xmodctl.reports.requests import ReportRequest
from xmodctl.reports.study import Study
from xmodctl.run.run import newest_run
from xmodctl.run.written import check_output


@command(ReportRequest)
def report(request: ReportRequest) -> Study:
    """Gather what runs have scored, and write it to a file if the format or `out` asks for one.

    Results are read, never changed, and no model is loaded. The training curves (`plot`) of a run need no scores. A run
    that cannot be read is named in the study's `skipped`, as long as another one can be shown.

    Returns:
        The study: scores, averages, notes, and for HTML also error analyses and training curves.

    Raises:
        UserError: An option is wrong, no run can be shown, or the runs have different tasks.
    """
    name = request.format_name
    is_page = name != TERMINAL and load_format(name).PAGE
    writes = request.out is not None or (is_page and request.write)
    if request.out is not None:
        check_output(request.out, pages=True)
    folders = request.folders or [newest_run().folder]
    if request.plot == "curves":
        study = gather_curves(folders, split=request.split)
    else:
        gathered = gather(
            folders,
            split=request.split,
            data=request.data,
            mistakes=request.errors if is_page else 0,
            details=is_page and writes,
        )
        study = replace(gathered, plot=request.plot or gathered.plot)
    if request.out is not None:
        check_output(request.out, data=(scored.run.plan.data for scored in study.runs), pages=True)
    if not writes:
        return study
    file = Path(request.out) if request.out is not None else _default_file(study, load_format(name).EXTENSIONS[0])
    study = replace(study, file=file)
    content = study.render(name)
    with whole_file(file) as part:
        part.write_bytes(content if isinstance(content, bytes) else content.encode(errors="backslashreplace"))
    return study


def _default_file(study: Study, extension: str) -> Path:
    """Return where a page goes if no file is named: into the run's folder, or for several runs into the current one."""
    split = "" if study.split == "test" else f".{study.split}"
    if len(study.runs) == 1:
        return study.runs[0].run.folder / f"report{split}{extension}"
    return Path(f"report-{study.task.name}{split}{extension}")
