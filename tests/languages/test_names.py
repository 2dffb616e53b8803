"""The table of names says what the library says."""

import langcodes
import pytest

from xmodctl.languages.tags import load_table, name

NAMES = load_table("names.yaml")


@pytest.mark.parametrize("code", NAMES)
def test_a_name_in_the_table_is_that_of_the_library(code):
    assert langcodes.get(code).display_name() == NAMES[code]


def test_the_table_is_used_and_other_languages_still_have_names():
    assert name("zul_Latn") == NAMES["zu"] == "Zulu"
    assert name("zh_TW") == NAMES["zh-Hant"]
    assert "vot" not in NAMES
    assert name("vot") == "Votic"
