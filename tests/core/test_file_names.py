"""Names of files: a long name fits, and different long names stay different."""

from xmodctl.core.file_names import LONGEST, fitting_name


def test_a_name_that_fits_stays_as_it_is():
    assert fitting_name("7*sw_KE+3*so_SO@text") == "7*sw_KE+3*so_SO@text"
    assert fitting_name("x" * LONGEST) == "x" * LONGEST


def test_long_names_are_cut_within_characters_and_stay_different():
    names = {fitting_name("한" * 60 + end) for end in ("a", "b", "")}
    assert len(names) == 3
    assert all(len(name.encode()) <= LONGEST for name in names)
    assert all(name.startswith("한" * 30) for name in names)
