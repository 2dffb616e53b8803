import math

import pytest

from xmodctl.statistics.student import t_quantile, t_tail


@pytest.mark.parametrize("freedom", [1, 1.3, 2, 3.7, 10, 55.5, 300, 5000, 9e5, math.inf])
def test_quantiles_and_tails_are_scipys(freedom):
    from scipy.stats import norm, t

    reference = norm if math.isinf(freedom) else t(freedom)
    for tail in (0.5, 0.4, 0.1, 0.025, 1e-3, 1e-6, 1e-12):
        value = t_quantile(tail, freedom)
        assert value == pytest.approx(reference.isf(tail), rel=1e-6, abs=1e-9)
        assert t_tail(value, freedom) == pytest.approx(tail, rel=1e-6)
