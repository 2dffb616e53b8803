"""The state of a folder of `finetune` or `add-language`, as `xmodctl doctor --run` shows it."""

from collections.abc import Iterator
from pathlib import Path

from xmodctl.adapters.packages import read_package
from xmodctl.core.errors import UserError
from xmodctl.new_language.language_run import LanguageRun
from xmodctl.run.folder import resuming
from xmodctl.run.health import FileState, checkpoint_findings, log_findings


def examine(folder: str | Path) -> list[FileState]:
    """Return the state of everything that is verified in a folder.

    Raises:
        UserError: It is not the folder of a run, or its plan cannot be read.
    """
    from xmodctl.evaluation.health import result_findings
    from xmodctl.run.health import seed_findings
    from xmodctl.run.run import Run

    folder = Path(folder).expanduser()
    if (folder / LanguageRun.FILE).exists():
        language_run = LanguageRun.read(folder)
        return [FileState(LanguageRun.FILE, "whole"), *_package_findings(language_run)]
    run = Run.read(folder)
    return [FileState(Run.FILE, "whole"), *seed_findings(run), *result_findings(run)]


def _package_findings(run: LanguageRun) -> Iterator[FileState]:
    for seed in run.seeds:
        for language in run.plan.languages:
            package = run.package(language, seed)
            path, remedy = str(package.relative_to(run.folder)), resuming(run.folder, seed)
            if not package.exists():
                yield FileState(path, "unfinished", "not trained to its end", remedy)
            else:
                try:
                    read_package(package)
                except UserError as error:
                    yield FileState(path, "damaged", str(error), remedy)
                else:
                    yield FileState(path, "whole")
            finished = package.exists()
            yield from log_findings(run, run.metrics(language, seed), finished=finished, seed=seed)
            yield from checkpoint_findings(run, run.checkpoints(language, seed), seed)
