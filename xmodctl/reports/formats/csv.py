"""A study as plain records: one a score of one seed. CSV and pandas hold the same."""

import csv
import io
from typing import TYPE_CHECKING, Any

from xmodctl.reports.study import Study

if TYPE_CHECKING:
    import pandas as pd


def records(study: Study) -> list[dict[str, Any]]:
    """Return one record a result row shown: run, language and relatives, adapter, score, interval, every metric."""
    languages = {one.code: one for one in study.languages}
    metrics = dict.fromkeys(name for column in study.columns for row in column.rows for name in row.metrics)
    found = []
    for column in study.columns:
        own = {
            (one.language, one.adapter) for one in column.report.scores if one.control == "own" and column.is_own(one)
        }
        sources = {score.language for score in column.report.scores if score.is_source}
        for row in column.rows:
            language = languages[row.language]
            found.append(
                {
                    "run": column.name,
                    "task": row.task,
                    "split": row.split,
                    "language": row.language,
                    "language_name": language.name,
                    "family": language.family,
                    "script": language.script,
                    "adapter": row.adapter,
                    "control": row.control,
                    "own_adapter": (row.language, row.adapter) in own,
                    "source": row.control == "own" and row.language in sources,
                    "shots": row.shots,
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
                }
                | {f"metrics.{name}": row.metrics.get(name) for name in metrics}
            )
    return found


def to_csv(study: Study) -> str:
    """Return the records as CSV (RFC 4180), numbers in full."""
    told = records(study)
    file = io.StringIO()
    writer = csv.DictWriter(file, list(told[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(told)
    return file.getvalue()


def to_frame(study: Study) -> "pd.DataFrame":
    """Return the records as a pandas frame."""
    import pandas as pd

    return pd.DataFrame.from_records(records(study))
