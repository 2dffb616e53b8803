"""The language that the name of a file, or of its folder, states."""

import pytest

from xmodctl.data.named_languages import language_named_by, language_of_input


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("de/test.jsonl", "de"),
        ("de_DE/validation.csv.gz", "de_DE"),
        ("German/tickets_test.csv", "German"),
        ("test/de.csv", "de"),
        ("de/test.de.csv", "de"),
        ("xnli.test.de.tsv", "de"),
        ("de/tickets.csv", ""),  # not a split, so the folder may be named for something else
        ("de/test.fr.csv", ""),  # they contradict each other
        ("my_test.csv", ""),
        ("de.csv", ""),
        ("test.csv", ""),
        ("data/test.jsonl", ""),
        ("test/dev.csv", ""),  # a split, and the code of a language
        ("test.dev.csv", ""),
    ],
)
def test_a_name_states_a_language_if_it_cannot_mean_anything_else(tmp_path, name, language):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.touch()
    assert language_named_by(file) == language


def test_short_words_are_languages_if_files_beside_them_are_named_by_languages(tmp_path):
    for name in ("my_test.csv", "de_test.csv"):
        (tmp_path / name).touch()
    assert language_named_by(tmp_path / "my_test.csv") == "my"
    for name in ("own/de.csv", "own/fr.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert language_named_by(tmp_path / "own" / "de.csv") == "de"


def test_input_without_a_name_has_no_language(tmp_path, monkeypatch):
    (tmp_path / "de").mkdir()
    monkeypatch.chdir(tmp_path / "de")
    assert language_of_input("test.jsonl") == "de"
    assert language_of_input("-") == ""
    assert language_of_input([{"text": "de/test.jsonl"}]) == ""
