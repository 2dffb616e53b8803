"""HTML: one file that needs nothing else: no script, no network, readable on paper, phone, and screen reader."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from xmodctl.core.visible import pieces, plain
from xmodctl.kinds import KINDS
from xmodctl.reports import charts, numbers
from xmodctl.reports.language import Language
from xmodctl.reports.page import Page

if TYPE_CHECKING:
    from jinja2 import Environment

    from xmodctl.reports.explanation import Explanation
    from xmodctl.reports.score_table import ScoreTable
    from xmodctl.reports.study import Study

EXTENSIONS = (".html", ".htm")
PAGE = True

CONTROLS = {"own": "its own adapter", "source": "the source's adapter", "none": "no adapter"}
"""Controls in words."""

MINUS = "\N{MINUS SIGN}"


def render(study: "Study") -> str:
    """Return the report as one HTML document."""
    template = environment().get_template("report.html.jinja")
    return template.render(study=study, page=Page(study), style=style("report.css"), control_names=CONTROLS).lstrip()


def render_table(table: "ScoreTable") -> str:
    """Return the score table alone, with its style, as notebooks show it."""
    return environment().get_template("notebook.html.jinja").render(table=table, style=style("notebook.css"))


def render_explanation(explanation: "Explanation") -> str:
    """Return the explanation of one language as one HTML document."""
    template = environment().get_template("explain.html.jinja")
    return template.render(
        explanation=explanation, language=Language(explanation.language), kind=KINDS[explanation.kind],
        tag=lambda code: Language(code).tag, style=style("report.css"),
    ).lstrip()  # fmt: skip


def marked(text: str) -> Markup:
    """Return text for a block of its own: hidden characters are marked."""
    return Markup("").join(
        Markup('<span class="hidden" title="{}">{}</span>').format(piece.title, piece.text)
        if piece.hidden
        else escape(piece.text)
        for piece in pieces(text)
    )


def visible(text: str) -> Markup:
    """Return text for a place within a line: hidden characters are marked, and its direction is isolated."""
    return Markup("<bdi>{}</bdi>").format(marked(text))


def points(value: float | None) -> str:
    """Return a difference of scores, always with a sign."""
    return numbers.points(value).replace("-", MINUS)


def interval(ends: tuple[float, float] | None) -> str:
    """Return an interval."""
    return numbers.interval(ends).replace("-", MINUS)


def heat(value: float, low: float, high: float) -> Markup:
    """Return the style of a cell: how much of the heat color it has, from none at `low` to all at `high`."""
    share = 0.0 if high <= low else (value - low) / (high - low)
    return Markup('style="--heat:{:.0f}%"').format(100 * min(max(share, 0.0), 1.0))


def metric_name(metric: str) -> str:
    """Return a metric in words."""
    return metric.replace("_", " ").replace("f1", "F1")


def sentence_case(text: str) -> str:
    """Return text that begins with a capital; the rest stays as it is, as the F in `entity F1`."""
    return text[:1].upper() + text[1:]


@cache
def environment() -> "Environment":
    """Return what renders the templates of pages: text is escaped, and hidden characters are marked."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_without_hidden,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "visible": visible,
        "number": numbers.score,
        "points": points,
        "marked": marked,
        "heat": heat,
        "interval": interval,
        "metric_name": metric_name,
        "sentence_case": sentence_case,
    }
    environment.globals["charts"] = charts
    return environment


def style(name: str) -> Markup:
    """Return the style sheet of a page."""
    return Markup((Path(__file__).parent / name).read_text(encoding="utf-8"))  # noqa: S704 (a file of this package)


def _without_hidden(value: Any) -> Any:
    """Mark hidden characters in whatever the page prints; markup has been through `visible`."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value
