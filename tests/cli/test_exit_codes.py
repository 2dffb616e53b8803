"""Every command refuses a wrong name with exit code 2, one message, and nothing on standard output."""

import pytest
from command_line import refused, run

WRONG = (
    "finetune --task nope --lang de",
    "check --task nope",
    "inspect --task nope --lang de",
    "add-language zu --text nope --model mini",
    "resume nope",
    "eval-transfer --langs de --run nope",
    "donors --langs de --run nope",
    "report nope",
    "compare nope",
    "score --run nope",
    "export --out model --run nope",
    "convert nope model --langs en",
    "adapters list nope",
    "adapters import nope",
    "adapters export nope de package",
    "adapters verify nope",
    "demo --task nope",
    "langs --model nope",
    "doctor --run nope",
)


@pytest.mark.parametrize("command", WRONG)
def test_a_wrong_name_is_refused_with_one_message_and_no_output(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*command.split(), "--json")
    assert "nope" in refused(result)
    assert not result.stdout
    assert not list(tmp_path.iterdir())
