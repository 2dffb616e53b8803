"""Weights of mixtures are found on text: the search, the package that `adapters mix` writes, and scores through it."""

import json
import random
from pathlib import Path

import pytest
from command_line import refused, run

from xmodctl import model
from xmodctl.adapters.packages import read_package, write_package
from xmodctl.training.masked_lm.mixing import search

CYCLE = ("the", "cat", "red", "a", "dog")


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    """Return text of which each word predicts the next."""
    path = tmp_path_factory.mktemp("text") / "xh.txt"
    draw = random.Random(0)
    with path.open("w") as file:
        for _ in range(450):
            start, length = draw.randrange(5), draw.randint(12, 30)
            words = [CYCLE[(start + number) % 5] for number in range(length)]
            words[draw.randrange(length)] = "sleeps"
            file.write(" ".join(words) + "\n")
    return path


@pytest.mark.parametrize("best", [(10, 0, 0), (3, 7, 0), (0, 1, 9), (2, 4, 4)])
def test_the_search_finds_the_lowest_point_of_a_bowl(best):
    shares, losses = search(3, lambda shares: sum((a - b) ** 2 for a, b in zip(shares, best, strict=True)))
    assert shares == best
    assert losses[shares] == 0
    assert all(sum(tried) == 10 and min(tried) >= 0 for tried in losses)
    assert len(losses) < 66  # all there are


@pytest.mark.slow
def test_a_found_mixture_is_a_package_that_says_how_it_was_found(tiny_model, text, trained, tmp_path):
    words = ("adapters", "mix", "xh=mix", "--text", text, "--model", tiny_model, "--out", tmp_path / "xh", "--json")
    result = run(*words)
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)["facts"]["mixture"]
    assert record["by"] == "text"
    assert record["name"].endswith("@text")
    assert sum(record["weights"].values()) == pytest.approx(1)
    assert record["details"]["origins"] == "xh.txt"
    assert record["details"]["loss"] <= min(record["details"]["ranking"].values()) + 1e-3
    assert read_package(tmp_path / "xh").language == "xh_ZA"

    folder, data = trained
    (data / "xh").mkdir(exist_ok=True)
    (data / "xh" / "test.jsonl").write_text((data / "sw" / "test.jsonl").read_text())
    scores = ("eval-transfer", "--run", folder, "--json", "--langs")
    result = run(*scores, "xh", "--adapter", tmp_path / "xh")
    assert result.exit_code == 0, result.output
    packaged = next(row for row in json.loads(result.stdout)["rows"] if row["adapter"] == "xh_ZA")
    assert packaged["mixture"] == record
    # Found again by the sweep, it is the same, and its row says so; the name in the row then is enough.
    found = run(*scores, "xh=mix", "--mix-text", f"xh={text}")
    assert found.exit_code == 0, found.output
    row = next(row for row in json.loads(found.stdout)["rows"] if row["adapter"] == record["name"])
    assert row["mixture"] == record
    assert row["value"] == packaged["value"]
    again = run("eval-transfer", "--run", folder, "--langs", f"xh={record['name']}")
    assert again.stderr.count("scored before") == 2, again.output
    assert "weights chosen by masked-LM loss on" in " ".join(again.output.split())
    merged = run("adapters", "merge", tmp_path / "xh", "--model", tiny_model, "--out", tmp_path / "merged")
    # One part is as wide as an adapter of the model, but it is a mixture by its record.
    assert "is a mixture" in refused(merged)
    (data / "xh" / "test.jsonl").unlink()


def test_a_mixture_without_text_is_refused_with_the_option_to_add(tiny_model, trained, tmp_path):
    folder, _ = trained
    message = refused(run("eval-transfer", "--run", folder, "--langs", "sw=mix"))
    assert "sw=mix needs text in sw, a few hundred lines" in message
    assert "--mix-text sw=FILE" in message
    message = refused(run("adapters", "mix", "sw=mix", "--model", tiny_model, "--out", tmp_path / "out"))
    assert "add --text FILE" in message
    assert "is not a mixture" in refused(run("adapters", "mix", "sw", "--model", tiny_model, "--out", tmp_path / "out"))


def test_given_weights_become_a_package_without_text(tiny_model, tmp_path):
    words = ("adapters", "mix", "zu=0.7*sw+0.3*de", "--model", tiny_model, "--out", tmp_path / "zu")
    result = run(*words)
    assert result.exit_code == 0, result.output
    package = read_package(tmp_path / "zu")
    assert package.facts["mixture"]["weights"] == {"sw_KE": 0.7, "de_DE": 0.3}
    name = "roberta.encoder.layer.0.output.adapter_modules.{}.dense1.bias"
    parts = model.read_adapter(model.find(str(tiny_model)), "sw_KE")
    assert package.tensors()[name.format("zu_ZA")][:8].equal(parts[name.format("sw_KE")])


def test_a_package_is_replaced_only_by_a_mixture_for_the_same_language(tiny_model, tmp_path):
    def mix(mixture: str, *more: object):
        return run("adapters", "mix", mixture, "--model", tiny_model, "--out", tmp_path / "zu", *more)

    assert mix("zu=0.7*sw+0.3*de").exit_code == 0
    result = mix("zu=sw+fr")
    assert result.exit_code == 0, result.output
    assert "replaces the mixture 7*sw_KE+3*de_DE" in result.output
    assert read_package(tmp_path / "zu").facts["mixture"]["name"] == "fr_XX+sw_KE"
    assert "replaces" not in mix("zu=sw+fr").output, "it is the same"
    assert "holds the adapter zu_ZA, which is not a mixture for xh_ZA" in refused(mix("xh=sw+fr"))
    own = mix("zu=zu+sw", "--adapter", tmp_path / "zu")
    assert "holds the adapter zu_ZA, which is given with --adapter" in refused(own)
    zulu = read_package(tmp_path / "zu")
    write_package(tmp_path / "zu", model.find(str(tiny_model)), "zu_ZA", zulu.tensors(), {"steps": 3})
    assert "holds the adapter zu_ZA, which is not a mixture for zu_ZA" in refused(mix("zu=sw+fr"))


@pytest.mark.parametrize("option", ["--text", "--head-text"])
def test_text_is_refused_where_weights_are_given(option, tiny_model, text, tmp_path):
    words = ("adapters", "mix", "zu=sw+de", "--model", tiny_model, "--out", tmp_path / "zu", option, text)
    assert f"{option} chooses weights, and zu=sw+de gives them; remove {option}" in refused(run(*words))
    assert not (tmp_path / "zu").exists()
