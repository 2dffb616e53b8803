"""`sources`: the ranking finds texts that are near, on vectors that are known and through a model."""

import json

import numpy as np
import pytest
from command_line import refused, run

from xmodctl.evaluation import sources as module
from xmodctl.evaluation.sources import ranked, sources


def near(center: np.ndarray, count: int, seed: int) -> np.ndarray:
    vectors = center + 0.3 * np.random.default_rng(seed).normal(size=(count, len(center)))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_the_candidate_whose_texts_are_nearest_is_first_and_shares_add_up():
    first, second, third = np.eye(8)[:3]
    target = near(first + 0.5 * second, 60, 0)
    candidates = {"far": near(third, 40, 1), "close": near(first, 40, 2), "between": near(second, 40, 3)}
    ranking = ranked(target, candidates)
    assert [each.language for each in ranking] == ["close", "between", "far"]
    assert sum(each.share for each in ranking) == pytest.approx(100)
    assert all(each.ci[0] <= each.share <= each.ci[1] for each in ranking)
    assert ranking[0].ci[0] > ranking[1].ci[1]


def test_the_target_itself_is_no_candidate_and_text_may_come_from_a_file(tiny_model, pairs, tmp_path):
    words = ("sources", "--task", "xnli", "--model", tiny_model, "--data", pairs, "--rows", "20", "--json")
    (tmp_path / "sw.txt").write_text("".join(f"the cat sleeps {number}\n\n" for number in range(30)))
    result = run(*words, "--langs", "de,sw", "--sources", "en,de,fr", "--text", f"sw={tmp_path / 'sw.txt'}")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert {each["language"] for each in value["targets"]["de"]} == {"en", "fr"}
    assert {each["language"] for each in value["targets"]["sw"]} == {"en", "de", "fr"}
    assert set(value["rows"].values()) == {20}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--langs", "de", "--rows", "3"), "--rows 3: give at least 20"),
        (("--langs", "de", "--text", "sw.txt"), "--text sw.txt: write the language and the file"),
        (("--langs", "de", "--text", "sw=nowhere.txt"), "there is no file nowhere.txt"),
        (("--langs", "de", "--text", "sw=."), "cannot read .: it is not a regular file but a folder, a pipe"),
        (("--langs", "de", "--sources", "en"), "needs at least two candidate languages"),
        (("--langs", "de", "--sources", "en,de"), "needs at least two candidate languages besides de itself"),
        (("--langs", "de", "--sources", "en,,English,en_XX"), "needs at least two candidate languages"),
        (("--langs", "de,fr", "--sources", "de,fr"), "needs at least two candidate languages besides de itself"),
        (("--langs", ",-de"), "selects no language"),
        (("--langs", "ur"), "its texts can go through another adapter: --langs ur=ADAPTER"),
        (("--langs", "de", "--sources", "en,ur"), "its texts can go through another adapter: --sources ur=ADAPTER"),
        (("--langs", "de", "--sources", "en,fr", "--text", "sw=TEXT"), "sw is neither a target nor a candidate"),
        (("--langs", "sw", "--text", "sw=TEXT", "--text", "swa=TEXT"), "swa has another file"),
        (("--langs", "sw", "--text", "sw=LATIN"), "latin.txt:1:2: byte 0xe9 is not UTF-8"),
    ],
)
def test_what_cannot_be_ranked_is_refused(words, message, tiny_model, pairs, tmp_path):
    (tmp_path / "text.txt").write_text("the cat\n" * 30)
    (tmp_path / "latin.txt").write_bytes("né\n".encode("latin-1") * 30)
    words = [
        word.replace("TEXT", str(tmp_path / "text.txt")).replace("LATIN", str(tmp_path / "latin.txt")) for word in words
    ]
    assert message in refused(run("sources", "--task", "xnli", "--model", tiny_model, "--data", pairs, *words))


def test_a_language_in_two_spellings_is_one_and_candidates_without_an_adapter_are_named(tiny_model, pairs):
    words = ("sources", "--task", "xnli", "--model", tiny_model, "--data", pairs, "--rows", "20")
    result = run(*words, "--langs", "de,German,deu", "--sources", "en,fr,sw", "--json")
    assert result.exit_code == 0, result.output
    assert set(json.loads(result.stdout)["targets"]) == {"de"}
    result = run(*words, "--langs", "de", "--sources", "all")
    assert result.exit_code == 0, result.output
    assert "tiny has no adapter: ar, bg, el, es, hi, ru, th, tr, ur, vi" in result.output


def test_targets_that_are_not_named_are_skipped_without_an_adapter_and_named_ones_are_refused(tiny_model, pairs):
    words = ("sources", "--task", "xnli", "--model", tiny_model, "--data", pairs, "--rows", "20")
    result = run(*words, "--langs", "all,-ar", "--json")  # XNLI's languages, of which the model lacks most
    assert result.exit_code == 0, result.output
    assert "tiny has no adapter: bg, el, es, hi, ru, th, tr, ur, vi" in result.stderr
    assert "pairs has no test data: zh" in result.stderr
    assert set(json.loads(result.stdout)["targets"]) == {"en", "de", "fr", "sw"}
    assert "--langs ur=ADAPTER" in refused(run(*words, "--langs", "all,ur"))
    assert "--sources ur=ADAPTER" in refused(run(*words, "--langs", "de", "--sources", "all,ur"))


def test_a_language_without_an_adapter_is_read_through_the_one_that_is_named(tiny_model, pairs, tmp_path):
    (tmp_path / "zu.txt").write_text("".join(f"paka {'the cat runs '[:number]}\n" for number in range(1, 31)))
    words = ("sources", "--task", "xnli", "--model", tiny_model, "--data", pairs, "--rows", "20", "--json")
    text = ("--text", f"zu={tmp_path / 'zu.txt'}")
    assert "--langs zu=ADAPTER" in refused(run(*words, "--langs", "zu", "--sources", "en,de", *text))
    result = run(*words, "--langs", "zu=sw", "--sources", "en,de", *text)
    assert result.exit_code == 0, result.output
    assert {each["language"] for each in json.loads(result.stdout)["targets"]["zu"]} == {"en", "de"}


def test_the_adapter_that_is_named_is_the_one_that_reads(tiny_model, pairs, monkeypatch):
    read = []
    real = module.embed
    monkeypatch.setattr(module, "embed", lambda rows, **more: read.extend(rows) or real(rows, **more))
    sources("sw=de", task="xnli", candidates="en,fr=zh_CN", model=tiny_model, data=pairs, rows=20, listen=print)
    assert list(dict.fromkeys(row["adapter"] for row in read)) == ["de_DE", "en_XX", "zh_CN"]


def test_too_few_texts_are_refused_with_the_option_that_gives_more(tiny_model, pairs, tmp_path):
    (tmp_path / "sw.txt").write_text("one\ntwo\n")
    words = ("sources", "--task", "xnli", "--model", tiny_model, "--data", pairs, "--langs", "sw", "--sources", "en,de")
    assert "give more with --text sw=FILE" in refused(run(*words, "--text", f"sw={tmp_path / 'sw.txt'}"))
