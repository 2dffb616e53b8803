"""A secret in the environment appears nowhere: not in what commands print, and not in the files that they write."""

from pathlib import Path

import pytest
from command_line import SETTINGS, run

SECRETS = {
    "HF_TOKEN": "hf_canaryAbCdEfGhIjKlMnOpQrStUvWx",
    "HUGGING_FACE_HUB_TOKEN": "hf_canaryOldNameOfTheSameToken",
    "AWS_ACCESS_KEY_ID": "AKIACANARYCANARY0000",
    "AWS_SECRET_ACCESS_KEY": "canaryWJalrXUtnFEMIK7MDENGbPxRfiCYKEY",
    "WANDB_API_KEY": "canary0123456789abcdef0123456789abcdef01",
    "MLFLOW_TRACKING_PASSWORD": "canary-mlflow-password",
    "HTTPS_PROXY": "http://user:canary-proxy-password@127.0.0.1:9",
    "XMODCTL_SOMETHING": "canary-something",
}


def test_no_secret_of_the_environment_is_printed_or_written(tiny_model, pairs, tmp_path, monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "cache"))
    out, adapter = tmp_path / "runs" / "run", tmp_path / "adapter"
    task = ("--task", "xnli", "--lang", "en", "--model", tiny_model, "--data", pairs)
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{")
    calls = [
        (0, ("finetune", *task, "--out", out, *SETTINGS, "--set", "epochs=1")),
        (0, ("eval-transfer", "--run", out, "--langs", "en,de", "--controls", "source")),
        *((0, ("report", out, "--out", tmp_path / f"report{suffix}")) for suffix in (".html", ".md", ".tex", ".csv")),
        (0, ("report", out, "--json")), (0, ("compare", out, "--json")), (0, ("score", "--run", out, "--json")),
        (0, ("runs", tmp_path / "runs", "--json")), (0, ("doctor", "--run", out)), (0, ("doctor", "--json")),
        (0, ("check", *task)), (0, ("inspect", *task)), (0, ("finetune", *task, "--dry-run", "--json")),
        (0, ("adapters", "export", tiny_model, "de_DE", adapter)), (0, ("adapters", "verify", adapter)),
        (0, ("export", "--run", out, "--out", tmp_path / "exported")),
        (0, ("predict", "--run", out, "--lang", "de", "--out", tmp_path / "p.jsonl", pairs / "de" / "test.jsonl")),
        (2, ("predict", "--run", out, "--lang", "de", broken)), (2, ("finetune", "--task", "nothing", "--lang", "en")),
        (2, ("eval-transfer", "--run", tmp_path / "nowhere", "--langs", "en")),
        (2, ("inspect", "--task", "xnli", "--lang", "en", "--model", "facebook/xmod-base")),  # asks the Hub, offline
    ]  # fmt: skip
    for code, words in calls:
        result = run(*words)
        assert result.exit_code == code, (words, result.output, result.exception)
        assert not leaks(result.output.encode()), words
    files = [path for path in tmp_path.rglob("*") if path.is_file() and pairs not in path.parents]
    assert len(files) > 30
    assert not {str(path): leaks(path.read_bytes()) for path in files if leaks(path.read_bytes())}


def leaks(content: bytes) -> list[str]:
    """Return the names of the secrets that a text contains."""
    values = {**SECRETS, "HTTPS_PROXY": "canary-proxy-password"}
    return [name for name, value in values.items() if value.encode() in content]


@pytest.mark.parametrize("secret", SECRETS)
def test_the_search_for_secrets_finds_each_of_them(secret, tmp_path: Path):
    assert leaks(f"x {SECRETS[secret]} y".encode()) == [secret]
