"""Weights of mixtures that are found by the entropy of predictions on the rows that are scored."""

import json

import pytest
from command_line import refused, run

from xmodctl.evaluation.results import read_rows
from xmodctl.run.trained import Trained
from xmodctl.training.masked_lm.ranking import IDENTITY


def test_the_mixture_with_the_lowest_entropy_is_scored_and_stamped_as_transductive(trained):
    folder, _ = trained
    words = ("eval-transfer", "--run", folder, "--langs", "sw=mix", "--mix-by", "entropy", "--json")
    result = run(*words)
    assert result.exit_code == 0, result.output
    row = next(row for row in json.loads(result.stdout)["rows"] if row["language"] == "sw")
    record = row["mixture"]
    assert record["by"] == "entropy"
    assert row["adapter"] == record["name"]
    details = record["details"]
    assert (details["rows"], details["split"], details["seed"]) == (24, "test", 1)
    assert row["data"].endswith(details["data"])
    assert details["entropy"] <= min(details["ranking"].values()) + 1e-3
    assert sum(record["weights"].values()) == pytest.approx(1)
    assert run(*words).stderr.count("scored before") == 2
    assert len(read_rows(folder / "results.jsonl")) == 2
    shown = " ".join(run("report", "--run", folder, "--format", "markdown").output.split())
    assert "of the test split itself (transductive)" in shown


@pytest.mark.parametrize("langs", ["en=mix", "sw,en_XX=mix"])
def test_the_source_language_is_scored_through_a_mixture_too(trained, langs):
    words = ("--langs", langs, "--mix-by", "entropy", "--json")
    result = run("eval-transfer", "--run", trained[0], *words)
    assert result.exit_code == 0, result.output
    adapters = {row["adapter"] for row in json.loads(result.stdout)["rows"] if row["language"].startswith("en")}
    assert "en_XX" in adapters
    assert [adapter for adapter in adapters if adapter.endswith("@entropy")]


@pytest.mark.slow
def test_the_entropy_does_not_depend_on_gold_answers(trained, tmp_path):
    folder, data = trained
    lines = [json.loads(line) for line in (data / "sw" / "test.jsonl").read_text().splitlines()]
    adapters = []
    for place, changes in (("as-they-are", {}), ("all-the-same", {"label": "neutral"})):
        path = tmp_path / place / "sw" / "test.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(line | changes) + "\n" for line in lines))
        words = ("--langs", "sw=mix,-en_XX", "--mix-by", "entropy", "--data", tmp_path / place, "--json")
        result = run("eval-transfer", "--run", folder, *words)
        assert result.exit_code == 0, result.output
        adapters.append([row["adapter"] for row in json.loads(result.stdout)["rows"] if row["language"] == "sw"])
    assert adapters[0] == adapters[1]


def test_one_model_finds_the_mixtures_of_all_languages(trained, monkeypatch):
    loaded = []
    load = Trained.load.__func__
    monkeypatch.setattr(
        Trained, "load", classmethod(lambda cls, *words, **more: loaded.append(words[3]) or load(cls, *words, **more))
    )
    words = ("--langs", "sw=mix,zh=mix", "--mix-by", "entropy", "--limit", "6", "--json")
    result = run("eval-transfer", "--run", trained[0], *words)
    assert result.exit_code == 0, result.output
    rows = {row["language"]: row for row in json.loads(result.stdout)["rows"]}
    assert all(rows[language]["mixture"]["by"] == "entropy" for language in ("sw", "zh"))
    assert len(loaded) == 2, "one search, one sweep"


def test_a_model_with_identities_only_has_nothing_to_mix(trained, monkeypatch):
    monkeypatch.setattr("xmodctl.training.masked_lm.mixing.candidate_adapters", lambda model, packages: [IDENTITY])
    message = refused(run("eval-transfer", "--run", trained[0], "--langs", "sw=mix", "--mix-by", "entropy"))
    assert "has no trained adapters to mix; add some with --adapter DIR" in message


def test_entropy_and_text_exclude_each_other_and_other_ways_are_refused(trained):
    folder, _ = trained
    words = ("eval-transfer", "--run", folder, "--langs", "sw=mix")
    assert "remove --mix-text" in refused(run(*words, "--mix-by", "entropy", "--mix-text", "sw=x.txt"))
    assert "--mix-by guess" in refused(run(*words, "--mix-by", "guess"))
