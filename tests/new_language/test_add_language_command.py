"""`xmodctl add-language` on the command line, and what a run does with the new language."""

import json
import os
import random
import signal
from pathlib import Path

import pytest
from command_line import refused, run
from typer.testing import Result

from xmodctl.evaluation.results import read_rows
from xmodctl.training.masked_lm.masked_training import MaskedTraining

GUIDE = Path(__file__).parents[2] / "docs" / "add-language.md"
SETTINGS = ("--recipe", "add-language-mini", "--set", "epochs=0.5", "--set", "max_length=32")


def add(model: Path, out: Path, *more: object) -> Result:
    return run("add-language", *more, "--model", model, "--out", out, *SETTINGS)


def shown(result: Result) -> str:
    """Return the output of a command that succeeds, without line breaks."""
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def test_a_finetuned_run_scores_the_new_language_at_once(tiny_model, pairs, write_pairs, write_text, tmp_path):
    trained = run(
        "finetune", "--task", "xnli", "--lang", "en", "--model", tiny_model, "--data", pairs, "--out", tmp_path / "run",
        "--set", "epochs=1", "--set", "max_length=32",
    )  # fmt: skip
    assert trained.exit_code == 0, trained.output
    added = add(tiny_model, tmp_path / "zu", "zu", "--text", write_text("zu"))
    assert added.exit_code == 0, added.output
    assert "the adapter for Zulu is called zu_ZA" in added.stderr
    assert "best existing" in added.stdout
    folder = tmp_path / "zu" / "seed-1" / "zu_ZA"
    assert f"adapter: {folder}" in added.stdout
    assert f"next: xmodctl eval-transfer --run RUN --adapter {folder} --langs zu_ZA" in added.stderr

    write_pairs(pairs, "zu", "test", 12)
    scored = run("eval-transfer", "--run", tmp_path / "run", "--adapter", folder, "--langs", "zu_ZA")
    assert scored.exit_code == 0, scored.output
    rows = {row.language: row.adapter for row in read_rows(tmp_path / "run" / "results.jsonl")}
    assert "zu_ZA" in rows.values()

    listed = json.loads(run("runs", tmp_path, "--json").stdout)
    rows = [(Path(row["run"]).name, row["task"], row["language"], row["finished_seeds"]) for row in listed]
    assert rows == [("run", "xnli", "en_XX", [1]), ("zu", "add-language", "zu_ZA", [1])]


def test_json_is_one_document_and_more_files_may_follow(tiny_model, write_text, tmp_path):
    first, second = write_text("zu"), write_text("yo")
    result = add(tiny_model, tmp_path / "out", "zu_ZA", "--text", first, second, "--init-from", "sw", "--json")
    value = json.loads(result.stdout)
    assert value["plan"]["texts"] == {"zu_ZA": [str(first), str(second)]}
    assert [adapter["language"] for adapter in value["adapters"]] == ["zu_ZA"]
    assert [row["what"] for row in value["adapters"][0]["held_out"]][:2] == ["trained", "start"]
    assert Path(value["adapters"][0]["package"]["folder"]).is_dir()


def test_refused_text_leaves_no_folder(tiny_model, tmp_path):
    (tmp_path / "short.txt").write_text("the cat sleeps\n")
    assert "characters" in refused(add(tiny_model, tmp_path / "out", "zu", "--text", tmp_path / "short.txt"))
    assert not (tmp_path / "out").exists()


def test_markup_is_removed_on_request_and_the_plan_the_package_and_a_resumption_know_it(
    tiny_model, write_text, tmp_path
):
    plain = write_text("zu")
    marked = tmp_path / "zu.html"
    marked.write_text("".join(f"<p\nclass='x'>{line}&nbsp;</p>\n" for line in plain.read_text().splitlines()))
    words = ("zu", "--text", marked)
    message = refused(add(tiny_model, tmp_path / "out", *words))
    assert "remove it with --strip-markup" in message
    dry_run = add(tiny_model, tmp_path / "out", *words, "--strip-markup", "--dry-run")
    assert "markup removed --strip-markup" in shown(dry_run)
    added = json.loads(add(tiny_model, tmp_path / "out", *words, "--strip-markup", "--json").stdout)
    same = json.loads(add(tiny_model, tmp_path / "plain", "zu", "--text", plain, "--json").stdout)
    assert added["adapters"][0]["package"]["sha256"] == same["adapters"][0]["package"]["sha256"]
    package = json.loads((tmp_path / "out" / "seed-1" / "zu_ZA" / "adapter.json").read_text())
    assert package["facts"]["text"]["strip_markup"] is True
    assert "already trained" in run("resume", tmp_path / "out").output
    assert "strip_markup: True there, False requested" in refused(add(tiny_model, tmp_path / "out", *words[:2], plain))


def test_training_again_keeps_the_files_of_the_user(tiny_model, write_text, tmp_path):
    words = ("zu", "--text", write_text("zu"))
    assert add(tiny_model, tmp_path / "out", *words).exit_code == 0
    own = [tmp_path / "out" / name for name in ("notes.md", "seed-1/zu_ZA/README.md", "figures/loss.svg")]
    for path in own:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    again = add(tiny_model, tmp_path / "out", *words, "--on-exists", "redo")
    assert again.exit_code == 0, again.output
    assert "still contains files that xmodctl did not write" in again.stderr
    assert [path.read_text() for path in own if path.exists()] == ["mine"] * 3


def test_each_text_may_name_its_language(tiny_model, write_text, tmp_path):
    texts = [f"{language}={write_text(language)}" for language in ("zu", "xh")]
    result = add(tiny_model, tmp_path / "out", "--text", texts[0], "--text", texts[1], "--json")
    assert [adapter["language"] for adapter in json.loads(result.stdout)["adapters"]] == ["zu_ZA", "xh_ZA"]


def test_ctrl_c_saves_and_says_how_to_resume(tiny_model, write_text, tmp_path, monkeypatch):
    update = MaskedTraining.update

    def stop(self, batch, gradient):
        if self.step == 3 and not self.model.initialized:
            os.kill(os.getpid(), signal.SIGINT)
        return update(self, batch, gradient)

    monkeypatch.setattr(MaskedTraining, "update", stop)
    words = ("zu", "--text", write_text("zu"))
    stopped = add(tiny_model, tmp_path / "out", *words)
    assert stopped.exit_code == 130, stopped.output
    assert "stopped at step 4 of" in " ".join(stopped.output.split())
    monkeypatch.undo()
    again = add(tiny_model, tmp_path / "out", *words)
    assert again.exit_code == 0, again.output
    assert "resuming at step 4 of" in again.stderr


def test_a_dry_run_shows_plan_text_and_cost_and_writes_nothing(tiny_model, write_text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("zu", "--text", write_text("zu"), "--dry-run")
    shown = add(tiny_model, tmp_path / "out", *words)
    assert shown.exit_code == 0, shown.output
    for part in ("zu_ZA", "new adapter", "optimizer steps per seed", "initialized from", "recipe add-language-mini"):
        assert part in shown.stdout, part
    value = json.loads(add(tiny_model, tmp_path / "out", *words, "--json").stdout)
    assert value["texts"]["zu_ZA"]["counts"]["lines"] == 450
    assert not list(tmp_path.iterdir())


def test_a_dry_run_of_a_model_and_text_that_are_not_here_downloads_nothing():
    shown = run("add-language", "zu", "--text", "owner/name:*.parquet", "--dry-run", "--json")
    value = json.loads(shown.stdout)
    assert (value["texts"], value["steps"]) == ({}, None)
    assert value["parameters"]["trainable"] == 7_091_712
    assert value["plan"]["recipe"]["name"] == "add-language"


def test_the_guides_python_example_runs(tiny_model, write_text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("zu.txt").write_text(write_text("zu").read_text())
    example = GUIDE.read_text(encoding="utf-8").split("<!-- example -->\n```python\n")[1].split("```")[0]
    example = example.replace('model="mini"', f"model={str(tiny_model)!r}, recipe='add-language-mini'")
    with pytest.warns(UserWarning, match="frequent in English, 0% in Zulu"):
        exec(example.replace('"epochs": 1', '"epochs": 0.5, "max_length": 32'))
    folder, loss = capsys.readouterr().out.split()
    assert Path(folder).parts[-2:] == ("seed-1", "zu_ZA")
    assert float(loss) > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["zu"],
            "no text given; give text in the language with --text FILE, as in `xmodctl add-language zu --text FILE`",
        ),
        (["--text", "a.txt"], "--text a.txt does not give its language; write --text zu=a.txt"),
        (["zu.txt", "--text", "a.txt"], "zu.txt: the language comes first"),
        (["de", "--text", "a.txt"], "already has an adapter for German, de_DE"),
        (["zu", "--text", "no.txt"], "--text no.txt: no such file"),
        (["Klingonish", "--text", "a.txt"], "'Klingonish' is neither an adapter of"),
        (["zu", "--text", "a.txt", "--on-exists", "maybe"], "--on-exists"),
    ],
)
def test_user_errors_are_one_sentence(tiny_model, tmp_path, words, message):
    assert message in refused(add(tiny_model, tmp_path / "out", *words))


@pytest.mark.parametrize(
    ("more", "remedy"),
    [((), "--vocabulary new"), (("--dry-run",), "--vocabulary new"), (("--vocabulary", "new"), "--head-text FILE")],
)
def test_a_text_that_the_vocabulary_does_not_know_at_all_is_refused(tiny_model, tmp_path, more, remedy):
    path = tmp_path / "unknown.txt"
    path.write_text("".join(f"ߒߞߏ ߞߊ߲ {number:05} ߟߎ߬ ߛߓߍ߫ ߦߋ߫ ߢߌ߬ ߡߊ߲߬ߘߋ߲߬ߞߊ߲ ߠߎ߬ ߟߊ߫ ߞߊ߲\n" for number in range(600)))
    message = refused(add(tiny_model, tmp_path / "out", "nqo", "--text", path, *more))
    assert "unknown.txt: 100.0% of the characters are unknown to the model's vocabulary" in message
    assert remedy in message


def test_a_dry_run_reports_some_markup_and_what_it_does_not_read(tiny_model, write_text, tmp_path):
    lines = write_text("zu").read_text().splitlines()
    some = tmp_path / "some.txt"
    some.write_text("\n".join([*lines, *(f"<p>{line} again</p>" for line in lines[:40])]))
    result = add(tiny_model, tmp_path / "out", "zu", "--text", some, "--dry-run")
    assert '% of the lines contain markup, such as "<p>"; remove it with --strip-markup' in shown(result)
    result = add(tiny_model, tmp_path / "out", "zu", "--text", some, "--strip-markup", "--dry-run")
    assert "of the lines contain markup" not in shown(result)
    result = add(tiny_model, tmp_path / "out", "zu", "--text", "-", "--dry-run")
    assert "zu_ZA: a dry run leaves standard input alone, so the text is not checked" in shown(result)
    marked = tmp_path / "head.html"
    marked.write_text("".join(f"<p>{line}</p>\n" for line in lines))
    words = ("zu", "--text", some, "--head-text", marked, "--dry-run")
    assert "head.html: 100% of the lines contain markup" in refused(add(tiny_model, tmp_path / "out", *words))


def test_a_folder_of_texts_is_refused_with_names_that_a_shell_expands(tiny_model, tmp_path):
    folder = tmp_path / "two words"
    folder.mkdir()
    for name in ("a.html.gz", "b.html.gz", "readme"):
        (folder / name).write_bytes(b"")
    message = refused(add(tiny_model, tmp_path / "out", "zu", "--text", folder))
    assert "is a folder; name the files in it, as in --text" in message
    assert "two words'/*.html.gz" in message


def test_text_for_the_head_that_the_vocabulary_cannot_see_is_refused(tiny_model, write_text, tmp_path):
    draw = random.Random(0)
    lines = ("".join(chr(0x12000 + draw.randrange(870)) for _ in range(50)) for _ in range(450))
    (tmp_path / "head.txt").write_text("\n".join(lines))
    words = ("add-language", "zu", "--model", tiny_model, "--text", write_text("zu"))
    message = refused(run(*words, "--head-text", tmp_path / "head.txt", "--dry-run"))
    assert "head.txt: 100.0% of the characters are unknown to the model's vocabulary" in message
    assert "--vocabulary new" not in message  # that is of the adapter, not of the head
