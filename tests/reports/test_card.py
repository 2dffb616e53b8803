"""The card says what the rows say, claims no licence that is not the model's, and its example runs."""

import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from scored import labels, make_run, score
from typer.testing import CliRunner, Result

from xmodctl.catalog import catalog as library
from xmodctl.cli.app import app
from xmodctl.core.errors import UserError
from xmodctl.core.hub import check_upload
from xmodctl.model import look_up
from xmodctl.reports import card as cards

LANGUAGES = ("en_XX", "de_DE")


def export(*words: object) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, words)])


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that was really trained, in a few steps, and not scored."""
    from xmodctl.training.finetune import finetune

    folder = tmp_path_factory.mktemp("cards")
    (folder / "data" / "en").mkdir(parents=True)
    lines = [
        f'{{"premise": "the cat", "hypothesis": "red", "label": "{one}"}}\n' for one in library.task("xnli").labels
    ]
    (folder / "data" / "en" / "train.jsonl").write_text("".join(lines * 4))
    overrides = {"epochs": 1, "batch_size": 4, "max_length": 32}
    return finetune(
        "xnli", "en", model=str(tiny_model), data=folder / "data", overrides=overrides, out=folder / "run"
    ).folder


def card_of(run, **changes) -> str:
    facts = changes.pop("facts", look_up("mini"))
    return cards.card(run, facts, changes.pop("seed", 1), changes.pop("languages", LANGUAGES), model_name="a/model")


def test_the_hubs_library_reads_each_score_from_the_metadata(tmp_path):
    run = make_run(tmp_path)
    rows = [score(run, "en", labels([True] * 9 + [False])), score(run, "de", labels([True] * 7 + [False] * 3))]
    data = ModelCard(card_of(run)).data
    assert data.license == "mit"
    assert data.base_model == "intfloat/multilingual-e5-small"
    assert data.language == ["en", "de"]
    accuracies = {one.dataset_config: one.metric_value for one in data.eval_results if one.metric_type == "accuracy"}
    assert accuracies == {row.language: row.value for row in rows} == {"en": 90, "de": 70}
    assert {one.dataset_split for one in data.eval_results} == {"test"}


def test_the_table_holds_value_interval_blind_answer_and_gap_of_each_row(tmp_path):
    run = make_run(tmp_path)
    score(run, "en", labels([True] * 9 + [False]))
    row = score(run, "de", labels([True] * 7 + [False] * 3))
    line = next(line for line in card_of(run).splitlines() if line.startswith("| German"))
    score_ = f"70.0 ({row.ci_low:.1f} to {row.ci_high:.1f})"
    start = f"| German (de) | Indo-European | de\\_DE | 10 | {row.baseline:.1f} | {score_} | +20.0 ("
    assert line.startswith(start), line


def test_scores_are_those_of_the_exported_seed_with_the_mean_of_all_beside_them(tmp_path):
    run = make_run(tmp_path)
    for seed, right in ((1, 6), (2, 8)):
        score(run, "en", labels([True] * right + [False] * (10 - right)), seed=seed)
    text = card_of(run, seed=2)
    line = next(line for line in text.splitlines() if line.startswith("| English"))
    assert "| 80.0 (" in line
    assert line.endswith("| 70.0 ± 14.1 |")
    assert [one.metric_value for one in ModelCard(text).data.eval_results if one.metric_type == "accuracy"] == [80]


def test_limited_scores_are_marked_in_table_limits_and_metadata(tmp_path):
    run = make_run(tmp_path)
    score(run, "en", labels([True] * 9 + [False]), limited=10)
    text = card_of(run)
    assert "LIMITED to the first 10 rows" in text
    assert "| 10 LIMITED |" in text
    assert "Scores marked LIMITED" in text
    assert all("first 10 rows" in one.dataset_name for one in ModelCard(text).data.eval_results)


def test_scores_that_the_exported_folder_cannot_give_are_left_out(tmp_path):
    run = make_run(tmp_path)
    score(run, "en", labels([True] * 10))
    score(run, "sw", labels([True] * 10))
    score(run, "de", labels([True] * 10), control="none")
    assert {one.dataset_config for one in ModelCard(card_of(run)).data.eval_results} == {"en"}


def test_a_run_without_rows_says_that_it_is_not_scored(tmp_path):
    text = card_of(make_run(tmp_path))
    assert "has not been scored yet" in text
    assert "not known how well" in text
    assert not {"model-index", "model_name"} & ModelCard(text).data.to_dict().keys()


@pytest.mark.parametrize(
    ("model", "licence"),
    [("mini", "mit"), ("facebook/xmod-base", "mit"), ("ZurichNLP/swissbert", "cc-by-nc-4.0")],
)
def test_the_licence_is_the_models_own(model, licence, tmp_path):
    text = card_of(make_run(tmp_path), facts=look_up(model))
    assert ModelCard(text).data.license == licence


def test_an_unknown_licence_is_not_claimed(tmp_path, tiny_model):
    text = card_of(make_run(tmp_path), facts=look_up(str(tiny_model)))
    assert ModelCard(text).data.license is None
    assert "xmodctl does not know" in text


def test_the_licence_of_a_base_model_is_read_from_its_card(tmp_path, tiny_model):
    import shutil

    base = tmp_path / "base"
    shutil.copytree(tiny_model, base)
    (base / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    assert cards.licence_of(look_up(str(base))) == "cc-by-nc-4.0"
    (base / "README.md").write_text("---\nlicense: [\n---\n")
    assert cards.licence_of(look_up(str(base))) is None


def test_no_path_of_this_machine_is_told(tmp_path):
    run = make_run(tmp_path)
    score(run, "en", labels([True] * 10))
    assert str(tmp_path) not in card_of(run)


def test_export_writes_a_card_whose_example_runs(trained, tmp_path, monkeypatch, capsys):
    result = export("--run", trained, "--out", tmp_path / "mine", "--langs", "en_XX,de_DE")
    assert result.exit_code == 0, result.output
    text = (tmp_path / "mine" / "README.md").read_text()
    example = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert example
    monkeypatch.chdir(tmp_path)
    exec(example[1], {})
    assert capsys.readouterr().out.strip() in library.task("xnli").labels


class FakeHub:
    """What `HfApi` is asked for."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure, self.asked = failure, []

    def create_repo(self, repository, *, private, exist_ok):
        self.asked.append(("create", repository, private))
        return f"https://hub.example/{repository}"

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        if self.failure:
            raise self.failure
        self.asked.append(("upload", repo_id, sorted(path.name for path in Path(folder_path).iterdir())))


@pytest.fixture
def hub(monkeypatch) -> FakeHub:
    fake = FakeHub()
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: fake)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "a token")
    monkeypatch.setattr("xmodctl.core.hub.is_reachable", lambda: True)
    return fake


def test_push_creates_the_repository_and_uploads_the_whole_folder(trained, tmp_path, hub):
    out = tmp_path / "mine"
    result = export("--run", trained, "--out", out, "--langs", "en_XX", "--push", "me/mine", "--private")
    assert result.exit_code == 0, result.output
    assert "uploaded: https://hub.example/me/mine" in result.stdout
    names = sorted(path.name for path in out.iterdir())
    assert hub.asked == [("create", "me/mine", True), ("upload", "me/mine", names)]
    assert {"README.md", "config.json", "model.safetensors"} <= set(names)
    assert "from_pretrained('me/mine')" in (out / "README.md").read_text()


def test_an_upload_that_fails_is_one_sentence_and_the_folder_stays(trained, tmp_path, hub):
    hub.failure = ConnectionError("the line is cut")
    result = export("--run", trained, "--out", tmp_path / "mine", "--langs", "en_XX", "--push", "me/mine")
    assert result.exit_code == 2
    told = " ".join(result.stderr.split())
    assert "the upload failed (the connection was lost)" in told
    assert f"hf upload me/mine {tmp_path / 'mine'}" in told
    assert (tmp_path / "mine" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("repository", "patch", "told"),
    [
        ("me/mine/more", None, "OWNER/NAME"),
        ("me/mine", ("xmodctl.core.hub.is_reachable", lambda: False), "export without --push"),
        ("me/mine", ("huggingface_hub.get_token", lambda: None), "hf auth login"),
    ],
)
def test_what_cannot_be_pushed_is_refused_before_anything_is_written(repository, patch, told, hub, monkeypatch):
    if patch:
        monkeypatch.setattr(*patch)
    with pytest.raises(UserError, match=told):
        check_upload(repository)


def test_private_without_push_is_refused(trained, tmp_path):
    result = export("--run", trained, "--out", tmp_path / "mine", "--private")
    assert result.exit_code == 2
    assert not (tmp_path / "mine").exists()
