import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from xmodctl.evaluation.results import Score
from xmodctl.reports import charts
from xmodctl.reports.charts import Scale
from xmodctl.reports.curves import TrainingCurve
from xmodctl.reports.study import Average

SCORE = Score("de", "de_DE", "own", 100, (60.0, 64.0), 58.0, 66.0, 33.3, False, 8.0)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([33.3, 91.2], (20, 40, 60, 80, 100)),
        ([0, 4.9], (0, 1, 2, 3, 4, 5)),
        ([61.02, 61.4], (61.0, 61.1, 61.2, 61.3, 61.4)),
        ([50, 50], (0, 10, 20, 30, 40, 50)),
        ([0], (0, 0.2)),
        ([-3, 12], (-5, 0, 5, 10, 15)),
        ([0, 471], (0, 100, 200, 300, 400, 500)),
    ],
)
def test_a_scale_ends_on_round_numbers_and_holds_all_values(values, ticks):
    scale = Scale.over(values)
    assert scale.ticks == pytest.approx(ticks)
    assert scale.low <= min(values) + 1e-9
    assert scale.high >= max(values) - 1e-9


def test_a_scale_places_values_in_percent_of_its_width_and_keeps_outliers_inside():
    scale = Scale(0, 50, (0, 25, 50))
    assert [scale.at(value) for value in (0, 10, 50, 70, -3)] == [0, 20, 100, 100, 0]


@pytest.mark.parametrize(("value", "ends"), [(100.0, (0, 100)), (-4.0, (-4, 0)), (0.0, (0, 0.5))])
def test_a_scale_of_one_value_begins_at_zero_and_does_not_exceed_it(value, ends):
    scale = Scale.over([value, value], ticks=4)
    assert (scale.low, scale.high) == ends


def test_ticks_are_written_with_the_digits_that_tell_them_apart():
    scale = Scale.over([61.02, 61.4])
    assert [scale.label(tick) for tick in scale.ticks[:2]] == ["61.0", "61.1"]
    assert Scale.over([-40, 40]).label(-40) == "\N{MINUS SIGN}40"


def test_a_strip_has_interval_seeds_mean_and_majority_baseline_where_they_belong():
    drawn = ElementTree.fromstring(charts.scores(Scale(0, 100, (0, 50, 100)), [SCORE], reference=70.0))
    lines = [(line.get("class"), line.get("x1"), line.get("x2")) for line in drawn.iter("line")]
    assert ("interval c0", "58.0%", "66.0%") in lines
    assert ("baseline", "33.3%", "33.3%") in lines
    assert ("reference", "70.0%", "70.0%") in lines
    assert [line[1] for line in lines if line[0] == "seed c0"] == ["60.0%", "64.0%"]
    assert [mark.get("x") for mark in drawn.iter("svg") if "mark" in mark.get("class", "")] == ["62.0%"]


def test_each_run_has_a_lane_of_its_own_and_a_shape_of_its_own():
    drawn = ElementTree.fromstring(charts.scores(Scale(0, 100, (0, 100)), [SCORE, None, SCORE]))
    marks = [mark for mark in drawn.iter("svg") if "mark" in mark.get("class", "")]
    assert [float(mark.get("y")) for mark in marks] == [11.0, 55.0]
    assert [mark[0].tag for mark in marks] == ["circle", "path"]
    assert drawn.get("height") == "66"


def test_a_gap_is_a_bar_from_zero_to_either_side():
    scale = Scale(-10, 30, (-10, 0, 10, 20, 30))
    worse = replace(SCORE, gap=12.0, gap_ci=(10.0, 14.0))
    better = replace(SCORE, gap=-4.0)
    drawn = ElementTree.fromstring(charts.gaps(scale, [worse, better, None, replace(SCORE, gap=None)]))
    assert [(bar.get("x"), bar.get("width")) for bar in drawn.iter("rect")] == [("25.0%", "30.0%"), ("15.0%", "10.0%")]
    whisker = next(line for line in drawn.iter("line") if line.get("class") == "whisker")
    assert (whisker.get("x1"), whisker.get("x2")) == ("50.0%", "60.0%")


def test_curves_share_their_axes():
    curves = [
        TrainingCurve(1, 100, ((10, 1.0), (100, 0.5)), ((100, 70.0),), "accuracy"),
        TrainingCurve(2, 100, ((10, 0.8), (100, 0.4)), (), None),
    ]
    drawn = ElementTree.fromstring(charts.curve(curves, validation=False))
    first, second = [line.get("points") for line in drawn.iter("polyline")]
    assert first.split()[0].startswith("10.0,")
    assert first.split()[-1].startswith("100.0,")
    ends = [float(re.split("[ ,]", points)[-1]) for points in (first, second)]
    assert ends[0] < ends[1]  # a lower loss is lower on the page


def test_a_curve_ends_at_the_side_where_the_number_of_steps_is_not_round():
    curve = TrainingCurve(1, 204, ((1, 1.0), (204, 0.5)), (), None)
    drawn = ElementTree.fromstring(charts.curve([curve], validation=False))
    (points,) = (line.get("points") for line in drawn.iter("polyline"))
    assert points.split()[-1].startswith("100.0,")
    steps = {text.text: text.get("text-anchor") for text in drawn.iter("text")}
    assert (steps["100"], steps["200"], "300" in steps) == ("middle", "end", False)
    # Labels are on top of the lines.
    assert [child.tag.rpartition("}")[2] for child in drawn][-1] == "text"


def test_a_common_baseline_is_a_line_through_all_lanes():
    drawn = ElementTree.fromstring(charts.scores(Scale(0, 100, (0, 100)), [SCORE, SCORE], baseline=40.0))
    lines = [line for line in drawn.iter("line") if line.get("class") == "baseline"]
    assert [(line.get("x1"), line.get("y1"), line.get("y2")) for line in lines] == [("40.0%", "0", "100%")]


def test_means_have_marks_and_intervals_where_there_are_any():
    average = Average("all", ("de", "sw"), (60.0, 50.0), ((55.0, 64.0), None))
    drawn = ElementTree.fromstring(charts.means(Scale(0, 100, (0, 100)), average))
    marks = [mark.get("x") for mark in drawn.iter("svg") if "mark" in mark.get("class", "")]
    assert marks == ["60.0%", "50.0%"]
    spans = [(line.get("class"), line.get("x1"), line.get("x2")) for line in drawn.iter("line")]
    assert ("interval c0", "55.0%", "64.0%") in spans
    assert not [span for span in spans if span[0] == "interval c1"]


@pytest.mark.parametrize(("value", "anchor"), [(3, "start"), (50, "middle"), (99, "end")])
def test_a_label_stays_within_the_chart(value, anchor):
    drawn = ElementTree.fromstring(charts.label_at(Scale(0, 100, (0, 100)), value, "here & there"))
    text = next(drawn.iter("text"))
    assert (text.get("x"), text.get("text-anchor"), text.text) == (f"{float(value)}%", anchor, "here & there")


def test_a_curve_marks_the_step_whose_weights_were_kept():
    seeds = [TrainingCurve(seed, 100, ((50, 1.0), (100, 0.5)), (), None) for seed in (1, 2)]
    drawn = ElementTree.fromstring(charts.curve(seeds, validation=False, kept={2: 75}))
    kept = [(line.get("class"), line.get("x1")) for line in drawn.iter("line") if "kept" in line.get("class", "")]
    assert kept == [("kept c1", "75.0%")]
    assert "optimizer step" in [text.text for text in drawn.iter("text")]
