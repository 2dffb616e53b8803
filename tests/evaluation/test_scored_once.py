"""A language of the data is scored once, in whatever way its code and its adapter are spelled."""

import pytest

import xmodctl
from xmodctl.core.errors import UserError
from xmodctl.core.events import LanguageScored
from xmodctl.evaluation.results import read_rows

QUICK = {"epochs": 1, "max_length": 32}


def write(folder, codes):
    """Write a file with rows in several codes, each of which has every label."""
    rows = [f"the cat {n},{'ab'[n // len(codes) % 2]},{codes[n % len(codes)]}" for n in range(60 * len(codes))]
    (folder / "d.csv").write_text("\n".join(["text,label,lang", *rows, ""]))
    return folder / "d.csv"


@pytest.mark.parametrize(
    ("lang", "codes"),
    [
        ("en", ("en-GB", "de")),  # through en_XX, which a note says
        ("en", ("en-GB", "en", "English (UK)")),
        ("zh_CN", ("zh", "de")),  # zh means zh_CN, which a note says
        ("zh", ("zh", "en")),
    ],
)
def test_a_source_language_whose_code_has_a_note_is_scored_once(tiny_model, tmp_path, lang, codes):
    run = xmodctl.finetune(
        "classification", lang, model=tiny_model, data=write(tmp_path, codes), out=tmp_path / "run", overrides=QUICK,
        listen=lambda _: None,
    )  # fmt: skip
    events = []
    report = xmodctl.evaluate(run, "all", listen=events.append)
    scored = [event.language for event in events if isinstance(event, LanguageScored)]
    assert len(scored) == len(set(scored)) == len({code for code in codes if code != "English (UK)"})
    rows = read_rows(run.folder / "results.jsonl")
    assert sorted(row.language for row in rows) == sorted(scored)
    assert report.seeds == (1,)
    assert {len(score.values) for score in report.scores} == {1}


def test_a_treebank_goes_through_the_adapter_of_the_language_that_names_its_file(tiny_model, tmp_path):
    words = "1\tkatze\tkatze\tNOUN\t_\t_\t0\troot\t_\t_\n2\truns\trun\tVERB\t_\t_\t1\tdep\t_\t_\n\n"
    for name in ("UD_English-EWT/en_ewt-ud-train", "UD_English-EWT/en_ewt-ud-test", "UD_German-GSD/de_gsd-ud-test"):
        path = tmp_path / "ud" / f"{name}.conllu"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(words.replace("katze", "cat" if "English" in name else "katze") * 6)
    run = xmodctl.finetune(
        "tagging", "en", model=tiny_model, data=tmp_path / "ud", out=tmp_path / "run", overrides=QUICK
    )
    xmodctl.evaluate(run, "all")
    rows = read_rows(run.folder / "results.jsonl")
    assert [(row.language, row.adapter, row.n) for row in rows] == [("en_ewt", "en_XX", 6), ("de_gsd", "de_DE", 6)]
    notes = []
    predicted = xmodctl.predict(run, None, path, listen=notes.append)
    assert {row["language"] for row in predicted} == {"de_gsd"}
    assert "rows go through de_DE, because the name of the file says de_gsd" in str(notes)


@pytest.mark.parametrize("name", ["d.jsonl", "d.json"])
def test_the_column_of_a_text_is_found_in_every_format(tiny_model, tmp_path, name):
    path = tmp_path / name
    path.write_text('[{"review_body": "the cat", "lang": "en"}]'.strip("[]" if name == "d.jsonl" else ""))
    notes = []
    (row,) = xmodctl.embed(path, model=tiny_model, listen=notes.append)
    (alone,) = xmodctl.embed(["the cat"], "en", model=tiny_model)
    assert row["embedding"] == alone["embedding"]
    assert "text is read from `review_body`" in str(notes)


def test_texts_to_embed_that_are_in_no_known_column_are_asked_for_by_name(tiny_model, tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("title,lang\nthe cat,en\n")
    with pytest.raises(UserError, match=r"no column is called text or similar \(title, lang\); name it: --text-column"):
        list(xmodctl.embed(path, model=tiny_model))
    assert len(list(xmodctl.embed(path, model=tiny_model, text_column="title"))) == 1
