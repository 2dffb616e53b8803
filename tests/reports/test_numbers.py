import pytest

from xmodctl.reports import numbers


@pytest.mark.parametrize("value", [-0.04, -0.0, 0.0, 0.04])
def test_a_number_that_rounds_to_zero_is_not_negative(value):
    assert numbers.score(value) == "0.0"
    assert numbers.points(value) == "+0.0"
    assert numbers.interval((value, 1.0)) == "0.0 to 1.0"


def test_other_numbers_keep_their_sign():
    assert numbers.points(-0.06) == "-0.1"
    assert numbers.interval((-1.25, -0.06)) == "-1.2 to -0.1"
