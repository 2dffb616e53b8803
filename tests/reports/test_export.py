"""Exporting a run: a folder that transformers loads, its card, and its upload."""

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import xmodctl
from xmodctl.catalog import catalog
from xmodctl.cli.app import app
from xmodctl.core.errors import UserError
from xmodctl.core.events import ModelLoading, Notice
from xmodctl.core.hub import check_upload


def export(*words: object) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, words)])


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that was really trained, in a few steps, and not scored."""
    from xmodctl.training.finetune import finetune

    folder = tmp_path_factory.mktemp("cards")
    (folder / "data" / "en").mkdir(parents=True)
    lines = [
        f'{{"premise": "the cat", "hypothesis": "red", "label": "{label}"}}\n' for label in catalog.task("xnli").labels
    ]
    (folder / "data" / "en" / "train.jsonl").write_text("".join(lines * 4))
    overrides = {"epochs": 1, "batch_size": 4, "max_length": 32}
    return finetune(
        "xnli", "en", model=str(tiny_model), data=folder / "data", overrides=overrides, out=folder / "run"
    ).folder


def test_export_writes_a_card_whose_example_runs(trained, tmp_path, monkeypatch, capsys):
    result = export("--run", trained, "--out", tmp_path / "mine", "--langs", "en_XX,de_DE")
    assert result.exit_code == 0, result.output
    text = (tmp_path / "mine" / "README.md").read_text()
    example = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert example
    monkeypatch.chdir(tmp_path)
    exec(example[1], {})
    assert capsys.readouterr().out.strip() in catalog.task("xnli").labels


def test_all_includes_the_languages_of_an_open_model_that_were_scored(tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_model, "open")
    config = json.loads(Path("open/config.json").read_text())
    Path("open/config.json").write_text(json.dumps(config | {"identity_adapters": True}))
    rows = [
        f"the {word} {lang} {n},{word},{lang}" for n in range(20) for word in ("cat", "dog") for lang in ("en", "pl")
    ]
    Path("pets.csv").write_text("text,label,lang\n" + "\n".join(rows) + "\n")
    overrides = {"epochs": 1, "batch_size": 4, "max_length": 32}
    run = xmodctl.finetune("classification", "en", model="open", data="pets.csv", overrides=overrides, out="run")
    assert "pl_PL" not in xmodctl.export("before", run=run).languages
    xmodctl.evaluate(run, "pl")
    exported = xmodctl.export("after", run=run)
    assert exported.languages == (*config["languages"], "pl_PL")
    assert json.loads(Path("after/config.json").read_text())["languages"] == list(exported.languages)


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
    message = " ".join(result.stderr.split())
    assert "the upload failed (the connection was lost)" in message
    assert f"hf upload me/mine {tmp_path / 'mine'}" in message
    assert (tmp_path / "mine" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("repository", "patch", "message"),
    [
        ("me/mine/more", None, "OWNER/NAME"),
        ("me/mine", ("xmodctl.core.hub.is_reachable", lambda: False), "export without --push"),
        ("me/mine", ("huggingface_hub.get_token", lambda: None), "hf auth login"),
    ],
)
def test_what_cannot_be_pushed_is_refused_before_anything_is_written(repository, patch, message, hub, monkeypatch):
    if patch:
        monkeypatch.setattr(*patch)
    with pytest.raises(UserError, match=message):
        check_upload(repository)


def test_private_without_push_is_refused(trained, tmp_path):
    result = export("--run", trained, "--out", tmp_path / "mine", "--private")
    assert result.exit_code == 2
    assert not (tmp_path / "mine").exists()


def test_export_from_python_returns_what_it_wrote(trained, tmp_path):
    events = []
    exported = xmodctl.export(str(tmp_path / "mine"), run=trained, langs=["en_XX", "de"], listen=events.append)
    assert (exported.folder, exported.languages) == (tmp_path / "mine", ("en_XX", "de_DE"))
    assert exported.auto_class == "AutoModelForSequenceClassification"
    assert (exported.folder / "README.md").exists()
    assert isinstance(events[0], ModelLoading)
    assert not any(isinstance(event, Notice) for event in events)


def test_export_refuses_a_folder_with_files_before_it_loads_the_model(trained, tmp_path):
    (tmp_path / "file").touch()
    events = []
    with pytest.raises(UserError, match="not an empty folder"):
        xmodctl.export(tmp_path, run=trained, listen=events.append)
    assert not events
