"""Codes of languages in data: which spellings are one language, and that no row is scored in two."""

import pytest

from xmodctl.catalog import catalog
from xmodctl.data import coverage
from xmodctl.data.own_data import fit
from xmodctl.data.rows import load_rows
from xmodctl.languages.tags import meaning

CODES = (
    "de",
    "de_DE",
    "deu",
    "German",
    "de-AT",
    "zh",
    "zh-Hans",
    "zh_CN",
    "zh-TW",
    "pt",
    "pt-BR",
    "pt-PT",
    "sw",
    "swh",
)
COUNTS = {"de": 40, "de-AT": 10, "zh": 30, "zh-TW": 10, "pt": 20, "pt-PT": 10, "sw": 20}


@pytest.mark.parametrize(
    ("one", "other"),
    [("en", "en_XX"), ("eng", "English"), ("en", "en-US"), ("zh", "zh-Hans"), ("zho_Hans", "zh-CN"), ("cmn", "zh"),
     ("pt", "pt-BR"), ("swh", "sw"), ("ar_AR", "ar-EG"), ("zh-TW", "zh-Hant"), ("eng_Latn", "en")],
)  # fmt: skip
def test_what_is_likely_need_not_be_written(one, other):
    assert meaning(one) == meaning(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("de", "de-AT"), ("zh", "zh-TW"), ("pt", "pt-PT"), ("sr", "sr-Latn"), ("arz", "ar"), ("en", "q1")],
)
def test_another_region_or_script_is_another_language_of_data(one, other):
    assert meaning(one) != meaning(other)


@pytest.mark.parametrize("layout", ["file", "splits"])
def test_each_row_is_scored_in_one_language_and_all_that_agree_are_trained_on(tmp_path, layout):
    rows = [f"text {n},{'ab'[n % 2]},{CODES[n % len(CODES)]}" for n in range(10 * len(CODES))]
    names = ("d.csv",) if layout == "file" else ("train.csv", "test.csv")
    for name in names:
        (tmp_path / name).write_text("\n".join(["text,label,lang", *rows]) + "\n")
    data = tmp_path / "d.csv" if layout == "file" else tmp_path
    overrides = {"split_seed": None} if layout == "file" else {}
    task = fit(catalog.task("classification").with_values(overrides, origin="--set"), data, ["de"]).task
    spelled = {meaning(code): code for code in coverage(task, data)}
    assert len(spelled) == len(COUNTS) == len(coverage(task, data))
    counts = {code: len(load_rows(task, spelled[meaning(code)], "test", folder=data)) for code in COUNTS}
    assert counts == COUNTS
    assert len(load_rows(task, "de_DE", "test", folder=data)) == 40
    assert len(load_rows(task, "de", "train", folder=data)) == 50
