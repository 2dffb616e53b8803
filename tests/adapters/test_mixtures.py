"""Mixtures of adapters: what is written, what it is called, and that every command sends text through the same sum."""

import json
from pathlib import Path

import pytest
import torch
from command_line import refused, run
from test_adapters import own_vocabulary, zulu
from transformers import AutoModelForSequenceClassification

from xmodctl import UserError, load, model
from xmodctl.adapters.mixtures import Mixture, with_mixtures
from xmodctl.adapters.packages import write_package
from xmodctl.adapters.written_weights import parsed
from xmodctl.evaluation.results import read_rows


@pytest.fixture
def base(tiny_model) -> model.Source:
    return model.find(str(tiny_model))


def mixed(text: str, base, *, packages=(), **options) -> tuple[str, tuple[Mixture, ...], list[str]]:
    """Return the selection, the mixtures and the notices."""
    notices: list = []
    selection, mixtures = with_mixtures(text, base, packages, notices.append, **options)
    return selection, mixtures, [notice.text for notice in notices]


@pytest.mark.parametrize(
    ("written", "name", "weights"),
    [
        ("sw+de", "de_DE+sw_KE", {"de_DE": 0.5, "sw_KE": 0.5}),
        ("0.7*sw+0.3*de", "7*sw_KE+3*de_DE", {"sw_KE": 0.7, "de_DE": 0.3}),
        ("0.25 * de_DE + .75*Swahili", "3*sw_KE+1*de_DE", {"sw_KE": 0.75, "de_DE": 0.25}),
        ("0.125*sw+0.875*de", "7*de_DE+1*sw_KE", {"de_DE": 0.875, "sw_KE": 0.125}),
        ("sw+de+sw", "2*sw_KE+1*de_DE", {"sw_KE": 2 / 3, "de_DE": 1 / 3}),
        ("0.5*sw+0.5*none", "none+sw_KE", {"none": 0.5, "sw_KE": 0.5}),
    ],
)
def test_a_mixture_is_named_by_its_adapters_and_shares_however_it_is_written(written, name, weights, base):
    selection, (mixture,), notices = mixed(f"en,zu={written},-fr", base)
    assert selection == f"en,zu={name},-fr"
    assert mixture.weights == weights
    assert not notices
    # What tables print can be written again, and means the same.
    again, (same,), _ = mixed(f"zu={name}", base)
    assert (again, same) == (f"zu={name}", mixture)
    assert same.sha256 == mixture.sha256


def test_a_single_adapter_with_weight_1_is_this_adapter(base):
    for written in ("1*sw+0*de", "sw+sw", "0*de+0.5*sw"):
        assert mixed(f"zu={written}", base)[:2] == ("zu=sw_KE", ())


def test_weights_that_do_not_sum_to_1_are_scaled_and_a_notice_says_so(base):
    _, (mixture,), (notice,) = mixed("zu=0.6*sw+0.2*de", base)
    assert mixture.weights == {"sw_KE": 0.75, "de_DE": 0.25}
    assert notice == "zu=0.6*sw+0.2*de: the weights sum to 0.8, not 1; they are scaled: sw_KE 0.75, de_DE 0.25"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("0.7*sw+-0.3*de", "the weight of de is negative; weights are at least 0, so give 0\\*de"),
        ("0.7*sw-0.3*de", "the weight of de is negative"),
        ("0.7*sw+de", "give a weight to every adapter"),
        ("x*sw+1*de", "the weight 'x' is not a decimal number"),
        ("1e3*sw+1*de", "the weight '1e3' is not a decimal number"),
        ("1e-3*sw+1*de", "the weight '1e-3' is not a decimal number"),
        ("1" + "0" * 400 + "*sw+1*de", r"the weight '10{56}\.\.\.' is not a decimal number below a billion"),
        ("1" + "0" * 5000 + "*sw+1*de", "is not a decimal number below a billion"),
        ("sw+mix", "`mix` chooses the weights of all adapters, so write it alone"),
        ("0.5*mix+0.5*de", "`mix` chooses the weights of all adapters, so write it alone"),
        ("@text", "is not a mixture"),
        ("0*sw+0*de", "all weights are 0"),
        ("sw+", "is not a mixture"),
        ("1*none", "a mixture needs an adapter"),
        ("sw+so", r"no adapter for 'so'.*`--adapter DIR` adds.*add-language so --text FILE"),
        ("sw+qqq", "neither an adapter"),
        ("mix", "adapters mix zu=mix --text FILE --model MODEL --out DIR"),
        ("7*sw_KE+3*de_DE@text", r"there is no score.*write zu=7\*sw_KE\+3\*de_DE with your own weights$"),
    ],
)
def test_a_mixture_that_cannot_be_used_is_one_sentence_with_a_remedy(written, message, base):
    with pytest.raises(UserError, match=message):
        mixed(f"zu={written}", base)


def test_the_largest_weights_are_scaled(base):
    _, (mixture,), (notice,) = mixed("zu=999999999*sw+0.000001*de", base)
    assert mixture.shares == (("sw_KE", 999999999000000), ("de_DE", 1))
    assert "the weights sum to 1e+09, not 1" in notice


def test_a_negative_weight_of_one_text_is_no_exclusion(trained):
    folder, data = trained
    message = refused(run("predict", "--run", folder, "--lang", "-1*sw+2*de", data / "sw" / "test.jsonl"))
    assert "the weight of sw is negative" in message


def test_an_adapter_with_its_own_vocabulary_is_no_part_of_a_mixture(base, tmp_path):
    package = write_package(tmp_path / "own", base, "zu_ZA", zulu(base), {}, vocabulary=own_vocabulary(base))
    with pytest.raises(UserError, match=r"own vocabulary.*remove zu from the mixture"):
        mixed("xh=zu+sw", base, packages=[package])


def test_the_identity_of_a_mixture_has_its_packages_and_how_its_weights_were_found(base, tmp_path):
    packages = [write_package(tmp_path / str(seed), base, "zu_ZA", zulu(base, seed), {}) for seed in (1, 2)]
    first, second = (mixed("xh=zu+sw", base, packages=[package])[1][0] for package in packages)
    assert first.language == second.language
    assert first.sha256 != second.sha256
    weights = parsed("", "7*sw_KE+3*de_DE")
    assert Mixture.of(weights).sha256 != Mixture.of(weights, by="text", lines=3, origins="a").sha256
    assert Mixture.of(weights, by="text").language == "7*sw_KE+3*de_DE@text"


def scored(folder: Path, *more: object) -> dict[str, dict]:
    result = run("eval-transfer", "--run", folder, "--json", "--controls", "none", *more)
    assert result.exit_code == 0, result.output
    return {
        (row["adapter"], row["control"]): row for row in json.loads(result.stdout)["rows"] if row["language"] == "sw"
    }


def test_a_sweep_scores_mixtures_beside_adapters_and_every_row_says_which(trained):
    folder, _ = trained
    rows = scored(folder, "--langs", "sw,sw=de,sw=0.7*de+0.3*fr,sw=1*de+0*fr,sw=de+fr")
    assert [adapter for adapter, control in rows if control == "own"] == [
        "sw_KE", "de_DE", "7*de_DE+3*fr_XX", "de_DE+fr_XX",
    ]  # fmt: skip
    row = rows["7*de_DE+3*fr_XX", "own"]
    assert row["mixture"]["weights"] == {"de_DE": 0.7, "fr_XX": 0.3}
    assert row["mixture"]["by"] == "given"
    assert rows["de_DE", "own"]["mixture"] is None
    files = {row["predictions"] for row in rows.values()}
    assert len(files) == len(rows)
    assert all((folder / file).is_file() and "*" not in file for file in files)
    assert len({row["package"] for row in rows.values()}) == 3  # of two mixtures, and none
    again = run("eval-transfer", "--run", folder, "--langs", "sw=0.3*fr+0.7*de")
    assert again.stderr.count("scored before") == 2
    assert "mixture 0.7 de_DE + 0.3 fr_XX, weights given" in " ".join(again.output.split())
    for command in ("report", "compare"):
        assert run(command, folder).exit_code in (0, 2)


def test_mixtures_with_long_names_have_files_of_their_own(trained, monkeypatch):
    monkeypatch.setattr("xmodctl.core.file_names.LONGEST", 30)  # as if there were dozens of adapters
    folder, _ = trained
    text = "0.123457*de+0.234568*fr+0.641975*sw"
    other = "0.123458*de+0.234567*fr+0.641975*sw"
    rows = scored(folder, "--langs", f"sw={text},sw={other}")
    mixed_rows = [row for (adapter, control), row in rows.items() if control == "own" and "*" in str(adapter)]
    files = {Path(row["predictions"]).name for row in mixed_rows}
    assert len(mixed_rows) == len(files) == 2
    assert all(len(name) < 60 and (folder / "predictions" / "test" / name).is_file() for name in files)
    again = run("eval-transfer", "--run", folder, "--langs", f"sw={text}")
    assert again.stderr.count("scored before") == 2


def test_weights_1_and_0_score_the_same_bits_as_the_adapter(trained):
    folder, _ = trained
    alone = scored(folder, "--langs", "sw=de")["de_DE", "own"]
    weighted = scored(folder, "--langs", "sw=1*de+0*fr", "--on-exists", "redo")["de_DE", "own"]
    assert weighted["predictions_sha256"] == alone["predictions_sha256"]


def test_predictions_python_and_the_exported_folder_go_through_the_same_mixture(trained, tmp_path):
    folder, data = trained
    result = run("predict", "--run", folder, "--lang", "sw=0.7*de+0.3*fr", data / "sw" / "test.jsonl")
    assert result.exit_code == 0, result.output
    predicted = [json.loads(line) for line in result.stdout.splitlines()]
    row = scored(folder, "--langs", "sw=0.7*de+0.3*fr")["7*de_DE+3*fr_XX", "own"]
    stored = [json.loads(line) for line in (folder / row["predictions"]).read_text().splitlines()]
    assert [line["prediction"] for line in predicted] == [line["prediction"] for line in stored]

    loaded = load(folder, "0.7*de+0.3*fr", device="cpu")
    assert loaded.xmod.active == "7*de_DE+3*fr_XX"
    name = "roberta.encoder.layer.1.output.adapter_modules.{}.dense2.weight"
    up = {part: loaded.xmod.adapter(part)[name.format(part)] for part in ("de_DE", "fr_XX", "7*de_DE+3*fr_XX")}
    assert torch.allclose(up.pop("7*de_DE+3*fr_XX"), torch.cat([0.7 * up["de_DE"], 0.3 * up["fr_XX"]], dim=1))
    batch = loaded.tokenizer(["the cat 1"], ["red"], return_tensors="pt")
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    expected = loaded.module(**inputs).logits

    out = tmp_path / "out"
    result = run("export", "--run", folder, "--langs", "en,sw=0.7*de+0.3*fr", "--out", out)
    assert result.exit_code == 0, result.output
    stock = AutoModelForSequenceClassification.from_pretrained(out).eval()
    stock.set_default_language("7*de_DE+3*fr_XX")
    assert torch.allclose(stock(**inputs).logits, expected, rtol=1e-4, atol=1e-5)
    card = " ".join((out / "README.md").read_text().split())
    assert "is a mixture 0.7 de_DE + 0.3 fr_XX, weights given" in card.replace("\\", "")
    assert f"{row['value']:.1f}" in card


def test_the_name_of_a_found_mixture_is_taken_by_every_command_of_its_run(trained, tmp_path):
    folder, data = trained
    found = run("eval-transfer", "--run", folder, "--langs", "sw=mix", "--mix-by", "entropy", "--json")
    assert found.exit_code == 0, found.output
    row = next(row for row in json.loads(found.stdout)["rows"] if row["language"] == "sw")
    name, file = row["adapter"], data / "sw" / "test.jsonl"
    assert name.endswith("@entropy")
    result = run("predict", "--run", folder, "--lang", name, file)
    assert result.exit_code == 0, result.output
    stored = [json.loads(line)["prediction"] for line in (folder / row["predictions"]).read_text().splitlines()]
    assert [json.loads(line)["prediction"] for line in result.stdout.splitlines()] == stored
    assert load(folder, f"sw={name}", device="cpu").xmod.active == name
    for words in (
        ("export", "--run", folder, "--langs", f"en,sw={name}", "--out", tmp_path / "out"),
        ("embed", "--run", folder, "--lang", name, "--text-column", "premise", file, "--out", tmp_path / "vectors.npy"),
    ):
        result = run(*words)
        assert result.exit_code == 0, result.output
    message = refused(run("predict", "--run", folder, "--lang", "fr_XX@text", file))
    assert f"there is no score with a mixture of this name, but with `{name}`; write fr_XX with your own" in message
    assert "`mix`" not in message, "predict does not choose weights"


def test_no_adapter_predicts_what_the_control_scores(trained, tmp_path):
    folder, data = trained
    row = scored(folder, "--langs", "sw")[None, "none"]
    stored = [json.loads(line)["scores"] for line in (folder / row["predictions"]).read_text().splitlines()]
    for written in ("none", "sw=None"):
        result = run("predict", "--run", folder, "--lang", written, data / "sw" / "test.jsonl")
        assert result.exit_code == 0, result.output
        assert [list(json.loads(line)["scores"].values()) for line in result.stdout.splitlines()] == stored
    assert run("export", "--run", folder, "--langs", "none", "--out", tmp_path / "out").exit_code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--mix-text", "sw=TEXT"), "--mix-text chooses the weights of a mixture, and --langs has none to choose"),
        (("--mix-by", "typology"), "--mix-by typology chooses the weights of a mixture, and --langs has none"),
        (("--langs", "sw=mix", "--mix-text", "sw=TEXT", "--mix-text", "de=TEXT"), "does not choose weights for de"),
    ],
)
def test_what_chooses_weights_that_are_given_is_refused(options, message, trained):
    folder, data = trained
    words = [str(word).replace("TEXT", str(data / "sw" / "test.jsonl")) for word in options]
    assert message in refused(run("eval-transfer", "--run", folder, "--langs", "sw=de+fr", *words))


def test_a_mixture_that_no_adapter_fits_is_refused_by_each_command(trained):
    folder, data = trained
    for words in (
        ("eval-transfer", "--run", folder, "--langs", "sw=de+so"),
        ("predict", "--run", folder, "--lang", "de+so", data / "sw" / "test.jsonl"),
    ):
        assert "add-language so --text FILE" in refused(run(*words))
    assert not [row for row in read_rows(folder / "results.jsonl") if row.mixture]
