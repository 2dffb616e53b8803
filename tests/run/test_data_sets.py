"""The data set that a score belongs to, from the place of its file and what `--data` named."""

import pytest

from xmodctl.run.data_sets import data_set_of


@pytest.mark.parametrize(
    "place",
    [
        "{}/test.jsonl",
        "{}/any.csv",
        "{}.csv",
        "test/{}.csv.gz",
        "test/all.csv",
        "test.{}.jsonl",
        "{}_dev.csv",
        "test.csv",
    ],
)
def test_the_languages_of_one_folder_are_one_data_set_however_its_files_are_named(place, tmp_path):
    codes = {"de": "de_DE", "zh_CN": "zh_CN", "ur": "ur_PK"}
    folder = tmp_path / "data"
    origins = {language: folder / place.format(code) for code, language in codes.items()}
    sets = {data_set_of(f"{origin}#1", language, "xnli", str(folder)) for language, origin in origins.items()}
    assert sets == {str(folder)}


@pytest.mark.parametrize(
    ("named", "file", "data_set"),
    [
        ("data/de", "data/de/test.csv", "data"),
        ("de.csv", "de.csv", "de.csv"),
        ("test/de.csv",) * 3,
        (None, "x/de.csv", "x/de.csv"),
    ],
)
def test_a_folder_of_one_language_belongs_to_its_parent_and_a_named_file_is_a_data_set(named, file, data_set, tmp_path):
    folder = None if named is None else str(tmp_path / named)
    assert data_set_of(f"{tmp_path / file}#1", "de_DE", "xnli", folder) == str(tmp_path / data_set)
