"""Figures: what they show, in files that are equal for equal runs."""

import json
import sys
from dataclasses import replace

import pytest
from command_line import refused, run
from scored_runs import scored_run

import xmodctl
from xmodctl.core.arguments import PLOTS
from xmodctl.core.errors import UserError
from xmodctl.reports.figures import COLUMN_WIDTH, image
from xmodctl.reports.gathering import gather


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("figures")
    first = scored_run(place / "a", "one $x_1$", qualities={"en": 0.9, "sw": 0.5, "de": 0.8}, seeds=(1, 2, 3))
    second = scored_run(place / "b", "two", qualities={"en": 0.7, "sw": 0.6, "de": 0.6}, seeds=(1,))
    return [first.folder, second.folder]


@pytest.fixture(scope="module")
def study(folders):
    return gather(folders, mistakes=0, details=True)


def test_scores_are_drawn_where_they_are_with_their_intervals(study):
    (axes,) = xmodctl.plot_scores(study).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["en", "de", "sw", "mean, all", "mean, no source"]
    for number, container in enumerate(axes.containers):
        points, _, bars = container.lines
        shown = study.runs[number]
        scores = [shown.score(code) for code in ("en", "de", "sw")]
        values = [*(score.mean for score in scores), *(average.values[number] for average in study.averages)]
        assert points.get_xdata() == pytest.approx(values)
        ends = [segment[:, 0].tolist() for segment in bars[0].get_segments()]
        assert ends[:3] == [pytest.approx([score.ci_low, score.ci_high]) for score in scores]
    baseline = next(line for line in axes.get_lines() if line.get_label() == "majority baseline")
    assert baseline.get_xdata()[0] == pytest.approx(study.table.common_baseline)


def test_gaps_are_bars_and_the_source_has_none(study):
    (axes,) = xmodctl.plot_gaps(study).axes
    gaps = [run.score(code).gap for run in study.runs for code in ("sw", "de")]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["de", "sw"]
    assert sorted(bar.get_width() for bar in axes.patches) == pytest.approx(sorted(gaps))


def test_a_heat_map_has_a_row_per_run(study):
    axes = xmodctl.plot_heat_map(study).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one $x_1$", "two"]
    assert axes.images[0].get_array().shape == (2, 3)


def test_the_scale_of_a_heat_map_of_equal_scores_does_not_exceed_them(tmp_path):
    alone = scored_run(tmp_path, qualities={"en": 1.0}, seeds=(1,))
    shades = xmodctl.plot_heat_map(alone.folder).axes[0].images[0]
    (score,) = shades.get_array().ravel()
    assert shades.get_clim() == (0, score)


def test_curves_show_each_seed_of_runs_and_of_a_study_without_details(folders):
    loss, validation = xmodctl.plot_curves(xmodctl.report(folders, write=False)).axes
    assert len(loss.get_lines()) == len(validation.get_lines()) == 4
    assert all(float(step).is_integer() for panel in (loss, validation) for step in panel.get_xticks())
    assert validation.get_xlim() == loss.get_xlim()


def test_no_tick_of_validation_scores_is_above_100_percent(tmp_path):
    alone = scored_run(tmp_path, qualities={"en": 1.0}, seeds=(1,))
    lines = [
        {"step": 17, "total_steps": 34, "loss": 0.5}, {"step": 34, "total_steps": 34, "loss": 0.2},
        {"step": 17, "metric": "accuracy", "value": 100.0}, {"step": 34, "metric": "accuracy", "value": 100.0},
    ]  # fmt: skip
    (alone.seed_folder(1) / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    _, validation = xmodctl.plot_curves(alone.folder).axes
    assert [line.get_ydata().tolist() for line in validation.get_lines()] == [[100, 100]]
    assert max(validation.get_yticks()) == 100 < validation.get_ylim()[1] <= 102


def test_a_figure_has_the_width_of_a_column(study):
    assert xmodctl.plot_scores(study).get_figwidth() == COLUMN_WIDTH


@pytest.mark.parametrize(
    ("plot", "format_", "start"),
    [*((plot, "svg", b"<?xml") for plot in PLOTS), ("scores", "pdf", b"%PDF"), ("heat-map", "png", b"\x89PNG")],
)
def test_a_file_of_each_format_is_the_same_every_time(study, plot, format_, start):
    first, second = (image(replace(study, plot=plot), format_) for _ in range(2))
    assert first.startswith(start)
    assert first == second
    if format_ == "pdf":
        assert b"/FontFile2" in first or b"/FontFile" in first, "fonts are embedded"
    if format_ == "svg":
        assert b"<text" not in first, "text does not depend on the reader's fonts"


def test_a_plot_in_a_format_that_is_no_figure_is_refused_and_the_remedy_works(folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refused(run("report", folders[0], "--plot", "gaps", "--format", "markdown"))
    assert "markdown is not a format of figures; add --out gaps.svg" in message
    assert run("report", folders[0], "--plot", "gaps", "--out", "gaps.svg").exit_code == 0
    assert (tmp_path / "gaps.svg").read_bytes() == image(replace(gather(folders[:1], mistakes=0), plot="gaps"), "svg")
    assert "choose from scores, gaps, heat-map, curves" in refused(run("report", folders[0], "--plot", "pie"))


def test_without_matplotlib_the_message_names_the_extra(study, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"figures need matplotlib; run: pip install 'xmodctl\[plots\]'"):
        xmodctl.plot_scores(study)


def test_what_is_not_there_is_not_drawn(tmp_path):
    alone = scored_run(tmp_path, qualities={"en": 0.9}, seeds=(1,))
    with pytest.raises(UserError, match="there are no gaps to show"):
        xmodctl.plot_gaps(alone.folder)
    (alone.seed_folder(1) / "metrics.jsonl").unlink()
    with pytest.raises(UserError, match="there are no training curves to show"):
        xmodctl.plot_curves(alone.folder)


def test_curves_are_drawn_of_runs_that_have_no_scores(folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    alone = scored_run(tmp_path, qualities={"en": 0.9}, seeds=(1,))
    alone.results.unlink()
    loss, validation = xmodctl.plot_curves(alone.folder).axes
    assert [len(panel.get_lines()) for panel in (loss, validation)] == [1, 1]
    message = refused(run("report", alone.folder, "--plot", "scores", "--out", "scores.svg"))
    assert "has no scores of the split test" in message
    for format_ in ("svg", "pdf", "png"):
        assert run("report", alone.folder, "--plot", "curves", "--out", f"curves.{format_}").exit_code == 0
        drawn = xmodctl.report(alone, plot="curves", format=format_)
        assert (tmp_path / f"curves.{format_}").read_bytes() == drawn.render(format_)
    together = xmodctl.report([alone.folder, *folders], plot="curves", format="svg")
    assert [len(each.curves) for each in together.runs] == [1, 3, 1]
    assert [len(each["curves"]) for each in together.to_json()["runs"]] == [1, 3, 1]


def test_a_damaged_log_is_refused_and_other_runs_are_drawn(folders, tmp_path):
    alone = scored_run(tmp_path, qualities={"en": 0.9}, seeds=(1,))
    with (alone.seed_folder(1) / "metrics.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"step": "one"}\n{}\n')
    damaged = r"metrics\.jsonl:\d+ is not a line of a training log; remove that line"
    with pytest.raises(UserError, match=damaged):
        xmodctl.plot_curves([alone])
    out = tmp_path / "curves.svg"
    shown = run("report", alone.folder, folders[0], "--plot", "curves", "--out", out)
    assert shown.exit_code == 1
    assert "1 of 2 runs could not be shown" in shown.stderr
    assert out.exists()


def test_a_notebook_shows_a_figure_that_a_cell_returns(study):
    for drawn in (xmodctl.plot_scores(study), xmodctl.plot_curves(study)):
        picture, shown = drawn._repr_png_()
        width = int.from_bytes(picture[16:20])
        assert picture.startswith(b"\x89PNG")
        assert width == pytest.approx(2 * shown["width"], abs=2), "sharp on screens of two pixels per point"
