"""`-q`, `-v`, and `--log-file`: what is printed where."""

import logging
import os
import re
import warnings

import pytest
from command_line import refused, run

from xmodctl.cli.display import note
from xmodctl.cli.output import NO_BARS, hoisted
from xmodctl.cli.screening import screened, unusable_gpu

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (.*)")


def messages(path) -> list[str]:
    return [match[1] for line in path.read_text().splitlines() if (match := LINE.fullmatch(line))]


def test_quiet_prints_the_result_alone_and_the_log_has_the_rest(trained, tmp_path, monkeypatch):
    folder, _ = trained
    log = tmp_path / "logs" / "a.log"
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = run("eval-transfer", "--run", folder, "--langs", "de", "--limit", "6", "-q", "--log-file", log)
    assert result.exit_code == 0, result.output
    assert not result.stderr
    assert "LIMITED" in result.stdout
    text = log.read_text()
    assert "\x1b" not in text
    assert "\r" not in text
    lines = messages(log)
    assert lines[0].endswith(f"eval-transfer --run {folder} --langs de --limit 6 -q --log-file {log}")
    assert any(line.startswith("de through de_DE: accuracy") for line in lines)
    assert lines[-1] == "exit code 0"
    assert run("runs", folder.parent, "--log-file", log).exit_code == 0
    assert len(messages(log)) == len(lines) + 2, "a second command is appended"


def test_quiet_prints_errors_and_the_log_has_them_with_the_exit_code(tmp_path):
    log = tmp_path / "a.log"
    assert "nope is not a run" in refused(run("-q", "--log-file", log, "report", "nope"))
    assert messages(log)[1].startswith("Error: nope is not a run")
    assert messages(log)[-1] == "exit code 2"
    assert run("finetune", "--rows", "many", "--log-file", log).exit_code == 2
    assert messages(log)[-1] == "exit code 2"
    assert "--rows" in messages(log)[-2]


def test_verbose_prints_the_defaults_the_versions_and_what_libraries_log(tmp_path, monkeypatch):
    from xmodctl.run import listing

    def noisy(request: object) -> list:
        logging.getLogger("library").info("a detail")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("a caution", stacklevel=1)
        return []

    monkeypatch.setenv("XMODCTL_RUNS", str(tmp_path))
    monkeypatch.setattr(listing, "runs", noisy)
    level = logging.getLogger().level
    shown = run("runs", "-v").stderr
    assert f"default of runs: {tmp_path} (XMODCTL_RUNS)" in shown
    assert "xmodctl 0." in shown
    assert "library: a detail" in shown
    assert "UserWarning: a caution" in shown
    with warnings.catch_warnings(record=True):  # neither prints the warning
        assert "a caution" not in run("runs", "-q").stderr
        assert "a detail" not in run("runs").stderr
    assert logging.getLogger().level == level
    assert not set(NO_BARS) & set(os.environ)


def test_a_bug_is_in_the_log_with_its_traceback(tmp_path, monkeypatch):
    from xmodctl.run import listing

    monkeypatch.setattr(listing, "runs", lambda under: 1 / 0)
    log = tmp_path / "a.log"
    assert isinstance(run("runs", "--log-file", log).exception, ZeroDivisionError)
    assert "ZeroDivisionError: division by zero" in log.read_text()
    assert messages(log)[-1] == "exit code 1"


def test_wrong_options_are_refused(tmp_path):
    assert "give only one of them" in refused(run("runs", "-q", "-v"))
    assert "cannot write --log-file" in refused(run("runs", "--log-file", tmp_path))
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent" / "folder")
    for place in ("file", "nowhere"):
        message = refused(run("runs", "--log-file", tmp_path / place / "x"))
        assert "a part of this path is a file or a broken link" in message


def test_a_log_in_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", "/dev/full"):
        assert "is a pipe, a socket, or a device" in refused(run("runs", "--log-file", place))


@pytest.mark.parametrize(
    ("words", "moved"),
    [
        ("report a -q", "-q report a"),
        ("predict --text -q", "predict --text -q"),
        ("runs --json -v --log-file x", "-v --log-file x runs --json"),
        ("predict -- -q", "predict -- -q"),
        ("runs --log-file=x", "--log-file=x runs"),
    ],
)
def test_the_options_go_anywhere_but_a_value_stays_a_value(words, moved):
    assert hoisted(words.split(), frozenset({"--json"})) == moved.split()


def test_paths_in_the_current_folder_are_printed_as_a_user_writes_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    elsewhere = f"{tmp_path}x/y, /mnt{tmp_path}/z, {tmp_path}"
    note(f"data: {tmp_path}/d.csv:3, '{tmp_path}/a b.csv', --data={tmp_path}/e, {elsewhere}")
    assert capsys.readouterr().err == f"data: d.csv:3, 'a b.csv', --data=e, {elsewhere}\n"


DRIVER = (
    "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040). Please update your GPU "
    "driver by downloading and installing a new version from the URL: http://www.nvidia.com (Triggered internally at "
    "../c10/cuda/CUDAFunctions.cpp:119.)"
)


@pytest.mark.filterwarnings("default")
def test_a_driver_that_is_too_old_is_one_sentence_that_comes_once(monkeypatch):
    def device() -> tuple[str, str]:
        warnings.warn(DRIVER, stacklevel=1)
        warnings.warn(DRIVER, stacklevel=2)
        return "cpu", "fp32"

    monkeypatch.setattr("xmodctl.model.machine._device", device)
    shown = " ".join(run("doctor", "--verbose").stderr.split())
    sentence = (
        "torch cannot use the GPU of this machine, so the CPU computes (The NVIDIA driver on your system is too old "
        "(found version 11040)); to use the GPU, update the driver, or install a torch built for it"
    )
    assert "CUDA initialization" not in shown
    assert shown.count(sentence) == 1
    with screened():
        assert warnings.formatwarning(UserWarning(DRIVER), UserWarning, "file.py", 1) == f"Note: {sentence}\n"
        assert "file.py:1: UserWarning: another" in warnings.formatwarning("another", UserWarning, "file.py", 1)


def test_other_reasons_why_a_gpu_does_not_answer_are_kept():
    assert unusable_gpu("UserWarning: CUDA initialization: no") == ""
    error = "CUDA initialization: Unexpected error from cudaGetDeviceCount(). Error 803: system has unsupported display"
    assert unusable_gpu(error).endswith("Error 803: system has unsupported display); to use the GPU, repair the driver")
