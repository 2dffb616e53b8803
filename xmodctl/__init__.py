"""Fine-tune X-MOD in one language, measure how well it transfers to others, and add languages it never saw.

The functions mean what the commands of the same names do (docs/python.md). Names are looked up when they are first
used, so that importing the package loads nothing heavy.
"""

import importlib as _importlib

TYPE_CHECKING = False  # type checkers read it as true; importing `typing` takes longer than the rest of this file
if TYPE_CHECKING:
    from typing import Any as _Any

    from xmodctl import adapters
    from xmodctl.adapters.convert import convert
    from xmodctl.core import cache
    from xmodctl.core.errors import InProgressError, PartialFailureError, UserError
    from xmodctl.data.language_coverage import LanguageCoverage
    from xmodctl.evaluation.compare import compare
    from xmodctl.evaluation.comparison import Comparison
    from xmodctl.evaluation.donors import DonorMatrix, donors
    from xmodctl.evaluation.embedding import Embeddings, embed
    from xmodctl.evaluation.ensembles import Ensemble, ensemble
    from xmodctl.evaluation.evaluate import evaluate
    from xmodctl.evaluation.prediction import Predictions, predict
    from xmodctl.evaluation.rescoring import Rescored, score
    from xmodctl.evaluation.results import Report
    from xmodctl.evaluation.sources import SourceRanking, sources
    from xmodctl.model.machine import MachineReport, doctor
    from xmodctl.new_language.add_language import add_language
    from xmodctl.new_language.dry_run import plan_add_language
    from xmodctl.new_language.removing import RemovedRun, remove_runs
    from xmodctl.new_language.resuming import resume
    from xmodctl.reports.demo import Demonstration, demo
    from xmodctl.reports.explaining import explain
    from xmodctl.reports.explanation import Explanation
    from xmodctl.reports.export import Export, export
    from xmodctl.reports.inspecting import Inspection, inspect
    from xmodctl.reports.language_map import langs
    from xmodctl.reports.plots import plot_curves, plot_gaps, plot_heat_map, plot_scores
    from xmodctl.reports.report import report
    from xmodctl.reports.reproducing import Reproduction, reproduce
    from xmodctl.reports.study import Study
    from xmodctl.run.averaging import average
    from xmodctl.run.listing import RunSummary, runs
    from xmodctl.run.loading import load
    from xmodctl.run.run import Run
    from xmodctl.run.showing import RunDetails, show_run
    from xmodctl.training.checking import CheckReport, check
    from xmodctl.training.dry_run import plan_finetune
    from xmodctl.training.finetune import finetune

__all__ = [
    "CheckReport",
    "Comparison",
    "Demonstration",
    "DonorMatrix",
    "Embeddings",
    "Ensemble",
    "Explanation",
    "Export",
    "InProgressError",
    "Inspection",
    "LanguageCoverage",
    "MachineReport",
    "PartialFailureError",
    "Predictions",
    "RemovedRun",
    "Report",
    "Reproduction",
    "Rescored",
    "Run",
    "RunDetails",
    "RunSummary",
    "SourceRanking",
    "Study",
    "UserError",
    "adapters",
    "add_language",
    "average",
    "cache",
    "check",
    "compare",
    "convert",
    "demo",
    "doctor",
    "donors",
    "embed",
    "ensemble",
    "evaluate",
    "explain",
    "export",
    "finetune",
    "inspect",
    "langs",
    "load",
    "plan_add_language",
    "plan_finetune",
    "plot_curves",
    "plot_gaps",
    "plot_heat_map",
    "plot_scores",
    "predict",
    "remove_runs",
    "report",
    "reproduce",
    "resume",
    "runs",
    "score",
    "show_run",
    "sources",
]

_MODULES = {"adapters": "adapters", "cache": "core.cache"}
"""Modules that are public as a whole."""

_HOMES = {
    "core.errors": ("InProgressError", "PartialFailureError", "UserError"),
    "data.language_coverage": ("LanguageCoverage",),
    "evaluation.compare": ("compare",),
    "evaluation.comparison": ("Comparison",),
    "evaluation.donors": ("DonorMatrix", "donors"),
    "evaluation.embedding": ("Embeddings", "embed"),
    "evaluation.prediction": ("Predictions", "predict"),
    "evaluation.rescoring": ("Rescored", "score"),
    "reports.demo": ("Demonstration", "demo"),
    "reports.explaining": ("explain",),
    "reports.explanation": ("Explanation",),
    "reports.export": ("Export", "export"),
    "evaluation.ensembles": ("Ensemble", "ensemble"),
    "evaluation.evaluate": ("evaluate",),
    "evaluation.results": ("Report",),
    "evaluation.sources": ("SourceRanking", "sources"),
    "model.machine": ("MachineReport", "doctor"),
    "adapters.convert": ("convert",),
    "new_language.add_language": ("add_language",),
    "new_language.dry_run": ("plan_add_language",),
    "new_language.removing": ("RemovedRun", "remove_runs"),
    "new_language.resuming": ("resume",),
    "reports.inspecting": ("Inspection", "inspect"),
    "reports.language_map": ("langs",),
    "reports.plots": ("plot_curves", "plot_gaps", "plot_heat_map", "plot_scores"),
    "reports.report": ("report",),
    "reports.reproducing": ("Reproduction", "reproduce"),
    "reports.study": ("Study",),
    "run.averaging": ("average",),
    "run.listing": ("RunSummary", "runs"),
    "run.loading": ("load",),
    "run.run": ("Run",),
    "run.showing": ("RunDetails", "show_run"),
    "training.checking": ("CheckReport", "check"),
    "training.dry_run": ("plan_finetune",),
    "training.finetune": ("finetune",),
}
"""Where each public name is defined."""


def __getattr__(name: str) -> "_Any":
    if name in _MODULES:
        return _importlib.import_module(f"{__name__}.{_MODULES[name]}")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(_importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
