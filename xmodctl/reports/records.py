"""A study as plain records: one per result row. CSV and pandas frames hold the same."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xmodctl.evaluation.results import Row
    from xmodctl.reports.language import Language
    from xmodctl.reports.study import Study


def records(study: "Study") -> list[dict[str, Any]]:
    """Return one record per result row: run, language and relatives, adapter, score, interval, every metric."""
    studies = study.by_data_set
    rows = [row for each in studies for run in each.runs for row in run.rows]
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    return [record for each in studies for record in _records(each, metrics)]


def _records(study: "Study", metrics: Sequence[str]) -> list[dict[str, Any]]:
    languages = {language.code: language for language in study.languages}
    result = []
    for run in study.runs:
        own = {
            (score.language, score.adapter)
            for score in run.report.scores
            if score.control == "own" and run.is_own_adapter(score)
        }
        sources = {score.language for score in run.report.scores if score.is_source}
        for row in run.rows:
            record = _record(run.name, row, languages[row.language], metrics)
            record["data_set"] = study.data_set or row.data_set
            record["own_adapter"] = (row.language, row.adapter) in own
            record["source"] = row.control == "own" and row.language in sources
            result.append(record)
    return result


def _record(run: str, row: "Row", language: "Language", metrics: Sequence[str]) -> dict[str, Any]:
    return {
        "run": run,
        "task": row.task,
        "split": row.split,
        "language": row.language,
        "language_name": language.name,
        "family": language.family,
        "script": language.script,
        "adapter": row.adapter,
        "control": row.control,
        "own_adapter": False,
        "source": False,
        "shots": row.shots,
        "translate_train": ", ".join(row.translated),
        "seed": row.seed,
        "n": row.n,
        "limited": row.limited,
        "metric": row.metric,
        "value": row.value,
        "ci_low": row.ci_low,
        "ci_high": row.ci_high,
        "ci_method": row.ci_method,
        "baseline": row.baseline,
        "selected_on": row.selected_on,
        "model": row.model,
        "data": row.data,
        "data_set": row.data_set,
        **{f"metrics.{name}": row.metrics.get(name) for name in metrics},
    }
