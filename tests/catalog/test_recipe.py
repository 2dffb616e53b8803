from itertools import pairwise
from typing import get_args

import pytest

from xmodctl.catalog.recipe import Recipe
from xmodctl.cli import options
from xmodctl.core.errors import UserError
from xmodctl.core.schema import parse
from xmodctl.training.optimization import schedule


@pytest.mark.parametrize(
    ("warmup", "total", "steps"), [(0.06, 1000, 60), (0, 1000, 0), (500, 8000, 500), (1, 10, 1), (500, 100, 100)]
)
def test_warm_up_is_a_share_of_the_steps_or_their_number(warmup, total, steps):
    recipe = Recipe(warmup=warmup)
    assert recipe.warmup_steps(total) == steps
    rates = [schedule(recipe, step, total) for step in range(total)]
    assert all(earlier < later for earlier, later in pairwise(rates[:steps]))
    assert rates[steps : steps + 1] in ([1.0], [])


def test_what_is_off_until_it_is_measured_on_a_gpu_says_so():
    fields = Recipe.model_fields
    switches = {name for name, field in fields.items() if field.default is False}
    assert switches == {"compile", "variable_length", "seeds_together"}
    for name in (*switches, "tokens_per_step"):
        assert "(not measured on a GPU)" in fields[name].description
    precision = next(each for each in get_args(options.Precision) if hasattr(each, "help"))
    assert "None has been measured on a GPU" in precision.help


def test_a_number_of_warm_up_steps_is_whole():
    with pytest.raises(UserError, match=r"`warmup`: 2.5 is neither a share \(below 1\) nor a whole number of steps"):
        parse(Recipe, {"warmup": 2.5}, origin="mine.yaml", lines={})
